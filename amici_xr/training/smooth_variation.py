"""Variation of expression that cells share because they lie near each other: no interaction.

A neighbor's expression tells where in the tissue a receiver lies, and in which state the cells
around it are. A model learns that, and predicts worse without the neighbor. So all models'
residuals are compared after the same regression, gene by gene, on waves over the tissue and on the
mean expression of the neighborhood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orth

from amici_xr.kernels.groups import group_positions
from amici_xr.response.design import trend_columns

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]

NEIGHBORHOOD_SCALES = (8.0, 16.0, 32.0, 64.0)  # µm, standard deviations of Gaussian weights
_BATCH = 1024


@dataclass(frozen=True)
class SmoothVariation:
    """What is regressed out of receivers of one type.

    Attributes
    ----------
    waves
        Orthonormal columns that span the mean of each sample and waves over it, (cell, column).
    surroundings
        Mean expression of the neighborhood at several scales, without what the waves explain,
        (scale, cell, gene).
    inverse
        Inverse of the products of the surroundings of each gene, (gene, scale, scale).
    """

    waves: Floats
    surroundings: NDArray[np.float32]
    inverse: Floats

    def remove(self, values: Floats) -> Floats:
        """Return the residuals of least squares, (cell, gene)."""
        rest = values - self.waves @ (self.waves.T @ values)
        product = np.einsum("scg,cg->gs", self.surroundings, rest)
        coefficient = np.einsum("gst,gt->gs", self.inverse, product)
        return np.asarray(rest - np.einsum("scg,gs->cg", self.surroundings, coefficient))


def describe_smooth_variation(
    positions: Floats,
    samples: Integers | None,
    wave_scale: float,
    surroundings: NDArray[np.float32],
) -> SmoothVariation:
    """Describe what is regressed out of cells; `surroundings` is (scale, cell, gene)."""
    waves = _waves(positions, samples, wave_scale)
    near = surroundings - np.einsum(
        "cw,swg->scg", waves, np.einsum("cw,scg->swg", waves, surroundings)
    )
    products = np.einsum("scg,tcg->gst", near, near)
    inverse = np.linalg.pinv(products, hermitian=True)
    return SmoothVariation(waves, near.astype(np.float32), inverse)


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
    """Orthonormal columns of the mean and of waves over each sample, (cell, column)."""
    columns = []
    groups = np.zeros(len(positions), np.intp) if samples is None else samples
    for _, members in group_positions(groups, int(groups.max()) + 1):
        own = np.column_stack([np.ones(members.size), trend_columns(positions[members], scale)])
        block = np.zeros((len(positions), own.shape[1]))
        block[members] = own
        columns.append(block)
    return np.asarray(orth(np.concatenate(columns, axis=1)))
