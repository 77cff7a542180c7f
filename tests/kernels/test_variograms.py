"""Variograms: against loops over all pairs, known curves, and what noise does."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from amici_xr.kernels.variograms import (
    Variogram,
    empirical_variogram,
    fit_variogram,
    is_structured,
    prepare,
)


def fields(places, length, n, rng, nugget=0.0):
    """Gaussian fields of variance 1 with an exponential covariance, (field, place)."""
    covariance = (1 - nugget) * np.exp(-cdist(places, places) / length)
    np.fill_diagonal(covariance, 1.0)
    return rng.normal(size=(n, len(places))) @ np.linalg.cholesky(covariance).T


def binned_by_a_loop(places, values):
    """Mean lag, count and semivariance of the bins with edges (extent/2)·(j/20)²."""
    extent = max(np.ptp(places[:, 0]), np.ptp(places[:, 1]))
    edges = extent / 2 * (np.arange(21) / 20) ** 2
    sums = np.zeros((20, 3))
    for i in range(len(places)):
        for j in range(i):
            lag = np.hypot(*(places[i] - places[j]))
            at = np.searchsorted(edges[1:], lag)
            if at < 20:
                sums[at] += 1, lag, (values[i] - values[j]) ** 2 / 2
    count, lag, squares = sums[sums[:, 0] > 0].T
    return lag / count, count, squares / count


def test_the_empirical_variogram_is_that_of_a_loop_over_all_pairs():
    rng = np.random.default_rng(0)
    places, values = rng.random((60, 2)) * [30, 20], rng.normal(size=60)
    pairs = prepare(places)
    lag, count, semivariance = binned_by_a_loop(places, values)
    np.testing.assert_allclose(pairs.bin_lag, lag)
    np.testing.assert_array_equal(pairs.bin_count, count)
    ours = empirical_variogram(np.stack([values, 2 * values]), pairs)
    np.testing.assert_allclose(ours, [semivariance, 4 * semivariance])


@pytest.mark.parametrize("nugget", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("length", [0.05, 0.2])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_a_fit_to_an_exact_variogram_finds_its_parameters(nugget, length, unit):
    pairs = prepare(unit * np.random.default_rng(1).random((300, 2)))
    length *= unit
    exact = unit * (nugget + 1.5 * -np.expm1(-pairs.bin_lag / length))
    fit = fit_variogram(exact, pairs)
    np.testing.assert_allclose(
        fit, (unit * nugget, unit * 1.5, length), rtol=1e-3, atol=1e-4 * unit
    )


def test_a_fit_is_the_minimum_of_cressies_sum():
    """Against a general minimiser from several starts, over all three parameters."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(2)
    places = rng.random((200, 2))
    pairs = prepare(places)
    semivariance = empirical_variogram(fields(places, 0.1, 1, rng, nugget=0.3)[0], pairs)

    def cressie(at):
        c0, c1, length = np.exp(at)
        model = c0 - c1 * np.expm1(-pairs.bin_lag / length)
        return (pairs.bin_count * (semivariance / model - 1) ** 2).sum()

    starts = np.log([[0.3, 0.7, 0.1], [0.5, 0.5, 0.05], [0.1, 0.9, 0.3]])
    best = min(minimize(cressie, start, method="Nelder-Mead").fun for start in starts)
    assert cressie(np.log(np.maximum(fit_variogram(semivariance, pairs), 1e-300))) <= best * 1.001


def test_a_constant_variogram_is_all_nugget():
    pairs = prepare(np.random.default_rng(3).random((50, 2)))
    fit = fit_variogram(np.full(pairs.bin_lag.size, 2.5), pairs)
    assert fit.covariance(pairs.bin_lag).max() < 1e-3
    assert fit.sill == pytest.approx(2.5, rel=1e-3)


def test_covariance_is_the_sill_less_the_variogram():
    model, lag = Variogram(0.5, 2.0, 3.0), np.array([0.1, 3.0, 100.0])
    semivariance = 0.5 + 2.0 * (1 - np.exp(-lag / 3.0))
    np.testing.assert_allclose(model.covariance(lag), model.sill - semivariance, atol=1e-14)
    np.testing.assert_array_equal(Variogram(1.0, 0.0, 0.0).covariance(lag), 0.0)


@pytest.mark.parametrize(("kind", "error"), [("uniform", 0.05), ("clumped", 0.2)])
def test_a_sample_of_pairs_stands_for_all_of_them(kind, error):
    rng = np.random.default_rng(4)
    places = rng.random((3000, 2))
    if kind == "clumped":
        places = rng.random((40, 2))[rng.integers(0, 40, 3000)] + 0.02 * rng.normal(size=(3000, 2))
    pairs = prepare(places)
    lag = cdist(places, places)[np.triu_indices(3000, 1)]
    assert pairs.lag.size < 0.1 * lag.size
    for length in (0.003, 0.03, 0.3):
        ours = (pairs.weight * np.exp(-pairs.lag / length)).sum()
        assert ours == pytest.approx(np.exp(-lag / length).sum(), rel=0.04)
    value = np.sin(9 * places[:, 0]) + places[:, 1]
    difference = (value[:, np.newaxis] - value)[np.triu_indices(3000, 1)] ** 2 / 2
    bins = np.searchsorted(pairs.extent / 2 * (np.arange(1, 21) / 20) ** 2, lag)
    every = np.bincount(bins, difference)[:20] / np.bincount(bins)[:20]
    ours = empirical_variogram(value, pairs)
    assert ours.size == 20
    np.testing.assert_allclose(ours[3:], every[3:], rtol=error)


def test_the_sample_does_not_depend_on_the_order_of_places():
    rng = np.random.default_rng(5)
    places, values = rng.random((1500, 2)), rng.normal(size=1500)
    order = rng.permutation(1500)
    ours = empirical_variogram(values, prepare(places))
    shuffled = empirical_variogram(values[order], prepare(places[order]))
    np.testing.assert_allclose(ours, shuffled, rtol=1e-9)


def test_structure_is_seen_where_it_is_and_in_one_row_of_noise_in_twenty():
    rng = np.random.default_rng(6)
    places = rng.random((200, 2))
    pairs = prepare(places)

    def share_seen(rows):
        return np.mean([is_structured(row, empirical_variogram(row, pairs), pairs) for row in rows])

    assert share_seen(fields(places, 0.1, 100, rng)) > 0.95
    for noise in (rng.normal(size=(800, 200)), rng.integers(0, 2, (800, 200)).astype(float)):
        assert 0.02 < share_seen(noise) < 0.09


def test_a_constant_row_has_no_structure():
    pairs = prepare(np.random.default_rng(3).random((50, 2)))
    values = np.full(50, 2.5)
    assert is_structured(values, empirical_variogram(values, pairs), pairs) is False


def test_two_bins_of_noise_vary_as_their_covariance_says():
    """Cov(γ̂_a, γ̂_b) from the counts of pairs, beside a Monte-Carlo estimate, with κ = 6."""
    rng = np.random.default_rng(7)
    pairs = prepare(rng.random((80, 2)))
    values = rng.exponential(size=(40_000, 80))
    drawn = np.cov(empirical_variogram(values, pairs)[:, -3:].T)
    covariance = (2 + 6) * pairs.bin_degrees / 4 + np.diag(pairs.bin_squares)
    covariance /= np.outer(pairs.bin_count, pairs.bin_count)
    np.testing.assert_allclose(covariance[-3:, -3:], drawn, rtol=0.1)


@pytest.mark.parametrize(
    "places",
    [
        np.zeros((0, 2)),
        np.zeros((1, 2)),
        np.zeros((5, 2)),
        [[0, 0], [1, 1]],
        [[0, 0]] * 4 + [[1, 0]] * 4,
        [[0, 0], [1, 0], [2, 0]],
        [[1e-200, 0], [0, 2e-200], [1e-200, 1e-200]],
        [[1e150, 0], [0, 2e150], [1e150, 1e150]],
        np.repeat([[0.0, 0.0], [3.0, 4.0]], 1000, axis=0),
    ],
    ids=["none", "one", "all at one", "two", "doubled", "a line", "tiny", "huge", "2,000 at two"],
)
def test_few_or_coinciding_places_have_a_variogram_as_well(places):
    pairs = prepare(places)
    values = np.arange(len(places), dtype=float)
    semivariance = empirical_variogram(values, pairs)
    assert np.isfinite(semivariance).all()
    assert np.isfinite(fit_variogram(semivariance, pairs)).all()
    assert is_structured(values, semivariance, pairs) in (True, False)


def test_of_three_coordinates_the_first_two_are_used():
    places = np.random.default_rng(8).random((10, 3))
    np.testing.assert_array_equal(prepare(places).lag, prepare(places[:, :2]).lag)


def test_places_that_are_no_places_are_refused():
    with pytest.raises(ValueError, match=r"places has the shape \(3,\), allowed is \(place, 2\)"):
        prepare([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"places has the shape \(3, 1\)"):
        prepare([[1.0], [2.0], [3.0]])
    with pytest.raises(ValueError, match="places holds NaN or infinite coordinates; leave"):
        prepare([[0.0, np.nan]])
