"""Permutation tests of two groups, on plain arrays."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy import stats

from amici_xr.kernels import permutation

N_RESAMPLES = 9_999


def permutation_p(first, second, n_resamples=N_RESAMPLES, random_state=42):
    first, second = (np.asarray(group, dtype=float) for group in (first, second))
    return permutation.permutation_p(
        first, second, n_resamples=n_resamples, random_state=random_state
    )


def squared_t(first, second):
    """Welch's t² as an exact fraction; None for infinity, 0 where all values are equal."""
    means = [sum(group) / len(group) for group in (first, second)]
    squares = [
        sum((value - mean) ** 2 for value in group) / (len(group) - 1) / len(group)
        for group, mean in zip((first, second), means, strict=True)
    ]
    difference = (means[0] - means[1]) ** 2
    if sum(squares) == 0:
        return None if difference else Fraction(0)
    return difference / sum(squares)


def brute_force_p(first, second):
    """Labeling by labeling, in exact arithmetic: no tie is missed, none is made."""
    pooled = [Fraction(value) for value in [*map(float, first), *map(float, second)]]
    every = range(len(pooled))
    found = [
        squared_t([pooled[i] for i in chosen], [pooled[i] for i in every if i not in chosen])
        for chosen in itertools.combinations(every, len(first))
    ]
    observed = found[0]
    extreme = sum(t is None or (observed is not None and t >= observed) for t in found)
    return extreme / len(found)


TISSUES = {
    "all different": lambda values: values,
    "rounded": lambda values: np.round(values),
    "far from 0": lambda values: 1000 + np.round(2 * values) / 2,
    "floored at 0": lambda values: np.maximum(values, 0),
    "read from float32": lambda values: np.float64(np.float32(np.round(values, 1))),
    "two values": lambda values: np.where(values > 0, 0.1, 0.3),
    "one value": lambda values: np.full(values.shape, 0.1),
}


@pytest.mark.parametrize("kind", TISSUES)
@pytest.mark.parametrize("sizes", [(2, 2), (2, 3), (3, 3), (4, 2), (3, 4)])
def test_p_is_the_share_of_labelings_counted_in_exact_arithmetic(kind, sizes):
    rng = np.random.default_rng(5)
    values = TISSUES[kind](rng.normal(size=(12, sum(sizes))))
    first, second = values[:, : sizes[0]], values[:, sizes[0] :]
    expected = [brute_force_p(*both) for both in zip(first, second, strict=True)]
    np.testing.assert_allclose(permutation_p(first, second), expected, rtol=1e-12)


def test_p_agrees_with_scipy_on_welch_s_t():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(6, 5)), rng.normal(1.0, 2.0, size=(6, 4))

    def statistic(x, y, axis):
        return np.abs(stats.ttest_ind(x, y, axis=axis, equal_var=False).statistic)

    theirs = stats.permutation_test(
        (first, second),
        statistic,
        vectorized=True,
        n_resamples=np.inf,
        alternative="greater",
        axis=-1,
    )
    np.testing.assert_allclose(permutation_p(first, second), theirs.pvalue, rtol=1e-12)


def test_the_studentized_difference_is_welch_s_t_second_minus_first():
    rng = np.random.default_rng(2)
    first, second = rng.gamma(2.0, size=(3, 4, 6)), rng.gamma(3.0, size=(3, 4, 5))
    ours = permutation.studentized_difference(first, second)
    theirs = stats.ttest_ind(second, first, axis=-1, equal_var=False).statistic
    assert ours.shape == (3, 4)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_groups_that_do_not_vary_are_infinitely_far_apart_and_equal_ones_have_no_t():
    first = np.array([[0.1, 0.1, 0.1], [0.1, 0.1, 0.1], [0.3, 0.3, 0.3]])
    second = np.array([[0.3, 0.3, 0.3], [0.1, 0.1, 0.1], [0.1, 0.1, 0.1]])
    t = permutation.studentized_difference(first, second)
    np.testing.assert_array_equal(t, [np.inf, np.nan, -np.inf])
    np.testing.assert_allclose(permutation_p(first, second), [2 / 20, 1, 2 / 20])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0.9, 1.8], [0.6, 0.9, 1.8, 2.1]),
        ([2.6, 0.9, 2.3], [1.0, 1.4, 2.7, 2.6]),
        ([1.6, 1.6, 2.5, 0.7], [2.0, 1.2]),
    ],
)
def test_equal_means_have_a_p_of_one_in_spite_of_rounding(first, second):
    """Their difference is not quite 0, nor is it in other labelings with equal means."""
    assert permutation_p(first, second) == 1


def test_ties_of_decimal_numbers_are_ties_in_spite_of_rounding():
    rng = np.random.default_rng(4)
    for _ in range(150):
        n_first, n_second = rng.integers(2, 5, 2)
        tenths = rng.integers(0, 30, n_first + n_second)
        p = permutation_p(tenths[:n_first] / 10, tenths[n_first:] / 10)
        assert p == pytest.approx(brute_force_p(tenths[:n_first], tenths[n_first:]))


@pytest.mark.parametrize("values", TISSUES)
@pytest.mark.parametrize("sizes", [(4, 4), (3, 5)])
def test_the_share_of_labelings_with_p_below_alpha_is_at_most_alpha(values, sizes):
    """Whichever labeling had been the observed one; for every alpha there is."""
    pooled = TISSUES[values](np.random.default_rng(11).normal(size=sum(sizes)))
    every = set(range(sum(sizes)))
    chosen = [list(first) for first in itertools.combinations(every, sizes[0])]
    others = [sorted(every - set(first)) for first in chosen]
    p = permutation_p(pooled[chosen], pooled[others])
    for alpha in np.unique(p):
        assert np.mean(p <= alpha) <= alpha + 1e-12
    if values == "all different":
        assert np.mean(p <= 0.2) > 0.15  # and it is no empty promise


@pytest.mark.parametrize("sizes", [(2, 2), (2, 3), (3, 3), (5, 5), (4, 6), (2, 7)])
def test_the_least_p_is_attained_and_no_p_lies_below_it(sizes):
    pooled = np.random.default_rng(3).gamma(1.0, size=(4, sum(sizes)))
    every = set(range(sum(sizes)))
    chosen = [list(first) for first in itertools.combinations(every, sizes[0])]
    others = [sorted(every - set(first)) for first in chosen]
    p = permutation_p(pooled[:, chosen], pooled[:, others])
    least = permutation.min_attainable_p(*sizes, n_resamples=N_RESAMPLES)
    assert least == pytest.approx((2 if sizes[0] == sizes[1] else 1) / comb(sum(sizes), sizes[0]))
    np.testing.assert_allclose(p.min(axis=1), least)


def test_the_least_p_of_drawn_labelings_and_of_too_few_units():
    least = permutation.min_attainable_p([20, 20, 1, 0], [20, 3, 5, 5], n_resamples=999)
    np.testing.assert_allclose(least, [1 / 1000, 1 / 1000, np.nan, np.nan])
    least = permutation.min_attainable_p(20, 3, n_resamples=comb(23, 3))
    assert least == pytest.approx(1 / comb(23, 3))


def test_labelings_are_drawn_where_there_are_more_than_asked_for():
    first, second = np.arange(5.0), np.array([9.0, 9.5, 10.0, 12.0, 13.0])
    assert permutation_p(first, second, n_resamples=comb(10, 5)) == pytest.approx(2 / 252)
    drawn = 200 * permutation_p(first, second, n_resamples=199)
    assert drawn == pytest.approx(round(float(drawn)))
    assert permutation.is_enumerated(5, 5, n_resamples=252)
    assert not permutation.is_enumerated(5, 5, n_resamples=251)


def test_drawn_labelings_count_the_observed_one_too():
    """(1 + b)/(1 + R), never 0: with so great a difference b is 0."""
    first, second = np.arange(12.0), 1000 + np.arange(12.0)
    assert permutation_p(first, second, n_resamples=99) == pytest.approx(1 / 100)


def test_drawn_labelings_come_close_to_all_of_them():
    rng = np.random.default_rng(8)
    first, second = rng.normal(size=(40, 8)), rng.normal(0.8, 1, size=(40, 8))
    every = permutation_p(first, second, n_resamples=comb(16, 8))
    drawn = permutation_p(first, second, n_resamples=5_000)
    # Five standard errors of a share out of 5,000, and the observed labeling.
    np.testing.assert_array_less(
        np.abs(drawn - every), 5 * np.sqrt(every * (1 - every) / 5_000) + 1 / 5_001
    )


def test_drawn_labelings_depend_on_the_seed_alone():
    """Not on the other pairs, nor on the order of the units."""
    rng = np.random.default_rng(9)
    first, second = rng.normal(size=(permutation.PAIR_BLOCK + 3, 8)), rng.normal(size=8)
    p = permutation_p(first, second, n_resamples=200)
    np.testing.assert_array_equal(permutation_p(first, second, n_resamples=200), p)
    np.testing.assert_array_equal(permutation_p(first[-2:], second, n_resamples=200), p[-2:])
    turned = permutation_p(first[:, ::-1], second, n_resamples=200)
    np.testing.assert_array_equal(turned, p)
    assert not np.array_equal(permutation_p(first, second, 200, random_state=1), p)


def test_units_without_the_pair_are_left_out_for_that_pair():
    rng = np.random.default_rng(10)
    first, second = rng.normal(size=(30, 5)), rng.normal(size=(30, 4))
    for group in (first, second):
        group[rng.random(group.shape) < 0.3] = np.nan
    p = permutation_p(first, second)
    t = permutation.studentized_difference(first, second)
    n_tests = 0
    for row, both in enumerate(zip(first, second, strict=True)):
        own = [group[~np.isnan(group)] for group in both]
        if min(group.size for group in own) < 2:
            assert np.isnan(p[row])
            assert np.isnan(t[row])
        else:
            n_tests += 1
            assert p[row] == pytest.approx(brute_force_p(*own))
            assert t[row] == pytest.approx(stats.ttest_ind(*own[::-1], equal_var=False).statistic)
    assert 10 < n_tests < 30


def test_groups_of_one_unit_or_none_have_no_p():
    assert np.isnan(permutation_p([1.0], [2.0, 3.0, 4.0]))
    assert np.isnan(permutation_p([1.0, 2.0], [np.nan, np.nan, 4.0]))
    assert np.isnan(permutation_p(np.empty((3, 0)), np.ones((3, 2)))).all()
    assert permutation_p(np.empty((0, 4)), np.empty((0, 2))).shape == (0,)


def test_benjamini_hochberg_leaves_out_what_is_no_test():
    p = np.array([[0.01, np.nan, 0.04], [0.03, 0.9, np.nan]])
    q = permutation.benjamini_hochberg(p)
    # By hand: 4 tests, p·4/rank, made monotone from the largest down.
    np.testing.assert_allclose(q, [[0.04, np.nan, 0.16 / 3], [0.16 / 3, 0.9, np.nan]])
    assert np.isnan(permutation.benjamini_hochberg(np.full(3, np.nan))).all()


@pytest.mark.parametrize(("n", "shift"), [(5, 2.0), (5, 0.0), (4, 2.0), (6, 1.5)])
def test_power_and_type_one_error_are_those_of_the_t_test_at_the_attainable_level(n, shift):
    """Noncentral t at the largest multiple of the least p below 0.05; the test itself has less."""
    n_trials, alpha = 4_000, 0.05
    rng = np.random.default_rng(12)
    p = permutation_p(rng.normal(size=(n_trials, n)), rng.normal(shift, 1, size=(n_trials, n)))
    least = permutation.min_attainable_p(n, n, n_resamples=N_RESAMPLES)
    level = np.floor(alpha / least) * least
    critical, center = stats.t.isf(level / 2, 2 * n - 2), shift / np.sqrt(2 / n)
    power = stats.nct.sf(critical, 2 * n - 2, center) + stats.nct.cdf(-critical, 2 * n - 2, center)
    noise = 4 * np.sqrt(power * (1 - power) / n_trials)
    assert power - 0.06 - noise < np.mean(p <= alpha) < power + noise
