"""From a trained model and its tissue to the Dataset."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from amici_xr.dataset.construction import from_arrays
from amici_xr.dataset.schema import check_unit, provenance
from amici_xr.dataset.units import check_microns_per_unit, to_microns
from amici_xr.errors import NotFoundError, check_positive_integer, listed
from amici_xr.extraction.arguments import check_chunks, check_device, check_heads, check_queries
from amici_xr.model.loading import as_saved_model
from amici_xr.tissue.cells import (
    describe_cells,
    describe_labels,
    find_samples,
    label_codes,
    open_tissue,
)
from amici_xr.tissue.expression import Expression
from amici_xr.tissue.neighborhoods import find_neighborhoods

if TYPE_CHECKING:
    import anndata
    import torch

BATCH_SIZE = {"cpu": 1024}  # what the layers make of it stays in the processor's cache
BATCH_SIZE_ELSEWHERE = 16_384


def extract(
    model: Any,
    query: str | Sequence[str] | None = None,
    adata: anndata.AnnData | str | os.PathLike[str] | None = None,
    *,
    indices: ArrayLike | None = None,
    heads: int | Sequence[int] | None = None,
    batch_size: int | None = None,
    device: str | torch.device | None = None,
    chunks: int | Literal["auto"] | Mapping[str, int] | None = None,
    sample_key: str | None = None,
    unit: str | None = None,
    microns_per_unit: float | None = None,
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
        model, or the one that was saved in the model's folder. Expression in a file, or of a
        backed AnnData, is read a batch at a time. Genes are matched by name.
        Neighborhoods that it carries since ``setup_anndata`` are used; else they are computed from
        the settings saved with the model.
    indices
        Positions of cells (or a boolean mask over all cells) to which the neighbors are cut down.
    heads
        Attention heads to keep; None keeps all.
    batch_size
        Cells scored at a time; by default 1,024 on a CPU, 16,384 elsewhere.
    device
        A torch device such as "cpu" or "cuda"; None takes a GPU where there is one.
    chunks
        None scores all neighbors at once. A number of neighbors, also as ``{"neighbor": number}``,
        or "auto" leaves the scores lazy in chunks of so many: they are computed when asked for, on
        threads or on a cluster, anew each time, from the tissue as it is then. So write them first,
        ``amici_xr.save(extract(..., chunks="auto"), "t_cell.zarr")``, and go on from
        ``amici_xr.open_dataset("t_cell.zarr", chunks={})``.
    sample_key
        Column of ``adata.obs`` with the sample (section, slide) of each cell. Neighborhoods then
        never cross samples, whose coordinates may overlap; the samples are kept as
        ``neighbor_sample`` and ``receiver_sample``. Neighborhoods that the AnnData carries and
        that do cross are computed anew.
    unit
        Name of the unit of the coordinates, e.g. "µm", kept on every distance.
    microns_per_unit
        How many microns one unit of the coordinates is. Every coordinate, distance and length
        scale is then in µm, as from `to_microns`. It renames what the model measured: the
        coordinates themselves must be in the unit that it was trained in.
    progress
        Whether to show a progress bar where it takes more than a second.

    Returns
    -------
    xarray.Dataset
        Dims (neighbor, head), neighbors in ascending order of their position; with a list of
        queries, or None, ``query`` in front and NaN where a cell is not a neighbor of that query.
        The colors in which scanpy has drawn the cell types (``adata.uns["<key>_colors"]``), where
        there are any, are kept for the figures as ``cell_type_color``.

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
        If the model was not trained, or given neighborhoods do not fit the coordinates or cross
        samples.

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
    if microns_per_unit is not None:
        microns_per_unit = check_microns_per_unit(microns_per_unit, unit)
    query = query.tolist() if isinstance(query, np.ndarray) else query
    saved = as_saved_model(model)
    asked = check_queries(query, saved.labels)
    head = check_heads(heads, saved.n_heads)
    chunk = check_chunks(chunks)
    place = check_device(device)
    usual = BATCH_SIZE.get(place.type, BATCH_SIZE_ELSEWHERE)
    size = check_positive_integer("batch_size", usual if batch_size is None else batch_size)
    if not saved.is_trained:
        warnings.warn("the model was not trained: its scores mean nothing", stacklevel=2)
    tissue = open_tissue(adata, model, saved.settings)
    if not tissue.adata.n_obs:
        raise ValueError("adata has no cells")
    codes = label_codes(tissue.adata, saved)
    expression = Expression(tissue.adata, tissue.path, saved)
    queries = _queries_with_cells(asked, codes, saved.labels)
    samples = find_samples(tissue.adata, sample_key)
    sample = None if samples is None else np.unique(samples, return_inverse=True)[1]
    found = find_neighborhoods(tissue.adata, saved.settings, codes, queries, sample)
    is_neighbor = _cut_down(found.is_neighbor(codes, queries), indices, sample_key)
    neighbor = np.flatnonzero(is_neighbor.any(axis=0))
    several = query is None or not isinstance(query, str | int | np.generic)
    others = {"is_neighbor": is_neighbor[:, neighbor]} if several else {}

    from amici_xr.extraction.scoring import score, score_lazily
    from amici_xr.model.network import ScoringNetwork

    network = ScoringNetwork(saved.weights, saved.settings.pos_coef_offset, queries, place)
    scores: Any = (
        score(neighbor, network, expression, size, progress)
        if chunk is None
        else score_lazily(neighbor, network, expression, size, chunk)
    )
    kept = slice(None) if heads is None else head
    base, position = (_laid_out(array[..., kept], **others) for array in scores)
    labels = np.array(saved.labels)
    ds = from_arrays(
        base,
        position,
        labels[codes[neighbor]],
        query=labels[queries].tolist() if several else str(labels[queries[0]]),
        dummy_attention_score=saved.settings.attention_dummy_score,
        distance_kernel_unit_scale=saved.settings.distance_kernel_unit_scale,
        neighbor=neighbor,
        head=head,
        cell_type=labels,
        **describe_labels(tissue.adata, saved),
        unit=unit,
        receiver=found.receiver,
        receiver_label=labels[codes[found.receiver]],
        neighborhood_index=found.index,
        neighborhood_distance=found.distance,
        neighborhood_label=found.labels(codes),
        **others,
        **describe_cells(tissue.adata, saved, samples, neighbor=neighbor, receiver=found.receiver),
    )
    arguments = _arguments(model, query, indices, head, size, place, chunk)
    arguments |= {"sample_key": sample_key, "unit": unit, "microns_per_unit": microns_per_unit}
    arguments["neighborhoods"] = "given" if found.is_given else "computed"
    settings = saved.settings.with_sources()
    ds = ds.assign_attrs(provenance("model", model_settings=settings, extraction=arguments))
    return ds if microns_per_unit is None else to_microns(ds, microns_per_unit)


def _arguments(
    model: Any,
    query: Any,
    indices: Any,
    head: NDArray[np.intp],
    batch_size: int,
    device: torch.device,
    chunk: int | None,
) -> dict[str, Any]:
    """What `extract` was asked for, as JSON knows it."""
    return {
        "model": os.fspath(model) if isinstance(model, str | os.PathLike) else type(model).__name__,
        "query": None if query is None else [str(one) for one in np.atleast_1d(query)],
        "n_indices": None if indices is None else int(np.size(indices)),
        "heads": head.tolist(),
        "batch_size": batch_size,
        "device": str(device),
        "chunks": chunk,
    }


def _laid_out(scores: Any, is_neighbor: NDArray[np.bool_] | None = None) -> Any:
    """(neighbor, query, head) → (query, neighbor, head), masked, or (neighbor, head) of one."""
    if is_neighbor is None:
        return scores[:, 0]
    scores = scores.swapaxes(0, 1)
    if isinstance(scores, np.ndarray):
        scores[~is_neighbor] = np.nan
        return scores
    scores = scores.rechunk({0: 1})  # so that one query is read, later, without the others
    return np.where(is_neighbor[..., np.newaxis], scores, np.float32(np.nan))


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


def _cut_down(
    is_neighbor: NDArray[np.bool_], indices: ArrayLike | None, sample_key: str | None
) -> NDArray[np.bool_]:
    """Leave only the cells at `indices`."""
    if not is_neighbor.any():
        where = "adata" if sample_key is None else f"its sample, of sample_key={sample_key!r}"
        raise ValueError(
            f"no cell of the query type has a neighbor of another type in {where}, so there is "
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
