"""``ds.cf`` and ``ds.amici``, alone and beside cf_xarray."""

import importlib.util
import inspect
import pickle
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import xarray as xr
from responses import simulate_response

import amici_xr

METHODS = [
    "atlas",
    "attention",
    "attention_by_distance",
    "attention_enrichment",
    "bootstrap",
    "compare_with_tissue",
    "contrast",
    "curve",
    "curve_summary",
    "dummy_attention",
    "effect_curve",
    "effect_length_scale",
    "explained_variance",
    "gene_effects",
    "in_context_length_scale",
    "length_scale",
    "plot_agreement",
    "plot_atlas",
    "plot_curve",
    "plot_effect_curve",
    "plot_gene_effects",
    "plot_length_scale",
    "plot_pairs",
    "plot_response",
    "plot_spatial",
    "plot_threshold_sweep",
    "prediction_gain",
    "save",
    "select",
    "summary",
    "support",
    "to_anndata",
    "to_microns",
    "validate",
]
OF_RESPONSES = {"plot_pairs", "plot_response"}
has_cf_xarray = importlib.util.find_spec("cf_xarray") is not None
beside_cf_xarray = pytest.mark.skipif(not has_cf_xarray, reason="cf_xarray is not installed")


def run(code):
    """Run code in a fresh interpreter, warnings as errors."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("accessor", ["cf", "amici"])
def test_every_method_is_the_function_with_the_dataset_given(ds, accessor, name):
    method, function = getattr(getattr(ds, accessor), name), getattr(amici_xr, name)
    ours = list(inspect.signature(method).parameters.values())
    assert ours == list(inspect.signature(function).parameters.values())[1:]
    assert method.__doc__ == function.__doc__


def test_methods_give_what_the_functions_give(several):
    xr.testing.assert_identical(several.cf.curve([0, 5]), amici_xr.curve(several, [0, 5]))
    xr.testing.assert_identical(several.cf.support(0.1), several.amici.support(0.1))
    assert several.amici.to_dataframe().equals(amici_xr.to_dataframe(several))


def test_the_repr_shows_what_is_there_and_what_can_be_asked(ds):
    for name in ("cf", "amici"):
        shown = repr(getattr(ds, name))
        assert "receivers:         A" in shown
        assert "unit of distance:  µm" in shown
        assert "neighborhoods:     115, of up to 8 cells" in shown
        for method in set(METHODS) - OF_RESPONSES:
            assert f"ds.{name}.{method}(…)" in shown
        asked = shown.partition("Ask:\n")[2].partition("\n\n")[0].splitlines()
        starts = {line.index(line.partition("(…)")[2].lstrip()) for line in asked}
        assert len(starts) == 1  # what each does stands below what the others do
        assert all("(…)  " in line for line in asked)


def test_the_repr_of_a_response_shows_its_pairs_and_its_methods():
    shown = repr(simulate_response(3).cf)
    assert "<ds.cf: distance response>" in shown
    assert "receivers:         type_0, type_1, type_2" in shown
    assert "pairs tested:      4; " in shown
    asked = shown.partition("Ask:\n")[2].partition("\n\n")[0].splitlines()
    names = {line.partition("ds.cf.")[2].partition("(")[0] for line in asked}
    assert names == OF_RESPONSES | {"save", "summary", "validate"}


@pytest.mark.parametrize("name", ["curve", "length_scale", "bootstrap", "atlas", "plot_atlas"])
def test_a_method_for_scores_says_that_a_response_is_none(name):
    arguments = {"curve": ([0, 5],)}.get(name, ())
    with pytest.raises(amici_xr.SchemaError, match="ds is a distance response, which holds no"):
        getattr(simulate_response(3).cf, name)(*arguments)


def test_the_repr_of_another_dataset_says_what_is_missing():
    assert "missing: 'base_attention_score'" in repr(xr.Dataset().amici)


def test_a_dataset_pickles_with_its_accessors(several):
    for name in ("cf", "amici"):
        getattr(several, name).support(0.1)
    again = pickle.loads(pickle.dumps(several))
    xr.testing.assert_identical(again.cf.support(0.1), several.cf.support(0.1))
    assert repr(again.amici) == repr(several.amici)


def test_accessors_hold_no_state(ds):
    before = ds.copy(deep=True)
    ds.cf.curve([0, 5])
    ds.cf.bootstrap()
    xr.testing.assert_identical(ds, before)
    changed = ds.assign(dummy_attention_score=9.0)
    assert not changed.cf.length_scale(0.1, None).equals(ds.cf.length_scale(0.1, None))


def test_functions_do_not_change_their_dataset(several):
    before = several.copy(deep=True)
    several.cf.curve([0, 5])
    several.cf.length_scale(0.1)
    several.cf.support(0.1)
    several.cf.select("A")
    several.cf.save("a.nc")
    several.amici.to_dataframe()
    xr.testing.assert_identical(several, before)


# Beside cf_xarray


@beside_cf_xarray
@pytest.mark.parametrize(
    "imports", ["import amici_xr, cf_xarray", "import cf_xarray, amici_xr", "import amici_xr"]
)
def test_both_import_orders_give_our_methods_and_theirs(imports):
    done = run(
        f"""
        {imports}
        import pickle, xarray as xr
        ds = amici_xr.testing.simulate_dataset()
        assert ds.cf.curve([0, 5]).dims == ("neighbor", "head", "distance")
        air = xr.Dataset(
            {{"air": (("time", "lon"), [[1.0, 2.0]], {{"standard_name": "air_temperature"}})}},
            coords={{"lon": ("lon", [10.0, 20.0], {{"units": "degrees_east", "axis": "X"}})}},
        )
        assert air.cf["air_temperature"].name == "air"
        assert air.cf.mean("X").air.item() == 1.5
        assert air.air.cf.axes == {{"X": ["lon"]}}
        assert "X: ['lon']" in repr(air.cf)
        assert pickle.loads(pickle.dumps(air)).cf.axes == air.cf.axes
        assert "curve" in dir(air.cf)
        print("done")
        """
    )
    assert done.stdout == "done\n", done.stderr


@beside_cf_xarray
def test_none_of_our_names_is_one_of_cf_xarray():
    from cf_xarray.accessor import CFDatasetAccessor

    assert not set(METHODS) & set(dir(CFDatasetAccessor))


@beside_cf_xarray
def test_the_repr_shows_ours_then_theirs_and_theirs_alone_elsewhere(ds):
    shown = repr(ds.cf)
    assert shown.index("ds.cf.curve") < shown.index("Coordinates")
    assert "amici" not in repr(xr.Dataset({"a": 1}).cf)


def test_without_cf_xarray_everything_is_the_same():
    done = run(
        """
        import importlib.util, sys
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *a: None if name == "cf_xarray" else find(name, *a)
        import amici_xr, pickle
        assert "cf_xarray" not in sys.modules
        ds = amici_xr.testing.simulate_dataset()
        assert ds.cf.curve([0, 5]).dims == ("neighbor", "head", "distance")
        assert "ds.cf.curve" in repr(ds.cf)
        assert pickle.loads(pickle.dumps(ds)).cf.support().equals(ds.cf.support())
        print("done")
        """
    )
    assert done.stdout == "done\n", done.stderr


# The import


def test_importing_loads_nothing_heavy():
    done = run(
        """
        import sys, amici_xr
        heavy = {"torch", "anndata", "scvi", "matplotlib.pyplot", "amici", "zarr", "tqdm"}
        heavy |= {"dask", "scipy.stats", "scipy.optimize", "scipy.spatial"}
        print(sorted(heavy & set(sys.modules)))
        """
    )
    assert done.stdout == "[]\n", done.stderr


def test_every_public_name_is_there_and_no_module_hides_one():
    for name in amici_xr.__all__:
        public = getattr(amici_xr, name)
        assert name == "testing" or not inspect.ismodule(public)
        assert inspect.getdoc(public)
    assert np.all([name in amici_xr.__all__ for name in METHODS])


def test_what_is_not_installed_is_named_with_its_extra():
    done = run(
        """
        import sys
        sys.modules["torch"] = None  # as if it were not installed
        import amici_xr
        try:
            amici_xr.demo()
        except ModuleNotFoundError as error:
            print(error)
        from amici_xr.dependencies import require
        try:
            require("no_such_package", "zarr", "writing .zarr")
        except ModuleNotFoundError as error:
            print(error)
        """
    )
    assert re.search(r"needs (torch|anndata): pip install 'amici-xr\[model\]'", done.stdout)
    assert "writing .zarr needs no_such_package: pip install 'amici-xr[zarr]'" in done.stdout
