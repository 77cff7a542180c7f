"""Settings of a training: those of each run, which may differ, and those that all runs share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from amici_xr.errors import check_names, check_positive_integer, listed

Validation = Literal["blocks", "random"]
VALIDATIONS = ("blocks", "random")


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes that a user may choose; genes and cell types come from the tissue.

    Attributes
    ----------
    n_heads, head_size
        Number of attention heads, and size of the query, key and value of each.
    label_size
        Of the embedding of a cell type.
    query_size, query_hidden_size
        Of the query of each head before its projection, and of the hidden layer that makes it.
    cell_size, cell_hidden_size
        Of the embedding of a neighbor's expression, and of the hidden layer that makes it.
    key_size
        Of the key and value features of each head, and of the hidden layer that makes them.
    position_hidden_size
        Of the hidden layer that makes position coefficients.
    """

    n_heads: int = 8
    head_size: int = 16
    label_size: int = 32
    query_size: int = 64
    query_hidden_size: int = 512
    cell_size: int = 256
    cell_hidden_size: int = 1024
    key_size: int = 256
    position_hidden_size: int = 512

    @property
    def output_size(self) -> int:
        """Size of what the attention gives: all heads' queries, laid end to end."""
        return self.n_heads * self.head_size


@dataclass(frozen=True)
class RunSettings(NetworkSizes):
    """Settings of one training run; `train` documents each."""

    seed: int = 0
    left_out: str | None = None
    learning_rate: float = 1e-3
    attention_penalty: float = 1e-2
    value_l1_penalty: float = 1e-6
    neighbor_dropout: float = 0.1

    @property
    def sizes(self) -> NetworkSizes:
        """The sizes alone; runs that share them are computed together."""
        return NetworkSizes(**{name: getattr(self, name) for name in SIZES})


@dataclass(frozen=True)
class SharedSettings:
    """Settings that all runs of a training share; `train` documents each."""

    max_epochs: int = 400
    batch_size: int = 128
    attention_penalty_epochs: tuple[int, int] = (10, 40)
    learning_rate_decay: float = 0.1
    adam_epsilon: float = 0.01
    early_stopping_patience: int | None = 20
    validation: Validation | None = "blocks"
    validation_size: float = 0.1
    split_seed: int = 0
    attention_dummy_score: float = 3.0
    distance_kernel_unit_scale: float = 1.0
    pos_coef_offset: float = -2.0


SIZES = tuple(field.name for field in dataclasses.fields(NetworkSizes))
PER_RUN = tuple(field.name for field in dataclasses.fields(RunSettings))
# Least value of a number, whether it may be reached, and the same in words.
_RANGES: dict[str, tuple[float, bool, float, str]] = {
    "learning_rate": (0, False, math.inf, "a finite number above 0"),
    "attention_penalty": (0, True, math.inf, "a finite number from 0 on"),
    "value_l1_penalty": (0, True, math.inf, "a finite number from 0 on"),
    "neighbor_dropout": (0, True, 1, "a number from 0 on and below 1"),
    "distance_kernel_unit_scale": (0, False, math.inf, "a finite number above 0"),
    "attention_dummy_score": (-math.inf, False, math.inf, "a finite number"),
    "pos_coef_offset": (-math.inf, False, math.inf, "a finite number"),
    "learning_rate_decay": (0, False, 1 + 1e-12, "a number above 0, at most 1"),
    "adam_epsilon": (0, False, math.inf, "a finite number above 0"),
    "validation_size": (0, False, 1, "a number above 0 and below 1"),
}


def settings_of_runs(
    n_runs: int | None, given: Mapping[str, Any], labels: Sequence[str]
) -> tuple[RunSettings, ...]:
    """Return the settings of each run, from values for all runs and sequences, one for each.

    `n_runs` None takes the length of the sequences, or 1. A single seed is that of the first run;
    each further run has the next.
    """
    sequences = {name: list(value) for name, value in given.items() if is_sequence(value)}
    if n_runs is None:
        n_runs = len(next(iter(sequences.values()))) if sequences else 1
    n_runs = check_positive_integer("n_runs", n_runs)
    for name, values in sequences.items():
        if len(values) != n_runs:
            raise ValueError(
                f"{name} has {len(values)} values for n_runs={n_runs}; give one value, or one for "
                "each run"
            )
    runs = []
    for run in range(n_runs):
        of_run = {
            name: sequences[name][run] if name in sequences else value
            for name, value in given.items()
        }
        if "seed" in of_run and "seed" not in sequences:
            of_run["seed"] = check_run_seed(of_run["seed"]) + run
        runs.append(
            RunSettings(**{name: _check(name, value, labels) for name, value in of_run.items()})
        )
    return tuple(runs)


def shared_settings(given: Mapping[str, Any]) -> SharedSettings:
    """Return the settings that all runs share, each of which must be of its type and range."""
    values = dict(given)
    for name in ("max_epochs", "batch_size"):
        values[name] = check_positive_integer(name, values[name])
    if values["early_stopping_patience"] is not None:
        values["early_stopping_patience"] = check_positive_integer(
            "early_stopping_patience", values["early_stopping_patience"]
        )
    for name in values.keys() & _RANGES.keys():
        values[name] = _check_number(name, values[name])
    values["split_seed"] = check_run_seed(values["split_seed"], "split_seed")
    values["attention_penalty_epochs"] = _check_epochs(values["attention_penalty_epochs"])
    if values["validation"] not in (*VALIDATIONS, None):
        raise ValueError(
            f"validation={values['validation']!r} is not known; choose one of "
            f"{listed([*VALIDATIONS, None])}"
        )
    return SharedSettings(**values)


def is_sequence(value: Any) -> bool:
    """Tell whether an argument has a value for each run."""
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)


def _check(name: str, value: Any, labels: Sequence[str]) -> Any:
    if name == "seed":
        return check_run_seed(value)
    if name == "left_out":
        if value is not None:
            check_names("left_out", [value], labels, "cell type")
        return value
    return _check_number(name, value) if name in _RANGES else check_positive_integer(name, value)


def check_run_seed(value: Any, name: str = "seed") -> int:
    """Return a seed, an integer from 0 on."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**63:
        raise ValueError(f"{name}={value!r} must be an integer from 0 on")
    return int(value)


def _check_number(name: str, value: Any) -> float:
    least, is_reached, most, words = _RANGES[name]
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not (least < value < most or (is_reached and value == least)):
        raise ValueError(f"{name}={value!r} must be {words}")
    return float(value)


def _check_epochs(value: Any) -> tuple[int, int]:
    try:
        first, last = value
        is_valid = 0 <= first <= last and int(first) == first and int(last) == last
    except (TypeError, ValueError):
        is_valid = False
    if not is_valid:
        raise ValueError(
            f"attention_penalty_epochs={value!r} must be two whole numbers, the epoch at which the "
            "penalty begins and that at which it has its end value, e.g. (10, 40)"
        )
    return int(first), int(last)
