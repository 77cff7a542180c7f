"""The initial weights of one training run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from amici_xr.training.settings import NetworkSizes


class Block(NamedTuple):
    """A residual block: input, hidden and output size, and whether it ends with a LayerNorm."""

    n_in: int
    n_hidden: int
    n_out: int
    ends_with_norm: bool = True

    @property
    def is_projected(self) -> bool:
        """Whether the output has another size than the input."""
        return self.n_in != self.n_out


def blocks(sizes: NetworkSizes, n_genes: int) -> dict[str, Block]:
    """Return the residual blocks of the network by their names in a state dict."""
    of_position = sizes.cell_size + sizes.label_size
    return {
        "query_embed": Block(
            sizes.label_size, sizes.query_hidden_size, sizes.n_heads * sizes.query_size
        ),
        "nn_embed": Block(n_genes, sizes.cell_hidden_size, sizes.cell_size),
        "pos_coef_mlp": Block(of_position, sizes.position_hidden_size, sizes.n_heads, False),
        "kv_embed": Block(sizes.cell_size, sizes.key_size, sizes.n_heads * sizes.key_size),
    }


def initial_weights(
    sizes: NetworkSizes, n_genes: int, n_labels: int, seed: int
) -> dict[str, Tensor]:
    """Draw the weights that a training run begins with, by their names in a state dict.

    PyTorch's defaults for linear layers, LayerNorm and embeddings; the weights and biases of the
    attention uniform in ``±1/√fan_in``.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {"ct_embed.weight": torch.randn(n_labels, sizes.label_size, generator=generator)}
    for name, block in blocks(sizes, n_genes).items():
        weights |= {f"{name}.{layer}": w for layer, w in _block_weights(block, generator)}
    heads, size, n_output = sizes.n_heads, sizes.head_size, sizes.output_size
    for letter, n_in in (("Q", sizes.query_size), ("K", sizes.key_size), ("V", sizes.key_size)):
        bound = 1 / math.sqrt(heads * n_in)
        weights |= {
            f"attention_layer.W_{letter}": _uniform(bound, (size, heads, n_in), generator),
            f"attention_layer.b_{letter}": _uniform(bound, (heads, size), generator),
        }
    shape = (n_output, heads, size)
    weights["attention_layer.W_O"] = _uniform(1 / math.sqrt(heads * size), shape, generator)
    weights["attention_layer.norm_o.weight"] = torch.ones(n_output)
    weights["attention_layer.norm_o.bias"] = torch.zeros(n_output)
    bound = 1 / math.sqrt(n_output)
    weights["linear_head.weight"] = _uniform(bound, (n_genes, n_output), generator)
    return weights


def _block_weights(block: Block, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    yield from _linear("nn.0", block.n_in, block.n_hidden, generator)
    yield from _norm("nn.1", block.n_hidden)
    yield from _linear("nn.3", block.n_hidden, block.n_in, generator)
    if block.is_projected or block.ends_with_norm:
        yield from _norm("nn.4", block.n_in)
    if block.is_projected:
        yield from _linear("project_nn.0", block.n_in, block.n_out, generator)
        if block.ends_with_norm:
            yield from _norm("project_nn.1", block.n_out)


def _linear(
    name: str, n_in: int, n_out: int, generator: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    bound = 1 / math.sqrt(n_in)
    yield f"{name}.weight", _uniform(bound, (n_out, n_in), generator)
    yield f"{name}.bias", _uniform(bound, (n_out,), generator)


def _norm(name: str, size: int) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.weight", torch.ones(size)
    yield f"{name}.bias", torch.zeros(size)


def _uniform(bound: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)
