"""Expression as the model predicts it, receiver by receiver."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from amici_xr.extraction.arguments import BATCH_SIZE, check_device, check_queries, find_adata
from amici_xr.extraction.chosen_cells import queries_with_cells, tissue_keys
from amici_xr.model.architecture import check_prediction_weights
from amici_xr.model.loading import as_saved_model
from amici_xr.tissue.cells import read_tissue
from amici_xr.tissue.neighborhoods import find_neighborhoods

if TYPE_CHECKING:
    import anndata
    import torch


def predict_expression(
    model: Any,
    query: str | Sequence[str] | None = None,
    adata: anndata.AnnData | str | os.PathLike[str] | None = None,
    *,
    device: str | torch.device | None = None,
    sample_key: str | None = None,
) -> xr.DataArray:
    """Predict the expression of receivers from their neighborhoods: ŷ, one row for each.

    All of it is held in memory: 2 GB for 500,000 cells and 1,000 genes.

    Parameters
    ----------
    model, query, adata, device, sample_key
        As in `extract`.

    Returns
    -------
    xarray.DataArray
        Dims (receiver, gene), float32, with ``receiver_label`` and ``receiver_name``.

    Raises
    ------
    ValueError
        If the model lacks the layers after the attention.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> amici_xr.extraction.predict_expression(model, "T_cell", adata).dims
    ('receiver', 'gene')
    """
    saved = as_saved_model(model)
    check_prediction_weights(saved.weights, len(saved.gene_names), len(saved.labels))
    queries = check_queries(query, saved.labels)
    torch_device = check_device(device)
    tissue = read_tissue(
        find_adata(adata, model),
        **tissue_keys(saved.settings),
        sample_key=sample_key,
        vocabulary=saved.labels,
        genes=saved.gene_names,
    )
    queries = queries_with_cells(queries, tissue)
    neighborhoods = find_neighborhoods(tissue, queries, saved.settings.n_neighbors)

    from amici_xr.extraction.effects import RECEIVER_BATCH
    from amici_xr.extraction.prediction import make_predictor

    predictor, receivers = make_predictor(
        saved,
        tissue,
        neighborhoods,
        queries,
        device=torch_device,
        batch_size=BATCH_SIZE["cpu"],
        keeps_scores=False,
        progress=False,
    )
    cells = neighborhoods.receiver
    predicted = np.empty((cells.size, len(saved.gene_names)), np.float32)
    for number, x in enumerate(tissue.expression.batches(cells, RECEIVER_BATCH)):
        rows = slice(number * RECEIVER_BATCH, (number + 1) * RECEIVER_BATCH)
        (ablations,) = predictor.ablations(receivers[rows], x, None)
        predicted[rows] = x - ablations.residual.cpu().numpy()
    labels = np.array(saved.labels)[tissue.codes[cells]]
    return xr.DataArray(
        predicted,
        dims=("receiver", "gene"),
        coords={
            "receiver": cells,
            "gene": list(saved.gene_names),
            "receiver_label": ("receiver", labels),
            "receiver_name": ("receiver", tissue.names[cells]),
        },
        name="predicted_expression",
        attrs={"long_name": "predicted expression"},
    )
