"""Expression of chosen genes, a batch of cells at a time, from memory or from a file."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amici_xr.errors import NotFoundError, listed
from amici_xr.tissue.opening import no_expression, open_group, open_matrix

if TYPE_CHECKING:
    import anndata

SPAN = 4096  # rows read from a file at a time
_MOST_LOG_VALUE = 50.0  # integers above are counts


class Expression:
    """Expression of chosen genes in their order; read when it is asked for.

    Where it lies in a file, only the path is kept, so that it takes no memory and travels to other
    processes.
    """

    def __init__(
        self,
        adata: anndata.AnnData,
        path: Path | None,
        layer: str | None = None,
        genes: Sequence[str] | None = None,
    ) -> None:
        self.genes = tuple(map(str, adata.var_names)) if genes is None else tuple(genes)
        self._path = path
        self._element = "X" if layer is None else f"layers/{layer}"
        self._columns = _find_columns(adata, self.genes)
        if path is not None:
            self._matrix = _load_if_by_columns(path, self._element)
            self._stamp = self._read_stamp()
            return
        if layer is not None and layer not in adata.layers:
            raise no_expression(layer, adata.layers.keys())
        self._matrix = adata.X if layer is None else adata.layers[layer]
        if self._matrix is None:
            raise no_expression(None, ())
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
                if self._read_stamp() != self._stamp:
                    raise ValueError(
                        f"adata={str(self._path)!r} was changed since extract was called, and its "
                        "cells may be others now; extract again"
                    )
                matrix = open_matrix(stack.enter_context(open_group(self._path)), self._element)
            for start in range(0, cells.size, batch_size):
                batch = cells[start : start + batch_size]
                spans = _split_by_span(batch) if self.is_in_file else [batch]
                yield np.concatenate([self._take_dense(matrix, span) for span in spans])

    def _take_dense(self, matrix: Any, cells: NDArray[np.intp]) -> NDArray[np.float32]:
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

    def _read_stamp(self) -> tuple[int, int]:
        """Size and time of the last change of the file, or of all files of the array in a store."""
        assert self._path is not None
        path = self._path / self._element if self._path.is_dir() else self._path
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        statuses = [file.stat() for file in files]
        sizes = sum(status.st_size for status in statuses)
        return sizes, max(status.st_mtime_ns for status in statuses)


def genes_not_finite(values: NDArray[Any], genes: Sequence[str]) -> list[str]:
    """Return the genes whose expression, (cell, gene), holds NaN or infinite values."""
    is_finite = np.isfinite(values).all(axis=0)
    return [gene for gene, is_whole in zip(genes, is_finite, strict=True) if not is_whole]


def looks_like_counts(values: NDArray[Any]) -> bool:
    """Tell whether expression holds nothing but integers, some larger than a logarithm can be."""
    has_large = values.size and values.max() > _MOST_LOG_VALUE
    return bool(has_large and (values == np.rint(values)).all())


def _load_if_by_columns(path: Path, element: str) -> Any:
    """Check that the file has the expression; load a CSC matrix, whose rows lie scattered."""
    with open_group(path) as root:
        matrix = open_matrix(root, element)
        is_by_columns = root[element].attrs.get("encoding-type") == "csc_matrix"
        return matrix.to_memory().tocsr() if is_by_columns else None


def _suggest_names(adata: anndata.AnnData, wanted: pd.Index) -> str:
    """Say how the genes would be found: in a column of ``var``, or in another spelling."""
    for column in adata.var.columns:
        if wanted.isin(adata.var[column].astype(str)).all():
            return (
                f". adata.var[{column!r}] holds them all: adata.var_names = "
                f"adata.var[{column!r}].astype(str)"
            )
    if wanted.str.lower().isin(adata.var_names.astype(str).str.lower()).all():
        return ". They differ only in upper and lower case: rename adata.var_names"
    return ""


def _split_by_span(cells: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return np.split(cells, np.flatnonzero(np.diff(cells // SPAN)) + 1)


def _find_columns(adata: anndata.AnnData, genes: Sequence[str]) -> NDArray[np.intp] | None:
    """Columns of the genes; None where the AnnData has just these in this order."""
    names, wanted = pd.Index(adata.var_names.astype(str)), pd.Index(genes)
    repeated = names[names.duplicated()].intersection(wanted)
    if repeated.size:
        raise ValueError(
            f"adata.var_names holds {listed(repeated)} more than once; call var_names_make_unique "
            "or drop the copies"
        )
    if names.equals(wanted):
        return None
    columns: NDArray[np.intp] = names.get_indexer(wanted)
    if (columns < 0).any():
        missing = wanted[columns < 0]
        raise NotFoundError(
            f"adata lacks {missing.size} of the model's {columns.size} genes: "
            f"{listed(missing, 10)}; it has {listed(names, 5)}{_suggest_names(adata, wanted)}"
        )
    return columns
