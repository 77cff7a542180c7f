"""Match the heads of two training runs by the area between their curves, on plain arrays.

A curve ``σ(s − y·x)``, x in [0, 1], is given by its score ``s = a − δ`` and by its fall
``y = (p/u)·D`` over the range of distances [0, D].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amici_xr.iteration import for_each
from amici_xr.kernels.groups import Floats, Integers

FLAT = 1e-8  # smaller falls over the whole range are raised to this: areas change by less


@dataclass(frozen=True)
class Matching:
    """Position of each head of one run among those of another, and how clear that is."""

    order: NDArray[np.intp]  # (head,), positions in the other
    is_matched: NDArray[np.bool_]  # (head,)
    cost: Floats  # (head,), the area between the two
    total: float  # total cost, including that of unmatched heads
    margin: float  # additional cost of the second-best matching


def area_below(score: Floats, fall: Floats, at: Floats | float = 1.0) -> Floats:
    """Compute ``∫₀ˣ σ(s − y·x) dx = [softplus(s) − softplus(s − y·x)]/y``, elementwise.

    At x = 1 it is the mean attention.
    """
    return (_softplus(score) - _softplus(score - fall * at)) / fall


def area_between(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Floats:
    """Compute ``∫₀¹ |σ(s₁ − y₁·x) − σ(s₂ − y₂·x)| dx`` of curves, each a (score, fall).

    Exactly: σ is monotone, so the curves cross where their arguments are equal, at
    ``x* = (s₁ − s₂)/(y₁ − y₂)``, and nowhere else. On each side of it the area is the difference of
    the two areas below.
    """
    return _area_between(first, second, area_below(*first), area_below(*second))


def _area_between(
    first: tuple[Floats, Floats], second: tuple[Floats, Floats], below: Floats, below_other: Floats
) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = (first[0] - second[0]) / (first[1] - second[1])
    crossing = np.clip(np.nan_to_num(crossing, nan=1.0), 0.0, 1.0)  # NaN: the same curve twice
    before = area_below(*first, crossing) - area_below(*second, crossing)
    return np.abs(before) + np.abs(below - below_other - before)


def summed_areas(
    score: Floats,
    fall: Floats,
    codes: Integers,
    n_groups: int,
    pairs: Sequence[tuple[int, int]],
) -> tuple[Floats, Floats]:
    """Sum over the neighbors of each group: areas between the heads of runs, and below them.

    (run, head, neighbor) and the groups' positions → (pair of runs, group, head, head) and
    (run, group, head).
    """
    fall = np.maximum(fall, FLAT)
    n_runs, n_heads = score.shape[:2]
    below = area_below(score, fall)
    between = np.zeros((len(pairs), n_groups, n_heads, n_heads))

    def fill(item: tuple[int, int]) -> None:
        pair, head = item
        run, other = pairs[pair]
        first = (score[run, head], fall[run, head])
        for other_head in range(n_heads):
            second = (score[other, other_head], fall[other, other_head])
            area = _area_between(first, second, below[run, head], below[other, other_head])
            between[pair, :, head, other_head] = np.bincount(codes, area, n_groups)

    for_each(fill, [(pair, head) for pair in range(len(pairs)) for head in range(n_heads)])
    alone = np.empty((n_runs, n_groups, n_heads))
    for run, head in np.ndindex(n_runs, n_heads):
        alone[run, :, head] = np.bincount(codes, below[run, head], n_groups)
    return between, alone


def match_heads(areas: Floats, unmatched: Floats, unmatched_other: Floats) -> Matching:
    """Match heads at least cost, where either may be left unmatched at a cost of its own.

    ``min Σ C[i, π(i)] over matched i + Σ v[i] + Σ w[j] over unmatched i and j``: the assignment
    problem on ``min(C[i, j], v[i] + w[j])``, since a pair that costs more is left unmatched.
    (head, head) and twice (head,). Unmatched heads are paired with the remaining ones so that the
    areas between them are smallest.

    The margin is exact. Any other matching either lacks one of the pairs of the best, so each is
    forbidden in turn (the first step of Murty's ranking), or has an additional one.
    """
    from scipy.optimize import linear_sum_assignment

    alone = unmatched[:, np.newaxis] + unmatched_other
    costs = np.minimum(areas, alone)
    rows, order = linear_sum_assignment(costs)
    total = float(costs[rows, order].sum())
    is_matched = areas[rows, order] <= alone[rows, order]
    unpaired = np.ix_(rows[~is_matched], order[~is_matched])
    margins = [*(areas[unpaired] - alone[unpaired]).ravel()]
    order[~is_matched] = order[~is_matched][linear_sum_assignment(areas[unpaired])[1]]
    for row in rows[is_matched]:
        forbidden = costs.copy()
        forbidden[row, order[row]] = alone[row, order[row]]
        margins.append(forbidden[linear_sum_assignment(forbidden)].sum() - total)
    margin = max(0.0, float(min(margins)))  # negative only by rounding
    return Matching(order, is_matched, areas[rows, order], total, margin)


def same_heads(n_heads: int) -> Matching:
    """Match each head of the reference run to itself."""
    return Matching(np.arange(n_heads), np.ones(n_heads, bool), np.zeros(n_heads), 0.0, np.nan)


def _softplus(z: Floats) -> Floats:
    """Compute ``log(1 + exp z)`` without overflow."""
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))
