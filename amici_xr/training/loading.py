"""Batches of receivers for Lightning: patches of the tissue, cut anew in each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from amici_xr.training.patches import PATCH_SIZE, patches

Integers = NDArray[np.int64]


class PatchBatches(Dataset[Integers]):
    """Batches of several patches each, in an order that depends on the seed and the epoch alone.

    Parameters
    ----------
    positions, samples
        Of all cells.
    cells
        The receivers of the batches.
    batch_size
        Receivers of a batch, about.
    seed
        Of the rotation and the order.
    """

    def __init__(
        self,
        positions: NDArray[np.float64],
        samples: NDArray[np.intp] | None,
        cells: Integers,
        batch_size: int,
        seed: int,
    ) -> None:
        self._positions, self._samples, self.cells = positions, samples, cells
        self._patch_size, self._seed = min(PATCH_SIZE, batch_size), seed
        self._per_batch = max(1, round(batch_size / self._patch_size))
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Cut the patches of an epoch; their number is the same in each."""
        generator = np.random.default_rng([self._seed, 1, epoch])
        leaves = patches(self._positions, self.cells, self._samples, self._patch_size, generator)
        order = generator.permutation(len(leaves))
        starts = range(0, len(leaves), self._per_batch)
        self._batches: Sequence[Integers] = [
            np.concatenate([leaves[patch] for patch in order[start : start + self._per_batch]])
            for start in starts
        ]

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self._batches)

    def __getitem__(self, number: int) -> Integers:
        """Return the receivers of a batch."""
        return self._batches[number]


class TissueDataModule(lightning.LightningDataModule):
    """Receivers that are trained on, and those by which early stopping judges."""

    def __init__(self, training: PatchBatches, held_out: PatchBatches | None) -> None:
        super().__init__()
        self._training, self._held_out = training, held_out

    def train_dataloader(self) -> DataLoader[Integers]:
        """Return the batches of training receivers."""
        return _loader(self._training)

    def val_dataloader(self) -> DataLoader[Integers] | list[DataLoader[Integers]]:
        """Return the batches of held-out receivers, none where there are none."""
        return [] if self._held_out is None else _loader(self._held_out)


def _loader(batches: PatchBatches) -> DataLoader[Integers]:
    # The batches are made already, and stay arrays, from which neighborhoods are gathered.
    return DataLoader(batches, batch_size=None, collate_fn=_as_it_is)


def _as_it_is(receivers: Any) -> Any:
    return receivers
