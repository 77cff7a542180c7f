"""Permutation tests of two groups of independent units, many pairs at a time, on plain arrays.

The units lie on the last axis, (..., unit). NaN stands for a unit in which a pair does not occur;
such a unit is left out for that pair. With fewer than two units in a group the answer is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb

from amici_xr.iteration import for_each
from amici_xr.kernels.groups import Floats

PAIR_BLOCK = 512  # pairs tested at a time
LABELING_BLOCK = 2**21  # values of these that are relabeled at a time, 16 MB
FEWEST_UNITS = 2  # that have a variance


def studentized_difference(first: Floats, second: Floats) -> Floats:
    """Compute Welch's t, ``(mean₂ − mean₁) / √(s₁²/n₁ + s₂²/n₂)``: (..., unit) twice → (...).

    ±∞ where neither group varies but their means differ, NaN where all units are equal.
    """

    def of_complete(first: Floats, second: Floats) -> Floats:
        difference, error = _difference_and_error(*_centred(first, second), axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(difference / error)

    return _by_number_of_units(of_complete, first, second)


def permutation_p(
    first: Floats, second: Floats, *, n_resamples: int, random_state: int | None
) -> Floats:
    """Compute the share of labelings with |studentized difference| at least the observed one.

    (..., unit) twice → (...). Of all ``C(n₁ + n₂, n₁)`` labelings where these are at most
    `n_resamples`; else ``(1 + b)/(1 + R)`` with R = `n_resamples` random labelings, the same for
    every pair with so many units, of which b are at least as extreme. Statistics that agree up to
    rounding count as equal. 1 where all units are equal.
    """
    from scipy.stats import permutation_test

    def of_complete(first: Floats, second: Floats) -> Floats:
        first, second = _centred(first, second)
        p = np.empty(len(first))
        n_units = first.shape[-1] + second.shape[-1]

        def fill(start: int) -> None:
            block = slice(start, start + PAIR_BLOCK)
            tested = permutation_test(
                (first[block], second[block]),
                _extremeness,
                vectorized=True,
                n_resamples=n_resamples,
                batch=max(1, LABELING_BLOCK // (p[block].size * n_units)),
                alternative="greater",
                axis=-1,
                random_state=np.random.default_rng(random_state),
            )
            p[block] = tested.pvalue

        for_each(fill, range(0, len(first), PAIR_BLOCK))
        return p

    return _by_number_of_units(of_complete, first, second)


def is_enumerated(
    n_first: ArrayLike, n_second: ArrayLike, *, n_resamples: int
) -> NDArray[np.bool_]:
    """Tell whether `permutation_p` counts every labeling of so many units."""
    return np.asarray(_n_labelings(n_first, n_second) <= n_resamples)


def min_attainable_p(n_first: ArrayLike, n_second: ArrayLike, *, n_resamples: int) -> Floats:
    """Compute the smallest p that so many units can give, whatever their values.

    ``1/C(n₁ + n₂, n₁)``, twice that for groups of equal size, whose swap changes no |difference|;
    ``1/(1 + R)`` where labelings are drawn; NaN with fewer than two units in a group.
    """
    n_tied = np.where(np.equal(n_first, n_second), 2, 1)
    p = np.where(
        is_enumerated(n_first, n_second, n_resamples=n_resamples),
        n_tied / _n_labelings(n_first, n_second),
        1 / (1 + n_resamples),
    )
    return np.where(np.minimum(n_first, n_second) < FEWEST_UNITS, np.nan, p)


def benjamini_hochberg(p: Floats) -> Floats:
    """Adjust p over all that are not NaN, in the same shape; NaN stays."""
    from scipy.stats import false_discovery_control

    q = np.full(p.shape, np.nan)
    is_test = ~np.isnan(p)
    if is_test.any():
        q[is_test] = false_discovery_control(p[is_test], method="bh")
    return q


def _n_labelings(n_first: ArrayLike, n_second: ArrayLike) -> Floats:
    return np.asarray(np.round(comb(np.add(n_first, n_second), n_first)))


def _extremeness(first: Floats, second: Floats, axis: int) -> Floats:
    """Compute ``1 + |t|/√(1 + t²)``, which grows with Welch's |t|, in [1, 2].

    SciPy subtracts a tolerance relative to the observed statistic, which fails for an infinite t,
    and gives none for a t that is 0 up to rounding.
    """
    difference, error = _difference_and_error(first, second, axis)
    largest = np.hypot(difference, error)
    return np.asarray(1 + np.abs(difference) / np.where(largest > 0, largest, 1))


def _difference_and_error(first: Floats, second: Floats, axis: int) -> tuple[Floats, Floats]:
    """Compute the difference of the means, second minus first, and its standard error."""
    groups = (first, second)
    mean_first, mean_second = (group.mean(axis=axis) for group in groups)
    variance = sum(group.var(axis=axis, ddof=1) / group.shape[axis] for group in groups)
    return mean_second - mean_first, np.sqrt(variance)


def _centred(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Subtract one of the values from all, so that equal ones and their variance are exactly 0."""
    center = first[..., :1]
    return first - center, second - center


def _by_number_of_units(
    function: Callable[[Floats, Floats], Floats], first: Floats, second: Floats
) -> Floats:
    """Apply (pair, unit) twice → (pair) to the pairs with equally many units, without any NaN."""
    shape = np.broadcast_shapes(first.shape[:-1], second.shape[:-1])
    n_pairs = math.prod(shape)
    groups = [
        np.broadcast_to(group, (*shape, group.shape[-1])).reshape(n_pairs, group.shape[-1])
        for group in (first, second)
    ]
    n_units = np.stack([(~np.isnan(group)).sum(axis=1) for group in groups], axis=1)
    present_first = [np.sort(group, axis=1) for group in groups]  # NaN last
    out = np.full(n_pairs, np.nan)
    for sizes in np.unique(n_units, axis=0):
        if sizes.min() >= FEWEST_UNITS:
            rows = np.flatnonzero((n_units == sizes).all(axis=1))
            first, second = (group[rows, :n] for group, n in zip(present_first, sizes, strict=True))
            out[rows] = function(first, second)
    return out.reshape(shape)
