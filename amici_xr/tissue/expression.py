"""Expression of the model's genes, a batch of cells at a time, from memory or from a file."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amici_xr.dependencies import require
from amici_xr.errors import NotFoundError, listed

if TYPE_CHECKING:
    import anndata

    from amici_xr.model.saved_model import SavedModel

SPAN = 4096  # rows read from a file at a time


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open the root group of an ``.h5ad`` or ``.zarr``, to read."""
    if path.is_dir():
        yield require("zarr", "zarr", "reading .zarr").open_group(path, mode="r")
        return
    import h5py

    with h5py.File(path, "r") as root:
        yield root


class Expression:
    """Expression of the model's genes, in its order.

    Where it lies in a file, at `path`, only that is kept, so that it takes no memory and travels to
    other processes.
    """

    def __init__(self, adata: anndata.AnnData, path: Path | None, model: SavedModel) -> None:
        layer = model.settings.layer
        self._path = path
        self._element = "X" if layer is None else f"layers/{layer}"
        self._columns = _gene_columns(adata, model)
        self._matrix: Any = None
        if self._path is not None:
            with opened(self._path) as root:
                self._matrix = self._loaded_if_by_columns(root)
            self._stamp = self._stamp_now()
            return
        if layer is not None and layer not in adata.layers:
            raise _no_layer(layer, adata.layers.keys())
        self._matrix = adata.X if layer is None else adata.layers[layer]
        if self._matrix is None:
            raise ValueError("adata.X is empty, and the model was trained from it")
        if getattr(self._matrix, "format", None) == "csc" and hasattr(self._matrix, "tocsr"):
            self._matrix = self._matrix.tocsr()  # rows of a CSC matrix are slow to take

    @property
    def is_in_file(self) -> bool:
        """Whether each batch is read from a file."""
        return self._matrix is None

    def batches(
        self, cells: NDArray[np.intp], batch_size: int
    ) -> Generator[NDArray[np.float32], None, None]:
        """Dense expression of cells in ascending order, (cell, gene), a batch at a time."""
        with contextlib.ExitStack() as stack:
            matrix = self._matrix
            if matrix is None:
                assert self._path is not None
                if self._stamp_now() != self._stamp:
                    raise ValueError(
                        f"adata={str(self._path)!r} was changed since extract was called, and its "
                        "cells may be others now; extract again"
                    )
                matrix = _on_disk(stack.enter_context(opened(self._path)), self._element)
            for start in range(0, cells.size, batch_size):
                batch = cells[start : start + batch_size]
                parts = _spans(batch) if self.is_in_file else [batch]
                yield np.concatenate([self._dense(matrix, part) for part in parts])

    def _dense(self, matrix: Any, cells: NDArray[np.intp]) -> NDArray[np.float32]:
        if self.is_in_file:  # a whole span of rows is read faster than each alone
            rows = matrix[cells[0] : cells[-1] + 1]
            rows = rows if cells.size == rows.shape[0] else rows[cells - cells[0]]
        else:
            rows = matrix[cells]
        if self._columns is not None:
            rows = rows[:, self._columns]
        rows = rows.compute() if hasattr(rows, "compute") else rows  # a dask array
        dense = rows.toarray() if hasattr(rows, "toarray") else np.asarray(rows)
        return np.ascontiguousarray(dense, dtype=np.float32)

    def _stamp_now(self) -> tuple[int, int]:
        """Size and time of the last change of the file, or of the array's folder in a store."""
        assert self._path is not None
        status = (self._path / self._element if self._path.is_dir() else self._path).stat()
        return status.st_size, status.st_mtime_ns

    def _loaded_if_by_columns(self, root: Any) -> Any:
        """Check that the file has the expression; load a CSC matrix, whose rows lie scattered."""
        if self._element not in root:
            if self._element == "X":
                raise ValueError("adata.X is empty, and the model was trained from it")
            raise _no_layer(self._element.removeprefix("layers/"), root.get("layers", {}))
        if root[self._element].attrs.get("encoding-type") != "csc_matrix":
            return None
        return _on_disk(root, self._element).to_memory().tocsr()


def _on_disk(root: Any, element: str) -> Any:
    """A matrix in a file that gives rows when sliced: dense, or sparse by rows."""
    matrix = root[element]
    if hasattr(matrix, "shape"):
        return matrix
    require("anndata", "model", "reading a tissue")
    from anndata.io import sparse_dataset

    return sparse_dataset(matrix)


def _spans(cells: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return np.split(cells, np.flatnonzero(np.diff(cells // SPAN)) + 1)


def _no_layer(layer: str, known: Any) -> NotFoundError:
    named = [name for name in known if name is not None]  # as AnnData calls X from 0.13 on
    return NotFoundError(
        f"adata.layers has no {layer!r}, from which the model was trained; it has {listed(named)}"
    )


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
