"""Answers from effects, by hand-made numbers and on the demo; no model is needed to answer."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import false_discovery_control

import amici_xr
from amici_xr.kernels.spatial.basis import prepare
from amici_xr.kernels.spatial.mean import infer_mean

PLANTED = {
    ("T_cell", "Macrophage"): (30, 10.0),
    ("Tumor", "Fibroblast"): (40, 20.0),
}  # first of ten genes, and the distance within which the sender acts


@pytest.fixture(scope="module")
def of_demo(demo):
    pytest.importorskip("anndata")
    return amici_xr.extract(demo[0], None, demo[1], effects=True, progress=False)


@pytest.fixture
def by_hand():
    """Two receivers of type A, two genes, and senders B and C; D has no neighbor."""
    distance = np.array([0.0, 1.0, 2.0, 4.0])
    counterfactual = np.full((4, 2, 4), np.nan)
    counterfactual[1] = [[3.0, 3.0, 1.2, 0.0], [4.0, 4.0, 1.6, 0.0]]  # norm 5, 5, 2, 0
    counterfactual[2] = [[1.0, 1.0, 1.0, 0.9], [0.0, 0.0, 0.0, 0.0]]
    noise = np.where(np.isnan(counterfactual[:, 0]), np.nan, 0.01)
    return amici_xr.from_arrays(
        [[2.0], [1.0], [0.5]],
        [[0.5], [0.5], [0.5]],
        ["B", "C", "B"],
        query="A",
        neighbor=[2, 3, 4],
        cell_type=["A", "B", "C", "D"],
        receiver=[0, 1],
        receiver_label=["A", "A"],
        receiver_x=[0.0, 1.0],
        receiver_y=[0.0, 1.0],
        gene=["up", "down"],
        distance=distance,
        gene_effect=[[0, 0], [0.5, -2.0], [0.1, 0.0], [0, 0]],
        gene_gain=[[0, 0], [0.2, 3.0], [-0.1, 0.0], [0, 0]],
        gene_mean=[1.0, 2.0],
        gene_variance=[1.0, 4.0],
        residual_mean=[0.5, 0.0],
        residual_variance=[0.5, 1.0],
        counterfactual_effect=counterfactual,
        counterfactual_noise=noise,
        prediction_gain=[[0, 2.0, 0.1, 0], [0, 4.0, -0.3, 0]],
        squared_error=[1.0, 2.0],
        squared_deviation=[4.0, 6.0],
        unit="µm",
    )


def with_receivers(ds, gains, deviation):
    """The Dataset with other receivers of type A: their gains (receiver, cell type), deviations."""
    n = len(gains)
    ds = ds[[name for name in ds if "receiver" not in ds[name].dims]]
    ds = ds.drop_dims("receiver", errors="ignore").assign_coords(
        receiver=np.arange(n), receiver_label=("receiver", ["A"] * n)
    )
    deviation = np.broadcast_to(deviation, n)
    return ds.assign(
        prediction_gain=(("receiver", "cell_type"), gains),
        squared_deviation=("receiver", deviation),
        squared_error=("receiver", deviation),
    )


def test_explained_variance_counts_the_constant_error_too(by_hand):
    explained = amici_xr.explained_variance(by_hand)
    assert explained.explained_variance.item() == pytest.approx(1 - (0.75 + 1.0) / 5)
    np.testing.assert_allclose(explained.explained_variance_by_gene, [0.25, 0.75])
    assert explained.attrs["evaluated_on"].startswith("in-sample, as far as is known")


def test_explained_variance_of_held_out_receivers_is_theirs_alone(by_hand):
    ds = by_hand.assign(is_held_out=("receiver", [False, True]))
    explained = amici_xr.explained_variance(ds)
    assert explained.explained_variance_held_out.item() == pytest.approx(1 - 2 / 6)
    assert explained.attrs["evaluated_on"].startswith("in-sample: the receivers include")
    every = amici_xr.explained_variance(by_hand.assign(is_held_out=("receiver", [True, True])))
    assert every.attrs["evaluated_on"] == "held-out cells"


def test_gene_effects_are_signed_and_their_gain_is_a_share_of_the_variance(by_hand):
    effects = amici_xr.gene_effects(by_hand)
    assert effects.effect.dims == ("label", "gene")
    assert effects.effect.sel(label="B", gene="down").item() == -2.0
    assert effects.variance_share.sel(label="B").values.tolist() == pytest.approx([0.2, 0.75])
    assert effects.n_neighbors.values.tolist() == [0, 2, 1, 0]
    of_one = amici_xr.gene_effects(by_hand, "C")
    xr.testing.assert_equal(of_one, effects.sel(label="C"))


def test_the_effect_curve_is_the_norm_over_genes(by_hand):
    curve = amici_xr.effect_curve(by_hand)
    assert curve.dims == ("label", "distance")
    np.testing.assert_allclose(curve.sel(label="B"), [5, 5, 2, 0], rtol=1e-6)


def test_the_length_scale_is_where_the_effect_has_fallen_to_a_fraction(by_hand):
    reach = amici_xr.effect_length_scale(by_hand)
    assert reach.effect_length_scale.sel(label="B").item() == pytest.approx(1 + 2.5 / 3)
    assert reach.effect_length_scale.attrs["units"] == "µm"
    assert reach.status.values.tolist() == ["absent", "falls", "does_not_fall", "absent"]
    assert reach.effect_length_scale.isnull().values.tolist() == [True, False, True, True]
    nearer = amici_xr.effect_length_scale(by_hand, 0.95).sel(label=["B", "C"])
    assert nearer.effect_length_scale[0] < reach.effect_length_scale[1]
    assert nearer.status[1] == "falls"


def test_an_effect_within_its_noise_has_no_length_scale(by_hand):
    noisy = by_hand.assign(counterfactual_noise=by_hand.counterfactual_noise * 400)
    reach = amici_xr.effect_length_scale(noisy)
    assert reach.status.values.tolist() == ["absent", "within_noise", "within_noise", "absent"]
    assert reach.effect_length_scale.isnull().all()


def test_a_gain_is_the_ratio_of_sums(by_hand):
    gain = amici_xr.prediction_gain(by_hand, resampling_unit="cell")
    assert gain.gain.sel(label="B").item() == pytest.approx(6 / 10)
    assert gain.gain.sel(label="C").item() == pytest.approx(-0.2 / 10)
    assert gain.status.values.tolist() == ["absent", "in_sample", "in_sample", "absent"]
    assert gain.n_receivers.values.tolist() == [2, 2, 2, 2]
    assert (gain.ci_lower <= gain.ci_upper).sel(label=["B", "C"]).all()


def test_a_gain_prefers_held_out_receivers_and_says_so(by_hand):
    ds = by_hand.assign(is_held_out=("receiver", [False, True]))
    held_out = amici_xr.prediction_gain(ds, resampling_unit="cell")
    assert held_out.gain.sel(label="B").item() == pytest.approx(4 / 6)
    assert held_out.status.sel(label="B") == "held_out"
    assert held_out.attrs["evaluated_on"] == "held-out cells"
    every = amici_xr.prediction_gain(ds, held_out=False, resampling_unit="cell")
    assert every.status.sel(label="B") == "in_sample"
    assert every.gain.sel(label="B").item() == pytest.approx(0.6)


def test_held_out_gains_have_p_and_q_and_in_sample_ones_have_none(by_hand):
    rng = np.random.default_rng(0)
    ds = with_receivers(by_hand, rng.normal([0, 2, 0, 0], [0, 2, 2, 0], size=(200, 4)), 4.0)
    x, y = rng.uniform(0, 100, (2, 200))
    ds = ds.assign_coords(receiver_x=("receiver", x), receiver_y=("receiver", y))
    held_out = amici_xr.prediction_gain(ds.assign(is_held_out=("receiver", np.arange(200) % 2 > 0)))
    gains = ds.prediction_gain.transpose("cell_type", "receiver").values[:, 1::2].astype(float)
    places = np.stack([ds.receiver_x.values, ds.receiver_y.values], axis=1)[1::2]
    expected = infer_mean(gains, prepare(places)).p_value(0.0, "greater")
    is_there = (gains != 0).any(axis=1)
    np.testing.assert_allclose(held_out.p_value, np.where(is_there, expected, np.nan))
    q = false_discovery_control(expected[is_there])
    np.testing.assert_allclose(held_out.q_value.values[is_there], q)
    assert held_out.q_value.sel(label="B") < 0.05
    for in_sample in (ds, ds.assign(is_held_out=("receiver", np.zeros(200, bool)))):
        gain = amici_xr.prediction_gain(in_sample)
        assert not {"p_value", "q_value"} & set(gain)
        with pytest.raises(amici_xr.SchemaError, match="in-sample, which is no evidence"):
            amici_xr.summary(evidence=gain)


def test_held_out_receivers_that_are_unknown_or_absent_are_an_error(by_hand):
    with pytest.raises(amici_xr.SchemaError, match="does not tell which receivers"):
        amici_xr.prediction_gain(by_hand, held_out=True)
    none = by_hand.assign(is_held_out=("receiver", [False, False]))
    with pytest.raises(amici_xr.SchemaError, match="left no receiver of this Dataset out"):
        amici_xr.prediction_gain(none, held_out=True)
    with pytest.raises(amici_xr.SchemaError, match="holds no receiver of its queries"):
        amici_xr.prediction_gain(by_hand.isel(receiver=[]))


def test_the_interval_of_a_gain_covers_the_ratio_as_often_as_it_says(by_hand):
    """Gains of independent receivers, against the ratio of the expectations."""
    rng = np.random.default_rng(0)
    n, n_trials, covered = 200, 60, 0
    for _ in range(n_trials):
        deviation = rng.gamma(4.0, size=n)
        gain = 0.3 * deviation + rng.normal(size=n)
        table = np.stack([0 * gain, gain, gain, 0 * gain], axis=1)
        ds = with_receivers(by_hand, table, deviation)
        interval = amici_xr.prediction_gain(ds, resampling_unit="cell").sel(label="B")
        covered += bool(interval.ci_lower <= 0.3 <= interval.ci_upper)
    assert covered / n_trials >= 0.85


def test_runs_have_gains_of_their_own(by_hand):
    runs = xr.concat([by_hand, by_hand], "run").assign_coords(run=[0, 1])
    runs = runs.assign({name: by_hand[name] for name in ("gene_mean", "gene_variance")})
    with pytest.raises(ValueError, match="each run has gains of its own"):
        amici_xr.prediction_gain(runs.assign(squared_deviation=by_hand.squared_deviation))


@pytest.mark.parametrize(
    "ask",
    [
        amici_xr.explained_variance,
        amici_xr.gene_effects,
        amici_xr.effect_curve,
        amici_xr.effect_length_scale,
        amici_xr.prediction_gain,
        amici_xr.plot_gene_effects,
        amici_xr.plot_effect_curve,
    ],
)
def test_a_dataset_without_effects_is_told_how_to_get_them(ask, ds):
    with pytest.raises(amici_xr.SchemaError, match=r"no effects; extract it with effects=True"):
        ask(ds)


def test_effects_by_head_are_an_error_where_there_are_none(by_hand):
    with pytest.raises(amici_xr.SchemaError, match="no effects by head; extract it with"):
        amici_xr.gene_effects(by_hand, by_head=True)


def test_an_unknown_sender_is_named_with_those_there_are(by_hand):
    with pytest.raises(amici_xr.NotFoundError, match="unknown cell type 'E'; known: 'A', 'B'"):
        amici_xr.gene_effects(by_hand, "E")


def test_enrichment_is_the_share_of_attention_over_that_of_neighbors(several):
    enriched = amici_xr.attention_enrichment(several)
    attention = amici_xr.attention(several)
    for query in several["query"].values:
        of_query = attention.isel(receiver=attention.receiver_label.values == query)
        labels = several.neighborhood_label.sel(receiver=of_query.receiver).values
        for code, label in enumerate(several.cell_type.values):
            is_label = labels == code
            share = is_label.sum() / (labels >= 0).sum()
            weights = of_query.transpose("receiver", "rank", "head").values
            ours = enriched.sel(query=query, label=label)
            if share:
                expected = weights[is_label].sum(axis=0) / np.nansum(weights, axis=(0, 1)) / share
                np.testing.assert_allclose(ours.enrichment, expected, rtol=1e-9)
            else:
                assert ours.enrichment.isnull().all()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda ds: ds.drop_vars("gene"), "effects without 'gene'; keep these coordinates"),
        (lambda ds: ds.assign(gene_gain=ds.gene_gain * np.inf), "gene_gain: .* not finite"),
        (lambda ds: ds.assign(squared_error=-ds.squared_error), "squared_error holds values below"),
        (lambda ds: ds.assign_coords(distance=-ds.distance), "distance must ascend from 0 on"),
        (lambda ds: ds.assign_coords(gene=["up", "up"]), "gene holds 'up' more than once"),
    ],
)
def test_effects_that_were_damaged_are_named(by_hand, change, problem):
    amici_xr.validate(by_hand)
    with pytest.raises(amici_xr.SchemaError, match=problem):
        amici_xr.validate(change(by_hand))


def test_effects_of_one_query_among_several_are_an_error(several):
    genes = {"gene": ["x", "y"], "gene_variance": ("gene", [1.0, 1.0])}
    with pytest.raises(amici_xr.SchemaError, match="query is a dim, but not of 'gene_variance'"):
        amici_xr.validate(several.assign(genes))


def test_lengths_of_effects_follow_the_unit(by_hand):
    ds = by_hand.assign(
        distance_kernel_unit_scale=by_hand.distance_kernel_unit_scale.assign_attrs(units="pixel")
    )
    in_microns = amici_xr.to_microns(ds, 0.5)
    factor = (
        amici_xr.effect_length_scale(in_microns).effect_length_scale
        / amici_xr.effect_length_scale(by_hand).effect_length_scale
    )
    assert factor.sel(label="B").item() == pytest.approx(0.5)


@pytest.mark.needs_model
@pytest.mark.parametrize("pair", PLANTED)
def test_the_planted_genes_are_the_ten_of_largest_effect(of_demo, pair):
    query, label = pair
    first, _ = PLANTED[pair]
    size = abs(amici_xr.gene_effects(of_demo, label).effect.sel(query=query))
    strongest = size.gene.values[np.argsort(-size.values)[:10]]
    assert sorted(strongest) == [f"gene_{number}" for number in range(first, first + 10)]


@pytest.mark.needs_model
@pytest.mark.parametrize("pair", PLANTED)
def test_the_length_scale_of_a_planted_effect_is_the_planted_one(of_demo, pair):
    query, label = pair
    reach = amici_xr.effect_length_scale(of_demo, 0.5).sel(query=query, label=label)
    assert reach.status == "falls"
    assert reach.effect_length_scale.item() == pytest.approx(PLANTED[pair][1], rel=0.2)


@pytest.mark.needs_model
def test_effects_of_pairs_that_were_not_planted_are_six_times_smaller(of_demo):
    norm = np.sqrt((amici_xr.gene_effects(of_demo).effect ** 2).sum("gene"))
    sizes = {
        (query, label): norm.sel(query=query, label=label).item()
        for query in norm["query"].values.tolist()
        for label in norm["label"].values.tolist()
    }
    smallest_planted = min(sizes[pair] for pair in PLANTED)
    assert 6 * max(size for pair, size in sizes.items() if pair not in PLANTED) < smallest_planted
