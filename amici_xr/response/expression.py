"""Log-normalized expression of the cells of one type, dense."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from amici_xr.response.arguments import check_expression
from amici_xr.tissue.cells import Tissue

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

_BATCH = 4096


class TypeExpression:
    """Expression of chosen genes, read for the cells of one type at a time.

    `genes` are positions among those of the tissue. With `log_normalize`, counts are scaled to the
    median total of a cell, over all genes of the tissue, and ``log(1 + x)`` is taken.
    """

    def __init__(self, tissue: Tissue, genes: Sequence[int], *, log_normalize: bool) -> None:
        self._tissue, self._genes = tissue, np.asarray(genes, dtype=np.intp)
        self._names = [tissue.expression.genes[gene] for gene in genes]
        self._takes_all = self._genes.size == len(tissue.expression.genes)
        self._totals = self._total_counts() if log_normalize else None

    def read(self, cells: Integers, cell_type: str) -> Floats:
        """Return the expression of cells in ascending order, (cell, gene)."""
        values = np.empty((cells.size, self._genes.size))
        start = 0
        for batch in self._tissue.expression.batches(cells, _BATCH):
            stop = start + len(batch)
            values[start:stop] = batch if self._takes_all else batch[:, self._genes]
            start = stop
        if self._totals is None:
            check_expression(values, self._names, cell_type)
            return values
        totals = self._totals[cells]
        values *= (np.median(self._totals) / np.where(totals > 0, totals, 1.0))[:, np.newaxis]
        values = np.log1p(values)
        check_expression(values, self._names, cell_type)
        return values

    def _total_counts(self) -> Floats:
        everything = np.arange(self._tissue.n_cells)
        totals = []
        for batch in self._tissue.expression.batches(everything, _BATCH):
            if (batch < 0).any():
                raise ValueError(
                    "log_normalize=True takes counts, but the expression holds values below 0; "
                    "where it is normalized already, leave log_normalize out"
                )
            totals.append(batch.sum(axis=1, dtype=np.float64))
        return np.concatenate(totals)
