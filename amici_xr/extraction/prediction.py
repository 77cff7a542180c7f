"""Batches of receivers through the whole network, with and without each sender."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amici_xr.extraction.scoring import score_into
from amici_xr.extraction.scratch import ScratchArray
from amici_xr.kernels.lone_neighbor import lone_attention
from amici_xr.kernels.nearest_cells import Neighborhoods
from amici_xr.model.network import ScoringNetwork
from amici_xr.model.prediction import PredictionLayers, prediction_layers
from amici_xr.model.saved_model import SavedModel
from amici_xr.tissue.cells import Tissue

Rows = NDArray[np.float32] | ScratchArray
Integers = NDArray[np.intp]


@dataclass(frozen=True)
class CellFeatures:
    """What the network makes of each cell that stands in a neighborhood."""

    cells: Integers  # ascending positions in the AnnData
    base: Rows  # (cell, query, head)
    position: Rows  # (cell, query, head), where a cell is a neighbor of the query
    values: Rows  # (cell, head, size)


@dataclass(frozen=True)
class Receivers:
    """Cells that receive, each with its query and its neighborhood."""

    query: Integers  # position among the queries, (receiver,)
    index: NDArray[np.int64]  # positions in the AnnData, −1 where there is none, (receiver, rank)
    distance: NDArray[np.float64]  # (receiver, rank)
    codes: Integers  # cell type of each cell of the AnnData

    def __getitem__(self, rows: slice) -> Receivers:
        """Take some receivers."""
        return Receivers(self.query[rows], self.index[rows], self.distance[rows], self.codes)


def find_receivers(neighborhoods: Neighborhoods, codes: Integers, queries: list[int]) -> Receivers:
    """Find the query of each receiver; the arrays of the neighborhoods are shared."""
    of_receiver = codes[neighborhoods.receiver]
    order = np.argsort(queries)
    query = order[np.searchsorted(queries, of_receiver, sorter=order)]
    return Receivers(query, neighborhoods.index, neighborhoods.distance, codes)


@dataclass(frozen=True)
class Ablations:
    """A batch of receivers, predicted with all neighbors and without each sender among them.

    `receiver` and `label` are those of each row, a pair of a receiver in the batch and a sender
    that stands in its neighborhood: a sender that does not has no effect. Rows of one query and
    one sender stand together.
    """

    receiver: Tensor  # (row,)
    label: Tensor  # (row,)
    residual: Tensor  # x − ŷ, (receiver, gene)
    output: Tensor  # of the attention, (receiver, output)
    normalized: Tensor  # that after norm_o, (receiver, output)
    removed: Tensor  # what ablating the sender takes from the output, (row, output)
    layers: PredictionLayers

    def change(self, rows: slice) -> Tensor:
        """Return norm_o's output with the sender minus without it, (row, output)."""
        receiver = self.receiver[rows]
        without = self.layers.normalize(self.output[receiver].sub_(self.removed[rows]))
        return self.normalized[receiver].sub_(without)


class Predictor:
    """Predicts expression from the features of the cells in a neighborhood.

    An ablated sender's weights are set to 0 after the softmax; with `renormalizes`, its cells are
    masked before it, so that the others and the dummy take over its attention.
    """

    def __init__(
        self,
        features: CellFeatures,
        layers: PredictionLayers,
        delta: float,
        u: float,
        *,
        renormalizes: bool = False,
    ) -> None:
        self.features, self.layers, self._delta, self._u = features, layers, delta, u
        self._renormalizes = renormalizes
        self._device = layers.q.device
        self._member = np.zeros(int(features.cells.max(initial=-1)) + 1, np.intp)
        self._member[features.cells] = np.arange(features.cells.size)

    @torch.inference_mode()
    def ablations(
        self, receivers: Receivers, expression: NDArray[np.float32], heads: list[int] | None
    ) -> Iterator[Ablations]:
        """Yield the ablations with all heads on, then with each of `heads` alone."""
        layers = self.layers
        row_receiver, row_label, sent, removed = self._sent_by_label(receivers)
        query = self._tensor(receivers.query)
        above_profile = self._tensor(expression) - layers.profiles[query]
        q = layers.q[query]
        for head in [None, *(heads or [])]:
            from_label = layers.project(sent, head)
            output = q.index_add(0, row_receiver, from_label)
            normalized = layers.normalize(output)
            residual = above_profile - normalized @ layers.linear_head.T
            taken = layers.project(removed, head) if self._renormalizes else from_label
            yield Ablations(row_receiver, row_label, residual, output, normalized, taken, layers)

    def lone_attention(
        self, query: int, cells: Integers, distances: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Weight of each cell, were it the only neighbor, (cell, head, distance)."""
        base, position = self.features.base[cells, query], self.features.position[cells, query]
        units = (distances / self._u).astype(np.float32)
        return lone_attention(base - np.float32(self._delta), position, units)

    def _sent_by_label(self, receivers: Receivers) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Σ α·V over the neighbors of each label that a receiver has, and what ablation removes.

        Receiver and label of each row come first; both sums are (row, head, size).
        """
        exists = receivers.index >= 0
        index, at = receivers.index[exists], np.nonzero(exists)[0]
        member = self._member[index]
        score = self._score(receivers, exists, member)
        label = receivers.codes[index]
        n_labels, n_receivers = int(label.max(initial=0)) + 1, len(exists)
        group = receivers.query[at] * n_labels + label
        row, row_of_pair = np.unique(group * n_receivers + at, return_inverse=True)
        values = self._tensor(self.features.values[member])
        attention = self._tensor(self._softmax(score)[exists]).unsqueeze(-1)
        weighted = values * attention if self._renormalizes else values.mul_(attention)
        sent = values.new_zeros(row.size, *values.shape[1:])
        sent.index_add_(0, self._tensor(row_of_pair.reshape(-1)), weighted)
        group, row_receiver = np.divmod(row, n_receivers)
        row_label, removed = group % n_labels, sent
        if self._renormalizes:
            total = values.new_zeros(n_receivers, *values.shape[1:])
            total.index_add_(0, self._tensor(at), weighted)
            labels = np.full(exists.shape, -1)
            labels[exists] = label
            removed = total[self._tensor(row_receiver)]
            for code in np.unique(row_label):
                rows = np.flatnonzero(row_label == code)
                receiver = row_receiver[rows]
                removed[self._tensor(rows)] -= self._sent_without(
                    score[receiver], exists, labels == code, receiver, values
                )
        return self._tensor(row_receiver), self._tensor(row_label), sent, removed

    def _sent_without(
        self,
        score: NDArray[np.float64],
        exists: NDArray[np.bool_],
        is_masked: NDArray[np.bool_],
        receiver: Integers,
        values: Tensor,
    ) -> Tensor:
        """Σ α·V of some receivers with cells masked before the softmax: (receiver, head, size)."""
        score[is_masked[receiver]] = -np.inf
        pair = np.cumsum(exists).reshape(exists.shape)[receiver] - 1
        has_weight = (exists & ~is_masked)[receiver]
        weight = self._tensor(self._softmax(score)[has_weight]).unsqueeze(-1)
        sent = values.new_zeros(receiver.size, *values.shape[1:])
        at = self._tensor(np.nonzero(has_weight)[0])
        return sent.index_add_(0, at, values[self._tensor(pair[has_weight])] * weight)

    def _score(
        self, receivers: Receivers, exists: NDArray[np.bool_], member: Integers
    ) -> NDArray[np.float64]:
        """Score of each neighbor, −∞ where there is none: (receiver, rank, head)."""
        query = np.broadcast_to(receivers.query[:, np.newaxis], exists.shape)[exists]
        distance = receivers.distance[exists][:, np.newaxis] / self._u
        scores = self.features.base[member, query].astype(np.float64)
        scores -= self.features.position[member, query] * distance
        score = np.full((*exists.shape, scores.shape[1]), -np.inf)
        score[exists] = scores
        return score

    def _softmax(self, score: NDArray[np.float64]) -> NDArray[np.float32]:
        """Weights over each neighborhood and the dummy, without that of the dummy."""
        largest = np.maximum(score.max(axis=1, keepdims=True, initial=-np.inf), self._delta)
        weight = np.exp(score - largest)
        weight /= weight.sum(axis=1, keepdims=True) + np.exp(self._delta - largest)
        return np.asarray(weight, np.float32)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def make_predictor(
    saved: SavedModel,
    tissue: Tissue,
    neighborhoods: Neighborhoods,
    queries: list[int],
    *,
    device: torch.device,
    batch_size: int,
    keeps_scores: bool,
    progress: bool,
    renormalize: bool = False,
) -> tuple[Predictor, Receivers]:
    """Run each cell of a neighborhood through the network once, for all receivers together."""
    is_neighbor = neighborhoods.is_neighbor(tissue.codes, queries)
    cells = np.flatnonzero(is_neighbor.any(axis=0))
    is_needed = is_neighbor[:, cells].T
    offset = saved.settings.pos_coef_offset
    network = ScoringNetwork(saved.weights, offset, queries, device, with_values=True)
    shapes = [(cells.size, *shape) for shape in network.output_shapes]
    arrays: list[Any] = [ScratchArray(shape) for shape in shapes]
    if keeps_scores:  # as in `score`, query by query in memory
        arrays[:2] = [
            np.empty((shape[1], shape[0], shape[2]), np.float32).swapaxes(0, 1)
            for shape in shapes[:2]
        ]
    score_into(arrays, cells, is_needed, network, tissue.expression, batch_size, progress)
    predictor = Predictor(
        CellFeatures(cells, *arrays),
        prediction_layers(saved.weights, queries, device),
        saved.settings.attention_dummy_score,
        saved.settings.distance_kernel_unit_scale,
        renormalizes=renormalize,
    )
    return predictor, find_receivers(neighborhoods, tissue.codes, queries)
