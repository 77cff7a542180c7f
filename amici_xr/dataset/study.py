"""A study: scores, evidence, runs and contrasts as groups of one DataTree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import xarray as xr

from amici_xr.dataset.kinds import KIND
from amici_xr.dataset.structure import raise_problems, version_problems
from amici_xr.errors import SchemaError, listed

STUDY = {KIND: "study"}  # attribute of the root of a study that was saved


def groups_of(data: xr.Dataset | xr.DataTree) -> dict[str, xr.Dataset]:
    """Return the Datasets of a study by the names of their groups; a Dataset alone as ``""``.

    Groups without variables, as the root of a study, are not among them. What a single group such
    as ``study["scores"]`` holds itself has the name ``"."``.
    """
    if isinstance(data, xr.Dataset):
        return {"": data}
    groups = {name: node.to_dataset() for name, node in data.subtree_with_keys}
    return {name: ds for name, ds in groups.items() if ds.variables}


def folder_attributes(data: xr.Dataset | xr.DataTree) -> dict[str, dict[Any, Any]]:
    """Return the attributes of the groups of a study that hold groups alone, the root included."""
    if isinstance(data, xr.Dataset):
        return {}
    return {node.path: node.attrs for node in data.subtree if not node.dataset.variables}


def check_study(
    study: xr.DataTree, check_group: Callable[[xr.Dataset], object], title: str = "study"
) -> None:
    """Check the form of a study, and each of its groups, and raise one error with all problems."""
    problems = [*version_problems(study.to_dataset()), *_form_problems(study)]
    for name, ds in groups_of(study).items():
        if name == ".":  # whose form is wrong
            continue
        try:
            check_group(ds)
        except SchemaError as error:
            problems.append(f"group {name!r} is {error}".replace("\n- ", "\n  - "))
    raise_problems(problems, title)


def _form_problems(study: xr.DataTree) -> Iterator[str]:
    if study.dataset.variables:
        yield (
            f"its root holds {listed(study.dataset.variables, 5)}; put each Dataset into a group, "
            "e.g. xarray.DataTree.from_dict({'scores': ds})"
        )
    if not study.children:
        yield "it has no groups; make one, e.g. xarray.DataTree.from_dict({'scores': ds})"
    for name, node in study.subtree_with_keys:
        if name == ".":
            continue
        if node.dataset.variables and node.children:
            yield (
                f"group {name!r} holds both variables and the groups {listed(node.children)}, "
                "which would inherit its coordinates; put them beside it"
            )
        if not node.dataset.variables and not node.children:
            yield f"group {name!r} holds no variables; leave it out"
