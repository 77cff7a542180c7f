"""The arguments of an extraction, checked, as it goes on with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.dependencies import require
from amici_xr.errors import check_names, check_positive_integer, listed

if TYPE_CHECKING:
    import torch

CHUNK_SIZE = 16_384  # neighbors in a chunk of chunks="auto"


def check_queries(query: Any, known: Sequence[str]) -> list[int] | None:
    """Positions of the queries in the vocabulary; None stands for all of them."""
    if query is None:
        return None
    named = list(query) if isinstance(query, Iterable) and not isinstance(query, str) else [query]
    if not all(isinstance(one, str | np.integer | int) for one in named):
        raise TypeError(
            f"query must be a cell type or a list of them, not {type(query).__name__}; the "
            "order is extract(model, query, adata)"
        )
    asked = [str(one) for one in named]
    if not asked:
        raise ValueError(f"query={query!r} names no cell type; known: {listed(known)}")
    check_names("query", asked, known, "cell type")
    return [known.index(one) for one in asked]


def check_heads(heads: Any, n_heads: int) -> NDArray[np.intp]:
    """Numbers of the heads; None stands for all of them."""
    if heads is None:
        return np.arange(n_heads)
    asked = np.atleast_1d(np.asarray(heads))
    if asked.dtype.kind not in "iu" or not asked.size:
        raise TypeError(f"heads={heads!r} must be integers, e.g. heads=[0, 2]")
    check_names("heads", asked.tolist(), range(n_heads), "head")
    return asked.astype(np.intp)


def check_chunks(chunks: Any) -> int | None:
    """Neighbors in a chunk; None where nothing is to be lazy."""
    if chunks is None or chunks == "auto":
        return None if chunks is None else CHUNK_SIZE
    if isinstance(chunks, Mapping):
        if set(chunks) != {"neighbor"}:
            raise ValueError(
                f"chunks={dict(chunks)!r} must give the size along neighbor alone, e.g. "
                'chunks={"neighbor": 10_000}: head and query stay whole'
            )
        return check_chunks(chunks["neighbor"])
    return check_positive_integer("chunks", chunks)


def check_device(device: Any) -> torch.device:
    """The device asked for, or a GPU where there is one; an error before any work if it is none."""
    require("torch", "model", "scoring cells")
    import torch

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device
    except (AssertionError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} can't be used here: {error}; try device='cpu'"
        ) from error
