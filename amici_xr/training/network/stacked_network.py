"""The network of several training runs at once: every weight has a leading run axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from einops import einsum, rearrange, repeat
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding, layer_norm, softplus

from amici_xr.model.network import LAYER_NORM_EPSILON
from amici_xr.training.network.batches import Batch, Integers, TrainingTissue

_PREDICTION_BATCH = 1024  # receivers
_MASKED = -1e9  # a score whose softmax is exactly 0, and whose product with 0 is 0


class Terms(NamedTuple):
    """What a batch gives for each run.

    Attributes
    ----------
    reconstruction
        ``½·Σ_genes (x − ŷ)²``, mean over receivers, (run,).
    attention_entropy
        Entropy of the attention over neighbors and dummy, mean over heads and receivers, (run,).
    value_penalty
        ``Σ|V|`` over heads and their elements, mean over neighbors and receivers, (run,).
    squared_error
        ``Σ_genes (x − ŷ)²``, (run, receiver).
    """

    reconstruction: Tensor
    attention_entropy: Tensor
    value_penalty: Tensor
    squared_error: Tensor


class StackedNetwork(nn.Module):
    """Networks of equal sizes, one of each run, computed together by batched matrix products.

    Each cell of a batch is embedded once, not once for each receiver that has it as neighbor;
    position coefficients, which depend on the neighbor and on the receiver's type, once for each
    such pair.

    Parameters
    ----------
    weights
        State dict of each run, without the mean expression of the cell types.
    dummy_score, distance_unit, position_offset
        δ, u, and what is added to position coefficients before the softplus.
    left_out
        Code of the cell type that each run does not see as a neighbor; −1 for none.
    """

    def __init__(
        self,
        weights: Sequence[Mapping[str, Tensor]],
        *,
        dummy_score: float,
        distance_unit: float,
        position_offset: float,
        left_out: Sequence[int],
    ) -> None:
        super().__init__()
        self.names = tuple(weights[0])
        for name in self.names:
            stacked = torch.stack([run[name] for run in weights])
            if _is_of_linear_layer(name):  # so that its gradient comes in the same order
                stacked = stacked.mT.contiguous()
            self.register_parameter(_attribute(name), nn.Parameter(stacked))
        self.dummy_score, self.distance_unit = dummy_score, distance_unit
        self.position_offset = position_offset
        self.left_out: Tensor
        self.register_buffer("left_out", torch.tensor(left_out), persistent=False)
        self._leaves_out = any(code >= 0 for code in left_out)
        _, self.head_size, self.n_heads, _ = self["attention_layer.W_Q"].shape

    def __getitem__(self, name: str) -> Tensor:
        """Return a weight by its name in a state dict, with a leading run axis."""
        weight: Tensor = getattr(self, _attribute(name))
        return weight.mT if _is_of_linear_layer(name) else weight

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return len(self["ct_embed.weight"])

    def weights_of(self, run: int) -> dict[str, Tensor]:
        """Copy the weights of one run to the CPU, by their names in a state dict."""
        copies = {name: self[name][run].detach().to("cpu") for name in self.names}
        return {
            name: weight.clone(memory_format=torch.contiguous_format)
            for name, weight in copies.items()
        }

    def gradient(self, name: str) -> Tensor | None:
        """Return the gradient of a weight by its name in a state dict, with a leading run axis."""
        gradient: Tensor | None = getattr(self, _attribute(name)).grad
        return gradient.mT if gradient is not None and _is_of_linear_layer(name) else gradient

    def forward(self, batch: Batch, kept: Tensor | None = None) -> Terms:
        """Compute what the loss is made of; `kept` masks neighbors, (run, receiver, rank)."""
        queries = self._queries(batch.type_code)
        attention, entropy, values = self.attend(batch, queries, kept)
        residual = self._residual(batch, attention, values, queries)
        squared_error = residual.square().sum(dim=-1)
        penalty = values.abs().sum(dim=(1, 3)) @ batch.neighbor_share
        return Terms(squared_error.mean(dim=1) / 2, entropy, penalty, squared_error)

    @torch.no_grad()
    def residuals(self, tissue: TrainingTissue, receivers: Integers) -> NDArray[np.float32]:
        """Compute what the first run does not predict of receivers, x − ŷ, (receiver, gene)."""
        parts = []
        for start in range(0, receivers.size, _PREDICTION_BATCH):
            batch = tissue.batch(receivers[start : start + _PREDICTION_BATCH])
            queries = self._queries(batch.type_code)
            attention, _, values = self.attend(batch, queries)
            parts.append(self._residual(batch, attention, values, queries)[0])
        return np.asarray(torch.cat(parts).numpy())

    def attend(
        self, batch: Batch, queries: Tensor, kept: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return attention (run, head, receiver, rank), its entropy, and values of the cells."""
        runs = self.n_runs
        expression = repeat(batch.expression, "cell gene -> run cell gene", run=runs)
        cells = self._block("nn_embed", expression)
        keys, values = self._keys_and_values(cells)
        base = einsum(queries, keys, "run head type size, run head cell size -> run type cell head")
        base = _take(rearrange(base, "run type cell head -> run (type cell) head"), batch.pair)
        position = self._position_coefficients(batch, cells)
        pairs = torch.cat([base / math.sqrt(self.head_size), position], dim=-1)
        base, position = rearrange(
            _take(pairs, batch.neighbor_pair),
            "run receiver rank (kind head) -> kind run head receiver rank",
            kind=2,
        )
        scores = base - position * (batch.distance / self.distance_unit)
        mask = self._mask(batch, kept)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], _MASKED)
        dummy = scores.new_full((*scores.shape[:-1], 1), self.dummy_score)
        log_attention = torch.cat([scores, dummy], dim=-1).log_softmax(dim=-1)
        attention = log_attention.exp()
        entropy = -(attention * log_attention).sum(dim=-1).mean(dim=(1, 2))
        return attention[..., :-1], entropy, values

    def _mask(self, batch: Batch, kept: Tensor | None) -> Tensor | None:
        """Say which neighbors the softmax sees, (run, receiver, rank); None where all."""
        masks = [] if batch.exists is None else [batch.exists[None]]
        if kept is not None:
            masks.append(kept)
        if self._leaves_out:
            masks.append(batch.neighbor_code != self.left_out[:, None, None])
        if not masks:
            return None
        mask = masks[0]
        for another in masks[1:]:
            mask = mask & another
        return mask.expand(self.n_runs, -1, -1)

    def _keys_and_values(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        features = self._block("kv_embed", cells)
        features = rearrange(
            features, "run cell (head key) -> (run head) cell key", head=self.n_heads
        )
        weight = [
            rearrange(
                self[f"attention_layer.W_{letter}"], "run size head key -> (run head) key size"
            )
            for letter in "KV"
        ]
        bias = [
            rearrange(self[f"attention_layer.b_{letter}"], "run head size -> (run head) 1 size")
            for letter in "KV"
        ]
        both = torch.baddbmm(torch.cat(bias, dim=-1), features, torch.cat(weight, dim=-1))
        keys, values = rearrange(
            both,
            "(run head) cell (kind size) -> kind run head cell size",
            head=self.n_heads,
            kind=2,
        )
        return keys, values

    def _queries(self, types: Tensor) -> Tensor:
        """Q of each type, (run, head, type, size)."""
        features = self._block("query_embed", self["ct_embed.weight"][:, types])
        features = rearrange(
            features, "run type (head query) -> run type head query", head=self.n_heads
        )
        product = einsum(
            features,
            self["attention_layer.W_Q"],
            "run type head query, run size head query -> run head type size",
        )
        return product + self["attention_layer.b_Q"][:, :, None]

    def _position_coefficients(self, batch: Batch, cells: Tensor) -> Tensor:
        """P of each pair of a neighbor and a receiver's type, (run, pair, head).

        The first layer takes the two side by side, so it is the sum of a product of each.
        """
        n_cell = cells.shape[-1]
        labels = self["ct_embed.weight"][:, batch.type_code]
        weight = self["pos_coef_mlp.nn.0.weight"]
        is_type = torch.nn.functional.one_hot(batch.pair_type, len(batch.type_code))
        is_type = is_type.to(cells.dtype).expand(self.n_runs, -1, -1)
        of_cells = cells @ weight[..., :n_cell].mT
        of_types = torch.baddbmm(
            self["pos_coef_mlp.nn.0.bias"][:, None], labels, weight[..., n_cell:].mT
        )
        h = torch.baddbmm(_take(of_cells, batch.pair_cell), is_type, of_types)
        h = self._linear("pos_coef_mlp.nn.3", self._norm("pos_coef_mlp.nn.1", h).relu())
        pairs = torch.cat([_take(cells, batch.pair_cell), is_type @ labels], dim=-1)
        h = (self._norm("pos_coef_mlp.nn.4", h) + pairs).relu()
        if _attribute("pos_coef_mlp.project_nn.0.weight") in self._parameters:
            h = self._linear("pos_coef_mlp.project_nn.0", h)
        return softplus(h + self.position_offset)

    def _combine(self, batch: Batch, attention: Tensor, values: Tensor, queries: Tensor) -> Tensor:
        """Sum values by attention, project, add the query: (run, receiver, output)."""
        runs, heads, receivers, _ = attention.shape
        dense = attention.new_zeros(runs, heads, receivers, values.shape[2])
        index = batch.neighbor.expand(runs, heads, -1, -1)
        summed = dense.scatter_add(-1, index, attention) @ values
        summed = rearrange(summed, "run head receiver size -> run receiver (head size)")
        w_o = rearrange(
            self["attention_layer.W_O"], "run output head size -> run (head size) output"
        )
        queries = rearrange(queries, "run head type size -> run type (head size)")
        return torch.baddbmm(queries[:, batch.receiver_type], summed, w_o)

    def _residual(self, batch: Batch, attention: Tensor, values: Tensor, queries: Tensor) -> Tensor:
        """Return what the prediction leaves of the deviations, (run, receiver, gene)."""
        output = self._combine(batch, attention, values, queries)
        normal = self._norm("attention_layer.norm_o", output)
        return batch.deviation - normal @ self["linear_head.weight"].mT

    def _block(self, name: str, x: Tensor) -> Tensor:
        h = self._norm(f"{name}.nn.1", self._linear(f"{name}.nn.0", x)).relu()
        h = self._norm(f"{name}.nn.4", self._linear(f"{name}.nn.3", h))
        h = (h + x).relu()
        if _attribute(f"{name}.project_nn.0.weight") not in self._parameters:
            return h
        return self._norm(f"{name}.project_nn.1", self._linear(f"{name}.project_nn.0", h))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return torch.baddbmm(self[f"{name}.bias"][:, None], x, self[f"{name}.weight"].mT)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        if _attribute(f"{name}.weight") not in self._parameters:
            return x
        # Run by run, since a LayerNorm has one weight: faster than a product after it.
        weight, bias = self[f"{name}.weight"], self[f"{name}.bias"]
        shape = weight.shape[1:]
        if self.n_runs == 1:  # views, which are no copies in the backward pass
            one = layer_norm(x[0], shape, weight[0], bias[0], LAYER_NORM_EPSILON)
            return one.unsqueeze(0)
        runs = zip(x, weight, bias, strict=True)
        return torch.stack(
            [layer_norm(each, shape, w, b, LAYER_NORM_EPSILON) for each, w, b in runs]
        )


def _take(rows: Tensor, index: Tensor) -> Tensor:
    """Take rows of each run, (run, row, …); the gradient of an embedding is fast."""
    runs, n_rows = rows.shape[:2]
    offsets = n_rows * torch.arange(runs, device=index.device)
    offsets = offsets.view(-1, *[1] * index.ndim)
    return embedding(offsets + index, rows.flatten(0, 1))


def _is_of_linear_layer(name: str) -> bool:
    return name.endswith((".nn.0.weight", ".nn.3.weight", "project_nn.0.weight", "head.weight"))


def _attribute(name: str) -> str:
    """Name of a weight as an attribute, where a dot may not stand."""
    return name.replace(".", "__")
