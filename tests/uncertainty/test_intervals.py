"""Bootstrap intervals over a named dim."""

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from scipy import stats

import amici_xr


def test_an_interval_has_the_four_numbers_by_label_and_head(ds):
    interval = ds.amici.bootstrap(0.1)
    assert list(interval.data_vars) == ["point_estimate", "ci_lower", "ci_upper", "n_neighbors"]
    assert interval.point_estimate.dims == ("label", "head")
    assert interval.n_neighbors.dtype.kind == "i"
    assert interval.ci_lower.attrs["units"] == "µm"
    absent = interval.sel(label="A")
    assert bool((absent.n_neighbors == 0).all())
    assert bool(absent.point_estimate.isnull().all())


@pytest.mark.parametrize("method", ["exact", "resample"])
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_the_interval_agrees_with_scipy_on_the_same_values(statistic, method):
    values = np.random.default_rng(3).gamma(2.0, size=200)
    ours = amici_xr.bootstrap_ci(
        xr.DataArray(values, dims="neighbor"), by=None, statistic=statistic, method=method
    )
    theirs = stats.bootstrap(
        (values,),
        getattr(np, statistic),
        n_resamples=10_000,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert float(ours.ci_lower) == pytest.approx(theirs.low, abs=0.1 * width)
    assert float(ours.ci_upper) == pytest.approx(theirs.high, abs=0.1 * width)
    assert float(ours.point_estimate) == getattr(np, statistic)(values)


def test_the_stream_runs_through_head_then_label_in_sorted_order(ds):
    lengths = ds.amici.length_scale(0.1)
    interval = amici_xr.bootstrap_ci(lengths, method="resample", n_resamples=20)
    rng = np.random.default_rng(42)
    for head in (0, 1):
        for label in np.unique(ds.label):
            own = lengths.sel(head=head).values[ds.label == label]
            means = [np.mean(own[rng.integers(0, own.size, own.size)]) for _ in range(20)]
            got = interval.ci_lower.sel(head=head, label=label)
            assert float(got) == np.percentile(means, 100 * (1 - 0.95) / 2)


def test_the_order_of_the_vocabulary_does_not_change_the_stream(ds):
    lengths = ds.amici.length_scale(0.1)
    turned = ds.isel(cell_type=[3, 1, 0, 2]).drop_vars(
        ["neighborhood_index", "neighborhood_distance", "neighborhood_label"]
    )
    ours = turned.amici.bootstrap(0.1, None, method="resample", n_resamples=20)
    assert ours.label.values.tolist() == ["D", "B", "A", "C"]
    expected = ds.amici.bootstrap(0.1, None, method="resample", n_resamples=20)
    xr.testing.assert_equal(ours.sel(label=expected.label), expected)
    assert lengths.sizes["neighbor"] == int(expected.n_neighbors.isel(head=0).sum())


def test_heads_in_another_order_give_the_same_interval(ds):
    expected = ds.amici.bootstrap(0.1, method="resample", n_resamples=50)
    turned = ds.isel(head=[1, 0]).amici.bootstrap(0.1, method="resample", n_resamples=50)
    assert turned["head"].values.tolist() == [1, 0]
    xr.testing.assert_equal(turned.sel(head=[0, 1]), expected)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another(ds):
    one, again, other = (
        ds.amici.bootstrap(0.1, method="resample", n_resamples=50, random_state=seed)
        for seed in (1, 1, 2)
    )
    xr.testing.assert_identical(one, again)
    assert not one.ci_lower.equals(other.ci_lower)


def test_a_head_picked_by_isel_has_the_interval_of_a_dataset_of_that_head(ds):
    picked = ds.isel(head=1).amici.bootstrap(0.1, method="resample", n_resamples=50)
    kept = ds.isel(head=[1]).amici.bootstrap(0.1, method="resample", n_resamples=50).isel(head=0)
    xr.testing.assert_identical(picked, kept)


@pytest.mark.parametrize("method", ["exact", "resample"])
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_one_value_and_equal_values_have_zero_width(statistic, method):
    for values in ([3.5], [0.1] * 9, [0.0] * 4):
        interval = amici_xr.bootstrap_ci(
            xr.DataArray(values, dims="neighbor"),
            by=None,
            statistic=statistic,
            method=method,
            n_resamples=20,
        )
        assert interval.ci_lower == interval.ci_upper
        np.testing.assert_allclose(interval.ci_lower, values[0], rtol=1e-15)


def test_an_exact_interval_has_neither_seed_nor_noise(ds):
    one, other = (ds.amici.bootstrap(0.1, random_state=seed, n_resamples=seed) for seed in (1, 2))
    xr.testing.assert_identical(one, other)
    xr.testing.assert_identical(one, ds.amici.bootstrap(0.1, method="exact"))


@pytest.mark.parametrize("n", [9, 10, 3000, 70_001])
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_resampling_in_blocks_gives_the_bits_of_one_resample_at_a_time(statistic, n):
    values = np.round(np.random.default_rng(n).gamma(2.0, size=n), 3)
    ours = amici_xr.bootstrap_ci(
        xr.DataArray(values, dims="neighbor"),
        by=None,
        statistic=statistic,
        method="resample",
        n_resamples=500,
    )
    rng, reduce = np.random.default_rng(42), getattr(np, statistic)
    estimates = [reduce(values[rng.integers(0, n, size=n)]) for _ in range(500)]
    alpha = 1 - 0.95
    assert float(ours.ci_lower) == np.percentile(estimates, 100 * alpha / 2)
    assert float(ours.ci_upper) == np.percentile(estimates, 100 * (1 - alpha / 2))


def test_a_higher_confidence_level_is_wider(ds):
    narrow, wide = (
        ds.amici.bootstrap(0.1, confidence_level=level).sel(label="B") for level in (0.5, 0.99)
    )
    assert bool((wide.ci_lower <= narrow.ci_lower).all())
    assert bool((wide.ci_upper >= narrow.ci_upper).all())


def test_any_array_over_any_dim_can_be_asked():
    da = xr.DataArray(
        np.arange(12.0).reshape(3, 4),
        dims=("gene", "cell"),
        coords={"side": ("cell", ["l", "l", "r", "r"])},
    )
    interval = amici_xr.bootstrap_ci(da, dim="cell", by="side")
    assert interval.point_estimate.dims == ("gene", "side")
    assert interval.n_cells.isel(gene=0).values.tolist() == [2, 2]
    np.testing.assert_allclose(interval.point_estimate.sel(side="r"), [2.5, 6.5, 10.5])


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool", "float32"])
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_values_of_any_kind_of_number_are_taken_as_float64(kind, statistic):
    da = xr.DataArray(np.array([0, 1, 3, 200, 255, 251]).astype(kind), dims="neighbor")
    for method in ("exact", "resample"):
        options = {"by": None, "statistic": statistic, "method": method, "n_resamples": 50}
        xr.testing.assert_identical(
            amici_xr.bootstrap_ci(da, **options), amici_xr.bootstrap_ci(da.astype(float), **options)
        )


def test_heads_themselves_can_be_resampled(ds):
    interval = amici_xr.bootstrap_ci(ds.amici.length_scale(0.1), dim="head", by=None)
    assert interval.point_estimate.dims == ("neighbor",)
    assert (interval.n_heads == 2).all()


def test_nan_and_infinite_values_raise(several):
    lengths = several.amici.length_scale(0.1)
    message = (
        r"^da holds NaN or infinite values, which have no place in a resample; drop them first, "
        r"or call bootstrap\(ds\), which knows for each query who is a neighbor$"
    )
    for values in (lengths, lengths.fillna(np.inf)):
        with pytest.raises(ValueError, match=message):
            amici_xr.bootstrap_ci(values)


def test_the_confidence_level_is_written_as_it_is(ds):
    interval = ds.amici.bootstrap(0.1, confidence_level=0.995)
    assert "of the 99.5% interval" in interval.ci_lower.attrs["long_name"]
    assert interval.attrs["threshold"] == 0.1


def test_values_that_are_no_real_numbers_are_named():
    for values in (["a", "b"], [1j, 2j], np.array([1, None])):
        with pytest.raises(TypeError, match=r"da has dtype .*; an interval needs real numbers"):
            amici_xr.bootstrap_ci(xr.DataArray(values, dims="neighbor"), by=None)


@pytest.mark.parametrize("method", ["exact", "resample"])
def test_a_head_that_occurs_twice_has_its_interval_twice(ds, method):
    lengths = ds.amici.length_scale(0.1).isel(head=[1, 0, 1])
    interval = amici_xr.bootstrap_ci(lengths, method=method, n_resamples=20)
    assert interval["head"].values.tolist() == [1, 0, 1]
    expected = lengths.groupby("label").mean().transpose("label", "head")
    np.testing.assert_allclose(
        interval.point_estimate.sel(label=expected.label), expected, rtol=1e-12
    )


def test_something_else_than_an_array_is_named():
    with pytest.raises(TypeError, match=r"da must be an xarray\.DataArray, not ndarray"):
        amici_xr.bootstrap_ci(np.arange(3.0))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"statistic": "mode"}, ValueError, "statistic='mode' is not known; choose .*'mean'"),
        (
            {"method": "magic"},
            ValueError,
            "method='magic' is not known; choose one of 'exact', 'resample'",
        ),
        ({"confidence_level": 95}, ValueError, "confidence_level=95 must lie strictly between 0"),
        ({"n_resamples": 0}, ValueError, "n_resamples=0 must be at least 1"),
        ({"n_resamples": 1.5}, TypeError, "n_resamples=1.5 must be an integer"),
        ({"dim": "cell"}, amici_xr.NotFoundError, "dim='cell' is not a dimension of the array"),
        ({"by": "cell"}, amici_xr.NotFoundError, "by='cell' is not a coordinate on neighbor"),
    ],
)
def test_bad_arguments_are_named(ds, options, error, message):
    with pytest.raises(error, match=message):
        amici_xr.bootstrap_ci(ds.amici.length_scale(0.1), **options)


@pytest.fixture
def lengths():
    """Three heads out of order, of cells of two types."""
    rng = np.random.default_rng(11)
    return xr.DataArray(
        rng.gamma(2.0, size=(3, 40)),
        dims=("head", "neighbor"),
        coords={
            "head": ("head", [2, 0, 1], {"long_name": "attention head"}),
            "label": ("neighbor", rng.choice(["B", "A"], 40), {"long_name": "sender type"}),
        },
        name="length_scale",
        attrs={"long_name": "length scale", "units": "µm"},
    )


@pytest.mark.parametrize("method", ["exact", "resample"])
@pytest.mark.parametrize("by", ["label", None])
def test_a_lazy_array_in_chunks_has_the_interval_of_the_same_array_in_memory(lengths, method, by):
    options = {"by": by, "method": method, "n_resamples": 30}
    with dask.config.set(scheduler="synchronous"):
        got = amici_xr.bootstrap_ci(lengths.chunk(head=2, neighbor=7), **options)
        for name in ("point_estimate", "ci_lower", "ci_upper"):
            assert got[name].chunks is not None, "computed before it is asked for"
            assert got[name].dtype == np.float64
        xr.testing.assert_identical(got.compute(), amici_xr.bootstrap_ci(lengths, **options))


@pytest.mark.parametrize("method", ["exact", "resample"])
def test_a_lazy_array_of_nothing_has_intervals_of_nan(method):
    nothing = xr.DataArray(dask.array.zeros((2, 0)), dims=("head", "neighbor"))
    interval = amici_xr.bootstrap_ci(nothing, by=None, method=method, n_resamples=10)
    assert interval.ci_lower.dims == ("head",)
    assert interval.ci_lower.dtype == np.float64
    assert bool(interval.ci_lower.isnull().all())
    assert interval.n_neighbors.values.tolist() == [0, 0]


def test_the_order_in_which_cells_are_kept_does_not_change_the_resamples(lengths):
    numbered = lengths.assign_coords(neighbor=np.arange(100, 140))
    shuffled = numbered.isel(neighbor=np.random.default_rng(3).permutation(40))
    options = {"method": "resample", "n_resamples": 20}
    xr.testing.assert_identical(
        amici_xr.bootstrap_ci(shuffled, **options), amici_xr.bootstrap_ci(numbered, **options)
    )


def test_each_place_along_other_dims_has_the_stream_of_an_array_of_its_own(lengths):
    several = xr.concat([lengths, lengths**2], "threshold")
    options = {"method": "resample", "n_resamples": 20}
    interval = amici_xr.bootstrap_ci(several, **options)
    for at, alone in enumerate([lengths, lengths**2]):
        expected = amici_xr.bootstrap_ci(alone, **options)
        xr.testing.assert_equal(interval.isel(threshold=at), expected)


def test_resampled_heads_have_a_stream_for_each_cell(lengths):
    interval = amici_xr.bootstrap_ci(
        lengths, dim="head", by=None, method="resample", n_resamples=25
    )
    assert interval.ci_upper.dims == ("neighbor",)
    of_head = lengths.sortby("head").values  # in their order, as any dim that is resampled
    for cell in (0, 17):
        rng = np.random.default_rng(42)
        means = [np.mean(of_head[rng.integers(0, 3, 3), cell]) for _ in range(25)]
        expected = np.percentile(means, 100 * (1 - (1 - 0.95) / 2))
        assert float(interval.ci_upper[cell]) == expected


def test_ten_thousand_resamples_of_seed_42_are_drawn_unless_asked_otherwise(lengths):
    values = lengths.values[0]
    interval = amici_xr.bootstrap_ci(lengths[0], by=None, method="resample")
    rng = np.random.default_rng(42)
    means = values[rng.integers(0, 40, size=(10_000, 40))].mean(axis=1)
    alpha = 1 - 0.95
    assert float(interval.ci_lower) == np.percentile(means, 100 * alpha / 2)


def test_the_estimates_say_what_they_are(lengths):
    with xr.set_options(keep_attrs=False):  # whatever the user prefers elsewhere
        interval = amici_xr.bootstrap_ci(lengths, statistic="median", confidence_level=0.9)
    bounds = "of the 90% interval of the median length scale"
    assert {name: dict(interval[name].attrs) for name in interval.data_vars} == {
        "point_estimate": {"long_name": "median length scale", "units": "µm"},
        "ci_lower": {"long_name": f"lower bound {bounds}", "units": "µm"},
        "ci_upper": {"long_name": f"upper bound {bounds}", "units": "µm"},
        "n_neighbors": {"long_name": "number of neighbors"},
    }
    assert interval.attrs == {"statistic": "median", "confidence_level": 0.9}
    assert interval["head"].attrs == {"long_name": "attention head"}


@pytest.mark.parametrize(("name", "described"), [("depth", "mean depth"), (None, "mean value")])
def test_an_array_without_a_description_is_called_by_its_name(name, described):
    interval = amici_xr.bootstrap_ci(
        xr.DataArray(np.arange(3.0), dims="cell", name=name), "cell", None
    )
    assert interval.point_estimate.attrs == {"long_name": described}


def test_by_label_over_neighbors_is_what_is_asked_for_unless_told_otherwise(lengths):
    xr.testing.assert_identical(
        amici_xr.bootstrap_ci(lengths), amici_xr.bootstrap_ci(lengths, "neighbor", "label")
    )
    assert amici_xr.bootstrap_ci(lengths).sizes == {"label": 2, "head": 3}
    assert amici_xr.bootstrap_ci(lengths).attrs == {"statistic": "mean", "confidence_level": 0.95}


def test_a_type_of_the_vocabulary_without_a_neighbor_has_a_count_of_zero_and_nan(lengths):
    by_type = lengths.rename(head="cell_type").assign_coords(cell_type=["A", "C", "B"])
    interval = amici_xr.bootstrap_ci(by_type).isel(cell_type=0)
    expected = amici_xr.bootstrap_ci(lengths).isel(head=0)
    assert interval.label.values.tolist() == ["A", "C", "B"]
    assert int(interval.n_neighbors.sel(label="C")) == 0
    assert bool(interval.ci_lower.sel(label="C").isnull())
    for name in expected.data_vars:
        assert (
            interval[name].sel(label=["A", "B"]).values.tolist() == expected[name].values.tolist()
        )


def test_exact_intervals_of_heads_in_chunks_of_their_own_are_computed_apart(lengths):
    interval = amici_xr.bootstrap_ci(lengths.chunk(head=1))
    assert interval.ci_lower.chunksizes["head"] == (1, 1, 1)
