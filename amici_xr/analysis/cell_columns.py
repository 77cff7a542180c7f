"""Quantities of single cells, written beside the cells of an AnnData."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.curves import curve
from amici_xr.analysis.length_scales import length_scale
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import NotFoundError, listed

if TYPE_CHECKING:
    import anndata


def to_anndata(
    ds: xr.Dataset,
    adata: anndata.AnnData,
    quantities: Mapping[str, xr.DataArray] | None = None,
    *,
    threshold: float = 0.5,
    sample_threshold: float | None = 0.02,
) -> list[str]:
    """Write quantities of the neighbors, or of the receivers, into ``adata.obs``.

    So that scanpy and squidpy can plot them. Cells that are no neighbor (receiver) get NaN.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), or with ``query`` in front.
    adata
        The AnnData that it was extracted from, or another with the same cells, also fewer of them
        or in another order: cells are found by their name where the Dataset has names
        (``neighbor_name``), by their position else. Written to in place.
    quantities
        What to write, by name: DataArrays with the dim ``neighbor`` or ``receiver``, and perhaps
        others. None writes ``length_scale`` and ``attention_at_contact``, the weight σ(a − δ).
    threshold, sample_threshold
        As in `length_scale`, for the length scales of the default.

    Returns
    -------
    list of str
        Names of the columns written: the quantity's, then the query, then each further dim with
        its value, joined by ``_``: ``length_scale_T_cell_head2``,
        ``attention_T_cell_head2_distance10``.

    Raises
    ------
    ValueError
        If a quantity has no dim of cells, or both, or does not tell its cells.
    NotFoundError
        If the AnnData has none of the cells, or the Dataset not all of a quantity's.
    TypeError
        If `adata` is no AnnData, or a quantity no DataArray.
    SchemaError
        If the Dataset has no neighborhoods, and `sample_threshold` is given.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "T_cell", adata, heads=2, progress=False)
    >>> amici_xr.to_anndata(ds, adata, threshold=0.1)
    ['length_scale_T_cell_head2', 'attention_at_contact_T_cell_head2']
    """
    check_structure(ds)
    if not hasattr(adata, "obs") or not hasattr(adata, "obs_names"):
        raise TypeError(f"adata must be an AnnData, not {type(adata).__name__}")
    if quantities is None:
        quantities = {
            "length_scale": length_scale(ds, threshold, sample_threshold),
            "attention_at_contact": curve(ds, 0.0).drop_vars("distance"),
        }
    if not isinstance(quantities, Mapping):
        raise TypeError(
            f"quantities must map names to DataArrays, not {type(quantities).__name__}; e.g. "
            "{'attention': ds.cf.curve(distance=10.0)}"
        )
    columns: dict[str, Any] = {}
    for name, array in quantities.items():
        if not isinstance(array, xr.DataArray):
            raise TypeError(f"quantities: {name!r} must be a DataArray, not {type(array).__name__}")
        columns |= _columns(ds, adata, str(name), array.compute())
    for name, values in columns.items():
        adata.obs[name] = values
    return list(columns)


def _columns(
    ds: xr.Dataset, adata: anndata.AnnData, name: str, array: xr.DataArray
) -> dict[str, Any]:
    """One column for each position along the dims other than that of the cells."""
    cells = {"neighbor", "receiver"} & set(array.dims)
    if len(cells) != 1:
        raise ValueError(
            f"quantities: {name!r} has dims {array.dims}; it needs either neighbor or receiver, "
            "one value for each cell"
        )
    cell = str(*cells)
    if cell not in array.coords:
        raise ValueError(f"quantities: {name!r} has no coordinate {cell}: whose values are these?")
    place = _places(ds, adata, array, cell)
    further = [dim for dim in array.dims if dim != cell]
    named: list[Hashable] = [name for name in ("query", "head") if name in array.coords]
    named += [dim for dim in further if dim not in named]
    columns = {}
    for position in np.ndindex(*(array.sizes[dim] for dim in further)):
        at = dict(zip(further, position, strict=True))
        one = array.isel(at)
        column = "_".join([name, *(_part(one, part, at) for part in named)])
        columns[column] = _in_order(one.values, place, adata.n_obs)
    return columns


def _in_order(values: NDArray[Any], place: NDArray[np.intp], n_cells: int) -> Any:
    """The values at their places among all cells; missing ones NaN, text as categories."""
    if values.dtype.kind in "OUT":
        written = np.full(n_cells, None, dtype=object)
        written[place[place >= 0]] = values[place >= 0]
        return pd.Categorical(written)
    written = np.full(n_cells, np.nan, dtype=np.result_type(values.dtype, np.float32))
    written[place[place >= 0]] = values[place >= 0]
    return written


def _places(
    ds: xr.Dataset, adata: anndata.AnnData, array: xr.DataArray, cell: str
) -> NDArray[np.intp]:
    """Position in the AnnData of each cell, −1 where it is not there."""
    if f"{cell}_name" in ds.variables:
        at = ds.get_index(cell).get_indexer(array.get_index(cell))
        if (at < 0).any():
            raise NotFoundError(
                f"quantities: the cells {listed(array[cell].values[at < 0], 5)} are not in this "
                "Dataset; take the quantity from it"
            )
        names = ds[f"{cell}_name"].values[at]
        if not adata.obs_names.is_unique:
            raise ValueError(
                "adata.obs_names holds names more than once; call adata.obs_names_make_unique() "
                "before extract, so that cells can be told apart"
            )
        place = np.asarray(adata.obs_names.get_indexer(pd.Index(names.astype(str))))
    else:
        names = array[cell].values
        place = np.where(array[cell].values < adata.n_obs, array[cell].values, -1)
    if array.size and not (place >= 0).any():
        raise NotFoundError(
            f"adata has none of the cells of this Dataset, e.g. {listed(names[:3])}; pass the "
            "AnnData that it was extracted from"
        )
    return place


def _part(one: xr.DataArray, name: Hashable, at: Mapping[Hashable, int]) -> str:
    value = one[name].item() if name in one.coords else at[name]
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if name == "query" else f"{name}{text}"
