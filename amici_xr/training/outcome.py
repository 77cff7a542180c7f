"""How a training ended, and the models and the history that it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from amici_xr.model.saved_model import DEFAULTS, ModelSettings
from amici_xr.tissue.cells import Tissue
from amici_xr.training.history import history_dataset
from amici_xr.training.runs import TrainedModel
from amici_xr.training.settings import RunSettings, SharedSettings


class Outcome(NamedTuple):
    """How a training ended.

    Attributes
    ----------
    epochs
        What was measured in each epoch.
    best_epoch, n_epochs
        Of each run: the epoch whose weights are kept, −1 for the last; how many it took part in.
    status
        "finished", "stopped_early" or "diverged", of each run.
    is_trained
        Whether the weights of each run are better than the initial ones.
    """

    epochs: list[dict[str, Any]]
    best_epoch: NDArray[np.int64]
    n_epochs: NDArray[np.int64]
    status: list[str]
    is_trained: NDArray[np.bool_]


def trained_models(
    outcome: Outcome,
    weights: Sequence[dict[str, Tensor]],
    shared: SharedSettings,
    tissue: Tissue,
    keys: Mapping[str, Any],
    *,
    training_cells: NDArray[np.intp],
) -> tuple[TrainedModel, ...]:
    """Make the model of each run from its weights; `keys` say where the AnnData has what."""
    settings = ModelSettings(
        labels_key=keys["labels_key"],
        n_neighbors=keys["n_neighbors"],
        coord_obsm_key=keys["coord_key"],
        layer=keys["layer"],
        cell_radius_key=keys["cell_radius_key"],
        nn_idx_key=DEFAULTS["nn_idx_key"],
        nn_dist_key=DEFAULTS["nn_dist_key"],
        attention_dummy_score=shared.attention_dummy_score,
        distance_kernel_unit_scale=shared.distance_kernel_unit_scale,
        pos_coef_offset=shared.pos_coef_offset,
    )
    is_held_out = np.ones(tissue.n_cells, bool)
    is_held_out[training_cells] = False
    return tuple(
        TrainedModel(
            of_run,
            settings,
            tissue.expression.genes,
            tissue.vocabulary,
            is_trained=bool(is_trained),
            is_held_out=is_held_out,
            n_dims=_n_dims(tissue),
        )
        for of_run, is_trained in zip(weights, outcome.is_trained, strict=True)
    )


def training_history(
    outcome: Outcome,
    runs: Sequence[RunSettings],
    shared: SharedSettings,
    tissue: Tissue,
    *,
    n_training_cells: int,
) -> xr.Dataset:
    """Arrange what was measured in each epoch, and how each run ended."""
    return history_dataset(
        outcome.epochs,
        runs,
        shared,
        tissue.vocabulary,
        best_epoch=outcome.best_epoch,
        status=outcome.status,
        stopped=outcome.n_epochs,
        details={"n_dims": _n_dims(tissue), "n_training_cells": n_training_cells},
    )


def _n_dims(tissue: Tissue) -> int:
    """Return the number of axes of the coordinates."""
    assert tissue.positions is not None  # it was trained on places
    return int(tissue.positions.shape[1])
