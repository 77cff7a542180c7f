"""AMICI's network as a model class of scvi-tools."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from amici_xr.model.saved_model import SavedModel
from amici_xr.training import preparation
from amici_xr.training.fitting import fit
from amici_xr.training.network.runs_network import RunsNetwork
from amici_xr.training.network.weights import initial_weights
from amici_xr.training.outcome import Outcome, trained_models, training_history
from amici_xr.training.runs import TrainedRuns, load_runs
from amici_xr.training.settings import (
    RunSettings,
    SharedSettings,
    Validation,
    settings_of_runs,
    shared_settings,
)
from amici_xr.training.tissue_model import TissueModel

if TYPE_CHECKING:
    import anndata

_VALIDATION_BATCH = 1024
_OF_OPTIMIZER = 1.4  # what a step takes over its forward and backward pass


class AttentionModel(TissueModel):
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

    def _finish(
        self,
        outcome: Outcome,
        runs: Sequence[RunSettings],
        shared: SharedSettings,
        cells: preparation.Split,
        profiles: Any,
    ) -> None:
        """Keep what was trained, as scvi-tools and as `TrainedRuns` have it."""
        profile = torch.from_numpy(profiles)
        weights = [
            {"ct_profiles": profile, **self.module.weights_of(run)} for run in range(len(runs))
        ]
        keys = self._keys()
        models = trained_models(
            outcome, weights, shared, self.tissue, keys, training_cells=cells.training
        )
        history = training_history(
            outcome, runs, shared, self.tissue, n_training_cells=int(cells.training.size)
        )
        self._runs = TrainedRuns(models, history, self.adata, keys["sample_key"])
        self.history_ = history
        self.is_trained_ = True
        self.train_indices_, self.validation_indices_ = cells.training, cells.validation
        self.module.eval()
