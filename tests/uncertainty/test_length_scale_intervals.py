"""Intervals of length scales by what is resampled: cells, samples, runs or space."""

import itertools
import warnings

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import amici_xr
from amici_xr.kernels.spatial.basis import prepare
from amici_xr.kernels.spatial.interval import spatial_interval

SAMPLES = ["left", "middle", "right"]
ESTIMATES = ["point_estimate", "ci_lower", "ci_upper"]
TAKE = {"mean": np.mean, "median": np.median}


@pytest.fixture
def sampled():
    return amici_xr.testing.simulate_dataset(["A", "B"], n_cells=300, samples=SAMPLES, unit="µm")


@pytest.mark.parametrize("statistic", TAKE)
def test_samples_give_one_number_each_and_students_interval(sampled, statistic):
    result = amici_xr.bootstrap(sampled, 0.1, None, statistic, 0.8, resampling_unit="sample")
    lengths = amici_xr.length_scale(sampled, 0.1, None)
    for query, label, head in itertools.product("AB", "CD", (0, 1)):
        own = lengths.sel(query=query, head=head).isel(
            neighbor=np.flatnonzero(sampled.is_neighbor.sel(query=query) & (sampled.label == label))
        )
        units = [TAKE[statistic](own[own.neighbor_sample == name]) for name in SAMPLES]
        one = result.sel(query=query, label=label, head=head)
        np.testing.assert_allclose(one.point_estimate, np.mean(units), rtol=1e-12)
        if np.ptp(units):
            low, high = stats.t.interval(0.8, 2, np.mean(units), stats.sem(units))
            bounds = [one.ci_lower, one.ci_upper]
            np.testing.assert_allclose(bounds, [max(low, 0), high], rtol=1e-9, atol=1e-12)
        else:
            assert one.ci_lower == one.ci_upper == units[0]
        assert one.n_samples == 3
        assert one.n_neighbors == own.size
    assert result.ci_lower.attrs["units"] == "µm"
    assert result.n_samples.attrs == {"long_name": "number of samples"}
    assert result.n_neighbors.attrs == {"long_name": "number of neighbors"}
    assert result.attrs["resampling_unit"] == "sample"


def test_below_three_samples_there_is_no_interval(sampled):
    of_c = (sampled.label != "C") | (sampled.neighbor_sample != "left")
    result = amici_xr.bootstrap(
        sampled.isel(neighbor=np.flatnonzero(of_c)), 0.1, None, resampling_unit="sample"
    )
    of_two = result.sel(label="C")
    assert (of_two.n_samples == 2).all()
    assert (of_two.interval_status == "few_samples").all()
    assert np.isfinite(of_two.point_estimate).all()
    assert np.isnan([of_two.ci_lower, of_two.ci_upper]).all()
    assert np.isfinite(result.ci_lower.sel(label="D")).all()
    assert (result.interval_status.sel(label="D") == "estimated").all()
    assert (result.interval_status.sel(label="A", query="A") == "absent").all()
    assert (result.n_samples.sel(label="A", query="A") == 0).all()


@pytest.mark.parametrize("statistic", TAKE)
def test_runs_give_one_number_each_and_students_interval(ds, statistic):
    runs = amici_xr.align_runs([ds.assign(dummy_attention_score=d) for d in (2.5, 3.0, 3.7)])
    result = amici_xr.bootstrap(runs, 0.1, None, statistic, resampling_unit="run")
    per_run = amici_xr.bootstrap(runs, 0.1, None, statistic).point_estimate
    assert per_run.dims == ("run", "label", "head")
    mean, half = per_run.mean("run"), stats.t.ppf(0.975, 2) * per_run.std("run", ddof=1) / 3**0.5
    xr.testing.assert_allclose(result.point_estimate, mean)
    xr.testing.assert_allclose(result.ci_lower, (mean - half).clip(min=0))
    xr.testing.assert_allclose(result.ci_upper, mean + half)
    assert result.n_runs.sel(label="B").values.tolist() == [3, 3]
    assert (result.interval_status.sel(label="B") == "estimated").all()
    assert result.ci_lower.attrs["units"] == "µm"
    assert result.attrs["threshold"] == 0.1
    of_two = amici_xr.bootstrap(runs.isel(run=[0, 1]), 0.1, None, statistic, resampling_unit="run")
    assert np.isnan([of_two.ci_lower, of_two.ci_upper]).all()
    assert (of_two.interval_status.sel(label="B") == "few_runs").all()


@pytest.fixture(scope="module")
def fields():
    """120 tissues of 400 cells; a = δ + L, so that L is a smooth field with mean 10."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 100, (400, 2))
    lag = np.linalg.norm(places[:, np.newaxis] - places, axis=-1)
    root = np.linalg.cholesky(np.exp(-lag / 6) + 1e-9 * np.eye(400))
    lengths = 10 + 2 * (root @ rng.normal(size=(400, 120)))
    return amici_xr.from_arrays(
        3 + lengths,
        np.ones(lengths.shape),
        ["B"] * 400,
        query="A",
        neighbor_x=places[:, 0],
        neighbor_y=places[:, 1],
        unit="µm",
    )


@pytest.mark.filterwarnings("ignore:.*independent patches:UserWarning")  # of some fields, by chance
@pytest.mark.parametrize("statistic", TAKE)
def test_spatial_intervals_cover_a_smooth_field_where_those_of_cells_do_not(fields, statistic):
    """Head for head another field: a binomial count of those whose interval holds 10."""
    options = {"sample_threshold": None, "statistic": statistic}
    covered = {}
    for unit in ("cell", "spatial"):
        interval = amici_xr.bootstrap(fields, **options, resampling_unit=unit).sel(label="B")
        holds = (interval.ci_lower <= 10) & (interval.ci_upper >= 10)
        covered[unit] = float(holds.mean())
    assert covered["cell"] < 0.6
    assert stats.binomtest(round(covered["spatial"] * 120), 120, 0.95).pvalue > 0.001
    assert (interval.interval_status == "estimated").mean() > 0.9
    assert interval.point_estimate.attrs["units"] == "µm"
    assert "independent patches" in interval.effective_patches.attrs["long_name"]


def test_a_spatial_interval_is_that_of_the_kernel_on_the_labels_cells(ds):
    result = amici_xr.bootstrap(ds, 0.1, None, "median", 0.9, resampling_unit="spatial")
    lengths = amici_xr.length_scale(ds, 0.1, None)
    for label in "BD":
        own = lengths.isel(neighbor=np.flatnonzero(ds.label == label))
        places = np.stack([own.neighbor_x, own.neighbor_y], axis=-1)
        numbers = spatial_interval(own.values.T, prepare(places), "median", 0.9)
        names = [*ESTIMATES, "effective_patches"]
        np.testing.assert_allclose(
            [result[name].sel(label=label) for name in names], numbers.T, rtol=1e-9
        )
    assert (result.interval_status.sel(label="A") == "absent").all()


def test_cells_of_several_samples_are_independent_between_them(sampled):
    """Samples laid over each other, or moved apart, have the same interval."""
    result = amici_xr.bootstrap(sampled, 0.1, None, resampling_unit="spatial")
    shift = xr.DataArray([1e4 * SAMPLES.index(name) for name in sampled.neighbor_sample.values],
                         dims="neighbor")  # fmt: skip
    moved = sampled.assign_coords(neighbor_x=sampled.neighbor_x + shift)
    apart = amici_xr.bootstrap(moved, 0.1, None, resampling_unit="spatial")
    xr.testing.assert_allclose(apart, result, rtol=1e-4)
    one_tissue = moved.drop_vars(["neighbor_sample", "receiver_sample"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # three places, far apart
        other = amici_xr.bootstrap(one_tissue, 0.1, None, resampling_unit="spatial")
    assert not np.allclose(other.ci_upper, result.ci_upper, rtol=1e-3, equal_nan=True)


@pytest.mark.parametrize("unit", ["sample", "spatial"])
def test_several_thresholds_have_the_interval_of_each(sampled, unit):
    options = {"sample_threshold": None, "resampling_unit": unit}
    together = amici_xr.bootstrap(sampled, [0.1, 0.5], **options)
    assert together.point_estimate.dims == ("query", "label", "head", "threshold")
    assert together.n_neighbors.dims == ("query", "label", "head")
    assert "threshold" not in together.attrs
    for threshold in (0.1, 0.5):
        alone = amici_xr.bootstrap(sampled, threshold, **options)
        xr.testing.assert_allclose(together.sel(threshold=threshold, drop=True), alone)
        assert alone.attrs["threshold"] == threshold


@pytest.mark.parametrize("unit", ["sample", "spatial"])
@pytest.mark.parametrize("chunks", [{"neighbor": 40}, {"neighbor": -1, "head": 1}])
def test_chunks_change_no_number(sampled, unit, chunks):
    options = {"resampling_unit": unit, "by_sample": unit == "spatial"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few patches
        expected = amici_xr.bootstrap(sampled, [0.1, 0.5], None, **options)
        lazy = amici_xr.bootstrap(sampled.chunk(chunks), [0.1, 0.5], None, **options)
        assert lazy.chunks
        xr.testing.assert_allclose(lazy.compute(), expected, rtol=1e-9)


def smooth(scale):
    """One head whose length scales hardly change from cell to cell."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 100, (300, 2))
    lengths = 10 + np.sin(places[:, 0] / scale) + np.cos(places[:, 1] / scale)
    return amici_xr.from_arrays(
        3 + lengths[:, np.newaxis], np.ones((300, 1)), ["B"] * 300, query="A",
        neighbor_x=places[:, 0], neighbor_y=places[:, 1],
    )  # fmt: skip


def test_few_independent_patches_warn_and_have_a_wide_interval():
    with pytest.warns(UserWarning, match=r"^1 of 1 intervals are wide, because the tissue holds "
                      r"fewer than 10 independent patches \(fewest: [\d.]+, label 'B', head 0\)") as caught:  # fmt: skip  # noqa: E501  # one pattern
        result = amici_xr.bootstrap(smooth(60), sample_threshold=None, resampling_unit="spatial")
    assert caught[0].filename == __file__
    one = result.sel(label="B")
    assert (one.interval_status == "few_patches").all()
    assert (one.effective_patches < 10).all()
    cells = amici_xr.bootstrap(smooth(60), sample_threshold=None).sel(label="B")
    assert (one.ci_upper - one.ci_lower > 3 * (cells.ci_upper - cells.ci_lower)).all()
    assert np.isnan(result.point_estimate.sel(label="A")).all()
    assert (result.interval_status.sel(label="A") == "absent").all()


def test_below_eight_places_there_is_no_interval():
    ds = smooth(60)
    few = ds.isel(neighbor=slice(0, 7))
    result = amici_xr.bootstrap(few, sample_threshold=None, resampling_unit="spatial")
    assert (result.interval_status.sel(label="B") == "few_places").all()
    assert np.isnan(result.ci_lower).all()
    assert np.isfinite(result.point_estimate.sel(label="B")).all()
    assert (result.n_neighbors.sel(label="B") == 7).all()


def test_lower_bounds_are_not_below_zero():
    ds = smooth(60)
    rare = ds.assign(base_attention_score=ds.base_attention_score.where(ds.neighbor < 3, -50))
    result = amici_xr.bootstrap(rare, sample_threshold=None, resampling_unit="spatial")
    one = result.sel(label="B")
    assert (one.point_estimate > 0).all()
    assert one.ci_lower.values.tolist() == [0.0]
    assert "lower bound" in one.ci_lower.attrs["long_name"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"resampling_unit": "patch"}, ValueError, "resampling_unit='patch' is not known; choose"),
        ({"resampling_unit": "block"}, ValueError, "pass resampling_unit='spatial'"),
        ({"resampling_unit": "spatial", "method": "exact"}, ValueError,
         "method='exact' is for cells; leave it out with resampling_unit='spatial'"),
        ({"resampling_unit": "sample", "by_sample": True}, ValueError,
         "is over the samples and by_sample=True takes each by itself; choose one"),
        ({"resampling_unit": "run"}, amici_xr.SchemaError, "without a run dim"),
        ({"random_state": -1}, ValueError, "random_state=-1 must be at least 0, or None"),
        ({"random_state": "a"}, TypeError, "random_state='a' must be an integer or None"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_named(sampled, options, error, message):
    with pytest.raises(error, match=message):
        amici_xr.bootstrap(sampled, 0.1, None, **options)


def test_what_the_dataset_lacks_is_named(ds):
    def ask(given, unit):
        amici_xr.bootstrap(given, 0.1, None, resampling_unit=unit)

    with pytest.raises(amici_xr.SchemaError, match=r"coordinate neighbor_sample, which is missing"):
        ask(ds, "sample")
    unknown = ds.assign_coords(neighbor_x=ds.neighbor_x.where(ds.neighbor > 9))
    with pytest.raises(amici_xr.SchemaError, match=r"neighbor_x or neighbor_y of \d neighbors is"):
        ask(unknown, "spatial")
    with pytest.raises(amici_xr.SchemaError, match="of which 'neighbor_y' are missing; extract"):
        ask(ds.drop_vars("neighbor_y"), "spatial")


def test_places_that_are_plain_variables_are_found(ds):
    expected = amici_xr.bootstrap(ds, 0.1, None, resampling_unit="spatial")
    reset = ds.reset_coords(["neighbor_x", "neighbor_y"])
    xr.testing.assert_identical(
        amici_xr.bootstrap(reset, 0.1, None, resampling_unit="spatial"), expected
    )


def test_any_array_with_places_has_a_spatial_interval():
    """Receivers, all as one group, beside the kernel itself."""
    rng = np.random.default_rng(3)
    places, values = rng.random((50, 2)), rng.normal(size=50)
    gain = xr.DataArray(
        values, dims="receiver", name="gain",
        coords={"receiver_x": ("receiver", places[:, 0]), "receiver_y": ("receiver", places[:, 1])},
    )  # fmt: skip
    result = amici_xr.bootstrap_ci(gain, "receiver", None, resampling_unit="spatial")
    names = [*ESTIMATES, "effective_patches"]
    expected = spatial_interval(values, prepare(places))
    np.testing.assert_allclose([result[name] for name in names], expected)
    assert result.n_receivers == 50
    assert result.interval_status == "estimated"
    assert result.ci_lower.attrs["long_name"] == "lower bound of the 95% interval of the mean gain"
    with pytest.raises(ValueError, match="da holds NaN or infinite values"):
        amici_xr.bootstrap_ci(gain.where(gain > 0), "receiver", None, resampling_unit="spatial")
    for unit, message in (("run", "'run' is not known; choose"), ("block", "'spatial'")):
        with pytest.raises(ValueError, match=message):
            amici_xr.bootstrap_ci(gain, "receiver", None, resampling_unit=unit)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_spatial_intervals_do_not_depend_on_the_state_of_numpy(statistic):
    """Weights of models that do not fit underflow to 0, which is right."""
    import warnings

    ds = amici_xr.testing.simulate_dataset(n_cells=600)
    how = {"sample_threshold": None, "statistic": statistic, "resampling_unit": "spatial"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of few patches, tested elsewhere
        expected = ds.cf.bootstrap(0.1, **how)
        with np.errstate(all="raise"):
            xr.testing.assert_identical(ds.cf.bootstrap(0.1, **how), expected)
