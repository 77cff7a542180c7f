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

# A summary holds curves of so many neighbors, and so many elements of them, at a time. OpenBLAS
# multiplies longer rows than these in threads of its own, which wait for ours. In smaller blocks,
# which stay in a core's own cache, our threads wait for the interpreter instead.
MOMENT_BLOCK = 10_000
CURVE_BLOCK = 2**20
_ROUNDING = 4 * float(np.finfo(np.float64).eps)
_LARGEST_EXPONENT = 600.0  # above 709 an exponential overflows, and 0 · ∞ is NaN


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
    n_blocks = -(-score.size // MOMENT_BLOCK)
    size = -(-score.size // n_blocks)  # equal blocks, since a small one costs nearly as much
    starts, rows = range(0, score.size, size), CURVE_BLOCK // size
    buffer = np.empty((rows, size))  # reused for all blocks: fresh memory costs more than the curve
    parts = np.empty((distance.size, len(starts), 3))
    for at in range(0, distance.size, rows):
        part = slice(at, at + rows)
        for number, start in enumerate(starts):
            block = slice(start, start + size)
            weight = buffer[: distance[part].size, : score[block].size]
            _attention_at(distance[part], score[block], slope[block], weight)
            mean = weight.mean(axis=1)
            weight -= mean[:, np.newaxis]
            moments = parts[part, number]
            moments[:, 0], moments[:, 1] = weight.shape[1], mean
            moments[:, 2] = (weight[:, np.newaxis] @ weight[..., np.newaxis])[:, 0, 0]
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
    a, p = (np.asarray(array) for array in scores[:2])
    delta, u = _as_float64(*scores[2:])
    shape = np.broadcast_shapes(a.shape[:-1], p.shape[:-1], delta.shape, u.shape)
    a, p = (np.broadcast_to(array, (*shape, array.shape[-1])) for array in (a, p))
    delta, u = (np.broadcast_to(array, shape) for array in (delta, u))
    out = np.tile(empty, (*shape, 1, 1, 1))
    groups = list(group_positions(codes, len(empty)))

    def fill(row: tuple[int, ...]) -> None:
        a_of_row, p_of_row = _as_float64(a[row], p[row])
        score, slope = a_of_row - delta[row], p_of_row / u[row]
        for group, members in groups:
            out[row][group] = summarize(score[members], slope[members])

    for_each(fill, list(np.ndindex(shape)))
    return out


def _attention_at(distance: Floats, score: Floats, slope: Floats, out: Floats) -> None:
    """Compute the attention of each neighbor at each distance: (distance, neighbor).

    At distances in even steps Δ, exponentials are products: with those of the first m distances,
    those of the next m are them times ``exp(s·Δ)^m``. The squares that give this factor double its
    error, so that the n-th exponential is off by about n roundings, as is one whose exponent is n.
    """
    first, step, is_even = _even_steps(distance)
    reach = np.abs(score).max() + 2 * np.abs(slope).max() * np.abs(distance).max()
    if not (is_even and reach < _LARGEST_EXPONENT):
        _attention(score, slope, distance[:, np.newaxis], out)
        return
    np.exp(slope * first - score, out=out[0])
    factor, done = np.exp(slope * step), 1
    while done < distance.size:
        rows = out[done : 2 * done]
        np.multiply(out[: len(rows)], factor, out=rows)
        factor, done = factor * factor, done + len(rows)
    out += 1.0
    np.divide(1.0, out, out=out)


def _even_steps(distance: Floats) -> tuple[float, float, bool]:
    """Return the first distance, the step, and whether every step is the same but for rounding."""
    first, step = distance[0], (distance[-1] - distance[0]) / max(1, distance.size - 1)
    error = np.abs(first + step * np.arange(distance.size) - distance).max()
    return first, step, bool(error <= _ROUNDING * np.abs(distance).max())


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
