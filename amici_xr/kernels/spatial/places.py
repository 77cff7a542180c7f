"""Places grouped into leaves, and the exponential covariance between leaves, on plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from amici_xr.kernels.groups import Floats, Integers

MOST_LEAVES = 512
BASIS_CORRELATION = 0.03
CORRELATIONS = np.geomspace(0.002, 0.35, 14)
N_DISTANCE_BINS = 4096
WITHIN_LEAF = 0.9  # mean distance of two cells of a leaf, in root mean squares of that distance
N_HALVINGS = 50


def distinct_places(places: Floats, samples: Integers) -> tuple[Integers, Integers]:
    """Sort cells by place, and find where each distinct place begins."""
    order = np.lexsort((places[:, 1], places[:, 0], samples))
    keys = np.column_stack([samples, places])[order]
    is_first = np.append(True, (keys[1:] != keys[:-1]).any(axis=1))[: len(order)]
    return order, np.flatnonzero(is_first)


def group_places(
    places: Floats, samples: Integers, order: Integers, place_start: Integers
) -> tuple[Integers, Integers]:
    """Group distinct places into leaves: cells in the order of their leaves, and each start.

    A leaf never holds cells of two samples: samples, in their order, share the leaves by their
    number of places.
    """
    if place_start.size <= MOST_LEAVES:
        return order, place_start
    distinct = places[order[place_start]]
    first_of_sample = np.flatnonzero(np.diff(samples[order[place_start]])) + 1
    groups: list[Integers] = []
    for members in np.split(np.arange(place_start.size), first_of_sample):
        n_leaves = max(1, round(MOST_LEAVES * members.size / place_start.size))
        groups += split_places(distinct, members, n_leaves)
    leaf_of_place = np.empty(place_start.size, np.intp)
    for leaf, group in enumerate(groups):
        leaf_of_place[group] = leaf
    leaf_of_cell = np.repeat(leaf_of_place, np.diff(np.append(place_start, order.size)))
    by_leaf = np.argsort(leaf_of_cell, kind="stable")
    return order[by_leaf], np.searchsorted(leaf_of_cell[by_leaf], np.arange(len(groups)))


def split_places(places: Floats, members: Integers, n_leaves: int) -> list[Integers]:
    """Split places at the median of the longer side of their box until there are n leaves."""
    if n_leaves == 1:
        return [members]
    longer = int(np.argmax(np.ptp(places[members], axis=0)))
    ascending = members[np.argsort(places[members, longer], kind="stable")]
    n_first = n_leaves // 2
    middle = members.size * n_first // n_leaves
    return [
        *split_places(places, ascending[:middle], n_first),
        *split_places(places, ascending[middle:], n_leaves - n_first),
    ]


class Leaves(NamedTuple):
    """Number of cells of each leaf, distances between leaves, and typical ones within them."""

    n_cells: Floats
    between: Floats
    within: Floats

    def covariance(self, length: float) -> Floats:
        """Covariance of the means of two leaves, of cells with variance 1: (leaf, leaf)."""
        result: Floats = np.exp(-self.between / length)
        within = np.exp(-self.within / length)
        np.fill_diagonal(result, (1 + (self.n_cells - 1) * within) / self.n_cells)
        return result


def describe_leaves(places: Floats, samples: Integers, start: Integers) -> Leaves:
    """Measure leaves of places in the order of their leaves, of which each begins at `start`."""
    size = np.diff(np.append(start, len(places)))
    relative = (places - places.min(axis=0)) / (np.ptp(places, axis=0).max() or 1.0)
    centroid = np.add.reduceat(relative, start) / size[:, np.newaxis]
    deviation = relative - np.repeat(centroid, size, axis=0)
    squares = np.add.reduceat((deviation**2).sum(axis=1), start)
    between = np.hypot(*(centroid[:, np.newaxis] - centroid).transpose(2, 0, 1))
    between[samples[start][:, np.newaxis] != samples[start]] = np.inf
    within = WITHIN_LEAF * np.sqrt(2 * squares / np.maximum(size - 1, 1))
    return Leaves(size.astype(np.float64), between, within)


def correlation_lengths(leaves: Leaves) -> tuple[Floats, Floats, float]:
    """Find ℓ of the models and of the basis from the average correlation of two cells.

    Also returns the average correlations of the models. Those are reached within samples, and cells
    of two samples are uncorrelated; where many cells share a place, small ones can't be reached.
    """
    first, second = np.triu_indices(leaves.n_cells.size, 1)
    n_first, n_second = leaves.n_cells[first], leaves.n_cells[second]
    lag = np.append(leaves.between[first, second], leaves.within)
    weight = np.append(2 * n_first * n_second, leaves.n_cells * (leaves.n_cells - 1))
    is_near = np.isfinite(lag)
    share = weight[is_near].sum() / weight.sum()
    lag, weight = lag[is_near], weight[is_near] / (weight[is_near].sum() or 1.0)
    longest = lag.max() or 1.0
    mass, _ = np.histogram(lag, N_DISTANCE_BINS, (0, longest), weights=weight)
    summed, _ = np.histogram(lag, N_DISTANCE_BINS, (0, longest), weights=weight * lag)
    distance = summed / np.where(mass > 0, mass, 1.0)

    def correlation(log_length: Floats) -> Floats:
        return np.asarray(np.exp(-distance / np.exp(log_length)[:, np.newaxis]) @ mass)

    targets = np.append(CORRELATIONS, BASIS_CORRELATION)
    limits = (np.full(targets.size, np.log(limit * longest)) for limit in (1e-9, 1e3))
    found = bisect(lambda middle: correlation(middle) < targets, *limits)
    return np.exp(found[:-1]), share * correlation(found[:-1]), float(np.exp(found[-1]))


def bisect(is_below: Callable[[Floats], NDArray[np.bool_]], low: Floats, high: Floats) -> Floats:
    """Find in each row where `is_below`, true at `low`, becomes false."""
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        move_up = is_below(middle)
        low, high = np.where(move_up, middle, low), np.where(move_up, high, middle)
    return np.asarray((low + high) / 2)
