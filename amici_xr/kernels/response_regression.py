"""Regression of many genes on one design under a known covariance, and tests of added columns.

Everything is whitened: ``W`` makes the noise uncorrelated. The design ``X = B·T`` is held by an
orthonormal basis ``B`` and a triangle ``T``. To test a column in place of some of the design's
own (the nuisance is what remains), the full fit is computed once, and the part of it that those
columns alone explain is given back (Frisch, Waugh and Lovell).
"""

from __future__ import annotations

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
        self._triangle = basis.triangle
        self._columns = columns
        self._lower = cholesky(columns.T @ columns, lower=True)
        self._genes = genes
        self._coordinates = self._solve(columns.T @ genes)
        self.residual = genes - self._expand(self._coordinates)
        half = solve_triangular(self._lower, columns.T, lower=True)
        self._leverage = np.einsum("ij,ij->j", half, half)

    def test_columns(self, given_back: Integers, tested: Floats) -> ColumnTests:
        """Test each whitened column by itself in place of the design's columns `given_back`."""
        returned = self._unique_part(given_back)
        nuisance = self._solve(self._columns.T @ tested)
        nuisance -= returned @ (returned.T @ nuisance)
        column = tested - self._expand(nuisance)
        returned_cells = self._expand(returned)
        genes = self.residual + returned_cells @ (returned.T @ self._coordinates)
        leverage = self._leverage - np.einsum("ij,ij->i", returned_cells, returned_cells)
        n_cells, n_columns = self._columns.shape
        degrees_of_freedom = n_cells - (n_columns - returned.shape[1]) - 1
        length = np.einsum("ij,ij->j", column, column)
        is_determined = length > _DEPENDENT * np.einsum("ij,ij->j", tested, tested)
        column, length = np.where(is_determined, column, 0.0), np.where(is_determined, length, 1.0)
        coefficient = (column.T @ genes) / length[:, np.newaxis]
        total = np.einsum("ij,ij->j", genes, genes)
        residual_square = np.maximum(total - coefficient**2 * length[:, np.newaxis], 1e-12 * total)
        model = residual_square / (degrees_of_freedom * length[:, np.newaxis])
        share = leverage[:, np.newaxis] + column**2 / length
        weight = (column / (1.0 - np.minimum(share, MAX_LEVERAGE))) ** 2
        robust = (
            weight.T @ genes**2
            - 2.0 * coefficient * ((weight * column).T @ genes)
            + coefficient**2 * (weight * column**2).sum(axis=0)[:, np.newaxis]
        ) / length[:, np.newaxis] ** 2
        undetermined = ~is_determined[:, np.newaxis]
        return ColumnTests(
            coefficient,
            np.where(undetermined, np.inf, model),
            np.where(undetermined, np.inf, np.maximum(robust, 0.0)),
            degrees_of_freedom,
        )

    def fit_columns(self, given_back: Integers, added: Floats) -> tuple[Floats, Floats, Floats]:
        """Fit whitened columns together in place of the design's columns `given_back`.

        Returns their coefficients (column, gene), the inverse of their cross-products, by which
        the variance of each gene is to be multiplied, and that variance (gene).
        """
        returned = self._unique_part(given_back)
        nuisance = self._solve(self._columns.T @ added)
        nuisance -= returned @ (returned.T @ nuisance)
        column = added - self._expand(nuisance)
        inverse = np.linalg.pinv(column.T @ column, hermitian=True, rcond=1e-9)
        cross = column.T @ self._genes
        coefficient = inverse @ cross
        returned_length = (returned.T @ self._coordinates) ** 2
        total = np.einsum("ij,ij->j", self.residual, self.residual) + returned_length.sum(axis=0)
        n_cells, n_columns = self._columns.shape
        n_free = n_cells - (n_columns - returned.shape[1]) - added.shape[1]
        residual = total - np.einsum("ij,ij->j", coefficient, cross)
        return coefficient, np.asarray(inverse), np.maximum(residual, 0.0) / n_free

    def _solve(self, cross: Floats) -> Floats:
        return np.asarray(solve_triangular(self._lower, cross, lower=True))

    def _expand(self, coordinates: Floats) -> Floats:
        back = solve_triangular(self._lower, coordinates, lower=True, trans="T")
        return np.asarray(self._columns @ back)

    def _unique_part(self, given_back: Integers) -> Floats:
        """Coordinates of what the columns explain beyond all others, orthonormal (column, k)."""
        unit = np.eye(len(self._triangle))[:, given_back]
        dual = solve_triangular(self._triangle, unit, trans="T")
        return np.asarray(np.linalg.qr(self._solve(dual))[0])
