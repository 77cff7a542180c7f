"""An AnnData in memory or in a file, opened without reading its expression."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amici_xr.dependencies import require
from amici_xr.errors import NotFoundError, listed
from amici_xr.tissue.containers import check_is_anndata, check_is_file_of_cells, find_element
from amici_xr.tissue.spatial_data import (
    ELEMENTS,
    POSITIONS,
    REGIONS,
    from_spatialdata,
    is_spatialdata,
    place_cells,
    read_elements,
)

if TYPE_CHECKING:
    import anndata


def open_anndata(
    adata: Any, obsm_keys: Collection[str], uns_keys: Collection[str], layer: str | None
) -> tuple[anndata.AnnData, Path | None]:
    """Return what describes the cells, in memory, and the file that holds their expression.

    Of a file, only the tables of cells and genes and the named entries of ``obsm`` and ``uns`` are
    read. The path is None where the expression is in memory. Of a SpatialData, the positions of
    cells are the centroids of the regions that its table annotates.
    """
    if isinstance(adata, str | os.PathLike):
        path = Path(adata).expanduser().resolve()  # workers may run in other folders
        if not path.exists():
            raise FileNotFoundError(f"adata={os.fspath(adata)!r}: there is no such file")
        require("anndata", "model", "reading a tissue")
        try:
            description, file = _read_description(path, obsm_keys, {*uns_keys, REGIONS})
            if _is_table_without_positions(path, description):
                place_cells(description, read_elements(path.parents[1], ELEMENTS))
            return description, file
        except ModuleNotFoundError:
            raise
        except Exception as error:  # AnnData has errors of its own, some of them private
            raise ValueError(f"adata={os.fspath(adata)!r} can't be read: {error}") from error
    if is_spatialdata(adata):
        adata = from_spatialdata(adata)
    check_is_anndata(adata)
    is_backed = getattr(adata, "isbacked", False) and not adata.is_view and layer is None
    return adata, Path(adata.filename).resolve() if is_backed else None


def _is_table_without_positions(path: Path, description: anndata.AnnData) -> bool:
    """Tell whether a path is that of a table in a store, which has no coordinates of its own."""
    is_table = path.parent.name in ("table", "tables") and REGIONS in description.uns
    return is_table and POSITIONS not in description.obsm


def _read_description(
    path: Path, obsm_keys: Collection[str], uns_keys: Collection[str]
) -> tuple[anndata.AnnData, Path | None]:
    import anndata

    check_is_file_of_cells(path)
    with open_group(path) as root:
        element = find_element(path, root)
        if element:
            description, file = _read_description(path / element, obsm_keys, uns_keys)
            if REGIONS in description.uns:
                place_cells(description, read_elements(path, ELEMENTS))
            return description, file
        if "encoding-type" not in root.attrs:  # written by AnnData before 0.8
            return (anndata.read_zarr if path.is_dir() else anndata.read_h5ad)(path), None
        in_obsm, in_uns = list(root.get("obsm", {})), {*root.get("uns", {})}
        read_keys = [key for key in in_obsm if key in obsm_keys] or in_obsm
        description = anndata.AnnData(
            obs=anndata.io.read_elem(root["obs"]),
            var=anndata.io.read_elem(root["var"]),
            obsm={key: anndata.io.read_elem(root["obsm"][key]) for key in read_keys},
            uns={key: anndata.io.read_elem(root["uns"][key]) for key in in_uns & {*uns_keys}},
        )
    return description, path


@contextlib.contextmanager
def open_group(path: Path) -> Iterator[Any]:
    """Open the root group of an ``.h5ad`` or ``.zarr`` for reading."""
    if path.is_dir():
        yield require("zarr", "zarr", "reading .zarr").open_group(path, mode="r")
        return
    import h5py

    with h5py.File(path, "r") as root:
        yield root


def open_matrix(root: Any, element: str) -> Any:
    """Return a matrix of a file that gives rows when sliced: dense, or sparse by rows."""
    if element not in root:
        layers = root.get("layers", {})
        raise no_expression(None if element == "X" else element.removeprefix("layers/"), layers)
    matrix = root[element]
    if hasattr(matrix, "shape"):
        return matrix
    require("anndata", "model", "reading a tissue")
    from anndata.io import sparse_dataset

    return sparse_dataset(matrix)


def no_expression(layer: str | None, layers: Any) -> Exception:
    """Return the error of an AnnData without the expression that was asked for."""
    if layer is None:
        return ValueError("adata.X is empty; name the layer of the expression, or fill adata.X")
    names = [name for name in layers if name is not None]  # None is X, from AnnData 0.13 on
    return NotFoundError(f"adata.layers has no {layer!r}; it has {listed(names)}")
