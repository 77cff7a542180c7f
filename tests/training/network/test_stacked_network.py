"""The network against recorded losses and gradients, and runs among many against each alone."""

import numpy as np
import pytest
from recorded_data import data_folder

import amici_xr

torch = pytest.importorskip("torch")
pytest.importorskip("einops")

from amici_xr.tissue.cells import read_tissue  # noqa: E402  # after what may be absent
from amici_xr.training.network.batches import TrainingTissue  # noqa: E402  # after importorskip
from amici_xr.training.network.stacked_network import StackedNetwork  # noqa: E402  # after importorskip
from amici_xr.training.network.weights import initial_weights  # noqa: E402  # after importorskip
from amici_xr.training.preparation import find_neighborhoods, read_expression  # noqa: E402  # after importorskip
from amici_xr.training.settings import NetworkSizes  # noqa: E402  # after importorskip

pytestmark = [pytest.mark.needs_model, pytest.mark.needs_training]

SIZES = NetworkSizes(2, 4, 6, 5, 7, 9, 8, 6, 7)
DEFAULTS = {"dummy_score": 3.0, "distance_unit": 1.0, "position_offset": -2.0}


@pytest.fixture(scope="module", params=["synthetic", "merfish"])
def recorded_training(request):
    """A recorded model as a network in float64, its tissue, and what was recorded."""
    folder = data_folder() / request.param
    model = amici_xr.load_model(folder / "model")
    tissue = read_tissue(
        folder / "adata.h5ad",
        labels_key="cell_type",
        vocabulary=model.labels,
        genes=model.gene_names,
    )
    weights = {name: weight.double() for name, weight in model.weights.items()}
    profiles = weights.pop("ct_profiles")
    weights.pop("attention_layer.IGNORE")
    index, distance = find_neighborhoods(tissue, model.settings.n_neighbors)
    expression = torch.from_numpy(read_expression(tissue)).double()
    arrays = TrainingTissue(expression, profiles, tissue.codes, index, distance)
    recorded = np.load(folder / "recorded" / "effects.npz")
    return StackedNetwork([weights], **DEFAULTS, left_out=[-1]), arrays, recorded


def test_the_terms_of_the_loss_are_those_recorded(recorded_training):
    network, tissue, recorded = recorded_training
    terms = network(tissue.batch(recorded["batch"]))
    found = [float(term.detach()) for term in terms[:3]]
    np.testing.assert_allclose(found, recorded["loss_terms"], rtol=1e-5)


def test_the_terms_are_those_recorded_where_neighbors_are_masked(recorded_training):
    network, tissue, recorded = recorded_training
    kept = torch.from_numpy(recorded["mask"] != 0)[None]
    terms = network(tissue.batch(recorded["batch"]), kept)
    found = [float(term.detach()) for term in terms[:3]]
    np.testing.assert_allclose(found, recorded["loss_terms_masked"], rtol=1e-5)


def test_gradients_have_the_recorded_norms(recorded_training):
    network, tissue, recorded = recorded_training
    terms = network(tissue.batch(recorded["batch"]))
    network.zero_grad()
    loss = terms.reconstruction + 1e-3 * terms.attention_entropy + 1e-3 * terms.value_penalty
    loss.sum().backward()
    norms = [float(network.gradient(str(name)).norm()) for name in recorded["parameters"]]
    np.testing.assert_allclose(norms, recorded["gradient_norms"], rtol=1e-5)


@pytest.fixture(scope="module")
def small_tissue():
    """Forty cells of three types with a dozen genes, each with five neighbors or fewer."""
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 3, 40)
    index = np.array([generator.choice(np.flatnonzero(codes != code), 5, False) for code in codes])
    index[::7, 3:] = -1
    distance = np.sort(generator.uniform(0, 20, index.shape), axis=1).astype(np.float32)
    expression = torch.from_numpy(generator.normal(size=(40, 12)))
    profiles = torch.from_numpy(generator.normal(size=(3, 12)))
    return TrainingTissue(expression, profiles, codes, index, distance)


def some_weights(seed):
    weights = initial_weights(SIZES, 12, 3, seed)
    return {name: weight.double() + 0.1 for name, weight in weights.items()}


def naive_terms(weights, tissue, receivers, kept=None, left_out=-1):
    """One receiver and one neighbor at a time, from the formulas."""
    layer_norm, softplus = torch.nn.functional.layer_norm, torch.nn.functional.softplus

    def norm(name, x):
        if f"{name}.weight" not in weights:
            return x
        return layer_norm(x, x.shape, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def linear(name, x):
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]

    def block(name, x):
        h = norm(f"{name}.nn.1", linear(f"{name}.nn.0", x)).relu()
        h = (x + norm(f"{name}.nn.4", linear(f"{name}.nn.3", h))).relu()
        if f"{name}.project_nn.0.weight" in weights:
            h = norm(f"{name}.project_nn.1", linear(f"{name}.project_nn.0", h))
        return h

    def heads_of(letter, features):
        w, b = weights[f"attention_layer.W_{letter}"], weights[f"attention_layer.b_{letter}"]
        return torch.einsum("shd,hd->hs", w, features.view(SIZES.n_heads, -1)) + b

    sums = torch.zeros(3, dtype=torch.float64)
    for row, receiver in enumerate(receivers):
        label = weights["ct_embed.weight"][tissue.codes[receiver]]
        q = heads_of("Q", block("query_embed", label))
        scores, values, magnitudes = [], [], []
        for rank, neighbor in enumerate(tissue.index[receiver]):
            if neighbor < 0:
                continue
            z = block("nn_embed", tissue.expression[neighbor])
            features = block("kv_embed", z)
            v = heads_of("V", features)
            magnitudes.append(v.abs().sum())
            if (kept is not None and not kept[row, rank]) or tissue.codes[neighbor] == left_out:
                continue
            a = (q * heads_of("K", features)).sum(dim=1) / SIZES.head_size**0.5
            p = softplus(block("pos_coef_mlp", torch.cat([z, label])) - 2.0)
            scores.append(a - p * float(tissue.distance[receiver, rank]))
            values.append(v)
        scores.append(torch.full((SIZES.n_heads,), 3.0, dtype=torch.float64))
        values.append(torch.zeros_like(values[0]) if values else torch.zeros_like(q))
        attention = torch.stack(scores).softmax(dim=0)
        z = torch.einsum("jh,jhs->hs", attention, torch.stack(values))
        output = torch.einsum("ohs,hs->o", weights["attention_layer.W_O"], z) + q.flatten()
        residual = weights["linear_head.weight"] @ norm("attention_layer.norm_o", output)
        profile = tissue.profiles[tissue.codes[receiver]]
        error = (tissue.expression[receiver] - profile - residual).square().sum() / 2
        entropy = -(attention * attention.log()).sum(dim=0).mean()
        sums += torch.stack([error, entropy, torch.stack(magnitudes).sum()])
    n_neighbors = (tissue.index[receivers] >= 0).sum()
    return sums / torch.tensor([len(receivers), len(receivers), n_neighbors])


def test_a_batch_is_what_each_receiver_gives_by_itself(small_tissue):
    receivers = np.array([3, 0, 21, 14, 30, 7, 8])
    weights = some_weights(0)
    network = StackedNetwork([weights], **DEFAULTS, left_out=[-1])
    terms = network(small_tissue.batch(receivers))
    expected = naive_terms(weights, small_tissue, receivers)
    np.testing.assert_allclose(
        [float(term.detach()) for term in terms[:3]], expected.numpy(), rtol=1e-10
    )


def test_each_run_of_a_stack_has_its_own_weights_mask_and_sender_left_out(small_tissue):
    receivers = np.arange(5, 19)
    kept = torch.rand(3, 14, 5, generator=torch.Generator().manual_seed(0)) > 0.4
    weights = [some_weights(seed) for seed in range(3)]
    network = StackedNetwork(weights, **DEFAULTS, left_out=[-1, 2, 0])
    terms = network(small_tissue.batch(receivers), kept)
    for run, left_out in enumerate((-1, 2, 0)):
        expected = naive_terms(weights[run], small_tissue, receivers, kept[run], left_out)
        found = [float(term[run].detach()) for term in terms[:3]]
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-10)


def test_the_initial_weights_have_the_variances_of_pytorchs_defaults():
    weights = initial_weights(NetworkSizes(), 100, 9, seed=1)
    torch.manual_seed(1)
    layer = torch.nn.Linear(100, 1024)
    for ours, theirs in (
        (weights["nn_embed.nn.0.weight"], layer.weight),
        (weights["nn_embed.nn.0.bias"], layer.bias),
        (weights["ct_embed.weight"], torch.nn.Embedding(9, 32).weight),
    ):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(float(ours.std()), float(theirs.std().detach()), rtol=0.1)
    shape = weights["attention_layer.W_K"].shape
    fan_in, _ = torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    bound = fan_in**-0.5
    assert 0.99 * bound < float(weights["attention_layer.W_K"].abs().max()) <= bound


def test_the_weights_are_those_of_the_network_that_extract_scores_with():
    from amici_xr.model.architecture import check_prediction_weights, check_weights

    weights = initial_weights(SIZES, 12, 3, 0) | {"ct_profiles": torch.zeros(3, 12)}
    check_weights(weights, 12, 3, "initial")
    check_prediction_weights(weights, 12, 3)
