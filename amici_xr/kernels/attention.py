"""Formulas of counterfactual attention on plain arrays: no labels, no files, no models.

Throughout, *a* is the base attention score, *p* > 0 the position coefficient, *δ* the dummy
attention score, *u* the distance kernel unit scale, *d* a distance and *t* a threshold. Scores
arrive as float32; everything is computed and returned in float64. Where a function reduces over
neighbors, these lie on the last axis.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from amici_xr.iteration import for_each
from amici_xr.kernels.groups import Array, Floats, Integers, group_positions

# A summary holds curves of so many neighbors, and so many elements of them, at a time: 8 MB. In
# smaller blocks, which stay in a core's own cache, threads wait for the interpreter instead.
MOMENT_BLOCK = 2**14
CURVE_BLOCK = 2**20


def counterfactual_attention(
    a: ArrayLike, p: ArrayLike, delta: ArrayLike, u: ArrayLike, d: ArrayLike
) -> Floats:
    """Compute the weight of a neighbor at distance d against the dummy alone, ``σ(a − p·d/u − δ)``.

    The logistic function of the difference, so that scores of any size stay finite, where
    ``exp(a) / (exp(a) + exp(δ))`` is NaN from a score of about 710 on.
    """
    a, p, delta, u, d = _as_float64(a, p, delta, u, d)
    fall = np.asarray(p * (d / u))
    np.subtract(a - delta, fall, out=fall)
    return np.asarray(expit(fall, out=fall))


def length_scale(
    a: ArrayLike, p: ArrayLike, delta: ArrayLike, u: ArrayLike, threshold: ArrayLike
) -> Floats:
    """Compute the distance where the weight falls to t, ``max(0, (u/p)·(a − δ − logit t))``."""
    return np.asarray(np.maximum(signed_length_scale(a, p, delta, u, threshold), 0.0))


def signed_length_scale(
    a: ArrayLike, p: ArrayLike, delta: ArrayLike, u: ArrayLike, threshold: ArrayLike
) -> Floats:
    """Compute the length scale without its floor: negative where contact gives less than t."""
    a, p, delta, u, threshold = _as_float64(a, p, delta, u, threshold)
    return np.asarray((u / p) * (a - delta - logit(threshold)))


def curve_moments(
    a: Array, p: Array, delta: Array, u: Array, codes: Integers, *, n_groups: int, distance: Floats
) -> Floats:
    """Compute count, mean and sum of squared deviations of the curves of each group.

    (..., neighbor) and (distance,) → (..., group, distance, 3), all 0 for an empty group. The curve
    is made a block at a time, small enough to stay in the processor's cache.
    """
    empty = np.zeros((n_groups, distance.size, 3))
    return _summarize_groups(partial(_moments, distance), (a, p, delta, u), codes, empty)


def _moments(distance: Floats, score: Floats, slope: Floats) -> Floats:
    """Compute the moments of one group's curves: (neighbor,) and (distance,) → (distance, 3)."""
    size = min(score.size, MOMENT_BLOCK)
    rows = CURVE_BLOCK // size
    buffer = np.empty((rows, size))  # reused for all blocks: fresh memory costs more than the curve
    parts = np.empty((distance.size, -(-score.size // size), 3))
    for at in range(0, distance.size, rows):
        part = slice(at, at + rows)
        d = distance[part, np.newaxis]
        for number, start in enumerate(range(0, score.size, size)):
            block = slice(start, start + size)
            weight = buffer[: d.size, : score[block].size]
            _attention(score[block], slope[block], d, weight)
            mean = weight.mean(axis=1)
            weight -= mean[:, np.newaxis]
            moments = parts[part, number]
            moments[:, 0], moments[:, 1] = weight.shape[1], mean
            np.einsum("dn,dn->d", weight, weight, out=moments[:, 2])
    return combined_moments(parts)


def combined_moments(parts: Floats) -> Floats:
    """Combine count, mean and sum of squared deviations of several parts.

    (..., part, 3) → (..., 3), by Chan, Golub & LeVeque (1983), without cancellation.
    """
    count, mean, squares = np.moveaxis(parts, -1, 0)
    total = count.sum(axis=-1)
    grand_mean = (count * mean).sum(axis=-1) / np.maximum(total, 1)
    between = (count * (mean - grand_mean[..., np.newaxis]) ** 2).sum(axis=-1)
    return np.stack([total, grand_mean, squares.sum(axis=-1) + between], axis=-1)


def mean_and_std(moments: Floats) -> Floats:
    """Turn moments, (..., 3), into mean and standard deviation (ddof 1); NaN of too few values."""
    count, mean, squares = np.moveaxis(moments, -1, 0)
    variance = np.where(count > 1, squares, np.nan) / (count - 1)
    return np.stack([np.where(count > 0, mean, np.nan), np.sqrt(variance)], axis=-1)


def curve_quantiles(
    a: Array,
    p: Array,
    delta: Array,
    u: Array,
    codes: Integers,
    *,
    n_groups: int,
    distance: Floats,
    quantiles: Floats,
) -> Floats:
    """Compute quantiles of the curves of each group, a distance at a time.

    (..., neighbor) and (distance,) → (..., group, distance, quantile), NaN for an empty group.
    """
    empty = np.full((n_groups, distance.size, quantiles.size), np.nan)
    summarize = partial(_quantiles, distance, quantiles)
    return _summarize_groups(summarize, (a, p, delta, u), codes, empty)


def _quantiles(distance: Floats, quantiles: Floats, score: Floats, slope: Floats) -> Floats:
    """Compute quantiles of one group's curves: (neighbor,) → (distance, quantile)."""
    weights = (_attention(score, slope, d, np.empty(score.size)) for d in distance)
    return np.stack([np.quantile(weight, quantiles, overwrite_input=True) for weight in weights])


def _summarize_groups(
    summarize: Callable[[Floats, Floats], Floats],
    scores: tuple[Array, Array, Array, Array],
    codes: Integers,
    empty: Floats,
) -> Floats:
    """Summarize the curves of each group: (..., neighbor) → (..., group, ...), else `empty`."""
    score, slope = _curve_terms(*scores)
    out = np.tile(empty, (*score.shape[:-1], 1, 1, 1))
    groups = list(group_positions(codes, len(empty)))

    def fill(row: tuple[int, ...]) -> None:
        for group, members in groups:
            out[row][group] = summarize(score[row][members], slope[row][members])

    for_each(fill, list(np.ndindex(score.shape[:-1])))
    return out


def _curve_terms(a: Array, p: Array, delta: Array, u: Array) -> tuple[Floats, Floats]:
    """Compute ``a − δ`` and ``p/u``, (..., neighbor), where δ and u lack the last axis."""
    a, p, delta, u = _as_float64(a, p, delta, u)
    score = np.subtract(a, delta[..., np.newaxis], order="C")  # neighbors side by side
    slope = np.divide(p, u[..., np.newaxis], order="C")
    shape = np.broadcast_shapes(score.shape, slope.shape)
    return np.broadcast_to(score, shape), np.broadcast_to(slope, shape)


def _attention(score: Floats, slope: Floats, distance: Floats | float, out: Floats) -> Floats:
    """Compute ``1/(1 + exp(slope·d − score))`` as `expit` does, several times faster in a block."""
    np.multiply(slope, distance, out=out)
    out -= score
    with np.errstate(over="ignore"):  # to ∞, of which the inverse is 0
        np.exp(out, out=out)
    out += 1.0
    return np.asarray(np.divide(1.0, out, out=out))


def _as_float64(*arrays: ArrayLike) -> list[Floats]:
    # Explicit, since under NumPy 1 a float32 array minus a 0-d float64 stays float32.
    return [np.asarray(array, dtype=np.float64) for array in arrays]
