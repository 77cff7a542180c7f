"""The scoring network in torch: expression of cells → base scores and position coefficients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, relu, softplus

from .errors import listed

# Every weight that scores depend on starts so; values, output and the linear head do not.
_SCORING = (
    "ct_embed.",
    "nn_embed.",
    "kv_embed.",
    "query_embed.",
    "pos_coef_mlp.",
    *(f"attention_layer.{name}" for name in ("W_Q", "b_Q", "W_K", "b_K")),
)


class ScoringNetwork:
    """The part of AMICI's network that scores depend on, for inference only.

    What of it depends on the neighbor alone is computed once and serves every query.

    Parameters
    ----------
    weights
        State dict of the model; the shapes in it give every layer's size.
    pos_coef_offset
        Added to the position coefficient before the softplus.
    device
        Where to compute.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], pos_coef_offset: float, device: torch.device
    ) -> None:
        self.device = device
        self.pos_coef_offset = pos_coef_offset
        self._weights = {
            name: tensor.to(device=device, dtype=torch.float32)
            for name, tensor in weights.items()
            if name.startswith(_SCORING)
        }
        broken = [name for name, tensor in self._weights.items() if not tensor.isfinite().all()]
        if broken:
            raise ValueError(f"the model's weights {listed(broken)} hold NaN or infinite values")

    @torch.inference_mode()
    def scores(self, expression: Tensor, queries: list[int]) -> tuple[Tensor, Tensor]:
        """Base scores and position coefficients, (query, cell, head), of cells × genes."""
        embedding = self._mlp("nn_embed", expression.to(self.device, torch.float32))
        key = self._mlp("kv_embed", embedding)
        pairs = [self._scores_of(query, embedding, key) for query in queries]
        return torch.stack([a for a, _ in pairs]), torch.stack([p for _, p in pairs])

    def _scores_of(self, query: int, embedding: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        weight = self._weights
        w_q, w_k = weight["attention_layer.W_Q"], weight["attention_layer.W_K"]
        head_size, n_heads, _ = w_q.shape
        label = weight["ct_embed.weight"][query]
        features = self._mlp("query_embed", label).view(n_heads, -1)
        q = torch.einsum("shd,hd->hs", w_q, features) + weight["attention_layer.b_Q"]
        # Q is one vector per head, so it folds into W_K: a head needs one dot product per cell.
        # Folded in float64 and summed pairwise, it rounds no more than the product unfolded.
        q, scale = q.double(), head_size**-0.5
        folded = (torch.einsum("hs,shk->hk", q, w_k.double()) * scale).float()
        bias = ((q * weight["attention_layer.b_K"]).sum(dim=1) * scale).float()
        base = (key.view(len(key), n_heads, -1) * folded).sum(dim=2) + bias
        pair = torch.cat([embedding, label.expand(len(embedding), -1)], dim=1)
        position = softplus(self._mlp("pos_coef_mlp", pair) + self.pos_coef_offset)
        return base, position

    def _mlp(self, name: str, x: Tensor) -> Tensor:
        """Run a residual block; its LayerNorms stand where the state dict has them."""
        h = relu(self._norm(f"{name}.nn.1", self._linear(f"{name}.nn.0", x)))
        h = relu(x + self._norm(f"{name}.nn.4", self._linear(f"{name}.nn.3", h)))
        if f"{name}.project_nn.0.weight" not in self._weights:
            return h
        return self._norm(f"{name}.project_nn.1", self._linear(f"{name}.project_nn.0", h))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        if f"{name}.weight" not in self._weights:
            return x
        return layer_norm(
            x, x.shape[-1:], self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        )
