"""Summaries of samples with different numbers of cells, as if all had the same, on plain arrays.

The expectation of a median, or of the largest of several means, depends on the number of cells.
That of its average over random subsets of a fixed size (rarefaction) does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from amici_xr.kernels.groups import Floats, Integers, group_positions

FEWEST_SUBSETS = 32  # their choice then adds at most 1/32 to the variance that cells cause


def rarefied_groups(values: Floats, codes: Integers, sizes: Integers, **options: Any) -> Floats:
    """Summarize each group of cells by `rarefied_summary`, with the subset size of that group.

    (..., cell), the positions of the groups and (group,) → (..., group), without the axis of heads
    where their largest is taken; NaN for a group without cells.
    """
    summaries = {
        group: rarefied_summary(values[..., members], int(sizes[group]), **options)
        for group, members in group_positions(codes, sizes.size)
    }
    shape = values.shape[: -2 if options.get("largest_head") else -1]
    out = np.full((*shape, sizes.size), np.nan)
    for group, summary in summaries.items():
        out[..., group] = summary
    return out


def rarefied_summary(
    values: Floats,
    size: int,
    *,
    statistic: Callable[..., Any],
    largest_head: bool = False,
    random_state: int | None = None,
) -> Floats:
    """Average a statistic over random subsets of `size` cells: (..., cell) → (...).

    `statistic` is called as ``statistic(subset, axis=-1)``. With `largest_head` the largest of the
    heads is taken in each subset: (..., head, cell) → (...). No subset has more cells than there
    are.
    """
    total = np.zeros(values.shape[: -2 if largest_head else -1])
    n_subsets = 0
    for subsets in random_subsets(values.shape[-1], size, random_state):
        of_subsets = statistic(values[..., subsets], axis=-1)
        if largest_head:
            of_subsets = of_subsets.max(axis=-2)
        total += of_subsets.sum(axis=-1)
        n_subsets += len(subsets)
    return np.asarray(total / n_subsets)


def random_subsets(n_cells: int, size: int, random_state: int | None) -> Iterator[Integers]:
    """Yield positions of cells, (subset, cell), one deal of all the cells at a time.

    Within a deal, subsets are disjoint and as many as the cells allow. All cells, in their order,
    where they are no more than `size`, or where subsets are single cells.
    """
    per_deal = n_cells // size
    if n_cells <= size or size == 1:
        yield np.arange(n_cells).reshape(max(per_deal, 1), -1)
        return
    generator = np.random.default_rng(random_state)
    for _ in range(-(-FEWEST_SUBSETS // per_deal)):
        dealt = generator.permutation(n_cells)[: per_deal * size]
        yield dealt.reshape(per_deal, size)
