"""What a figure of a Dataset shows: which query, heads and labels, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from amici_xr.dataset.schema import UNKNOWN_UNIT, distance_unit
from amici_xr.dataset.selection import one_run, select, with_head_dim
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import NotFoundError, check_names, listed


def one_query(ds: xr.Dataset) -> xr.Dataset:
    """Return the Dataset of one query and run in memory, dims (neighbor, head)."""
    one_run(check_structure(ds), "draw one at a time")
    if "query" in ds.dims:
        known = listed(ds["query"].values)
        raise ValueError(
            f"ds holds the queries {known}; draw one at a time, e.g. amici_xr.select(ds, query)"
        )
    return with_head_dim(select(ds, ds["query"].item())).compute()


def heads_of(ds: xr.Dataset, asked: int | Sequence[int] | None, argument: str) -> list[int]:
    """Return the heads asked for, all of which must be there; None is all of them."""
    known: list[int] = ds["head"].values.tolist()
    heads: list[int] = known if asked is None else np.atleast_1d(asked).tolist()
    check_names(argument, heads, known, "head")
    return heads


def labels_of(ds: xr.Dataset, asked: Sequence[str] | None) -> list[str]:
    """Return the labels asked for, all of which must have neighbors; None is all that have."""
    present: list[str] = np.unique(ds["label"].values).tolist()
    if asked is None:
        if not present:
            raise ValueError("ds holds no neighbors, so there is nothing to draw")
        return present
    names = [asked] if isinstance(asked, str) else list(asked)
    absent = [name for name in names if name not in present]
    if absent:
        raise NotFoundError(f"labels: no neighbor is {listed(absent)}; there are {listed(present)}")
    check_names("labels", names, present, "label")
    return names


def by_size(labels: list[str], sizes: Any) -> list[str]:
    """Sort labels by what `sizes` (label, head) has for them in any head, the largest first."""
    largest = {label: float(sizes.sel(label=label).max()) for label in labels}
    return sorted(labels, key=lambda label: -largest[label])


def title_of(ds: xr.Dataset, labels: Sequence[str]) -> str:
    """Sender → receiver."""
    sender = labels[0] if len(labels) == 1 else "neighbors"
    return f"{sender} → {ds['query'].item()}"


def with_unit(what: str, ds: xr.Dataset) -> str:
    """A distance with its unit, as axes name it."""
    return f"{what} ({distance_unit(ds) or UNKNOWN_UNIT})"
