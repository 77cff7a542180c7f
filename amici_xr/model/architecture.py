"""Whether the weights of a model are those of AMICI's network: names, shapes, finite numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from amici_xr.errors import listed

if TYPE_CHECKING:
    import torch

# How the names of the weights that scores depend on begin.
SCORING = (
    "ct_embed.",
    "nn_embed.",
    "kv_embed.",
    "query_embed.",
    "pos_coef_mlp.",
    *(f"attention_layer.{name}" for name in ("W_Q", "b_Q", "W_K", "b_K")),
)
VALUES = ("attention_layer.W_V", "attention_layer.b_V")
# What of values makes the prediction.
PREDICTION = (
    "ct_profiles",
    "attention_layer.W_O",
    "attention_layer.norm_o.weight",
    "attention_layer.norm_o.bias",
    "linear_head.weight",
)
# The other weights of a state dict, on which no score depends.
_BESIDE = ("ct_profiles", "attention_layer.", "linear_head.")
_NEEDED = ("ct_embed.weight", "attention_layer.W_Q", "nn_embed.nn.0.weight")

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def check_is_network(weights: Mapping[str, torch.Tensor], lacking: list[str], source: str) -> None:
    """Refuse weights that are not AMICI's at all; `lacking` names what else is not there."""
    missing = [name for name in _NEEDED if name not in weights] + lacking
    if missing:
        raise ValueError(f"{source} is not an AMICI model: it lacks {listed(missing)}")


def check_weights(
    weights: Mapping[str, torch.Tensor], n_genes: int, n_labels: int, source: str
) -> None:
    """Refuse weights that are not those of the network that scores are computed with.

    Every weight must have the shape that the other weights, the genes and the labels require, and
    weights that are not part of the network are refused.
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
        raise ValueError(f"{source}: the weights {listed(strange)} are not arrays of real numbers")
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    needed = dict(_needed_shapes(shapes, n_genes, n_labels))
    missing = [name for name in needed if name not in shapes]
    if missing:
        raise ValueError(f"{source}: the model's weights lack {listed(missing)}")
    extra = [name for name in shapes if name not in needed and not name.startswith(_BESIDE)]
    if extra:
        raise ValueError(f"{source}: AMICI's network has no weights {listed(extra)}")
    wrong = [name for name, shape in needed.items() if shapes[name] != shape]
    if wrong:
        first = ", ".join(f"{name!r} is {shapes[name]}, not {needed[name]}" for name in wrong[:5])
        raise ValueError(
            f"{source}: the model's weights don't fit its {n_genes} genes, its {n_labels} cell "
            f"types or each other: {first}"
        )
    check_finite({name: weights[name] for name in needed}, f"{source}: ")


def check_prediction_weights(
    weights: Mapping[str, torch.Tensor], n_genes: int, n_labels: int
) -> None:
    """Refuse weights from which expression can't be predicted: absent, misshapen, not finite."""
    size, n_heads, n_key = weights["attention_layer.W_K"].shape
    n_output = n_heads * size
    needed: dict[str, tuple[int, ...]] = {
        "attention_layer.W_V": (size, n_heads, n_key),
        "attention_layer.b_V": (n_heads, size),
        "attention_layer.W_O": (n_output, n_heads, size),
        "attention_layer.norm_o.weight": (n_output,),
        "attention_layer.norm_o.bias": (n_output,),
        "linear_head.weight": (n_genes, n_output),
        "ct_profiles": (n_labels, n_genes),
    }
    missing = [name for name in needed if name not in weights]
    if missing:
        raise ValueError(
            f"effects need the model's weights {listed(missing)}, which it lacks; extract without "
            "effects, or with the model as AMICI saved it"
        )
    wrong = [name for name, shape in needed.items() if tuple(weights[name].shape) != shape]
    if wrong:
        name = wrong[0]
        raise ValueError(
            f"effects need the model's weight {name!r} of the shape {needed[name]}, not "
            f"{tuple(weights[name].shape)}; extract without effects, or with the model as saved"
        )
    check_finite({name: weights[name] for name in needed})


def check_finite(weights: Mapping[str, torch.Tensor], prefix: str = "") -> None:
    """Refuse weights that are not finite, with a message that begins with `prefix`."""
    broken = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(
            f"{prefix}the model's weights {listed(broken)} hold NaN or infinite values"
        )


def _needed_shapes(shapes: Mapping[str, tuple[int, ...]], n_genes: int, n_labels: int) -> Shapes:
    """Yield name and shape of every weight that scores depend on; free sizes as they are."""
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
    """Yield the weights of a residual block, projected at its end where the sizes differ."""
    hidden, _ = _sizes(shapes, f"{name}.nn.0.weight", 2)
    ends_with_norm = name != "pos_coef_mlp"
    is_projected = n_in != n_out or f"{name}.project_nn.0.weight" in shapes
    yield from _weight_and_bias(f"{name}.nn.0", hidden, n_in)
    yield from _weight_and_bias(f"{name}.nn.1", hidden)
    yield from _weight_and_bias(f"{name}.nn.3", n_in, hidden)
    if is_projected or ends_with_norm or f"{name}.nn.4.weight" in shapes:
        yield from _weight_and_bias(f"{name}.nn.4", n_in)
    if is_projected:
        yield from _weight_and_bias(f"{name}.project_nn.0", n_out, n_in)
        if ends_with_norm:
            yield from _weight_and_bias(f"{name}.project_nn.1", n_out)


def _weight_and_bias(name: str, *shape: int) -> Shapes:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _sizes(shapes: Mapping[str, tuple[int, ...]], name: str, n_dims: int) -> tuple[int, ...]:
    """Return the sizes of a weight, or 0 where it lacks or has other dims, as is told later."""
    shape = shapes.get(name, ())
    return shape if len(shape) == n_dims else (0,) * n_dims
