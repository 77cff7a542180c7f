"""A tissue in memory, and batches of receivers in which each neighbor stands once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Integers = NDArray[np.int64]


class Batch(NamedTuple):
    """Some receivers with their neighbors; "cell" is a distinct neighbor of any of them.

    Attributes
    ----------
    expression
        Of the distinct neighbors, (cell, gene).
    deviation
        Expression of the receivers less the mean of their type, (receiver, gene).
    type_code
        Distinct types of the receivers, as codes, (type,).
    receiver_type
        Type of each receiver, as its position in `type_code`, (receiver,).
    neighbor
        Neighbors as positions among the distinct ones, (receiver, rank).
    neighbor_code
        Types of the neighbors, as codes, (receiver, rank).
    distance
        (receiver, rank).
    exists
        Whether there is a neighbor of that rank, (receiver, rank); None where all exist.
    neighbor_share
        How often each distinct neighbor stands in a neighborhood, per receiver and rank, (cell,).
    pair
        Distinct pairs of a receiver's type and a neighbor, as ``type·n_cells + cell``, (pair,).
    pair_cell, pair_type
        The two of each pair, (pair,).
    neighbor_pair
        Position of the pair of each receiver and neighbor, (receiver, rank).
    """

    expression: Tensor
    deviation: Tensor
    type_code: Tensor
    receiver_type: Tensor
    neighbor: Tensor
    neighbor_code: Tensor
    distance: Tensor
    exists: Tensor | None
    neighbor_share: Tensor
    pair: Tensor
    pair_cell: Tensor
    pair_type: Tensor
    neighbor_pair: Tensor


@dataclass(frozen=True)
class TrainingTissue:
    """What training needs of each cell, and the cells that it learns from.

    Attributes
    ----------
    expression
        (cell, gene).
    profiles
        Mean expression of each type over the cells of the training, (type, gene).
    codes
        Cell types, (cell,).
    index, distance
        Neighborhoods of all cells, −1 where there is no neighbor, (cell, rank).
    target
        What of the receivers is predicted, (cell, gene); None for their expression.
    """

    expression: Tensor
    profiles: Tensor
    codes: Integers
    index: Integers
    distance: NDArray[np.float32]
    target: Tensor | None = None

    def to(self, device: torch.device | str) -> TrainingTissue:
        """Return the tissue with expression, profiles and target on a device."""
        return replace(
            self,
            expression=self.expression.to(device),
            profiles=self.profiles.to(device),
            target=None if self.target is None else self.target.to(device),
        )

    def deviations(self, receivers: Integers) -> Tensor:
        """Return the target of receivers less the mean of their type, (receiver, gene)."""
        target = self.expression if self.target is None else self.target
        device = target.device
        code = torch.from_numpy(np.ascontiguousarray(self.codes[receivers])).to(device)
        return target[torch.from_numpy(receivers).to(device)] - self.profiles[code]

    def batch(self, receivers: Integers) -> Batch:
        """Gather the neighborhoods of receivers, each distinct neighbor once."""
        index = self.index[receivers]
        exists = index >= 0
        is_whole = bool(exists.all())
        if not is_whole:
            index = np.where(exists, index, index.max())
        cells, neighbor = _distinct(index, len(self.codes))
        types, receiver_type = np.unique(self.codes[receivers], return_inverse=True)
        keys = receiver_type[:, np.newaxis] * cells.size + neighbor
        pair, neighbor_pair = _distinct(keys, types.size * cells.size)
        share = np.bincount(neighbor[exists], minlength=cells.size) / np.maximum(1, exists.sum())
        distance = (
            np.where(exists, self.distance[receivers], 0)
            if not is_whole
            else self.distance[receivers]
        )
        device = self.expression.device

        def tensor(array: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)

        return Batch(
            expression=self.expression[tensor(cells)],
            deviation=self.deviations(receivers),
            type_code=tensor(types),
            receiver_type=tensor(receiver_type),
            neighbor=tensor(neighbor),
            neighbor_code=tensor(self.codes[index]),
            distance=tensor(distance).to(self.expression.dtype),
            exists=None if is_whole else tensor(exists),
            neighbor_share=tensor(share).to(self.expression.dtype),
            pair=tensor(pair),
            pair_cell=tensor(pair % cells.size),
            pair_type=tensor(pair // cells.size),
            neighbor_pair=tensor(neighbor_pair),
        )


def _distinct(values: Integers, n_values: int) -> tuple[Integers, Integers]:
    """Return the distinct values, ascending, and the position of each value among them."""
    is_there = np.zeros(n_values, dtype=bool)
    is_there[values] = True
    distinct = np.flatnonzero(is_there)
    position = np.empty(n_values, dtype=np.int64)
    position[distinct] = np.arange(distinct.size)
    return distinct, position[values]
