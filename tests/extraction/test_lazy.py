"""Chunked Datasets: the same numbers, and nothing computed before it is asked for."""

import pickle

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from slow_cases import slow

import amici_xr

SCORES = ("base_attention_score", "position_coefficient")

REDUCTIONS = {
    "curve": lambda ds: ds.amici.curve([0, 5]),
    "curve at one distance": lambda ds: ds.amici.curve(5),
    "curve_summary": lambda ds: ds.amici.curve_summary([0, 5], quantiles=[0.1, 0.5]),
    "curve_summary of all": lambda ds: ds.amici.curve_summary(5, by=None),
    "length_scale": lambda ds: ds.amici.length_scale(0.1),
    "uncorrected length_scale": lambda ds: ds.amici.length_scale(0.1, None),
    "support": lambda ds: ds.amici.support(0.1),
    "thresholds": lambda ds: ds.amici.support([0.1, 0.5]),
    "atlas": lambda ds: ds.amici.atlas([0.1, 0.5]),
    "attention": lambda ds: ds.amici.attention(),
    "attention_by_distance": lambda ds: ds.amici.attention_by_distance(3),
    "dummy_attention": lambda ds: ds.amici.dummy_attention(),
    "in_context_length_scale": lambda ds: ds.amici.in_context_length_scale(0.1),
    "in-context length scale among all": lambda ds: ds.amici.in_context_length_scale(0.1, "all"),
    "bootstrap": lambda ds: ds.amici.bootstrap(0.1),
    "bootstrap of the median": lambda ds: ds.amici.bootstrap(0.1, statistic="median"),
    "resampling": lambda ds: ds.amici.bootstrap(0.1, method="resample", n_resamples=30),
    "bootstrap_ci": lambda ds: amici_xr.bootstrap_ci(
        ds.amici.select(np.atleast_1d(ds["query"].values)[0]).amici.length_scale(0.1)
    ),
}


def refuse(*args, **kwargs):
    """Stand in for dask's scheduler, or for a chunk's values."""
    raise AssertionError("computed early")


def with_scores_that_refuse(ds):
    """Every variable lazy, and scores that can't be computed."""
    lazy = ds.chunk(neighbor=100, receiver=50)
    return lazy.assign(
        {
            name: lazy[name].copy(
                data=dask.array.map_blocks(
                    refuse, lazy[name].data, dtype=np.float32, meta=np.empty((0,) * lazy[name].ndim)
                )
            )
            for name in SCORES
        }
    )


@pytest.fixture(params=["one query", "several queries"])
def dataset(request, ds, several):
    return ds if request.param == "one query" else several


@pytest.mark.parametrize("name", REDUCTIONS)
def test_no_score_is_computed_before_it_is_asked_for(dataset, name):
    result = REDUCTIONS[name](with_scores_that_refuse(dataset))
    assert dask.is_dask_collection(result)
    with pytest.raises(AssertionError, match="computed early"):
        result.compute()


@pytest.mark.parametrize("name", REDUCTIONS)
def test_what_is_in_memory_beside_lazy_scores_needs_no_computing(dataset, name):
    scores = {score: dataset[score].chunk(neighbor=100) for score in SCORES}
    with dask.config.set(scheduler=refuse):
        REDUCTIONS[name](dataset.assign(scores))


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("chunks", [{"neighbor": 37}, slow({"neighbor": -1, "head": 1}), slow({})])
def test_chunks_change_no_number(dataset, name, chunks):
    result = REDUCTIONS[name](dataset.chunk(chunks)).compute()
    expected = REDUCTIONS[name](dataset)
    if isinstance(expected, xr.DataArray):
        result, expected = result.to_dataset(name="values"), expected.to_dataset(name="values")
    xr.testing.assert_allclose(result, expected, rtol=1e-12)
    for variable in expected.variables:
        assert result[variable].attrs == expected[variable].attrs
        assert result[variable].dims == expected[variable].dims
        assert result[variable].dtype == expected[variable].dtype
    assert result.attrs == expected.attrs


@pytest.mark.parametrize("name", REDUCTIONS)
def test_what_is_not_lazy_is_reduced_at_once(dataset, name):
    assert not dask.is_dask_collection(REDUCTIONS[name](dataset))


EMPTY = {
    "no neighbor": lambda ds: ds.isel(neighbor=[]),
    "no receiver": lambda ds: ds.isel(receiver=[]),
    "no head": lambda ds: ds.isel(head=[]),
    "no neighbor of one query": lambda ds: ds.isel(
        neighbor=np.flatnonzero(ds["label"] == ds["query"].values.ravel()[0])
    ),
    "no receiver of one query": lambda ds: ds.isel(
        receiver=np.flatnonzero(ds["receiver_label"] != ds["query"].values.ravel()[-1])
    ),
}


IN_PLACE = [name for name in REDUCTIONS if "attention" in name or "in-context" in name]


@pytest.mark.slow
@pytest.mark.parametrize("emptied", EMPTY)
@pytest.mark.parametrize("name", [name for name in REDUCTIONS if name != "bootstrap_ci"])
def test_what_is_empty_is_so_lazily_too(several, name, emptied):
    if name in [*IN_PLACE, "in_context_length_scale"] and "neighbor" in emptied:
        several = several.isel(receiver=[])  # in place every neighbor's score is needed
    small = EMPTY[emptied](several)
    result, expected = REDUCTIONS[name](small.chunk(neighbor=40)), REDUCTIONS[name](small)
    if isinstance(expected, xr.DataArray):
        result, expected = result.to_dataset(name="values"), expected.to_dataset(name="values")
    xr.testing.assert_allclose(result.compute(), expected)


def test_nan_scores_raise_when_a_lazy_reduction_is_computed(several):
    lazy = several.chunk(neighbor=100)
    spoiled = lazy.assign(base_attention_score=lazy.base_attention_score * np.nan)
    summary = spoiled.amici.curve_summary(0)
    with pytest.raises(amici_xr.SchemaError, match=r"scores of query '[ACD]' are NaN although"):
        summary.compute()


def test_a_lazy_curve_may_be_larger_than_memory(ds):
    curve = ds.chunk(neighbor=1).amici.curve(np.linspace(0, 50, 5_000_000))
    assert curve.nbytes > 10e9
    np.testing.assert_allclose(
        curve.isel(neighbor=0, distance=[0, -1]), ds.isel(neighbor=[0]).amici.curve([0, 50])[0]
    )


@pytest.mark.needs_model
class TestExtraction:
    """`extract(chunks=...)` on the packaged model."""

    @pytest.mark.parametrize("query", ["T_cell", ["Tumor", "T_cell"], None])
    @pytest.mark.parametrize("chunks", [1000, {"neighbor": 4000}, "auto"])
    def test_lazy_scores_are_the_eager_ones(self, demo, query, chunks):
        model, tissue = demo
        with dask.config.set(scheduler=refuse):
            lazy = amici_xr.extract(model, query, tissue, chunks=chunks, heads=[2, 0])
        expected = amici_xr.extract(model, query, tissue, heads=[2, 0], progress=False)
        assert all(lazy[name].chunks is not None for name in SCORES)
        assert lazy["base_attention_score"].chunksizes["head"] == (2,)
        xr.testing.assert_allclose(lazy, expected, rtol=0, atol=1e-5)
        assert {name: lazy[name].dtype for name in SCORES} == dict.fromkeys(SCORES, np.float32)

    def test_both_scores_of_a_chunk_come_from_one_run_of_the_network(self, demo, monkeypatch):
        from amici_xr.model.network import ScoringNetwork

        model, tissue = demo
        runs, scores = [], ScoringNetwork.scores
        monkeypatch.setattr(
            "amici_xr.model.network.ScoringNetwork.scores",
            lambda self, batch, needed: runs.append(len(batch)) or scores(self, batch, needed),
        )
        lazy = amici_xr.extract(model, "T_cell", tissue, chunks=1000)
        assert not runs
        lazy.compute()
        assert sum(runs) == lazy.sizes["neighbor"]

    def test_the_graph_holds_the_network_once(self, demo):
        model, tissue = demo
        sizes = [
            len(pickle.dumps(dict(lazy.base_attention_score.__dask_graph__())))
            for chunks in (2000, 100)
            for lazy in [amici_xr.extract(model, "T_cell", tissue[:, :], chunks=chunks)]
        ]
        weights = sum(weight.nbytes for weight in model.weights.values())
        assert sizes[1] - sizes[0] < 0.2 * weights

    def test_a_reduction_of_lazy_scores_goes_through_to_the_network(self, demo):
        model, tissue = demo
        lazy = amici_xr.extract(model, "T_cell", tissue, chunks=1000)
        expected = amici_xr.extract(model, "T_cell", tissue, progress=False)
        summary = lazy.amici.support(0.1)
        assert dask.is_dask_collection(summary)
        xr.testing.assert_allclose(summary.compute(), expected.amici.support(0.1), rtol=1e-4)

    def test_what_was_written_to_zarr_in_parallel_reads_back_lazily(self, demo, tmp_path):
        pytest.importorskip("zarr")  # an extra
        model, tissue = demo
        lazy = amici_xr.extract(model, ["Tumor", "T_cell"], tissue, chunks=1000)
        # one block for both queries: blocks of each would wait in memory for their turn
        assert all(lazy[name].chunks[0] == (2,) for name in SCORES)
        lazy.to_zarr(tmp_path / "a.zarr", zarr_format=2)
        opened = xr.open_zarr(tmp_path / "a.zarr")
        assert opened["base_attention_score"].variable.chunksizes["neighbor"][0] == 1000
        expected = amici_xr.extract(model, ["Tumor", "T_cell"], tissue, progress=False)
        for name in ("support", "bootstrap", "length_scale", "curve_summary"):
            ours, theirs = (getattr(one.amici, name)(0.1) for one in (opened, expected))
            xr.testing.assert_allclose(ours.compute(), theirs, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize(
        ("chunks", "error", "message"),
        [
            (0, ValueError, "chunks=0 must be at least 1"),
            ("many", TypeError, "chunks='many' must be an integer"),
            ({"head": 1}, ValueError, r"chunks=\{'head': 1\} must give the size along neighbor"),
        ],
    )
    def test_bad_chunks_are_named(self, demo, chunks, error, message):
        with pytest.raises(error, match=message):
            amici_xr.extract(*demo[:1], "T_cell", demo[1], chunks=chunks)

    def test_cells_that_can_t_be_scored_are_named_when_computed(self, demo):
        model, tissue = demo
        spoiled = tissue.copy()
        spoiled.X[:] = np.nan
        lazy = amici_xr.extract(model, "T_cell", spoiled, chunks=2000)
        with pytest.raises(ValueError, match="cells have scores that are not finite"):
            lazy.compute()
