"""What happens at the end of each epoch: a record, a progress bar, a checkpoint."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import lightning
import numpy as np

from amici_xr.dependencies import require


class Record(lightning.Callback):
    """Record each epoch before any other callback sees its end."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, plan: Any) -> None:
        """Let the plan measure and judge the epoch."""
        plan.record_epoch()


class ProgressBar(lightning.Callback):
    """One line: epoch, loss, held-out explained variance (means over runs), and the time left."""

    def on_train_start(self, trainer: lightning.Trainer, plan: Any) -> None:
        """Show the bar, at the epoch at which the training goes on."""
        tqdm = require("tqdm", "train", "showing progress (progress=False goes without)").tqdm
        self._bar = tqdm(
            total=trainer.max_epochs, initial=trainer.current_epoch, desc="training", unit="epoch"
        )

    def on_train_epoch_end(self, trainer: lightning.Trainer, plan: Any) -> None:
        """Go on by one epoch."""
        measured = plan.epochs[-1]
        shown = {"loss": f"{np.nanmean(measured['loss']):.4g}"}
        if "squared_error" in measured:
            explained = (
                1 - measured["squared_error"].sum(axis=1) / measured["squared_deviation"].sum()
            )
            shown["held-out explained variance"] = f"{np.nanmean(explained):.3f}"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()

    def on_train_end(self, trainer: lightning.Trainer, plan: Any) -> None:
        """Leave the last state on the screen."""
        self._bar.close()


class CheckpointFile(lightning.Callback):
    """Write all that a killed training needs to go on, at most every so many seconds.

    Parameters
    ----------
    path
        File that is replaced each time, whole or not at all.
    seconds
        Least time from one checkpoint to the next.
    fingerprint
        Says of which training it is.
    """

    def __init__(self, path: Path, seconds: float, fingerprint: str) -> None:
        self._path, self._seconds, self._fingerprint = path, seconds, fingerprint
        self._last = time.monotonic()

    def on_save_checkpoint(self, trainer: Any, plan: Any, checkpoint: dict[str, Any]) -> None:
        """Add the fingerprint."""
        checkpoint["fingerprint"] = self._fingerprint

    def on_train_epoch_end(self, trainer: lightning.Trainer, plan: Any) -> None:
        """Write a checkpoint where it is time."""
        if time.monotonic() - self._last < self._seconds:
            return
        beside = self._path.with_name(f".{self._path.name}.partial")
        trainer.save_checkpoint(beside)
        os.replace(beside, self._path)
        self._last = time.monotonic()
