"""Patches of neighboring cells: what batches are made of, and what is held out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.kernels.groups import group_positions
from amici_xr.kernels.spatial.places import split_places

Integers = NDArray[Any]
PATCH_SIZE = 128  # receivers of a patch
_BLOCK_SIZE = 64  # cells of a patch that is held out
_LEAST_BLOCKS = 20  # of the tissue, of which some are held out


def patches(
    positions: NDArray[np.float64],
    cells: Integers,
    samples: Integers | None,
    size: int,
    generator: np.random.Generator,
) -> list[Integers]:
    """Split cells into patches of about `size`, the leaves of a k-d tree over rotated coordinates.

    Every call with another state of the generator cuts elsewhere. No patch crosses samples.
    """
    rotated = positions @ _random_rotation(positions.shape[1], generator)
    codes = np.zeros(cells.size, np.intp) if samples is None else samples[cells]
    leaves: list[Integers] = []
    for _, members in group_positions(codes, int(codes.max(initial=-1)) + 1):
        if members.size:
            n_leaves = max(1, round(members.size / size))
            leaves += split_places(rotated, cells[members], n_leaves)
    return leaves


def hold_out(
    positions: NDArray[np.float64],
    samples: Integers | None,
    candidates: Integers,
    *,
    is_by_blocks: bool,
    share: float,
    seed: int,
) -> Integers:
    """Choose the cells by which early stopping judges: whole patches of tissue, or single cells."""
    generator = np.random.default_rng([seed, 0])
    n_held_out = round(share * candidates.size)
    if not is_by_blocks:
        return np.sort(generator.permutation(candidates)[:n_held_out])
    size = max(1, min(_BLOCK_SIZE, candidates.size // _LEAST_BLOCKS))
    blocks = patches(positions, candidates, samples, size, generator)
    order = generator.permutation(len(blocks))
    n_blocks = max(1, round(share * len(blocks)))
    return np.sort(np.concatenate([blocks[block] for block in order[:n_blocks]]))


def _random_rotation(n_dims: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw an orthogonal matrix, uniformly."""
    q, r = np.linalg.qr(generator.normal(size=(n_dims, n_dims)))
    return np.asarray(q * np.sign(np.diag(r)))
