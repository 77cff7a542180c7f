"""Arguments of refits, checked: their own, and those that they pass on to training."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

from amici_xr.errors import check_positive_integer, listed
from amici_xr.io.paths import expand_home
from amici_xr.refits.cross_fitting import SmoothScales
from amici_xr.refits.smooth_variation import NEIGHBORHOOD_SCALES
from amici_xr.response.arguments import find_microns_per_unit
from amici_xr.tissue.cells import Tissue
from amici_xr.training.pipeline import KEYS, train
from amici_xr.training.settings import is_sequence

# A network with small layers learns what a neighbor tells as well, and costs a tenth.
SIZES = {
    "label_size": 16,
    "query_size": 32,
    "query_hidden_size": 64,
    "cell_size": 64,
    "cell_hidden_size": 128,
    "key_size": 64,
    "position_hidden_size": 64,
}
# All models train for the same number of epochs, with steps that find weak effects early.
_OF_REFITS: dict[str, Any] = {"validation": None, "adam_epsilon": 1e-3}
_LEAST_STEPS = 24  # of an epoch
OWNER = "refits"  # whose distances are in µm
FEWEST_RUNS = 2  # below, their spread is not known


def find_scales(
    smooth_scale: float | None, microns_per_unit: float | None, tissue: Tissue
) -> SmoothScales | None:
    """Return the scales of smooth variation in units of the coordinates, None for none."""
    if smooth_scale is None:
        return None
    factor, _ = find_microns_per_unit(microns_per_unit, tissue.unit_entries)
    return SmoothScales(
        smooth_scale / factor, tuple(scale / factor for scale in NEIGHBORHOOD_SCALES)
    )


def choose_batch_size(given: int | None, n_cells: int, n_folds: int) -> int:
    """Return the batch size; None takes one with which an epoch has steps enough."""
    if given is not None:
        return check_positive_integer("batch_size", given)
    n_training = n_cells * (n_folds - 1) // n_folds
    return min(128, max(16, n_training // _LEAST_STEPS))


OF_TRAINING = ("max_epochs", "batch_size", "split_seed", "device", "progress")
# Of `train`, what folds and runs set.
_SET_HERE = (
    *("adata", "n_neighbors", "n_runs", "seed", "left_out", "permute", "train_mask", "checkpoint"),
    *KEYS,
    *OF_TRAINING,
)


def check_further(given: dict[str, Any]) -> dict[str, Any]:
    """Return all further arguments of `train`; those that are not given have their defaults."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(train).parameters.items()
        if name not in _SET_HERE
    }
    defaults |= SIZES | _OF_REFITS
    for name, value in given.items():
        if name not in defaults:
            raise TypeError(
                f"leave_out_senders does not take {name!r}; of the arguments of train it takes "
                f"{listed(defaults)}"
            )
        if is_sequence(value) and name != "attention_penalty_epochs":
            raise ValueError(
                f"{name}={value!r} must be one value: all models that are compared share it"
            )
    del defaults["attention_penalty_epochs"]  # depends on max_epochs
    return defaults | given


def check_at_least(name: str, value: Any, least: int) -> None:
    """Refuse what is not a whole number from `least` on."""
    if check_positive_integer(name, value) < least:
        raise ValueError(f"{name}={value!r} must be at least {least}; leave it out for the default")


def make_folder(checkpoint: str | os.PathLike[str]) -> Path:
    """Return the folder of the checkpoint, which is made if it isn't there."""
    folder = expand_home(checkpoint)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(
            f"checkpoint={os.fspath(checkpoint)!r} is a file; give a folder, which is made if it "
            "isn't there"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder
