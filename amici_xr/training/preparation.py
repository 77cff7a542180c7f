"""Prepare a tissue for training: check it, break its links on purpose, split it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amici_xr.errors import check_choice, listed
from amici_xr.kernels.groups import group_positions
from amici_xr.kernels.nearest_cells import nearest_of_other_types
from amici_xr.tissue.cells import Tissue
from amici_xr.tissue.expression import genes_not_finite, looks_like_counts
from amici_xr.training.patches import hold_out
from amici_xr.training.settings import SharedSettings

Integers = NDArray[np.intp]
PERMUTATIONS = ("labels", "positions", "expression")
_BATCH = 4096


@dataclass(frozen=True)
class Split:
    """Positions of the cells that are trained on, and of those by which early stopping judges."""

    training: Integers
    validation: Integers


def read_expression(tissue: Tissue) -> NDArray[np.float32]:
    """Return the expression of all cells, (cell, gene)."""
    values = np.empty((tissue.n_cells, len(tissue.expression.genes)), dtype=np.float32)
    start = 0
    for batch in tissue.expression.batches(np.arange(tissue.n_cells), _BATCH):
        values[start : start + len(batch)] = batch
        start += len(batch)
    return values


def check_expression(values: NDArray[np.float32], genes: Sequence[str]) -> None:
    """Refuse expression with NaN, and warn of raw counts."""
    names = genes_not_finite(values, genes)
    if names:
        raise ValueError(
            f"adata: the expression of {listed(names, 5)} holds NaN or infinite values; fill them, "
            "or leave these genes out, adata[:, genes]"
        )
    if looks_like_counts(values):
        warnings.warn(
            f"the expression holds integers up to {values.max():g}, which look like raw counts; "
            "the loss takes squared differences, so train on log-normalized expression, e.g. "
            "sc.pp.normalize_total and sc.pp.log1p, or name its layer",
            UserWarning,
            stacklevel=2,
        )


def permute(tissue: Tissue, expression: NDArray[np.float32], kind: str, seed: int) -> tuple[
    Tissue, NDArray[np.float32]
]:  # fmt: skip
    """Break the link of cells and places within samples, so that nothing is left to learn.

    "labels" exchanges the cell types of cells; "positions" their places, with the radii of cells
    staying theirs; "expression" the expression of cells of one type.
    """
    check_choice("permute", kind, PERMUTATIONS)
    generator = np.random.default_rng([seed, 2])
    samples = tissue.sample_codes
    groups = np.zeros(tissue.n_cells, np.intp) if samples is None else samples
    if kind == "expression":
        groups = groups * len(tissue.vocabulary) + tissue.codes
    order = np.arange(tissue.n_cells)
    for _, members in group_positions(groups, int(groups.max()) + 1):
        order[members] = generator.permutation(members)
    if kind == "labels":
        return replace(tissue, codes=tissue.codes[order]), expression
    if kind == "positions":
        assert tissue.positions is not None  # training reads a tissue with coordinates
        return replace(tissue, positions=tissue.positions[order]), expression
    return tissue, expression[order]


def check_types(tissue: Tissue) -> None:
    """Refuse a cell type with a single cell, whose mean is that cell."""
    sizes = np.bincount(tissue.codes, minlength=len(tissue.vocabulary))
    single = [name for name, size in zip(tissue.vocabulary, sizes, strict=True) if size == 1]
    if single:
        raise ValueError(
            f"adata has one single cell of type {listed(single)}, from which nothing can be "
            "learned; drop it, or merge the type with another"
        )


def find_neighborhoods(tissue: Tissue, n_neighbors: int) -> tuple[Integers, NDArray[np.float32]]:
    """Return the K nearest cells of other types of every cell, and their distances."""
    assert tissue.positions is not None  # training reads a tissue with coordinates
    every_type = list(range(len(tissue.vocabulary)))
    samples = tissue.sample_codes
    found = nearest_of_other_types(
        tissue.positions, tissue.codes, every_type, n_neighbors, tissue.radii, samples
    )
    n_found = (found.index >= 0).sum(axis=1)
    fewest = int(n_found.argmin())
    if n_found[fewest] < n_neighbors:
        where = "" if tissue.samples is None else f" in sample {str(tissue.samples[fewest])!r}"
        label = tissue.vocabulary[tissue.codes[fewest]]
        raise ValueError(
            f"n_neighbors={n_neighbors}, but cells of type {label!r} have only {n_found[fewest]} "
            f"cells of other types{where}; give a smaller n_neighbors"
            + (", or leave the sample out" if where else "")
        )
    return found.index, found.distance.astype(np.float32)


def split(tissue: Tissue, train_mask: ArrayLike | None, shared: SharedSettings) -> Split:
    """Choose the cells to train on, and those that are held out for early stopping."""
    candidates = np.arange(tissue.n_cells)
    if train_mask is not None:
        mask = np.asarray(train_mask)
        if mask.dtype != bool or mask.shape != (tissue.n_cells,):
            raise ValueError(
                f"train_mask must hold true or false for each of the {tissue.n_cells} cells, not "
                f"an array of dtype {mask.dtype} and shape {mask.shape}"
            )
        candidates = np.flatnonzero(mask)
        if candidates.size < 2:
            raise ValueError(f"train_mask leaves {candidates.size} cells to train on; leave more")
    if shared.validation is None:
        return Split(candidates, candidates[:0])
    assert tissue.positions is not None  # training reads a tissue with coordinates
    held_out = hold_out(
        tissue.positions,
        tissue.sample_codes,
        candidates,
        is_by_blocks=shared.validation == "blocks",
        share=shared.validation_size,
        seed=shared.split_seed,
    )
    training = np.setdiff1d(candidates, held_out)
    if not training.size or not held_out.size:
        raise ValueError(
            f"validation_size={shared.validation_size:g} leaves {training.size} cells to train on "
            f"and holds {held_out.size} out; give another share, or validation=None"
        )
    return Split(training, held_out)


def mean_profiles(
    expression: NDArray[np.float32], tissue: Tissue, training: Integers
) -> NDArray[np.float32]:
    """Mean expression of each type over the cells of the training; over all where it has none."""
    n_types = len(tissue.vocabulary)
    profiles = np.zeros((n_types, expression.shape[1]))
    is_training = np.zeros(tissue.n_cells, bool)
    is_training[training] = True
    for code, members in group_positions(tissue.codes, n_types):
        chosen = members[is_training[members]]
        chosen = chosen if chosen.size else members
        profiles[code] = expression[chosen].mean(axis=0, dtype=np.float64)
    return profiles.astype(np.float32)


def fingerprint(*parts: Any) -> str:
    """Return a digest of arrays and settings, by which a checkpoint is known."""
    digest = hashlib.sha256()
    for part in parts:
        is_array = isinstance(part, np.ndarray)
        digest.update(np.ascontiguousarray(part).data if is_array else repr(part).encode())
    return digest.hexdigest()
