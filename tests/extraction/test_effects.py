"""Effects of the attention: against the original, against torch, and on tissues of any kind."""

import dataclasses
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from recorded_data import data_folder
from scipy import sparse

import amici_xr
from amici_xr.model.unpickling import read_safely

anndata = pytest.importorskip("anndata")  # the core environment deselects what needs the model
pytestmark = pytest.mark.needs_model

LABELS = ("α cell", "Б-клетка", "巨噬细胞", "D", "E")
GENES = tuple(f"gene {number}" for number in range(13))


def extract(*args, **options):
    return amici_xr.extract(*args, progress=False, **options)


def assert_close_to_largest(ours, theirs):
    """Agree to 1e-5 of the largest value of the array."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


@pytest.fixture(scope="module", params=["synthetic", "merfish"])
def original(request):
    """What the original gives for a data set, and the Dataset of all its queries."""
    folder = data_folder() / request.param
    recorded = np.load(folder / "recorded" / "effects.npz")
    ds = extract(folder / "model", None, folder / "adata.h5ad", effects="by_head")
    return recorded, ds, folder


def test_ablations_and_differences_are_those_of_the_original(original):
    recorded, ds, _ = original
    ds = ds.transpose("head", "query", "cell_type", "gene", ...)
    assert ds["query"].values.tolist() == recorded["labels"].tolist()
    assert_close_to_largest(ds.gene_gain, recorded["ablation_all_heads"])
    assert_close_to_largest(ds.gene_effect, recorded["difference_all_heads"])
    assert_close_to_largest(ds.gene_gain_by_head, recorded["ablation_of_head"])
    assert_close_to_largest(ds.gene_effect_by_head, recorded["difference_of_head"])


def test_explained_variance_by_head_is_that_of_the_original(original):
    recorded, ds, _ = original
    explained = amici_xr.explained_variance(ds).transpose("head", "query", "gene")
    together, by_gene = (explained[f"explained_variance_by_head{end}"] for end in ("", "_and_gene"))
    np.testing.assert_allclose(together, recorded["explained_variance"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        by_gene.fillna(0), recorded["explained_variance_by_gene"], rtol=0, atol=1e-5
    )


def test_predictions_are_those_of_the_original(original):
    recorded, _, folder = original
    predicted = amici_xr.extraction.predict_expression(
        folder / "model", None, folder / "adata.h5ad"
    )
    ours = predicted.sel(receiver=recorded["cells"])
    np.testing.assert_allclose(ours, recorded["prediction"], rtol=0, atol=1e-5)
    profiles = amici_xr.load_model(folder / "model").weights["ct_profiles"].numpy()
    codes = [recorded["labels"].tolist().index(label) for label in ours.receiver_label.values]
    np.testing.assert_allclose(ours - profiles[codes], recorded["residual"], rtol=0, atol=1e-5)


# A model with random weights and a tissue with samples, radii, a layer and labels in many scripts.


@pytest.fixture(scope="module")
def tissue():
    rng = np.random.default_rng(5)
    n_cells = 240
    x = rng.gamma(2.0, size=(n_cells, len(GENES))).astype(np.float32)
    adata = anndata.AnnData(
        X=np.zeros_like(x),
        obs=pd.DataFrame(
            {
                "cell_type": np.array(LABELS)[rng.integers(0, len(LABELS), n_cells)],
                "radius": rng.uniform(0.1, 0.6, n_cells),
                "piece": np.where(np.arange(n_cells) % 2, "odd", "even"),
            },
            index=[f"cell_{number}" for number in range(n_cells)],
        ),
        var=pd.DataFrame(index=list(GENES)),
        obsm={"spatial": rng.uniform(0, 20, (n_cells, 2))},
    )
    adata.layers["log"] = x
    return adata


@pytest.fixture(scope="module")
def model(tissue):
    model = amici_xr.testing.simulate_model(
        GENES, LABELS, n_heads=3, n_neighbors=7, layer="log", cell_radius_key="radius"
    )
    import torch

    labels = tissue.obs["cell_type"].values
    profiles = np.stack([tissue.layers["log"][labels == label].mean(axis=0) for label in LABELS])
    weights = dict(model.weights) | {"ct_profiles": torch.from_numpy(profiles)}
    weights["linear_head.weight"] = 0.3 * weights["linear_head.weight"]  # else it predicts badly
    return dataclasses.replace(model, weights=weights)


def plain_prediction(model, x, label, query, distances):
    """Predict one receiver from the expression and distances of its neighbors, by the formulas."""
    import torch
    from torch.nn.functional import layer_norm, softplus

    w = {name: tensor.double() for name, tensor in model.weights.items()}

    def norm(name, h):
        return layer_norm(h, h.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    def linear(name, h):
        return h @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def block(name, x):
        h = norm(f"{name}.nn.1", linear(f"{name}.nn.0", x)).relu()
        h = (x + norm(f"{name}.nn.4", linear(f"{name}.nn.3", h))).relu()
        h = linear(f"{name}.project_nn.0", h)
        return h if name == "pos_coef_mlp" else norm(f"{name}.project_nn.1", h)

    size, n_heads, _ = w["attention_layer.W_Q"].shape
    e = w["ct_embed.weight"][query]
    features = block("query_embed", e).view(n_heads, -1)
    q = torch.einsum("shd,hd->hs", w["attention_layer.W_Q"], features) + w["attention_layer.b_Q"]
    z = block("nn_embed", torch.as_tensor(x).double())
    key = block("kv_embed", z).view(len(z), n_heads, -1)
    k, v = (
        torch.einsum("shd,nhd->nhs", w[f"attention_layer.W_{of}"], key)
        + w[f"attention_layer.b_{of}"]
        for of in "KV"
    )
    a = (q * k).sum(-1) / size**0.5
    together = torch.cat([z, e.expand(len(z), -1)], dim=1)
    p = softplus(block("pos_coef_mlp", together) + model.settings.pos_coef_offset)
    u, delta = model.settings.distance_kernel_unit_scale, model.settings.attention_dummy_score
    s = a - p * torch.as_tensor(distances).double()[:, None] / u
    weight = torch.softmax(torch.cat([s, torch.full((1, n_heads), delta).double()]), dim=0)[:-1]

    def decode(weight):
        sent = torch.einsum("nh,nhs->hs", weight, v)
        o = torch.einsum("ohs,hs->o", w["attention_layer.W_O"], sent) + q.flatten()
        return (
            w["ct_profiles"][query] + norm("attention_layer.norm_o", o) @ w["linear_head.weight"].T
        )

    return decode, weight


def test_a_lone_neighbor_changes_the_prediction_as_the_network_says(model, tissue):
    """The prediction for a receiver with that one neighbor, minus that with none."""
    neighbor = int(np.flatnonzero(tissue.obs["cell_type"] == "巨噬细胞")[0])
    query = LABELS.index("D")
    ds = extract(model, "D", tissue, effects=True, indices=np.arange(tissue.n_obs))
    candidates = ds.neighbor.values[ds.label.values == "巨噬细胞"]
    neighbor = int(candidates[0])
    ds = extract(model, "D", tissue, effects=True, indices=[neighbor])
    effect = ds.counterfactual_effect.sel(cell_type="巨噬细胞")
    for distance in ds.distance.values[[0, 5, 12, 32]]:
        x = tissue.layers["log"][[neighbor]]
        decode, weight = plain_prediction(model, x, "巨噬细胞", query, [distance])
        expected = (decode(weight) - decode(0 * weight)).numpy()
        np.testing.assert_allclose(effect.sel(distance=distance), expected, rtol=0, atol=1e-5)


def test_effects_are_those_of_the_formulas_receiver_by_receiver(model, tissue):
    ds = extract(model, "D", tissue, effects="by_head", sample_key="piece")
    x = tissue.layers["log"]
    query = LABELS.index("D")
    shape = (ds.sizes["receiver"], len(LABELS), len(GENES))
    effect, gain = np.zeros(shape), np.zeros(shape)
    of_head = np.zeros((3, *shape))
    error = np.zeros(shape[0])
    for row in range(shape[0]):
        index = ds.neighborhood_index.values[row]
        label = ds.neighborhood_label.values[row]
        own = x[ds.receiver.values[row]]
        distances = ds.neighborhood_distance.values[row]
        decode, weight = plain_prediction(model, x[index], None, query, distances)
        full = decode(weight).numpy()
        error[row] = ((own - full) ** 2).sum()
        for sender in set(label.tolist()):
            without = weight.clone()
            without[label == sender] = 0
            ablated = decode(without).numpy()
            effect[row, sender] = full - ablated
            gain[row, sender] = (own - ablated) ** 2 - (own - full) ** 2
            for head in range(3):
                alone, alone_without = weight.clone() * 0, weight.clone() * 0
                alone[:, head], alone_without[:, head] = weight[:, head], without[:, head]
                of_head[head, row, sender] = (decode(alone) - decode(alone_without)).numpy()
    assert_close_to_largest(ds.gene_effect, effect.mean(axis=0))
    assert_close_to_largest(ds.gene_gain, gain.mean(axis=0))
    assert_close_to_largest(ds.gene_effect_by_head, of_head.mean(axis=1))
    assert_close_to_largest(ds.prediction_gain, gain.sum(axis=2))
    assert_close_to_largest(ds.squared_error, error)
    own = x[ds.receiver.values].astype(np.float64)
    np.testing.assert_allclose(ds.gene_variance, own.var(axis=0), rtol=1e-6)
    deviation = ((own - own.mean(axis=0)) ** 2).sum(axis=1)
    np.testing.assert_allclose(ds.squared_deviation, deviation, rtol=1e-6)


def test_renormalized_effects_are_those_of_a_softmax_without_the_sender(model, tissue):
    """Against the plain network, whose neighbors of the sender are not there at all."""
    given = {"sample_key": "piece", "effects": "by_head"}
    ds = extract(model, "D", tissue, **given, renormalize=True)
    x, query = tissue.layers["log"], LABELS.index("D")
    shape = (ds.sizes["receiver"], len(LABELS), len(GENES))
    effect, gain, of_head = np.zeros(shape), np.zeros(shape), np.zeros((3, *shape))
    for row in range(shape[0]):
        index, label = ds.neighborhood_index.values[row], ds.neighborhood_label.values[row]
        own, distances = x[ds.receiver.values[row]], ds.neighborhood_distance.values[row]
        decode, weight = plain_prediction(model, x[index], None, query, distances)
        full = decode(weight).numpy()
        for sender in set(label.tolist()):
            is_other = label != sender
            decode_without, without = plain_prediction(
                model, x[index[is_other]], None, query, distances[is_other]
            )
            ablated = decode_without(without).numpy()
            effect[row, sender] = full - ablated
            gain[row, sender] = (own - ablated) ** 2 - (own - full) ** 2
            for head in range(3):
                is_on = np.eye(3)[head].tolist()
                alone = decode(weight * weight.new_tensor(is_on))
                alone -= decode_without(without * weight.new_tensor(is_on))
                of_head[head, row, sender] = alone.numpy()
    assert_close_to_largest(ds.gene_effect, effect.mean(axis=0))
    assert_close_to_largest(ds.gene_gain, gain.mean(axis=0))
    assert_close_to_largest(ds.gene_effect_by_head, of_head.mean(axis=1))
    assert_close_to_largest(ds.prediction_gain, gain.sum(axis=2))
    zeroed = extract(model, "D", tissue, **given)
    assert not np.allclose(zeroed.gene_effect, ds.gene_effect, rtol=0.01)
    changed = ["gene_effect", "gene_gain", "prediction_gain"]
    changed += ["gene_effect_by_head", "gene_gain_by_head"]
    xr.testing.assert_equal(ds.drop_vars(changed), zeroed.drop_vars(changed))


def test_without_its_only_type_of_neighbors_a_receiver_attends_to_the_dummy(model, tissue):
    """Whatever is done with the weights, nothing is left then."""
    two = tissue[tissue.obs["cell_type"].isin(["D", "E"])].copy()
    of_e = two.obs["cell_type"] == "E"
    two = two[of_e | (np.arange(two.n_obs) == np.flatnonzero(~of_e)[0])].copy()
    zeroed, masked = (
        extract(model, "D", two, effects="by_head", renormalize=which) for which in (False, True)
    )
    assert_same(masked, zeroed)


def test_files_and_answers_say_how_senders_were_ablated(model, tissue, every, tmp_path):
    masked = extract(model, None, tissue, effects="by_head", renormalize=True)
    amici_xr.save(masked, tmp_path / "masked.nc")
    opened = amici_xr.open_dataset(tmp_path / "masked.nc")
    words = {"masked": "masked before the softmax", "zeroed": "weights set to 0 after the softmax"}
    assert opened.gene_effect.attrs["ablation"] == words["masked"]
    assert json.loads(opened.attrs["extraction"])["renormalize"] is True
    assert "ablation" not in opened.counterfactual_effect.attrs
    runs = amici_xr.align_runs([opened, masked])
    for ds, expected in ((every, "zeroed"), (opened, "masked"), (runs, "masked")):
        assert ds.prediction_gain.attrs["ablation"] == words[expected]
        assert amici_xr.gene_effects(ds).attrs["ablation"] == words[expected]
    assert amici_xr.prediction_gain(opened).attrs["ablation"] == words["masked"]
    with pytest.raises(
        ValueError, match=r"those of datasets\[0\] masked before .* same renormalize="
    ):
        amici_xr.align_runs([masked, every])
    with pytest.raises(
        ValueError, match=r"those of datasets\[0\] weights set .* same renormalize="
    ):
        amici_xr.concat_samples([every, masked], sample=["zeroed", "masked"])


def test_renormalize_is_refused_where_it_means_nothing(model, tissue):
    with pytest.raises(ValueError, match="renormalize=True changes effects alone"):
        extract(model, "D", tissue, renormalize=True)
    with pytest.raises(TypeError, match="renormalize='yes' must be True or False"):
        extract(model, "D", tissue, effects=True, renormalize="yes")


@pytest.fixture(scope="module")
def every(model, tissue):
    return extract(model, None, tissue, effects="by_head")


def assert_same(ds, expected, **ignored):
    names = [name for name in expected.variables if expected[name].dtype.kind == "f"]
    assert set(ds.variables) == set(expected.variables)
    xr.testing.assert_equal(ds.drop_vars(names), expected.drop_vars(names))
    for name in names:
        largest = float(np.abs(expected[name]).where(np.isfinite(expected[name])).max())
        np.testing.assert_allclose(ds[name], expected[name], rtol=0, atol=1e-5 * largest)


def test_one_query_of_several_is_that_query_alone(model, tissue, every):
    for query in (LABELS[1], "E"):
        assert_same(every.cf.select(query), extract(model, query, tissue, effects="by_head"))


def test_chunked_scores_come_with_the_same_effects(model, tissue, every):
    lazy = extract(model, None, tissue, effects="by_head", chunks=50)
    assert lazy.base_attention_score.chunks is not None
    assert_same(lazy.compute(), every)


def test_neither_the_order_of_genes_nor_their_storage_matters(model, tissue, every, tmp_path):
    mixed = tissue[:, ::-1].copy()
    mixed.layers["log"] = sparse.csr_matrix(mixed.layers["log"])
    assert_same(extract(model, None, mixed, effects="by_head"), every)
    mixed.write_h5ad(tmp_path / "tissue.h5ad")
    assert_same(extract(model, None, tmp_path / "tissue.h5ad", effects="by_head"), every)


def test_indices_cut_the_scored_neighbors_and_not_the_predictions(model, tissue, every):
    few = extract(model, None, tissue, effects="by_head", indices=np.arange(40))
    assert few.sizes["neighbor"] < every.sizes["neighbor"]
    assert_same(
        few[["gene_effect", "prediction_gain", "squared_error"]],
        every[["gene_effect", "prediction_gain", "squared_error"]],
    )


def test_heads_choose_those_that_are_left_on_alone(model, tissue, every):
    two = extract(model, None, tissue, effects="by_head", heads=[2, 0])
    assert_same(two, every.sel(head=[2, 0]))


def test_a_sender_that_is_nowhere_near_has_no_effect(every):
    for query in LABELS:
        own = every.sel(query=query, cell_type=query)
        assert not own.gene_effect.any()
        assert own.counterfactual_effect.isnull().all()


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".zarr.zip"])
def test_files_hold_all_that_the_answers_need(every, suffix, tmp_path):
    amici_xr.save(every, tmp_path / f"effects{suffix}")
    opened = amici_xr.open_dataset(tmp_path / f"effects{suffix}")
    xr.testing.assert_identical(opened, every)
    xr.testing.assert_identical(amici_xr.gene_effects(opened), amici_xr.gene_effects(every))
    xr.testing.assert_identical(
        amici_xr.effect_length_scale(opened), amici_xr.effect_length_scale(every)
    )


def test_samples_extracted_apart_have_the_effects_of_all_receivers_together(model, tissue):
    codes = (tissue.obs["piece"] == "odd").values
    order = np.argsort(codes, kind="stable")
    both = tissue[order].copy()
    apart = [
        extract(model, ["D", "E"], tissue[codes == code].copy(), effects="by_head")
        for code in (False, True)
    ]
    n_cells = [int((~codes).sum()), int(codes.sum())]
    joined = amici_xr.concat_samples(apart, sample=["even", "odd"], n_cells=n_cells)
    expected = extract(model, ["D", "E"], both, effects="by_head", sample_key="piece")
    # The deviation is from the mean within each sample, the noise that of a weighted mean.
    left_out = ["squared_deviation", "counterfactual_noise"]
    assert_same(joined.drop_vars(left_out), expected.drop_vars(left_out))
    of_one = amici_xr.select(joined, sample="odd")
    assert "gene_effect" not in of_one
    assert "prediction_gain" in of_one
    with pytest.raises(amici_xr.SchemaError, match="has no effects of its own"):
        amici_xr.gene_effects(of_one)


def test_runs_keep_the_effects_of_each_and_those_of_matched_heads(every):
    swapped = every.isel(head=[1, 2, 0]).assign_coords(head=range(3))
    runs = amici_xr.align_runs([every, swapped])
    assert runs.gene_effect.dims[0] == "run"
    assert "run" not in runs.gene_variance.dims
    xr.testing.assert_equal(
        runs.gene_effect_by_head.isel(run=0, drop=True)
        .drop_vars(["original_head", "is_matched", "matching_cost"], errors="ignore")
        .variable,
        runs.gene_effect_by_head.isel(run=1, drop=True).variable,
    )
    amici_xr.validate(runs)
    without = amici_xr.align_runs([every, swapped.drop_vars("gene_effect")])
    assert "gene_effect" not in without
    reach = amici_xr.effect_length_scale(runs)
    assert reach.effect_length_scale.dims == ("run", "query", "label")


def test_held_out_cells_are_those_that_training_left_out(model, tissue):
    is_held_out = np.arange(tissue.n_obs) % 3 == 0
    knowing = dataclasses.replace(model, is_held_out=is_held_out)
    ds = extract(knowing, None, tissue, effects=True)
    np.testing.assert_array_equal(ds.is_held_out, is_held_out[ds.receiver.values])
    other = extract(knowing, None, tissue[:200].copy(), effects=True)  # another tissue
    assert "is_held_out" not in other


def test_raw_counts_in_place_of_logarithms_are_told_with_the_explained_variance(demo):
    model, adata = demo
    counts = adata.copy()
    counts.X = np.round(np.expm1(np.asarray(counts.X)) * 20)
    with pytest.warns(UserWarning, match=r"explained variance is -.*trained on other units"):
        ds = extract(model, None, counts, effects=True)
    assert (amici_xr.explained_variance(ds).explained_variance < 0).all()


def test_a_trained_model_on_its_own_tissue_gives_no_warning(demo, recwarn):
    extract(*demo[:1], None, demo[1], effects=True)
    assert not [each for each in recwarn if "explained variance" in str(each.message)]


def test_expression_that_is_missing_is_named(model, tissue):
    damaged = tissue.copy()
    at = int(np.flatnonzero(damaged.obs["cell_type"] == "D")[0])
    damaged.layers["log"][at, 3] = np.nan
    with pytest.raises(ValueError, match=f"expression of 1 receivers.*position {at} of adata"):
        extract(model, "D", damaged, effects=True)


def test_effects_of_an_unknown_kind_are_refused(model, tissue):
    with pytest.raises(ValueError, match="effects='by_gene' is not known; choose one of False"):
        extract(model, "D", tissue, effects="by_gene")


def test_a_model_without_the_layers_after_the_attention_says_so(model, tissue):
    weights = {name: w for name, w in model.weights.items() if name != "linear_head.weight"}
    bare = dataclasses.replace(model, weights=weights)
    with pytest.raises(ValueError, match=r"effects need .* 'linear_head\.weight', which it lacks"):
        extract(bare, "D", tissue, effects=True)
    assert "gene_effect" not in extract(bare, "D", tissue)
    weights["linear_head.weight"] = model.weights["linear_head.weight"][:, :5]
    with pytest.raises(ValueError, match=r"'linear_head\.weight' of the shape \(13, 48\), not"):
        extract(dataclasses.replace(model, weights=weights), "D", tissue, effects=True)


def test_attributes_tell_that_effects_were_extracted(every):
    assert json.loads(every.attrs["extraction"])["effects"] == "by_head"


@pytest.mark.parametrize(
    "hold",
    [
        pytest.param(lambda ds: ds.chunk(neighbor=50, receiver=40, gene=4, distance=7), id="chunk"),
        pytest.param(lambda ds: ds.transpose(*reversed(list(ds.dims))), id="transpose"),
        pytest.param(lambda ds: ds.sortby("label"), id="sortby"),
        pytest.param(lambda ds: ds.isel(receiver=slice(None, None, -1)), id="receivers reversed"),
    ],
)
def test_how_a_dataset_is_held_does_not_change_the_answers(every, hold):
    held = hold(every)
    for ask in (
        amici_xr.gene_effects,
        amici_xr.explained_variance,
        amici_xr.effect_length_scale,
        amici_xr.prediction_gain,
        amici_xr.attention_enrichment,
    ):
        xr.testing.assert_allclose(ask(held).compute(), ask(every))


def test_receivers_without_any_neighbor_are_predicted_and_batches_do_not_matter(
    model, tissue, every, monkeypatch
):
    from amici_xr.extraction import effects

    monkeypatch.setattr(effects, "RECEIVER_BATCH", 1)
    assert_same(extract(model, None, tissue, effects="by_head"), every)
    alone = tissue.copy()
    is_alone = (alone.obs["cell_type"] == "D").values & (np.arange(alone.n_obs) % 2 == 0)
    alone.obs["piece"] = np.where(is_alone, "alone", "together")
    ds = extract(model, "D", alone, effects=True, sample_key="piece")
    lonely = ds.isel(receiver=(ds.receiver_sample == "alone").values)
    assert (lonely.neighborhood_index == -1).all()
    assert not lonely.prediction_gain.any()
    decode, weight = plain_prediction(model, tissue.layers["log"][:1], None, 3, [1.0])
    nothing = decode(0 * weight).numpy()
    own = tissue.layers["log"][lonely.receiver.values]
    np.testing.assert_allclose(lonely.squared_error, ((own - nothing) ** 2).sum(1), rtol=1e-5)


def test_samples_with_other_distances_say_how_to_join_them(model, tissue):
    first = extract(model, "D", tissue, effects=True)
    wider = tissue.copy()
    wider.obsm["spatial"] = 30 * wider.obsm["spatial"]
    second = extract(model, "D", wider, effects=True)
    with pytest.raises(ValueError, match=r"distance is .*drop_dims\('distance'\)"):
        amici_xr.concat_samples([first, second], sample=["first", "second"])
    without = [each.drop_dims("distance") for each in (first, second)]
    assert "gene_effect" in amici_xr.concat_samples(without, sample=["first", "second"])


def test_distances_end_at_a_round_number_that_no_query_changes(model, tissue, every):
    one = extract(model, "E", tissue, effects=True)
    np.testing.assert_array_equal(one.distance, every.distance)
    end = every.distance.values[-1]
    assert end / 10 ** np.floor(np.log10(end)) in (1.0, 2.0, 5.0)
    farthest = every.neighborhood_distance.max("rank").median()
    assert farthest < end < 20 * farthest


def test_a_saved_folder_tells_which_cells_training_left_out(demo, tmp_path):
    import torch

    saved = read_safely(Path(str(files("amici_xr.demo_data") / "model" / "model.pt")))
    left_out = np.arange(0, 6000, 7)
    saved["attr_dict"]["train_indices_"] = np.setdiff1d(np.arange(6000), left_out)
    torch.save(saved, tmp_path / "model.pt")
    ds = extract(tmp_path, "T_cell", demo[1], effects=True)
    np.testing.assert_array_equal(ds.is_held_out, np.isin(ds.receiver, left_out))
    gain = amici_xr.prediction_gain(ds)
    assert gain.attrs["evaluated_on"] == "held-out cells"
    assert gain.n_receivers[0] == ds.is_held_out.sum()
    for wrong in (np.array([6000]), np.array([-1]), np.array([0.5]), "all"):
        saved["attr_dict"]["train_indices_"] = wrong
        torch.save(saved, tmp_path / "model.pt")
        assert amici_xr.load_model(tmp_path).is_held_out is None


def test_answers_about_effects_are_saved_like_any_other(every, tmp_path):
    for ask in (amici_xr.explained_variance, amici_xr.gene_effects, amici_xr.prediction_gain):
        answer = ask(every)
        amici_xr.save(answer, tmp_path / "answer.nc")
        xr.testing.assert_equal(amici_xr.open_dataset(tmp_path / "answer.nc"), answer)
