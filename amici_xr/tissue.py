"""The AnnData as a model reads it: labels as positions in its vocabulary, genes in its order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import NotFoundError, listed
from .optional import require

if TYPE_CHECKING:
    import anndata

    from .checkpoint import SavedModel


def open_tissue(adata: Any, model: Any) -> anndata.AnnData:
    """Return the AnnData: as given, read from a path, or that of a live model."""
    if adata is None:
        adata = _own_tissue(model)
    if isinstance(adata, str | os.PathLike):
        if not Path(adata).exists():
            raise FileNotFoundError(f"adata={os.fspath(adata)!r}: there is no such file")
        package = require("anndata", "model", "reading a tissue")
        read = package.read_zarr if Path(adata).suffix == ".zarr" else package.read_h5ad
        try:
            return read(adata)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"adata={os.fspath(adata)!r} can't be read: {error}") from error
    if not all(hasattr(adata, name) for name in ("obs", "obsm", "var_names", "X")):
        raise TypeError(f"adata must be an AnnData or a path, not {type(adata).__name__}")
    return adata


def _own_tissue(model: Any) -> Any:
    """The AnnData of a live model, or the one that was saved in its folder."""
    if isinstance(model, str | os.PathLike):
        folder = Path(model) if Path(model).is_dir() else Path(model).parent
        beside = folder / "adata.h5ad"
        if beside.is_file():
            return beside
    adata = getattr(model, "adata", None)
    if adata is None:
        raise TypeError(
            "adata=None, but this saved model has no AnnData of its own; "
            "pass the tissue, e.g. extract(model, query, 'tissue.h5ad')"
        )
    return adata


def label_codes(adata: anndata.AnnData, model: SavedModel) -> NDArray[np.intp]:
    """Cell type of each cell, as its position in the model's vocabulary."""
    key = model.settings.labels_key
    if key not in adata.obs:
        raise NotFoundError(
            f"adata.obs has no {key!r}, where the model expects the cell types; "
            f"it has {listed(adata.obs.columns)}"
        )
    labels = adata.obs[key]
    if labels.isna().any():
        raise ValueError(
            f"adata.obs[{key!r}] has no cell type for {labels.isna().sum():,} cells; drop these "
            "cells, since they would be neighbors of an unknown type"
        )
    codes = pd.Index(model.labels).get_indexer(pd.Index(labels.astype(str).to_numpy(dtype=object)))
    if (codes < 0).any():
        unknown = pd.unique(labels[codes < 0].astype(str))
        raise NotFoundError(
            f"adata.obs[{key!r}] holds {listed(unknown)}, which the model was not trained on; it "
            f"knows {listed(model.labels)} and adata has {listed(pd.unique(labels.astype(str)))}"
        )
    return codes


def find_coordinates(adata: anndata.AnnData, key: str) -> NDArray[np.float64] | None:
    """Coordinates of all cells, (cell, axis), from an array or DataFrame; None where not known."""
    if key not in adata.obsm:
        return None
    coordinates: NDArray[np.float64] = np.asarray(adata.obsm[key], dtype=np.float64)
    missing = int((~np.isfinite(coordinates)).any(axis=1).sum())
    if missing:
        raise ValueError(
            f"adata.obsm[{key!r}] holds no finite coordinates for {missing:,} cells; drop these "
            "cells first, since every neighborhood depends on them"
        )
    return coordinates


def find_radius(adata: anndata.AnnData, key: str | None) -> NDArray[np.float64] | None:
    """Radius of all cells, None where the model was set up without."""
    if key is None:
        return None
    if key not in adata.obs:
        raise NotFoundError(
            f"adata.obs has no {key!r}, where the model expects the radius of the cells; "
            f"it has {listed(adata.obs.columns)}"
        )
    radius: NDArray[np.float64] = pd.to_numeric(adata.obs[key], errors="coerce").to_numpy(float)
    if not (np.isfinite(radius) & (radius >= 0)).all():
        raise ValueError(f"adata.obs[{key!r}] holds radii that are missing, negative or no numbers")
    return radius


def describe_cells(
    adata: anndata.AnnData, model: SavedModel, **cells: NDArray[np.intp]
) -> dict[str, NDArray[Any]]:
    """Names and, where known, places of the neighbors and the receivers."""
    names = adata.obs_names.to_numpy(dtype=object)
    places = find_coordinates(adata, model.settings.coord_obsm_key)
    described = {f"{role}_name": names[position] for role, position in cells.items()}
    if places is not None:
        for role, position in cells.items():
            for axis, values in zip("xyz", places.T, strict=False):
                described[f"{role}_{axis}"] = values[position]
    return described


class Expression:
    """Expression of the model's genes, in its order, a batch of cells at a time."""

    def __init__(self, adata: anndata.AnnData, model: SavedModel) -> None:
        layer = model.settings.layer
        if layer is not None and layer not in adata.layers:
            raise NotFoundError(
                f"adata.layers has no {layer!r}, from which the model was trained; "
                f"it has {listed(adata.layers.keys())}"
            )
        self._matrix: Any = adata.X if layer is None else adata.layers[layer]
        if self._matrix is None:
            raise ValueError("adata.X is empty, and the model was trained from it")
        if getattr(self._matrix, "format", None) == "csc" and hasattr(self._matrix, "tocsr"):
            self._matrix = self._matrix.tocsr()  # rows of a CSC matrix are slow to take
        self._columns = _gene_columns(adata, model)

    def __getitem__(self, cells: NDArray[np.intp]) -> NDArray[np.float32]:
        """Dense expression of some cells, (cell, gene)."""
        rows = self._matrix[cells]
        if self._columns is not None:
            rows = rows[:, self._columns]
        dense = rows.toarray() if hasattr(rows, "toarray") else np.asarray(rows)
        return np.ascontiguousarray(dense, dtype=np.float32)


def _gene_columns(adata: anndata.AnnData, model: SavedModel) -> NDArray[np.intp] | None:
    """Columns of the model's genes; None where the AnnData has just these in this order."""
    names = pd.Index(adata.var_names.astype(str))
    if names.size == len(model.gene_names) and (names == np.array(model.gene_names)).all():
        return None
    doubled = names[names.duplicated()].intersection(pd.Index(model.gene_names))
    if doubled.size:
        raise ValueError(
            f"adata.var_names holds {listed(doubled)} more than once; call var_names_make_unique "
            "or drop the copies"
        )
    columns: NDArray[np.intp] = names.get_indexer(pd.Index(model.gene_names))
    if (columns < 0).any():
        missing = np.array(model.gene_names)[columns < 0]
        raise NotFoundError(
            f"adata lacks {missing.size} of the model's {columns.size} genes: "
            f"{listed(missing, 100)}"
        )
    return columns
