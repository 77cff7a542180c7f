"""Neighbors that compete with each other and with the dummy, on plain arrays.

*s* = a − p·d/u is the score of a neighbor where it really stands. Scores of neighborhoods have the
shape (..., receiver, rank), −∞ where there is no neighbor; δ lacks the last two axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.kernels.attention import length_scale
from amici_xr.kernels.groups import Floats, Integers


def in_place_scores(
    a: NDArray[Any],
    p: NDArray[Any],
    u: NDArray[Any],
    position: Integers,
    distance: Floats,
) -> tuple[Floats, Floats, Floats]:
    """Scores *s* of the neighbors where they stand, and their own a and p/u.

    (..., neighbor), and who stands where, (receiver, rank), −1 where nobody → (..., receiver, rank)
    each.
    """
    exists = position >= 0
    if not a.shape[-1]:  # a cell that nobody points at, whose slope may be divided by
        a, p = (np.ones((*array.shape[:-1], 1)) for array in (a, p))
    own_a = a[..., position].astype(np.float64)
    slope = p[..., position] / np.asarray(u, dtype=np.float64)[..., np.newaxis, np.newaxis]
    fall = slope * np.where(exists, distance, 0.0)
    return np.where(exists, own_a - fall, -np.inf), own_a, slope


def attention(
    a: NDArray[Any],
    p: NDArray[Any],
    delta: NDArray[Any],
    u: NDArray[Any],
    *,
    position: Integers,
    distance: Floats,
) -> Floats:
    """Softmax over each neighborhood and the dummy, ``exp(s_j − logsumexp(δ, s))``.

    (..., neighbor) → (..., receiver, rank), NaN where there is no neighbor.
    """
    score, *_ = in_place_scores(a, p, u, position, distance)
    weight = np.exp(score - _together(score, delta)[..., np.newaxis])
    return np.where(position >= 0, weight, np.nan)


def dummy_attention(
    a: NDArray[Any],
    p: NDArray[Any],
    delta: NDArray[Any],
    u: NDArray[Any],
    *,
    position: Integers,
    distance: Floats,
) -> Floats:
    """Weight of the dummy, ``exp(δ − logsumexp(δ, s))``: (..., neighbor) → (..., receiver)."""
    score, *_ = in_place_scores(a, p, u, position, distance)
    return np.asarray(np.exp(_float64(delta)[..., np.newaxis] - _together(score, delta)))


def in_context_length_scale(
    a: NDArray[Any],
    p: NDArray[Any],
    delta: NDArray[Any],
    u: NDArray[Any],
    *,
    position: Integers,
    distance: Floats,
    label: Integers,
    threshold: float,
    among_own_label: bool,
) -> Floats:
    """Length scale against the dummy and the competitors of each neighbor.

    ``max(0, (u/p)(a − δ* − logit t))`` with ``δ* = logsumexp(δ, s_k)`` over the competitors k: all
    other neighbors of the receiver, or those of other labels.
    (..., neighbor) → (..., receiver, rank), NaN where there is no neighbor.
    """
    score, own_a, slope = in_place_scores(a, p, u, position, distance)
    if among_own_label:
        others = logsumexp_of_others(score)
    else:
        n_labels = int(label.max(initial=0)) + 1
        of_others = logsumexp_of_others(logsumexp_by_label(score, label, n_labels))
        where = np.broadcast_to(np.maximum(label, 0), score.shape)
        others = np.take_along_axis(of_others, where, axis=-1)
    bar = np.logaddexp(_float64(delta)[..., np.newaxis, np.newaxis], others)
    lengths = length_scale(own_a, slope, bar, 1.0, threshold)
    return np.where(position >= 0, lengths, np.nan)


def logsumexp_by_label(score: Floats, label: Integers, n_labels: int) -> Floats:
    """``log Σ exp(s)`` over the neighbors of each label, −∞ over none.

    (..., receiver, rank) and the labels as positions, −1 for none → (..., receiver, label).
    """
    total = np.full((*score.shape[:-1], n_labels), -np.inf)
    for rank in range(score.shape[-1]):  # within one rank a receiver occurs once
        receiver = np.flatnonzero(label[:, rank] >= 0)
        own = label[receiver, rank]
        before = total[..., receiver, own]
        total[..., receiver, own] = np.logaddexp(before, score[..., receiver, rank])
    return total


def logsumexp_of_others(score: Floats) -> Floats:
    """``log Σ exp(s_k)`` over all k but the own, along the last axis; −∞ over none.

    From what stands before and what stands behind: subtracting the own from the sum of all would
    leave nothing where the own is by far the largest.
    """
    others = np.full(score.shape, -np.inf)
    if score.shape[-1] > 1:
        others[..., 1:] = np.logaddexp.accumulate(score[..., :-1], axis=-1)
        behind = np.logaddexp.accumulate(score[..., :0:-1], axis=-1)[..., ::-1]
        others[..., :-1] = np.logaddexp(others[..., :-1], behind)
    return others


def mean_attention(
    a: NDArray[Any],
    p: NDArray[Any],
    delta: NDArray[Any],
    u: NDArray[Any],
    *,
    position: Integers,
    distance: Floats,
    bin_of: Integers,
    shape: tuple[int, int],
) -> Floats:
    """Mean attention in each bin of a table of this shape, NaN of none.

    (..., neighbor) → (..., *shape). `bin_of` gives the place of each (receiver, rank) in the
    table, row by row, −1 for those that are nowhere.
    """
    weight = attention(a, p, delta, u, position=position, distance=distance)
    inside = bin_of >= 0
    own, size = bin_of[inside], shape[0] * shape[1]
    total = np.empty((*weight.shape[:-2], size))
    for row in np.ndindex(total.shape[:-1]):
        total[row] = np.bincount(own, weights=weight[row][inside], minlength=size)
    with np.errstate(invalid="ignore"):
        mean = total / np.bincount(own, minlength=size)
    return np.asarray(mean.reshape(*weight.shape[:-2], *shape))


def _together(score: Floats, delta: NDArray[Any]) -> Floats:
    """``logsumexp(δ, s)`` over a neighborhood: (..., receiver, rank) → (..., receiver)."""
    of_neighbors = np.logaddexp.reduce(score, axis=-1, initial=-np.inf)
    return np.asarray(np.logaddexp(_float64(delta)[..., np.newaxis], of_neighbors))


def _float64(array: NDArray[Any]) -> Floats:
    return np.asarray(array, dtype=np.float64)
