"""Identity of cells: which row of an AnnData is which cell of a Dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.schema import recorded_details, recorded_value
from amici_xr.errors import NotFoundError, listed

if TYPE_CHECKING:
    import anndata

_TOLERANCE = 1e-6  # of the largest coordinate; float32 keeps seven digits
_ANNOTATES_REGIONS = "spatialdata_attrs"  # entry of uns, of a table of a SpatialData
_REMEDY = "pass the AnnData that the Dataset was extracted from, or call extract again on this one"


def find_cells(
    ds: xr.Dataset,
    adata: anndata.AnnData,
    cell: str,
    coord_key: str | None = None,
    labels_key: str | None = None,
) -> NDArray[np.intp]:
    """Find the row of each neighbor (receiver) in the AnnData, −1 where it is missing.

    Cells are found by name where names are unique, else by position. Their coordinates and cell
    types, where both sides have them, must agree.
    """
    names = pd.Index(np.asarray(adata.obs_names, dtype=object).astype(str))
    is_extracted = _is_extracted_one(ds, names)
    if f"{cell}_name" not in ds.variables:
        if not is_extracted:
            raise ValueError(
                f"adata has {len(names):,} cells, not those of this Dataset, which has no names "
                "to find cells by; pass the AnnData that it was extracted from"
            )
        rows = ds[cell].values
    elif names.is_unique and _has_unique_names(ds):
        rows = names.get_indexer(pd.Index(ds[f"{cell}_name"].values.astype(str)))
    elif is_extracted:
        rows = ds[cell].values
    else:
        raise ValueError(
            "names of cells are repeated, in adata.obs_names or in this Dataset, and adata is not "
            "the AnnData that it was extracted from, so that cells can't be told apart; pass that "
            "AnnData with the names it had, or give each cell a name of its own, e.g. by "
            "anndata.concat(..., index_unique='-'), and extract again"
        )
    rows = np.asarray(rows, dtype=np.intp)
    is_compared = _check_coordinates(ds, adata, cell, rows, coord_key)
    is_compared |= _check_labels(ds, adata, cell, rows, labels_key)
    is_found = (rows >= 0).any()
    if is_found and not (is_compared or is_extracted) and _are_row_numbers(names):
        raise ValueError(
            "adata.obs_names only number the rows, perhaps given anew after extract, and adata has "
            "no coordinates or cell types to tell whether the cells are the same; "
            f"{_REMEDY}, or name these with coord_key= or labels_key="
        )
    return rows


def _is_extracted_one(ds: xr.Dataset, names: pd.Index) -> bool:
    """Tell whether each cell of the Dataset stands at its position, under its name."""
    if _recorded(ds, "extraction", "n_cells", int) not in (None, len(names)):
        return False
    for cell in ("neighbor", "receiver"):
        if cell in ds.coords:
            position = np.atleast_1d(ds[cell].values)
            if position.size and position.max() >= len(names):
                return False
            if f"{cell}_name" in ds.variables:
                expected = np.atleast_1d(ds[f"{cell}_name"].values).astype(str)
                if not np.array_equal(names[position].to_numpy(dtype=object), expected):
                    return False
    return True


def _has_unique_names(ds: xr.Dataset) -> bool:
    """Tell whether no two cells, neighbors or receivers, share a name."""
    if _recorded(ds, "extraction", "n_repeated_names", int):
        return False
    cells = [
        pd.Series(np.atleast_1d(ds[f"{cell}_name"].values).astype(str), np.atleast_1d(ds[cell]))
        for cell in ("neighbor", "receiver")
        if f"{cell}_name" in ds.variables
    ]
    by_position = pd.concat(cells)
    return bool(by_position[~by_position.index.duplicated()].is_unique)


def _are_row_numbers(names: pd.Index) -> bool:
    """Tell whether names count the rows from 0 or 1: ``0``, ``1``, … or ``cell_1``, ``cell_2``."""
    texts = pd.Series(names.to_numpy(dtype=object))
    for pattern in (r"^(\D*)(\d+)(.*)$", r"^(.*?)(\d+)(\D*)$"):  # the first number, or the last
        parts = texts.str.extract(pattern)
        if len(parts) > 1 and parts.notna().all(axis=None) and parts.nunique()[[0, 2]].max() == 1:
            numbers = parts[1].astype(float).to_numpy()
            first = numbers[0]
            if first in (0, 1) and np.array_equal(numbers - first, np.arange(len(parts))):
                return True
    return False


def _check_coordinates(
    ds: xr.Dataset,
    adata: anndata.AnnData,
    cell: str,
    rows: NDArray[np.intp],
    coord_key: str | None,
) -> bool:
    """Refuse cells that lie elsewhere; tell whether there was anything to compare."""
    key = coord_key or _recorded(ds, "model_settings", "coord_obsm_key", str) or "spatial"
    if key not in adata.obsm:
        if coord_key is not None:
            raise NotFoundError(
                f"coord_key={coord_key!r} is not in adata.obsm, which has {listed(adata.obsm)}"
            )
        return False
    axes = [f"{cell}_{axis}" for axis in "xyz" if f"{cell}_{axis}" in ds.variables]
    is_found = rows >= 0
    if not (axes and is_found.any()):
        return False
    given = adata.obsm[key]
    try:
        positions = np.asarray(given.toarray() if hasattr(given, "toarray") else given, float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"adata.obsm[{key!r}] holds coordinates that are not numbers; name others with "
            "coord_key="
        ) from error
    positions = positions.reshape(adata.n_obs, -1)[rows[is_found], : len(axes)]
    expected = np.stack([ds[axis].values for axis in axes], axis=1)[is_found]
    expected = expected[:, : positions.shape[1]]
    factors = {1.0, float(ds.attrs.get("microns_per_unit", 1.0))}
    lies_elsewhere = np.logical_and.reduce(
        [~_are_close(expected, factor * positions).all(axis=1) for factor in factors]
    )
    if lies_elsewhere.any() and coord_key is None and _ANNOTATES_REGIONS in adata.uns:
        return False  # its positions are those of the regions
    _refuse(
        ds,
        cell,
        lies_elsewhere,
        is_found,
        f"lie elsewhere in adata.obsm[{key!r}]",
        f"{_REMEDY}, or, where the same cells were moved, name their old coordinates in adata.obsm "
        "with coord_key=",
    )
    return True


def _are_close(expected: NDArray[Any], positions: NDArray[Any]) -> NDArray[np.bool_]:
    tolerance = _TOLERANCE * np.nanmax(np.abs(expected), initial=0.0)
    is_close: NDArray[np.bool_] = np.isclose(
        expected, positions, rtol=0.0, atol=tolerance, equal_nan=True
    )
    return is_close


def _check_labels(
    ds: xr.Dataset,
    adata: anndata.AnnData,
    cell: str,
    rows: NDArray[np.intp],
    labels_key: str | None,
) -> bool:
    """Refuse cells of another type; tell whether there was anything to compare."""
    key = labels_key or _recorded(ds, "model_settings", "labels_key", str)
    if key is None or key not in adata.obs:
        if labels_key is not None:
            raise NotFoundError(
                f"labels_key={labels_key!r} is not a column of adata.obs, which has "
                f"{listed(adata.obs.columns)}"
            )
        return False
    label = "label" if cell == "neighbor" else "receiver_label"
    is_found = rows >= 0
    if label not in ds.variables or not is_found.any():
        return False
    types = np.asarray(adata.obs[key], dtype=object)[rows[is_found]].astype(str)
    _refuse(
        ds,
        cell,
        types != ds[label].values[is_found].astype(str),
        is_found,
        f"are of another cell type in adata.obs[{key!r}]",
        f"{_REMEDY}, or, where the types were renamed, name a column with the old ones with "
        "labels_key=",
    )
    return True


def _refuse(
    ds: xr.Dataset,
    cell: str,
    differs: NDArray[np.bool_],
    is_found: NDArray[np.bool_],
    how: str,
    remedy: str,
) -> None:
    if differs.any():
        shown = f"{cell}_name" if f"{cell}_name" in ds.variables else cell
        examples = listed(ds[shown].values[is_found][differs][:3])
        raise ValueError(
            f"{differs.sum():,} of {differs.size:,} {cell}s of this Dataset {how}, e.g. "
            f"{examples}; they are not the same cells, and nothing was written: {remedy}"
        )


def _recorded(ds: xr.Dataset, attribute: str, name: str, kind: type) -> Any:
    """Return an entry of the Dataset's provenance, None where it is not recorded."""
    value = recorded_value(recorded_details(ds, attribute).get(name))
    return value if isinstance(value, kind) else None
