"""Inference under spatial autocorrelation: against dense matrices, SciPy's t, and simulations."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.spatial.distance import cdist

from amici_xr.kernels.exact_bootstrap import interval_of_mean
from amici_xr.kernels.spatial.basis import SpatialBasis, prepare
from amici_xr.kernels.spatial.interval import _first_accepted, spatial_interval
from amici_xr.kernels.spatial.mean import infer_from_contrasts, infer_mean
from amici_xr.kernels.spatial.places import correlation_lengths, describe_leaves


def fields(places, length, n, rng):
    """Gaussian fields of variance 1 with the covariance exp(−h/ℓ), (field, place)."""
    covariance = np.exp(-cdist(places, places) / length) + 1e-9 * np.eye(len(places))
    return rng.normal(size=(n, len(places))) @ np.linalg.cholesky(covariance).T


@pytest.fixture(scope="module")
def tissue():
    """Places in a rectangle, what was prepared of them, and a field at them."""
    rng = np.random.default_rng(0)
    places = rng.random((300, 2)) * [50, 40]
    return places, prepare(places), fields(places, 3.0, 1, rng)[0] + 5


def contrasts_of_cells(basis):
    """W₁ … W_K on the cells in their given order, (cell, contrast)."""
    n = basis.order.size
    leaf = np.repeat(np.arange(basis.start.size), np.diff(np.append(basis.start, n)))
    result = np.empty((n, basis.contrasts.shape[1]))
    result[basis.order] = basis.contrasts[leaf]
    return result


def average_correlation(distance, length):
    """Average over pairs of different places of exp(−d/ℓ)."""
    n = len(distance)
    return (np.exp(-distance / length).sum() - n) / (n * (n - 1))


def dense_models(places):
    """Contrasts, Ω of mean and contrasts for the 43 models, and their correlations, cell by cell.

    Written with the full covariance of all cells, and with Brent's method for ℓ.
    """
    n = len(places)
    distance = cdist(places, places)

    def length_of(rho):
        def excess(log_length):
            return average_correlation(distance, np.exp(log_length)) - rho

        return np.exp(brentq(excess, -10, 10, xtol=1e-13))

    center = np.eye(n) - 1 / n
    _, vectors = np.linalg.eigh(center @ np.exp(-distance / length_of(0.03)) @ center)
    weights = np.column_stack([np.full(n, n**-0.5), vectors[:, -30:]])
    omegas, correlations = [], []
    for nugget in (0, 0.5, 0.8):
        for rho in np.geomspace(0.002, 0.35, 14):
            covariance = (1 - nugget) * np.exp(-distance / length_of(rho)) + nugget * np.eye(n)
            omegas.append(weights.T @ covariance @ weights)
            correlations.append((1 - nugget) * rho)
    return weights, np.array([*omegas, np.eye(31)]), np.array([*correlations, 0])


def test_contrasts_are_orthonormal_over_the_cells_and_orthogonal_to_the_mean():
    rng = np.random.default_rng(1)
    for places in (rng.random((200, 2)), rng.random((2000, 2)), rng.integers(0, 6, (150, 2))):
        w = contrasts_of_cells(prepare(places))
        with_mean = np.column_stack([np.full(len(w), len(w) ** -0.5), w])
        np.testing.assert_allclose(with_mean.T @ with_mean, np.eye(31), atol=1e-10)


def test_covariances_weights_and_scales_are_those_of_dense_matrices(tissue):
    places, basis, values = tissue
    weights, omegas, correlations = dense_models(places)
    np.testing.assert_allclose(basis.mean_variance, omegas[:, 0, 0] / 300, rtol=1e-4)
    of_contrasts = omegas[:, 1:, 1:]
    _, log_determinant = np.linalg.slogdet(of_contrasts)
    np.testing.assert_allclose(basis.log_determinant, log_determinant, atol=1e-3)
    np.testing.assert_allclose(basis.correlation, correlations, rtol=1e-6)

    x = weights[:, 1:].T @ values
    quadratic = np.array([x @ np.linalg.solve(omega, x) for omega in of_contrasts])
    posterior = np.exp(-log_determinant / 2) * (quadratic / quadratic.mean()) ** -15
    posterior /= posterior.sum()
    scale = np.sqrt(omegas[:, 0, 0] * quadratic / (30 * 300))
    inferred = infer_mean(values[np.newaxis], basis)
    np.testing.assert_allclose(inferred.weight[0], posterior, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(inferred.scale[0], scale, rtol=1e-4)
    assert inferred.effective_patches == pytest.approx(1 / (posterior @ correlations), rel=1e-3)

    excess = values.mean() - 4.5
    upper = posterior @ stats.t.sf(excess / scale, 30)
    assert inferred.p_value(4.5, "greater") == pytest.approx(upper, rel=1e-3)
    assert inferred.p_value(4.5, "less") == pytest.approx(1 - upper, rel=1e-3)
    assert inferred.p_value(4.5) == pytest.approx(2 * min(upper, 1 - upper), rel=1e-3)
    assert inferred.p_value() == inferred.p_value(0.0) != inferred.p_value(1.0)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999_999])
def test_the_p_value_at_both_bounds_is_alpha(tissue, level):
    _, basis, values = tissue
    rows = np.stack([values, np.exp(values), np.random.default_rng(2).normal(size=300)])
    inferred = infer_mean(rows, basis)
    half = inferred.half_width(level)
    for bound in (inferred.mean - half, inferred.mean + half):
        np.testing.assert_allclose(inferred.p_value(bound), 1 - level, rtol=1e-8)
    np.testing.assert_allclose(inferred.p_value(inferred.mean + half, "less"), (1 - level) / 2)
    np.testing.assert_allclose(inferred.p_value(inferred.mean - half, "greater"), (1 - level) / 2)
    point, lower, upper, patches = spatial_interval(rows, basis, confidence_level=level).T
    np.testing.assert_array_equal([lower, upper], [point - half, point + half])
    np.testing.assert_array_equal(patches, inferred.effective_patches)


def test_with_one_model_the_interval_is_that_of_students_t(tissue):
    """Under pure noise alone, of the 30 contrasts: SciPy's interval with 30 degrees of freedom."""
    _, basis, values = tissue
    last = {name: getattr(basis, name)[-1:] for name in
            ("whitening", "log_determinant", "mean_variance", "correlation")}  # fmt: skip
    noise = SpatialBasis(basis.order, basis.start, basis.contrasts, n_places=basis.n_places, **last)
    x = contrasts_of_cells(basis).T @ values
    error = np.sqrt((x @ x) / 30 / 300)
    inferred = infer_mean(values[np.newaxis], noise)
    low, high = stats.t.interval(0.9, 30, values.mean(), error)
    assert inferred.half_width(0.9)[0] == pytest.approx((high - low) / 2)
    assert inferred.p_value(4.8)[0] == pytest.approx(
        2 * stats.t.sf(abs(values.mean() - 4.8) / error, 30)
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_bounds_of_the_median_are_found_by_trying_every_value(tissue, seed):
    """Each distinct value's share, tested as a row of its own; ties, and values floored at 0."""
    places, basis, _ = tissue
    values = fields(places, 4.0, 1, np.random.default_rng(seed))[0].round(2)
    values = np.maximum(values, 0) if seed > 1 else values + 3  # whose signs are all the same
    distinct = np.unique(values)
    up_to = infer_mean(values <= distinct[:, np.newaxis], basis).p_value(0.5, "less")
    below = infer_mean(values < distinct[:, np.newaxis], basis).p_value(0.5, "greater")
    point, lower, upper, patches = spatial_interval(values, basis, "median", 0.9)
    assert point == np.median(values)
    assert lower == distinct[up_to > 0.05].min()
    assert upper == distinct[below > 0.05].max()
    signs = infer_mean(np.sign(values - point)[np.newaxis], basis)
    assert patches == signs.effective_patches[0]


@pytest.mark.parametrize("last", [0, 1, 2, 62, 63, 64, 65, 200, 5000])
def test_the_search_finds_the_least_accepted_position(last):
    """Every one in a list that the search takes in at one look or a few."""
    for least in range(0, last + 1, 1 + last // 500):
        found = _first_accepted(lambda tried, least=least: tried >= least, last)
        assert found == least


def coverage(lower, upper, true):
    return np.mean((lower <= true) & (true <= upper))


def test_intervals_hold_the_truth_where_those_of_independent_cells_do_not():
    """Range a tenth of the side; 200 fields leave a standard error of 1.5 percent."""
    rng = np.random.default_rng(3)
    places = rng.random((400, 2))
    values = fields(places, 0.1, 200, rng)
    cells = np.array([interval_of_mean(row, np.array([0.025, 0.975])) for row in values])
    assert coverage(*cells.T, 0.0) < 0.5
    for statistic in ("mean", "median"):
        _, lower, upper, patches = spatial_interval(values, prepare(places), statistic).T
        assert coverage(lower, upper, 0.0) > 0.92
        assert 10 < np.median(patches) < 60  # the average correlation is about 1/25


def test_noise_is_worth_about_as_many_patches_as_the_models_can_tell():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(200, 900))
    point, lower, upper, patches = spatial_interval(values, prepare(rng.random((900, 2)))).T
    np.testing.assert_allclose(point, values.mean(axis=1))
    ordinary = 2 * stats.t.ppf(0.975, 899) * values.std(axis=1, ddof=1) / 30
    assert 1.2 < np.median((upper - lower) / ordinary) < 1.6
    assert np.median(patches) > 100
    assert coverage(lower, upper, 0.0) > 0.95


def test_samples_are_independent_whatever_their_coordinates():
    """Two copies of a tissue are prepared alike, laid over each other or far apart."""
    rng = np.random.default_rng(5)
    places, sample = rng.random((200, 2)), np.repeat(["left", "right"], 200)
    both = np.concatenate([places, places])
    values = np.concatenate([fields(places, 0.1, 60, rng), fields(places, 0.1, 60, rng)], axis=1)
    together = spatial_interval(values, prepare(both, sample))
    moved = both + 5.0 * (sample == "right")[:, np.newaxis]
    np.testing.assert_allclose(
        spatial_interval(values, prepare(moved, sample)), together, rtol=1e-6
    )
    alone = spatial_interval(values[:, :200], prepare(places))
    assert 1.4 < np.median(together[:, 3]) / np.median(alone[:, 3]) < 2.8
    w = prepare(both, sample)
    assert len({*sample[w.order[: w.start[200]]]}) == 1  # the leaves of the first sample


def test_leaves_of_many_cells_hold_cells_of_one_sample():
    rng = np.random.default_rng(6)
    places, sample = rng.random((3000, 2)), rng.integers(0, 3, 3000)
    basis = prepare(places, sample)
    assert 500 <= basis.start.size <= 515
    leaves = np.split(sample[basis.order], basis.start[1:])
    assert all(len(set(leaf)) == 1 for leaf in leaves)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_shifting_and_scaling_the_values_does_so_to_the_interval(tissue, statistic):
    _, basis, values = tissue
    expected = spatial_interval(values, basis, statistic)
    for factor, shift in ((8.0, 3.0), (1e-200, 0.0), (1e200, 0.0), (1.0, 1e6)):
        moved = spatial_interval(factor * values + shift, basis, statistic)
        np.testing.assert_allclose(moved[:3], factor * expected[:3] + shift, rtol=1e-9)
        np.testing.assert_allclose(moved[3], expected[3], rtol=1e-6)
    point, lower, upper, patches = spatial_interval(-values, basis, statistic)
    np.testing.assert_allclose([-point, -upper, -lower, patches], expected, rtol=1e-9)


def test_the_interval_of_the_median_follows_every_rising_function(tissue):
    _, basis, values = tissue
    _, lower, upper, patches = spatial_interval(values, basis, "median")
    _, *of_exp = spatial_interval(np.exp(values), basis, "median")
    np.testing.assert_allclose(of_exp, [np.exp(lower), np.exp(upper), patches])


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_order_of_cells_rotation_and_unit_do_not_matter(tissue, statistic):
    places, basis, values = tissue
    values = np.maximum(values - 5, 0)  # about half of them 0
    expected = spatial_interval(values, basis, statistic)
    order = np.random.default_rng(7).permutation(300)
    turned = places @ np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    for other, at in (
        (turned, slice(None)),
        (places[order], order),
        (1e-4 * places + 7, slice(None)),
        (1e200 * places, slice(None)),
        (np.column_stack([places, places[:, :1]]), slice(None)),
    ):
        ours = spatial_interval(values[at], prepare(other), statistic)
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-12)


def test_of_many_places_rotation_changes_the_width_by_less_than_two_percent_and_order_nothing():
    rng = np.random.default_rng(8)
    places = rng.random((3000, 2))
    values = 3 + fields(places, 0.05, 5, rng)
    _, lower, upper, _ = expected = spatial_interval(values, prepare(places)).T
    turned = places @ np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    _, turned_lower, turned_upper, _ = spatial_interval(values, prepare(turned)).T
    np.testing.assert_allclose((turned_upper - turned_lower) / (upper - lower), 1, atol=0.02)
    order = rng.permutation(3000)
    np.testing.assert_allclose(
        spatial_interval(values[:, order], prepare(places[order])).T, expected, rtol=1e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize(("n_leaves", "error"), [(128, 0.08), (256, 0.05), (512, 0.03)])
def test_leaves_of_several_cells_agree_with_leaves_of_one(monkeypatch, n_leaves, error):
    """Widths of 80 fields: the same on average, and each within its root mean square error."""
    ratios = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        places = rng.random((1000, 2))
        values = fields(places, 0.1, 40, rng)
        monkeypatch.setattr("amici_xr.kernels.spatial.places.MOST_LEAVES", 1000)
        exact = infer_mean(values, prepare(places)).half_width()
        monkeypatch.setattr("amici_xr.kernels.spatial.places.MOST_LEAVES", n_leaves)
        basis = prepare(places)
        assert basis.start.size == n_leaves
        ratios.append(infer_mean(values, basis).half_width() / exact)
    assert np.mean(ratios) == pytest.approx(1, abs=0.01)
    assert np.std(ratios) < error


def test_the_search_for_lengths_finds_those_of_known_averages(tissue):
    places, *_ = tissue
    distance = cdist(places, places)
    leaves = describe_leaves(places, np.zeros(300, int), np.arange(300))
    lengths, correlations, of_basis = correlation_lengths(leaves)
    extent = np.ptp(places, axis=0).max()
    found = [average_correlation(distance, extent * length) for length in [*lengths, of_basis]]
    np.testing.assert_allclose(found, [*np.geomspace(0.002, 0.35, 14), 0.03], rtol=1e-4)
    np.testing.assert_allclose(correlations, np.geomspace(0.002, 0.35, 14), rtol=1e-9)


def test_coinciding_cells_share_a_leaf_and_their_mean_is_what_counts():
    """A field measured five times at each place, without noise, is worth what one measure is."""
    rng = np.random.default_rng(10)
    places = rng.random((60, 2))
    values = np.repeat(fields(places, 0.15, 10, rng), 5, axis=1)
    basis = prepare(np.repeat(places, 5, axis=0))
    assert basis.start.size == 60
    once = infer_mean(values[:, ::5], prepare(places)).half_width()
    ratio = infer_mean(values, basis).half_width() / once
    assert 0.8 < np.median(ratio) < 1.25  # as independent cells: 1/√5 = 0.45


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize(
    ("places", "sample"),
    [
        (np.stack([np.arange(30), np.zeros(30)], axis=1), None),
        (np.stack([np.arange(30), np.arange(30)], axis=1), None),
        (np.repeat(np.random.default_rng(0).random((8, 2)), 4, axis=0), None),
        (np.random.default_rng(0).random((8, 2)), None),
        (np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), axis=-1).reshape(-1, 2), None),
        (np.random.default_rng(0).random((30, 2)) ** 40, None),
        (1 + 1e-15 * np.random.default_rng(0).random((30, 2)), None),
        (np.zeros((40, 2)), np.repeat(np.arange(8), 5)),
        (np.zeros((9, 2)), np.arange(9)),
    ],
    ids=["a line", "a diagonal", "eight doubled", "eight", "a lattice", "nearly one place",
         "rounded", "samples at one place", "samples of one cell"],
)  # fmt: skip
def test_unusual_places_have_bounds_around_the_point(places, sample, statistic):
    values = np.random.default_rng(11).normal(size=len(places))
    point, lower, upper, patches = spatial_interval(values, prepare(places, sample), statistic)
    assert point == pytest.approx(getattr(np, statistic)(values))
    assert lower < point < upper
    assert upper - lower < 20
    assert patches > 0


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("n_places", [1, 2, 7])
def test_below_eight_distinct_places_there_is_no_interval(statistic, n_places):
    places = np.repeat(np.random.default_rng(12).random((n_places, 2)), 5, axis=0)
    values = np.random.default_rng(13).normal(size=(3, 5 * n_places))
    basis = prepare(places)
    assert basis.n_places == n_places
    interval = spatial_interval(values, basis, statistic)
    np.testing.assert_allclose(interval[:, 0], getattr(np, statistic)(values, axis=1))
    assert np.isnan(interval[:, 1:]).all()
    assert np.isnan(infer_mean(values, basis).p_value()).all()


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_a_constant_row_has_zero_width(tissue, statistic):
    _, basis, _ = tissue
    for constant in (0.0, 0.1, -1e300):
        *estimates, patches = spatial_interval(np.full(300, constant), basis, statistic)
        np.testing.assert_array_equal(estimates, constant)
        assert np.isnan(patches)
    inferred = infer_mean(np.full((1, 300), 0.1), basis)
    p = [inferred.p_value(null, side)[0] for null in (0.0, 0.1, 0.2)
         for side in ("two-sided", "greater", "less")]  # fmt: skip
    assert p == [0, 0, 1, 1, 0.5, 0.5, 0, 1, 0]


def test_a_median_that_most_cells_share_moves_to_neither_side(tissue):
    _, basis, _ = tissue
    rng = np.random.default_rng(14)
    values = rng.gamma(1.0, size=300) * (rng.random(300) < 0.05)
    np.testing.assert_array_equal(spatial_interval(values, basis, "median")[:3], 0.0)


def test_rows_of_any_shape_are_taken_one_by_one(tissue):
    _, basis, values = tissue
    constant = np.full(300, 0.1)
    rows = np.stack([values, values**2, 1e-200 * values, 1e200 * values, constant])[:, np.newaxis]
    for statistic in ("mean", "median"):
        together = spatial_interval(rows, basis, statistic)
        assert together.shape == (5, 1, 4)
        for row, own in zip(rows, together, strict=True):
            np.testing.assert_allclose(spatial_interval(row[0], basis, statistic), own[0], 1e-7)


def test_places_are_x_and_y_whatever_kind_of_numbers_and_columns_they_come_in():
    rng = np.random.default_rng(15)
    x_and_y = 6 * rng.integers(0, 42, (2000, 2))  # some places hold several cells, leaves many
    values = rng.normal(size=2000)
    expected = spatial_interval(values, prepare(x_and_y.astype(np.float64)))
    with_z = np.column_stack([x_and_y, rng.integers(0, 1000, 2000)])
    wide = (250 * x_and_y - 30_000).astype(np.int16)  # whose differences are no int16
    for places in (x_and_y, x_and_y.astype(np.uint8), wide, with_z):
        np.testing.assert_allclose(spatial_interval(values, prepare(places)), expected, 1e-9)


@pytest.mark.parametrize(("n_places", "n_contrasts"), [(8, 7), (30, 29), (31, 30), (60, 30)])
def test_there_are_as_many_contrasts_as_the_places_allow(n_places, n_contrasts):
    basis = prepare(np.random.default_rng(16).random((n_places, 2)))
    assert basis.contrasts.shape == (n_places, n_contrasts)


def test_values_and_places_that_are_not_numbers_are_refused(tissue):
    _, basis, values = tissue
    for statistic in ("mean", "median"):
        with pytest.raises(ValueError, match=r"^values holds NaN or infinite values; leave those"):
            spatial_interval(np.where(values > 5, np.inf, values), basis, statistic)
    with pytest.raises(ValueError, match="values holds NaN"):
        infer_mean(np.full((1, 300), np.nan), basis)
    with pytest.raises(ValueError, match=r"places has the shape \(3,\), allowed is \(cell, 2\)"):
        prepare([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"places has the shape \(3, 1\)"):
        prepare([[1.0], [2.0], [3.0]])
    with pytest.raises(ValueError, match=r"^places holds NaN or infinite coordinates; leave those"):
        prepare([[0.0, np.nan]])


def test_contrasts_add_up_over_parts_of_the_cells():
    rng = np.random.default_rng(8)
    places, values = rng.random((900, 2)), rng.normal(size=(3, 900))
    basis = prepare(places)
    parts = [rng.permutation(900)[:400]]
    parts.append(np.setdiff1d(np.arange(900), parts[0]))
    contrasts = sum(values[:, part] @ basis.cell_contrasts()[part] for part in parts)
    added = infer_from_contrasts(contrasts, values.mean(axis=1), basis)
    whole = infer_mean(values, basis)
    np.testing.assert_allclose(added.half_width(), whole.half_width(), rtol=1e-8)
    np.testing.assert_allclose(added.p_value(0.01), whole.p_value(0.01), rtol=1e-8)


def test_a_further_variance_widens_the_mean_with_degrees_of_freedom_of_its_own():
    rng = np.random.default_rng(9)
    inferred = infer_mean(rng.normal(size=(2, 300)), prepare(rng.random((300, 2))))
    unchanged = inferred.widen(0.0, freedom=4)
    np.testing.assert_allclose(unchanged.half_width(), inferred.half_width(), rtol=1e-10)
    dominated = inferred.widen([1e6, 1e6], freedom=4)  # the other variance alone is left
    np.testing.assert_allclose(dominated.half_width(0.9), 1e3 * stats.t.ppf(0.95, 4), rtol=1e-3)
    tails = stats.t.sf((inferred.mean + 1e3) / 1e3, 4)
    np.testing.assert_allclose(dominated.p_value(-1e3, "greater"), tails, rtol=1e-3)
