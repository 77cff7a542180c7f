"""Block intervals: each step against a loop or a simulation, and how often they hold the truth."""

import numpy as np
import pytest
from kernels.test_variograms import fields
from scipy import stats
from scipy.spatial.distance import cdist

from amici_xr.kernels.block_intervals import (
    block_covariance,
    block_interval,
    block_variance,
    blocks,
    degrees_of_freedom,
    expected_block_variance,
    occupied_area,
    residual_covariance,
    spatial_error,
    variance_of_mean,
)
from amici_xr.kernels.exact_bootstrap import interval_of_mean
from amici_xr.kernels.variograms import Variogram, prepare


@pytest.fixture
def tissue():
    """Places in a rectangle, their pairs, and a field at them."""
    rng = np.random.default_rng(0)
    places = rng.random((300, 2)) * [50, 40]
    return places, prepare(places), fields(places, 3.0, 1, rng)[0] + 5


def block_of(place, places, k):
    """Column and row of a place in a grid over the bounding box."""
    low, high = places.min(axis=0), places.max(axis=0)
    return tuple(min(int(k * (place[i] - low[i]) / (high[i] - low[i])), k - 1) for i in (0, 1))


def test_the_block_variance_is_that_of_a_literal_loop(tissue):
    places, pairs, values = tissue
    sums, counts = {}, {}
    for place, value in zip(places, values, strict=True):
        block = block_of(place, places, 7)
        sums[block] = sums.get(block, 0) + value
        counts[block] = counts.get(block, 0) + 1
    n_blocks, mean = len(sums), values.mean()
    squares = sum((sums[block] - mean * counts[block]) ** 2 for block in sums)
    grid = blocks(pairs, 7)
    assert sorted(grid.n_cells) == sorted(counts.values())
    expected = n_blocks / (n_blocks - 1) * squares / 300**2
    assert block_variance(values, grid) == pytest.approx(expected)


def test_covariances_of_block_sums_are_double_sums_over_cells(tissue):
    places, pairs, _ = tissue
    model, grid = Variogram(0.4, 1.1, 6.0), blocks(pairs, 4)
    covariance = 1.1 * np.exp(-cdist(places, places) / 6.0)
    np.fill_diagonal(covariance, 1.5)
    member = (grid.code == np.arange(16)[:, np.newaxis]).astype(float)
    ours = block_covariance(model, pairs, grid)
    np.testing.assert_allclose(ours, member @ covariance @ member.T, rtol=1e-10)
    assert variance_of_mean(ours, 300) == pytest.approx(covariance.sum() / 300**2)
    centred = member - np.outer(grid.n_cells, np.ones(300)) / 300
    residual = residual_covariance(ours, grid)
    np.testing.assert_allclose(residual, centred @ covariance @ centred.T, atol=1e-9)


def test_expectation_and_spread_of_the_block_variance_are_those_of_many_fields(tissue):
    """Its mean under the model, and the degrees of freedom, 2·mean²/variance."""
    places, pairs, _ = tissue
    rng = np.random.default_rng(1)
    model, grid = Variogram(0.3, 0.7, 8.0), blocks(pairs, 5)
    drawn = [block_variance(field, grid) for field in fields(places, 8.0, 4000, rng, nugget=0.3)]
    residual = residual_covariance(block_covariance(model, pairs, grid), grid)
    assert expected_block_variance(residual, 300) == pytest.approx(np.mean(drawn), rel=0.03)
    freedom = 2 * np.mean(drawn) ** 2 / np.var(drawn)
    assert degrees_of_freedom(residual) == pytest.approx(freedom, rel=0.1)


def test_independent_blocks_of_equal_size_have_one_degree_of_freedom_less_than_blocks():
    places = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0)), axis=-1).reshape(-1, 2)
    pairs = prepare(places)
    grid = blocks(pairs, 4)
    residual = residual_covariance(block_covariance(Variogram(1, 0, 0), pairs, grid), grid)
    assert degrees_of_freedom(residual) == pytest.approx(15)


def test_the_occupied_area_of_an_l_is_three_quarters_of_its_box():
    places = np.random.default_rng(2).random((8000, 2)) * [20, 10]
    corner = (places > [10, 5]).all(axis=1)
    assert occupied_area(prepare(places)) == pytest.approx(200, rel=0.01)
    assert occupied_area(prepare(places[~corner])) == pytest.approx(150, rel=0.01)


def test_the_steps_make_the_standard_error(tissue):
    """Put together here from a fit by hand: ranks, grid, ratio, Student's t."""
    places, pairs, values = tissue
    from amici_xr.kernels.variograms import empirical_variogram, fit_variogram

    ranks = stats.rankdata(values) / 300
    model = fit_variogram(empirical_variogram(ranks, pairs), pairs)
    extent = np.ptp(places, axis=0).max()
    k = int(np.clip(extent // (6 * model.length), 4, 20))
    grid = blocks(pairs, k)
    member = (grid.code == np.arange(grid.n_cells.size)[:, np.newaxis]).astype(float)
    covariance = model.partial_sill * np.exp(-cdist(places, places) / model.length)
    np.fill_diagonal(covariance, model.sill)
    centred = member - np.outer(grid.n_cells, np.ones(300)) / 300
    residual = centred @ covariance @ centred.T
    n_blocks = grid.n_cells.size
    expected = n_blocks / (n_blocks - 1) * np.trace(residual) / 300**2
    ratio = covariance.sum() / 300**2 / expected
    assert ratio > 1.1
    error = np.sqrt(block_variance(values, grid) * ratio)
    freedom = np.trace(residual) ** 2 / (residual**2).sum()
    half = stats.t.ppf(0.95, freedom) * error
    mean, patches = values.mean(), occupied_area(pairs) / (2 * np.pi * model.length**2)
    np.testing.assert_allclose(
        block_interval(values, pairs, confidence_level=0.9),
        [mean, mean - half, mean + half, n_blocks, patches],
        rtol=1e-8,
    )


def coverage(lower, upper, true):
    return np.mean((lower <= true) & (true <= upper))


def test_blocks_hold_the_truth_where_the_cell_bootstrap_does_not():
    """25 patches of 400 cells; 150 fields leave a standard error of 1.8 percent."""
    rng = np.random.default_rng(3)
    places = rng.random((400, 2))
    values = np.exp(0.5 * fields(places, np.sqrt(1 / (2 * np.pi * 25)), 150, rng))
    cells = np.array([interval_of_mean(row, np.array([0.025, 0.975])) for row in values])
    assert coverage(*cells.T, np.exp(0.125)) < 0.6
    pairs = prepare(places)
    for statistic, true in (("mean", np.exp(0.125)), ("median", 1.0)):
        _, lower, upper, _, _ = block_interval(values, pairs, statistic).T
        given = ~np.isnan(lower)
        assert given.mean() > 0.9
        assert coverage(lower[given], upper[given], true) > 0.88


@pytest.mark.parametrize("shift", [0.3, 0.0, -0.3])
def test_the_median_of_values_floored_at_zero_is_held(shift):
    """With 38%, half and 62% zeros."""
    rng = np.random.default_rng(4)
    places = rng.random((400, 2))
    values = np.maximum(0, fields(places, 0.05, 150, rng) + shift)
    _, lower, upper, _, _ = block_interval(values, prepare(places), "median").T
    given = ~np.isnan(lower)
    assert coverage(lower[given], upper[given], max(0.0, shift)) > 0.88
    assert (lower[given] < upper[given]).mean() > 0.3


def test_noise_has_about_the_ordinary_t_interval():
    rng = np.random.default_rng(5)
    values = rng.normal(size=(200, 900))
    point, lower, upper, n_blocks, patches = block_interval(values, prepare(rng.random((900, 2)))).T
    np.testing.assert_allclose(point, values.mean(axis=1))
    error = values.std(axis=1, ddof=1) / 30
    ordinary = 2 * stats.t.ppf(0.975, 899) * error
    assert np.nanmedian((upper - lower) / ordinary) == pytest.approx(1.03, abs=0.05)
    assert np.median(n_blocks) == 36
    assert (patches == 900).mean() > 0.9
    given = ~np.isnan(lower)
    assert given.mean() > 0.9
    assert coverage(lower[given], upper[given], 0.0) > 0.9


def test_too_few_patches_leave_the_bounds_open():
    rng = np.random.default_rng(6)
    places = rng.random((300, 2))
    values = fields(places, 2.0, 1, rng)[0]
    for statistic in ("mean", "median"):
        point, lower, upper, _, patches = block_interval(values, prepare(places), statistic)
        assert point == getattr(np, statistic)(values)
        assert patches < 4
        assert np.isnan([lower, upper]).all()


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_shifting_and_scaling_the_values_does_so_to_the_interval(tissue, statistic):
    _, pairs, values = tissue
    expected = block_interval(values, pairs, statistic)
    for factor, shift in ((8.0, 3.0), (1e-200, 0.0), (1e200, 0.0)):
        moved = block_interval(factor * values + shift, pairs, statistic)
        np.testing.assert_allclose(moved[:3], factor * expected[:3] + shift, rtol=1e-6)
        np.testing.assert_allclose(moved[3:], expected[3:], rtol=1e-6)
    point, lower, upper, *rest = block_interval(-values, pairs, statistic)
    np.testing.assert_allclose([-point, -upper, -lower, *rest], expected, rtol=1e-3)


def test_the_interval_of_the_median_follows_every_rising_function(tissue):
    _, pairs, values = tissue
    _, *bounds = block_interval(values, pairs, "median")
    _, *of_exp = block_interval(np.exp(values), pairs, "median")
    np.testing.assert_allclose(of_exp, [*np.exp(bounds[:2]), *bounds[2:]])


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_order_of_cells_rotation_and_unit_do_not_matter(tissue, statistic):
    places, pairs, values = tissue
    values = np.maximum(values - 5, 0)  # about half of them 0
    expected = block_interval(values, pairs, statistic)
    order = np.random.default_rng(7).permutation(300)
    x, y = places.T
    for other, at in (
        (np.stack([-y, x], axis=1), slice(None)),
        (places[order], order),
        (1e-4 * places + 7, slice(None)),
        (1e6 * places, slice(None)),
    ):
        ours = block_interval(values[at], prepare(other), statistic)
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-12)


def test_rows_are_taken_one_by_one(tissue):
    _, pairs, values = tissue
    rows = np.stack([values, values**2, -values]).reshape(3, 1, 300)
    together = block_interval(rows, pairs)
    assert together.shape == (3, 1, 5)
    for row, own in zip(rows, together, strict=True):
        np.testing.assert_array_equal(block_interval(row[0], pairs), own[0])


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_a_constant_row_has_zero_width(tissue, statistic):
    _, pairs, _ = tissue
    for constant in (0.0, 0.1, -1e300):
        interval = block_interval(np.full(300, constant), pairs, statistic)
        np.testing.assert_array_equal(interval[:3], constant)
        assert interval[4] == 300
    interval = block_interval(np.full(2, 0.1), prepare([[0, 0], [1, 1]]), statistic)
    np.testing.assert_array_equal(interval[:3], 0.1)


def test_a_median_that_most_cells_share_moves_to_neither_side(tissue):
    _, pairs, _ = tissue
    rng = np.random.default_rng(8)
    values = rng.gamma(1.0, size=300) * (rng.random(300) < 0.05)
    np.testing.assert_array_equal(block_interval(values, pairs, "median")[:3], 0.0)


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize(
    "places",
    [
        np.zeros((1, 2)),
        [[0, 0], [1, 1]],
        [[0, 0], [1, 1], [0, 1]],
        np.zeros((9, 2)),
        np.repeat([[0, 0], [1, 1]], 3, axis=0),
        np.repeat([[0, 0], [1, 1]], 800, axis=0),
        np.stack([np.arange(30), np.zeros(30)], axis=1),
    ],
    ids=["one", "two", "three", "all at one", "at two", "1,600 at two", "on a line"],
)
def test_few_or_coinciding_places_have_bounds_around_the_point_or_none(places, statistic):
    values = np.random.default_rng(9).normal(size=len(places))
    point, lower, upper, n_blocks, patches = block_interval(values, prepare(places), statistic)
    assert point == pytest.approx(getattr(np, statistic)(values))
    assert np.isnan([lower, upper]).all() or lower <= point <= upper
    assert 1 <= n_blocks <= len(places)
    assert patches <= len(places)
    if len(places) < 4:
        assert np.isnan([lower, upper]).all()


def test_no_cells_give_nan():
    assert np.isnan(block_interval(np.zeros((2, 0)), prepare(np.zeros((0, 2))))).all()


def test_values_that_are_not_finite_are_refused(tissue):
    _, pairs, values = tissue
    with pytest.raises(ValueError, match="values holds NaN or infinite values"):
        block_interval(np.where(values > 5, np.nan, values), pairs)


def test_many_cells_agree_with_all_their_pairs(tissue, monkeypatch):
    """2,000 cells, once by a sample of their pairs and once by all two million."""
    from amici_xr.kernels import variograms

    rng = np.random.default_rng(10)
    places = rng.random((2000, 2))
    values = fields(places, 0.04, 1, rng, nugget=0.2)[0]
    sampled = spatial_error(values, prepare(places))
    monkeypatch.setattr(variograms, "ALL_PAIRS", 2**21)
    every = spatial_error(values, prepare(places))
    np.testing.assert_allclose(sampled[:1], every[:1], rtol=0.05)
    np.testing.assert_allclose(sampled[3:], every[3:], rtol=0.15)
