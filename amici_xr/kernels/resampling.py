"""Resampling of whole units, such as samples or trainings, on plain arrays."""

from __future__ import annotations

from math import comb
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from amici_xr.iteration import ahead
from amici_xr.kernels.exact_bootstrap import quantiles_of_atoms
from amici_xr.kernels.groups import Floats, Integers

MOST_ENUMERATED = 100_000  # ways to draw the units: all are looked at up to ten units


def interval(
    values: Floats,
    unit: Integers,
    probabilities: Floats,
    *,
    statistic: Literal["mean", "median"],
    n_resamples: int,
    random_state: int | None,
) -> tuple[Floats, int]:
    """Quantiles of the mean or median over resamples of whole units, and the number of units.

    A resample draws as many units as there are, with replacement, and takes the statistic of all
    values of the units drawn. Up to ten units all resamples are looked at, each with its
    probability; of more `n_resamples` are drawn. One unit has no spread: NaN.
    """
    names, codes = np.unique(unit, return_inverse=True)
    if names.size < 2:
        return np.full(probabilities.shape, np.nan), names.size
    times, mass = _resamples(names.size, n_resamples, random_state)
    if statistic == "mean":
        total = np.bincount(codes, weights=values)
        estimates = (times @ total) / (times @ np.bincount(codes))
    else:
        estimates = _medians(values, codes, times)
    return quantiles_of_atoms(estimates, mass, probabilities), names.size


def _resamples(
    n_units: int, n_resamples: int, random_state: int | None
) -> tuple[NDArray[np.int64], Floats]:
    """How often each unit is drawn, (resample, unit), and the probability of each resample."""
    if comb(2 * n_units - 1, n_units) > MOST_ENUMERATED:
        generator = np.random.default_rng(random_state)
        times = generator.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_resamples)
        return times, np.full(n_resamples, 1 / n_resamples)
    times = _compositions(n_units, n_units)
    log_mass = gammaln(n_units + 1) - gammaln(times + 1).sum(axis=1) - n_units * np.log(n_units)
    return times, np.exp(log_mass)


def _compositions(total: int, n_parts: int) -> NDArray[np.int64]:
    """All ways to write `total` as an ordered sum of so many numbers of 0 or more."""
    rows = np.zeros((1, 0), dtype=np.int64)
    for _ in range(n_parts - 1):
        left = total - rows.sum(axis=1)
        repeated = np.repeat(rows, left + 1, axis=0)
        start = np.cumsum(left + 1) - (left + 1)
        part = np.arange(len(repeated)) - np.repeat(start, left + 1)
        rows = np.column_stack([repeated, part])
    return np.column_stack([rows, total - rows.sum(axis=1)])


def _medians(values: Floats, codes: Integers, times: NDArray[np.int64]) -> Floats:
    """Median of each resample, from how many values of each unit are at most the i-th smallest."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    below = np.zeros((values.size + 1, times.shape[1]), dtype=np.int64)
    below[np.arange(1, values.size + 1), codes[order]] = 1
    np.cumsum(below, axis=0, out=below)
    total = times @ below[-1]

    def ranked(rank: NDArray[np.int64]) -> Floats:
        """The rank-th smallest, from 1 on, by bisection in all resamples at once."""
        low, high = np.zeros(len(times), np.int64), np.full(len(times), values.size)
        while (high - low > 1).any():
            middle = (low + high) // 2
            reached = (times * below[middle]).sum(axis=1) >= rank
            low, high = np.where(reached, low, middle), np.where(reached, middle, high)
        return np.asarray(ordered[high - 1])

    return (ranked((total + 1) // 2) + ranked(total // 2 + 1)) / 2


RESAMPLE_BLOCK = 2**20  # draws held at a time, 8 MB


def resampled_interval(
    values: Floats,
    generator: np.random.Generator,
    *,
    statistic: Literal["mean", "median"],
    probabilities: Floats,
    n_resamples: int,
) -> Floats:
    """Percentiles of the mean or median over resamples drawn with replacement.

    To the last bit those of ``np.percentile`` over ``np.mean`` or ``np.median`` of one resample at
    a time, drawn as ``generator.integers(0, n, size=n)``.
    """
    n = values.size
    ordered = np.sort(values)
    rank = np.empty(n, np.min_scalar_type(n))  # narrow integers sort faster than floats
    rank[np.argsort(values)] = np.arange(n)
    middle = [(n - 1) // 2, n // 2]

    def estimates(drawn: Integers) -> Floats:
        if not ordered.any():  # of zeros each estimate is 0, but the draws count in the stream
            return np.zeros(len(drawn))
        if statistic == "mean":
            return np.asarray(values[drawn].mean(axis=1))
        ranks = np.sort(rank[drawn], axis=1)
        return np.asarray(ordered[ranks[:, middle]].mean(axis=1))

    together = max(1, RESAMPLE_BLOCK // n)  # the stream is that of one resample at a time
    sizes = (min(together, n_resamples - start) for start in range(0, n_resamples, together))
    blocks = ahead(generator.integers(0, n, size=(size, n)) for size in sizes)
    every = np.concatenate([estimates(block) for block in blocks])
    return np.asarray(np.percentile(every, 100 * probabilities))
