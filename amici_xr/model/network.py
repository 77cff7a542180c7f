"""The scoring network in torch: expression of cells → base scores and position coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, softplus

from amici_xr.model.architecture import SCORING, VALUES, check_finite

_LAYERS = ("nn_embed.", "kv_embed.nn.", "pos_coef_mlp.")  # what is run as it stands
_NEARLY_ALL = 0.95  # of the rows: to take so many costs as much as to compute the others
LAYER_NORM_EPSILON = 1e-5  # torch's default, which the model uses


class ScoringNetwork:
    """The part of AMICI's network that scores depend on, for inference only.

    What of it depends on the neighbor alone is computed once and serves every query; what depends
    on the queries alone is computed here and folded into the weights:

    - A head's query is one vector Q, so ``Q·(W_K k + b_K)/√s`` is one dot product with the key
      features k, of weights f, and a constant.
    - ``k = γ·C(Wh + b)/σ + β``, with C the subtraction of the mean, so ``f·k`` needs the few
      numbers ``(f γ)·C(Wh + b)`` and σ, and of the wide ``C(Wh + b)`` only its norm, for σ. That
      is the norm of ``R[h; 1]``, with R from the QR decomposition of ``C[W b]``. The numbers
      cancel, so these few, and the sum of squares, are float64.
    - The first layer of ``pos_coef_mlp`` takes the neighbor and the query side by side: a product
      that all queries share, and a constant of each.

    Parameters
    ----------
    weights
        State dict of the model; the shapes in it give every layer's size.
    pos_coef_offset
        Added to the position coefficient before the softplus.
    queries
        Positions of the receiving cell types in the model's vocabulary.
    device
        Where to compute.
    with_values
        Whether `scores` also returns what a neighbor sends, the values V of each head.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        pos_coef_offset: float,
        queries: Sequence[int],
        device: torch.device,
        *,
        with_values: bool = False,
    ) -> None:
        prefixes = (*SCORING, *VALUES) if with_values else SCORING
        used = {name: tensor for name, tensor in weights.items() if name.startswith(prefixes)}
        check_finite(used)
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            exact = {name: tensor.to("cpu", torch.float64) for name, tensor in used.items()}
            labels = exact["ct_embed.weight"][list(queries)]
            layers = {name: weight for name, weight in exact.items() if name.startswith(_LAYERS)}
            layers |= _split_position(exact, labels) | _key_norm(exact)
            q = torch.stack([query_vector(used, query) for query in queries])
            folded = _fold_keys(exact, q.double())
            if with_values:
                folded |= _fold_values(exact)
        self._weights = {name: w.to(device, torch.float32) for name, w in layers.items()}
        precise = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
        self._weights |= {name: w.to(device, precise) for name, w in folded.items()}
        self._pos_coef_offset = pos_coef_offset
        self.device = device
        self.shape = tuple(folded["folded.constant"].shape)  # (query, head)

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes, without the cell, of all that `scores` returns."""
        values = self._weights.get("values.constant")
        return (self.shape, self.shape, *([] if values is None else [tuple(values.shape)]))

    @torch.inference_mode()
    def scores(self, expression: Tensor, is_needed: Tensor | None = None) -> tuple[Tensor, ...]:
        """Base scores and position coefficients, (cell, query, head), of cells × genes.

        With values, these as a third tensor, (cell, head, size). `is_needed`, (cell, query), tells
        which position coefficients are used later; the others may be 0, since they cost most.
        """
        x = expression.to(self.device, torch.float32, non_blocking=True)
        embedding = _project(self._weights, "nn_embed", _residual(self._weights, "nn_embed", x))
        keys = self._from_keys(_residual(self._weights, "kv_embed", embedding))
        shared = linear(embedding, self._weights["split.weight"])
        constants, labels = self._weights["split.constant"], self._weights["split.label"]
        position = x.new_zeros(len(x), *self.shape)
        for query, (constant, label) in enumerate(zip(constants, labels, strict=True)):
            rows = None if is_needed is None else _rows(is_needed[:, query], self.device)
            if rows is None:
                first = shared + constant
                position[:, query] = self._position_coefficients(embedding, first, label)
            else:
                first = shared.index_select(0, rows).add_(constant)
                of_rows = embedding.index_select(0, rows)
                position[rows, query] = self._position_coefficients(of_rows, first, label)
        return keys[0], position, *keys[1:]

    def _from_keys(self, h: Tensor) -> list[Tensor]:
        """Base scores, (cell, query, head), and values, (cell, head, size), where asked for."""
        precise = h.to(self._weights["folded.constant"].dtype)
        scale = None
        if "key_norm.weight" in self._weights:
            root = _linear(self._weights, "key_norm", h)
            norm = torch.linalg.vector_norm(root, dim=1, keepdim=True, dtype=precise.dtype)
            scale = (norm.square() + LAYER_NORM_EPSILON).rsqrt()
        results = []
        for name in ("folded", "values"):
            if f"{name}.constant" not in self._weights:
                continue
            constant, folded = (
                self._weights[f"{name}.constant"],
                _linear(self._weights, name, precise),
            )
            if scale is not None:
                folded *= scale
            results.append((folded.view(-1, *constant.shape) + constant).float())
        return results

    def _position_coefficients(self, embedding: Tensor, first: Tensor, label: Tensor) -> Tensor:
        n = embedding.shape[1]
        h = _norm(self._weights, "pos_coef_mlp.nn.1", first).relu_()
        h = _second_layer(self._weights, "pos_coef_mlp", h)
        h[:, :n] += embedding
        h[:, n:] += label
        return softplus(_project(self._weights, "pos_coef_mlp", h.relu_()) + self._pos_coef_offset)


def _rows(is_needed: Tensor, device: torch.device) -> Tensor | None:
    """Positions of the rows that are needed; None for all of them, where few can be left out."""
    rows = is_needed.nonzero().flatten()
    return None if len(rows) > _NEARLY_ALL * len(is_needed) else rows.to(device)


def query_vector(weights: Mapping[str, Tensor], query: int) -> Tensor:
    """Q of each head, (head, size), in float32 as the model has it.

    One query at a time, so that its last bits do not depend on which others are asked for.
    """
    weights = {name: tensor.to("cpu", torch.float32) for name, tensor in weights.items()}
    w_q = weights["attention_layer.W_Q"]
    label = weights["ct_embed.weight"][query]
    features = _project(weights, "query_embed", _residual(weights, "query_embed", label))
    features = features.view(w_q.shape[1], -1)
    return torch.einsum("shd,hd->hs", w_q, features) + weights["attention_layer.b_Q"]


def _fold_keys(weights: Mapping[str, Tensor], q: Tensor) -> dict[str, Tensor]:
    """Weights, one row per query and head, and constants that give base scores from h."""
    q = q * q.shape[-1] ** -0.5
    constant = (q * weights["attention_layer.b_K"]).sum(dim=2)
    of_own_features = torch.einsum("qhs,shk->qhk", q, weights["attention_layer.W_K"])
    return _fold(weights, "folded", of_own_features.transpose(0, 1), constant)


def _fold_values(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights, one row per head and element of its values, and constants that give V from h."""
    of_own_features = weights["attention_layer.W_V"].transpose(0, 1)
    constant = weights["attention_layer.b_V"]
    return _fold(weights, "values", of_own_features, constant, heads_first=True)


def _fold(
    weights: Mapping[str, Tensor],
    name: str,
    of_own_features: Tensor,
    constant: Tensor,
    *,
    heads_first: bool = False,
) -> dict[str, Tensor]:
    """Fold products with each head's own key features, (head, row, feature), into those with h.

    The rows of the result are (row, head), or (head, row), as those of `constant`.
    """
    n_heads, n_rows, n_features = of_own_features.shape
    # (head, row, head, feature): a head sees its own features alone, the others have weight 0.
    fold = of_own_features.new_zeros(n_heads, n_rows, n_heads, n_features)
    heads = torch.arange(n_heads, device=fold.device)
    fold[heads, :, heads] = of_own_features
    fold = (fold if heads_first else fold.transpose(0, 1)).flatten(2).flatten(0, 1)
    if "kv_embed.project_nn.0.weight" not in weights:
        bias = fold.new_zeros(len(fold))
    else:
        constant = constant + (fold @ weights["kv_embed.project_nn.1.bias"]).view_as(constant)
        rows = fold * weights["kv_embed.project_nn.1.weight"] @ _centred(weights)
        fold, bias = rows[:, :-1], rows[:, -1]
    return {f"{name}.weight": fold, f"{name}.bias": bias, f"{name}.constant": constant}


def _key_norm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """R of the QR decomposition of ``C[W b]``, scaled so that ``‖R[h; 1]‖² = σ²`` but for ε."""
    if "kv_embed.project_nn.0.weight" not in weights:
        return {}
    centred = _centred(weights)
    root = torch.linalg.qr(centred, mode="r").R * len(centred) ** -0.5
    return {"key_norm.weight": root[:, :-1], "key_norm.bias": root[:, -1]}


def _centred(weights: Mapping[str, Tensor]) -> Tensor:
    """``C[W b]`` of the last layer of ``kv_embed``, with C the subtraction of the mean."""
    weight, bias = weights["kv_embed.project_nn.0.weight"], weights["kv_embed.project_nn.0.bias"]
    layer = torch.cat([weight, bias[:, None]], dim=1)
    return layer - layer.mean(dim=0)


def _split_position(weights: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
    """The first layer of ``pos_coef_mlp``: the neighbor's part, and a constant of each query."""
    weight = weights["pos_coef_mlp.nn.0.weight"]
    n_neighbor = weight.shape[1] - labels.shape[1]
    constant = labels @ weight[:, n_neighbor:].T + weights["pos_coef_mlp.nn.0.bias"]
    neighbor_weight = weight[:, :n_neighbor]
    return {"split.weight": neighbor_weight, "split.constant": constant, "split.label": labels}


def _residual(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Run a residual block up to where it is projected, if it is."""
    h = _norm(weights, f"{name}.nn.1", _linear(weights, f"{name}.nn.0", x)).relu_()
    return _second_layer(weights, name, h).add_(x).relu_()


def _second_layer(weights: Mapping[str, Tensor], name: str, h: Tensor) -> Tensor:
    return _norm(weights, f"{name}.nn.4", _linear(weights, f"{name}.nn.3", h))


def _project(weights: Mapping[str, Tensor], name: str, h: Tensor) -> Tensor:
    if f"{name}.project_nn.0.weight" not in weights:
        return h
    return _norm(weights, f"{name}.project_nn.1", _linear(weights, f"{name}.project_nn.0", h))


def _linear(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _norm(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """LayerNorm where the state dict has one; ``pos_coef_mlp`` ends without."""
    if f"{name}.weight" not in weights:
        return x
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return layer_norm(x, x.shape[-1:], weight, bias, LAYER_NORM_EPSILON)
