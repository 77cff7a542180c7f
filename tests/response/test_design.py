"""Trend, niche and distances against brute force."""

import numpy as np
import pytest

from amici_xr.response.companions import p_over_samples, standing_together
from amici_xr.response.design import build_design, niche_columns, trend_columns
from amici_xr.response.surroundings import Surroundings, median_nearest_distance
from amici_xr.response.tests_of_pairs import useful_radii


def points(n, seed=0, sides=(890.0, 500.0)):
    return np.random.default_rng(seed).uniform(0, 1, (n, 2)) * sides


def test_the_trend_is_made_of_cosines_along_the_sides_of_the_box():
    positions = np.concatenate([points(2_000), [[0, 0], [890, 0], [0, 500], [890, 500]]])
    columns = trend_columns(positions, 150.0)
    u, v = positions[:, 0] / 890, positions[:, 1] / 500
    waves = [
        (a, b)
        for a in range(7)
        for b in range(4)
        if 0 < (a / 890) ** 2 + (b / 500) ** 2 <= 1 / 150**2
    ]
    assert columns.shape[1] == len(waves)
    for a, b in waves:
        wave = np.cos(np.pi * a * u) * np.cos(np.pi * b * v)
        assert np.abs(np.corrcoef(columns.T, wave)[-1, :-1]).max() == pytest.approx(1, abs=1e-9)
    first = np.abs(np.corrcoef(columns[:, 0], np.cos(np.pi * u))[0, 1])
    assert first == pytest.approx(1)  # the longest wave comes first


def test_few_cells_have_few_trend_columns():
    assert trend_columns(points(100), 150.0).shape[1] == 5
    assert trend_columns(points(30), 150.0).shape[1] == 2
    assert trend_columns(points(500), 5_000.0).shape[1] == 0


def test_a_line_has_waves_along_it_alone():
    line = np.column_stack([np.linspace(0, 900, 400), np.full(400, 7.0)])
    assert trend_columns(line, 150.0).shape[1] == 6
    assert trend_columns(np.zeros((400, 2)), 150.0).shape[1] == 0


def test_the_box_turns_with_the_tissue():
    positions = points(800)
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    columns, turned = trend_columns(positions, 200.0), trend_columns(positions @ turn, 200.0)
    np.testing.assert_allclose(np.abs(turned), np.abs(columns), atol=1e-9)


@pytest.fixture
def tissue():
    rng = np.random.default_rng(1)
    positions = points(300, sides=(200.0, 200.0))
    return positions, rng.integers(0, 3, 300), rng.integers(0, 2, 300)


def test_nearest_distances_are_those_of_brute_force(tissue):
    positions, codes, samples = tissue
    receivers = np.flatnonzero(codes == 1)
    distance = Surroundings(positions, codes, samples, np.array([0, 1]), 3).nearest_distance(
        receivers, 1
    )
    for row, cell in enumerate(receivers):
        apart = np.linalg.norm(positions - positions[cell], axis=1)
        for kind in (0, 1):
            others = (codes == kind) & (samples == samples[cell]) & (np.arange(300) != cell)
            assert distance[row, kind] == pytest.approx(apart[others].min())
    assert np.isinf(distance[:, 2]).all()  # not a type that was asked for


def test_niche_weights_are_those_of_brute_force(tissue, monkeypatch):
    positions, codes, samples = tissue
    receivers = np.flatnonzero(codes == 1)
    surroundings = Surroundings(positions, codes, samples, np.array([0]), 3)
    weight = surroundings.niche_weight(receivers, 20.0)
    for row, cell in enumerate(receivers):
        apart = np.linalg.norm(positions - positions[cell], axis=1)
        is_near = (apart <= 50.0) & (samples == samples[cell]) & (np.arange(300) != cell)
        value = np.exp(-0.5 * (apart / 20.0) ** 2) * is_near
        np.testing.assert_allclose(weight[row], np.bincount(codes, value, 3))
    monkeypatch.setattr("amici_xr.response.surroundings._MOST_PAIRS", 100)
    np.testing.assert_allclose(surroundings.niche_weight(receivers, 20.0), weight)


def test_niche_columns_are_shares_and_a_total():
    columns = niche_columns(np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([0.4, 0.6]))
    np.testing.assert_allclose(columns, [[0.25, np.log(4.1)], [0.4, np.log(0.1)]])


def test_the_design_knows_the_columns_of_each_sender():
    rng = np.random.default_rng(0)
    distance = rng.uniform(1, 80, (400, 4))
    distance[:, 2] = np.inf
    design = build_design(points(400), np.zeros(400, int), distance, rng.normal(size=(400, 2)), 300)
    for basis, n_niche in ((design.without_niche, 0), (design.with_niche, 2)):
        of_senders = [design.columns_of(sender, basis).size for sender in range(4)]
        assert of_senders == [1, 1, 0, 1]
        assert (design.sender[basis.kept] == -1).sum() == basis.kept.size - 3
        assert basis.kept.size == design.without_niche.kept.size + n_niche
    column = design.columns_of(3, design.with_niche)[0]
    rebuilt = design.with_niche.columns @ design.with_niche.triangle[:, column]
    assert np.corrcoef(rebuilt, np.exp(-distance[:, 3] / 20))[0, 1] == pytest.approx(1)


def test_each_sample_has_its_own_intercept_and_trend():
    samples = np.repeat([0, 1], 200)
    none = np.empty((400, 0))
    two = build_design(points(400), samples, none, none, 300.0).with_niche
    waves = sum(trend_columns(points(400)[samples == s], 300.0).shape[1] for s in (0, 1))
    assert two.kept.size == 2 + waves
    indicator = 1.0 * (samples == 1)
    left = indicator - two.columns @ (two.columns.T @ indicator)
    np.testing.assert_allclose(left, 0, atol=1e-9)


def test_radii_need_cells_on_both_sides_and_growth():
    distance = np.concatenate([np.linspace(5, 50, 300), np.full(700, 100.0)])
    radii = np.array([6.0, 8.0, 8.1, 10.0, 200.0])
    np.testing.assert_array_equal(useful_radii(distance, radii), [False, True, False, True, False])


def test_the_median_distance_of_nearest_cells_stays_within_samples():
    positions = np.array([[0.0, 0], [10, 0], [1, 0], [21, 0]])
    assert median_nearest_distance(positions, np.array([0, 0, 1, 1])) == 15
    assert np.isnan(median_nearest_distance(positions[:1], np.array([0])))


def test_senders_whose_neighbors_are_the_same_stand_together():
    rng = np.random.default_rng(0)
    near = rng.uniform(0, 60, 500)
    distance = np.column_stack([near, near + rng.normal(0, 1, 500), rng.uniform(0, 60, 500), near])
    assert standing_together(distance, 0, 3, 20.0) == [1]
    assert standing_together(distance, 2, 3, 20.0) == []


def test_the_p_over_samples_is_that_of_a_t_test():
    from scipy import stats

    effect = np.random.default_rng(0).normal(1, 1, (1, 5, 4))
    effect[0, 2, 1] = np.nan
    expected = [stats.ttest_1samp(gene[np.isfinite(gene)], 0).pvalue for gene in effect[0].T]
    np.testing.assert_allclose(p_over_samples(effect), expected)
    assert np.isnan(p_over_samples(effect[:, :2])).all()
