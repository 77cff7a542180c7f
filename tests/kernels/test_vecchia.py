"""Vecchia's approximation against a dense Gaussian."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import gamma, kv

from amici_xr.kernels.vecchia import (
    covariance_grid,
    find_earlier_neighbors,
    matern_correlation,
    nearest_earlier,
    random_order,
    whiteners,
)


def dense_covariance(positions, scale, share):
    """As the docstring of the module has it, with Matérn's Bessel form."""
    scaled = np.sqrt(3) * cdist(positions, positions) / scale
    np.fill_diagonal(scaled, 1.0)
    matern = 2 ** (1 - 1.5) / gamma(1.5) * scaled**1.5 * kv(1.5, scaled)
    np.fill_diagonal(matern, 1.0)
    return (1 - share) * np.eye(len(positions)) + share * matern


def points(n, seed=0, side=300.0):
    return np.random.default_rng(seed).uniform(0, side, (n, 2))


def one_group(positions, n_neighbors=25):
    return find_earlier_neighbors(positions, np.zeros(len(positions), int), n_neighbors)


def test_the_matern_correlation_is_the_bessel_form():
    distance = np.array([0.5, 3.0, 20.0, 90.0])
    scaled = np.sqrt(3) * distance / 25.0
    bessel = 2 ** (1 - 1.5) / gamma(1.5) * scaled**1.5 * kv(1.5, scaled)
    np.testing.assert_allclose(matern_correlation(distance, 25.0), bessel, rtol=1e-12)


@pytest.mark.parametrize(("scale", "share"), [(12.0, 0.85), (50.0, 0.35), (200.0, 0.6)])
def test_with_all_earlier_cells_it_is_the_dense_gaussian(scale, share):
    positions = points(80)
    (whitener,) = whiteners(one_group(positions, 79), [(scale, share)])
    dense = dense_covariance(positions, scale, share)
    matrix = whitener.matrix.toarray()
    np.testing.assert_allclose(matrix.T @ matrix, np.linalg.inv(dense), atol=1e-9)
    assert whitener.log_determinant == pytest.approx(np.linalg.slogdet(dense)[1], abs=1e-9)


@pytest.mark.parametrize(("scale", "share"), covariance_grid()[1::3])
def test_with_25_neighbors_it_is_close_to_the_dense_gaussian(scale, share):
    positions = points(300)[random_order(points(300), np.zeros(300, int))]
    (whitener,) = whiteners(one_group(positions), [(scale, share)])
    dense = dense_covariance(positions, scale, share)
    values = np.linalg.cholesky(dense) @ np.random.default_rng(1).normal(size=300)
    approximate = whitener.log_determinant + ((whitener.matrix @ values) ** 2).sum()
    exact = np.linalg.slogdet(dense)[1] + values @ np.linalg.solve(dense, values)
    assert approximate == pytest.approx(exact, abs=3.0)  # 1% of 300 cells


def test_without_a_field_nothing_is_whitened():
    (whitener,) = whiteners(one_group(points(50)), [(12.0, 0.0)])
    np.testing.assert_array_equal(whitener.matrix.toarray(), np.eye(50))
    assert whitener.log_determinant == 0


@pytest.mark.parametrize("n", [3, 60, 700])
def test_nearest_earlier_cells_are_those_of_brute_force(n):
    positions = points(n, seed=n)
    nearest = nearest_earlier(positions, 25)
    for cell in range(n):
        by_distance = np.argsort(np.linalg.norm(positions[:cell] - positions[cell], axis=1))[:25]
        np.testing.assert_array_equal(nearest[cell, : by_distance.size], by_distance)
        assert (nearest[cell, by_distance.size :] == -1).all()


def test_cells_of_which_the_nearest_come_later_still_have_25_earlier_ones():
    """A dense cluster at the end of the order, far from all else."""
    late = points(900, side=1.0) + 10_000
    positions = np.concatenate([points(120), late])
    nearest = nearest_earlier(positions, 25)
    cell = 150
    by_distance = np.argsort(np.linalg.norm(positions[:cell] - positions[cell], axis=1))[:25]
    np.testing.assert_array_equal(nearest[cell], by_distance)
    assert (nearest[30:] >= 0).all()


def test_no_neighbor_stands_in_another_group():
    groups = np.repeat([0, 1, 2], [40, 1, 30])
    neighbors = find_earlier_neighbors(points(71), groups, 5)
    row, rank = np.nonzero(neighbors.cell >= 0)
    np.testing.assert_array_equal(groups[row], groups[neighbors.cell[row, rank]])
    without_earlier = groups[(neighbors.cell < 0).all(axis=1)]
    np.testing.assert_array_equal(without_earlier, [0, 1, 2])  # the first of each group


def test_cells_in_one_place_are_no_trouble():
    positions = np.repeat(points(20), 3, axis=0)
    (whitener,) = whiteners(one_group(positions, 59), [(25.0, 0.85)])
    dense = 0.15 * np.eye(60) + 0.85 * matern_correlation(cdist(positions, positions), 25.0)
    assert whitener.log_determinant == pytest.approx(np.linalg.slogdet(dense)[1], abs=1e-8)


def test_the_random_order_follows_the_cells_and_not_their_numbering():
    positions, groups = points(200), np.repeat([1, 0], 100)
    order = random_order(positions, groups)
    shuffle = np.random.default_rng(3).permutation(200)
    np.testing.assert_array_equal(shuffle[random_order(positions[shuffle], groups[shuffle])], order)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    np.testing.assert_array_equal(random_order(positions @ turn + 1e5, groups), order)
    assert sorted(order) == list(range(200))
    assert (np.diff(groups[order]) >= 0).all()
