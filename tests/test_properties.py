"""What holds of every Dataset that the schema accepts, with Datasets drawn by Hypothesis."""

import importlib.util
import inspect
import itertools
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st
from responses import simulate_response
from scipy.special import logit

import amici_xr
from amici_xr.dataset.schema import distance_unit
from amici_xr.testing import datasets

pytestmark = pytest.mark.drawn

HAS_BOKEH = importlib.util.find_spec("bokeh") is not None
HAS_ANNDATA = importlib.util.find_spec("anndata") is not None
HAS_ZARR = importlib.util.find_spec("zarr") is not None
SUFFIXES = [".nc", ".zarr", ".zarr.zip"] if HAS_ZARR else [".nc"]

PACKAGE = Path(amici_xr.__file__).parent
THRESHOLDS = st.floats(1e-12, 1 - 1e-12)
DISTANCES = st.lists(st.floats(0, 1e9), min_size=1, max_size=4)


def several_calls(ds):
    """Every public function and method that takes a Dataset, in several ways."""
    thresholds = [1e-12, 0.5, 1 - 1e-12]
    yield "repr", lambda: repr(ds.amici)
    yield "validate", lambda: amici_xr.validate(ds)
    yield "curve", lambda: amici_xr.curve(ds, [0, 1, 1e9])
    for by, by_sample in itertools.product(("label", None), (False, True)):
        yield (
            f"curve_summary {by} {by_sample}",
            lambda by=by, by_sample=by_sample: amici_xr.curve_summary(
                ds, [0, 1e9], by, [0, 0.3], by_sample=by_sample
            ),
        )
    for share in (None, 0.02):
        yield "length_scale", lambda share=share: amici_xr.length_scale(ds, thresholds, share)
        for statistic, method in itertools.product(("mean", "median"), ("exact", "resample")):
            options = {"statistic": statistic, "method": method, "n_resamples": 20}
            yield (
                f"bootstrap {share} {options}",
                lambda share=share, options=options: amici_xr.bootstrap(ds, 0.5, share, **options),
            )
        for statistic, unit in itertools.product(("mean", "median"), ("sample", "spatial", "run")):
            options = {"statistic": statistic, "resampling_unit": unit}
            yield (
                f"bootstrap {share} {options}",
                lambda share=share, options=options: amici_xr.bootstrap(ds, 0.5, share, **options),
            )
        yield "reach_across_runs", lambda share=share: amici_xr.reach_across_runs(ds, 0.5, share)
    yield "bootstrap by_sample", lambda: amici_xr.bootstrap(ds, by_sample=True)
    for by_sample in (False, True):
        yield "support", lambda by=by_sample: amici_xr.support(ds, thresholds, by_sample=by)
        yield "atlas", lambda by=by_sample: amici_xr.atlas(ds, by_sample=by)
        yield "atlas chance", lambda by=by_sample: amici_xr.atlas(ds, by_sample=by, chance=ds)
        yield (
            "attention_by_distance",
            lambda by=by_sample: amici_xr.attention_by_distance(ds, 3, by_sample=by),
        )
    yield "attention", lambda: amici_xr.attention(ds)
    yield "dummy_attention", lambda: amici_xr.dummy_attention(ds)
    for competitors in ("all", "other_labels"):
        yield (
            f"in_context_length_scale {competitors}",
            lambda one=competitors: amici_xr.in_context_length_scale(ds, thresholds, one),
        )
    for query in np.atleast_1d(ds["query"].values):
        yield f"select {query!r}", lambda query=query: amici_xr.select(ds, str(query))
    yield "select a sample", lambda: amici_xr.select(ds, sample="1")
    yield "to_microns", lambda: amici_xr.to_microns(ds, 0.25)
    yield "to_dataframe", lambda: amici_xr.to_dataframe(ds)
    yield "save", lambda: amici_xr.save(ds, "ds.nc")
    lengths = amici_xr.length_scale(ds, sample_threshold=None)
    for statistic, method in itertools.product(("mean", "median"), ("exact", "resample")):
        options = {"statistic": statistic, "method": method, "n_resamples": 20}
        yield (
            f"bootstrap_ci {options}",
            lambda options=options: amici_xr.bootstrap_ci(lengths, **options),
        )
    if HAS_ANNDATA:
        for share in (None, 0.02):
            yield (
                f"to_anndata {share}",
                lambda share=share: amici_xr.to_anndata(ds, anndata_of(ds), sample_threshold=share),
            )
    yield "align_runs", lambda: amici_xr.align_runs([ds, ds])
    yield "concat_samples", lambda: amici_xr.concat_samples([ds, ds], sample=["one", "two"])
    names = np.unique(ds["neighbor_sample"].values).tolist() if "neighbor_sample" in ds else []
    conditions = {name: "ab"[place % 2] for place, name in enumerate(names)}
    yield "contrast", lambda: amici_xr.contrast(ds, conditions)
    for by_sample in (False, True):
        yield (
            "attention_enrichment",
            lambda by=by_sample: amici_xr.attention_enrichment(ds, by_sample=by),
        )
    yield "explained_variance", lambda: amici_xr.explained_variance(ds)
    yield "gene_effects", lambda: amici_xr.gene_effects(ds)
    yield "prediction_gain", lambda: amici_xr.prediction_gain(ds)
    yield "effect_curve", lambda: amici_xr.effect_curve(ds)
    response = simulate_response(3)
    yield "compare_with_tissue", lambda: amici_xr.compare_with_tissue(ds, response)
    yield "effect_length_scale", lambda: amici_xr.effect_length_scale(ds)
    yield "summary", lambda: amici_xr.summary(ds)


def anndata_of(ds):
    """Cells that are there in the Dataset too, and more."""
    import anndata

    n_cells = max(ds[cell].max().item() if ds.sizes[cell] else 0 for cell in cells_of(ds)) + 2
    return anndata.AnnData(obs=pd.DataFrame(index=[f"cell_{cell}" for cell in range(n_cells)]))


def cells_of(ds):
    return [cell for cell in ("neighbor", "receiver") if cell in ds.dims]


def drawings(ds):
    """The figures, each on a figure of its own."""
    head = int(np.atleast_1d(ds["head"].values)[0])
    yield "plot_curve", lambda: amici_xr.plot_curve(ds, head, [0, 1, 10])
    for kind in ("box", "violin", "density"):
        yield (
            f"plot_length_scale {kind}",
            lambda kind=kind: amici_xr.plot_length_scale(ds, sample_threshold=None, kind=kind),
        )
    yield "plot_spatial", lambda: amici_xr.plot_spatial(ds, head=head, sample_threshold=None)
    yield "plot_atlas", lambda: amici_xr.plot_atlas(ds)
    yield "plot_atlas chance", lambda: amici_xr.plot_atlas(ds, chance=ds)
    yield "plot_threshold_sweep", lambda: amici_xr.plot_threshold_sweep(ds, [0.1, 0.5])
    yield "plot_gene_effects", lambda: amici_xr.plot_gene_effects(ds)
    yield "plot_effect_curve", lambda: amici_xr.plot_effect_curve(ds)
    query = str(np.atleast_1d(ds["query"].values)[0])
    yield "plot_agreement", lambda: amici_xr.plot_agreement(ds, simulate_response(3), query, query)
    if HAS_BOKEH:
        yield "report", lambda: amici_xr.report(ds, "page.html", thresholds=[0.1, 0.5], n_points=5)


def test_every_public_function_of_a_dataset_is_called():
    ds = amici_xr.testing.simulate_dataset(n_cells=20)
    called = {name.split()[0] for calls in (several_calls, drawings) for name, _ in calls(ds)}
    functions = {name: getattr(amici_xr, name) for name in amici_xr.__all__}
    of_datasets = {
        name
        for name, function in functions.items()
        if inspect.isfunction(function)
        and next(iter(inspect.signature(function).parameters), "") in ("ds", "da", "datasets")
    }
    assert len(of_datasets) > 20
    of_extras = {"to_anndata": HAS_ANNDATA, "report": HAS_BOKEH}
    assert of_datasets - called == {name for name, is_there in of_extras.items() if not is_there}


def assert_survives(data, calls):
    """Some calls: each ends in a result, or in an error or a warning of this package itself."""
    calls = list(calls)
    some = st.lists(st.integers(0, len(calls) - 1), min_size=3, max_size=3, unique=True)
    for name, call in (calls[at] for at in data.draw(some)):
        try:
            call()
        except (ValueError, UserWarning) as error:  # SchemaError and NotFoundError are ValueErrors
            innermost = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
            if not innermost.is_relative_to(PACKAGE) or isinstance(error, RuntimeWarning):
                raise AssertionError(f"{name} raised {error!r} in {innermost}") from error
        except Exception as error:
            raise AssertionError(f"{name} raised {error!r}") from error


@given(datasets(runs=None))
def test_every_drawn_dataset_is_valid(ds):
    assert amici_xr.validate(ds) is ds


@given(datasets(runs=None), st.data())
def test_every_function_gives_a_result_or_an_error_of_its_own(ds, data):
    assert_survives(data, several_calls(ds))


@given(datasets(runs=None, several_queries=True), st.data())
def test_parts_of_datasets_give_a_result_or_an_error_too(ds, data):
    if data.draw(st.booleans()):
        ds = ds.isel(head=0)
    if data.draw(st.booleans()):
        ds = ds.isel(query=0)
    kept = data.draw(st.lists(st.booleans(), min_size=ds.sizes["neighbor"], max_size=99))
    part = ds.isel(neighbor=np.flatnonzero(kept[: ds.sizes["neighbor"]]))
    assert_survives(data, several_calls(part))


@given(datasets(runs=None), st.data())
def test_every_figure_is_drawn_or_refused(ds, data):
    from matplotlib import pyplot as plt

    assert_survives(data, drawings(ds))
    plt.close("all")


@given(datasets(runs=None), DISTANCES)
def test_a_curve_lies_between_0_and_1_and_falls_with_distance(ds, distance):
    curve = amici_xr.curve(ds, sorted(distance))
    assert (curve.isnull().any("distance") == ds["base_attention_score"].isnull()).all()
    known = curve.fillna(0.5)
    assert ((known >= 0) & (known <= 1)).all()
    assert (known.diff("distance") <= 0).all()


@given(datasets(runs=None), THRESHOLDS)
def test_at_its_length_scale_a_curve_is_at_the_threshold(ds, threshold):
    lengths = amici_xr.length_scale(ds, threshold, None)
    a, p = (ds[name].astype("float64") for name in ("base_attention_score", "position_coefficient"))
    delta, u = ds["dummy_attention_score"], ds["distance_kernel_unit_scale"]
    score = (a - p * (lengths / u) - delta).values
    reaches = (lengths > 0).values
    # of a − p·d/u − δ the last bits are lost: up to 2·10⁴ · 2⁻⁵², a few times
    assert np.abs(score[reaches] - logit(threshold)).max(initial=0) < 1e-10
    nowhere = (lengths == 0).values
    at_0 = amici_xr.curve(ds, 0.0).values
    assert (at_0[nowhere] <= threshold * (1 + 1e-10)).all()


@given(datasets(scores="moderate", several_queries=False), st.floats(0.01, 0.99))
def test_curve_and_length_scale_invert_each_other(ds, threshold):
    lengths = amici_xr.length_scale(ds, threshold, None)
    for head in range(ds.sizes["head"]):
        for neighbor in np.flatnonzero(lengths.isel(head=head) > 0):
            length = lengths.isel(head=head, neighbor=neighbor)
            at_length = amici_xr.curve(ds, length.item()).isel(head=head, neighbor=neighbor)
            np.testing.assert_allclose(at_length, threshold, rtol=1e-12)


def has_samples(ds):
    return "neighbor_sample" in ds.coords and ds.sizes["neighbor"] > 0


REDUCTIONS = {
    "curve_summary": lambda ds: amici_xr.curve_summary(ds, [0, 10], quantiles=[0.1, 0.9]),
    "support": amici_xr.support,
    "bootstrap": amici_xr.bootstrap,
    "atlas": amici_xr.atlas,
    "attention": amici_xr.attention,
    "dummy_attention": amici_xr.dummy_attention,
    "attention_by_distance": lambda ds: amici_xr.attention_by_distance(ds, 3),
    "in_context": lambda ds: amici_xr.in_context_length_scale(ds, 0.1),
    "by_sample": lambda ds: amici_xr.support(ds, by_sample=has_samples(ds)),
}
BY_NEIGHBOR = {
    "curve": lambda ds: amici_xr.curve(ds, [0, 10]),
    "length_scale": lambda ds: amici_xr.length_scale(ds, [0.1, 0.5]),
}
DATASETS = {
    "select": lambda ds: amici_xr.select(ds, str(np.atleast_1d(ds["query"].values)[0])),
    "to_microns": lambda ds: amici_xr.to_microns(ds, 1 if distance_unit(ds) == "µm" else 0.25),
}


@given(
    datasets(runs=None, neighborhoods=True),
    st.sampled_from(list(REDUCTIONS)),
    st.sampled_from(list(BY_NEIGHBOR)),
    st.randoms(use_true_random=False),
)
def test_the_order_of_neighbors_does_not_matter(ds, name, by_neighbor, random):
    order = random.sample(range(ds.sizes["neighbor"]), ds.sizes["neighbor"])
    shuffled = ds.isel(neighbor=order)
    xr.testing.assert_allclose(REDUCTIONS[name](shuffled), REDUCTIONS[name](ds), rtol=1e-9)
    ask = BY_NEIGHBOR[by_neighbor]
    xr.testing.assert_identical(ask(shuffled), ask(ds).isel(neighbor=order))


@given(datasets(runs=None), st.sampled_from(SUFFIXES))
def test_what_is_saved_is_what_is_opened(ds, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"ds{suffix}"
        amici_xr.save(ds, path)
        back = amici_xr.open_dataset(path)
    xr.testing.assert_identical(back, ds)
    assert {name: v.dtype.kind for name, v in back.variables.items()} == {
        name: variable.dtype.kind for name, variable in ds.variables.items()
    }


@given(datasets(neighborhoods=False, coordinates=False, samples=False))
def test_table_and_dataset_convert_back_and_forth_without_loss(ds):
    assume(ds["base_attention_score"].notnull().any())
    assume(not any("\r" in name for name in ds["cell_type"].values))  # pandas leaves it unquoted
    with tempfile.TemporaryDirectory() as folder:
        ds.amici.to_dataframe().to_csv(Path(folder) / "scores.csv")
        from_csv = amici_xr.read_csv(Path(folder) / "scores.csv")
    table = amici_xr.to_dataframe(ds)
    for back in (amici_xr.from_dataframe(table), from_csv):
        pd.testing.assert_frame_equal(amici_xr.to_dataframe(back), table, check_dtype=False)
        assert amici_xr.validate(back) is back
        queries = np.unique(table["query_label"]).tolist()
        for query in queries:
            own = amici_xr.select(ds, query)
            from_table = amici_xr.select(back, query)
            for name in ("base_attention_score", "position_coefficient", "label", "head"):
                assert own[name].dtype.kind == from_table[name].dtype.kind
                np.testing.assert_array_equal(own[name], from_table[name])


@given(
    datasets(runs=None, neighborhoods=True),
    st.integers(1, 5),
    st.sampled_from(list(REDUCTIONS | BY_NEIGHBOR | DATASETS)),
)
def test_lazy_gives_what_eager_gives(ds, size, name):
    ask = (REDUCTIONS | BY_NEIGHBOR | DATASETS)[name]
    lazy = ds.chunk(neighbor=size) if ds.sizes["neighbor"] else ds.chunk()
    eager, computed = ask(ds), ask(lazy).compute()
    xr.testing.assert_allclose(computed, eager, rtol=1e-12)
    assert list(computed.sizes) == list(eager.sizes)


@given(datasets(runs=None), THRESHOLDS, st.sampled_from(["mean", "median"]), st.floats(0.01, 0.99))
def test_an_exact_interval_of_cells_is_in_order_and_within_its_values(ds, threshold, statistic, c):
    # Of a 95% interval of few cells the estimate itself may lie outside: of 0, 0, 0, 10 the mean of
    # a resample is below 2.5 with a probability of 0.32. The median always lies inside: half of
    # the resampled medians are at most the median, and half at least it.
    found = amici_xr.bootstrap(ds, threshold, None, statistic, c)
    has_any = found["n_neighbors"] > 0
    for name in ("point_estimate", "ci_lower", "ci_upper"):
        assert (np.isfinite(found[name]) == has_any).all()
    lower, point, upper = (found[n].values for n in ("ci_lower", "point_estimate", "ci_upper"))
    known = np.isfinite(lower)
    assert (lower[known] <= upper[known]).all()
    assert (lower[known] >= 0).all()
    if statistic == "median":
        scale = 1e-12 * np.abs(point[known])
        assert (lower[known] <= point[known] + scale).all()
        assert (point[known] <= upper[known] + scale).all()
    lengths = amici_xr.length_scale(ds, threshold, None).values
    largest = np.max(lengths, initial=0.0, where=~np.isnan(lengths))
    assert (upper[known] <= largest * (1 + 1e-12)).all()


@given(datasets(runs=None), st.integers(0, 2**32), st.sampled_from(["mean", "median"]))
def test_the_same_seed_gives_the_same_interval(ds, seed, statistic):
    options = {"statistic": statistic, "method": "resample", "n_resamples": 30}
    first = amici_xr.bootstrap(ds, 0.5, None, random_state=seed, **options)
    again = amici_xr.bootstrap(ds, 0.5, None, random_state=seed, **options)
    xr.testing.assert_identical(first, again)
    known = first["n_neighbors"] > 0
    assert ((first["ci_lower"] <= first["ci_upper"]) | ~known).all()


@given(datasets(runs=None, neighborhoods=True), st.sampled_from([2.0**-10, 0.25, 2.0, 1024.0]))
def test_rescaled_coordinates_rescale_lengths(ds, factor):
    # powers of two: not a bit is lost
    for name in ds.variables:
        ds[name].attrs.pop("units", None)
    scaled = amici_xr.to_microns(ds, factor)

    def assert_equal(after, before):
        np.testing.assert_array_equal(after.values, before.values)

    lengths = amici_xr.length_scale(ds)
    assert_equal(amici_xr.length_scale(scaled), lengths * factor)
    assert_equal(amici_xr.curve(scaled, 8.0 * factor), amici_xr.curve(ds, 8.0))
    assert_equal(amici_xr.attention(scaled), amici_xr.attention(ds))
    before, after = amici_xr.support(ds), amici_xr.support(scaled)
    for name in ("support", "edge_share", "status", "n_neighbors"):
        assert_equal(after[name], before[name])
    assert_equal(after["median_length_scale"], before["median_length_scale"] * factor)


def test_strategies_without_hypothesis_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ModuleNotFoundError, match=r"hypothesis: pip install 'amici-xr\[test\]'"):
        datasets()


@pytest.mark.parametrize(
    ("argument", "message"),
    [({"scores": "wild"}, "scores='wild' is not known"), ({"max_cells": 0}, "max_cells=0 must be")],
)
def test_strategies_refuse_what_they_do_not_know(argument, message):
    with pytest.raises(ValueError, match=message):
        datasets(**argument)


def test_an_unquoted_carriage_return_in_a_label_is_refused_and_not_read_wrongly():
    ds = amici_xr.from_arrays([[1.0]], [[1.0]], ["a\rb"], query="A")
    ds.amici.to_dataframe().to_csv("scores.csv")
    written = Path("scores.csv").read_bytes()  # from Python 3.13 on in quotes, which is right
    Path("scores.csv").write_bytes(written.replace(b'"a\rb"', b"a\rb"))
    with pytest.raises(amici_xr.SchemaError, match="missing values"):
        amici_xr.read_csv("scores.csv")
