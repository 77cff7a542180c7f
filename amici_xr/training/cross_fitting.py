"""Gains on cells that no model saw: the tissue in folds, each predicted from the rest.

In each fold one training holds every model that is compared: with all senders, and without each.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.io.atomic import replace_atomically
from amici_xr.kernels.spatial_inference import SpatialBasis
from amici_xr.tissue.cells import Tissue
from amici_xr.training.patches import patches
from amici_xr.training.pipeline import make_model, training_arguments
from amici_xr.training.preparation import fingerprint, read_expression
from amici_xr.training.refit_gains import Gains, bases_of_types, gains_of_type, stack_types
from amici_xr.training.smooth_variation import (
    SmoothVariation,
    describe_smooth_variation,
    surrounding_expression,
)

if TYPE_CHECKING:
    import anndata

    from amici_xr.training.attention_model import AttentionModel

Integers = NDArray[np.intp]

_NOT_IN_MARK = {"progress", "device", "checkpoint_seconds"}
_PATCH_SIZE, _PATCHES_PER_FOLD = 128, 16


@dataclass(frozen=True)
class Members:
    """Models that are trained in each fold: of each seed one with all senders, one without each.

    Models of one seed share initial weights, batches and dropped neighbors, so that they differ by
    what the sender tells.

    Attributes
    ----------
    senders
        Cell types that are left out, one at a time.
    seeds
        Seed of each run.
    """

    senders: tuple[str, ...]
    seeds: tuple[int, ...]

    @property
    def left_out(self) -> tuple[str | None, ...]:
        """Sender that each model of a seed does not see; None for the first."""
        return (None, *self.senders)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `train` that make these models."""
        return {
            "n_runs": len(self.seeds) * len(self.left_out),
            "seed": np.repeat(self.seeds, len(self.left_out)).tolist(),
            "left_out": self.left_out * len(self.seeds),
        }


@dataclass(frozen=True)
class Removed:
    """Scales of what is taken out of the residuals, in units of the coordinates.

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
    members: Members,
    fold: Integers,
    arguments: Mapping[str, Any],
    removed: Removed | None,
    checkpoint: Path | None,
) -> tuple[Gains, dict[int, SpatialBasis]]:
    """Train in each fold on the cells of the others, and add up the gains of the fold's cells."""
    n_folds = int(fold.max()) + 1
    given = {**arguments, **members.arguments}
    settings = sorted((name, value) for name, value in given.items() if name not in _NOT_IN_MARK)
    expression = read_expression(tissue)
    mark = fingerprint(expression, tissue.positions, tissue.codes, fold, settings, removed)
    bases = bases_of_types(tissue)
    parts = []
    for number in range(n_folds):
        saved = None if checkpoint is None else checkpoint / f"fold_{number}.npz"
        found = None if saved is None else _read(saved, mark)
        if found is None:
            model = make_model(registered, given)
            own: dict[str, Any] = {"train_mask": fold != number}
            if number == 0 and given["progress"]:
                _announce(model, n_folds, int(own["train_mask"].sum()), given)
            if checkpoint is not None:
                own["checkpoint"] = checkpoint / f"fold_{number}.ckpt"
            model.train(**training_arguments({**given, **own}))
            found = _gains_of_fold(model, members, bases, fold, number, expression, removed)
            if saved is not None:
                _write(saved, mark, found)
        parts.append(found)
    return reduce(add, parts), bases


def _gains_of_fold(
    model: AttentionModel,
    members: Members,
    bases: Mapping[int, SpatialBasis],
    fold: Integers,
    number: int,
    expression: NDArray[np.float32],
    removed: Removed | None,
) -> Gains:
    """Add up the gains of the cells of one fold, one type after the other."""
    n_left_out = len(members.left_out)
    by_type = {}
    for code, basis in bases.items():
        own = np.flatnonzero(model.tissue.codes == code)
        is_held_out = fold[own] == number
        if not is_held_out.any():
            continue
        cells = own[is_held_out]

        def residuals(run: int, left_out: int, cells: Integers = cells) -> NDArray[np.float32]:
            return model.residuals(run * n_left_out + left_out, cells)

        by_type[code] = gains_of_type(
            residuals,
            len(members.seeds),
            n_left_out - 1,
            model.deviations(cells),
            None if removed is None else _smooth_variation(model, expression, cells, removed),
            basis.cell_contrasts()[is_held_out],
            share=cells.size / own.size,
        )
    return stack_types(by_type, len(model.tissue.vocabulary), int(fold.max()) + 1, number)


def _smooth_variation(
    model: AttentionModel, expression: NDArray[np.float32], cells: Integers, removed: Removed
) -> SmoothVariation:
    tissue, (index, distance) = model.tissue, model.neighborhoods
    assert tissue.positions is not None  # it was trained on places
    near = surrounding_expression(
        expression, tissue.codes, index[cells], distance[cells], removed.neighborhood_scales
    )
    samples = None if tissue.sample_codes is None else tissue.sample_codes[cells]
    return describe_smooth_variation(tissue.positions[cells], samples, removed.wave_scale, near)


def _announce(
    model: AttentionModel, n_folds: int, n_training_cells: int, given: Mapping[str, Any]
) -> None:
    """Tell how long the refits take, before they begin."""
    seconds = model.seconds_of_an_epoch(n_training_cells, given["batch_size"])
    seconds *= given["max_epochs"] * n_folds
    duration = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    words = f"{given['n_runs']} models in each of {n_folds} folds: about {duration} on this CPU"
    print(words, file=sys.stderr)


def _read(path: Path, mark: str) -> Gains | None:
    """Return what an earlier call has written of the same fold, None where there is nothing."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            is_same = str(arrays["mark"]) == mark
            found = Gains(**{name: arrays[name] for name in arrays if name != "mark"})
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
    return found


def _write(path: Path, mark: str, gains: Gains) -> None:
    with replace_atomically(path) as beside, beside.open("wb") as file:
        np.savez(file, mark=mark, **gains.arrays)  # type: ignore[arg-type]  # its other argument
