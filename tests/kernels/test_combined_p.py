"""Combined p-values against SciPy, closed forms and simulation."""

import numpy as np
import pytest
from scipy import stats

from amici_xr.kernels.combined_p import (
    cauchy_combination,
    chi_square_equivalent,
    chi_square_p,
    effective_genes,
    excess_moments,
    genomic_control,
    harmonic_mean,
    holm,
    innovations,
    residual_correlation,
    simes,
    sum_test,
)


@pytest.mark.parametrize("degrees", [12.0, 150.0, 4000.0])
def test_the_equivalent_of_t_has_the_same_p(degrees):
    t = np.array([-6.0, -2.0, 0.0, 0.3, 4.0])
    square = chi_square_equivalent(t, degrees)
    np.testing.assert_allclose(stats.chi2.sf(square, 1), 2 * stats.t.sf(np.abs(t), degrees))


def test_the_equivalent_grows_where_the_p_of_t_is_0():
    square = chi_square_equivalent(np.array([30.0, 50.0, 100.0, 200.0]), 5000.0)
    assert (np.diff(square) > 0).all()
    assert np.isfinite(square).all()
    tail = stats.t.logsf(36.0, 5000.0)  # just before it underflows
    exact = stats.norm.isf(np.exp(tail))
    assert chi_square_equivalent(np.array([36.0]), 5000.0)[0] == pytest.approx(exact**2, rel=1e-6)


def test_the_p_of_a_square_is_that_of_scipy():
    square = np.array([0.0, 0.5, 3.84, 300.0])
    np.testing.assert_allclose(chi_square_p(square), stats.chi2.sf(square, 1), rtol=1e-12)


def test_genomic_control_of_a_chi_square_is_1():
    squares = stats.chi2.ppf(np.linspace(0.0005, 0.9995, 1000), 1)
    assert genomic_control(squares) == pytest.approx(1, abs=0.01)
    assert genomic_control(1.7 * squares) == pytest.approx(1.7, abs=0.02)
    assert genomic_control(np.array([np.nan])) == 1


def test_cauchy_is_that_of_scipy_distributions():
    p = np.random.default_rng(0).uniform(0, 0.98, (7, 3))
    expected = stats.cauchy.sf(stats.cauchy.isf(p).mean(axis=0))
    np.testing.assert_allclose(cauchy_combination(p), expected, rtol=1e-10)


def test_cauchy_clips_what_is_near_1_and_leaves_out_nan():
    p = np.array([0.01, 1.0, np.nan])
    expected = stats.cauchy.sf(stats.cauchy.isf([0.01, 0.99]).mean())
    assert cauchy_combination(p) == pytest.approx(expected)
    assert np.isnan(cauchy_combination(np.array([np.nan, np.nan])))


def test_cauchy_keeps_p_that_are_tiny():
    assert cauchy_combination(np.array([1e-40, 0.5])) == pytest.approx(2e-40, rel=1e-6)
    assert cauchy_combination(np.array([0.0, 0.5])) < 1e-290


def test_simes_is_the_least_adjusted_p():
    p = np.random.default_rng(0).uniform(0, 0.2, 20)
    assert simes(p) == pytest.approx(stats.false_discovery_control(p).min())
    assert simes(np.append(p, np.nan)) == simes(p)
    assert np.isnan(simes(np.array([])))


def test_holm_is_bonferroni_step_by_step():
    p = np.array([0.04, 0.01, np.nan, 0.03, 0.9])
    np.testing.assert_allclose(holm(p), [0.09, 0.04, np.nan, 0.09, 0.9])


def test_the_moments_of_the_excess_are_those_of_an_integral():
    mean, variance = excess_moments()
    normal = stats.norm()
    first = normal.expect(lambda z: np.maximum(z**2 - 2, 0), epsabs=1e-12)
    second = normal.expect(lambda z: np.maximum(z**2 - 2, 0) ** 2, epsabs=1e-12)
    assert mean == pytest.approx(first, rel=1e-6)
    assert variance == pytest.approx(second - first**2, rel=1e-6)


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_the_gamma_of_the_sum_test_is_that_of_simulated_genes(correlation):
    rng = np.random.default_rng(0)
    n_genes, n_trials = 80, 40_000
    groups = np.kron(np.eye(8), np.ones((10, 10)))
    covariance = np.eye(n_genes) * (1 - correlation) + correlation * groups
    root = np.linalg.cholesky(covariance)
    factor = n_genes + (covariance**2).sum() - n_genes
    p = sum_test((rng.normal(size=(n_trials, n_genes)) @ root.T) ** 2, factor)
    for bound in (0.2, 0.05, 0.01, 0.001):
        error = 3 * np.sqrt(bound / n_trials)
        assert (p < bound).mean() <= 1.25 * bound + error
        assert (p < bound).mean() >= 0.6 * bound - error


def test_genes_that_go_together_count_as_their_squared_correlations():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(20_000, 1))
    residual = np.concatenate(
        [np.sqrt(0.5) * (shared + rng.normal(size=(20_000, 3))), rng.normal(size=(20_000, 2))],
        axis=1,
    )
    correlation = residual_correlation(residual)
    np.testing.assert_allclose(correlation, np.corrcoef(residual.T), atol=0.02)
    assert effective_genes(correlation, 19_999) == pytest.approx(5 + 6 * 0.25, abs=0.1)
    assert effective_genes(correlation[3:, 3:], 19_999) == pytest.approx(2, abs=0.01)


def test_innovations_are_what_other_genes_do_not_foretell():
    """Regressing each deviate on those of the other genes leaves the same."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6)) / 3 + np.eye(6)
    covariance = root @ root.T
    correlation = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    z = rng.multivariate_normal(np.zeros(6), correlation, 200_000)
    result = innovations(z, correlation, 1e12)
    for gene in range(6):
        others = np.delete(z, gene, axis=1)
        left = z[:, gene] - others @ np.linalg.lstsq(others, z[:, gene], rcond=None)[0]
        assert np.corrcoef(left, result.deviate[:, gene])[0, 1] > 0.999
    np.testing.assert_allclose(result.deviate.var(axis=0), 1, atol=0.02)
    partial = np.corrcoef(result.deviate.T)
    assert result.effective_genes == pytest.approx((partial**2).sum(), abs=0.05)
    assert result.gain > 1


def test_innovations_of_genes_that_only_noise_correlates_are_the_deviates():
    rng = np.random.default_rng(0)
    correlation = residual_correlation(rng.normal(size=(60, 30)))
    z = rng.normal(size=30)
    result = innovations(z, correlation, 55)
    np.testing.assert_allclose(result.deviate, z, atol=0.5)
    assert result.gain == pytest.approx(1, abs=0.05)


def test_the_harmonic_mean_is_that_of_scipy():
    p = np.array([[0.01, 0.2], [0.3, 0.2], [0.05, 0.2]])
    np.testing.assert_allclose(harmonic_mean(p), stats.hmean(p))
    assert harmonic_mean(np.array([0.0, 0.5])) < 1e-290
