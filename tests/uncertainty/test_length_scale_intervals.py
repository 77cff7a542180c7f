"""Intervals of length scales by what is resampled: cells, samples, runs or blocks of tissue."""

import itertools
import warnings

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import amici_xr
from amici_xr.kernels import resampling
from amici_xr.uncertainty.run_intervals import bootstrap_over_runs

SAMPLES = ["left", "middle", "right"]
ESTIMATES = ["point_estimate", "ci_lower", "ci_upper"]
# by chance, of some fields: the estimated length is far from the planted one
few_patches_may_be_found = pytest.mark.filterwarnings(
    "ignore:.* intervals rest on fewer than 16 effective patches:UserWarning"
)
TAKE = {"mean": np.mean, "median": np.median}


@pytest.fixture
def sampled():
    return amici_xr.testing.simulate_dataset(["A", "B"], n_cells=300, samples=SAMPLES, unit="µm")


def every_resample(values, unit, take):
    """The statistic of all values of the units drawn, for every way to draw them."""
    units = [values[unit == name] for name in np.unique(unit)]
    drawn = itertools.product(units, repeat=len(units))
    return np.array([take(np.concatenate(one)) for one in drawn])


@pytest.mark.parametrize("statistic", TAKE)
@pytest.mark.parametrize("n_units", [2, 3, 5])
def test_of_few_units_every_resample_is_looked_at(statistic, n_units):
    rng = np.random.default_rng(n_units)
    values, unit = rng.gamma(2, 5, 40).round(1), rng.integers(0, n_units, 40)
    levels = np.array([0.03, 0.4, 0.97])
    found, count = resampling.interval(
        values, unit, levels, statistic=statistic, n_resamples=1, random_state=None
    )
    every = every_resample(values, unit, TAKE[statistic])
    np.testing.assert_allclose(found, np.quantile(every, levels, method="inverted_cdf"))
    assert count == n_units


@pytest.mark.parametrize("statistic", TAKE)
def test_of_many_units_resamples_are_drawn_with_a_seed(statistic):
    rng = np.random.default_rng(0)
    unit = rng.integers(0, 30, 900)
    values = rng.normal(0, 1, 30)[unit] + rng.normal(0, 1, 900)
    options = {"statistic": statistic, "n_resamples": 20_000}
    levels = np.array([0.025, 0.975])
    found, _ = resampling.interval(values, unit, levels, random_state=1, **options)
    again, _ = resampling.interval(values, unit, levels, random_state=1, **options)
    np.testing.assert_array_equal(found, again)
    units = [values[unit == one] for one in range(30)]
    drawn = rng.integers(0, 30, (4000, 30))
    every = [TAKE[statistic](np.concatenate([units[one] for one in row])) for row in drawn]
    np.testing.assert_allclose(found, np.quantile(every, levels), atol=0.05)
    of_cells = np.std(values) / np.sqrt(900)  # as if each cell stood for itself
    assert np.ptp(found) > 1.5 * 2 * 1.96 * of_cells


def test_one_unit_has_no_interval():
    bounds, count = resampling.interval(
        np.arange(3.0), np.zeros(3, int), np.array([0.1, 0.9]),
        statistic="mean", n_resamples=10, random_state=0,
    )  # fmt: skip
    assert np.isnan(bounds).all()
    assert count == 1


@pytest.mark.parametrize("statistic", TAKE)
def test_whole_samples_are_resampled(sampled, statistic):
    result = amici_xr.bootstrap(sampled, 0.1, None, statistic, 0.8, resampling_unit="sample")
    lengths = amici_xr.length_scale(sampled, 0.1, None)
    for query, label, head in itertools.product("AB", "CD", (0, 1)):
        own = lengths.sel(query=query, head=head).isel(
            neighbor=np.flatnonzero(sampled.is_neighbor.sel(query=query) & (sampled.label == label))
        )
        every = every_resample(own.values, own.neighbor_sample.values, TAKE[statistic])
        expected = [TAKE[statistic](own), *np.quantile(every, [0.1, 0.9], method="inverted_cdf")]
        one = result.sel(query=query, label=label, head=head)
        np.testing.assert_allclose([one[name] for name in ESTIMATES], expected, rtol=1e-12)
        assert one.n_samples == 3
        assert one.n_neighbors == own.size
    assert result.ci_lower.attrs["units"] == "µm"
    assert result.n_samples.attrs == {"long_name": "number of samples"}
    assert result.n_neighbors.attrs == {"long_name": "number of neighbors"}
    assert result.attrs["resampling_unit"] == "sample"


def test_a_label_in_one_sample_has_no_interval_over_samples(sampled):
    of_c = (sampled.label != "C") | (sampled.neighbor_sample == "left")
    result = amici_xr.bootstrap(
        sampled.isel(neighbor=np.flatnonzero(of_c)), 0.1, None, resampling_unit="sample"
    )
    assert (result.n_samples.sel(label="C") == 1).all()
    assert np.isfinite(result.point_estimate.sel(label="C")).all()
    assert np.isnan(result.ci_lower.sel(label="C")).all()
    assert np.isfinite(result.ci_lower.sel(label="D")).all()


def test_over_runs_the_statistic_of_each_run_is_resampled(ds):
    runs = amici_xr.align_runs([ds.assign(dummy_attention_score=d) for d in (2.5, 3.0, 3.5)])
    result = amici_xr.bootstrap(runs, 0.1, None, "median", resampling_unit="run")
    expected = bootstrap_over_runs(runs, 0.1, None, "median")
    xr.testing.assert_equal(result, expected)
    assert "run" not in result.dims
    by_cell = amici_xr.bootstrap(runs, 0.1, None, "median")
    assert by_cell.point_estimate.dims == ("run", "label", "head")


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


@few_patches_may_be_found
@pytest.mark.parametrize("statistic", TAKE)
def test_blocks_cover_the_mean_of_a_smooth_field_where_cells_do_not(fields, statistic):
    """Head for head another field: a binomial count of those whose interval holds 10."""
    options = {"sample_threshold": None, "statistic": statistic}
    covered = {}
    for unit in ("cell", "block"):
        interval = amici_xr.bootstrap(fields, **options, resampling_unit=unit).sel(label="B")
        holds = (interval.ci_lower <= 10) & (interval.ci_upper >= 10)
        covered[unit] = float(holds.mean())
    assert covered["cell"] < 0.6
    assert stats.binomtest(round(covered["block"] * 120), 120, 0.95).pvalue > 0.001
    assert (interval.n_blocks > 4).all()
    if statistic == "mean":
        planted = 100**2 / (2 * np.pi * 6**2)
        assert planted / 2 < interval.effective_patches.median() < 2 * planted
    assert interval.point_estimate.attrs["units"] == "µm"


@few_patches_may_be_found
def test_blocks_of_unlike_neighbors_agree_with_the_t_interval():
    rng = np.random.default_rng(1)
    lengths = rng.normal(10, 2, (500, 40))
    ds = amici_xr.from_arrays(
        3 + lengths, np.ones(lengths.shape), ["B"] * 500, query="A",
        neighbor_x=rng.uniform(0, 9, 500), neighbor_y=rng.uniform(0, 9, 500),
    )  # fmt: skip
    blocks = amici_xr.bootstrap(ds, sample_threshold=None, resampling_unit="block").sel(label="B")
    width = (blocks.ci_upper - blocks.ci_lower) / (2 * 1.96 * 2 / np.sqrt(500))
    assert 0.95 < width.median() < 1.1


@pytest.mark.parametrize("unit", ["sample", "block"])
@pytest.mark.parametrize("chunks", [{"neighbor": 40}, {"neighbor": -1, "head": 1}])
def test_chunks_change_no_number(sampled, unit, chunks):
    by_sample = unit == "block"
    options = {"resampling_unit": unit, "by_sample": by_sample}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few patches
        expected = amici_xr.bootstrap(sampled, [0.1, 0.5], None, **options)
        lazy = amici_xr.bootstrap(sampled.chunk(chunks), [0.1, 0.5], None, **options)
        assert lazy.chunks
        xr.testing.assert_allclose(lazy.compute(), expected, rtol=1e-12)


def smooth(scale):
    """One head whose length scales hardly change from cell to cell."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 100, (300, 2))
    lengths = 10 + np.sin(places[:, 0] / scale) + np.cos(places[:, 1] / scale)
    return amici_xr.from_arrays(
        3 + lengths[:, np.newaxis], np.ones((300, 1)), ["B"] * 300, query="A",
        neighbor_x=places[:, 0], neighbor_y=places[:, 1],
    )  # fmt: skip


def test_few_independent_patches_warn_and_very_few_give_no_interval():
    with pytest.warns(UserWarning, match=r"1 of 1 intervals rest on fewer than 16 effective "):
        result = amici_xr.bootstrap(smooth(60), sample_threshold=None, resampling_unit="block")
    one = result.sel(label="B")
    assert one.effective_patches < 4
    assert np.isnan(one.ci_lower).all()
    assert np.isfinite(one.point_estimate).all()
    assert np.isnan(result.point_estimate.sel(label="A")).all()
    assert (result.n_blocks.sel(label="A") == 0).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"resampling_unit": "patch"}, ValueError, "resampling_unit='patch' is not known; choose"),
        ({"resampling_unit": "block", "method": "exact"}, ValueError,
         "method='exact' is for cells; leave it out with resampling_unit='block'"),
        ({"resampling_unit": "sample", "by_sample": True}, ValueError,
         "resamples the samples and by_sample=True takes each by itself; choose one"),
        ({"resampling_unit": "block"}, amici_xr.SchemaError,
         "this Dataset holds the samples 'left', 'middle', 'right', which lie in no one plane"),
        ({"resampling_unit": "run"}, amici_xr.SchemaError, "without a run dim"),
        ({"random_state": -1}, ValueError, "random_state=-1 must be at least 0, or None"),
        ({"random_state": "a"}, TypeError, "random_state='a' must be an integer or None"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_named(sampled, options, error, message):
    with pytest.raises(error, match=message):
        amici_xr.bootstrap(sampled, 0.1, None, **options)


def test_what_the_dataset_lacks_is_named(ds):
    with pytest.raises(amici_xr.SchemaError, match="this Dataset has no samples"):
        amici_xr.bootstrap(ds, 0.1, None, resampling_unit="sample")
    unknown = ds.assign_coords(neighbor_x=ds.neighbor_x.where(ds.neighbor > 9))
    with pytest.raises(amici_xr.SchemaError, match=r"neighbor_x or neighbor_y of \d neighbors is"):
        amici_xr.bootstrap(unknown, 0.1, None, resampling_unit="block")
    with pytest.raises(amici_xr.SchemaError, match="this Dataset has no 'neighbor_x', 'neighbor_"):
        amici_xr.bootstrap(
            ds.drop_vars(["neighbor_x", "neighbor_y"]), 0.1, None, resampling_unit="block"
        )
