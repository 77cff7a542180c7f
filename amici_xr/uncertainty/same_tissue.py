"""Whether Datasets are of the same tissue: every difference in one error, with its remedy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from amici_xr.dataset.schema import (
    EFFECTS,
    MATCHING,
    NEIGHBORHOODS,
    SCHEMA,
    SCORES,
    Variable,
    distance_unit,
)
from amici_xr.errors import listed

_OWN = {*SCORES, *MATCHING, "dummy_attention_score", "distance_kernel_unit_scale", "run", "head"}
_OWN |= {*EFFECTS, "cell_type_color"}  # those of the first Dataset are kept
_CLOSE = 1e-5  # relative; distances of the same tissue, read and computed in another precision

_SAME_CELLS = (
    "extract all from the same adata, with the same query= and indices= and models of the same "
    "n_neighbors"
)
_REMEDIES = {
    "query": "extract with the same query=, or take one with amici_xr.select",
    "cell_type": "train on the same labels, in the same order",
    "gene": "train on the same genes, or extract without effects",
    "distance": "extract effects from the same adata, with models of the same n_neighbors",
    "label": "give all the adata with the same labels",
}


def check_same_tissue(first: xr.Dataset, other: xr.Dataset, number: int) -> None:
    """Refuse a Dataset, `number` in a list, whose tissue is not that of the first."""
    problems = list(_differences(first, other, number))
    if problems:
        lines = "\n- ".join(problems)
        raise ValueError(
            f"datasets[{number}] can't be a run beside datasets[0], for it differs in what runs "
            f"share:\n- {lines}"
        )


def _differences(first: xr.Dataset, other: xr.Dataset, number: int) -> Iterator[str]:
    n_heads = [ds.sizes["head"] for ds in (first, other)]
    if n_heads[0] != n_heads[1]:
        yield (
            f"it has {n_heads[1]} heads, datasets[0] {n_heads[0]}; give models of as many heads, "
            "extracted with heads=None"
        )
    units = [distance_unit(ds) for ds in (first, other)]
    if units[0] != units[1]:
        yield f"its unit is {units[1]!r}, that of datasets[0] {units[0]!r}; extract with one unit="
    differing: set[str] = set()  # dims along which nothing further is compared
    for row in sorted(SCHEMA.values(), key=lambda row: row.dims != (row.name,)):
        if row.name in _OWN or differing & set(row.dims):
            continue
        problem = _difference(row, first, other, number)
        if problem:
            differing |= {row.name} if row.dims == (row.name,) else set()
            yield f"{row.name}: {problem}; {_REMEDIES.get(row.name, _SAME_CELLS)}"


def _difference(row: Variable, first: xr.Dataset, other: xr.Dataset, number: int) -> str | None:
    is_in = [row.name in ds.variables for ds in (first, other)]
    if not all(is_in):
        is_needed = row.name in (*NEIGHBORHOODS, "is_neighbor")
        has_it = f"only datasets[{0 if is_in[0] else number}] has it"
        return has_it if is_needed and any(is_in) else None
    arrays = [ds.variables[row.name] for ds in (first, other)]
    ours, theirs = (array.transpose(*(dim for dim in row.dims if dim in array.dims)).values
                    for array in arrays)  # fmt: skip
    if row.dims == (row.name,) and not np.array_equal(ours, theirs):
        return _of_names(np.atleast_1d(ours), np.atleast_1d(theirs), number)
    if ours.shape != theirs.shape:
        return f"shape {theirs.shape}, not {ours.shape}"
    if row.kind == "float64":
        scale = np.abs(ours[np.isfinite(ours)]).max(initial=0.0)
        same = np.isclose(theirs, ours, rtol=_CLOSE, atol=_CLOSE * scale, equal_nan=True)
    else:
        same = ours == theirs
    n_other = int((~same).sum())
    return f"{n_other:,} of {same.size:,} values differ" if n_other else None


def _of_names(ours: np.ndarray, theirs: np.ndarray, number: int) -> str:
    """What one has and the other lacks; both may have the same in another order."""
    extra, missing = np.setdiff1d(theirs, ours), np.setdiff1d(ours, theirs)
    if not extra.size and not missing.size:
        return "the same in another order"
    only = (
        f"{len(found):,} only in datasets[{where}] ({listed(found, 3)})"
        for found, where in ((extra, number), (missing, 0))
        if len(found)
    )
    return ", ".join(only)
