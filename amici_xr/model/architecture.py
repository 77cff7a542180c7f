"""Whether the weights of a model are those of AMICI's network: names, shapes, finite numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from amici_xr.errors import listed

if TYPE_CHECKING:
    import torch

# Every weight that scores depend on starts so; values, output and the linear head do not.
SCORING = (
    "ct_embed.",
    "nn_embed.",
    "kv_embed.",
    "query_embed.",
    "pos_coef_mlp.",
    *(f"attention_layer.{name}" for name in ("W_Q", "b_Q", "W_K", "b_K")),
)
# What a state dict holds besides, on which no score depends.
_BESIDE = ("ct_profiles", "attention_layer.", "linear_head.")
_NEEDED = ("ct_embed.weight", "attention_layer.W_Q", "nn_embed.nn.0.weight")

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def check_is_network(weights: Mapping[str, torch.Tensor], others: list[str], where: str) -> None:
    """Refuse weights that are not AMICI's at all; `others` lacks besides them."""
    missing = [name for name in _NEEDED if name not in weights] + others
    if missing:
        raise ValueError(f"{where} is not an AMICI model: it lacks {listed(missing)}")


def check_weights(
    weights: Mapping[str, torch.Tensor], n_genes: int, n_labels: int, where: str
) -> None:
    """Refuse weights that don't make the network that scores are computed with.

    Every weight must be there with the shape that the others, the genes and the labels ask for,
    and no weight may be there that has no place in it.
    """
    import torch

    strange = [
        name
        for name, tensor in weights.items()
        if not isinstance(name, str)
        or not isinstance(tensor, torch.Tensor)
        or tensor.layout != torch.strided
        or (name.startswith(SCORING) and not tensor.is_floating_point())
    ]
    if strange:
        raise ValueError(f"{where}: the weights {listed(strange)} are not arrays of real numbers")
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    needed = dict(_needed_shapes(shapes, n_genes, n_labels))
    missing = [name for name in needed if name not in shapes]
    if missing:
        raise ValueError(f"{where}: the model's weights lack {listed(missing)}")
    known = (*needed, *(name for name in shapes if name.startswith(_BESIDE)))
    extra = [name for name in shapes if name not in set(known)]
    if extra:
        raise ValueError(
            f"{where}: the model's weights hold {listed(extra)}, which have no place in AMICI's "
            "network"
        )
    wrong = [name for name, shape in needed.items() if shapes[name] != shape]
    if wrong:
        told = ", ".join(f"{name!r} is {shapes[name]}, not {needed[name]}" for name in wrong[:5])
        raise ValueError(
            f"{where}: the model's weights don't fit its {n_genes} genes, its {n_labels} cell "
            f"types or each other: {told}"
        )
    broken = [name for name in needed if not weights[name].isfinite().all()]
    if broken:
        raise ValueError(
            f"{where}: the model's weights {listed(broken)} hold NaN or infinite values"
        )


def _needed_shapes(shapes: Mapping[str, tuple[int, ...]], n_genes: int, n_labels: int) -> Shapes:
    """Name and shape of every weight that scores depend on; sizes that are free as they are."""
    size, n_heads, n_query = _sizes(shapes, "attention_layer.W_Q", 3)
    *_, n_key = _sizes(shapes, "attention_layer.W_K", 3)
    _, n_label = _sizes(shapes, "ct_embed.weight", 2)
    n_embedding, _ = _sizes(shapes, "nn_embed.project_nn.0.weight", 2)
    n_embedding = n_embedding or n_genes
    yield "ct_embed.weight", (n_labels, n_label)
    yield "attention_layer.W_Q", (size, n_heads, n_query)
    yield "attention_layer.b_Q", (n_heads, size)
    yield "attention_layer.W_K", (size, n_heads, n_key)
    yield "attention_layer.b_K", (n_heads, size)
    yield from _block(shapes, "query_embed", n_label, n_heads * n_query)
    yield from _block(shapes, "nn_embed", n_genes, n_embedding)
    yield from _block(shapes, "kv_embed", n_embedding, n_heads * n_key)
    yield from _block(shapes, "pos_coef_mlp", n_embedding + n_label, n_heads)


def _block(shapes: Mapping[str, tuple[int, ...]], name: str, n_in: int, n_out: int) -> Shapes:
    """A residual block; its end is projected where the sizes differ."""
    hidden, _ = _sizes(shapes, f"{name}.nn.0.weight", 2)
    ends_plainly = name == "pos_coef_mlp"  # without a LayerNorm
    is_projected = n_in != n_out or f"{name}.project_nn.0.weight" in shapes
    yield from _layer(f"{name}.nn.0", n_in, hidden)
    yield from _norm(f"{name}.nn.1", hidden)
    yield from _layer(f"{name}.nn.3", hidden, n_in)
    if is_projected or not ends_plainly or f"{name}.nn.4.weight" in shapes:
        yield from _norm(f"{name}.nn.4", n_in)
    if is_projected:
        yield from _layer(f"{name}.project_nn.0", n_in, n_out)
        if not ends_plainly:
            yield from _norm(f"{name}.project_nn.1", n_out)


def _layer(name: str, n_in: int, n_out: int) -> Shapes:
    yield f"{name}.weight", (n_out, n_in)
    yield f"{name}.bias", (n_out,)


def _norm(name: str, size: int) -> Shapes:
    yield f"{name}.weight", (size,)
    yield f"{name}.bias", (size,)


def _sizes(shapes: Mapping[str, tuple[int, ...]], name: str, n_dims: int) -> tuple[int, ...]:
    """Sizes of a weight; 0 where it is not there or has other dims, which is told later."""
    shape = shapes.get(name, ())
    return shape if len(shape) == n_dims else (0,) * n_dims
