"""Regression of many genes on one design under a known covariance, and tests of added columns.

Everything is whitened: ``W`` makes the noise uncorrelated. The design ``X = B·T`` is held by an
orthonormal basis ``B`` and a triangle ``T``. To test a column in place of some of the design's
own (the nuisance is what remains), the full fit is computed once, and the part of it that those
columns alone explain is given back (Frisch, Waugh and Lovell).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

MAX_LEVERAGE = 0.95
_DEPENDENT = 1e-6  # share of a column's length below which others are taken to contain it


class Basis(NamedTuple):
    """Design as orthonormal columns times a triangle, and which of its columns were kept."""

    columns: Floats  # (cell, column)
    triangle: Floats  # (column, column)
    kept: Integers  # positions of the kept columns in the design


class ColumnTests(NamedTuple):
    """Coefficients of tested columns, (column, gene), and their variance under the model."""

    coefficient: Floats
    model_variance: Floats
    robust_variance: Floats  # HC3
    degrees_of_freedom: int


def orthonormal_basis(design: Floats) -> Basis:
    """Return the basis of a design whose columns have length 1; dependent ones are left out.

    Of columns that depend on each other, the first stay.
    """
    kept = np.arange(design.shape[1])
    while True:
        columns, triangle = np.linalg.qr(design[:, kept])
        is_independent = np.abs(np.diag(triangle)) > _DEPENDENT
        if is_independent.all():
            return Basis(columns, triangle, kept[: columns.shape[1]])
        kept = kept[: is_independent.size][is_independent]


def first_columns(basis: Basis, n_columns: int) -> Basis:
    """Return the basis of the first `n_columns` columns of the design."""
    n_kept = int((basis.kept < n_columns).sum())
    return Basis(basis.columns[:, :n_kept], basis.triangle[:n_kept, :n_kept], basis.kept[:n_kept])


def restricted_log_likelihood(
    gram: Floats, cross: Floats, sum_of_squares: Floats, log_determinant: float, n_cells: int
) -> Floats:
    """Return the restricted log-likelihood of each gene, its variance profiled out.

    ``−½[(n − p)·log RSS + log|R| + log|XᵀR⁻¹X|]``, up to a constant, from the whitened
    ``gram = XᵀX``, ``cross = XᵀY`` (column, gene) and ``sum_of_squares`` of each gene.
    """
    lower = cholesky(gram, lower=True)
    explained = solve_triangular(lower, cross, lower=True)
    residual = sum_of_squares - np.einsum("ij,ij->j", explained, explained)
    residual = np.maximum(residual, 1e-12 * sum_of_squares)
    log_gram = 2.0 * np.log(np.diag(lower)).sum()
    n_columns = len(gram)
    return np.asarray(
        -0.5 * ((n_cells - n_columns) * np.log(residual) + log_determinant + log_gram)
    )


class WhitenedFit:
    """Full fit of genes on a whitened design, of which columns can be given back.

    Parameters
    ----------
    basis
        Of the design.
    columns
        Its whitened columns, (cell, column).
    genes
        Whitened expression, (cell, gene).
    """

    def __init__(self, basis: Basis, columns: Floats, genes: Floats) -> None:
        lower = cholesky(columns.T @ columns, lower=True)
        self.columns = solve_triangular(lower, columns.T, lower=True).T  # orthonormal
        self.leverage = np.einsum("ij,ij->i", self.columns, self.columns)
        self.explained = self.columns.T @ genes  # (column, gene)
        self.residual = genes - self.columns @ self.explained
        self.residual_square = np.einsum("ij,ij->j", self.residual, self.residual)
        dual = solve_triangular(basis.triangle, np.eye(len(lower)), trans="T")
        self._dual = solve_triangular(lower, dual, lower=True)  # of the design's columns

    def replace(self, given_back: Integers, added: Floats) -> Replacement:
        """Take whitened columns in place of the design's columns `given_back`."""
        return self.replace_each([given_back], added, np.array([added.shape[1]]))[0]

    def replace_each(
        self, given_back: Sequence[Integers], added: Floats, stops: Integers
    ) -> list[Replacement]:
        """Do so for several groups of columns, each by itself; group i ends before ``stops[i]``.

        All are projected at once, in two products of matrices.
        """
        coordinates = np.split(self.columns.T @ added, stops[:-1], axis=1)
        returned = [np.asarray(np.linalg.qr(self._dual[:, own])[0]) for own in given_back]
        nuisance = [
            own - back @ (back.T @ own) for own, back in zip(coordinates, returned, strict=True)
        ]
        explained = np.split(self.columns @ np.concatenate(nuisance, axis=1), stops[:-1], axis=1)
        stops_of_returned = np.cumsum([back.shape[1] for back in returned])
        returned_cells = np.split(
            self.columns @ np.concatenate(returned, axis=1), stops_of_returned[:-1], axis=1
        )
        groups = np.split(added, stops[:-1], axis=1)
        return [
            Replacement(self, *parts)
            for parts in zip(groups, explained, returned, returned_cells, strict=True)
        ]


class Replacement:
    """Whitened columns in place of some of a design's, without what the others explain of them.

    Parameters
    ----------
    fit
        Of the whole design.
    added, explained
        The columns, and what the others explain of them, (cell, column).
    returned, returned_cells
        What is given back, orthonormal: its coordinates in the design and its values in cells.
    """

    def __init__(
        self,
        fit: WhitenedFit,
        added: Floats,
        explained: Floats,
        returned: Floats,
        returned_cells: Floats,
    ) -> None:
        self._fit = fit
        self._columns = added - explained
        self._returned = returned_cells
        self._returned_genes = returned.T @ fit.explained  # (returned, gene)
        length = np.einsum("ij,ij->j", self._columns, self._columns)
        self._is_determined = length > _DEPENDENT * np.einsum("ij,ij->j", added, added)
        n_cells, n_columns = fit.columns.shape
        self._n_free = n_cells - (n_columns - returned.shape[1])  # without added columns
        self._total = fit.residual_square + (self._returned_genes**2).sum(axis=0)

    def test_each(self, which: slice = slice(None)) -> ColumnTests:
        """Test each of the columns by itself."""
        is_determined = self._is_determined[which]
        column = np.where(is_determined, self._columns[:, which], 0.0)
        length = np.where(is_determined, np.einsum("ij,ij->j", column, column), 1.0)
        leverage = self._fit.leverage - np.einsum("ij,ij->i", self._returned, self._returned)
        share = leverage[:, np.newaxis] + column**2 / length
        weight = (column / (1.0 - np.minimum(share, MAX_LEVERAGE))) ** 2
        genes = self._returned @ self._returned_genes
        genes += self._fit.residual
        cross, weighted = np.split(np.concatenate([column, weight * column], axis=1).T @ genes, 2)
        square = weight.T @ np.square(genes, out=genes)
        length = length[:, np.newaxis]
        coefficient = cross / length
        degrees_of_freedom = self._n_free - 1
        residual_square = np.maximum(self._total - coefficient * cross, 1e-12 * self._total)
        robust = (
            square
            - 2.0 * coefficient * weighted
            + coefficient**2 * (weight * column**2).sum(axis=0)[:, np.newaxis]
        ) / length**2
        undetermined = ~is_determined[:, np.newaxis]
        return ColumnTests(
            coefficient,
            np.where(undetermined, np.inf, residual_square / (degrees_of_freedom * length)),
            np.where(undetermined, np.inf, np.maximum(robust, 0.0)),
            degrees_of_freedom,
        )

    def fit_together(self, which: slice = slice(None)) -> tuple[Floats, Floats, Floats]:
        """Fit the columns together.

        Returns their coefficients (column, gene), the inverse of their cross-products, by which
        the variance of each gene is to be multiplied, and that variance (gene).
        """
        column = self._columns[:, which]
        inverse = np.linalg.pinv(column.T @ column, hermitian=True, rcond=1e-9)
        cross = column.T @ self._fit.residual + (column.T @ self._returned) @ self._returned_genes
        coefficient = inverse @ cross
        residual = self._total - np.einsum("ij,ij->j", coefficient, cross)
        n_free = self._n_free - column.shape[1]
        return coefficient, np.asarray(inverse), np.maximum(residual, 0.0) / n_free
