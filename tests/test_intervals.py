"""Bootstrap intervals over a named dim."""

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
    for values in (lengths, lengths.fillna(np.inf)):
        with pytest.raises(ValueError, match=r"da holds NaN or infinite.*call bootstrap\(ds\)"):
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
        ({"dim": "cell"}, amici_xr.NotFoundError, "dim='cell' is no dim of the array"),
        ({"by": "cell"}, amici_xr.NotFoundError, "by='cell' is no coordinate on neighbor"),
    ],
)
def test_bad_arguments_are_named(ds, options, error, message):
    with pytest.raises(error, match=message):
        amici_xr.bootstrap_ci(ds.amici.length_scale(0.1), **options)
