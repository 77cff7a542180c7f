"""Single cells that the page shows: a sample that keeps rare cell types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.observed_attention import dummy_attention
from amici_xr.dataset.reduction import groups
from amici_xr.dataset.schema import SCORES, has_neighborhoods
from amici_xr.errors import SchemaError
from amici_xr.plotting.page.encoding import Shares

Arrays = Mapping[str, NDArray[Any] | Shares]


def stratified_sample(
    codes: NDArray[np.integer[Any]], size: int, random_state: int | None
) -> NDArray[np.intp]:
    """Return positions of at most `size` elements, balanced over the groups `codes`.

    One random element of each group comes first, then a second one, and so on: only the largest
    groups lose members, and any beginning of the sample is such a sample too.
    """
    order = np.random.default_rng(random_state).permutation(codes.size)
    by_group = np.argsort(codes[order], kind="stable")
    counts = np.bincount(codes)
    rank = np.empty(codes.size, dtype=np.intp)  # of each element within its group
    rank[by_group] = np.arange(codes.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(order[np.argsort(rank, kind="stable")[:size]])


def neighbor_points(
    ds: xr.Dataset, labels: list[str], size: int, random_state: int | None
) -> Arrays:
    """Return a sample of neighbors with their scores, (head, point), as exact as in the Dataset.

    ``label`` is the position in `labels`; ``x``, ``y`` and ``sample`` are there where known.
    """
    names, codes = groups(ds, "label")
    chosen = stratified_sample(codes, size, random_state)
    cells = ds.isel(neighbor=chosen)
    position = {label: number for number, label in enumerate(labels)}
    positions = np.array([position.get(str(name), 0) for name in names], dtype=np.uint16)
    a, p = (narrow(cells[name].transpose("head", "neighbor").values) for name in SCORES)
    points = {"label": positions[codes[chosen]], "a": a, "p": p}
    return points | _coordinates(cells, "neighbor")


def receiver_points(ds: xr.Dataset, size: int, random_state: int | None) -> tuple[Arrays, str]:
    """Return a sample of receivers with their observed attention, and why that is missing.

    The attention to neighbors is ``1 − dummy_attention``, (head, point); it is left out where a
    score of a neighborhood is missing.
    """
    if not has_neighborhoods(ds):
        return {}, "this Dataset has no neighborhoods"
    if not {"receiver_x", "receiver_y"} <= set(ds.variables):
        return {}, "this Dataset has no coordinates of the receivers"
    chosen = np.random.default_rng(random_state).permutation(ds.sizes["receiver"])[:size]
    cells = ds.isel(receiver=chosen)
    points = _coordinates(cells, "receiver")
    try:
        to_dummy = dummy_attention(cells).transpose("head", "receiver").values
    except SchemaError:
        return points, "scores of some cells in the neighborhoods are not in this Dataset"
    return {**points, "attention": Shares(1 - to_dummy)}, ""


def narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values as float32 where that loses nothing, and else as float64."""
    wide = np.ascontiguousarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        small = wide.astype(np.float32)
    return small if np.array_equal(small.astype(np.float64), wide, equal_nan=True) else wide


def _coordinates(cells: xr.Dataset, cell: str) -> dict[str, NDArray[Any]]:
    """Return where the cells lie, and in which sample; nothing where not known."""
    names = {axis: f"{cell}_{axis}" for axis in "xy"}
    is_known = set(names.values()) <= set(cells.variables)
    points = {axis: narrow(cells[name].values) for axis, name in names.items() if is_known}
    if f"{cell}_sample" in cells.variables:
        points["sample"] = cells[f"{cell}_sample"].values.astype(str)
    return points
