"""The history of a training as a Dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.kinds import KIND
from amici_xr.dataset.schema import provenance
from amici_xr.training.settings import PER_RUN, RunSettings, SharedSettings

_TERMS = (
    "loss", "reconstruction", "attention_entropy", "value_penalty", "attention_coefficient",
    "learning_rate",
)  # fmt: skip
_DESCRIPTIONS = {
    "loss": "mean over receivers of reconstruction + c·attention_entropy + v·value_penalty",
    "reconstruction": "½·Σ_genes (x − ŷ)², mean over training receivers",
    "attention_entropy": "entropy of the attention over neighbors and the dummy, mean over heads",
    "value_penalty": "Σ|V|, mean over neighbors and training receivers",
    "attention_coefficient": "coefficient c of the attention penalty",
    "learning_rate": "learning rate of Adam; it falls as the attention penalty rises",
    "validation_error": "½·Σ_genes (x − ŷ)², mean over held-out receivers",
    "explained_variance": "1 − Σ(x − ŷ)²/Σ(x − mean of the type)², held-out receivers of all types",
    "explained_variance_by_label": "explained_variance of each receiving cell type",
    "best_epoch": "epoch whose weights are kept; -1 where those of the last are",
    "status": "how the run ended: finished, stopped_early, or diverged (NaN loss)",
}


def history_dataset(
    epochs: Sequence[dict[str, Any]],
    runs: Sequence[RunSettings],
    shared: SharedSettings,
    labels: Sequence[str],
    *,
    best_epoch: NDArray[np.int64],
    status: Sequence[str],
    stopped: NDArray[np.int64],
    details: dict[str, Any],
) -> xr.Dataset:
    """Arrange what was measured in each epoch, with NaN after the end of a run.

    `stopped` is the number of epochs of each run.
    """
    variables: dict[str, Any] = {}
    n_runs, n_epochs = len(runs), len(epochs)
    is_over = np.arange(n_epochs) >= stopped[:, np.newaxis]

    def add(name: str, array: NDArray[np.float64], *dims: str) -> None:
        over = is_over.reshape(is_over.shape + (1,) * (array.ndim - 2))
        variables[name] = (("run", "epoch", *dims), np.where(over, np.nan, array))

    for name in _TERMS:
        array = np.array([epoch[name] for epoch in epochs]).reshape(n_epochs, n_runs).T
        add(name, array)
    if epochs and "squared_error" in epochs[0]:
        errors = np.array([epoch["squared_error"] for epoch in epochs]).swapaxes(0, 1)
        squares = np.array([epoch["squared_deviation"] for epoch in epochs])
        add("validation_error", np.array([epoch["validation_error"] for epoch in epochs]).T)
        add("explained_variance", 1 - errors.sum(axis=2) / squares.sum(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):  # a type of which no cell is held out
            add("explained_variance_by_label", 1 - errors / squares, "label")
    coords: dict[str, Any] = {
        "run": np.arange(n_runs),
        "epoch": np.arange(n_epochs),
        "label": np.array(labels, dtype=np.str_),
        "best_epoch": ("run", best_epoch),
        "status": ("run", np.array(status, dtype=np.str_)),
    }
    coords |= {name: ("run", values) for name, values in differing(runs).items()}
    ds = xr.Dataset(variables, coords)
    for name, text in _DESCRIPTIONS.items():
        if name in ds.variables:
            ds[name].attrs = {"long_name": name.replace("_", " "), "description": text}
    details = {
        "shared": dataclasses.asdict(shared),
        "runs": [*map(dataclasses.asdict, runs)],
    } | details
    attributes = provenance("training", training=details)
    return ds.assign_attrs(
        attributes | {"title": "History of a training", KIND: "training_history"}
    )


def differing(runs: Sequence[RunSettings]) -> dict[str, NDArray[Any]]:
    """Return the seed of each run, and every other setting in which runs differ."""
    columns: dict[str, NDArray[Any]] = {}
    for name in PER_RUN:
        values = [getattr(run, name) for run in runs]
        if name == "seed" or len(set(values)) > 1:
            column = "initial_learning_rate" if name == "learning_rate" else name
            columns[column] = np.array(["" if value is None else value for value in values])
    return columns
