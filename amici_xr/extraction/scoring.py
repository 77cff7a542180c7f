"""Cells through the network, a batch at a time: at once, or lazily a chunk at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amici_xr.extraction.scratch import ScratchArray
from amici_xr.iteration import ahead, watched
from amici_xr.tissue.expression import Expression

if TYPE_CHECKING:
    import dask.array

    from amici_xr.model.network import ScoringNetwork

# The network takes all cores or the whole GPU; meanwhile other threads read their cells.
_ONE_AT_A_TIME = threading.Lock()


def score(
    cells: NDArray[np.intp],
    is_needed: NDArray[np.bool_],
    network: ScoringNetwork,
    expression: Expression,
    batch_size: int,
    progress: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Base scores and position coefficients of cells in ascending order, (cell, query, head).

    Of position coefficients only those that `is_needed`, (cell, query), are certain to be there.
    """
    n_queries, n_heads = network.shape
    base, position = (  # query by query in memory, as they are used later
        np.empty((n_queries, cells.size, n_heads), np.float32).swapaxes(0, 1) for _ in range(2)
    )
    score_into((base, position), cells, is_needed, network, expression, batch_size, progress)
    return base, position


def score_into(
    targets: Sequence[NDArray[np.float32] | ScratchArray],
    cells: NDArray[np.intp],
    is_needed: NDArray[np.bool_],
    network: ScoringNetwork,
    expression: Expression,
    batch_size: int,
    progress: bool = False,
) -> None:
    """Write all that the network returns for cells in ascending order, one array for each."""
    is_wrong = np.zeros(cells.size, dtype=bool)
    on_gpu = network.device.type == "cuda"
    every = range(0, cells.size, batch_size)
    starts = watched(every, "extract", "batch", "model", is_shown=progress)
    needed = (torch.from_numpy(is_needed[start : start + batch_size].copy()) for start in every)
    with contextlib.closing(_tensors(expression, cells, batch_size, on_gpu)) as tensors:
        batches = zip(tensors, needed, strict=True)
        scored = _on_gpu(network, batches) if on_gpu else _on_cpu(network, batches)
        for start, results in zip(starts, scored, strict=True):
            rows = slice(start, start + batch_size)
            for target, result in zip(targets, results, strict=True):
                target[rows] = result.numpy()
                is_wrong[rows] |= ~np.isfinite(result.numpy()).all(axis=(1, 2))
    if is_wrong.any():
        raise ValueError(
            f"{is_wrong.sum()} cells have scores that are not finite, the first at position "
            f"{cells[is_wrong][0]} of adata: is their expression missing or infinite?"
        )


def _tensors(
    expression: Expression, cells: NDArray[np.intp], batch_size: int, on_gpu: bool
) -> Generator[Tensor, None, None]:
    """Batches of expression, read ahead where that does not take cores from the network."""
    with contextlib.closing(expression.batches(cells, batch_size)) as arrays:
        tensors: Iterable[Tensor] = map(torch.from_numpy, arrays)
        if on_gpu:
            tensors = (tensor.pin_memory() for tensor in tensors)
        if not (on_gpu or expression.is_in_file):
            yield from tensors
            return
        with contextlib.closing(ahead(tensors)) as read:
            yield from read


def score_lazily(
    cells: NDArray[np.intp],
    is_needed: NDArray[np.bool_],
    network: ScoringNetwork,
    expression: Expression,
    batch_size: int,
    chunk: int,
) -> tuple[dask.array.Array, dask.array.Array]:
    """As `score`, computed a chunk of cells at a time wherever dask runs it.

    Network and expression are nodes of the graph of their own, so they travel to a worker once.
    """
    import dask.array
    from dask.delayed import delayed

    base, position = dask.array.apply_gufunc(  # type: ignore[no-untyped-call]  # dask has no types
        score,
        "(),(needed)->(query,head),(query,head)",
        dask.array.from_array(cells, chunks=chunk),  # type: ignore[no-untyped-call]  # likewise
        dask.array.from_array(is_needed, chunks=(chunk, -1)),  # type: ignore[no-untyped-call]  # likewise
        network=delayed(network),
        expression=delayed(expression),
        batch_size=batch_size,
        output_dtypes=(np.float32, np.float32),
        output_sizes=dict(zip(("query", "head"), network.shape, strict=True)),
    )
    return base, position


def _on_cpu(
    network: ScoringNetwork, batches: Iterable[tuple[Tensor, Tensor]]
) -> Iterator[tuple[Tensor, ...]]:
    for batch in batches:
        with _ONE_AT_A_TIME, torch.autocast("cpu", enabled=False):
            scores = network.scores(*batch)
        yield scores


def _on_gpu(
    network: ScoringNetwork, batches: Iterable[tuple[Tensor, Tensor]]
) -> Iterator[tuple[Tensor, ...]]:
    """Fetch the scores of a batch while the GPU works on the next one."""
    before = None
    for batch in batches:
        with _ONE_AT_A_TIME, torch.autocast("cuda", enabled=False):
            scores = [each.to("cpu", non_blocking=True) for each in network.scores(*batch)]
            done = torch.cuda.current_stream(network.device).record_event()
        if before is not None:
            yield _fetched(*before)
        before = tuple(scores), done
    if before is not None:
        yield _fetched(*before)


def _fetched(scores: tuple[Tensor, ...], done: torch.cuda.Event) -> tuple[Tensor, ...]:
    done.synchronize()
    return scores
