"""Export of quantities of single cells into the columns of an AnnData."""

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

    Then scanpy and squidpy can plot them. Cells that are not neighbors (receivers) get NaN.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), or with ``query`` in front.
    adata
        The AnnData that it was extracted from, or another with the same cells, possibly fewer or
        in another order: cells are matched by name where the Dataset has names
        (``neighbor_name``), else by position. It is changed in place.
    quantities
        Quantities to write, by name: DataArrays with the dim ``neighbor`` or ``receiver``, and
        possibly others. None writes ``length_scale`` and ``attention_at_contact``, the weight
        σ(a − δ).
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
        If a quantity has no dim of cells, or both, or lacks the coordinate that names its cells.
    NotFoundError
        If the AnnData has none of the cells, or the Dataset lacks some cells of a quantity.
    TypeError
        If `adata` is not an AnnData, or a quantity not a DataArray.
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
    """Make one column for each position along the dims other than that of the cells."""
    cells = {"neighbor", "receiver"} & set(array.dims)
    if len(cells) != 1:
        raise ValueError(
            f"quantities: {name!r} has dims {array.dims}; it needs either neighbor or receiver, "
            "one value for each cell"
        )
    cell = str(*cells)
    if cell not in array.coords:
        raise ValueError(f"quantities: {name!r} has no coordinate {cell}, which names its cells")
    position = _positions(ds, adata, array, cell)
    further = [dim for dim in array.dims if dim != cell]
    named: list[Hashable] = [name for name in ("query", "head") if name in array.coords]
    named += [dim for dim in further if dim not in named]
    columns = {}
    for index in np.ndindex(*(array.sizes[dim] for dim in further)):
        indexers = dict(zip(further, index, strict=True))
        values = array.isel(indexers)
        column = "_".join([name, *(_name_part(values, part, indexers) for part in named)])
        columns[column] = _align(values.values, position, adata.n_obs)
    return columns


def _align(values: NDArray[Any], position: NDArray[np.intp], n_cells: int) -> Any:
    """Put values at their positions among all cells; missing ones NaN, text as categories."""
    is_text = values.dtype.kind in "OUT"
    dtype = np.dtype(object) if is_text else np.result_type(values.dtype, np.float32)
    aligned = np.full(n_cells, None if is_text else np.nan, dtype)
    aligned[position[position >= 0]] = values[position >= 0]
    return pd.Categorical(aligned) if is_text else aligned


def _positions(
    ds: xr.Dataset, adata: anndata.AnnData, array: xr.DataArray, cell: str
) -> NDArray[np.intp]:
    """Find the position of each cell in the AnnData, −1 where it is missing."""
    if f"{cell}_name" in ds.variables:
        row = ds.get_index(cell).get_indexer(array.get_index(cell))
        if (row < 0).any():
            raise NotFoundError(
                f"quantities: the cells {listed(array[cell].values[row < 0], 5)} are not in this "
                "Dataset; take the quantity from it"
            )
        names = ds[f"{cell}_name"].values[row]
        if not adata.obs_names.is_unique:
            raise ValueError(
                "adata.obs_names holds names more than once; call adata.obs_names_make_unique() "
                "before extract, so that cells can be told apart"
            )
        position = np.asarray(adata.obs_names.get_indexer(pd.Index(names.astype(str))))
    else:
        names = array[cell].values
        position = np.where(names < adata.n_obs, names, -1)
    if array.size and not (position >= 0).any():
        raise NotFoundError(
            f"adata has none of the cells of this Dataset, e.g. {listed(names[:3])}; pass the "
            "AnnData that it was extracted from"
        )
    return position


def _name_part(values: xr.DataArray, name: Hashable, indexers: Mapping[Hashable, int]) -> str:
    value = values[name].item() if name in values.coords else indexers[name]
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if name == "query" else f"{name}{text}"
