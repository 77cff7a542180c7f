"""Attention where the neighbors really stand, and length scales among competitors."""

import json

import numpy as np
import pytest
import xarray as xr
from recorded_data import data_folder
from scipy.special import logit, logsumexp, softmax

import amici_xr

needs_model = pytest.mark.needs_model


@pytest.fixture
def ds():
    """Three receivers of two heads, at most four neighbors, one of them alone."""
    rng = np.random.default_rng(0)
    return amici_xr.from_arrays(
        rng.normal(2, 2, (6, 2)),
        rng.gamma(5, 0.1, (6, 2)),
        ["B", "B", "C", "C", "B", "D"],
        query="A",
        dummy_attention_score=1.5,
        distance_kernel_unit_scale=2.0,
        neighbor=[2, 3, 5, 7, 8, 9],
        cell_type=["A", "B", "C", "D"],
        receiver=[0, 4, 6],
        receiver_label=["A"] * 3,
        neighborhood_index=[[2, 5, 3, 9], [7, 2, 8, -1], [5, -1, -1, -1]],
        neighborhood_distance=[[0.5, 1, 2, 9], [0.1, 3, 4, np.nan], [2.5, np.nan, np.nan, np.nan]],
        neighborhood_label=[[1, 2, 1, 3], [2, 1, 1, -1], [2, -1, -1, -1]],
        unit="µm",
    )


def places(ds):
    """Each receiver, head and rank where there is a neighbor, with its scores, by plain loops."""
    for receiver, head in np.ndindex(ds.sizes["receiver"], ds.sizes["head"]):
        here = ds.isel(receiver=receiver, head=head)
        ranks = np.flatnonzero(here.neighborhood_index >= 0)
        neighbors = ds.get_index("neighbor").get_indexer(here.neighborhood_index.values[ranks])
        own = here.isel(neighbor=neighbors)
        a = own.base_attention_score.values.astype(float)
        slope = own.position_coefficient.values.astype(float) / ds.distance_kernel_unit_scale.item()
        distance = here.neighborhood_distance.values[ranks]
        yield (receiver, head), ranks, a, slope, distance, here.neighborhood_label.values[ranks]


def test_attention_is_the_softmax_over_the_neighborhood_and_the_dummy(ds):
    expected, dummy = np.full((3, 2, 4), np.nan), np.empty((3, 2))
    for place, ranks, a, slope, distance, _ in places(ds):
        weights = softmax([*(a - slope * distance), ds.dummy_attention_score.item()])
        expected[place][ranks], dummy[place] = weights[:-1], weights[-1]
    attention = amici_xr.attention(ds)
    assert attention.dims == ("receiver", "head", "rank")
    np.testing.assert_allclose(attention, expected, rtol=1e-13)
    np.testing.assert_allclose(amici_xr.dummy_attention(ds), dummy, rtol=1e-13)


@needs_model
@pytest.mark.parametrize("name", ["synthetic", "merfish"])
def test_attention_is_within_1e_5_of_the_recorded_and_needs_no_model(name, tmp_path):
    folder = data_folder() / name
    query = json.loads((folder / "recorded" / "settings.json").read_text())["attention_for"]
    extracted = amici_xr.extract(folder / "model", query, folder / "adata.h5ad", progress=False)
    extracted.to_netcdf(tmp_path / "saved.nc")
    with xr.open_dataset(tmp_path / "saved.nc") as saved:
        attention = amici_xr.attention(saved)
    recorded = np.load(folder / "recorded" / "attention.npz")
    rows = attention.set_xindex("receiver_name").sel(
        receiver_name=xr.DataArray(recorded["cell"], dims="row"),
        head=xr.DataArray(recorded["head"], dims="row"),
    )
    assert len(recorded["cell"]) == attention.sizes["receiver"] * attention.sizes["head"]
    np.testing.assert_allclose(rows, recorded["attention"], rtol=0, atol=1e-5)


def test_attributes_say_what_attention_is_and_not_what_the_scores_are(ds):
    assert amici_xr.attention(ds).attrs == {"long_name": "observed attention", "units": "1"}
    dummy = amici_xr.dummy_attention(ds).attrs
    assert dummy == {"long_name": "attention to the dummy", "units": "1"}


def test_scores_of_any_size_leave_attention_finite(ds):
    for scale in (1e-4, 1.0, 1e4):
        large = ds.assign(base_attention_score=ds.base_attention_score * np.float32(scale))
        attention = amici_xr.attention(large)
        total = attention.sum("rank") + amici_xr.dummy_attention(large)
        np.testing.assert_allclose(total, 1, rtol=1e-12)
        assert (attention.isnull() == (ds.neighborhood_index < 0)).all()


def test_several_queries_have_the_receivers_of_all_each_with_its_own_scores(several):
    attention = amici_xr.attention(several)
    np.testing.assert_array_equal(attention.receiver, several.receiver)
    for query in ("A", "C", "D"):
        alone = amici_xr.attention(amici_xr.select(several, query))
        own = attention.isel(receiver=np.flatnonzero(several.receiver_label == query))
        xr.testing.assert_equal(own, alone.drop_vars("query"))


@pytest.mark.parametrize("by_sample", [False, True])
def test_attention_by_distance_is_what_a_table_of_pairs_gives(by_sample):
    ds = amici_xr.testing.simulate_dataset(
        ["A", "B"], n_cells=300, unit="µm", samples=["left", "right"]
    )
    edges = [0, 0.7, 1.5, 3]
    result = amici_xr.attention_by_distance(ds, edges, by_sample=by_sample)
    assert result.mean_attention.dims[-3:] == ("label", "head", "distance_bin")
    assert result.distance_bin.attrs["units"] == "µm"
    attention = amici_xr.attention(ds)
    pairs = xr.Dataset(
        {
            "attention": attention,
            "distance": ds.neighborhood_distance,
            "label": ds.neighborhood_label,
        }
    ).to_dataframe()
    pairs = pairs[pairs["label"] >= 0]
    pairs["bin"] = np.digitize(pairs["distance"], edges) - 1
    groups = ["receiver_label", *(["receiver_sample"] if by_sample else []), "label", "head"]
    table = pairs.groupby([*groups, "bin"])["attention"].agg(["mean", "count"])
    n_checked = 0
    for key, (mean, count) in table.iterrows():
        if key[-1] not in (0, 1, 2):
            continue
        query, *sample, label, head, place = key
        one = result.sel(query=query, label="ABCD"[label]).isel(distance_bin=place)
        one = one.sel(sample=sample[0]) if by_sample else one
        assert one.mean_attention.sel(head=head).item() == pytest.approx(mean, rel=1e-12)
        assert one.n_pairs.item() == count
        n_checked += 1
    assert n_checked > 30
    dummy = amici_xr.dummy_attention(ds).to_dataframe().groupby([*groups[:-2], "head"])
    expected = dummy["dummy_attention"].mean().to_xarray().transpose("receiver_label", ...)
    np.testing.assert_allclose(result.dummy_attention, expected, rtol=1e-12)


def test_bins_may_be_a_number_and_hold_every_pair(ds):
    result = amici_xr.attention_by_distance(ds, 3)
    np.testing.assert_allclose(result.bin_lower, [0, 3, 6])
    np.testing.assert_allclose(result.bin_upper, [3, 6, 9])
    np.testing.assert_allclose(result.distance_bin, [1.5, 4.5, 7.5])
    assert result.n_pairs.sum() == 8  # the farthest, at 9, lies on the last edge
    assert np.isnan(result.mean_attention.sel(label="A")).all()


def competing(kind, labels, own):
    others = np.arange(labels.size) != own
    return others & (labels != labels[own]) if kind == "other_labels" else others


@pytest.mark.parametrize("competitors", ["other_labels", "all"])
@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_in_context_length_scales_are_those_of_the_formula(ds, competitors, threshold):
    lengths = np.full((3, 2, 4), np.nan)
    beyond = np.zeros((3, 2, 4), bool)
    for place, ranks, a, slope, distance, labels in places(ds):
        score = a - slope * distance
        for own, rank in enumerate(ranks):
            among = score[competing(competitors, labels, own)]
            bar = logsumexp([ds.dummy_attention_score.item(), *among])
            reach = max(0, (a[own] - bar - logit(threshold)) / slope[own])
            lengths[place][rank], beyond[place][rank] = reach, reach > distance.max()
    result = amici_xr.in_context_length_scale(ds, threshold, competitors)
    assert result.in_context_length_scale.dims == ("receiver", "head", "rank")
    assert result.in_context_length_scale.attrs["units"] == "µm"
    np.testing.assert_allclose(result.in_context_length_scale, lengths, rtol=1e-12)
    np.testing.assert_array_equal(result.is_beyond_neighborhood, beyond)
    assert 0 < beyond.sum() < np.isfinite(lengths).sum()


def of_neighbors(ds, lengths):
    """Values of the neighbors, (neighbor, head), where they stand."""
    position = ds.get_index("neighbor").get_indexer(ds.neighborhood_index.values.ravel())
    stand = lengths.isel(neighbor=position).values
    return stand.reshape(*ds.neighborhood_index.shape, -1).swapaxes(1, 2)


def test_competition_never_lengthens_and_without_it_nothing_changes():
    ds = amici_xr.testing.simulate_dataset(n_cells=400)
    exists = (ds.neighborhood_index >= 0).values[:, np.newaxis]
    alone = of_neighbors(ds, amici_xr.length_scale(ds, 0.1, None))
    by = {
        kind: amici_xr.in_context_length_scale(ds, 0.1, kind).in_context_length_scale.values
        for kind in ("other_labels", "all")
    }
    assert ((by["other_labels"] <= alone) | ~exists).all()
    assert ((by["all"] <= by["other_labels"] * (1 + 1e-12)) | ~exists).all()
    assert (by["all"] < by["other_labels"]).any()
    is_nearest = xr.DataArray(np.arange(ds.sizes["rank"]) == 0, dims="rank")
    lonely = ds.assign(
        neighborhood_index=ds.neighborhood_index.where(is_nearest, -1),
        neighborhood_distance=ds.neighborhood_distance.where(is_nearest),
        neighborhood_label=ds.neighborhood_label.where(is_nearest, -1).astype("int16"),
    )
    for kind in by:
        result = amici_xr.in_context_length_scale(lonely, 0.1, kind).in_context_length_scale
        np.testing.assert_array_equal(result.values[..., 0], alone[..., 0])


def test_a_competitor_that_is_far_stronger_leaves_the_others_exact(ds):
    """Subtracting one's own weight from the sum of all would leave nothing."""
    scores = ds.base_attention_score.copy()
    scores[0] = 1000
    strong = ds.assign(base_attention_score=scores)
    result = amici_xr.in_context_length_scale(strong, 0.5, "all").in_context_length_scale
    place = {"receiver": 0, "rank": 0}  # the strong one's own bar is that of the others alone
    slope = ds.position_coefficient.isel(neighbor=0).astype(float) / 2
    bar = 1000 - result[place] * slope
    others = ds.isel(neighbor=[1, 2, 5])
    distance = np.array([2, 1, 9])[:, np.newaxis]
    score = others.base_attention_score - others.position_coefficient * distance / 2
    expected = np.logaddexp(1.5, logsumexp(score.values.astype(float), axis=0))
    np.testing.assert_allclose(bar, expected, rtol=1e-10)


@needs_model
def test_with_all_competing_a_planted_20_becomes_8_8(demo):
    """Fibroblasts within reach of one tumor cell share its attention."""
    ds = amici_xr.extract(demo[0], "Tumor", demo[1], heads=1, progress=False)
    is_fibroblast = ds.neighborhood_label == ds.cell_type.values.tolist().index("Fibroblast")
    median = {
        kind: amici_xr.in_context_length_scale(ds, 0.5, kind)
        .in_context_length_scale.where(is_fibroblast)
        .median()
        .item()
        for kind in ("other_labels", "all")
    }
    assert median["other_labels"] == pytest.approx(20.5, abs=0.1)
    assert median["all"] == pytest.approx(8.80, abs=0.01)


def test_receivers_keep_the_order_of_the_dataset(several):
    shuffled = several.isel(
        receiver=np.random.default_rng(0).permutation(several.sizes["receiver"])
    )
    attention = amici_xr.attention(shuffled)
    np.testing.assert_array_equal(attention.receiver, shuffled.receiver)
    expected = amici_xr.attention(several).sel(receiver=shuffled.receiver)
    np.testing.assert_array_equal(attention, expected)


IN_PLACE = {
    "attention": amici_xr.attention,
    "dummy_attention": amici_xr.dummy_attention,
    "attention_by_distance": amici_xr.attention_by_distance,
    "in_context_length_scale": amici_xr.in_context_length_scale,
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_neighborhoods_that_do_not_fit_the_neighbors_are_named(ds, name):
    reordered = ds.isel(cell_type=[3, 2, 1, 0])
    renumbered = ds.assign_coords(neighbor=ds.neighbor.values[[3, 1, 2, 0, 4, 5]])
    for wrong in (reordered, renumbered):
        with pytest.raises(amici_xr.SchemaError, match="cell_type was reordered, labels renamed"):
            IN_PLACE[name](wrong)


@pytest.mark.parametrize("name", IN_PLACE)
@pytest.mark.parametrize("chunks", [None, {"neighbor": 2}])
def test_scores_that_are_nan_are_named(ds, name, chunks):
    shifted = ds.assign(base_attention_score=ds["base_attention_score"].shift(neighbor=1))
    shifted = shifted if chunks is None else shifted.chunk(chunks)
    with pytest.raises(amici_xr.SchemaError, match="scores of query 'A' are NaN although is_neigh"):
        IN_PLACE[name](shifted).compute()


def test_several_thresholds_add_a_dim(ds):
    several = amici_xr.in_context_length_scale(ds, [0.1, 0.5])
    for threshold in (0.1, 0.5):
        alone = amici_xr.in_context_length_scale(ds, threshold)
        xr.testing.assert_equal(several.sel(threshold=threshold, drop=True), alone)


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda ds: amici_xr.in_context_length_scale(ds, 0.1, "own"), ValueError,
         "competitors='own' is not known; choose one of 'other_labels', 'all'"),
        (lambda ds: amici_xr.attention(ds.isel(neighbor=[0, 1])), amici_xr.SchemaError,
         "neighborhoods hold 4 cells without scores, e.g. 5, 7, 8, 9: neighbors were selected"),
        (lambda ds: amici_xr.attention(ds.drop_vars("neighborhood_index")), amici_xr.SchemaError,
         "neighborhoods without"),
        (lambda ds: amici_xr.dummy_attention(
            amici_xr.from_dataframe(amici_xr.to_dataframe(ds))), amici_xr.SchemaError,
         "this Dataset has no neighborhoods"),
        (lambda ds: amici_xr.attention_by_distance(ds, [0, 2, 1]), ValueError,
         r"bins=\[0, 2, 1\] must be the ascending edges of bins"),
        (lambda ds: amici_xr.attention_by_distance(ds, 0), ValueError, "bins=0 must be at least 1"),
        (lambda ds: amici_xr.attention_by_distance(ds, ["a", "b"]), ValueError,
         r"bins=\['a', 'b'\] must be the ascending edges of bins"),
    ],
)  # fmt: skip
def test_what_can_not_be_answered_is_named(ds, ask, error, message):
    with pytest.raises(error, match=message):
        ask(ds)


@pytest.mark.parametrize("competitors", ["all", "other_labels"])
def test_without_a_single_neighbor_there_is_no_length_scale_in_context(competitors):
    alone = amici_xr.from_arrays(
        np.empty((0, 1)),
        np.empty((0, 1)),
        [],
        query="A",
        receiver=[0],
        receiver_label=["A"],
        neighborhood_index=[[-1]],
        neighborhood_distance=[[np.nan]],
        neighborhood_label=[[-1]],
    )
    found = amici_xr.in_context_length_scale(alone, 0.1, competitors)
    assert found["in_context_length_scale"].isnull().all()
    assert not found["is_beyond_neighborhood"].any()
    assert amici_xr.attention(alone).isnull().all()
    assert (amici_xr.dummy_attention(alone) == 1).all()
