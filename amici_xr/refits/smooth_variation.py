"""Variation of expression that cells share because they lie near each other: no interaction.

A neighbor's expression tells where in the tissue a receiver lies, and in which state the cells
around it are. A model learns that first, and predicts worse without the neighbor. So models are
trained on, and compared by, what a regression leaves of each gene: on waves over the tissue and on
the mean expression of the neighborhood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.kernels.groups import group_positions
from amici_xr.response.design import trend_columns

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]

NEIGHBORHOOD_SCALES = (8.0, 16.0, 32.0, 64.0)  # µm, standard deviations of Gaussian weights
_BATCH = 1024
_DEPENDENT = 1e-10  # share of the largest eigenvalue, below which a direction is left out


@dataclass(frozen=True)
class SmoothVariation:
    """Smooth variation of the cells of one type, by which each gene is regressed.

    Attributes
    ----------
    waves
        The mean of each sample and waves over it, (cell, column).
    surroundings
        Mean expression of the neighborhood at several scales, (scale, cell, gene).
    """

    waves: Floats
    surroundings: NDArray[np.float32]

    def of(self, cells: Integers | NDArray[np.bool_]) -> SmoothVariation:
        """Return that of some of the cells."""
        return SmoothVariation(self.waves[cells], self.surroundings[:, cells])

    @property
    def n_columns(self) -> int:
        """Number of columns by which a gene is regressed."""
        return int(self.waves.shape[1]) + len(self.surroundings)

    def remove(self, values: Floats, fitted: NDArray[np.bool_] | None = None) -> Floats:
        """Return what least squares of each gene leave of (cell, gene).

        `fitted` are the cells to which coefficients are fitted; None for all.
        """
        is_fitted = np.ones(len(values), bool) if fitted is None else fitted
        n_scales, n_cells, n_genes = self.surroundings.shape
        columns = self.surroundings.transpose(1, 0, 2).reshape(n_cells, -1)
        together = np.concatenate([values, columns], axis=1)
        together -= self.waves @ (np.linalg.pinv(self.waves[is_fitted]) @ together[is_fitted])
        rest, near = together[:, :n_genes], together[:, n_genes:].reshape(n_cells, n_scales, -1)
        by_gene = np.ascontiguousarray(near.transpose(2, 1, 0))  # (gene, scale, cell)
        seen = by_gene[:, :, is_fitted]
        inverse = np.linalg.pinv(seen @ seen.swapaxes(1, 2), rcond=_DEPENDENT, hermitian=True)
        coefficient = inverse @ (seen @ rest[is_fitted].T[:, :, np.newaxis])
        return np.asarray(rest - (coefficient.swapaxes(1, 2) @ by_gene)[:, 0].T)


def describe_smooth_variation(
    positions: Floats,
    samples: Integers | None,
    wave_scale: float,
    surroundings: NDArray[np.float32],
) -> SmoothVariation:
    """Describe that of the cells of one type; `surroundings` is (scale, cell, gene)."""
    return SmoothVariation(_waves(positions, samples, wave_scale), surroundings)


def surrounding_expression(
    expression: NDArray[np.float32],
    codes: Integers,
    index: Integers,
    distance: NDArray[np.floating[Any]],
    scales: Sequence[float],
) -> NDArray[np.float32]:
    """Mean expression of neighborhoods, of each gene less the mean of the neighbor's type.

    `index` and `distance` are (receiver, rank), −1 and NaN where there is no neighbor. Weights
    are Gaussian in the distance, relative to that of the nearest neighbor, and sum to 1: (scale,
    receiver, gene).
    """
    deviation = expression.copy()
    for _, members in group_positions(codes, int(codes.max()) + 1):
        deviation[members] -= deviation[members].mean(axis=0)
    means = np.empty((len(scales), len(index), expression.shape[1]), np.float32)
    for start in range(0, len(index), _BATCH):
        rows = slice(start, start + _BATCH)
        near, exists = deviation[index[rows]], index[rows] >= 0
        square = np.where(exists, distance[rows], np.inf).astype(np.float64) ** 2
        nearest = square.min(axis=1, keepdims=True)
        beyond = square - np.where(np.isfinite(nearest), nearest, 0.0)
        for number, scale in enumerate(scales):
            weight = np.exp(-beyond / (2 * scale**2))
            weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1.0)
            means[number, rows] = np.einsum("rk,rkg->rg", weight.astype(np.float32), near)
    return means


def _waves(positions: Floats, samples: Integers | None, scale: float) -> Floats:
    """Columns of the mean and of waves over each sample, (cell, column)."""
    columns = []
    groups = np.zeros(len(positions), np.intp) if samples is None else samples
    for _, members in group_positions(groups, int(groups.max()) + 1):
        own = np.column_stack([np.ones(members.size), trend_columns(positions[members], scale)])
        block = np.zeros((len(positions), own.shape[1]))
        block[members] = own
        columns.append(block)
    return np.concatenate(columns, axis=1)
