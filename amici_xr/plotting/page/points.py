"""Single cells that the page shows: a sample, in which rare cell types stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.observed_attention import dummy_attention
from amici_xr.dataset.reduction import groups
from amici_xr.dataset.schema import SCORES, has_neighborhoods
from amici_xr.errors import SchemaError

Arrays = dict[str, NDArray[Any]]


def stratified_sample(
    codes: NDArray[np.integer[Any]], size: int, random_state: int | None
) -> NDArray[np.intp]:
    """Positions of at most `size` elements: as many of each group as can be.

    One random element of each group comes first, then a second one, and so on: only the largest
    groups lose members, and any beginning of the sample is such a sample too.
    """
    order = np.random.default_rng(random_state).permutation(codes.size)
    by_group = np.argsort(codes[order], kind="stable")
    counts = np.bincount(codes)
    turn = np.empty(codes.size, dtype=np.intp)  # of each element among those of its group
    turn[by_group] = np.arange(codes.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(order[np.argsort(turn, kind="stable")[:size]])


def neighbor_points(
    one: xr.Dataset, shown: list[str], size: int, random_state: int | None
) -> Arrays:
    """Neighbors with their scores, (head, point), as exact as the Dataset has them.

    ``label`` is the position in `shown`; ``x``, ``y`` and ``sample`` where known.
    """
    names, codes = groups(one, "label")
    chosen = stratified_sample(codes, size, random_state)
    cells = one.isel(neighbor=chosen)
    place = {label: number for number, label in enumerate(shown)}
    own = np.array([place.get(str(name), 0) for name in names], dtype=np.uint16)
    a, p = (narrow(cells[name].transpose("head", "neighbor").values) for name in SCORES)
    return {"label": own[codes[chosen]], "a": a, "p": p} | _places(cells, "neighbor")


def receiver_points(one: xr.Dataset, size: int, random_state: int | None) -> tuple[Arrays, str]:
    """Receivers with the attention in place that goes to neighbors, and why that is missing.

    ``1 − dummy_attention``, (head, point); left out where a score of a neighborhood is not there.
    """
    if not has_neighborhoods(one):
        return {}, "this Dataset has no neighborhoods"
    if not {"receiver_x", "receiver_y"} <= set(one.variables):
        return {}, "this Dataset has no coordinates of the receivers"
    chosen = np.random.default_rng(random_state).permutation(one.sizes["receiver"])[:size]
    cells = one.isel(receiver=chosen)
    points = _places(cells, "receiver")
    try:
        to_dummy = dummy_attention(cells).transpose("head", "receiver").values
    except SchemaError:
        return points, "scores of some cells in the neighborhoods are not in this Dataset"
    return points | {"attention": 1 - to_dummy}, ""


def narrow(values: NDArray[Any]) -> NDArray[Any]:
    """The values as float32 where that loses nothing, and else as float64."""
    wide = np.ascontiguousarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        small = wide.astype(np.float32)
    return small if np.array_equal(small.astype(np.float64), wide, equal_nan=True) else wide


def _places(cells: xr.Dataset, cell: str) -> Arrays:
    """Where the cells lie, and in which sample, by its place among all; {} where not known."""
    places = {
        axis: narrow(cells[f"{cell}_{axis}"].values)
        for axis in "xy"
        if {f"{cell}_x", f"{cell}_y"} <= set(cells.variables)
    }
    if f"{cell}_sample" in cells.variables:
        places["sample"] = cells[f"{cell}_sample"].values.astype(str)
    return places
