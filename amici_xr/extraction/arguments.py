"""Validate the arguments of `extract`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from amici_xr.dependencies import require
from amici_xr.errors import NotFoundError, check_names, check_positive_integer, listed
from amici_xr.io.paths import expand_home

if TYPE_CHECKING:
    import torch

BATCH_SIZE = {"cpu": 2048}  # what the layers make of it stays in the cache that cores share
BATCH_SIZE_ELSEWHERE = 16_384
CHUNK_SIZE = 16_384  # neighbors in a chunk of chunks="auto"


def find_adata(adata: Any, model: Any) -> Any:
    """Return the tissue as given, else that of a live model or the one saved in its folder."""
    if adata is None and isinstance(model, str | os.PathLike):
        path = expand_home(model)
        folder = path if path.is_dir() else path.parent
        saved = folder / "adata.h5ad"
        adata = saved if saved.is_file() else None
    adata = getattr(model, "adata", None) if adata is None else adata
    if adata is None:
        raise TypeError(
            "adata=None, but this saved model has no AnnData of its own; "
            "pass the tissue, e.g. extract(model, query, 'tissue.h5ad')"
        )
    return adata


def check_queries(query: Any, vocabulary: Sequence[str]) -> list[int] | None:
    """Return the positions of the queries in the vocabulary; None stands for all of them."""
    if query is None:
        return None
    is_list = isinstance(query, Iterable) and not isinstance(query, str | bytes)
    names = list(query) if is_list else [query]
    if not all(isinstance(name, str | np.integer | int) for name in names):
        raise TypeError(
            f"query must be a cell type or a list of them, not {type(query).__name__}; the "
            "order is extract(model, query, adata)"
        )
    if not names:
        raise ValueError(f"query={query!r} names no cell type; known: {listed(vocabulary)}")
    labels = [str(name) for name in names]
    if isinstance(query, str) and query not in vocabulary and os.path.exists(query):
        raise NotFoundError(
            f"query={query!r} is not a cell type but a path; the order is extract(model, query, "
            f"adata), so give it as adata={query!r}"
        )
    check_names("query", labels, vocabulary, "cell type")
    return [vocabulary.index(label) for label in labels]


def check_heads(heads: Any, n_heads: int) -> NDArray[np.intp]:
    """Return the numbers of the heads; None stands for all of them."""
    if heads is None:
        return np.arange(n_heads)
    numbers = np.atleast_1d(np.asarray(heads))
    if numbers.dtype.kind not in "iu" or not numbers.size:
        raise TypeError(f"heads={heads!r} must be integers, e.g. heads=[0, 2]")
    check_names("heads", numbers.tolist(), range(n_heads), "head")
    return numbers.astype(np.intp)


def check_effects(effects: Any) -> bool | Literal["by_head"]:
    """Return whether effects are extracted, or "by_head" for those of each head too."""
    if isinstance(effects, bool) or effects == "by_head":
        return effects  # type: ignore[no-any-return]  # one of these
    raise ValueError(f"effects={effects!r} is not known; choose one of False, True, 'by_head'")


def check_renormalize(renormalize: Any, effects: bool | Literal["by_head"]) -> bool:
    """Return whether ablated senders are masked before the softmax, which needs effects."""
    if not isinstance(renormalize, bool | np.bool_):
        raise TypeError(f"renormalize={renormalize!r} must be True or False")
    if renormalize and not effects:
        raise ValueError(
            "renormalize=True changes effects alone, and none are asked for; add effects=True, or "
            "leave it out"
        )
    return bool(renormalize)


def check_chunks(chunks: Any) -> int | None:
    """Return the number of neighbors in a chunk; None where nothing is to be lazy."""
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
    """Return the requested device, or a GPU where there is one; fail before any work is done."""
    require("torch", "model", "scoring cells")
    import torch

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        created = torch.empty(0, device=device).device
    except (AssertionError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} can't be used here: {error}; try device='cpu'"
        ) from error
    if created.type == "meta":
        raise ValueError("device='meta' holds no numbers to compute with; try device='cpu'")
    return created


def check_batch_size(batch_size: Any, device: torch.device) -> int:
    """Return the number of cells that are scored at a time; None takes what suits the device."""
    if batch_size is None:
        batch_size = BATCH_SIZE.get(device.type, BATCH_SIZE_ELSEWHERE)
    return check_positive_integer("batch_size", batch_size)
