"""Train many models of a tissue at once."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amici_xr.dependencies import require
from amici_xr.errors import check_positive_integer
from amici_xr.tissue.cells import Tissue, read_tissue

if TYPE_CHECKING:
    import anndata
    import spatialdata
    import torch

    from amici_xr.training.attention_model import AttentionModel
    from amici_xr.training.runs import TrainedRuns


def train(
    adata: anndata.AnnData | spatialdata.SpatialData | str | os.PathLike[str],
    labels_key: str,
    *,
    coord_key: str = "spatial",
    layer: str | None = None,
    n_neighbors: int = 50,
    cell_radius_key: str | None = None,
    sample_key: str | None = None,
    n_runs: int | None = None,
    seed: int | Sequence[int] = 0,
    left_out: str | Sequence[str | None] | None = None,
    permute: Literal["labels", "positions", "expression"] | None = None,
    train_mask: ArrayLike | None = None,
    validation: Literal["blocks", "random"] | None = "blocks",
    validation_size: float = 0.1,
    split_seed: int = 0,
    max_epochs: int = 400,
    batch_size: int = 128,
    learning_rate: float | Sequence[float] = 1e-3,
    learning_rate_decay: float = 0.1,
    adam_epsilon: float = 0.01,
    attention_penalty: float | Sequence[float] = 1e-2,
    attention_penalty_epochs: tuple[int, int] = (10, 40),
    value_l1_penalty: float | Sequence[float] = 1e-6,
    neighbor_dropout: float | Sequence[float] = 0.1,
    early_stopping_patience: int | None = 20,
    n_heads: int | Sequence[int] = 8,
    head_size: int | Sequence[int] = 16,
    label_size: int | Sequence[int] = 32,
    query_size: int | Sequence[int] = 64,
    query_hidden_size: int | Sequence[int] = 512,
    cell_size: int | Sequence[int] = 256,
    cell_hidden_size: int | Sequence[int] = 1024,
    key_size: int | Sequence[int] = 256,
    position_hidden_size: int | Sequence[int] = 512,
    attention_dummy_score: float = 3.0,
    distance_kernel_unit_scale: float = 1.0,
    pos_coef_offset: float = -2.0,
    device: str | torch.device | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
    progress: bool = True,
) -> TrainedRuns:
    """Train AMICI's attention network on a tissue, several runs at once.

    Receiver i of type q with neighborhood N(i) is predicted from its neighbors,
    ``ŷ_i = profile_q + linear_head·norm_o(Σ_h W_O Σ_j α_ijh V_jh + Q_q)``. The loss is the mean
    over receivers of ``½·Σ_genes (x − ŷ)² + c·H + v·L``, with H the entropy of the attention α over
    neighbors and the dummy, mean over heads, and L the mean over neighbors of ``Σ|V|``. Runs differ
    in their seed: that of the initial weights and of the neighbors that are dropped. They share
    batches and held-out cells. A run among many gives the same model as the run alone.

    Parameters
    ----------
    adata
        AnnData or SpatialData, or the path of an ``.h5ad`` or ``.zarr``, with log-normalized
        expression. It is not changed.
    labels_key
        Column of ``obs`` with the cell types.
    coord_key
        Entry of ``obsm`` with the coordinates.
    layer
        Layer of the expression; None for ``X``.
    n_neighbors
        K, the number of cells of other types in a neighborhood.
    cell_radius_key
        Column of ``obs`` with the radius of each cell; distances are then from surface to surface.
    sample_key
        Column of ``obs`` with the sample of each cell; no neighborhood crosses samples.
    n_runs
        Number of models. None takes the length of the sequences among the arguments, or 1.
    seed
        Seed of the first run, each further run has the next; or one for each run.
    left_out
        Cell type that receivers don't see as a neighbor, or one (or None) for each run.
    permute
        Break the link of cells and places on purpose, within samples: exchange the "labels" of
        cells, their "positions", or the "expression" of cells of one type. `extract` then takes
        the permuted tissue.
    train_mask
        For each cell, whether it may be trained on; None for all.
    validation
        Cells by which early stopping judges: whole patches of tissue, "blocks", or single cells,
        "random", whose surroundings were trained on. None holds none out.
    validation_size
        Share of the cells that are held out.
    split_seed
        Seed of what all runs share: held-out cells, batches and permutation.
    max_epochs
        Most epochs.
    batch_size
        Receivers of a batch, about: patches of at most 128 cells, cut anew in each epoch.
    learning_rate
        Of Adam, with weight decay 1e-6; one for all runs, or one for each.
    learning_rate_decay
        Share of the learning rate that is left when the attention penalty has its end value; it
        falls along half a cosine while the penalty rises. 1 keeps it.
    adam_epsilon
        ε of Adam. A smaller one, 0.001 say, learns weak effects in fewer steps.
    attention_penalty
        End value of c; one for all runs, or one for each.
    attention_penalty_epochs
        Epochs at which c begins to rise from 0, and at which it has its end value.
    value_l1_penalty
        v; one for all runs, or one for each.
    neighbor_dropout
        Share of neighbors that the softmax does not see, while training; one for all runs, or one
        for each.
    early_stopping_patience
        A run ends after so many epochs without a smaller held-out error, counted from the end of
        the penalty's rise on, and keeps the weights of its best epoch. None trains to the end.
    n_heads, head_size, label_size, query_size, query_hidden_size, cell_size, cell_hidden_size, \
key_size, position_hidden_size
        Sizes of the network, see `NetworkSizes`; for all runs, or one for each. Runs of the same
        sizes are computed together.
    attention_dummy_score, distance_kernel_unit_scale, pos_coef_offset
        δ, u, and what is added to position coefficients before the softplus. u is in units of the
        coordinates.
    device
        A torch device such as "cpu" or "cuda"; None takes a GPU where there is one.
    checkpoint
        File to which all is written that a killed training needs to go on. Where it is there, of
        the same training, that goes on from it.
    checkpoint_seconds
        Least time from one checkpoint to the next.
    progress
        Whether to show a progress bar.

    Returns
    -------
    TrainedRuns
        A model of each run, and the history; ``extract(runs, query)`` takes it whole.

    Raises
    ------
    NotFoundError
        If a key, layer or cell type is not there; the message lists what is.
    ValueError
        If a type has a single cell, cells have fewer neighbors than `n_neighbors`, expression
        holds NaN, an argument lies out of its range, or the checkpoint is of another training.
    ModuleNotFoundError
        If scvi-tools is not installed; the message says how to.

    Warns
    -----
    UserWarning
        If expression looks like raw counts, or the loss of a run became NaN.

    References
    ----------
    AMICI, doi:10.1101/2025.09.22.677860.

    Examples
    --------
    >>> import amici_xr
    >>> _, adata = amici_xr.demo()
    >>> runs = amici_xr.train(adata, "cell_type", n_runs=2, max_epochs=1, n_neighbors=10,
    ...                       n_heads=2, cell_hidden_size=16, progress=False)
    >>> ds = amici_xr.extract(runs, "T_cell", progress=False)
    >>> dict(ds.base_attention_score.sizes)
    {'run': 2, 'neighbor': 3349, 'head': 2}
    """
    given = dict(locals())
    keys = {name: given.pop(name) for name in KEYS}
    registered = register_tissue(adata, keys, n_neighbors, permute, split_seed)
    model = make_model(registered, given)
    model.train(**training_arguments(given))
    kept = registered if permute is not None else adata
    return dataclasses.replace(model.runs, adata=kept)


def register_tissue(
    adata: Any, keys: dict[str, Any], n_neighbors: int, permute: str | None, seed: int
) -> anndata.AnnData:
    """Return a tissue as an AnnData that `AttentionModel` takes; `adata` is not changed."""
    from amici_xr.training import preparation
    from amici_xr.training.quiet import quiet

    model_class = import_model_class()
    n_neighbors = check_positive_integer("n_neighbors", n_neighbors)
    tissue = read_tissue(adata, **keys)
    expression = preparation.read_expression(tissue)
    if permute is not None:
        tissue, expression = preparation.permute(tissue, expression, permute, seed)
    registered = _as_anndata(tissue, expression, keys)
    with quiet():
        model_class.setup_anndata(registered, n_neighbors=n_neighbors, **keys)
    return registered


def make_model(registered: anndata.AnnData, given: Mapping[str, Any]) -> AttentionModel:
    """Make the model of what `register_tissue` returned, with arguments of `train`."""
    return import_model_class()(registered, **{name: given[name] for name in _OF_MODEL})


def training_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `train` that the model's own ``train`` takes."""
    return {name: value for name, value in given.items() if name not in _NOT_OF_TRAINING}


def import_model_class() -> type[AttentionModel]:
    """Import the model class, and with it scvi-tools, which takes seconds."""
    from amici_xr.training.quiet import quiet

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scvi-tools' own imports warn
        require("scvi", "train", "training a model")
        from amici_xr.training.attention_model import AttentionModel
    return AttentionModel


KEYS = ("labels_key", "coord_key", "layer", "cell_radius_key", "sample_key")
_OF_MODEL = (
    "n_runs", "seed", "left_out", "n_heads", "head_size", "label_size", "query_size",
    "query_hidden_size", "cell_size", "cell_hidden_size", "key_size", "position_hidden_size",
    "attention_dummy_score", "distance_kernel_unit_scale", "pos_coef_offset",
)  # fmt: skip
_NOT_OF_TRAINING = {*_OF_MODEL, "adata", "n_neighbors", "permute"}


def _as_anndata(
    tissue: Tissue, expression: NDArray[np.float32], keys: dict[str, Any]
) -> anndata.AnnData:
    """Make an AnnData of a tissue, so that scvi-tools registers its fields in no one else's."""
    import anndata
    import pandas as pd

    labels = pd.Categorical(np.array(tissue.vocabulary)[tissue.codes], list(tissue.vocabulary))
    obs = pd.DataFrame({keys["labels_key"]: labels}, index=pd.Index(tissue.names.astype(str)))
    if tissue.radii is not None and keys["cell_radius_key"] is not None:
        obs[keys["cell_radius_key"]] = tissue.radii
    if tissue.samples is not None:
        obs[keys["sample_key"]] = pd.Categorical(tissue.samples)
    var = pd.DataFrame(index=pd.Index(tissue.expression.genes))
    layer = keys["layer"]
    return anndata.AnnData(
        X=expression if layer is None else None,
        obs=obs,
        var=var,
        obsm={keys["coord_key"]: tissue.positions},
        layers=None if layer is None else {layer: expression},
        uns=dict(tissue.unit_entries),
    )
