"""AMICI's network as a model class of scvi-tools."""

from __future__ import annotations

import inspect
import math
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager
from scvi.data.fields import CategoricalObsField, LayerField, NumericalObsField, ObsmField
from scvi.model.base import BaseModelClass

from amici_xr.errors import check_positive_integer
from amici_xr.model.saved_model import DEFAULTS, ModelSettings, SavedModel
from amici_xr.tissue.cells import read_tissue
from amici_xr.training import preparation
from amici_xr.training.batches import TrainingTissue
from amici_xr.training.fitting import Outcome, fit
from amici_xr.training.history import history_dataset
from amici_xr.training.initial_weights import initial_weights
from amici_xr.training.loading import PatchBatches
from amici_xr.training.plan import RunsNetwork
from amici_xr.training.quiet import quiet
from amici_xr.training.runs import TrainedModel, TrainedRuns, load_runs
from amici_xr.training.settings import (
    RunSettings,
    SharedSettings,
    Validation,
    settings_of_runs,
    shared_settings,
)

if TYPE_CHECKING:
    import anndata

_VALIDATION_BATCH = 1024
_OF_OPTIMIZER = 1.4  # what a step takes over its forward and backward pass
Many = Sequence[Any]


class AttentionModel(BaseModelClass):  # type: ignore[misc]  # scvi-tools has no types
    """AMICI's attention network, several runs at once, as a model of scvi-tools.

    ``train`` of this package is a function over this class, and says more of each argument.

    Parameters
    ----------
    adata
        An AnnData that `setup_anndata` has registered.
    n_runs
        Number of models to train; None takes the length of the sequences among the arguments, or 1.
    seed
        Of the first run; each further run has the next. Or one for each run.
    left_out
        Cell type that no receiver sees as a neighbor, or one (or None) for each run.
    attention_dummy_score, distance_kernel_unit_scale, pos_coef_offset
        δ, u, and what is added to position coefficients before the softplus.
    **sizes
        Sizes of the network's layers, as for `train`: ``n_heads``, ``head_size``, ``label_size``,
        ``query_size``, ``query_hidden_size``, ``cell_size``, ``cell_hidden_size``, ``key_size``,
        ``position_hidden_size``.

    Examples
    --------
    >>> import amici_xr
    >>> _, adata = amici_xr.demo()
    >>> amici_xr.AttentionModel.setup_anndata(adata, labels_key="cell_type", n_neighbors=10)
    >>> model = amici_xr.AttentionModel(adata, n_heads=2, cell_hidden_size=16)
    >>> model.train(max_epochs=1, progress=False)
    >>> ds = amici_xr.extract(model, "T_cell", progress=False)
    """

    def __init__(
        self,
        adata: anndata.AnnData,
        *,
        n_runs: int | None = None,
        seed: int | Sequence[int] = 0,
        left_out: str | Sequence[str | None] | None = None,
        attention_dummy_score: float = 3.0,
        distance_kernel_unit_scale: float = 1.0,
        pos_coef_offset: float = -2.0,
        **sizes: int | Sequence[int],
    ) -> None:
        super().__init__(adata)
        keys = self._keys()
        n_neighbors = keys.pop("n_neighbors")
        self.tissue = read_tissue(adata, **keys)
        preparation.check_types(self.tissue)
        self._expression = preparation.read_expression(self.tissue)
        preparation.check_expression(self._expression, self.tissue.expression.genes)
        self._index, self._distance = preparation.find_neighborhoods(self.tissue, n_neighbors)
        self._target: NDArray[np.float32] | None = None
        labels = self.tissue.vocabulary
        self._of_runs = {"seed": seed, "left_out": left_out, **sizes}
        self._of_network: dict[str, Any] = {
            "attention_dummy_score": attention_dummy_score,
            "distance_kernel_unit_scale": distance_kernel_unit_scale,
            "pos_coef_offset": pos_coef_offset,
        }
        self._n_runs = n_runs
        runs = settings_of_runs(n_runs, self._of_runs, labels)
        self.module = self._network(runs, SharedSettings(**self._of_network))
        self._model_summary_string = f"AttentionModel of {len(runs)} runs"
        self._runs: TrainedRuns | None = None
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    def setup_anndata(
        cls,
        adata: anndata.AnnData,
        labels_key: str,
        coord_key: str = "spatial",
        layer: str | None = None,
        n_neighbors: int = 50,
        cell_radius_key: str | None = None,
        sample_key: str | None = None,
    ) -> None:
        """Register where an AnnData holds what the model needs.

        Parameters
        ----------
        adata
            The tissue.
        labels_key
            Column of ``obs`` with the cell types.
        coord_key
            Entry of ``obsm`` with the coordinates.
        layer
            Layer of log-normalized expression; None for ``X``.
        n_neighbors
            K, the number of cells of other types in a neighborhood.
        cell_radius_key
            Column of ``obs`` with the radius of each cell; distances are then from surface to
            surface.
        sample_key
            Column of ``obs`` with the sample of each cell; no neighborhood crosses samples.
        """
        check_positive_integer("n_neighbors", n_neighbors)
        for key, table in ((labels_key, "obs"), (coord_key, "obsm")):
            if key not in getattr(adata, table):
                read_tissue(adata, labels_key=labels_key, coord_key=coord_key)  # says what it has
        arguments = cls._get_setup_method_args(**locals())
        fields = [
            LayerField(REGISTRY_KEYS.X_KEY, layer, is_count_data=False),
            CategoricalObsField(REGISTRY_KEYS.LABELS_KEY, labels_key),
            ObsmField("coordinates", coord_key),
        ]
        if cell_radius_key is not None:
            fields.append(NumericalObsField("cell_radius", cell_radius_key))
        if sample_key is not None:
            fields.append(CategoricalObsField("sample", sample_key))
        manager = AnnDataManager(fields=fields, setup_method_args=arguments)
        with quiet():
            manager.register_fields(adata)
        cls.register_manager(manager)

    def train(
        self,
        max_epochs: int = 400,
        *,
        batch_size: int = 128,
        learning_rate: float | Sequence[float] = 1e-3,
        learning_rate_decay: float = 0.1,
        adam_epsilon: float = 0.01,
        attention_penalty: float | Sequence[float] = 1e-2,
        attention_penalty_epochs: tuple[int, int] = (10, 40),
        value_l1_penalty: float | Sequence[float] = 1e-6,
        neighbor_dropout: float | Sequence[float] = 0.1,
        early_stopping_patience: int | None = 20,
        validation: Validation | None = "blocks",
        validation_size: float = 0.1,
        train_mask: ArrayLike | None = None,
        split_seed: int = 0,
        device: str | torch.device | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_seconds: float = 60.0,
        progress: bool = True,
        **trainer_arguments: Any,
    ) -> None:
        """Train all runs.

        Parameters
        ----------
        max_epochs, batch_size, learning_rate, learning_rate_decay, adam_epsilon
            As for the function `train`.
        attention_penalty, attention_penalty_epochs, value_l1_penalty
            As for the function `train`.
        neighbor_dropout, early_stopping_patience
            As for the function `train`.
        validation, validation_size, train_mask, split_seed, device
            As for the function `train`.
        checkpoint, checkpoint_seconds, progress
            As for the function `train`.
        **trainer_arguments
            Passed on to Lightning's ``Trainer``, e.g. ``callbacks``, ``logger``, ``precision``,
            ``strategy``, ``accelerator`` and ``devices``.
        """
        if self.is_trained:
            raise ValueError("this model is trained; make a new AttentionModel to train again")
        labels = self.tissue.vocabulary
        of_training = {
            "learning_rate": learning_rate,
            "attention_penalty": attention_penalty,
            "value_l1_penalty": value_l1_penalty,
            "neighbor_dropout": neighbor_dropout,
        }
        n_runs: int | None = self.module.n_runs
        if self._n_runs is None and n_runs == 1:
            n_runs = None
        runs = settings_of_runs(n_runs, self._of_runs | of_training, labels)
        shared = shared_settings(
            {
                "max_epochs": max_epochs,
                "batch_size": batch_size,
                "attention_penalty_epochs": attention_penalty_epochs,
                "learning_rate_decay": learning_rate_decay,
                "adam_epsilon": adam_epsilon,
                "early_stopping_patience": early_stopping_patience,
                "validation": validation,
                "validation_size": validation_size,
                "split_seed": split_seed,
                **self._of_network,
            }
        )
        self.module = self._network(runs, shared)  # of each learning rate by itself
        cells = preparation.split(self.tissue, train_mask, shared)
        target = self._expression if self._target is None else self._target
        profiles = preparation.mean_profiles(target, self.tissue, cells.training)
        tissue = self._training_tissue(torch.from_numpy(profiles))
        outcome = fit(
            self.module,
            tissue,
            runs,
            shared,
            n_labels=len(labels),
            training=self._batches(cells.training, batch_size, split_seed),
            held_out=self._batches(cells.validation, _VALIDATION_BATCH, split_seed)
            if cells.validation.size
            else None,
            device=device,
            checkpoint=checkpoint,
            checkpoint_seconds=checkpoint_seconds,
            progress=progress,
            trainer_arguments=trainer_arguments,
        )
        self.trained_on = tissue
        self._finish(outcome, runs, shared, cells, profiles)

    def set_target(self, values: NDArray[np.float32]) -> None:
        """Predict other values of the cells than their expression, which stays what is seen.

        Parameters
        ----------
        values
            What a regression has left of the expression, say, (cell, gene).
        """
        self._target = values

    def seconds_of_an_epoch(self, n_training_cells: int, batch_size: int) -> float:
        """Estimate how long an epoch of all runs takes on this machine's CPU, from a few batches.

        Parameters
        ----------
        n_training_cells
            Number of cells that are trained on.
        batch_size
            Receivers of a batch.

        Returns
        -------
        float
            Seconds.
        """
        genes = torch.zeros(len(self.tissue.vocabulary), self._expression.shape[1])
        tissue = self._training_tissue(genes)
        batches = self._batches(np.arange(self.tissue.n_cells), batch_size, seed=0)
        seconds = math.inf
        for number in range(min(3, len(batches))):  # the first one is slow
            start = time.perf_counter()
            batch = tissue.batch(batches[number])
            self.module(batch).reconstruction.sum().backward()
            duration = (time.perf_counter() - start) / len(batches[number])
            seconds = min(seconds, duration)
        self.module.zero_grad()
        return _OF_OPTIMIZER * seconds * n_training_cells

    @property
    def runs(self) -> TrainedRuns:
        """Trained runs, with their models and history, which `extract` takes."""
        if self._runs is None:
            raise ValueError("this model is not trained; call its train() first")
        return self._runs

    @property
    def models(self) -> tuple[SavedModel, ...]:
        """The model of each run."""
        return self.runs.models

    def extract(
        self, query: str | Sequence[str] | None = None, adata: Any = None, **arguments: Any
    ) -> Any:
        """Extract the Dataset of all runs, as ``extract(model, query)``."""
        return self.runs.extract(query, adata, **arguments)

    def save(self, dir_path: str | os.PathLike[str], **_: Any) -> None:
        """Write a folder with all runs, as `TrainedRuns.save`; a single run as AMICI saves it.

        Parameters
        ----------
        dir_path
            The folder.
        """
        if len(self.models) == 1:
            self.models[0].save(dir_path)
        else:
            self.runs.save(dir_path)

    @classmethod
    def load(cls, dir_path: str | os.PathLike[str], adata: Any = None, **_: Any) -> Any:
        """Read what `save` wrote, without running anything that it holds.

        Parameters
        ----------
        dir_path
            The folder.
        adata
            The tissue.

        Returns
        -------
        TrainedRuns
            The models, which `extract` takes; those of a single run have no history.
        """
        return load_runs(dir_path, adata)

    def _network(self, runs: Sequence[RunSettings], shared: SharedSettings) -> RunsNetwork:
        """Make the network with the initial weights of each run."""
        n_genes, labels = self._expression.shape[1], self.tissue.vocabulary
        weights = [initial_weights(run.sizes, n_genes, len(labels), run.seed) for run in runs]
        return RunsNetwork(runs, shared, labels, weights)

    def _training_tissue(self, profiles: torch.Tensor) -> TrainingTissue:
        return TrainingTissue(
            torch.from_numpy(self._expression),
            profiles,
            self.tissue.codes,
            self._index,
            self._distance,
            None if self._target is None else torch.from_numpy(self._target),
        )

    def _batches(self, cells: Any, batch_size: int, seed: int) -> PatchBatches:
        positions = self.tissue.positions
        assert positions is not None  # it was read with coordinates
        return PatchBatches(positions, self.tissue.sample_codes, cells, batch_size, seed)

    def _keys(self) -> dict[str, Any]:
        """Where the AnnData holds what the model needs, as `setup_anndata` was told."""
        arguments = dict(self.adata_manager.registry["setup_args"])
        return {
            name: arguments[name]
            for name in inspect.signature(self.setup_anndata).parameters
            if name != "adata"
        }

    def _finish(
        self,
        outcome: Outcome,
        runs: Sequence[RunSettings],
        shared: SharedSettings,
        cells: preparation.Split,
        profiles: Any,
    ) -> None:
        """Keep what was trained, as scvi-tools and as `TrainedRuns` have it."""
        keys = self._keys()
        settings = ModelSettings(
            labels_key=keys["labels_key"],
            n_neighbors=keys["n_neighbors"],
            coord_obsm_key=keys["coord_key"],
            layer=keys["layer"],
            cell_radius_key=keys["cell_radius_key"],
            nn_idx_key=DEFAULTS["nn_idx_key"],
            nn_dist_key=DEFAULTS["nn_dist_key"],
            **{name: getattr(shared, name) for name in self._of_network},
        )
        is_held_out = np.ones(self.tissue.n_cells, bool)
        is_held_out[cells.training] = False
        positions = self.tissue.positions
        assert positions is not None  # it was trained on places
        models = tuple(
            TrainedModel(
                {"ct_profiles": torch.from_numpy(profiles), **self.module.weights_of(run)},
                settings,
                self.tissue.expression.genes,
                self.tissue.vocabulary,
                is_trained=bool(outcome.is_trained[run]),
                is_held_out=is_held_out,
                n_dims=positions.shape[1],
            )
            for run in range(len(runs))
        )
        history = history_dataset(
            outcome.epochs,
            runs,
            shared,
            self.tissue.vocabulary,
            best_epoch=outcome.best_epoch,
            status=outcome.status,
            stopped=outcome.n_epochs,
            details={"n_dims": positions.shape[1], "n_training_cells": int(cells.training.size)},
        )
        self._runs = TrainedRuns(models, history, self.adata, keys["sample_key"])
        self.history_ = history
        self.is_trained_ = True
        self.train_indices_, self.validation_indices_ = cells.training, cells.validation
        self.module.eval()
