"""The formulas against closed forms and brute force."""

import numpy as np
import pytest
from scipy.special import expit

from amici_xr import kernels


def test_attention_equals_a_softmax_over_neighbor_and_dummy():
    a, p, d = np.array([2.0, -1.0]), np.array([0.5, 0.1]), 7.0
    score = np.exp(a - p * d / 2.0)
    expected = score / (score + np.exp(3.0))
    np.testing.assert_allclose(kernels.counterfactual_attention(a, p, 3.0, 2.0, d), expected)


@pytest.mark.parametrize(("score", "expected"), [(1e4, 1.0), (-1e4, 0.0), (710.0, 1.0)])
def test_attention_does_not_overflow(score, expected):
    assert kernels.counterfactual_attention(score, 1.0, 3.0, 1.0, 0.0) == expected


def test_float32_scores_are_computed_in_float64():
    a, p = np.float32([[1.1]]), np.float32([[0.3]])
    expected = (np.float64(a) - 3.0 - np.log(0.1 / 0.9)) / np.float64(p)
    got = kernels.length_scale(a, p, np.array(3.0), np.array(1.0), np.array(0.1))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-15)


def test_length_scale_is_where_the_curve_crosses_the_threshold():
    length = kernels.length_scale(4.0, 0.2, 3.0, 1.5, 0.3)
    assert kernels.counterfactual_attention(4.0, 0.2, 3.0, 1.5, length) == pytest.approx(0.3)


def test_length_scale_is_floored_at_zero():
    assert kernels.length_scale(-5.0, 0.2, 3.0, 1.0, 0.5) == 0


def test_group_reduce_leaves_empty_groups_and_unknown_codes_out():
    values, codes = np.array([[1.0, 2.0, 3.0, 9.0]]), np.array([0, 2, 2, -1])
    got = kernels.group_reduce(values, codes, n_groups=3, reduce=np.median)
    np.testing.assert_array_equal(got, [[1.0, np.nan, 2.5]])


def test_nearest_distance_is_the_minimum_over_ranks_not_the_first_rank():
    distance = np.array([[3.0, 1.0, 2.0], [5.0, np.nan, np.nan]])
    label = np.array([[0, 0, 1], [1, -1, -1]])
    got = kernels.nearest_distance(distance, label, 3)
    np.testing.assert_array_equal(got, [[1.0, 2.0, np.inf], [np.inf, 5.0, np.inf]])


def test_edge_is_the_largest_distance_not_the_last():
    distance = np.array([[3.0, 1.0, np.nan], [np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(kernels.edge_distance(distance), [3.0, np.nan])


def test_share_below_is_strict_and_counts_infinity_but_not_nan():
    values = np.array([[1.0], [2.0], [np.inf], [np.nan]])
    for bound, share in [(1.0, 0.0), (1.5, 1 / 3), (2.5, 2 / 3), (np.nan, np.nan)]:
        np.testing.assert_array_equal(kernels.share_below(np.array([bound]), values), [share])
    np.testing.assert_array_equal(kernels.share_below(np.array([1.0]), np.empty((0, 1))), [np.nan])


@pytest.mark.parametrize("block", [7, 1000])
def test_moments_of_blocks_are_those_of_the_whole_curve(monkeypatch, block):
    rng = np.random.default_rng(0)
    a, p = rng.normal(3, 1, (2, 40)), rng.gamma(2, 1, (2, 40))
    codes, distance = rng.integers(0, 3, 40), np.linspace(0, 5, 7)
    monkeypatch.setattr(kernels, "MOMENT_BLOCK", block)
    options = {"n_groups": 4, "distance": distance}
    moments = kernels.curve_moments(a, p, 3.0, 1.0, codes, **options)
    halves = [
        kernels.curve_moments(a[:, half], p[:, half], 3.0, 1.0, codes[half], **options)
        for half in (slice(0, 11), slice(11, None))
    ]
    np.testing.assert_allclose(
        kernels.combined_moments(np.stack(halves, axis=-2)), moments, rtol=1e-12
    )
    got = kernels.mean_and_std(moments)
    of_quantiles = kernels.curve_quantiles(
        a, p, 3.0, 1.0, codes, quantiles=np.array([0.1, 0.5]), **options
    )
    whole = expit(a[:, None] - p[:, None] * distance[:, None] - 3.0)
    for group in range(3):
        own = whole[..., codes == group]
        np.testing.assert_allclose(got[:, group, :, 0], own.mean(axis=-1))
        np.testing.assert_allclose(got[:, group, :, 1], own.std(axis=-1, ddof=1))
        expected = np.moveaxis(np.quantile(own, [0.1, 0.5], axis=-1), 0, -1)
        np.testing.assert_allclose(of_quantiles[:, group], expected)
    assert np.isnan(got[:, 3]).all()
    assert np.isnan(of_quantiles[:, 3]).all()


def test_moments_do_not_cancel_where_curves_hardly_differ():
    a, p = 3.0 + np.linspace(0, 1e-6, 5000), np.full(5000, 1e-9)
    moments = kernels.curve_moments(
        a, p, 3.0, 1.0, np.zeros(5000, int), n_groups=1, distance=np.array([1.0])
    )
    weight = expit(a - 3.0 - 1e-9)
    np.testing.assert_allclose(
        kernels.mean_and_std(moments)[0, 0, 1], weight.std(ddof=1), rtol=1e-6
    )


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_drawing_many_resamples_at_once_equals_drawing_one_by_one(statistic):
    values = np.random.default_rng(1).gamma(2.0, size=301)
    generator = np.random.default_rng(7)
    estimates = [statistic(values[generator.integers(0, 301, size=301)]) for _ in range(5000)]
    got = kernels.resampled_interval(
        values,
        np.random.default_rng(7),
        statistic=statistic.__name__,
        probabilities=np.array([0.05, 0.95]),
        n_resamples=5000,
    )
    assert got.tolist() == np.percentile(estimates, 100 * np.array([0.05, 0.95])).tolist()


def test_zeros_use_up_as_many_random_numbers_as_other_values():
    streams = [np.random.default_rng(7), np.random.default_rng(7)]
    options = {"statistic": "mean", "probabilities": np.array([0.1, 0.9]), "n_resamples": 100}
    kernels.resampled_interval(np.zeros(31), streams[0], **options)
    kernels.resampled_interval(np.ones(31), streams[1], **options)
    assert streams[0].random() == streams[1].random()
