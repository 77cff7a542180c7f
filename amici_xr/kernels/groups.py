"""Groups of neighbors on plain arrays: members, reductions, support in the tissue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]
_BASE = np.uint32(2654435761)  # odd, so that powers of it mix all bits


def zero_unsupported(lengths: Floats, codes: Integers, is_supported: NDArray[np.bool_]) -> Floats:
    """Set length scales to 0 where the neighbor's group is not supported; NaN stays.

    (...) and the groups' positions, with (..., group) → (...).
    """
    shape = np.broadcast_shapes(codes.shape, is_supported.shape[:-1])
    is_kept = np.take_along_axis(
        np.broadcast_to(is_supported, (*shape, is_supported.shape[-1])),
        np.broadcast_to(codes, shape)[..., np.newaxis],
        axis=-1,
    )[..., 0]
    return np.where(is_kept | np.isnan(lengths), lengths, 0.0)


def find_groups(values: Array, names: Array) -> NDArray[np.intp]:
    """Return the position of each value among distinct names, −1 for one that is not there.

    Of text, an integer is searched for, which is several times faster: a polynomial of its
    characters modulo 2³², unless two names have the same. What is found is compared as text.
    """
    if values.dtype.kind == names.dtype.kind == "U" and names.size:
        width = np.promote_types(values.dtype, names.dtype)
        number, of_name = (_numbers(array.astype(width)) for array in (values, names))
        order = np.argsort(of_name)
        if np.unique(of_name).size == names.size:
            at = np.searchsorted(of_name[order], number)
            found = order[np.minimum(at, names.size - 1)]
            return np.where(names[found] == values, found, -1)
    return np.asarray(pd.Index(names).get_indexer(pd.Index(values)), np.intp)


def _numbers(text: Array) -> NDArray[np.uint32]:
    """Return a number for each text, the same for the same text: (text,) → (text,)."""
    width = text.dtype.itemsize // 4
    characters = np.ascontiguousarray(text).view(np.uint32).reshape(text.size, width)
    return characters @ _BASE ** np.arange(width, dtype=np.uint32)


def group_positions(codes: Integers, n_groups: int) -> Iterator[tuple[int, Integers]]:
    """Yield each group that is not empty with the positions of its members, ascending."""
    if n_groups < np.iinfo(np.int16).max:  # narrow integers are sorted several times faster
        codes = np.clip(codes, -1, n_groups).astype(np.int16)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(n_groups + 1))
    for group in range(n_groups):
        members = order[bounds[group] : bounds[group + 1]]
        if members.size:
            yield group, members


def group_reduce(
    values: Array,
    codes: Integers,
    *,
    n_groups: int,
    reduce: Callable[..., Array],
    empty: Any = np.nan,
) -> Array:
    """Reduce each group of neighbors, (..., neighbor) → (..., group); an empty one gives `empty`.

    `reduce` is called as ``reduce(members, axis=-1)``. Codes outside 0 … n_groups − 1 are left out.
    """
    values = np.ascontiguousarray(values)
    out = np.full((*values.shape[:-1], n_groups), empty)
    for group, members in group_positions(codes, n_groups):
        out[..., group] = reduce(values[..., members], axis=-1)
    return out


def nearest_distance(distance: Floats, label: Integers, n_labels: int) -> Floats:
    """Find the distance of each receiver's nearest neighbor of each label, ∞ without one.

    (receiver, rank) and the labels as positions, −1 where there is no neighbor → (receiver, label).
    """
    nearest = np.full((distance.shape[0], n_labels), np.inf)
    for rank in range(distance.shape[1]):  # within one rank a receiver occurs once
        receiver = np.flatnonzero(label[:, rank] >= 0)
        pair = (receiver, label[receiver, rank])
        nearest[pair] = np.minimum(nearest[pair], distance[receiver, rank])
    return nearest


def edge_distance(distance: Floats) -> Floats:
    """Find the distance of each receiver's farthest neighbor, NaN without any neighbor.

    The largest, not the last: with cell radii the distance need not grow with the rank.
    """
    return np.asarray(np.fmax.reduce(distance, axis=-1, initial=np.nan))


def share_below(bounds: Floats, values: Floats) -> Floats:
    """Compute the share of each label's values strictly below its bound; NaN for a NaN bound.

    (..., label) and the values, (receiver, label), → (..., label). NaN values do not count, ∞ does.
    """
    share = np.full(bounds.shape, np.nan)
    for label in range(bounds.shape[-1]):
        ascending = np.sort(values[~np.isnan(values[:, label]), label])
        if ascending.size:
            share[..., label] = np.searchsorted(ascending, bounds[..., label]) / ascending.size
    return np.where(np.isnan(bounds), np.nan, share)
