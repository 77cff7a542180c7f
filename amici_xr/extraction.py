"""From a trained model and its tissue to the Dataset."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from .assembly import from_arrays
from .checkpoint import SavedModel, as_saved_model
from .errors import NotFoundError, check_names, check_positive_integer, listed
from .neighborhoods import find_neighborhoods
from .optional import require
from .schema import check_unit, provenance
from .tissue import Expression, describe_cells, label_codes, open_tissue

if TYPE_CHECKING:
    import anndata
    import torch

DEFAULT_BATCH_SIZE = 1024
PROGRESS_DELAY = 1.0  # seconds before the bar is shown


def extract(
    model: Any,
    query: str | Sequence[str] | None = None,
    adata: anndata.AnnData | str | os.PathLike[str] | None = None,
    *,
    indices: ArrayLike | None = None,
    heads: int | Sequence[int] | None = None,
    batch_size: int | None = None,
    device: str | torch.device | None = None,
    unit: str | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Score every neighbor of one or several receiving cell types: the Dataset of all that follows.

    For a query type, its neighbors are the cells of other types that stand among the K nearest of
    at least one of its cells. Each gets a base attention score *a* and a position coefficient *p*
    per head; attention at distance d is ``σ(a − p·d/u − δ)``.

    Parameters
    ----------
    model
        A trained AMICI model, a `SavedModel`, or the path of a saved folder.
    query
        A receiving cell type, a list of them, or None for every type that the AnnData has cells of.
    adata
        The tissue: an AnnData or the path of an ``.h5ad`` or ``.zarr``; None takes that of a live
        model, or the one that was saved in the model's folder. Genes are matched by name.
        Neighborhoods that it carries since ``setup_anndata`` are used; else they are computed from
        the settings saved with the model.
    indices
        Positions of cells (or a boolean mask over all cells) to which the neighbors are cut down.
    heads
        Attention heads to keep; None keeps all.
    batch_size
        Cells scored at a time; 4,096 by default.
    device
        A torch device such as "cpu" or "cuda"; None takes a GPU where there is one.
    unit
        Name of the unit of the coordinates, e.g. "µm", kept on every distance.
    progress
        Whether to show a progress bar where it takes more than a second.

    Returns
    -------
    xarray.Dataset
        Dims (neighbor, head), neighbors in ascending order of their position; with a list of
        queries, or None, ``query`` in front and NaN where a cell is not a neighbor of that query.

    Raises
    ------
    NotFoundError
        If a query, head, gene, layer or key is not there; the message lists what is.
    ValueError
        If the AnnData does not fit the model, or `indices` leave no neighbor.
    TypeError
        If `model`, or another argument, is none of the above.
    FileNotFoundError
        If `model` or `adata` is a path where there is nothing.
    ModuleNotFoundError
        If torch or AnnData is not installed; the message says how to.
    SchemaError
        If what comes out breaks the schema, e.g. by a cell type of over 256 characters.

    Warns
    -----
    UserWarning
        If the model was not trained, or given neighborhoods do not fit the coordinates.

    References
    ----------
    AMICI, doi:10.1101/2025.09.22.677860.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "T_cell", adata, progress=False)
    >>> dict(ds.base_attention_score.sizes)
    {'neighbor': 4084, 'head': 4}
    """
    check_unit(unit)
    query = query.tolist() if isinstance(query, np.ndarray) else query
    saved = as_saved_model(model)
    asked = _check_queries(query, saved.labels)
    head = _check_heads(heads, saved.n_heads)
    size = check_positive_integer(
        "batch_size", DEFAULT_BATCH_SIZE if batch_size is None else batch_size
    )
    place = _device(device)
    if not saved.is_trained:
        warnings.warn("the model was not trained: its scores mean nothing", stacklevel=2)
    tissue = open_tissue(adata, model)
    if not tissue.n_obs:
        raise ValueError("adata has no cells")
    codes = label_codes(tissue, saved)
    expression = Expression(tissue, saved)
    queries = _queries_with_cells(asked, codes, saved.labels)
    found = find_neighborhoods(tissue, saved.settings, codes, queries)
    is_neighbor = _cut_down(found.is_neighbor(codes, queries), indices)
    neighbor = np.flatnonzero(is_neighbor.any(axis=0))
    is_neighbor = is_neighbor[:, neighbor, np.newaxis]
    scores = _score(saved, expression, neighbor, queries, size, place, progress)
    base, position = (np.where(is_neighbor, array[..., head], np.nan) for array in scores)
    several = query is None or not isinstance(query, str | int | np.generic)
    labels = np.array(saved.labels)
    ds = from_arrays(
        base if several else base[0],
        position if several else position[0],
        labels[codes[neighbor]],
        query=labels[queries].tolist() if several else str(labels[queries[0]]),
        dummy_attention_score=saved.settings.attention_dummy_score,
        distance_kernel_unit_scale=saved.settings.distance_kernel_unit_scale,
        neighbor=neighbor,
        head=head,
        cell_type=labels,
        unit=unit,
        receiver=found.receiver,
        receiver_label=labels[codes[found.receiver]],
        neighborhood_index=found.index,
        neighborhood_distance=found.distance,
        neighborhood_label=found.labels(codes),
        **describe_cells(tissue, saved, neighbor=neighbor, receiver=found.receiver),
    )
    arguments = _arguments(model, query, indices, head, size, place, unit)
    arguments["neighborhoods"] = "given" if found.is_given else "computed"
    settings = saved.settings.with_sources()
    return ds.assign_attrs(provenance("model", model_settings=settings, extraction=arguments))


def _arguments(
    model: Any,
    query: Any,
    indices: Any,
    head: NDArray[np.intp],
    batch_size: int,
    device: torch.device,
    unit: str | None,
) -> dict[str, Any]:
    """What `extract` was asked for, as JSON knows it."""
    return {
        "model": os.fspath(model) if isinstance(model, str | os.PathLike) else type(model).__name__,
        "query": None if query is None else [str(one) for one in np.atleast_1d(query)],
        "n_indices": None if indices is None else int(np.size(indices)),
        "heads": head.tolist(),
        "batch_size": batch_size,
        "device": str(device),
        "unit": unit,
    }


def _check_queries(query: Any, known: Sequence[str]) -> list[int] | None:
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


def _check_heads(heads: Any, n_heads: int) -> NDArray[np.intp]:
    if heads is None:
        return np.arange(n_heads)
    asked = np.atleast_1d(np.asarray(heads))
    if asked.dtype.kind not in "iu" or not asked.size:
        raise TypeError(f"heads={heads!r} must be integers, e.g. heads=[0, 2]")
    check_names("heads", asked.tolist(), range(n_heads), "head")
    return asked.astype(np.intp)


def _queries_with_cells(
    asked: list[int] | None, codes: NDArray[np.intp], labels: Sequence[str]
) -> list[int]:
    present = np.unique(codes).tolist()
    if asked is None:
        return [int(code) for code in present]
    without = [labels[code] for code in asked if code not in present]
    if without:
        raise NotFoundError(
            f"query: adata has no cells of type {listed(without)}; it has cells of "
            f"{listed(labels[code] for code in present)}"
        )
    return asked


def _cut_down(is_neighbor: NDArray[np.bool_], indices: ArrayLike | None) -> NDArray[np.bool_]:
    """Leave only the cells at `indices`."""
    if not is_neighbor.any():
        raise ValueError(
            "no cell of the query type has a neighbor of another type in adata, so there is "
            "nothing to score"
        )
    if indices is None:
        return is_neighbor
    n_cells = is_neighbor.shape[1]
    given = np.asarray(indices)
    if given.dtype == bool and given.shape == (n_cells,):
        given = np.flatnonzero(given)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise TypeError(
            f"indices must be a sequence of integers or a boolean mask over all {n_cells} cells, "
            f"not an array of dtype {given.dtype} and shape {given.shape}"
        )
    outside = given[(given < 0) | (given >= n_cells)]
    if outside.size:
        raise NotFoundError(
            f"indices holds {listed(outside, 5)}; adata has cells 0 to {n_cells - 1}"
        )
    kept = np.zeros_like(is_neighbor)
    kept[:, given.astype(np.intp)] = is_neighbor[:, given.astype(np.intp)]
    if not kept.any():
        raise ValueError(
            f"indices: none of the {given.size} cells is a neighbor of a cell of the query type"
        )
    return kept


def _score(
    model: SavedModel,
    expression: Expression,
    cells: NDArray[np.intp],
    queries: list[int],
    batch_size: int,
    device: torch.device,
    progress: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Base scores and position coefficients, (query, cell, head)."""
    import torch
    from tqdm import tqdm

    from .network import ScoringNetwork

    network = ScoringNetwork(model.weights, model.settings.pos_coef_offset, queries, device)
    shape = (len(queries), cells.size, model.n_heads)
    base, position = np.empty(shape, np.float32), np.empty(shape, np.float32)
    starts = range(0, cells.size, batch_size)
    shown = {"disable": not progress, "delay": PROGRESS_DELAY, "leave": False}
    for start in tqdm(starts, "extract", unit="batch", **shown):
        batch = slice(start, start + batch_size)
        a, p = network.scores(torch.from_numpy(expression[cells[batch]]))
        base[:, batch] = a.cpu().numpy().swapaxes(0, 1)
        position[:, batch] = p.cpu().numpy().swapaxes(0, 1)
    wrong = ~(np.isfinite(base) & np.isfinite(position)).all(axis=(0, 2))
    if wrong.any():
        raise ValueError(
            f"{wrong.sum()} cells have scores that are not finite, the first at position "
            f"{cells[wrong][0]} of adata: is their expression missing or infinite?"
        )
    return base, position


def _device(device: Any) -> torch.device:
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
