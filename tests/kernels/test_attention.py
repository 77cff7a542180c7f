"""The formulas against closed forms and brute force."""

import numpy as np
import pytest
from scipy.special import expit

from amici_xr.kernels import attention, groups, resampling


def test_attention_equals_a_softmax_over_neighbor_and_dummy():
    a, p, d = np.array([2.0, -1.0]), np.array([0.5, 0.1]), 7.0
    score = np.exp(a - p * d / 2.0)
    expected = score / (score + np.exp(3.0))
    np.testing.assert_allclose(attention.counterfactual_attention(a, p, 3.0, 2.0, d), expected)


@pytest.mark.parametrize(("score", "expected"), [(1e4, 1.0), (-1e4, 0.0), (710.0, 1.0)])
def test_attention_does_not_overflow(score, expected):
    assert attention.counterfactual_attention(score, 1.0, 3.0, 1.0, 0.0) == expected


def test_float32_scores_are_computed_in_float64():
    a, p = np.float32([[1.1]]), np.float32([[0.3]])
    expected = (np.float64(a) - 3.0 - np.log(0.1 / 0.9)) / np.float64(p)
    got = attention.length_scale(a, p, np.array(3.0), np.array(1.0), np.array(0.1))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-15)


def test_arguments_that_are_all_float32_are_computed_in_float64_too():
    narrow = [np.float32(value) for value in (1.1, 0.3, 0.7, 1.9, 0.1)]
    for formula in (attention.length_scale, attention.counterfactual_attention):
        got = formula(*narrow)
        assert got.dtype == np.float64
        assert got == formula(*map(float, narrow))


def test_length_scale_is_where_the_curve_crosses_the_threshold():
    length = attention.length_scale(4.0, 0.2, 3.0, 1.5, 0.3)
    assert attention.counterfactual_attention(4.0, 0.2, 3.0, 1.5, length) == pytest.approx(0.3)


def test_length_scale_is_floored_at_zero():
    assert attention.length_scale(-5.0, 0.2, 3.0, 1.0, 0.5) == 0


def test_group_reduce_leaves_empty_groups_and_unknown_codes_out():
    values, codes = np.array([[1.0, 2.0, 3.0, 9.0]]), np.array([0, 2, 2, -1])
    got = groups.group_reduce(values, codes, n_groups=3, reduce=np.median)
    np.testing.assert_array_equal(got, [[1.0, np.nan, 2.5]])


def test_nearest_distance_is_the_minimum_over_ranks_not_the_first_rank():
    distance = np.array([[3.0, 1.0, 2.0], [5.0, np.nan, np.nan]])
    label = np.array([[0, 0, 1], [1, -1, -1]])
    got = groups.nearest_distance(distance, label, 3)
    np.testing.assert_array_equal(got, [[1.0, 2.0, np.inf], [np.inf, 5.0, np.inf]])


def test_edge_is_the_largest_distance_not_the_last():
    distance = np.array([[3.0, 1.0, np.nan], [np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(groups.edge_distance(distance), [3.0, np.nan])
    assert groups.edge_distance(distance[0]) == 3.0  # of one receiver by itself


def test_share_below_is_strict_and_counts_infinity_but_not_nan():
    values = np.array([[1.0], [2.0], [np.inf], [np.nan]])
    for bound, share in [(1.0, 0.0), (1.5, 1 / 3), (2.5, 2 / 3), (np.nan, np.nan)]:
        np.testing.assert_array_equal(groups.share_below(np.array([bound]), values), [share])
    np.testing.assert_array_equal(groups.share_below(np.array([1.0]), np.empty((0, 1))), [np.nan])


@pytest.mark.parametrize(("block", "rows"), [(7, 2), (7, 100), (1000, 100)])
def test_moments_of_blocks_are_those_of_the_whole_curve(monkeypatch, block, rows):
    rng = np.random.default_rng(0)
    a, p = rng.normal(3, 1, (2, 40)), rng.gamma(2, 1, (2, 40))
    codes, distance = rng.integers(0, 3, 40), np.linspace(0, 5, 7)
    monkeypatch.setattr(attention, "MOMENT_BLOCK", block)
    monkeypatch.setattr(attention, "CURVE_BLOCK", block * rows)
    options = {"n_groups": 4, "distance": distance}
    moments = attention.curve_moments(a, p, 3.0, 1.0, codes, **options)
    halves = [
        attention.curve_moments(a[:, half], p[:, half], 3.0, 1.0, codes[half], **options)
        for half in (slice(0, 11), slice(11, None))
    ]
    np.testing.assert_allclose(
        attention.combined_moments(np.stack(halves, axis=-2)), moments, rtol=1e-12
    )
    got = attention.mean_and_std(moments)
    of_quantiles = attention.curve_quantiles(
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
    moments = attention.curve_moments(
        a, p, 3.0, 1.0, np.zeros(5000, int), n_groups=1, distance=np.array([1.0])
    )
    weight = expit(a - 3.0 - 1e-9)
    np.testing.assert_allclose(
        attention.mean_and_std(moments)[0, 0, 1], weight.std(ddof=1), rtol=1e-6
    )


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_drawing_many_resamples_at_once_equals_drawing_one_by_one(statistic):
    values = np.random.default_rng(1).gamma(2.0, size=301)
    generator = np.random.default_rng(7)
    estimates = [statistic(values[generator.integers(0, 301, size=301)]) for _ in range(5000)]
    got = resampling.resampled_interval(
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
    resampling.resampled_interval(np.zeros(31), streams[0], **options)
    resampling.resampled_interval(np.ones(31), streams[1], **options)
    assert streams[0].random() == streams[1].random()


def test_corrected_lengths_are_zero_where_the_group_of_the_neighbor_is_not_supported():
    rng = np.random.default_rng(2)
    lengths, codes = rng.gamma(2.0, size=(2, 3, 5)), np.array([0, 2, 1, 2, 0])
    lengths[0, 1, 2:4] = np.nan
    is_supported = rng.random((3, 1, 3)) < 0.5  # by head alone
    got = groups.zero_unsupported(lengths, codes, is_supported)
    for at, length in np.ndenumerate(lengths):
        zeroed = not is_supported[at[1], 0, codes[at[2]]] and not np.isnan(length)
        np.testing.assert_array_equal(got[at], 0.0 if zeroed else length)


def test_the_members_of_a_group_come_in_ascending_order():
    codes = np.random.default_rng(0).integers(-1, 5, 10_000)
    codes[codes == 2] = 7  # one group is empty, and some lie beyond the last
    found = dict(groups.group_positions(codes, 5))
    assert list(found) == [0, 1, 3, 4]
    for group, members in found.items():
        np.testing.assert_array_equal(members, np.flatnonzero(codes == group))


def test_a_value_is_found_among_names_as_in_a_list():
    names = np.array(["T_cell", "B", "", "Fibroblaste interstitiel", "Ж", "B "])
    values = np.array(["B", "T_cell", "b", "", "Ж", "B ", "T_cel", "T_cell and B"])
    expected = [list(names).index(value) if value in names else -1 for value in values]
    assert groups.find_groups(values, names).tolist() == expected
    assert groups.find_groups(values.astype(object), names.astype(object)).tolist() == expected
    numbers = np.array([30, 10, 20])
    assert groups.find_groups(np.array([10, 5, 30]), numbers).tolist() == [1, -1, 0]
    assert groups.find_groups(values, names[:0]).tolist() == [-1] * 8
    assert groups.find_groups(values[:0], names).tolist() == []


def test_texts_of_one_number_are_told_apart():
    twins = np.array([chr(8_421) + chr(33), chr(8_421 + 11_547) + chr(33 + 50_549)])
    first, second = groups._numbers(twins)
    assert first == second
    others = np.array(["A", "B"])
    assert groups.find_groups(twins, twins).tolist() == [0, 1]
    assert groups.find_groups(twins, np.append(others, twins[0])).tolist() == [2, -1]


def test_groups_are_reduced_along_the_neighbors_alone():
    values, codes = np.arange(24.0).reshape(2, 3, 4), np.array([1, 5, 1, -1])
    got = groups.group_reduce(values, codes, n_groups=2, reduce=np.sum, empty=-1.0)
    np.testing.assert_array_equal(got[..., 0], np.full((2, 3), -1.0))
    np.testing.assert_array_equal(got[..., 1], values[..., 0] + values[..., 2])


def test_curves_have_any_number_of_dims_before_the_neighbors():
    rng = np.random.default_rng(4)
    a, p = rng.normal(3, 1, (3, 30)), rng.gamma(2, 1, (2, 1, 30))
    delta, u = rng.normal(3, 1, 3), rng.uniform(1, 5, (2, 1))
    codes, distance = rng.integers(0, 2, 30), np.linspace(0, 9, 4)
    options = {"n_groups": 2, "distance": distance}
    moments = attention.curve_moments(a, p, delta, u, codes, **options)
    quantiles = attention.curve_quantiles(
        a, p, delta, u, codes, quantiles=np.array([0.3]), **options
    )
    term = a - delta[..., None]
    curve = expit(term[..., None] - (p / u[..., None])[..., None] * distance)
    for group in (0, 1):
        own = curve[:, :, codes == group]
        np.testing.assert_allclose(moments[:, :, group, :, 0], (codes == group).sum())
        np.testing.assert_allclose(moments[:, :, group, :, 1], own.mean(axis=2))
        np.testing.assert_allclose(
            moments[:, :, group, :, 2], own.var(axis=2) * own.shape[2], rtol=1e-10
        )
        np.testing.assert_allclose(quantiles[:, :, group, :, 0], np.quantile(own, 0.3, axis=2))


def test_curves_of_extreme_scores_are_zero_and_one_without_a_warning():
    a, codes = np.array([[-1e4, 1e4]]), np.array([0, 1])
    options = {"n_groups": 2, "distance": np.array([0.0, 1.0])}
    moments = attention.curve_moments(a, np.ones((1, 2)), 0.0, 1.0, codes, **options)
    np.testing.assert_array_equal(moments[0, :, :, 1], [[0.0, 0.0], [1.0, 1.0]])


DISTANCES = {
    "even": np.linspace(0, 50, 51),
    "even, falling": np.linspace(70, 3, 300),
    "uneven": np.geomspace(0.1, 50, 40),
    "nearly even": np.linspace(0, 50, 51) + 1e-9 * np.arange(51) ** 2,
    "one": np.array([7.0]),
    "the same again": np.full(9, 3.0),
    "none but contact": np.zeros(3),
}


@pytest.mark.parametrize("spread", [1.0, 40.0, 700.0], ids=["usual", "large", "overflowing"])
@pytest.mark.parametrize("name", DISTANCES)
def test_mean_and_deviation_are_those_of_more_digits_at_even_and_uneven_distances(name, spread):
    rng, distance = np.random.default_rng(5), DISTANCES[name]
    a, p = rng.normal(0, spread, 500), rng.gamma(2, spread / 40, 500)
    moments = attention.curve_moments(
        a, p, 0.0, 1.0, np.zeros(500, int), n_groups=1, distance=distance
    )[0]
    with np.errstate(over="ignore"):
        weight = 1 / (1 + np.exp(np.longdouble(p) * distance[:, None] - a))
    mean, deviation = weight.mean(axis=1), weight.std(axis=1, ddof=1)
    rounding = 1e-15 * (10 + distance.size + spread)
    np.testing.assert_allclose(moments[:, 1], np.float64(mean), rtol=rounding)
    got = attention.mean_and_std(moments)[:, 1]
    np.testing.assert_allclose(got, np.float64(deviation), rtol=10 * rounding)


@pytest.mark.parametrize("sizes", [(1, 0, 1), (1, 1, 0), (0, 0, 3), (2, 0, 5)])
def test_parts_of_none_and_of_one_value_are_combined(sizes):
    values = np.random.default_rng(1).normal(size=sum(sizes))
    pieces = np.split(values, np.cumsum(sizes)[:-1])
    parts = [(x.size, x.mean(), x.var() * x.size) if x.size else (0, 0, 0) for x in pieces]
    together = attention.combined_moments(np.array(parts, float))
    expected = (values.size, values.mean(), values.var() * values.size)
    np.testing.assert_allclose(together, expected, rtol=1e-12)


def test_mean_and_deviation_of_too_few_values_are_nan():
    moments = np.array([[0.0, 0.0, 0.0], [1.0, 4.0, 0.0], [2.0, 4.0, 2.0], [3.0, 4.0, 18.0]])
    expected = [[np.nan, np.nan], [4.0, np.nan], [4.0, np.sqrt(2.0)], [4.0, 3.0]]
    np.testing.assert_array_equal(attention.mean_and_std(moments), expected)


def test_an_edge_of_no_ranks_at_all_is_nan():
    np.testing.assert_array_equal(groups.edge_distance(np.empty((2, 0))), [np.nan, np.nan])


def test_share_below_takes_each_label_by_itself_and_any_dims_before_it():
    rng = np.random.default_rng(3)
    values, bounds = rng.normal(size=(50, 3)), rng.normal(size=(2, 4, 3))
    values[:20, 1] = np.nan
    expected = (values < bounds[:, :, None]).sum(axis=2) / (~np.isnan(values)).sum(axis=0)
    np.testing.assert_allclose(groups.share_below(bounds, values), expected)


@pytest.mark.parametrize("block", [10, 100])
@pytest.mark.parametrize("n", [30, 31])
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_resamples_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch, statistic, n, block):
    values = np.random.default_rng(1).gamma(2.0, size=n)
    generator = np.random.default_rng(7)
    expected = [getattr(np, statistic)(values[generator.integers(0, n, size=n)]) for _ in range(20)]
    monkeypatch.setattr(resampling, "RESAMPLE_BLOCK", block)
    got = resampling.resampled_interval(
        values,
        np.random.default_rng(7),
        statistic=statistic,
        probabilities=np.array([0.0, 0.3, 1.0]),
        n_resamples=20,
    )
    assert got.tolist() == np.percentile(expected, [0, 30, 100]).tolist()
