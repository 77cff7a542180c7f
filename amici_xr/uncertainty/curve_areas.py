"""Areas between the curves of several runs, means over the neighbors of one tissue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.schema import SCORES
from amici_xr.errors import SchemaError
from amici_xr.kernels.head_matching import summed_areas

Floats = NDArray[np.float64]

_BLOCK = 2**14  # neighbors whose areas are summed at a time: these stay in the processor's cache


def mean_areas(
    given: Sequence[xr.Dataset], pairs: Sequence[tuple[int, int]], end: float
) -> tuple[Floats, Floats]:
    """Areas between the heads of each pair of runs and below those of each run, up to `end`.

    (pair, head, head) and (run, head): means over the neighbors of a label, then over the labels
    that a query meets, then over the queries that have neighbors.
    """
    first = given[0]
    names, codes = np.unique(first["label"].values, return_inverse=True)
    n_queries = np.atleast_1d(first["query"].values).size
    mask = np.ones((n_queries, codes.size), bool)
    if "is_neighbor" in first:
        mask = first["is_neighbor"].transpose(..., "neighbor").values.reshape(mask.shape)
    n_heads = first.sizes["head"]
    between = np.zeros((n_queries, len(pairs), names.size, n_heads, n_heads))
    below = np.zeros((n_queries, len(given), names.size, n_heads))
    for block in _blocks(first):
        scores = _read(given, block)
        for query in range(n_queries):
            every = np.flatnonzero(mask[query, block])
            for start in range(0, every.size, _BLOCK):
                own = every[start : start + _BLOCK]
                score, fall = _curves(given, scores, query, own, end)
                sums = summed_areas(score, fall, codes[block][own], names.size, pairs)
                between[query] += sums[0]
                below[query] += sums[1]
    counts = np.array([np.bincount(codes[own], minlength=names.size) for own in mask])
    return _mean(between, counts), _mean(below, counts)


def _mean(sums: Floats, counts: NDArray[np.intp]) -> Floats:
    """(query, run or pair, label, …) and (query, label) → (run or pair, …)."""
    of_queries = []
    for one, count in zip(sums, counts, strict=True):
        present = np.flatnonzero(count)
        if present.size:
            shape = (present.size, *[1] * (one.ndim - 2))
            of_queries.append((one[:, present] / count[present].reshape(shape)).mean(axis=1))
    return np.asarray(np.mean(of_queries, axis=0))


def _blocks(ds: xr.Dataset) -> Iterator[slice]:
    """Neighbors to read at a time: the chunks of what is lazy, each of which is made as a whole."""
    score = ds[SCORES[0]].variable
    n_neighbors = score.sizes["neighbor"]
    sizes = score.chunksizes.get("neighbor", (_BLOCK,) * -(-n_neighbors // _BLOCK))
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        yield slice(int(end) - size, int(end))


def _read(given: Sequence[xr.Dataset], block: slice) -> list[list[NDArray[Any]]]:
    """Base scores and position coefficients of each run, (query, head, neighbor), in memory.

    All at once: both of a run come from the same network, which, where they are lazy, is to run
    once.
    """
    read = xr.Dataset(
        {
            (number, name): ds[name].variable.isel(neighbor=block)
            for number, ds in enumerate(given)
            for name in SCORES
        }
    ).compute()
    scores = []
    for number in range(len(given)):
        of_run = (read.variables[number, name] for name in SCORES)
        arrays = (one.transpose(..., "head", "neighbor").values for one in of_run)
        scores.append([array.reshape(-1, *array.shape[-2:]) for array in arrays])
    return scores


def _curves(
    given: Sequence[xr.Dataset],
    scores: list[list[NDArray[Any]]],
    query: int,
    own: NDArray[np.intp],
    end: float,
) -> tuple[Floats, Floats]:
    """Scores ``a − δ`` and falls ``(p/u)·end`` of one query's neighbors, (run, head, neighbor)."""
    every = []
    for number, (ds, of_run) in enumerate(zip(given, scores, strict=True)):
        base, position = (array[query][:, own].astype(np.float64) for array in of_run)
        if not (np.isfinite(base).all() and np.isfinite(position).all()):
            raise SchemaError(
                f"datasets[{number}] holds scores of neighbors that are not finite; extract them "
                "again"
            )
        score = base - ds["dummy_attention_score"].item()
        every.append((score, position * (end / ds["distance_kernel_unit_scale"].item())))
    score, fall = np.stack(every, axis=1)
    return score, fall
