"""The exact distribution of a resampled mean or median, against what can be counted or is known."""

import functools
import itertools

import numpy as np
import pytest
from scipy import stats

from amici_xr.kernels.exact_bootstrap import interval_of_mean, interval_of_median

INTERVALS = {"mean": interval_of_mean, "median": interval_of_median}
LEVELS = np.array([0.005, 0.025, 0.25, 0.75, 0.975, 0.995])

VALUES = {
    "different": lambda rng, n: rng.gamma(1.0, size=n),
    "with ties": lambda rng, n: rng.integers(0, 3, n).astype(float),
    "with one far outlier": lambda rng, n: np.append(rng.gamma(1.0, size=n - 1), 1e6),
    "with far outliers below": lambda rng, n: np.append(rng.gamma(1.0, size=n - 2), [-1e6, -1e6]),
    "far from zero": lambda rng, n: 1e6 + rng.normal(size=n),
    "mostly zero": lambda rng, n: rng.gamma(1.0, size=n) * (rng.random(n) < 0.4),
    "tiny": lambda rng, n: 1e-12 * rng.lognormal(0, 2, n),
    "of all sizes": lambda rng, n: 10.0 ** rng.uniform(-300, 1, n),
    "negative": lambda rng, n: -rng.lognormal(0, 2, n),
}


def quantiles_of_all_resamples(values, statistic, levels):
    """F⁻¹ over all nⁿ resamples, the middle of the plateau where F equals the level."""
    n = values.size
    every = values[np.array(list(itertools.product(range(n), repeat=n)))]
    estimates = np.sort(getattr(np, statistic)(every, axis=1))
    width = estimates[-1] - estimates[0]
    ends = np.flatnonzero(np.append(np.diff(estimates) > 1e-12 * width, True))  # but for rounding
    cumulated = (ends + 1) / estimates.size
    reached = [np.argmax(cumulated >= level - 1e-12) for level in levels]
    exceeded = [np.argmax(cumulated > level + 1e-12) for level in levels]
    return (estimates[ends[reached]] + estimates[ends[np.maximum(reached, exceeded)]]) / 2


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_small_samples_have_the_quantiles_of_all_their_resamples(statistic, kind, n):
    for seed in range(5):
        values = VALUES[kind](np.random.default_rng(seed), n)
        expected = quantiles_of_all_resamples(values, statistic, LEVELS)
        ours = INTERVALS[statistic](values, LEVELS)
        atol = 1e-3 * (expected[-2] - expected[1]) + 1e-13 * np.abs(values).max()
        np.testing.assert_allclose(ours, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("spacing", [0.3, 1.0, 40.0])
def test_the_mean_of_values_on_a_lattice_is_that_of_convolved_counts(spacing):
    counts = np.random.default_rng(0).integers(0, 6, 60)
    of_one = np.bincount(counts) / counts.size
    of_sum = functools.reduce(np.convolve, [of_one] * counts.size)
    expected = np.searchsorted(np.cumsum(of_sum), LEVELS) / counts.size
    ours = interval_of_mean(2.0 + spacing * counts, LEVELS)
    np.testing.assert_allclose(ours, 2.0 + spacing * expected, rtol=1e-12)


@pytest.mark.parametrize("n", [2, 17, 1000, 100_000])
@pytest.mark.parametrize("share", [0.5, 0.1, None], ids=["half", "a tenth", "one alone"])
def test_the_mean_of_two_values_is_binomial(n, share):
    ones = 1 if share is None else max(1, int(share * n))
    values = np.where(np.arange(n) < ones, 7.25, 0.1)
    expected = 0.1 + 7.15 * stats.binom.ppf(LEVELS, n, ones / n) / n
    near = stats.binom.cdf(stats.binom.ppf(LEVELS, n, ones / n), n, ones / n)
    plateau = np.isclose(near, LEVELS, rtol=0, atol=1e-9)  # where ppf takes the lower end
    ours = interval_of_mean(values, LEVELS)
    np.testing.assert_allclose(ours[~plateau], expected[~plateau], rtol=1e-12)


@pytest.mark.parametrize("n", [9, 101, 10_001])
def test_the_median_of_an_odd_number_is_an_order_statistic(n):
    values = np.random.default_rng(n).permutation(n).astype(float)
    ours = interval_of_median(values, LEVELS)
    for level, rank in zip(LEVELS, ours, strict=True):  # the values are their own ranks from 0 on
        at_most = stats.binom.sf((n - 1) // 2, n, np.array([rank, rank + 1]) / n)
        assert at_most[0] < level <= at_most[1]


def test_the_mean_of_many_values_is_normal_but_for_its_skewness():
    rng = np.random.default_rng(5)
    values = rng.gamma(2.0, size=50_000)
    z = stats.norm.ppf(LEVELS)
    skewness = stats.skew(values)
    cornish_fisher = z + (z**2 - 1) * skewness / 6 / np.sqrt(values.size)
    expected = values.mean() + values.std() / np.sqrt(values.size) * cornish_fisher
    width = expected[-2] - expected[1]
    np.testing.assert_allclose(interval_of_mean(values, LEVELS), expected, atol=1e-3 * width)


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("n", [30, 67, 1000, 1001])
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_the_interval_lies_where_many_resamples_put_it(statistic, n, kind):
    rng = np.random.default_rng(n)
    values, n_resamples = VALUES[kind](rng, n), 20_000
    drawn = (values[rng.integers(0, n, size=(1000, n))] for _ in range(n_resamples // 1000))
    estimates = np.concatenate([getattr(np, statistic)(block, axis=1) for block in drawn])
    spread = 5 * np.sqrt(LEVELS * (1 - LEVELS) / n_resamples)
    low = np.quantile(estimates, LEVELS - spread, method="lower")
    high = np.quantile(estimates, LEVELS + spread, method="higher")
    width = np.diff(np.quantile(estimates, [0.025, 0.975]))
    margin = 1e-3 * width + 1e-13 * np.abs(values).max()
    ours = INTERVALS[statistic](values, LEVELS)
    assert (ours >= low - margin).all()
    assert (ours <= high + margin).all()


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_scaling_shifting_and_shuffling_the_values_does_so_to_the_interval(statistic):
    rng = np.random.default_rng(1)
    for n in (2, 12, 13, 500):
        values = rng.lognormal(0, 1, n)
        expected = INTERVALS[statistic](values, LEVELS)
        width = expected[-1] - expected[0]
        moved = INTERVALS[statistic](rng.permutation(8 * values - 3), LEVELS)
        np.testing.assert_allclose((moved + 3) / 8, expected, atol=1e-3 * width)


def test_quantiles_on_a_plateau_are_its_middle():
    # Two of two values: both lower with probability 1/4, both upper with 1/4.
    for interval in INTERVALS.values():
        np.testing.assert_allclose(
            interval(np.array([0.0, 1.0]), np.array([0.25, 0.75])), [0.25, 0.75], rtol=1e-12
        )
