"""Gains on cells that no model was trained to predict: each fold is predicted from the rest.

In each fold one training holds every model that is compared: with all senders, and without each.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.extraction.arguments import check_device
from amici_xr.io.atomic import replace_atomically
from amici_xr.kernels.groups import group_positions
from amici_xr.kernels.spatial.basis import SpatialBasis
from amici_xr.refits.gains import Gains, bases_of_types, gains_of_type, stack_types
from amici_xr.refits.smooth_variation import (
    SmoothVariation,
    describe_smooth_variation,
    surrounding_expression,
)
from amici_xr.tissue.cells import Tissue
from amici_xr.training.patches import patches
from amici_xr.training.pipeline import make_model, training_arguments
from amici_xr.training.preparation import fingerprint, read_expression

if TYPE_CHECKING:
    import anndata

    from amici_xr.training.attention_model import AttentionModel

Integers = NDArray[np.integer[Any]]
Neighborhoods = tuple[NDArray[np.intp], NDArray[np.float32]]  # index and distance, (cell, rank)

_NOT_MARKED = {"progress", "device", "checkpoint_seconds"}  # they change no number
_MARK = "fingerprint"
_PATCH_SIZE, _PATCHES_PER_FOLD = 128, 16


@dataclass(frozen=True)
class Members:
    """Models that are trained in each fold: of each seed one with all senders, one without each.

    Models of one seed share initial weights, batches and dropped neighbors, so that they differ by
    what the sender tells. Each fold has seeds of its own, so that what chance does to them is
    independent.

    Attributes
    ----------
    senders
        Cell types that are left out, one at a time.
    n_runs, n_folds
        Number of seeds in each fold, and of folds.
    first_seed
        The first of all.
    """

    senders: tuple[str, ...]
    n_runs: int
    n_folds: int
    first_seed: int

    @property
    def n_left_out(self) -> int:
        """Number of models of a seed."""
        return 1 + len(self.senders)

    @property
    def seeds(self) -> NDArray[np.int64]:
        """Seeds, (fold, run)."""
        count = np.arange(self.n_folds * self.n_runs)
        return self.first_seed + count.reshape(self.n_folds, self.n_runs)

    def arguments(self, fold: int) -> dict[str, Any]:
        """Return the arguments of `train` that make the models of a fold."""
        return {
            "n_runs": self.n_runs * self.n_left_out,
            "seed": np.repeat(self.seeds[fold], self.n_left_out).tolist(),
            "left_out": (None, *self.senders) * self.n_runs,
        }


@dataclass(frozen=True)
class SmoothScales:
    """Scales of the variation that is regressed out, in units of the coordinates.

    Attributes
    ----------
    wave_scale
        Half wavelength of the finest wave over the tissue.
    neighborhood_scales
        Standard deviations of the weights of mean expression of the neighborhood.
    """

    wave_scale: float
    neighborhood_scales: tuple[float, ...]


def assign_folds(tissue: Tissue, n_folds: int, seed: int) -> Integers:
    """Assign whole patches of the tissue to folds, at random: (cell,)."""
    assert tissue.positions is not None  # it was read with coordinates
    size = max(1, min(_PATCH_SIZE, tissue.n_cells // (_PATCHES_PER_FOLD * n_folds)))
    generator = np.random.default_rng([seed, 3])
    leaves = patches(
        tissue.positions, np.arange(tissue.n_cells), tissue.sample_codes, size, generator
    )
    if len(leaves) < n_folds:
        raise ValueError(
            f"n_folds={n_folds}, but the tissue makes {len(leaves)} patches; give fewer folds"
        )
    fold = np.empty(tissue.n_cells, np.intp)
    for number, patch in enumerate(generator.permutation(len(leaves))):
        fold[leaves[patch]] = number % n_folds
    return fold


def cross_fit(
    registered: anndata.AnnData,
    tissue: Tissue,
    neighborhoods: Neighborhoods,
    members: Members,
    fold: Integers,
    arguments: Mapping[str, Any],
    scales: SmoothScales | None,
    checkpoint: Path | None,
) -> tuple[Gains, dict[int, SpatialBasis]]:
    """Train in each fold on the cells of the others, and add up the gains of the fold's cells."""
    settings = sorted((name, value) for name, value in arguments.items() if name not in _NOT_MARKED)
    expression = read_expression(tissue)
    fingerprint_of_call = fingerprint(
        version("amici-xr"), expression, tissue.positions, tissue.codes, tissue.sample_codes,
        *neighborhoods, fold, members, settings, scales,
    )  # fmt: skip
    bases = bases_of_types(tissue)
    smooth = _smooth_variation(tissue, expression, neighborhoods, scales)
    total: Gains | None = None
    is_announced = not arguments["progress"]
    for number in range(members.n_folds):
        saved = None if checkpoint is None else checkpoint / f"fold_{number}.npz"
        gains = None if saved is None else _read(saved, fingerprint_of_call)
        if gains is None:
            given = {**arguments, **members.arguments(number), "train_mask": fold != number}
            if checkpoint is not None:
                given["checkpoint"] = checkpoint / f"fold_{number}.ckpt"
            model = make_model(registered, given)
            if not is_announced:
                _announce(model, members.n_folds - number, given)
                is_announced = True
            model.set_target(_without_smooth_variation(expression, tissue, smooth, fold != number))
            model.train(**training_arguments(given))
            gains = _gains_of_fold(model, members, bases, smooth, fold, number)
            if saved is not None:
                _write(saved, fingerprint_of_call, gains)
        total = gains if total is None else total + gains
    assert total is not None  # there is a fold
    return total, bases


def _smooth_variation(
    tissue: Tissue,
    expression: NDArray[np.float32],
    neighborhoods: Neighborhoods,
    scales: SmoothScales | None,
) -> dict[int, SmoothVariation]:
    """Describe the smooth variation of the cells of each type; without scales there is none."""
    if scales is None:
        return {}
    index, distance = neighborhoods
    near = surrounding_expression(
        expression, tissue.codes, index, distance, scales.neighborhood_scales
    )
    assert tissue.positions is not None  # it was read with coordinates
    samples = tissue.sample_codes
    described = {}
    for code, cells in group_positions(tissue.codes, len(tissue.vocabulary)):
        of_cells = None if samples is None else samples[cells]
        described[code] = describe_smooth_variation(
            tissue.positions[cells], of_cells, scales.wave_scale, near[:, cells]
        )
    return described


def _without_smooth_variation(
    expression: NDArray[np.float32],
    tissue: Tissue,
    smooth: Mapping[int, SmoothVariation],
    is_training: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Regress smooth variation out of expression, with coefficients of training cells alone."""
    target = expression.copy()
    for code, variation in smooth.items():
        cells = np.flatnonzero(tissue.codes == code)
        if is_training[cells].any():
            values = expression[cells].astype(np.float64)
            target[cells] = variation.remove(values, is_training[cells])
    return target


def _gains_of_fold(
    model: AttentionModel,
    members: Members,
    bases: Mapping[int, SpatialBasis],
    smooth: Mapping[int, SmoothVariation],
    fold: Integers,
    number: int,
) -> Gains:
    """Add up the gains of the cells of one fold, one type after the other."""
    by_type = {}
    is_diverged = model.history_["status"].values == "diverged"
    for code, basis in bases.items():
        of_type = np.flatnonzero(model.tissue.codes == code)
        is_held_out = fold[of_type] == number
        if not is_held_out.any():
            continue
        cells = of_type[is_held_out]

        def residuals(
            run: int, left_out: int, cells: NDArray[np.int64] = cells
        ) -> NDArray[np.float32]:
            position = run * members.n_left_out + left_out
            residual = model.module.network_of(position).residuals(model.trained_on, cells)
            return np.full_like(residual, np.nan) if is_diverged[position] else residual

        by_type[code] = gains_of_type(
            residuals,
            members.n_runs,
            len(members.senders),
            model.trained_on.deviations(cells).numpy(),
            smooth[code].of(is_held_out) if smooth else None,
            basis.cell_contrasts()[is_held_out],
            share=cells.size / of_type.size,
        )
    return stack_types(by_type, len(model.tissue.vocabulary), members.n_folds, number)


def _announce(model: AttentionModel, n_folds: int, given: Mapping[str, Any]) -> None:
    """Tell how long the remaining folds take on this CPU, before they begin."""
    if check_device(given["device"]).type != "cpu":
        return
    n_training_cells = int(given["train_mask"].sum())
    seconds = model.seconds_of_an_epoch(n_training_cells, given["batch_size"])
    seconds *= given["max_epochs"] * n_folds
    duration = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    words = f"{given['n_runs']} models in each of {n_folds} folds: about {duration} on this CPU"
    print(words, file=sys.stderr)


def _read(path: Path, fingerprint_of_call: str) -> Gains | None:
    """Return what an earlier call has written of the same fold, None where there is nothing."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            is_same = str(arrays[_MARK]) == fingerprint_of_call
            gains = Gains(**{name: arrays[name] for name in arrays if name != _MARK})
    except Exception as error:  # NumPy has an error of its own for each kind of damage
        raise ValueError(
            f"checkpoint: {str(path)!r} is damaged or not of this package ({error}); delete it to "
            "train this fold anew"
        ) from error
    if not is_same:
        raise ValueError(
            f"checkpoint: {str(path)!r} is of other refits, with other settings or another "
            "tissue; give another folder, or delete it to train anew"
        )
    return gains


def _write(path: Path, fingerprint_of_call: str, gains: Gains) -> None:
    arrays: dict[str, Any] = {_MARK: fingerprint_of_call, **gains.arrays}
    with replace_atomically(path) as beside, beside.open("wb") as file:
        np.savez(file, **arrays)
