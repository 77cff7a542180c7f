"""Curves and their summaries on labelled Datasets."""

import numpy as np
import pytest
import xarray as xr

import amici_xr


def test_a_curve_adds_distance_last_and_keeps_the_coordinates(ds):
    curve = ds.amici.curve(np.linspace(0, 9, 4))
    assert curve.dims == ("neighbor", "head", "distance")
    assert curve.dtype == np.float64
    xr.testing.assert_identical(curve.label, ds.label)
    assert curve.distance.attrs["units"] == "µm"


def test_a_curve_is_a_probability_that_falls_with_distance(ds):
    curve = ds.amici.curve(np.linspace(0, 50, 101))
    assert bool(((curve >= 0) & (curve <= 1)).all())
    assert bool((curve.diff("distance") <= 0).all())


def test_a_curve_of_several_queries_is_masked_where_a_cell_is_no_neighbor(several):
    curve = several.amici.curve([0, 5])
    assert curve.dims == ("query", "neighbor", "head", "distance")
    assert bool((curve.isel(distance=0, head=0).notnull() == several.is_neighbor).all())


def test_distances_may_come_in_any_order(ds):
    forth, back = ds.amici.curve([0, 3, 7]), ds.amici.curve([7, 0, 3])
    xr.testing.assert_identical(back.sel(distance=[0, 3, 7]), forth)


def test_a_single_distance_adds_no_dim(ds):
    curve = ds.amici.curve(5)
    assert curve.dims == ("neighbor", "head")
    assert curve.distance == 5
    assert ds.amici.curve_summary(5)["mean"].dims == ("label", "head")


def test_one_head_picked_by_isel_gives_the_curve_of_that_head(ds):
    whole = ds.amici.curve([0, 5]).isel(head=1)
    xr.testing.assert_identical(ds.isel(head=1).amici.curve([0, 5]), whole)


def test_a_chunked_dataset_gives_the_same_curve_lazily(ds):
    lazy = ds.chunk(neighbor=50).amici.curve([0, 5])
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), ds.amici.curve([0, 5]))


def test_a_chunked_dataset_gives_the_same_reductions(several):
    lazy = several.chunk(neighbor=50, head=1)
    for ask in (
        lambda ds: ds.amici.curve_summary([0, 5], quantiles=[0.5])["quantiles"],
        lambda ds: ds.amici.length_scale(0.1),
        lambda ds: ds.amici.support(0.1),
        lambda ds: ds.amici.bootstrap(0.1),
        lambda ds: ds.amici.select("A").amici.curve([0, 5]),
    ):
        xr.testing.assert_identical(ask(lazy).compute(), ask(several))
    summary = lazy.amici.curve_summary([0, 5])  # from the moments of each chunk: but for rounding
    xr.testing.assert_allclose(summary.compute(), several.amici.curve_summary([0, 5]), rtol=1e-12)


@pytest.mark.parametrize(
    ("distance", "message"),
    [
        ([1, -2.0], "distance holds -2.0; distances must be finite and at least 0"),
        ([1, np.nan], "distance holds nan; distances must be finite"),
        ([np.inf], "distance holds inf; distances must be finite"),
        ([], "distance is empty; give at least one number"),
        ([[1, 2]], r"distance has shape \(1, 2\); give a number or a 1-D sequence"),
    ],
)
def test_distances_out_of_range_are_named(ds, distance, message):
    for ask in (ds.amici.curve, ds.amici.curve_summary):
        with pytest.raises(ValueError, match=message):
            ask(distance)


def test_a_distance_of_each_neighbor_is_refused(ds):
    with pytest.raises(ValueError, match=r"distance has dims \('neighbor',\); a curve is taken"):
        ds.amici.curve(ds.neighbor_x)
    labelled = xr.DataArray([0.0, 5.0], dims="distance")
    xr.testing.assert_identical(ds.amici.curve(labelled), ds.amici.curve([0, 5]))


def test_distances_that_are_no_numbers_are_named(ds):
    with pytest.raises(TypeError, match="distance='far' must be numbers"):
        ds.amici.curve("far")


def test_a_curve_of_over_2_gb_names_the_ways_out(ds):
    with pytest.raises(ValueError, match=r"2\.\d GB; curve_summary .* ds\.chunk"):
        ds.amici.curve(np.linspace(0, 1, 400_000))
    assert ds.chunk(neighbor=10).amici.curve(np.linspace(0, 1, 400_000)).chunks is not None


# xarray's own quantile and std of absent labels
@pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:Degrees of freedom")
@pytest.mark.parametrize("labels", ["one", "several"])
def test_a_summary_equals_group_by_on_the_whole_curve(ds, several, labels):
    of = ds if labels == "one" else several
    distance, quantiles = np.linspace(0, 5, 6), [0.05, 0.5]
    summary = of.amici.curve_summary(distance, quantiles=quantiles)
    assert summary["mean"].dims[-3:] == ("label", "head", "distance")
    assert summary["quantiles"].dims[-1] == "quantile"
    grouped = of.amici.curve(distance).groupby("label")
    order = ("query", "label", "head", "distance", "quantile")
    for name, expected in {
        "mean": grouped.mean(),
        "std": grouped.std(ddof=1),
        "quantiles": grouped.quantile(quantiles),
    }.items():
        expected = expected.transpose(*order, missing_dims="ignore")
        ours = summary[name].sel(label=expected.label)
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


def test_a_summary_by_none_takes_all_neighbors(ds):
    summary = ds.amici.curve_summary([0, 5], by=None)
    assert summary["mean"].dims == ("head", "distance")
    np.testing.assert_allclose(summary["mean"], ds.amici.curve([0, 5]).mean("neighbor"))


def test_a_summary_by_another_coordinate(ds):
    side = np.where(ds.neighbor_x > ds.neighbor_x.median(), "right", "left")
    summary = ds.assign_coords(side=("neighbor", side)).amici.curve_summary([0, 5], by="side")
    assert summary["mean"].sizes["side"] == 2
    left = ds.isel(neighbor=side == "left").amici.curve([0, 5]).mean("neighbor")
    np.testing.assert_allclose(summary["mean"].sel(side="left").transpose(*left.dims), left)


def test_an_absent_label_gives_nan_and_one_neighbor_has_no_std(ds):
    first = ds.isel(neighbor=[0])
    present = first.label.item()
    summary = first.amici.curve_summary([0, 5])
    assert summary.label.values.tolist() == ["A", "B", "C", "D"]
    assert bool(summary["mean"].drop_sel(label=present).isnull().all())
    assert bool(summary["mean"].sel(label=present).notnull().all())
    assert bool(summary["std"].isnull().all())


@pytest.mark.parametrize("quantiles", [[1.5], [-0.1], [np.nan], [[0.5]]])
def test_quantiles_out_of_range_are_named(ds, quantiles):
    with pytest.raises(ValueError, match=r"quantiles=.* must be a sequence of numbers between 0"):
        ds.amici.curve_summary([0], quantiles=quantiles)


def test_an_unknown_group_is_named(ds):
    with pytest.raises(amici_xr.NotFoundError, match="by='nobody' is not a coordinate on neighbor"):
        ds.amici.curve_summary([0], by="nobody")
    with pytest.raises(amici_xr.NotFoundError, match="by='query' is not a coordinate on neighbor"):
        ds.amici.curve_summary([0], by="query")
