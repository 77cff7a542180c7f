"""Run Lightning's trainer over a training plan."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from scvi.train import Trainer

from amici_xr.errors import check_positive_number
from amici_xr.extraction.arguments import check_device
from amici_xr.io.paths import expand_home
from amici_xr.training.loading import PatchBatches, TissueDataModule
from amici_xr.training.network.batches import TrainingTissue
from amici_xr.training.network.runs_network import RunsNetwork
from amici_xr.training.outcome import Outcome
from amici_xr.training.plan import IS_DIVERGED, STATUSES, TrainingPlan
from amici_xr.training.preparation import fingerprint
from amici_xr.training.progress import CheckpointFile, ProgressBar, Record
from amici_xr.training.quiet import quiet
from amici_xr.training.settings import RunSettings, SharedSettings


def fit(
    network: RunsNetwork,
    tissue: TrainingTissue,
    runs: Sequence[RunSettings],
    shared: SharedSettings,
    *,
    n_labels: int,
    training: PatchBatches,
    held_out: PatchBatches | None,
    device: Any,
    checkpoint: str | os.PathLike[str] | None,
    checkpoint_seconds: float,
    progress: bool,
    trainer_arguments: dict[str, Any],
) -> Outcome:
    """Train the network, which is left with the best weights of each run, on the CPU."""
    plan = TrainingPlan(
        network, tissue, runs, shared, n_labels, has_validation=held_out is not None
    )
    callbacks = [Record(), *(trainer_arguments.pop("callbacks", None) or [])]
    if progress:
        callbacks.append(ProgressBar())
    resumed = None
    if checkpoint is not None:
        path = expand_home(checkpoint)
        seconds = check_positive_number("checkpoint_seconds", checkpoint_seconds)
        mark = fingerprint(
            tissue.expression.numpy(),
            None if tissue.target is None else tissue.target.numpy(),
            tissue.codes,
            tissue.index,
            tissue.distance,
            training.cells,
            runs,
            shared,
        )
        resumed = _check_checkpoint(path, mark)
        callbacks.append(CheckpointFile(path, seconds, mark))
    arguments = {
        **_device_arguments(device, trainer_arguments),
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "check_val_every_n_epoch": 1,
        "max_epochs": shared.max_epochs,
        **trainer_arguments,
    }
    with quiet():
        trainer = Trainer(callbacks=callbacks, **arguments)
        loaders = TissueDataModule(training, held_out)
        trainer.fit(plan, datamodule=loaders, ckpt_path=resumed, weights_only=True)
    network.to("cpu")
    diverged = [run for run, status in enumerate(plan.status) if status == IS_DIVERGED]
    if diverged:
        warnings.warn(
            f"the loss of the runs {diverged} became NaN or infinite; they keep the weights of "
            "their best epoch before; try a smaller learning_rate",
            UserWarning,
            stacklevel=4,
        )
    is_trained = (plan.status != IS_DIVERGED) | (plan.best_epoch >= 0)
    statuses = [STATUSES[status] for status in plan.status]
    return Outcome(plan.epochs, plan.best_epoch, plan.n_epochs, statuses, is_trained)


def _device_arguments(device: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Return accelerator and devices of Lightning; those that were given stand."""
    if given.keys() & {"accelerator", "devices"}:
        return {}
    checked = check_device(device)
    if checked.type == "cpu":
        return {"accelerator": "cpu", "devices": 1}
    kind = {"cuda": "gpu"}.get(checked.type, checked.type)
    return {"accelerator": kind, "devices": [checked.index or 0]}


def _check_checkpoint(path: Path, mark: str) -> Path | None:
    """Return the path of a checkpoint from which to go on, None where there is none yet."""
    if not path.exists():
        if not path.parent.is_dir():
            raise FileNotFoundError(
                f"checkpoint={os.fspath(path)!r}: there is no folder {path.parent}; make it first"
            )
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        is_same = found["fingerprint"] == mark
    except Exception as error:  # torch has an error of its own for each kind of file
        raise ValueError(
            f"checkpoint={os.fspath(path)!r} is damaged or not a checkpoint: {error}; delete it to "
            "train anew"
        ) from error
    if not is_same:
        raise ValueError(
            f"checkpoint={os.fspath(path)!r} is of another training, with other settings or "
            "another tissue; give another path, or delete it to train anew"
        )
    return path
