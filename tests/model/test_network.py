"""The network against its formulas in plain NumPy, also where its sizes need no projection."""

import dataclasses

import numpy as np
import pytest

import amici_xr

torch = pytest.importorskip("torch")  # the core environment deselects what needs the model
pytestmark = pytest.mark.needs_model

OFFSET = -2.0
N_LABELS = 3


def made(n_genes, n_embedding, n_label, n_heads, n_query, n_key, size=5, hidden=7):
    """Random weights of a network of these sizes; a block is projected where its sizes differ."""
    rng = np.random.default_rng(0)
    weights = {
        "ct_embed.weight": rng.normal(size=(N_LABELS, n_label)),
        "attention_layer.W_Q": rng.normal(size=(size, n_heads, n_query)),
        "attention_layer.b_Q": rng.normal(size=(n_heads, size)),
        "attention_layer.W_K": rng.normal(size=(size, n_heads, n_key)),
        "attention_layer.b_K": rng.normal(size=(n_heads, size)),
    }

    def layer(name, n_in, n_out):
        weights[f"{name}.weight"] = rng.normal(size=(n_out, n_in)) / np.sqrt(n_in)
        weights[f"{name}.bias"] = rng.normal(size=n_out)

    def norm(name, n):
        weights[f"{name}.weight"] = rng.uniform(0.5, 1.5, n)
        weights[f"{name}.bias"] = rng.normal(size=n)

    for name, n_in, n_out in (
        ("query_embed", n_label, n_heads * n_query),
        ("nn_embed", n_genes, n_embedding),
        ("kv_embed", n_embedding, n_heads * n_key),
        ("pos_coef_mlp", n_embedding + n_label, n_heads),
    ):
        layer(f"{name}.nn.0", n_in, hidden)
        norm(f"{name}.nn.1", hidden)
        layer(f"{name}.nn.3", hidden, n_in)
        if n_in != n_out or name != "pos_coef_mlp":
            norm(f"{name}.nn.4", n_in)
        if n_in != n_out:
            layer(f"{name}.project_nn.0", n_in, n_out)
            if name != "pos_coef_mlp":
                norm(f"{name}.project_nn.1", n_out)
    return weights


def plain_scores(weights, x, query):
    """Base scores and position coefficients, (cell, head), in float64, formula by formula."""

    def linear(name, h):
        return h @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name, h):
        if f"{name}.weight" not in weights:
            return h
        centred = h - h.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def block(name, x):
        h = np.maximum(norm(f"{name}.nn.1", linear(f"{name}.nn.0", x)), 0)
        h = np.maximum(x + norm(f"{name}.nn.4", linear(f"{name}.nn.3", h)), 0)
        if f"{name}.project_nn.0.weight" in weights:
            h = norm(f"{name}.project_nn.1", linear(f"{name}.project_nn.0", h))
        return h

    size, n_heads, _ = weights["attention_layer.W_Q"].shape
    label = weights["ct_embed.weight"][query]
    of_query = block("query_embed", label).reshape(n_heads, -1)
    q = np.einsum("shd,hd->hs", weights["attention_layer.W_Q"], of_query)
    z = block("nn_embed", x)
    of_key = block("kv_embed", z).reshape(len(x), n_heads, -1)
    k = np.einsum("shd,nhd->nhs", weights["attention_layer.W_K"], of_key)
    q, k = q + weights["attention_layer.b_Q"], k + weights["attention_layer.b_K"]
    both = np.concatenate([z, np.tile(label, (len(x), 1))], axis=1)
    coefficient = np.logaddexp(0, block("pos_coef_mlp", both) + OFFSET)
    return (q * k).sum(-1) / np.sqrt(size), coefficient


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param((6, 8, 4, 2, 3, 5), id="all-projected"),
        pytest.param((6, 6, 4, 2, 2, 3), id="none-but-the-coefficient's"),
        pytest.param((6, 3, 2, 5, 2, 2), id="all-but-the-coefficient's"),
    ],
)
def test_scores_are_those_of_the_formulas_whatever_is_projected(sizes):
    from amici_xr.model.architecture import check_weights
    from amici_xr.model.network import ScoringNetwork

    weights = made(*sizes)
    tensors = {name: torch.tensor(array, dtype=torch.float32) for name, array in weights.items()}
    check_weights(tensors, sizes[0], N_LABELS, "made here")
    network = ScoringNetwork(tensors, OFFSET, [2, 0], torch.device("cpu"))
    x = np.random.default_rng(1).normal(size=(20, sizes[0]))
    base, position = network.scores(torch.tensor(x))
    assert network.shape == (2, sizes[3])
    for place, query in enumerate((2, 0)):
        expected = plain_scores(weights, x, query)
        np.testing.assert_allclose(base[:, place], expected[0], rtol=0, atol=2e-5)
        np.testing.assert_allclose(position[:, place], expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99], ids=["none", "some", "nearly all"])
def test_coefficients_that_are_needed_are_those_of_the_formulas_whatever_else_is(share):
    from amici_xr.model.network import ScoringNetwork

    weights = made(6, 8, 4, 2, 3, 5)
    tensors = {name: torch.tensor(array, dtype=torch.float32) for name, array in weights.items()}
    network = ScoringNetwork(tensors, OFFSET, [2, 0], torch.device("cpu"))
    rng = np.random.default_rng(1)
    x, needed = rng.normal(size=(200, 6)), rng.uniform(size=(200, 2)) < share
    base, position = network.scores(torch.tensor(x), torch.from_numpy(needed))
    for place, query in enumerate((2, 0)):
        expected = plain_scores(weights, x, query)
        np.testing.assert_allclose(base[:, place], expected[0], rtol=0, atol=2e-5)
        rows = needed[:, place]
        np.testing.assert_allclose(position[rows, place], expected[1][rows], rtol=1e-4, atol=1e-6)


def test_a_model_made_by_hand_with_weights_that_are_not_finite_is_named(demo):
    model, adata = demo
    weights = dict(model.weights)
    weights["ct_embed.weight"] = torch.full_like(weights["ct_embed.weight"], torch.nan)
    by_hand = dataclasses.replace(model, weights=weights)
    with pytest.raises(ValueError, match=r"weights 'ct_embed\.weight' hold NaN or infinite values"):
        amici_xr.extract(by_hand, "T_cell", adata[:50], progress=False)
