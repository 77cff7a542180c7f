"""Gaussian fields on cells by Vecchia's approximation: each cell given its nearest earlier cells.

The covariance of a unit-variance field with noise is ``(1 − f)·I + f·M(h/ℓ)``, where ``h`` is the
distance, ``ℓ`` the scale, ``f`` the share of the field, and ``M`` the Matérn correlation of
smoothness 3/2. Cells are conditioned on each other in a random order.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

N_NEIGHBORS = 25
SCALES = (12.0, 25.0, 50.0, 100.0, 200.0)
SHARES = (0.05, 0.15, 0.35, 0.6, 0.85)
_FIRST = 100  # cells whose earlier ones are found by comparing all
_CHUNK = 500  # cells whose small systems are solved together
_FAR = 1e12  # distance of a neighbor that does not exist


class Whitener(NamedTuple):
    """Matrix ``W`` with ``WᵀW ≈ R⁻¹``, and ``log|R|``."""

    matrix: csr_array
    log_determinant: float


class EarlierNeighbors(NamedTuple):
    """Earlier cells on which each cell is conditioned, and the distances among all of them."""

    cell: Integers  # (cell, rank), −1 where there is none
    gap: Floats  # (cell, rank), from the cell
    positions: Floats  # (cell, axis)


def matern_correlation(distance: Floats, scale: float) -> Floats:
    """Return ``(1 + √3·h/ℓ)·exp(−√3·h/ℓ)``.

    Examples
    --------
    >>> matern_correlation(np.array([0.0, 25.0]), 25.0).round(4)
    array([1.    , 0.4834])
    """
    scaled = distance * (np.sqrt(3.0) / scale)
    decay = np.exp(-scaled)
    scaled += 1.0
    scaled *= decay
    return np.asarray(scaled)


def covariance_grid() -> list[tuple[float, float]]:
    """Return the pairs (scale, share) among which a covariance is chosen; no field first."""
    return [(SCALES[0], 0.0)] + [(scale, share) for scale in SCALES for share in SHARES]


def random_order(positions: Floats, codes: Integers, seed: int = 0) -> Integers:
    """Return a random order of cells within each group, one group after the other.

    It depends neither on the order in which cells are given nor on where the tissue lies and how
    it is turned: cells are numbered by their distance from the center before they are shuffled.
    """
    orders = []
    for code in np.unique(codes):
        members = np.flatnonzero(codes == code)
        from_center = np.linalg.norm(positions[members] - positions[members].mean(axis=0), axis=1)
        ranked = members[np.argsort(from_center, kind="stable")]
        orders.append(np.random.default_rng(seed).permutation(ranked))
    return np.concatenate(orders)


def nearest_earlier(positions: Floats, n_neighbors: int = N_NEIGHBORS) -> Integers:
    """Return the nearest cells that stand earlier, (cell, rank), nearest first; −1 where none.

    Examples
    --------
    >>> nearest_earlier(np.array([[0.0], [3.0], [1.0]]), 2)
    array([[-1, -1],
           [ 0, -1],
           [ 0,  1]])
    """
    from scipy.spatial import cKDTree  # here, since importing the package should cost little
    from scipy.spatial.distance import cdist

    n_cells = len(positions)
    nearest = np.full((n_cells, n_neighbors), -1, dtype=np.intp)
    start = min(n_cells, max(_FIRST, 2 * n_neighbors))
    apart = cdist(positions[:start], positions[:start])
    apart[np.triu_indices(start)] = np.inf
    ranked = np.argsort(apart, axis=1, kind="stable")[:, :n_neighbors]
    is_earlier = np.isfinite(np.take_along_axis(apart, ranked, axis=1))
    nearest[:start, : ranked.shape[1]] = np.where(is_earlier, ranked, -1)
    while start < n_cells:
        stop = min(n_cells, start + start // 4)
        tree = cKDTree(positions[:stop])
        open_cells, n_asked = np.arange(start, stop), n_neighbors + n_neighbors // 2
        while open_cells.size:
            n_asked = min(n_asked, stop)
            candidate = tree.query(positions[open_cells], k=n_asked)[1]
            is_earlier = candidate < open_cells[:, np.newaxis]
            rank = np.cumsum(is_earlier, axis=1) - 1
            row, column = np.nonzero(is_earlier & (rank < n_neighbors))
            nearest[open_cells[row], rank[row, column]] = candidate[row, column]
            open_cells = open_cells[rank[:, -1] + 1 < n_neighbors]
            n_asked *= 2
        start = stop
    return nearest


def find_earlier_neighbors(
    positions: Floats, codes: Integers, n_neighbors: int = N_NEIGHBORS
) -> EarlierNeighbors:
    """Return the earlier neighbors of each cell within its group, in the random order."""
    order = random_order(positions, codes)
    index = np.full((len(positions), n_neighbors), -1, dtype=np.intp)
    bounds = np.flatnonzero(np.diff(codes[order], prepend=-1, append=-1))
    for start, stop in pairwise(bounds):
        members = order[start:stop]
        within = nearest_earlier(positions[members], n_neighbors)
        index[members] = np.where(within >= 0, members[within], -1)
    gap = np.linalg.norm(positions[index] - positions[:, np.newaxis], axis=2)
    return EarlierNeighbors(index, np.where(index >= 0, gap, _FAR), positions)


def whiteners(neighbors: EarlierNeighbors, grid: list[tuple[float, float]]) -> list[Whitener]:
    """Return the whitener of each covariance of the grid; they share their sparsity."""
    n_cells, n_neighbors = neighbors.cell.shape
    itself = np.arange(n_cells)[:, np.newaxis]
    column = np.where(neighbors.cell >= 0, neighbors.cell, itself)
    column = np.concatenate([column, itself], axis=1).astype(np.int32).ravel()
    row_start = np.arange(0, column.size + 1, n_neighbors + 1, dtype=np.int32)
    value = np.zeros((len(grid), n_cells, n_neighbors + 1))  # the last is that of the cell itself
    value[:, :, -1] = 1.0
    log_determinant = np.zeros(len(grid))
    by_scale: dict[float, list[tuple[int, float]]] = {}
    for number, (scale, share) in enumerate(grid):
        if share > 0:
            by_scale.setdefault(scale, []).append((number, share))
    for cells, gap, gap_between in _chunks_of_gaps(neighbors):
        for scale, members in by_scale.items():
            correlation = matern_correlation(gap_between, scale)
            to_cell = matern_correlation(gap, scale)
            for number, share in members:
                weight, variance = _conditional(correlation, to_cell, share)
                value[number, cells, :-1] = -weight
                value[number, cells] /= np.sqrt(variance)[:, np.newaxis]
                log_determinant[number] += np.log(variance).sum()
    return [
        Whitener(
            csr_array((own_value.ravel(), column, row_start), shape=(n_cells, n_cells)),
            float(own_determinant),
        )
        for own_value, own_determinant in zip(value, log_determinant, strict=True)
    ]


def _chunks_of_gaps(neighbors: EarlierNeighbors) -> Iterator[tuple[slice, Floats, Floats]]:
    for start in range(0, len(neighbors.cell), _CHUNK):
        cells = slice(start, start + _CHUNK)
        index = neighbors.cell[cells]
        points = neighbors.positions[index]
        gap_between = np.zeros((*index.shape, index.shape[1]))
        for axis in range(points.shape[2]):
            gap_between += (points[:, :, np.newaxis, axis] - points[:, np.newaxis, :, axis]) ** 2
        np.sqrt(gap_between, out=gap_between)
        is_missing = index < 0
        gap_between[is_missing[:, :, np.newaxis] | is_missing[:, np.newaxis, :]] = _FAR
        yield cells, neighbors.gap[cells], gap_between


def _conditional(correlation: Floats, to_cell: Floats, share: float) -> tuple[Floats, Floats]:
    """Weights of the earlier neighbors and the variance that they leave."""
    covariance = share * correlation
    diagonal = np.arange(correlation.shape[1])
    covariance[:, diagonal, diagonal] = 1.0
    right = share * to_cell
    weight = np.linalg.solve(covariance, right[:, :, np.newaxis])[:, :, 0]
    return np.asarray(weight), np.asarray(1.0 - np.einsum("ij,ij->i", weight, right))
