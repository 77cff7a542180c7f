"""The regression against statsmodels, NumPy's least squares and brute force."""

import numpy as np
import pytest
import statsmodels.api as sm

from amici_xr.kernels.response_regression import (
    WhitenedFit,
    first_columns,
    orthonormal_basis,
    restricted_log_likelihood,
)
from amici_xr.kernels.vecchia import matern_correlation

N_CELLS, N_COLUMNS, N_GENES = 120, 9, 4
SENDER = np.array([3, 4, 5])  # columns that are given back


@pytest.fixture
def problem():
    """Design with columns of length 1, genes, tested columns and a whitener, all at random."""
    rng = np.random.default_rng(0)
    design = rng.normal(size=(N_CELLS, N_COLUMNS))
    design[:, 4] = design[:, 3] + 0.2 * design[:, 4]
    design[:, 0] = 1.0
    design /= np.linalg.norm(design, axis=0)
    genes = rng.normal(size=(N_CELLS, N_GENES)) * rng.uniform(0.2, 3, (N_CELLS, 1))
    tested = 1.0 * (rng.uniform(size=(N_CELLS, 3)) < [0.1, 0.3, 0.6])
    root = np.eye(N_CELLS) + 0.1 * rng.normal(size=(N_CELLS, N_CELLS))
    return design, genes, tested, root


def fitted(design, genes, root):
    basis = orthonormal_basis(design)
    return WhitenedFit(basis, root @ basis.columns, root @ genes)


def test_giving_back_is_the_plain_regression_without_the_columns(problem):
    design, genes, tested, root = problem
    tests = fitted(design, genes, root).replace(SENDER, root @ tested).test_each()
    nuisance = np.delete(design, SENDER, axis=1)
    for column in range(tested.shape[1]):
        plain_design = root @ np.column_stack([nuisance, tested[:, column]])
        for gene in range(N_GENES):
            plain = sm.OLS(root @ genes[:, gene], plain_design).fit()
            assert tests.coefficient[column, gene] == pytest.approx(plain.params[-1], rel=1e-9)
            assert tests.model_variance[column, gene] == pytest.approx(plain.bse[-1] ** 2, rel=1e-9)
            assert tests.degrees_of_freedom == plain.df_resid


def test_the_robust_variance_is_hc3_of_statsmodels(problem):
    design, genes, tested, root = problem
    tests = fitted(design, genes, root).replace(SENDER, root @ tested).test_each()
    nuisance = np.delete(design, SENDER, axis=1)
    for column in range(tested.shape[1]):
        plain_design = root @ np.column_stack([nuisance, tested[:, column]])
        for gene in range(N_GENES):
            robust = sm.OLS(root @ genes[:, gene], plain_design).fit(cov_type="HC3")
            assert tests.robust_variance[column, gene] == pytest.approx(
                robust.bse[-1] ** 2, rel=1e-8
            )


def test_a_leverage_of_1_counts_as_no_more_than_095():
    """One cell with a column of its own: HC3 itself would divide by 0."""
    rng = np.random.default_rng(1)
    design = np.column_stack([np.ones(50) / np.sqrt(50), np.eye(50)[0]])
    fit = fitted(design, rng.normal(size=(50, 2)), np.eye(50))
    tests = fit.replace(np.array([], int), rng.normal(size=(50, 1))).test_each()
    assert np.isfinite(tests.robust_variance).all()


def test_the_column_of_one_cell_has_a_finite_robust_variance():
    rng = np.random.default_rng(2)
    genes, tested = rng.normal(size=(50, 1)), np.eye(50)[:, :1]
    fit = fitted(np.ones((50, 1)) / np.sqrt(50), genes, np.eye(50))
    tests = fit.replace(np.array([], int), tested).test_each()
    assert np.isfinite(tests.robust_variance).all()


def test_a_column_that_the_nuisance_contains_is_not_determined(problem):
    design, genes, _, root = problem
    tests = fitted(design, genes, root).replace(SENDER, root @ design[:, [1]]).test_each()
    assert np.isinf(tests.model_variance).all()
    assert (tests.coefficient == 0).all()


def test_columns_fitted_together_are_those_of_the_plain_regression(problem):
    design, genes, tested, root = problem
    coefficient, inverse, variance = (
        fitted(design, genes, root).replace(SENDER, root @ tested).fit_together()
    )
    plain_design = root @ np.column_stack([np.delete(design, SENDER, axis=1), tested])
    for gene in range(N_GENES):
        plain = sm.OLS(root @ genes[:, gene], plain_design).fit()
        np.testing.assert_allclose(coefficient[:, gene], plain.params[-3:], rtol=1e-8)
        np.testing.assert_allclose(
            np.sqrt(np.diag(inverse) * variance[gene]), plain.bse[-3:], rtol=1e-8
        )


def test_dependent_columns_are_left_out_and_the_first_stay(problem):
    design = problem[0]
    twice = np.column_stack([design[:, :3], design[:, 1], np.zeros(N_CELLS), design[:, 3:]])
    basis = orthonormal_basis(twice)
    np.testing.assert_array_equal(basis.kept, [0, 1, 2, 5, 6, 7, 8, 9, 10])
    np.testing.assert_allclose(basis.columns @ basis.triangle, design, atol=1e-12)
    np.testing.assert_allclose(basis.columns.T @ basis.columns, np.eye(9), atol=1e-12)


def test_more_columns_than_cells_leave_as_many_as_cells():
    rng = np.random.default_rng(0)
    basis = orthonormal_basis(rng.normal(size=(5, 9)))
    assert basis.columns.shape == (5, 5)
    np.testing.assert_array_equal(basis.kept, np.arange(5))


def test_the_first_columns_span_what_they_spanned(problem):
    design = problem[0]
    basis = first_columns(orthonormal_basis(design), 4)
    np.testing.assert_allclose(basis.columns @ basis.triangle, design[:, :4], atol=1e-12)


@pytest.mark.parametrize("share", [0.15, 0.6])
def test_the_restricted_likelihood_is_that_of_error_contrasts(share):
    """Brute force: the density of N'Y, where N spans what the design leaves."""
    rng = np.random.default_rng(5)
    positions = rng.uniform(0, 100, (40, 2))
    design = np.column_stack([np.ones(40), positions, rng.normal(size=40)])
    basis = orthonormal_basis(design / np.linalg.norm(design, axis=0))
    gene = rng.normal(size=(40, 1))
    contrasts = np.linalg.svd(basis.columns)[0][:, 4:]
    differences = []
    for scale in (12.0, 50.0):
        gap = np.linalg.norm(positions[:, None] - positions, axis=2)
        dense = (1 - share) * np.eye(40) + share * matern_correlation(gap, scale)
        root = np.linalg.inv(np.linalg.cholesky(dense))
        columns, white = root @ basis.columns, root @ gene
        ours = restricted_log_likelihood(
            columns.T @ columns,
            columns.T @ white,
            (white**2).sum(axis=0),
            np.linalg.slogdet(dense)[1],
            40,
        )[0]
        left = contrasts.T @ gene[:, 0]
        covariance = contrasts.T @ dense @ contrasts
        variance = left @ np.linalg.solve(covariance, left) / 36  # profiled out
        brute = -0.5 * (36 * np.log(variance) + np.linalg.slogdet(covariance)[1])
        differences.append(ours - brute)
    assert differences[0] == pytest.approx(differences[1], abs=1e-9)


def test_a_gene_that_the_design_explains_has_a_finite_likelihood():
    basis = orthonormal_basis(np.ones((10, 1)) / np.sqrt(10))
    squares = np.array([10.0])
    cross = basis.columns.T @ np.ones((10, 1))
    assert np.isfinite(restricted_log_likelihood(np.eye(1), cross, squares, 0.0, 10)).all()
