"""Extract the Dataset from a trained model and its tissue."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from amici_xr.dataset.ablation import MASKED, ZEROED, record_ablation
from amici_xr.dataset.construction import from_arrays
from amici_xr.dataset.schema import SCHEMA, check_unit, provenance
from amici_xr.dataset.units import check_microns_per_unit, to_microns
from amici_xr.extraction.arguments import (
    check_batch_size,
    check_chunks,
    check_device,
    check_effects,
    check_heads,
    check_queries,
    check_renormalize,
    find_adata,
)
from amici_xr.extraction.chosen_cells import queries_with_cells, select_indices, tissue_keys
from amici_xr.model.architecture import check_prediction_weights
from amici_xr.model.loading import as_saved_model
from amici_xr.tissue.cells import read_tissue
from amici_xr.tissue.neighborhoods import find_neighborhoods
from amici_xr.tissue.overlap import warn_of_overlapping_samples
from amici_xr.tissue.unit_entries import find_unit

if TYPE_CHECKING:
    import anndata
    import spatialdata
    import torch

_OF_ALL_RUNS = ("model", "query", "adata")


def extract(
    model: Any,
    query: str | Sequence[str] | None = None,
    adata: anndata.AnnData | spatialdata.SpatialData | str | os.PathLike[str] | None = None,
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
    effects: bool | Literal["by_head"] = False,
    renormalize: bool = False,
) -> xr.Dataset:
    """Score every neighbor of one or several receiving cell types: the Dataset of all that follows.

    For a query type, its neighbors are the cells of other types that stand among the K nearest of
    at least one of its cells. Each gets a base attention score *a* and a position coefficient *p*
    per head; attention at distance d is ``σ(a − p·d/u − δ)``.

    Parameters
    ----------
    model
        A trained AMICI model, a `SavedModel`, the path of a saved folder, or what `train` returns:
        of several runs, each is extracted, and their heads are aligned as by `align_runs`. A ``~``
        at the start of a path, here and in `adata`, is the user's home folder.
    query
        A receiving cell type, a list of them, or None for every type that the AnnData has cells of.
    adata
        The tissue: an AnnData or a SpatialData, or the path of an ``.h5ad`` or ``.zarr``; None
        takes that of a live model, or the one that was saved in the model's folder. Expression in a
        file, or of a backed AnnData, is read a batch at a time. Genes are matched by name.
        Neighborhoods that it carries since ``setup_anndata`` are used; else they are computed from
        the settings saved with the model.
    indices
        Positions of cells (or a boolean mask over all cells) to which the neighbors are cut down.
    heads
        Attention heads to keep; None keeps all.
    batch_size
        Cells scored at a time; by default 2,048 on a CPU, 16,384 elsewhere.
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
        Name of the unit of the coordinates, e.g. "µm", kept on every distance; None takes that
        which the AnnData names in ``uns``, as ``coord_unit`` or ``spatial_units``, if it does.
    microns_per_unit
        How many microns one unit of the coordinates is. Every coordinate, distance and length
        scale is then in µm, as from `to_microns`. It renames what the model measured: the
        coordinates themselves must be in the unit that it was trained in.
    progress
        Whether to show a progress bar where it takes more than a second.
    effects
        True adds what the attention does, gene by gene: the effect and the gain in prediction of
        each sender (``gene_effect``, ``gene_gain``, ``prediction_gain``), how well expression is
        predicted, and the effect of a lone neighbor against distance (``counterfactual_effect``).
        "by_head" adds effects with each head alone left on, too. Predictions are of whole
        neighborhoods and all heads, whatever `indices` and `heads` are. Effects are computed at
        once, also with `chunks`; they are of the model, and in-sample wherever cells of the
        training are among the receivers.
    renormalize
        Ablation sets the weights α of a sender S to 0, and the rest keeps its own, as in the
        original. True masks the cells of S before the softmax instead, so that the other neighbors
        and the dummy take over its attention: ``α'_j = α_j / (1 − Σ_{k∈S} α_k)`` in each head.
        Which of the two it was is recorded as the attribute ``ablation`` of the variables.

    Returns
    -------
    xarray.Dataset
        Dims (neighbor, head), neighbors in ascending order of their position; of several runs
        ``run`` in front; with a list of queries, or None, ``query`` in front and NaN where a cell
        is not a neighbor of that query.
        The colors in which scanpy has drawn the cell types (``adata.uns["<key>_colors"]``), where
        there are any, are kept for the figures as ``cell_type_color``.

    Raises
    ------
    NotFoundError
        If a query, head, gene, layer or key is not there; the message lists what is.
    ValueError
        If the AnnData does not fit the model or names its unit unreadably, or `indices` leave no
        neighbor.
    TypeError
        If the model, or another argument, is none of the above.
    FileNotFoundError
        If the path of the model or of `adata` is one where there is nothing.
    ModuleNotFoundError
        If torch or AnnData is not installed; the message says how to.
    SchemaError
        If what comes out breaks the schema, e.g. by a cell type of over 256 characters.

    Warns
    -----
    UserWarning
        If the model was not trained, or given neighborhoods do not fit the coordinates or cross
        samples; with effects, if explained variance is below −0.05: the model predicts expression
        worse than the mean of each type does.

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
    of_each = {name: value for name, value in locals().items() if name not in _OF_ALL_RUNS}
    check_unit(unit)
    if microns_per_unit is not None:
        microns_per_unit = check_microns_per_unit(microns_per_unit, unit)
    query = query.tolist() if isinstance(query, np.ndarray) else query
    if hasattr(model, "models"):  # trained runs, of which each is extracted, and all aligned
        return model.extract(query, adata, **of_each)  # type: ignore[no-any-return]  # of any class
    saved = as_saved_model(model)
    queries = check_queries(query, saved.labels)
    head = check_heads(heads, saved.n_heads)
    chunk = check_chunks(chunks)
    effects = check_effects(effects)
    if effects:
        check_prediction_weights(saved.weights, len(saved.gene_names), len(saved.labels))
    renormalize = check_renormalize(renormalize, effects)
    torch_device = check_device(device)
    batch_size = check_batch_size(batch_size, torch_device)
    if not saved.is_trained:
        warnings.warn("the model was not trained: its scores mean nothing", stacklevel=2)
    tissue = read_tissue(
        find_adata(adata, model),
        **tissue_keys(saved.settings),
        sample_key=sample_key,
        vocabulary=saved.labels,
        genes=saved.gene_names,
    )
    if unit is None and microns_per_unit is None:
        unit = find_unit(tissue.unit_entries)
    queries = queries_with_cells(queries, tissue)
    neighborhoods = find_neighborhoods(tissue, queries, saved.settings.n_neighbors)
    warn_of_overlapping_samples(tissue, neighborhoods)
    is_neighbor = neighborhoods.is_neighbor(tissue.codes, queries)
    is_neighbor = select_indices(is_neighbor, indices, sample_key)
    neighbor = np.flatnonzero(is_neighbor.any(axis=0))
    of_query = is_neighbor[:, neighbor]

    from amici_xr.extraction.scoring import score, score_lazily
    from amici_xr.model.network import ScoringNetwork

    scores: Any = None
    of_effects: dict[str, Any] = {}
    if effects:
        from amici_xr.extraction.effects import score_with_effects

        scores, of_effects = score_with_effects(
            saved,
            tissue,
            neighborhoods,
            queries,
            is_neighbor,
            heads=head.tolist() if effects == "by_head" else None,
            renormalize=renormalize,
            device=torch_device,
            batch_size=batch_size,
            keeps_scores=chunk is None,
            progress=progress,
        )
    if scores is None:
        offset = saved.settings.pos_coef_offset
        network = ScoringNetwork(saved.weights, offset, queries, torch_device)
        of_cells = neighbor, of_query.T, network, tissue.expression, batch_size
        scores = score(*of_cells, progress) if chunk is None else score_lazily(*of_cells, chunk)
    has_query_dim = query is None or not isinstance(query, str | int | np.generic)
    mask = {"is_neighbor": of_query} if has_query_dim else {}
    kept_heads = slice(None) if heads is None else head
    base, position = (_arrange(array[..., kept_heads], **mask) for array in scores)
    labels = np.array(saved.labels)
    ds = from_arrays(
        base,
        position,
        labels[tissue.codes[neighbor]],
        query=labels[queries].tolist() if has_query_dim else str(labels[queries[0]]),
        dummy_attention_score=saved.settings.attention_dummy_score,
        distance_kernel_unit_scale=saved.settings.distance_kernel_unit_scale,
        neighbor=neighbor,
        head=head,
        cell_type=labels,
        unit=unit,
        receiver=neighborhoods.receiver,
        receiver_label=labels[tissue.codes[neighborhoods.receiver]],
        neighborhood_index=neighborhoods.index,
        neighborhood_distance=neighborhoods.distance,
        neighborhood_label=neighborhoods.labels(tissue.codes),
        **mask,
        **_without_query(of_effects, has_query_dim),
        **tissue.describe(neighbor=neighbor, receiver=neighborhoods.receiver),
        **({} if tissue.colors is None else {"cell_type_color": tissue.colors}),
    )
    arguments = {
        "model": os.fspath(model) if isinstance(model, str | os.PathLike) else type(model).__name__,
        "query": None if query is None else [str(name) for name in np.atleast_1d(query)],
        "n_cells": len(tissue.names),
        "n_repeated_names": int(pd.Index(tissue.names).duplicated().sum()),
        "n_indices": None if indices is None else int(np.size(indices)),
        "heads": head.tolist(),
        "batch_size": batch_size,
        "device": str(torch_device),
        "chunks": chunk,
        "sample_key": sample_key,
        "unit": unit,
        "microns_per_unit": microns_per_unit,
        "effects": effects,
        "renormalize": renormalize,
        "neighborhoods": "given" if neighborhoods.is_given else "computed",
    }
    settings = saved.settings.with_sources()
    if effects:
        ds = record_ablation(ds, MASKED if renormalize else ZEROED)
    ds = ds.assign_attrs(provenance("model", model_settings=settings, extraction=arguments))
    return ds if microns_per_unit is None else to_microns(ds, microns_per_unit)


def _arrange(scores: Any, is_neighbor: NDArray[np.bool_] | None = None) -> Any:
    """Arrange (neighbor, query, head) as (query, neighbor, head), masked, or (neighbor, head)."""
    if is_neighbor is None:
        return scores[:, 0]
    scores = scores.swapaxes(0, 1)
    if isinstance(scores, np.ndarray):
        scores[~is_neighbor] = np.nan
        return scores
    return np.where(is_neighbor[..., np.newaxis], scores, np.float32(np.nan))


def _without_query(of_effects: dict[str, Any], has_query_dim: bool) -> dict[str, Any]:
    """Take the query, which stands in front, from the effects of a single one."""
    is_of_query = {name for name in of_effects if "query" in SCHEMA[name].further_dims}
    return {
        name: array[0] if name in is_of_query and not has_query_dim else array
        for name, array in of_effects.items()
    }
