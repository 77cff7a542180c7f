"""What a map of the tissue shows: which quantity of which cells, and where these lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.length_scales import length_scale
from amici_xr.dataset.selection import samples, select
from amici_xr.errors import NotFoundError, SchemaError, check_names, listed

_CELLS = {"neighbor", "receiver"}
Positions = dict[str, NDArray[np.float64]]  # x and y of some cells


def choose_quantity(
    ds: xr.Dataset, quantity: Any, threshold: float, sample_threshold: float | None
) -> xr.DataArray:
    """Return what was asked for, by its name or as an array of the caller's own."""
    if isinstance(quantity, xr.DataArray):
        return quantity
    if not isinstance(quantity, str):
        raise TypeError(
            f"quantity must be a name or a DataArray, not {type(quantity).__name__}; an array of "
            "your own needs its cells: xr.DataArray(values, coords={'neighbor': ds.neighbor})"
        )
    if quantity == "length_scale":
        return length_scale(ds, threshold, sample_threshold)
    drawable = [
        name
        for name, variable in ds.variables.items()
        if _CELLS & set(variable.dims) and "rank" not in variable.dims
    ]
    if quantity not in drawable:
        names = listed(["length_scale", *drawable])
        raise NotFoundError(f"quantity={quantity!r} is not known; known: {names}, or a DataArray")
    return ds[quantity]


def select_head(values: xr.DataArray, head: int | None) -> xr.DataArray:
    """Return the values along the one dim of cells."""
    if "head" in values.coords and (head is not None or "head" in values.dims):
        heads = np.atleast_1d(values["head"].values).tolist()
        if head is None and len(heads) > 1:
            raise ValueError(f"quantity has the heads {listed(heads)}; name one, e.g. head=0")
        chosen = heads[0] if head is None else head
        check_names("head", [chosen], heads, "head")
        values = values.sel(head=chosen) if "head" in values.dims else values
    further = [dim for dim in values.dims if dim not in _CELLS]
    if further or len(values.dims) != 1:
        raise ValueError(
            f"quantity has dims {values.dims}, but a map needs one value for each neighbor or "
            f"receiver; pick one along {listed(further or values.dims)}, e.g. with isel or "
            "amici_xr.select"
        )
    return values


def select_sample(ds: xr.Dataset, sample: str | None) -> xr.Dataset:
    """Return the one sample that is drawn."""
    if sample is not None:
        return select(ds, sample=sample)
    if "neighbor_sample" in ds.variables and len(samples(ds)) > 1:
        raise ValueError(
            f"ds holds the samples {listed(samples(ds))}, whose coordinates may overlap; draw one "
            "at a time with sample=…"
        )
    return ds


def are_shown(ds: xr.Dataset, values: xr.DataArray, labels: Any) -> NDArray[np.bool_]:
    """Which values belong to a cell in `ds` with one of the labels."""
    (cell,) = values.dims
    if cell not in values.coords:
        raise ValueError(f"quantity has no coordinate {cell}, so its cells are not known")
    positions = ds.get_index(cell).get_indexer(values.get_index(cell))
    is_shown = np.asarray(positions >= 0)
    if labels is None:
        return is_shown
    name = "label" if cell == "neighbor" else "receiver_label"
    if name not in ds.variables:
        raise SchemaError(f"this Dataset has no {name}, so labels={labels!r} can't be told apart")
    label_of_cell = ds[name].values
    names = [labels] if isinstance(labels, str) else list(labels)
    check_names("labels", names, np.unique(label_of_cell).tolist(), "label")
    return is_shown & np.isin(label_of_cell[positions], names)


def positions_of(ds: xr.Dataset, values: xr.DataArray) -> Positions:
    """Return where the cells of the values lie."""
    (cell,) = values.dims
    for name in (f"{cell}_x", f"{cell}_y"):
        if name not in ds.variables:
            raise SchemaError(
                f"this Dataset has no {name}, so it can't tell where its cells lie; extract it "
                f"from an AnnData with coordinates, or assign {cell}_x and {cell}_y"
            )
    return positions_if_known(ds.sel({cell: values[cell].values}), str(cell))


def positions_if_known(ds: xr.Dataset, cell: str) -> Positions:
    """Return where the neighbors, or the receivers, lie; empty arrays where unknown."""
    is_known = {f"{cell}_x", f"{cell}_y"} <= set(ds.variables)
    return {axis: ds[f"{cell}_{axis}"].values if is_known else np.array([]) for axis in "xy"}
