"""Rarefaction, beside all subsets of a few cells."""

import itertools

import numpy as np
import pytest

from amici_xr.kernels.rarefaction import random_subsets, rarefied_groups, rarefied_summary

HEADS = np.random.default_rng(0).exponential(10, (3, 9))


def over_all_subsets(size, reduce):
    subsets = itertools.combinations(range(HEADS.shape[1]), size)
    return np.mean([reduce(HEADS[:, list(subset)]) for subset in subsets], axis=0)


def average_over_seeds(**options):
    return np.mean([rarefied_summary(HEADS, random_state=s, **options) for s in range(200)], axis=0)


@pytest.mark.parametrize("size", [2, 3, 5, 8])
@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_it_estimates_the_average_over_all_subsets(size, statistic):
    expected = over_all_subsets(size, lambda cells: statistic(cells, axis=-1))
    estimate = average_over_seeds(size=size, statistic=statistic)
    np.testing.assert_allclose(estimate, expected, rtol=0.02)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_largest_head_is_that_of_each_subset(size):
    expected = over_all_subsets(size, lambda cells: cells.mean(axis=-1).max())
    estimate = average_over_seeds(size=size, statistic=np.mean, largest_head=True)
    assert estimate == pytest.approx(expected, rel=0.01)
    assert estimate > HEADS.mean(axis=-1).max()


def test_no_more_cells_than_asked_for_are_taken_as_they_are():
    for size in (9, 100):
        summary = rarefied_summary(HEADS, size, statistic=np.median)
        np.testing.assert_array_equal(summary, np.median(HEADS, axis=-1))
        largest = rarefied_summary(HEADS, size, statistic=np.median, largest_head=True)
        assert largest == np.median(HEADS, axis=-1).max()


def test_single_cells_need_no_chance():
    summary = rarefied_summary(HEADS, 1, statistic=np.median, largest_head=True)
    assert summary == pytest.approx(HEADS.max(axis=0).mean(), rel=1e-12)


@pytest.mark.parametrize(("n_cells", "size"), [(10, 3), (300, 10), (7, 6)])
def test_the_subsets_of_a_deal_are_disjoint_and_there_are_at_least_32(n_cells, size):
    deals = list(random_subsets(n_cells, size, 0))
    for subsets in deals:
        assert subsets.shape == (n_cells // size, size)
        assert np.unique(subsets).size == subsets.size
        assert subsets.max() < n_cells
    n_subsets = len(deals) * (n_cells // size)
    assert 32 <= n_subsets < 32 + n_cells // size


def test_each_group_has_its_own_size_and_an_empty_one_is_nan():
    values = np.arange(14.0).reshape(2, 7)
    codes = np.array([0, 2, 0, 2, 0, 2, 2])
    result = rarefied_groups(values, codes, np.array([3, 1, 1]), statistic=np.median)
    np.testing.assert_array_equal(result[:, 0], [2, 9])
    assert np.isnan(result[:, 1]).all()
    np.testing.assert_allclose(result[:, 2], [15 / 4, 15 / 4 + 7])
    heads = rarefied_groups(
        values, codes, np.array([3, 1, 1]), statistic=np.median, largest_head=True
    )
    np.testing.assert_allclose(heads[[0, 2]], [9, 15 / 4 + 7])
