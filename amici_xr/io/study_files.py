"""What files of one Dataset and files of a study, with a Dataset in each group, share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import xarray as xr

from amici_xr.errors import RefusedFileError, listed

Wanted = Literal["dataset", "study"] | None  # what the caller takes; None takes both
ShapeOfChunks = Callable[[xr.Variable], tuple[int, ...]]
Opener = Callable[..., xr.Dataset | xr.DataTree]
_Encoding = dict[Hashable, dict[str, Any]]


def opener_of(groups: Sequence[str], wanted: Wanted) -> Opener:
    """Return xarray's function for a file with these groups; refuse what the caller can't take.

    `groups` are those of a file without variables at its root.
    """
    if groups and wanted == "dataset":
        example = "scores" if "scores" in groups else groups[0]
        raise RefusedFileError(
            f"is a study with the groups {listed(groups)}; open it with amici_xr.open_study(path), "
            f"and take one of them, e.g. study[{example!r}].to_dataset()"
        )
    if not groups and wanted == "study":
        raise RefusedFileError(
            "is a single Dataset and not a study; open it with amici_xr.open_dataset(path); "
            "xarray.DataTree.from_dict({'scores': ds}) makes a study of it"
        )
    return xr.open_datatree if groups else xr.open_dataset


def encoding_of(
    data: xr.Dataset | xr.DataTree, encode: Callable[[xr.Dataset], _Encoding]
) -> dict[Any, Any]:
    """Return the encoding of all variables, of a study by the path of each group."""
    if isinstance(data, xr.Dataset):
        return encode(data)
    return {node.path: encode(node.to_dataset()) for node in data.subtree}


def change_groups(
    data: xr.Dataset | xr.DataTree, change: Callable[[xr.Dataset], xr.Dataset]
) -> xr.Dataset | xr.DataTree:
    """Change a Dataset, or that of each group in a study, which goes on holding its file.

    DataTree's own ``load`` leaves out variables that are named as a group is.
    """
    if isinstance(data, xr.Dataset):
        return change(data)
    for node in data.subtree:
        node.dataset = change(node.to_dataset())
    return data
