"""Models beside the tissue: numbers by hand, the planted truth, and what does not fit together."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from responses import simulate_response
from scipy import stats

import amici_xr
from amici_xr.analysis.effect_step import effect_step

pytest.importorskip("anndata")  # the core environment has none
pytestmark = pytest.mark.needs_model

PLANTED = {("T_cell", "Macrophage"), ("Tumor", "Fibroblast")}


@pytest.fixture(scope="module")
def ds(effects_of_demo):
    return effects_of_demo[0]


@pytest.fixture(scope="module")
def compared(ds, response_of_demo):
    return amici_xr.compare_with_tissue(ds, response_of_demo)


def pairs_with(compared, verdict):
    verdicts = compared.verdict.transpose("query", "label").to_series()
    return set(verdicts[verdicts == verdict].index)


# What it says of the demo


@pytest.mark.parametrize("run", [0, 1, 2])
def test_exactly_the_planted_pairs_are_in_both(effects_of_demo, response_of_demo, demo, run):
    interactions = demo[1].uns["interactions"]
    planted = set(zip(interactions["receiver"], interactions["sender"], strict=True))
    compared = amici_xr.compare_with_tissue(effects_of_demo[run], response_of_demo)
    assert pairs_with(compared, "in both") == planted == PLANTED
    for query, label in planted:
        pair = compared.sel(query=query, label=label)
        assert pair.correlation > 0.9
        assert pair.slope == pytest.approx(0.85, abs=0.2)
    assert pairs_with(compared, "not tested") == {
        (name, name) for name in effects_of_demo[run]["query"].values
    }


def test_an_effect_at_distances_that_the_model_never_saw_does_not_count(compared):
    """Large at contact, and gone before the nearest real neighbor."""
    pair = compared.sel(query="Endothelial", label="Macrophage")
    planted = compared.sel(query="Tumor", label="Fibroblast")
    assert pair.contact_effect > planted.contact_effect / 2
    assert pair.model_effect < planted.model_effect / 100
    assert pair.verdict == "neither"


def test_runs_are_compared_each_by_itself(effects_of_demo, response_of_demo):
    aligned = amici_xr.align_runs(effects_of_demo)
    together = amici_xr.compare_with_tissue(aligned, response_of_demo)
    assert together.verdict.dims == ("run", "query", "label")
    for run, alone in enumerate(effects_of_demo):
        expected = amici_xr.compare_with_tissue(alone, response_of_demo)
        xr.testing.assert_allclose(together.sel(run=run, drop=True), expected)


def test_a_single_query_stays_a_scalar(ds, response_of_demo, compared):
    of_one = amici_xr.select(ds, "Tumor").cf.compare_with_tissue(response_of_demo)
    assert of_one.verdict.dims == ("label",)
    xr.testing.assert_allclose(of_one, compared.sel(query="Tumor"))
    of_pair = amici_xr.compare_with_tissue(
        ds, response_of_demo.sel(query="Tumor", label="Fibroblast")
    )
    assert pairs_with(of_pair, "in both") == {("Tumor", "Fibroblast")}
    assert (of_pair.verdict == "not tested").sum() == of_pair.verdict.size - 1


def test_lazy_datasets_of_files_give_the_same(ds, response_of_demo, compared):
    amici_xr.save(ds, "ds.nc")
    amici_xr.save(response_of_demo, "tissue.nc")
    lazy = amici_xr.open_dataset("ds.nc", chunks={})
    again = amici_xr.compare_with_tissue(lazy, amici_xr.open_dataset("tissue.nc", chunks={}))
    xr.testing.assert_identical(again, compared)
    amici_xr.save(compared, "compared.nc")
    xr.testing.assert_equal(amici_xr.open_dataset("compared.nc").load(), compared)


# The numbers


@pytest.mark.parametrize("pair", [("Tumor", "Fibroblast"), ("Macrophage", "Endothelial")])
def test_correlation_and_slope_are_those_by_hand(ds, response_of_demo, compared, pair):
    query, label = pair
    contact = ds.counterfactual_effect.sel(query=query, cell_type=label).isel(distance=0).values
    effect = response_of_demo.effect.sel(query=query, label=label, gene=ds["gene"]).values
    got = compared.sel(query=query, label=label)
    assert got.correlation.item() == pytest.approx(np.corrcoef(contact, effect)[0, 1])
    slope, *_ = np.linalg.lstsq(effect[:, np.newaxis], contact.astype(float), rcond=None)
    assert got.slope.item() == pytest.approx(slope.item())
    p = stats.pearsonr(contact, effect, alternative="greater").pvalue
    assert got.correlation_p_value.item() == pytest.approx(p, rel=1e-5)
    assert got.n_genes == 50


def test_genes_are_matched_by_name_and_only_common_ones_count(ds, response_of_demo):
    some = ["gene_47", "gene_03", "gene_11", "gene_42", "gene_20"]
    other = response_of_demo.sel(gene=some).assign_coords(gene=[*some[:-1], "unknown"])
    compared = amici_xr.compare_with_tissue(ds, other).sel(query="Tumor", label="Fibroblast")
    contact = ds.counterfactual_effect.sel(query="Tumor", cell_type="Fibroblast").isel(distance=0)
    effect = response_of_demo.effect.sel(query="Tumor", label="Fibroblast")
    expected = np.corrcoef(contact.sel(gene=some[:-1]), effect.sel(gene=some[:-1]))[0, 1]
    assert compared.correlation.item() == pytest.approx(expected)
    assert compared.n_genes == 4
    assert compared.attrs["genes"] == "4 shared, 46 only in ds, 1 only in response"


def test_genes_that_may_be_spillover_do_not_count_beside_the_strict_q(ds, response_of_demo):
    strict = amici_xr.compare_with_tissue(ds, response_of_demo, q="q_value_strict")
    pair = {"query": "T_cell", "label": "Macrophage"}
    kept = ~response_of_demo.may_be_spillover.sel(pair).sel(gene=ds["gene"]).values
    assert 0 < kept.sum() < 50
    contact = ds.counterfactual_effect.sel(query="T_cell", cell_type="Macrophage").isel(distance=0)
    effect = response_of_demo.effect.sel(pair).sel(gene=ds["gene"])
    got = strict.sel(pair)
    assert got.correlation.item() == pytest.approx(np.corrcoef(contact[kept], effect[kept])[0, 1])
    assert got.n_genes == kept.sum()
    assert got.tissue_q_value == response_of_demo.q_value_strict.sel(pair)


def test_two_genes_correlate_without_a_p(ds, response_of_demo):
    two = amici_xr.compare_with_tissue(ds, response_of_demo.sel(gene=["gene_47", "gene_03"]))
    pair = two.sel(query="Tumor", label="Fibroblast")
    assert pair.correlation.item() == pytest.approx(1)
    assert np.isnan(pair.correlation_p_value)
    assert pair.verdict == "tissue only"


def test_the_step_is_the_mean_within_the_radius_less_that_beyond(ds, response_of_demo):
    """Each receiver by itself, with NumPy's interpolation."""
    query, label, radius = "T_cell", "Macrophage", 9.6
    types = ds["cell_type"].values.tolist()
    curve = ds.counterfactual_effect.sel(query=query, cell_type=label, gene="gene_35")
    within, beyond = [], []
    rows = np.flatnonzero(ds["receiver_label"].values == query)
    codes, distances = ds["neighborhood_label"].values, ds["neighborhood_distance"].values
    for row in rows:
        of_label = distances[row][codes[row] == types.index(label)]
        nearest = of_label.min() if of_label.size else distances[row].max()
        effect = np.interp(nearest, ds["distance"], curve)
        (within if of_label.size and nearest < radius else beyond).append(effect)
    radii = xr.DataArray(np.full(5, radius), {"label": types, "query": query}, "label")
    step = effect_step(amici_xr.select(ds, query), radii).sel(label=label, gene="gene_35")
    assert step.item() == pytest.approx(np.mean(within) - np.mean(beyond), rel=1e-5)
    assert np.isnan(effect_step(amici_xr.select(ds, query), 0 * radii)).all()
    has_label = (codes[rows] == types.index(label)).any(axis=1)
    near = amici_xr.select(ds, query).isel(receiver=np.flatnonzero(has_label))
    assert np.isnan(effect_step(near, 1e6 * radii).sel(label=label)).all()


def test_the_model_effect_has_the_unit_of_the_detectable_one(ds, response_of_demo, compared):
    """A step of one standard deviation in eight genes is 1."""
    every = effect_step(
        ds, response_of_demo.radius.sel(query=ds["query"], label=ds["cell_type"].values)
    )
    sd = ds["gene_variance"] ** 0.5
    pair = {"query": "Tumor", "label": "Fibroblast"}
    expected = np.sqrt((((every / sd).sel(pair)) ** 2).sum() / 8)
    assert compared.model_effect.sel(pair).item() == pytest.approx(expected.item())
    xr.testing.assert_equal(
        compared.detectable_effect.drop_attrs(),
        response_of_demo.detectable_effect.sel(query=ds["query"], label=ds["cell_type"].values)
        .reset_coords(drop=True).drop_attrs(),
    )  # fmt: skip


def test_an_effect_that_does_not_fall_is_no_step(ds, response_of_demo):
    """Near and far alike: what a model of a permuted tissue makes of every neighbor."""
    flat = ds["counterfactual_effect"].isel(distance=0, drop=True).expand_dims(
        distance=ds["distance"]
    )  # fmt: skip
    flat = flat.transpose(*ds["counterfactual_effect"].dims).assign_attrs(
        ds["counterfactual_effect"].attrs
    )
    compared = amici_xr.compare_with_tissue(ds.assign(counterfactual_effect=flat), response_of_demo)
    assert compared.model_effect.max() < 1e-6
    assert pairs_with(compared, "tissue only") == PLANTED


# The verdict


def test_the_verdict_is_what_both_say(ds, response_of_demo):
    """All four, by changing what each says of a planted pair and of another."""
    pair, other = {"query": "Tumor", "label": "Fibroblast"}, {"query": "Tumor", "label": "T_cell"}
    changed = response_of_demo.copy(deep=True)
    changed.q_value.loc[pair] = 0.5
    changed.q_value.loc[other] = 0.01
    verdict = amici_xr.compare_with_tissue(ds, changed).verdict
    assert verdict.sel(pair) == "model only"
    assert verdict.sel(other) == "tissue only"
    assert verdict.sel(query="Tumor", label="Endothelial") == "neither"
    opposite = response_of_demo.copy(deep=True)
    opposite.effect.loc[pair] *= -1
    compared = amici_xr.compare_with_tissue(ds, opposite).sel(pair)
    assert compared.verdict == "tissue only"
    assert compared.in_model
    assert compared.in_tissue


def test_another_level_or_size_calls_others(ds, response_of_demo, compared):
    loose = amici_xr.compare_with_tissue(ds, response_of_demo, significance_level=0.9)
    assert (loose.in_tissue & ~compared.in_tissue).any()
    large = amici_xr.compare_with_tissue(ds, response_of_demo, least_effect=1.9)
    assert pairs_with(large, "in both") == {("T_cell", "Macrophage")}
    assert pairs_with(large, "tissue only") == {("Tumor", "Fibroblast")}
    beyond = amici_xr.compare_with_tissue(ds, response_of_demo, q="q_value_beyond_niche")
    xr.testing.assert_equal(
        beyond.tissue_q_value.sel(query="Tumor", label="T_cell", drop=True),
        response_of_demo.q_value_beyond_niche.sel(query="Tumor", label="T_cell", drop=True),
    )
    assert beyond.attrs["tissue_evidence"] == "q_value_beyond_niche"


def test_an_effect_within_its_noise_does_not_count(ds, response_of_demo):
    noisy = ds.assign(counterfactual_noise=ds["counterfactual_noise"] * 0 + 1e3)
    compared = amici_xr.compare_with_tissue(noisy, response_of_demo)
    assert pairs_with(compared, "tissue only") == PLANTED


def test_evidence_decides_instead_of_the_size(ds, response_of_demo):
    names = {"query": ["Tumor", "T_cell"], "label": ["Fibroblast", "Macrophage", "T_cell"]}
    q = xr.DataArray([[0.2, 0.5, 0.01], [np.nan, 1e-4, np.nan]], names, ("query", "label"))
    compared = amici_xr.compare_with_tissue(
        ds, response_of_demo, evidence=q.to_dataset(name="q_value")
    )
    assert compared.attrs["model_evidence"] == "q_value of evidence"
    expected = pd.DataFrame(
        [["tissue only", "neither", "model only"], ["not tested", "in both", "not tested"]],
        names["query"], names["label"],
    )  # fmt: skip
    got = compared.verdict.sel(names).transpose("query", "label").to_pandas()
    assert got.values.tolist() == expected.values.tolist()
    assert (compared.verdict.sel(query="Endothelial") == "not tested").all()


def test_a_type_that_the_model_met_nowhere_is_not_tested(ds, response_of_demo):
    absent = ds["counterfactual_effect"].where(ds["cell_type"] != "Fibroblast")
    compared = amici_xr.compare_with_tissue(
        ds.assign(counterfactual_effect=absent), response_of_demo
    )
    assert (compared.verdict.sel(label="Fibroblast") == "not tested").all()


# Units and differences


@pytest.mark.parametrize(("unit", "microns"), [("µm", 1.0), ("nm", 1e-3), ("mm", 1e3)])
def test_distances_are_converted_from_the_unit_of_the_dataset(
    demo, response_of_demo, compared, unit, microns
):
    model, adata = demo
    ds = amici_xr.extract(model, adata=adata, effects=True, progress=False, unit="µm")
    for name in ("neighborhood_distance", "distance", "distance_kernel_unit_scale"):
        values = ds[name] / microns
        ds[name] = values.assign_attrs(ds[name].attrs | {"units": unit})
    other = amici_xr.compare_with_tissue(ds, response_of_demo)
    xr.testing.assert_allclose(other, compared)
    assert other.effect_length_scale.attrs["units"] == other.radius.attrs["units"] == "µm"
    assert other.attrs["unit"].startswith(f"distances of ds are in {unit}")
    assert compared.attrs["unit"] == "distances of ds name no unit, and are taken for µm"


def test_types_of_another_annotation_are_named(ds, response_of_demo):
    other = response_of_demo.assign_coords(
        label=response_of_demo["label"].str.replace("Macrophage", "Myeloid"),
        query=response_of_demo["query"],
    )
    with pytest.warns(UserWarning, match="response has the cell types 'Myeloid', which the model"):
        compared = amici_xr.compare_with_tissue(ds, other)
    assert compared.attrs["types_only_in_response"] == "Myeloid"
    assert (compared.verdict.sel(label="Macrophage") == "not tested").all()
    few = amici_xr.compare_with_tissue(
        ds, response_of_demo.sel(query=["Tumor"], label=["Fibroblast"])
    )
    assert few.attrs["types_only_in_ds"] == "Endothelial, Macrophage, T_cell"


def test_what_does_not_fit_is_told_with_the_names_of_both(ds, response_of_demo):
    compare = amici_xr.compare_with_tissue
    types = "share no receiving cell types: ds has 'Endothelial', 'Fibroblast', .* response has 't"
    with pytest.raises(amici_xr.SchemaError, match=types):
        compare(ds, simulate_response(5))
    renamed = response_of_demo.assign_coords(label=response_of_demo["label"].str.upper())
    with pytest.raises(amici_xr.SchemaError, match="ds and response share no sending cell types"):
        compare(ds, renamed)
    genes = response_of_demo.assign_coords(gene=response_of_demo["gene"].str.upper())
    message = "share no genes: ds has 'gene_00', .* response has 'GENE_00', .* make both of one"
    with pytest.raises(amici_xr.SchemaError, match=message):
        compare(ds, genes)
    with pytest.raises(amici_xr.SchemaError, match="response is not a distance response but holds"):
        compare(ds, ds)
    with pytest.raises(amici_xr.SchemaError, match="this Dataset has no effects; extract it with"):
        compare(amici_xr.testing.simulate_dataset(), response_of_demo)
    without = ds.drop_vars(["neighborhood_index", "neighborhood_distance", "neighborhood_label"])
    with pytest.raises(amici_xr.SchemaError, match="this Dataset has no neighborhoods, which tell"):
        compare(without, response_of_demo)
    with pytest.raises(amici_xr.SchemaError, match="needs least_effect"):
        compare(ds, response_of_demo.drop_vars("detectable_effect"))
    assert pairs_with(
        compare(ds, response_of_demo.drop_vars("detectable_effect"), least_effect=1), "in both"
    ) == PLANTED  # fmt: skip


def test_wrong_arguments_are_told(ds, response_of_demo):
    compare = amici_xr.compare_with_tissue
    with pytest.raises(amici_xr.NotFoundError, match="q='p' is not in the response, which has"):
        compare(ds, response_of_demo, q="p")
    with pytest.raises(ValueError, match="significance_level=2 must lie strictly between 0 and 1"):
        compare(ds, response_of_demo, significance_level=2)
    with pytest.raises(ValueError, match="least_effect=0 must be a finite number above 0"):
        compare(ds, response_of_demo, least_effect=0)
    with pytest.raises(amici_xr.SchemaError, match="evidence must be a Dataset with q_value by"):
        compare(ds, response_of_demo, evidence=amici_xr.prediction_gain(ds))
    with pytest.raises(amici_xr.SchemaError, match=r"by query and label, .* this one holds str"):
        compare(ds, response_of_demo, evidence="refits.nc")
    other = simulate_response(3)[["q_value"]]
    with pytest.raises(amici_xr.SchemaError, match="ds and evidence share no receiving cell types"):
        compare(ds, response_of_demo, evidence=other)
    pixels = ds.copy()
    pixels["distance_kernel_unit_scale"].attrs["units"] = "pixel"
    with pytest.raises(ValueError, match=r"ds has its distances in 'pixel', .*to_microns"):
        compare(pixels, response_of_demo)
