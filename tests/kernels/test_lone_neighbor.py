"""The effect of a lone neighbor in closed form, against the layers one after the other."""

import numpy as np
import pytest

from amici_xr.kernels.lone_neighbor import lone_attention, lone_neighbor_effect, prepare_senders

N_HEADS, N_CELLS, N_OUTPUT, N_GENES, N_DISTANCES, EPSILON = 3, 6, 8, 5, 4, 1e-5


@pytest.fixture
def layers():
    rng = np.random.default_rng(0)
    return {
        "sent": rng.normal(size=(N_HEADS, N_CELLS, N_OUTPUT)).astype(np.float32),
        "q": rng.normal(size=N_OUTPUT).astype(np.float32),
        "norm_weight": rng.uniform(0.5, 1.5, N_OUTPUT).astype(np.float32),
        "linear_head": rng.normal(size=(N_GENES, N_OUTPUT)).astype(np.float32),
        "weight": rng.random((N_HEADS, N_DISTANCES, N_CELLS)).astype(np.float32),
    }


def of_each_neighbor(layers):
    """Effects of each neighbor, (distance, neighbor, gene), layer by layer in float64."""
    sent, q, norm_weight, linear_head, weight = (
        layers[name].astype(np.float64)
        for name in ("sent", "q", "norm_weight", "linear_head", "weight")
    )

    def decode(o):
        centred = o - o.mean(axis=-1, keepdims=True)
        return norm_weight * centred / np.sqrt(o.var(axis=-1, keepdims=True) + EPSILON)

    output = np.einsum("hdn,hno->dno", weight, sent) + q
    return (decode(output) - decode(q)) @ linear_head.T


def closed_form(layers, cells):
    values = layers["sent"].swapaxes(0, 1)
    as_it_is = np.broadcast_to(np.eye(N_OUTPUT, dtype=np.float32), (N_HEADS, N_OUTPUT, N_OUTPUT))
    senders = prepare_senders(values, as_it_is, layers["norm_weight"], layers["linear_head"])
    weight = np.ascontiguousarray(layers["weight"][:, :, cells].transpose(2, 0, 1))
    return lone_neighbor_effect(senders, np.array(cells), weight, layers["q"], EPSILON)


def test_the_mean_is_that_of_the_single_effects(layers):
    cells = [0, 2, 3, 5]
    effect, _ = closed_form(layers, cells)
    expected = of_each_neighbor(layers)[:, cells].mean(axis=1)
    np.testing.assert_allclose(effect, expected, rtol=0, atol=1e-5)


def test_the_noise_is_the_standard_error_of_the_mean_over_all_genes(layers):
    cells = [0, 1, 4]
    _, noise = closed_form(layers, cells)
    variance = of_each_neighbor(layers)[:, cells].var(axis=1, ddof=1).sum(axis=1)
    np.testing.assert_allclose(noise, np.sqrt(variance / len(cells)), rtol=1e-4)


def test_one_neighbor_tells_no_noise(layers):
    _, noise = closed_form(layers, [3])
    assert np.isinf(noise).all()


def test_attention_falls_with_distance_and_never_overflows():
    score, slope = np.array([[0.0], [1.0]], np.float32), np.array([[1.0], [1000.0]], np.float32)
    weight = lone_attention(score, slope, np.array([0.0, 2.0], np.float32))
    assert weight[0, 0] == pytest.approx([0.5, 1 / (1 + np.exp(2.0))])
    assert weight[1, 0] == pytest.approx([1 / (1 + np.exp(-1.0)), 0.0])
