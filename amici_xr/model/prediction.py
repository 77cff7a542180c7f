"""From what neighbors send to the expression that the model predicts, for inference only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from amici_xr.model.architecture import PREDICTION, SCORING, check_finite
from amici_xr.model.network import LAYER_NORM_EPSILON, query_vector


@dataclass(frozen=True)
class PredictionLayers:
    """The layers after the attention: ``ŷ = profile + linear_head·norm_o(W_O z + Q)``.

    Attributes
    ----------
    q
        All heads' Q of each query type, laid end to end, (query, output).
    w_o
        W_O, (head, size, output).
    norm_weight, norm_bias
        Of the LayerNorm `norm_o`, (output,).
    linear_head
        (gene, output).
    profiles
        Mean expression of each query type in the training tissue, (query, gene).
    """

    q: Tensor
    w_o: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    linear_head: Tensor
    profiles: Tensor

    def project(self, sent: Tensor, head: int | None = None) -> Tensor:
        """Apply W_O to what neighbors send, (…, head, size), of all heads or of one alone."""
        if head is None:
            return sent.flatten(-2) @ self.w_o.flatten(0, 1)
        return sent[..., head, :] @ self.w_o[head]

    def normalize(self, output: Tensor) -> Tensor:
        """Apply ``norm_o`` to (…, output)."""
        shape = self.norm_weight.shape
        return layer_norm(output, shape, self.norm_weight, self.norm_bias, LAYER_NORM_EPSILON)


def prediction_layers(
    weights: Mapping[str, Tensor], queries: Sequence[int], device: torch.device
) -> PredictionLayers:
    """Take the layers after the attention from the weights, for the query types asked for."""
    used = {name: w for name, w in weights.items() if name.startswith((*SCORING, *PREDICTION))}
    check_finite(used)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        q = torch.stack([query_vector(used, query).flatten() for query in queries])
    profiles = used["ct_profiles"][list(queries)]
    w_o, *norm, head = (used[name] for name in PREDICTION[1:])
    tensors = (q, w_o.permute(1, 2, 0).contiguous(), *norm, head, profiles)
    return PredictionLayers(*(tensor.to(device, torch.float32) for tensor in tensors))
