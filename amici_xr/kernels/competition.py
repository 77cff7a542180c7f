"""Neighbors that compete with each other and with the dummy, on plain arrays.

*s* = a − p·d/u is the score of a neighbor at its observed distance. Scores of neighborhoods have
the shape (..., receiver, rank), −∞ where there is no neighbor; δ lacks the last two axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amici_xr.kernels.attention import length_scale
from amici_xr.kernels.groups import Array, Floats, Integers


@dataclass(frozen=True)
class ObservedNeighbors:
    """The neighborhoods of all receivers, arrays of shape (receiver, rank)."""

    position: Integers  # on the last axis of the scores, −1 where there is no neighbor
    distance: Floats
    label: Integers  # position of the cell type, −1 where there is no neighbor


def observed_scores(
    a: Array, p: Array, u: Array, neighbors: ObservedNeighbors
) -> tuple[Floats, Floats, Floats]:
    """Compute the scores *s* at the observed distances, and the a and p/u that they are made of.

    (..., neighbor) → (..., receiver, rank) each.
    """
    exists = neighbors.position >= 0
    if not a.shape[-1]:  # one cell that no position names, so that slopes can be divided by
        a, p = (np.ones((*array.shape[:-1], 1)) for array in (a, p))
    base = a[..., neighbors.position].astype(np.float64)
    slope = p[..., neighbors.position] / _float64(u)[..., np.newaxis, np.newaxis]
    fall = slope * np.where(exists, neighbors.distance, 0.0)
    return np.where(exists, base - fall, -np.inf), base, slope


def attention(
    a: Array, p: Array, delta: Array, u: Array, *, neighbors: ObservedNeighbors
) -> Floats:
    """Compute the softmax over neighborhood and dummy, ``exp(s_j − logsumexp(δ, s))``.

    (..., neighbor) → (..., receiver, rank), NaN where there is no neighbor.
    """
    score, *_ = observed_scores(a, p, u, neighbors)
    weight = np.exp(score - _logsumexp_with_dummy(score, delta)[..., np.newaxis])
    return np.where(neighbors.position >= 0, weight, np.nan)


def dummy_attention(
    a: Array, p: Array, delta: Array, u: Array, *, neighbors: ObservedNeighbors
) -> Floats:
    """Compute the weight of the dummy, ``exp(δ − logsumexp(δ, s))``.

    (..., neighbor) → (..., receiver).
    """
    score, *_ = observed_scores(a, p, u, neighbors)
    dummy = _float64(delta)[..., np.newaxis]
    return np.asarray(np.exp(dummy - _logsumexp_with_dummy(score, delta)))


def in_context_length_scale(
    a: Array,
    p: Array,
    delta: Array,
    u: Array,
    *,
    neighbors: ObservedNeighbors,
    threshold: float,
    among_same_label: bool,
) -> Floats:
    """Compute the length scale against the dummy and the competitors of each neighbor.

    ``max(0, (u/p)(a − δ* − logit t))`` with ``δ* = logsumexp(δ, s_k)`` over the competitors k: all
    other neighbors of the receiver, or those of other labels.
    (..., neighbor) → (..., receiver, rank), NaN where there is no neighbor.
    """
    score, base, slope = observed_scores(a, p, u, neighbors)
    label = neighbors.label
    if among_same_label:
        competitors = logsumexp_of_others(score)
    else:
        by_label = logsumexp_by_label(score, label, int(label.max(initial=0)) + 1)
        label_at_rank = np.broadcast_to(np.maximum(label, 0), score.shape)
        competitors = np.take_along_axis(logsumexp_of_others(by_label), label_at_rank, axis=-1)
    bar = np.logaddexp(_float64(delta)[..., np.newaxis, np.newaxis], competitors)
    lengths = length_scale(base, slope, bar, 1.0, threshold)
    return np.where(neighbors.position >= 0, lengths, np.nan)


def logsumexp_by_label(score: Floats, label: Integers, n_labels: int) -> Floats:
    """Compute ``log Σ exp(s)`` over the neighbors of each label, −∞ over none.

    (..., receiver, rank) and the labels as positions, −1 for none → (..., receiver, label).
    """
    total = np.full((*score.shape[:-1], n_labels), -np.inf)
    for rank in range(score.shape[-1]):  # within one rank a receiver occurs once
        receiver = np.flatnonzero(label[:, rank] >= 0)
        pair = (..., receiver, label[receiver, rank])
        total[pair] = np.logaddexp(total[pair], score[..., receiver, rank])
    return total


def logsumexp_of_others(score: Floats) -> Floats:
    """Compute ``log Σ exp(s_k)`` over all other k along the last axis; −∞ over none.

    From the sums before and behind each element: subtracting the element from the sum of all would
    cancel where it is by far the largest.
    """
    others = np.full(score.shape, -np.inf)
    if score.shape[-1] > 1:
        others[..., 1:] = np.logaddexp.accumulate(score[..., :-1], axis=-1)
        behind = np.logaddexp.accumulate(score[..., :0:-1], axis=-1)[..., ::-1]
        others[..., :-1] = np.logaddexp(others[..., :-1], behind)
    return others


def mean_attention(
    a: Array,
    p: Array,
    delta: Array,
    u: Array,
    *,
    neighbors: ObservedNeighbors,
    bins: Integers,
    shape: tuple[int, int],
) -> Floats:
    """Compute the mean attention in each bin of a table of this shape, NaN in an empty bin.

    (..., neighbor) → (..., *shape). `bins` gives the bin of each (receiver, rank) in the table,
    counted row by row, −1 for none.
    """
    weight = attention(a, p, delta, u, neighbors=neighbors)
    is_binned = bins >= 0
    bin_number, n_bins = bins[is_binned], shape[0] * shape[1]
    total = np.empty((*weight.shape[:-2], n_bins))
    for row in np.ndindex(total.shape[:-1]):
        total[row] = np.bincount(bin_number, weight[row][is_binned], minlength=n_bins)
    with np.errstate(invalid="ignore"):
        mean = total / np.bincount(bin_number, minlength=n_bins)
    return np.asarray(mean.reshape(*weight.shape[:-2], *shape))


def _logsumexp_with_dummy(score: Floats, delta: Array) -> Floats:
    """Compute ``logsumexp(δ, s)`` of a neighborhood: (..., receiver, rank) → (..., receiver)."""
    neighbors = np.logaddexp.reduce(score, axis=-1, initial=-np.inf)
    return np.asarray(np.logaddexp(_float64(delta)[..., np.newaxis], neighbors))


def _float64(array: Array) -> Floats:
    return np.asarray(array, dtype=np.float64)
