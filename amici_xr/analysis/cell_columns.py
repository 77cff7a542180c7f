"""Export of quantities of single cells into the columns of an AnnData."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.cell_identity import find_cells
from amici_xr.analysis.column_names import distinguish, make_savable, replace_slashes
from amici_xr.analysis.curves import curve
from amici_xr.analysis.length_scales import length_scale
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import NotFoundError, listed

if TYPE_CHECKING:
    import anndata
    import spatialdata


def to_anndata(
    ds: xr.Dataset,
    adata: anndata.AnnData | spatialdata.SpatialData,
    quantities: Mapping[str, xr.DataArray] | None = None,
    *,
    threshold: float = 0.5,
    sample_threshold: float | None = 0.02,
    coord_key: str | None = None,
    labels_key: str | None = None,
) -> list[str]:
    """Write quantities of the neighbors, or of the receivers, into ``adata.obs``.

    Then scanpy and squidpy can plot them. Cells that are not neighbors (receivers) get NaN.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), or with ``query`` in front.
    adata
        The AnnData that it was extracted from, or another with the same cells, possibly fewer or
        in another order. Cells are matched by name (``neighbor_name``), compared as text, so that
        names may be integers. Where the Dataset has no names, or names are repeated, cells are
        matched by position, which takes the very AnnData that was extracted from. It is changed
        in place. Of a SpatialData, the columns go to its only table; of several, pass one,
        ``sdata.tables["name"]``. Coordinates of a table that annotates shapes are not compared,
        since the positions of its cells are those of the shapes.
    quantities
        Quantities to write, by name: DataArrays with the dim ``neighbor`` or ``receiver``, and
        possibly others. None writes ``length_scale`` and ``attention_at_contact``, the weight
        σ(a − δ).
    threshold, sample_threshold
        As in `length_scale`, for the length scales of the default.
    coord_key, labels_key
        Entry of ``adata.obsm`` with the coordinates, and column of ``adata.obs`` with the cell
        types, that matched cells must share with the Dataset. None takes the keys of the model,
        where the Dataset records them, else ``"spatial"`` and no cell types. What one side lacks
        is not compared.

    Returns
    -------
    list of str
        Names of the columns written: the quantity's, then the query, then each further dim with
        its value, joined by ``_``: ``length_scale_T_cell_head2``,
        ``attention_T_cell_head2_distance10``. Values have six digits, or as many as tell them
        apart. Slashes and backslashes, with which AnnData can't save a column, become ``_``:
        ``length_scale_T_NK_head2`` of "T/NK". A column that has the same name already is
        replaced.

    Raises
    ------
    ValueError
        If cells of the same name lie elsewhere in the AnnData, or are of another cell type; if
        cells can't be told apart; if a quantity has no dim of cells, or both, or lacks the
        coordinate that names its cells; if two columns would have the same name, or one that can't
        be saved. Nothing is written then.
    NotFoundError
        If the AnnData has none of the cells, or lacks `coord_key` or `labels_key`, or the Dataset
        lacks some cells of a quantity.
    TypeError
        If `adata` is neither an AnnData nor a SpatialData, or a quantity not a DataArray.
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
    adata = _only_table(adata)
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
    rows: dict[str, NDArray[np.intp]] = {}
    columns: dict[str, Any] = {}
    cell_types = ds["cell_type"].values.tolist() if "cell_type" in ds.coords else []
    for name, array in quantities.items():
        cell = _check_quantity(ds, str(name), array)
        if cell not in rows:
            rows[cell] = find_cells(ds, adata, cell, coord_key, labels_key)
        row = rows[cell][pd.Index(ds[cell].values).get_indexer(pd.Index(array[cell].values))]
        if array.size and not (row >= 0).any():
            raise NotFoundError(
                "adata has none of the cells of this Dataset, e.g. "
                f"{listed(array[cell].values[:3])}; pass the AnnData that it was extracted from"
            )
        for column, values in _name_columns(str(name), array.compute(), cell, cell_types):
            savable = make_savable(column, adata.obs.index.name)
            if savable in columns:
                raise ValueError(
                    f"quantities: two columns would have the name {savable!r}; write one of them "
                    "at a time, each under a name of its own in quantities"
                )
            columns[savable] = _align(values, row, adata.n_obs)
    for column, values in columns.items():
        adata.obs[column] = values
    return list(columns)


def _only_table(adata: Any) -> Any:
    """Return the only table of a SpatialData; anything else as it is."""
    if type(adata).__name__ != "SpatialData":
        return adata
    names = list(adata.tables)
    if len(names) != 1:
        raise ValueError(
            f"adata is a SpatialData with the tables {listed(names)}; pass one of them, "
            "sdata.tables[…]"
        )
    return adata.tables[names[0]]


def _check_quantity(ds: xr.Dataset, name: str, array: Any) -> str:
    """Return the dim of cells, neighbor or receiver, of a quantity that was taken from `ds`."""
    if not isinstance(array, xr.DataArray):
        raise TypeError(f"quantities: {name!r} must be a DataArray, not {type(array).__name__}")
    cells = {"neighbor", "receiver"} & set(array.dims)
    if len(cells) != 1:
        raise ValueError(
            f"quantities: {name!r} has dims {array.dims}; it needs either neighbor or receiver, "
            "one value for each cell"
        )
    cell = str(*cells)
    if cell not in array.coords:
        raise ValueError(f"quantities: {name!r} has no coordinate {cell}, which names its cells")
    if not pd.Index(array[cell].values).is_unique:
        raise ValueError(
            f"quantities: {name!r} holds a {cell} more than once; keep one value for each, e.g. by "
            f"drop_duplicates({cell!r})"
        )
    cells_of_dataset = pd.Index(np.atleast_1d(ds[cell].values) if cell in ds.coords else [])
    row = cells_of_dataset.get_indexer(pd.Index(array[cell].values))
    if (row < 0).any():
        raise NotFoundError(
            f"quantities: the cells {listed(array[cell].values[row < 0], 5)} are not in this "
            "Dataset; take the quantity from it"
        )
    cell_name = f"{cell}_name"
    if cell_name in array.coords and cell_name in ds.coords:
        n_different = int((array[cell_name].values != ds[cell_name].values[row]).sum())
        if n_different:
            raise ValueError(
                f"quantities: {n_different:,} {cell}s of {name!r} have other names in this "
                "Dataset; take the quantity from it"
            )
    return cell


def _name_columns(
    name: str, array: xr.DataArray, cell: str, cell_types: list[str]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield name and values of one column for each position along the dims but that of cells."""
    further = [dim for dim in array.dims if dim != cell]
    named: list[Hashable] = [
        coordinate
        for coordinate in ("query", "head")
        if coordinate in array.coords and cell not in array[coordinate].dims
    ]
    texts = [_write_values(array, dim, cell_types) for dim in dict.fromkeys([*named, *further])]
    for index in np.ndindex(*(array.sizes[dim] for dim in further)):
        indexers = dict(zip(further, index, strict=True))
        parts = [str(text.isel(indexers, missing_dims="ignore").values[()]) for text in texts]
        yield "_".join([name, *parts]), array.isel(indexers).values


def _write_values(array: xr.DataArray, name: Hashable, cell_types: list[str]) -> xr.Variable:
    """Write each value of a coordinate as its part of a column's name."""
    coordinate = array[name].variable  # 0, 1, 2, … where a dim has no coordinate
    values = coordinate.values.ravel()
    texts = distinguish(values) if values.dtype.kind == "f" else [str(value) for value in values]
    if name == "query":
        names = [replace_slashes(text, cell_types) for text in texts]
    else:
        names = [f"{name}{text}" for text in texts]
    parts = np.array(names, dtype=object)
    return xr.Variable(coordinate.dims, parts.reshape(coordinate.shape))


def _align(values: NDArray[Any], row: NDArray[np.intp], n_cells: int) -> Any:
    """Put values at their rows among all cells; missing ones NaN, text as categories."""
    is_text = values.dtype.kind in "OUT"
    dtype = np.dtype(object) if is_text else np.result_type(values.dtype, np.float32)
    aligned = np.full(n_cells, None if is_text else np.nan, dtype)
    aligned[row[row >= 0]] = values[row >= 0]
    return pd.Categorical(aligned) if is_text else aligned
