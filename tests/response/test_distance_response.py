"""The whole test on small tissues: what it finds, what it leaves alone, what it refuses."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import sparse, stats

import amici_xr
from amici_xr.kernels.combined_p import holm
from amici_xr.kernels.permutation import benjamini_hochberg

anndata = pytest.importorskip("anndata")  # the core environment deselects what needs the model
pytestmark = pytest.mark.needs_model

PLAIN = {"n_cells": 700, "n_types": 3, "n_genes": 12, "n_pairs": 1, "genes_per_pair": 3}


def tissue_of(**settings):
    return amici_xr.testing.simulate_tissue(**{**PLAIN, **settings})


def respond(tissue, **settings):
    return amici_xr.distance_response(tissue, "cell_type", progress=False, **settings)


def assert_same(ds, other, rtol=1e-6):
    """Same names, status and numbers, but for when and of what they were made."""
    xr.testing.assert_allclose(
        ds.drop_vars("status"), other.drop_vars("status"), rtol=rtol, atol=1e-9
    )
    np.testing.assert_array_equal(ds["status"], other["status"])


@pytest.fixture(scope="module")
def tissue():
    return tissue_of(seed=3)


@pytest.fixture(scope="module")
def ds(tissue):
    return respond(tissue)


@pytest.fixture(scope="module")
def planted(tissue, ds):
    table = tissue.uns["planted"]
    pair = ds.sel(query=table["query"].iloc[0], label=table["label"].iloc[0])
    return table, pair


def test_the_planted_pair_alone_is_called(ds, planted):
    table, pair = planted
    called = ds["q_value"].to_pandas().stack()
    assert list(called.index[called < 0.05]) == [(table["query"].iloc[0], table["label"].iloc[0])]
    assert pair["q_value_beyond_niche"] < 0.05


def test_one_core_finds_the_same_to_the_last_bit(tissue, ds, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    xr.testing.assert_identical(respond(tissue).drop_attrs(), ds.drop_attrs())


def test_its_genes_have_their_direction_and_size(planted):
    table, pair = planted
    genes = pair.sel(gene=table["gene"].to_numpy())
    assert (genes["gene_q_value"] < 0.01).all()
    deviation = (genes["effect"] - table["effect"].to_numpy()) / genes["effect_se"]
    assert (np.abs(deviation) < 3.5).all()
    others = pair.drop_sel(gene=table["gene"].to_numpy())
    assert (others["gene_q_value"] > 0.05).all()


def test_the_radius_is_that_of_the_step(planted):
    table, pair = planted
    assert pair["radius"].item() / table["reach"].iloc[0] == pytest.approx(1, abs=0.2)


def test_the_response_by_distance_is_a_step(planted):
    table, pair = planted
    gene = pair.sel(gene=table["gene"].iloc[0])
    effect, reach = table["effect"].iloc[0], table["reach"].iloc[0]
    near = gene["response"].values[gene["bin_end"].values <= reach]
    far = gene["response"].values[gene["bin_start"].values >= reach * 1.2]
    near, far = near[np.isfinite(near)], far[np.isfinite(far)]
    assert np.mean(near) - np.mean(far) == pytest.approx(effect, abs=0.4)


def test_the_mean_of_the_bins_is_the_mean_of_the_gene(tissue, ds, planted):
    _, pair = planted
    cells = tissue.obs["cell_type"] == pair["query"].item()
    is_filled = np.isfinite(pair["response"]).all("gene")
    weight = pair["n_in_bin"].where(is_filled, 0)
    if (pair["n_in_bin"] == weight).all():
        mean = (pair["response"].fillna(0) * weight).sum("distance_bin") / weight.sum()
        np.testing.assert_allclose(mean, np.asarray(tissue[cells].X).mean(axis=0), rtol=1e-5)
    assert pair["n_in_bin"].sum() == cells.sum()


def test_the_status_says_what_was_tested(ds):
    status = ds["status"].to_pandas()
    for name in status.index:
        assert status.loc[name, name] == "same_type"
    assert (status.to_numpy() == "tested").sum() == 6
    assert ds["q_value"].notnull().sum() == 6


def test_q_is_adjusted_over_all_pairs(tissue, ds):
    for name in ("", "_beyond_niche", "_strict"):
        np.testing.assert_allclose(
            ds[f"q_value{name}"], benjamini_hochberg(ds[f"p_value{name}"].values)
        )
    by_holm = respond(tissue, correction="holm")
    np.testing.assert_allclose(by_holm["q_value"], holm(ds["p_value"].values))


def test_n_within_counts_receivers_nearer_than_the_radius(tissue, planted):
    _, pair = planted
    labels, positions = tissue.obs["cell_type"].to_numpy(), tissue.obsm["spatial"]
    receivers = positions[labels == pair["query"].item()]
    senders = positions[labels == pair["label"].item()]
    distance = np.linalg.norm(receivers[:, None] - senders, axis=2).min(axis=1)
    assert pair["n_within"] == (distance < pair["radius"].item()).sum()
    assert pair["n_receivers"] == len(receivers)


def test_two_runs_are_the_same(tissue, ds):
    xr.testing.assert_equal(ds, respond(tissue))


@pytest.mark.parametrize("angle", [0.4, np.pi / 2])
def test_turning_and_moving_the_tissue_changes_nothing(tissue, ds, angle):
    moved = tissue.copy()
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved.obsm["spatial"] = tissue.obsm["spatial"] @ turn + 1e7
    assert_same(respond(moved), ds, rtol=1e-4)


def test_a_mirror_image_is_the_same(tissue, ds):
    mirrored = tissue.copy()
    mirrored.obsm["spatial"] = tissue.obsm["spatial"] * [-1, 1]
    assert_same(respond(mirrored), ds, rtol=1e-4)


def test_the_order_of_cells_and_genes_does_not_matter(tissue, ds):
    rng = np.random.default_rng(0)
    shuffled = tissue[rng.permutation(tissue.n_obs), rng.permutation(tissue.n_vars)]
    assert_same(respond(shuffled).sel(gene=ds["gene"]), ds)


def test_the_names_of_types_do_not_matter(tissue, ds):
    renamed = tissue.copy()
    names = {"type_0": "z", "type_1": "m", "type_2": "a"}
    renamed.obs["cell_type"] = renamed.obs["cell_type"].astype(str).map(names)
    back = {new: old for old, new in names.items()}
    result = respond(renamed)
    result = result.assign_coords(
        query=[back[name] for name in result["query"].values],
        label=[back[name] for name in result["label"].values],
    )
    assert_same(result.sel(query=ds["query"], label=ds["label"]), ds)


def test_coordinates_in_float32_are_enough(tissue, ds):
    coarse = tissue.copy()
    coarse.obsm["spatial"] = tissue.obsm["spatial"].astype(np.float32)
    np.testing.assert_allclose(respond(coarse)["p_value"], ds["p_value"], rtol=0.02)


def test_three_axes_are_taken_too(tissue, ds):
    deep = tissue.copy()
    deep.obsm["spatial"] = np.column_stack([tissue.obsm["spatial"], np.zeros(tissue.n_obs)])
    assert ((respond(deep)["q_value"] < 0.05) == (ds["q_value"] < 0.05)).all()


def test_expression_may_be_sparse_backed_lazy_or_a_layer(tissue, ds, tmp_path):
    as_sparse = tissue.copy()
    as_sparse.X = sparse.csr_matrix(tissue.X)
    assert_same(respond(as_sparse), ds)
    as_sparse.X = sparse.csc_matrix(tissue.X)
    assert_same(respond(as_sparse), ds)
    path = tmp_path / "tissue.h5ad"
    as_sparse.write_h5ad(path)
    assert_same(respond(path), ds)
    assert_same(respond(anndata.read_h5ad(path, backed="r")), ds)
    lazy = tissue.copy()
    lazy.X = xr.DataArray(tissue.X, dims=("cell", "gene")).chunk({"cell": 100}).data
    assert_same(respond(lazy), ds)
    in_layer = tissue.copy()
    in_layer.layers["log"], in_layer.X = tissue.X, None
    assert_same(respond(in_layer, layer="log"), ds)


def test_the_result_is_saved_by_xarray(ds, tmp_path):
    for engine in ("netcdf4", "h5netcdf"):
        ds.to_netcdf(tmp_path / f"{engine}.nc", engine=engine)
        with xr.open_dataset(tmp_path / f"{engine}.nc", engine=engine) as opened:
            xr.testing.assert_identical(opened.load().drop_encoding(), ds)


def test_some_queries_senders_and_genes_are_tested_as_all_are(tissue, ds):
    some = respond(tissue, queries=["type_1"], senders="type_2", genes=["gene_5", "gene_1"])
    assert dict(some.sizes) == {"query": 1, "label": 1, "gene": 2, "distance_bin": 6}
    np.testing.assert_allclose(some["effect_se"].values.ravel() > 0, [True, True])
    np.testing.assert_allclose(some["q_value"], some["p_value"])
    everything = respond(tissue, queries=["type_1"])
    np.testing.assert_allclose(
        everything["p_value"].values.ravel(), ds["p_value"].sel(query="type_1").values
    )


def test_given_radii_are_the_only_ones(tissue):
    assert np.isin(respond(tissue, radii=[30.0, 12.0])["radius"], [12.0, 30.0, np.nan]).sum() == 6


def test_counts_are_refused_or_normalized(tissue):
    rng = np.random.default_rng(0)
    counts = tissue.copy()
    counts.X = rng.poisson(np.exp(np.asarray(tissue.X))).astype(np.float32) + 60
    with pytest.raises(ValueError, match="look like raw counts; give log_normalize=True"):
        respond(counts)
    logged = counts.copy()
    total = counts.X.sum(axis=1, keepdims=True, dtype=np.float64)
    logged.X = np.log1p(counts.X * (np.median(total) / total))
    expected = respond(logged, genes=["gene_0", "gene_3"])
    result = respond(counts, log_normalize=True, genes=["gene_0", "gene_3"])
    np.testing.assert_allclose(result["p_value"], expected["p_value"], rtol=1e-4)


def test_log_normalize_refuses_what_is_no_count(tissue):
    negative = tissue.copy()
    negative.X = np.asarray(tissue.X) - 10
    with pytest.raises(ValueError, match=r"log_normalize=True takes counts.*values below 0"):
        respond(negative, log_normalize=True)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_with_their_gene(tissue, value):
    damaged = tissue.copy()
    damaged.X[5, 7] = value
    with pytest.raises(ValueError, match="expression of 'gene_7' holds NaN or infinite values"):
        respond(damaged)


@pytest.mark.parametrize("factor", [0.01, 20.0])
def test_coordinates_that_can_hardly_be_microns_are_warned_of(tissue, ds, factor):
    scaled = tissue.copy()
    scaled.obsm["spatial"] = tissue.obsm["spatial"] * factor
    with pytest.warns(UserWarning, match=r"distance between nearest cells.*microns_per_unit"):
        respond(scaled, queries="type_0", senders="type_1", genes=["gene_0"])
    assert_same(respond(scaled, microns_per_unit=1 / factor), ds, rtol=1e-5)


@pytest.mark.parametrize(
    ("key", "word", "factor"),
    [("coord_unit", "millimetres", 1e-3), ("spatial_units", "nm", 1e3), ("coord_unit", "µm", 1.0)],
)
def test_the_unit_that_a_tissue_names_is_that_of_its_coordinates(
    tissue, ds, tmp_path, key, word, factor
):
    scaled = tissue.copy()
    scaled.obsm["spatial"] = tissue.obsm["spatial"] * factor
    scaled.uns[key] = word
    scaled.write_h5ad(tmp_path / "tissue.h5ad")
    assert_same(respond(tmp_path / "tissue.h5ad"), ds, rtol=1e-5)
    assert_same(respond(scaled, microns_per_unit=1 / factor), ds, rtol=1e-5)
    scaled.uns[key] = "micron" if factor != 1 else "mm"
    with pytest.warns(UserWarning, match=rf"coordinates are in .?m, as adata.uns\['{key}'\] says"):
        respond(scaled, queries="type_0", senders="type_1", genes=["gene_0"])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"coord_unit": "pixel"},
            r"uns\['coord_unit'\] names the unit 'pixel' .* microns_per_unit",
        ),
        ({"spatial_unit": 0.5}, r"uns\['spatial_unit'\] = 0.5 is not the name of a unit"),
        ({"coord_units": ["µm", "mm"]}, r"uns\['coord_units'\] = 'µm', 'mm' is not the name"),
        ({"coord_unit": "um", "spatial_unit": "mm"}, "names different units of the coordinates"),
    ],
)
def test_a_unit_that_can_not_be_read_is_told(tissue, ds, entries, message):
    named = tissue.copy()
    named.uns.update(entries)
    with pytest.raises(ValueError, match=message):
        respond(named)
    assert_same(respond(named, microns_per_unit=1.0), ds)


def test_constant_genes_and_those_of_few_cells_stay_out(tissue, ds):
    more = anndata.AnnData(
        np.column_stack([tissue.X, np.full(tissue.n_obs, 3.0), np.zeros(tissue.n_obs)]),
        obs=tissue.obs,
        obsm=tissue.obsm,
        var=pd.DataFrame(index=[*tissue.var_names, "constant", "rare"]),
    )
    cells_of_types = [np.flatnonzero(more.obs["cell_type"] == f"type_{n}")[:9] for n in range(3)]
    more.X[np.concatenate(cells_of_types), -1] = 2.0
    result = respond(more)
    np.testing.assert_allclose(result["p_value"], ds["p_value"], rtol=1e-6)
    out = result.sel(gene=["constant", "rare"]).where(result["status"] == "tested")
    assert set(np.unique(out["gene_p_value"].values)[:1]) == {1.0}
    assert out["effect"].isnull().all()


def test_cells_in_one_place_are_tested(tissue):
    stacked = tissue.copy()
    stacked.obsm["spatial"][100:200] = stacked.obsm["spatial"][:100]
    result = respond(stacked)
    assert np.isfinite(result["p_value"].values[(result["status"] == "tested").values]).all()


def test_cells_in_a_line_are_tested():
    line = tissue_of(seed=1)
    line.obsm["spatial"] = np.column_stack([np.arange(700) * 6.0, np.full(700, 3.0)])
    result = respond(line)
    assert (result["status"] == "tested").sum() == 6
    assert np.isfinite(result["p_value"].values[(result["status"] == "tested").values]).all()


def test_one_sender_cell_is_absent_and_others_are_tested(tissue):
    labels = tissue.obs["cell_type"].astype(str).to_numpy()
    labels[350] = "lonely"
    with_one = tissue.copy()
    with_one.obs["cell_type"] = labels
    status = respond(with_one)["status"]
    assert (status.sel(query=["type_0", "type_1"], label="lonely") == "absent").all()
    assert status.sel(query="lonely", label="type_0") == "too_few_receivers"
    assert status.sel(query="type_0", label="type_1") == "tested"


def test_no_receiver_within_reach_is_no_contrast(tissue):
    apart = tissue.copy()
    apart.obsm["spatial"][apart.obs["cell_type"] == "type_2"] += 5_000.0
    status = respond(apart)["status"]
    assert (status.sel(query=["type_0", "type_1"], label="type_2") == "no_contrast").all()
    assert status.sel(query="type_0", label="type_1") == "tested"


def test_one_type_has_no_pairs(tissue):
    alone = tissue[tissue.obs["cell_type"] == "type_0"].copy()
    result = respond(alone)
    assert result["status"].values.tolist() == [["same_type"]]
    assert result["q_value"].isnull().all()


def test_samples_are_kept_apart():
    """Where a sample lies does not matter, although their coordinates overlap."""
    both = tissue_of(seed=2, n_samples=2, n_cells=1_000)
    apart = both.copy()
    apart.obsm["spatial"][both.obs["sample"] == "sample_1"] += [40_000.0, -3_000.0]
    result = respond(both, sample_key="sample")
    assert_same(respond(apart, sample_key="sample"), result, rtol=1e-4)
    assert (result["q_value"] < 0.05).sum() == 1


def test_a_type_that_one_sample_lacks_is_tested_in_the_other():
    both = tissue_of(seed=2, n_samples=2, n_cells=1_200)
    keep = (both.obs["sample"] == "sample_0") | (both.obs["cell_type"] != "type_2")
    result = respond(both[keep].copy(), sample_key="sample")
    assert result["status"].sel(query="type_0", label="type_2") == "tested"


def test_effects_are_given_by_sample_and_tested_over_them():
    three = tissue_of(seed=4, n_samples=3, n_cells=2_400, effect=1.5)
    result = respond(three, sample_key="sample")
    table = three.uns["planted"]
    pair = result.sel(query=table["query"].iloc[0], label=table["label"].iloc[0])
    genes = pair.sel(gene=table["gene"].to_numpy())
    deviation = genes["effect_by_sample"] - table["effect"].to_numpy()[:, None]
    assert (np.abs(deviation / genes["effect_by_sample_se"]) < 4).all()
    weight = genes["effect_by_sample_se"] ** -2.0
    mean = (genes["effect_by_sample"] * weight).sum("sample") / weight.sum("sample")
    np.testing.assert_allclose(mean, genes["effect"], rtol=0.05)
    others = pair.drop_sel(gene=table["gene"].to_numpy())
    assert genes["gene_p_value_over_samples"].max() < others["gene_p_value_over_samples"].median()
    p = result["p_value_over_samples"].values
    np.testing.assert_allclose(result["q_value_over_samples"], benjamini_hochberg(p))


def test_two_samples_are_not_tested_over():
    two = respond(tissue_of(seed=2, n_samples=2, n_cells=1_000), sample_key="sample")
    assert "effect_by_sample" in two
    assert "q_value_over_samples" not in two


def test_senders_that_stand_together_are_named(tissue):
    """Each cell of one type gets a companion of a new one beside it."""
    labels, positions = tissue.obs["cell_type"].to_numpy(str), tissue.obsm["spatial"]
    leaders = labels == "type_2"
    both = anndata.AnnData(
        np.concatenate([tissue.X, tissue.X[leaders]]),
        obs=pd.DataFrame(
            {"cell_type": np.concatenate([labels, np.full(leaders.sum(), "companion")])},
            index=[str(number) for number in range(len(labels) + leaders.sum())],
        ),
        var=tissue.var,
        obsm={"spatial": np.concatenate([positions, positions[leaders] + 2.0])},
    )
    stands_with = respond(both)["stands_with"]
    assert stands_with.sel(query="type_0", label="type_2") == "companion"
    assert stands_with.sel(query="type_0", label="companion") == "type_2"
    assert stands_with.sel(query="type_0", label="type_1") == ""


def test_spillover_is_flagged_and_left_out_of_the_strict_test():
    leaking = tissue_of(seed=0, n_pairs=0, spillover=0.3, n_cells=1_500, spacing=8.0, n_genes=40)
    result = respond(leaking)
    assert (result["q_value"] < 0.05).sum() >= 3
    assert (result["q_value_strict"] < 0.05).sum() == 0
    significant = result["gene_q_value"] < 0.01
    assert result["may_be_spillover"].values[significant.values].mean() > 0.9


def test_p_of_a_tissue_without_response_are_not_small(tissue):
    """Expression permuted within types: the smallest of six p, and those of genes."""
    rng = np.random.default_rng(0)
    null = tissue.copy()
    for kind in np.unique(tissue.obs["cell_type"]):
        members = np.flatnonzero(tissue.obs["cell_type"] == kind)
        null.X[members] = tissue.X[rng.permutation(members)]
    result = respond(null)
    assert result["q_value"].min() > 0.05
    p = result["gene_p_value"].values
    p = p[np.isfinite(p)]
    assert stats.binomtest(int((p < 0.05).sum()), p.size, 0.05, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radii": [0.0]}, "radii=.*must be a sequence of finite numbers above 0"),
        ({"radii": []}, "radii=.*must be a sequence of finite numbers above 0"),
        ({"trend_scale": -1}, "trend_scale=-1 must be a finite number above 0"),
        ({"niche_scale": 0}, "niche_scale=0 must be a finite number above 0"),
        ({"microns_per_unit": 0}, "microns_per_unit=0 must be a finite number above 0"),
        ({"correction": "none"}, "correction='none' is not known; choose one of 'bh', 'holm'"),
        ({"queries": ["B"]}, "queries: unknown cell type 'B'"),
        ({"senders": ["B"]}, "senders: unknown cell type 'B'"),
        ({"genes": ["B"]}, "genes: unknown gene 'B'"),
        ({"coord_key": "nowhere"}, "adata.obsm has no 'nowhere'"),
        ({"sample_key": "nowhere"}, "sample_key='nowhere' is no column"),
    ],
)
def test_arguments_are_checked(tissue, settings, message):
    with pytest.raises(ValueError, match=message):
        respond(tissue, **settings)
