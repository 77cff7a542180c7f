"""The formulas, on plain arrays: no labels, no files, no models.

Throughout, *a* is the base attention score, *p* > 0 the position coefficient, *δ* the dummy
attention score, *u* the distance kernel unit scale, *d* a distance and *t* a threshold. Scores
arrive as float32; everything is computed and returned in float64. Where a function reduces over
neighbors, these lie on the last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]

CURVE_BLOCK = 2**21  # elements of the curve that a summary holds at a time, 16 MB


def counterfactual_attention(
    a: ArrayLike, p: ArrayLike, delta: ArrayLike, u: ArrayLike, d: ArrayLike
) -> Floats:
    """Weight of a neighbor at distance d against the dummy alone, ``σ(a − p·d/u − δ)``.

    The logistic function of the difference, so that scores of any size stay finite, where
    ``exp(a) / (exp(a) + exp(δ))`` is NaN from a score of about 710 on.
    """
    a, p, delta, u, d = _as_float64(a, p, delta, u, d)
    difference = np.asarray((a - delta) - p * (d / u))
    return np.asarray(expit(difference, out=difference))


def length_scale(
    a: ArrayLike, p: ArrayLike, delta: ArrayLike, u: ArrayLike, threshold: ArrayLike
) -> Floats:
    """Distance at which the weight falls to t, ``max(0, (u/p)·(a − δ − logit t))``."""
    a, p, delta, u, threshold = _as_float64(a, p, delta, u, threshold)
    return np.asarray(np.maximum((u / p) * (a - delta - logit(threshold)), 0.0))


def group_positions(codes: Integers, n_groups: int) -> Iterator[tuple[int, Integers]]:
    """Yield each group that is not empty with the positions of its members, ascending."""
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(n_groups + 1))
    for group in range(n_groups):
        members = order[bounds[group] : bounds[group + 1]]
        if members.size:
            yield group, members


def group_reduce(
    values: NDArray[Any],
    codes: Integers,
    *,
    n_groups: int,
    reduce: Callable[..., NDArray[Any]],
    empty: Any = np.nan,
) -> NDArray[Any]:
    """Reduce each group of neighbors: (..., neighbor) → (..., group); `empty` where there is none.

    `reduce` is called as ``reduce(members, axis=-1)``. Codes outside 0 … n_groups − 1 are left out.
    """
    out = np.full((*values.shape[:-1], n_groups), empty)
    for group, members in group_positions(codes, n_groups):
        out[..., group] = reduce(values[..., members], axis=-1)
    return out


def curve_summary(
    a: ArrayLike,
    p: ArrayLike,
    delta: ArrayLike,
    u: ArrayLike,
    *,
    codes: Integers,
    n_groups: int,
    distance: Floats,
    quantiles: Floats,
) -> Floats:
    """Mean, std (ddof 1) and quantiles of the curves of each group, a block at a time.

    (..., neighbor) → (..., group, distance, statistic), without the distance axis where `distance`
    is one number; NaN for an empty group, and for the std of one neighbor.
    """
    a, p, delta, u = _as_float64(a, p, delta, u)
    delta, u = delta[..., np.newaxis, np.newaxis], u[..., np.newaxis, np.newaxis]
    at = np.atleast_1d(distance)
    out = np.full((*a.shape[:-1], n_groups, at.size, 2 + quantiles.size), np.nan)
    for group, members in group_positions(codes, n_groups):
        own_a, own_p = a[..., np.newaxis, members], p[..., np.newaxis, members]
        step = max(1, CURVE_BLOCK // own_a.size)
        for start in range(0, at.size, step):
            block = slice(start, start + step)
            weight = counterfactual_attention(own_a, own_p, delta, u, at[block, np.newaxis])
            out[..., group, block, 0] = weight.mean(axis=-1)
            if members.size > 1:
                out[..., group, block, 1] = weight.std(axis=-1, ddof=1)
            if quantiles.size:
                of_weight = np.quantile(weight, quantiles, axis=-1)
                out[..., group, block, 2:] = np.moveaxis(of_weight, 0, -1)
    return out.reshape((*out.shape[:-2], *np.shape(distance), out.shape[-1]))


def nearest_distance(distance: Floats, label: Integers, n_labels: int) -> Floats:
    """Distance of each receiver's nearest neighbor of each label, ∞ where it has none.

    (receiver, rank) and the labels as positions, −1 where there is no neighbor → (receiver, label).
    """
    nearest = np.full((distance.shape[0], n_labels), np.inf)
    for rank in range(distance.shape[1]):  # within one rank a receiver occurs once
        receiver = np.flatnonzero(label[:, rank] >= 0)
        cell = (receiver, label[receiver, rank])
        nearest[cell] = np.minimum(nearest[cell], distance[receiver, rank])
    return nearest


def edge_distance(distance: Floats) -> Floats:
    """Distance of each receiver's farthest neighbor, NaN where it has none at all.

    The largest, not the last: with cell radii the distance need not grow with the rank.
    """
    return np.asarray(np.fmax.reduce(distance, axis=-1, initial=np.nan))


def share_below(values: Floats, bounds: Floats) -> Floats:
    """Share of each label's values that lie strictly below its bound; NaN for a NaN bound.

    (receiver, label) and (..., label) → (..., label). NaN values do not count, ∞ does.
    """
    share = np.full(bounds.shape, np.nan)
    for label in range(bounds.shape[-1]):
        known = np.sort(values[~np.isnan(values[:, label]), label])
        if known.size:
            share[..., label] = np.searchsorted(known, bounds[..., label], side="left") / known.size
    return np.where(np.isnan(bounds), np.nan, share)


def resampled_interval(
    values: Floats,
    generator: np.random.Generator,
    *,
    statistic: Callable[..., NDArray[Any]],
    confidence_level: float,
    n_resamples: int,
) -> Floats:
    """Percentile interval, (lower, upper), of a statistic over resamples drawn with replacement."""
    n = values.size
    together = max(1, 2**20 // n)  # drawn at once; the stream is that of one resample at a time
    estimates = np.zeros(n_resamples)
    for start in range(0, n_resamples, together):
        block = estimates[start : start + together]
        drawn = generator.integers(0, n, size=(block.size, n))
        if values.any():  # of zeros every resample is 0, though its draws count in the stream
            block[:] = statistic(values[drawn], axis=1)
    alpha = 1 - confidence_level
    return np.percentile(estimates, [100 * alpha / 2, 100 * (1 - alpha / 2)])


def _as_float64(*arrays: ArrayLike) -> list[Floats]:
    # Explicit, since under NumPy 1 a float32 array minus a 0-d float64 stays float32.
    return [np.asarray(array, dtype=np.float64) for array in arrays]
