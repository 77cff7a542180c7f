"""The training of all runs as Lightning runs it: loss, schedule, early stopping, best weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amici_xr.training.network.batches import TrainingTissue
from amici_xr.training.network.runs_network import RunsNetwork
from amici_xr.training.network.stacked_network import StackedNetwork
from amici_xr.training.settings import RunSettings, SharedSettings

_FIRST_PENALTY = 1e-6  # with which the attention penalty begins to rise
_WEIGHT_DECAY = 1e-6
_AVERAGE_DECAY = 0.99  # of the averages of the weights, each step
TERMS = ("loss", "reconstruction", "attention_entropy", "value_penalty")
IS_TRAINING, IS_FINISHED, IS_STOPPED_EARLY, IS_DIVERGED = range(4)
_KEPT = ("status", "best_epoch", "best_error", "n_epochs")  # of each run, in a checkpoint
STATUSES = ("training", "finished", "stopped_early", "diverged")


class TrainingPlan(lightning.LightningModule):
    """Train all runs of a `RunsNetwork` on the patches of a tissue.

    Parameters
    ----------
    network
        What is trained.
    tissue
        Expression, types and neighborhoods of all cells.
    runs, shared
        The settings.
    """

    def __init__(
        self,
        network: RunsNetwork,
        tissue: TrainingTissue,
        runs: Sequence[RunSettings],
        shared: SharedSettings,
        n_labels: int,
        *,
        has_validation: bool,
    ) -> None:
        super().__init__()
        self.network, self.runs, self.shared = network, runs, shared
        self._has_validation = has_validation
        self._tissue, self._n_labels = tissue, n_labels
        n_runs = len(runs)
        self._dropout = torch.tensor([run.neighbor_dropout for run in runs])
        self._end_penalty = torch.tensor([run.attention_penalty for run in runs])
        self._value_penalty = torch.tensor([run.value_l1_penalty for run in runs])
        self._generators = [torch.Generator() for _ in runs]
        self.status = np.zeros(n_runs, np.int64)
        self.best_epoch = np.full(n_runs, -1)
        self.best_error = np.full(n_runs, np.inf)
        self.n_epochs = np.zeros(n_runs, np.int64)
        self._best: list[list[Tensor]] = []  # weights of the best epoch, by stack and weight
        self._averages: list[list[Tensor]] = []  # of the weights over the last steps
        self.epochs: list[dict[str, Any]] = []  # what was measured in each

    # Training

    def on_fit_start(self) -> None:
        """Bring the tissue to the device, and keep the first weights."""
        self._tissue = self._tissue.to(self.device)
        for name in ("_dropout", "_end_penalty", "_value_penalty"):
            setattr(self, name, getattr(self, name).to(self.device))
        for name in ("_best", "_averages"):
            if not getattr(self, name):
                setattr(self, name, [[p.detach().clone() for p in each] for each in self._weights])
            moved = [[w.to(self.device) for w in weights] for weights in getattr(self, name)]
            setattr(self, name, moved)

    def on_train_epoch_start(self) -> None:
        """Begin the sums of an epoch, and random numbers that depend on seed and epoch alone."""
        self.trainer.train_dataloader.dataset.set_epoch(self.current_epoch)  # type: ignore[union-attr]  # it trains
        for run, generator in zip(self.runs, self._generators, strict=True):
            state = np.random.SeedSequence([run.seed, self.current_epoch]).generate_state(2)
            generator.manual_seed(int(state[0]) << 31 ^ int(state[1]))
        share = self._learning_rate_share()
        optimizer: Any = self.optimizers()
        for group, rate in zip(optimizer.param_groups, self.network.learning_rates, strict=True):
            group["lr"] = rate * share
        self._sums = torch.zeros(len(TERMS), len(self.runs), device=self.device)
        self._n_trained = 0

    def training_step(self, receivers: NDArray[np.int64]) -> Tensor:
        """Return the sum of the losses of all runs; their gradients do not meet."""
        batch = self._tissue.batch(receivers)
        terms = self.network(batch, self._keep(batch.distance.shape))
        coefficient = self._attention_penalty()
        loss = (
            terms.reconstruction
            + coefficient * terms.attention_entropy
            + self._value_penalty * terms.value_penalty
        )
        with torch.no_grad():
            self._sums += len(receivers) * torch.stack([loss, *terms[:3]])
            self._n_trained += len(receivers)
        is_whole = loss.isfinite()
        return torch.where(is_whole, loss, 0.0).sum()

    @torch.no_grad()
    def on_train_batch_end(self, *_: Any) -> None:
        """Go on with the averages, which are what is validated and kept."""
        step = self.global_step
        share = max(1 - _AVERAGE_DECAY, 9 / (10 + step))
        for weights, averages in zip(self._weights, self._averages, strict=True):
            torch._foreach_lerp_(averages, weights, share)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam; runs of another learning rate are another group of parameters."""
        groups = [
            {"params": list(stack.parameters()), "lr": rate}
            for stack, rate in zip(self._stacks, self.network.learning_rates, strict=True)
        ]
        epsilon = self.shared.adam_epsilon
        return torch.optim.Adam(groups, weight_decay=_WEIGHT_DECAY, eps=epsilon, fused=True)

    # Validation

    def on_validation_epoch_start(self) -> None:
        """Begin the sums over held-out cells."""
        shape = (len(self.runs) + 1, self._n_labels)
        self._errors = torch.zeros(shape, device=self.device, dtype=torch.float64)
        self._n_validated = 0
        self._exchange()

    def on_validation_epoch_end(self) -> None:
        """Go on training from the weights themselves."""
        self._exchange()

    def validation_step(self, receivers: NDArray[np.int64]) -> None:
        """Add squared errors of held-out receivers, by type, and last their squared deviations."""
        batch = self._tissue.batch(receivers)
        terms = self.network(batch)
        squares = batch.deviation.square().sum(dim=1)
        each = torch.cat([terms.squared_error, squares[None]]).double()
        self._errors.index_add_(1, batch.type_code[batch.receiver_type], each)
        self._n_validated += len(receivers)

    def record_epoch(self) -> None:
        """Record the epoch, after its validation; keep the best weights of each run."""
        reduce = self.trainer.strategy.reduce
        n_trained = reduce(
            torch.tensor(float(self._n_trained), device=self.device), reduce_op="sum"
        )
        sums = reduce(self._sums, reduce_op="sum") / n_trained
        measured = dict(zip(TERMS, sums.double().cpu().numpy(), strict=True))
        measured["attention_coefficient"] = self._attention_penalty().double().cpu().numpy()
        rates = np.array([run.learning_rate for run in self.runs])
        measured["learning_rate"] = rates * self._learning_rate_share()
        is_diverged = ~np.isfinite(measured["loss"])
        if self._has_validation:
            n = reduce(torch.tensor(float(self._n_validated), device=self.device), reduce_op="sum")
            errors = reduce(self._errors, reduce_op="sum").cpu().numpy()
            measured["validation_error"] = errors[:-1].sum(axis=1) / 2 / float(n)
            measured["squared_error"], measured["squared_deviation"] = errors[:-1], errors[-1]
            is_diverged |= ~np.isfinite(measured["validation_error"])
        self.epochs.append(measured)
        self.n_epochs[self.status == IS_TRAINING] += 1
        self._judge(measured, is_diverged)
        self.log("loss", float(np.nanmean(_finite(measured["loss"]))))
        if self._has_validation:
            self.log("validation_error", float(np.nanmean(_finite(measured["validation_error"]))))
        if (self.status != IS_TRAINING).all():
            self.trainer.should_stop = True

    def on_fit_end(self) -> None:
        """Restore the best epoch of each run."""
        self.status[self.status == IS_TRAINING] = IS_FINISHED
        for run, status in enumerate(self.status):
            has_best = self.best_epoch[run] >= 0 or status == IS_DIVERGED
            self._copy(run, self._best if has_best else self._averages, self._weights)

    # A training that goes on

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is not among weights and optimizer."""
        checkpoint["runs"] = {
            "best": self._best,
            "averages": self._averages,
            **{name: torch.from_numpy(getattr(self, name)) for name in _KEPT},
            "epochs": [
                {name: torch.from_numpy(np.asarray(value)) for name, value in epoch.items()}
                for epoch in self.epochs
            ],
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Undo `on_save_checkpoint`."""
        state = checkpoint["runs"]
        self._best, self._averages = state["best"], state["averages"]
        for name in _KEPT:
            setattr(self, name, state[name].numpy())
        self.epochs = [
            {name: value.numpy() for name, value in epoch.items()} for epoch in state["epochs"]
        ]

    @torch.no_grad()
    def _exchange(self) -> None:
        """Exchange the weights and their averages."""
        for weights, averages in zip(self._weights, self._averages, strict=True):
            for number, (weight, average) in enumerate(zip(weights, averages, strict=True)):
                weight.data, averages[number] = average, weight.data

    @property
    def _weights(self) -> list[list[Tensor]]:
        return [list(stack.parameters()) for stack in self._stacks]

    @property
    def _stacks(self) -> list[StackedNetwork]:
        return list(self.network.stacks)  # type: ignore[arg-type]  # a ModuleList

    def _keep(self, shape: torch.Size) -> Tensor | None:
        """Draw which neighbors the softmax sees, each run from numbers of its own."""
        if not (self._dropout > 0).any():
            return None
        drawn = torch.stack([torch.rand(shape, generator=each) for each in self._generators])
        return drawn.to(self.device, non_blocking=True) >= self._dropout[:, None, None]

    def _attention_penalty(self) -> Tensor:
        """Return the coefficient of each run in this epoch."""
        first, last = self.shared.attention_penalty_epochs
        epoch = self.current_epoch
        if epoch < first:
            return torch.zeros_like(self._end_penalty)
        if epoch >= last:
            return self._end_penalty
        rise = (self._end_penalty - _FIRST_PENALTY).clamp_min(0) * (epoch - first) / (last - first)
        return torch.minimum(self._end_penalty, _FIRST_PENALTY + rise)

    def _learning_rate_share(self) -> float:
        """Return the share of the learning rate in this epoch: it falls as the penalty rises."""
        first, last = self.shared.attention_penalty_epochs
        left = self.shared.learning_rate_decay
        if self.current_epoch >= last:
            return left
        risen = max(0, self.current_epoch - first) / max(1, last - first)
        return left + (1 - left) * (1 + math.cos(math.pi * risen)) / 2

    def _judge(self, measured: dict[str, Any], is_diverged: NDArray[np.bool_]) -> None:
        """Keep weights that are the best so far; stop runs that diverge or no longer improve."""
        for run in np.flatnonzero(is_diverged & (self.status == IS_TRAINING)):
            self.status[run] = IS_DIVERGED
        if not self._has_validation:
            return
        # With a penalty that still rises, an epoch can't be compared with a later one.
        last = self.shared.attention_penalty_epochs[1]
        if self.current_epoch < last < self.shared.max_epochs:
            return
        error = measured["validation_error"]
        for run in np.flatnonzero(self.status == IS_TRAINING):
            if error[run] < self.best_error[run]:
                self.best_error[run], self.best_epoch[run] = error[run], self.current_epoch
                self._copy(int(run), self._averages, self._best)
            patience = self.shared.early_stopping_patience
            if patience is not None and self.current_epoch - self.best_epoch[run] >= patience:
                self.status[run] = IS_STOPPED_EARLY

    @torch.no_grad()
    def _copy(self, run: int, sources: list[list[Tensor]], targets: list[list[Tensor]]) -> None:
        """Copy a run's weights."""
        for members, source, target in zip(self.network.members, sources, targets, strict=True):
            for position in (members == run).nonzero().flatten().tolist():
                for taken, replaced in zip(source, target, strict=True):
                    replaced[position].copy_(taken[position])


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(values), values, math.nan)
