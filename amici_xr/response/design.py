"""The design of one receiving type: trend over the tissue, contact with each type, the niche."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amici_xr.kernels.response_regression import Basis, first_columns, orthonormal_basis

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

CONTACT_SCALES = (20.0,)  # more columns for each type cost power, and are not needed
CELLS_PER_TREND_COLUMN = 20
_ROUNDING = 1e-9
_TOTAL_OFFSET = 0.1  # added to the total weight of a niche before its logarithm


@dataclass(frozen=True)
class Design:
    """Basis of a design, without and with niche columns, and where each sender's columns stand."""

    without_niche: Basis
    with_niche: Basis
    sender: Integers  # of each column of the design: the type in contact, −1 for others

    def columns_of(self, sender: int, basis: Basis) -> Integers:
        """Return the positions, among the kept columns of a basis, of a sender's."""
        return np.flatnonzero(self.sender[basis.kept] == sender)


def build_design(
    positions: Floats,
    samples: Integers,
    distance: Floats,
    composition: Floats,
    trend_scale: float,
) -> Design:
    """Build the design of receivers from (receiver, …) arrays.

    `distance` is that to the nearest cell of each type, infinite where there is none, and
    `composition` the columns of the niche.
    """
    smooth = [_unit_columns(np.ones((len(positions), 1)))]
    present = np.unique(samples)
    if present.size > 1:
        smooth = [_unit_columns(1.0 * (samples[:, np.newaxis] == present))]
    for sample in present:
        members = samples == sample
        trend = trend_columns(positions[members], trend_scale)
        columns = np.zeros((len(positions), trend.shape[1]))
        columns[members] = trend - trend.mean(axis=0)
        smooth.append(_unit_columns(columns))
    n_smooth = sum(columns.shape[1] for columns in smooth)
    niche = _unit_columns(composition - composition.mean(axis=0))
    types = np.flatnonzero(np.isfinite(distance).any(axis=0))
    contact = np.exp(-distance[:, types, np.newaxis] / np.array(CONTACT_SCALES))
    contact = contact.reshape(len(positions), -1)
    contact = _unit_columns(contact - contact.mean(axis=0))
    sender = np.full(n_smooth + contact.shape[1] + niche.shape[1], -1)
    sender[n_smooth : n_smooth + contact.shape[1]] = np.repeat(types, len(CONTACT_SCALES))
    with_niche = orthonormal_basis(np.concatenate([*smooth, contact, niche], axis=1))
    without_niche = first_columns(with_niche, n_smooth + contact.shape[1])
    return Design(without_niche, with_niche, sender)


def trend_columns(positions: Floats, scale: float) -> Floats:
    """Return products of cosines over the box of the receivers, those of longest wave first.

    Half waves shorter than `scale` are left out; at most one column for every 20 receivers, but
    two at least.
    """
    place, length = _place_in_box(positions)
    longest = np.floor(length / scale + _ROUNDING).astype(int)
    number = np.stack(np.meshgrid(*(np.arange(n + 1) for n in longest), indexing="ij"), axis=-1)
    number = number.reshape(-1, place.shape[1])
    frequency = ((number / np.where(length > 0, length, np.inf)) ** 2).sum(axis=1)
    is_wave = (frequency > 0) & (frequency <= (1.0 + _ROUNDING) / scale**2)
    number, frequency = number[is_wave], frequency[is_wave]
    most = max(2, len(positions) // CELLS_PER_TREND_COLUMN)
    number = number[np.lexsort((*number.T, frequency.round(15)))[:most]]
    columns = np.ones((len(positions), len(number)))
    for axis in range(place.shape[1]):
        columns *= np.cos(np.pi * place[:, axis, np.newaxis] * number[:, axis])
    return columns


def niche_columns(weight: Floats, share_of_all: Floats) -> Floats:
    """Return the share of each type but the last, and the logarithm of the total weight.

    `weight` is the summed weight of each type around each receiver. Where nothing is near, the
    shares are those of the whole tissue.
    """
    total = weight.sum(axis=1, keepdims=True)
    share = np.where(total > 0, weight / np.where(total > 0, total, 1.0), share_of_all)
    return np.concatenate([share[:, :-1], np.log(total + _TOTAL_OFFSET)], axis=1)


def _place_in_box(positions: Floats) -> tuple[Floats, Floats]:
    """Place of each cell in a box that turns with the tissue, 0 to 1 on each axis; its lengths."""
    centered = positions - positions.mean(axis=0)
    along = centered @ _box_axes(centered)
    least, length = along.min(axis=0), np.ptp(along, axis=0)
    order = np.argsort(-length, kind="stable")
    length = np.where(length > 1e-9 * length.max(initial=0.0), length, 0.0)
    place = (along - least) / np.where(length > 0, length, 1.0)
    return place[:, order], length[order]


def _box_axes(centered: Floats) -> Floats:
    """Directions of the box: in the plane the rectangle of least area, else principal axes."""
    from scipy.spatial import (  # here, since importing the package should cost little
        ConvexHull,
        QhullError,
    )

    if centered.shape[1] == 2:
        try:
            corners = centered[ConvexHull(centered).vertices]
        except (QhullError, ValueError):  # cells in a line, or fewer than three
            return np.linalg.svd(centered, full_matrices=True)[2].T
        edge = np.roll(corners, -1, axis=0) - corners
        edge /= np.linalg.norm(edge, axis=1, keepdims=True)
        along = corners @ edge.T
        across = corners @ np.stack([-edge[:, 1], edge[:, 0]])
        best = np.argmin(np.ptp(along, axis=0) * np.ptp(across, axis=0))
        x, y = edge[best]
        return np.array([[x, -y], [y, x]])
    return np.linalg.svd(centered, full_matrices=True)[2].T


def _unit_columns(columns: Floats) -> Floats:
    """Columns of length 1, without those that are constant."""
    length = np.linalg.norm(columns, axis=0)
    return columns / np.where(length > 1e-9, length, np.inf)
