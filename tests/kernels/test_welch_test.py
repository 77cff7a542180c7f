"""Welch's test, beside SciPy's and beside what was drawn."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from amici_xr.kernels.permutation import studentized_difference
from amici_xr.kernels.student_t import degrees_of_freedom, welch_p


def p_of(first, second):
    variances = [group.var(axis=-1, ddof=1) for group in (first, second)]
    sizes = [group.shape[-1] for group in (first, second)]
    t = studentized_difference(first, second)
    return welch_p(t, variances[0], sizes[0], variances[1], sizes[1])


@pytest.mark.parametrize("sizes", [(2, 3), (3, 4), (7, 5), (3, 12)])
def test_groups_of_unequal_size_have_the_p_of_scipy(sizes):
    rng = np.random.default_rng(0)
    first, second = (rng.normal(0, sd, (50, n)) for sd, n in zip((1, 3), sizes, strict=True))
    theirs = stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue
    np.testing.assert_allclose(p_of(first, second), theirs, rtol=1e-10)


def test_degrees_of_freedom_of_groups_of_equal_size_are_those_of_welch_1947():
    """(w₁ + w₂)² / (w₁²/(n₁ + 1) + w₂²/(n₂ + 1)) − 2, in exact fractions."""
    for variance_1, variance_2, n in [(1, 9, 3), (2, 7, 5), (5, 50, 12)]:
        w_1, w_2 = Fraction(variance_1, n), Fraction(variance_2, n)
        expected = (w_1 + w_2) ** 2 / (w_1**2 / (n + 1) + w_2**2 / (n + 1)) - 2
        assert expected < 2 * n - 2
        assert degrees_of_freedom(variance_1, n, variance_2, n) == pytest.approx(float(expected))


def test_degrees_of_freedom_lie_between_those_of_the_noisier_group_and_of_both():
    assert degrees_of_freedom(1.0, 4, 1.0, 4) == 6
    assert degrees_of_freedom(1.0, 4, 0.0, 4) == pytest.approx(3)
    assert degrees_of_freedom(0.0, 3, 1.0, 8) == pytest.approx(7)


def test_the_sign_does_not_matter_and_an_infinite_t_has_p_zero():
    p = welch_p([-2.0, 2.0, np.inf], 1.0, 4, 2.0, 4)
    assert p[0] == p[1]
    assert p[2] == 0


def test_without_variance_there_is_no_p():
    assert np.isnan(welch_p(np.inf, 0.0, 3, 0.0, 3))
    assert np.isnan(welch_p(1.0, np.nan, 1, 1.0, 3))
    assert np.isnan(welch_p(1.0, np.nan, 0, np.nan, 0))


@pytest.mark.parametrize("ratio", [1, 2, 10, 30])
@pytest.mark.parametrize("n_units", [3, 4, 6, 12])
def test_normal_groups_of_equal_size_are_told_apart_in_3_to_7_of_100(n_units, ratio):
    """Whatever the ratio of their variances."""
    rng = np.random.default_rng(n_units)
    first = rng.normal(0, np.sqrt(ratio), (40_000, n_units))
    share = np.mean(p_of(first, rng.normal(0, 1, first.shape)) <= 0.05)
    assert 0.035 < share < 0.07
