"""What users do to a Dataset before they ask it: a right answer, or an error that helps."""

import os
import traceback
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from selections_and_calls import (
    ALONG_AN_AXIS,
    CALLS,
    HELD_OTHERWISE,
    LAYOUTS,
    PACKAGE,
    SELECTIONS,
)

from amici_xr.dataset.schema import SCHEMA

SHARE = 150  # pairs of a selection and a call in the usual run
SLOW = ("plot_", "save", "report", "atlas", "support, by_sample")
QUICK = [call for call in CALLS if not call.startswith(SLOW)]
# Their answer is about the Dataset itself, or of all heads or queries together.
OF_THE_WHOLE = ("plot_", "save", "repr", "validate", "report", "to_", "select")
OF_ALL_HEADS = ("strongest", "n_runs", "matching_", "q_value", "n_tests")
OVER_HEADS = ("contrast", "reach_across_runs")  # which choose or sum up heads
# Places that are data variables are not carried by a result, as xarray does with any of them.
NOT_CARRIED = {"neighbor_x", "neighbor_y"}
OVER_RUNS = ("bootstrap, runs", "reach_across_runs", "contrast")
# Cells have other numbers then, or there are cells that were not there.
OTHER_NUMBERS = ("roll", "shift", "float16 scores", "reindex", "merge of shifted")
ONE_STREAM = "bootstrap, resamples"  # of random numbers, for all heads of a query
# Of one neighbor, receiver or pair: the same whatever else was selected away.
OF_A_CELL = ("curve", "curve, a number", "length_scale, uncorrected")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def layouts():
    return {name: make() for name, make in LAYOUTS.items()}


def answer(call, ds):
    """Return the answer, in memory, or the error, which must be ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of small selections, right or not
            result = CALLS[call](ds)
        return (
            result.to_dataset(name="value") if isinstance(result, xr.DataArray) else result
        ).load()
    except Exception as error:
        assert_is_ours(error)
        return error


def assert_is_ours(error):
    """An error of ours is raised in the package, and says in words what is wrong and what helps."""
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    assert innermost.filename.startswith(PACKAGE), f"raw {type(error).__name__}: {error}"
    assert isinstance(error, ValueError | KeyError | TypeError), repr(error)
    message = str(error)
    assert len(message.split()) > 5, message
    assert "drop_duplicates" not in message  # advice that loses cells


def made_anew(ds):
    """Make the same Dataset from plain arrays, of the kinds and in the order of the schema."""
    variables = {}
    for name, variable in ds.variables.items():
        row = SCHEMA.get(name)
        dims = variable.dims
        if row is not None:
            dims = tuple(sorted(dims, key=("run", "query", *row.dims).index))
        values = np.array(variable.transpose(*dims).values)
        if row is not None and row.kind != "string":
            values = values.astype(row.kind)
        elif row is not None and not pd.isna(values).any():
            values = values.astype(str)
        variables[name] = (dims, values, variable.attrs)
    coordinates = [name for name, row in SCHEMA.items() if row.is_coordinate and name in variables]
    return xr.Dataset(variables, attrs=ds.attrs).set_coords(coordinates)


def assert_same(found, expected, rtol=1e-6):
    """Compare what two calls gave: names, dims, words exactly, numbers closely."""
    assert set(found.variables) ^ set(expected.variables) <= NOT_CARRIED
    for name in set(found.variables) & set(expected.variables):
        variable = found.variables[name]
        other = expected.variables[name].transpose(*variable.dims)
        if variable.dtype.kind == "f":
            np.testing.assert_allclose(variable.values, other.values, rtol, 1e-9, err_msg=str(name))
        else:
            words = (values.astype(str) for values in (variable.values, other.values))  # NaN too
            np.testing.assert_array_equal(*words, err_msg=str(name))


def assert_part_of(found, full):
    """Compare an answer with the same part of the full one, by the names along its dims."""
    for name, array in found.data_vars.items():
        if name.startswith(OF_ALL_HEADS):
            continue
        expected = full[name]
        for dim in ("run", "query", "head", "neighbor", "receiver", "label", "sample"):
            if dim in expected.dims and dim in found.coords:
                expected = expected.sel({dim: found[dim].values})
        values = expected.transpose(*array.dims).values
        if values.dtype.kind == "f":
            np.testing.assert_allclose(array.values, values, 1e-6, 1e-9, err_msg=str(name))
        else:
            np.testing.assert_array_equal(array.values, values, err_msg=str(name))


def found_heads(ds):
    """Return the numbers of all heads of a Dataset, in ascending order."""
    return sorted(np.atleast_1d(ds["head"].values))


def check(ds, selection, call):
    """Check one call on one selection of one layout."""
    try:
        selected = SELECTIONS[selection](ds.copy(deep=True))
    except Exception:  # xarray itself refuses
        return
    found = answer(call, selected)
    if call == "repr":  # shows an error, where there is one, as its text
        return
    if isinstance(found, Exception):
        if selection in HELD_OTHERWISE:
            assert isinstance(answer(call, ds), Exception), f"refused: {found}"
        return
    assert_same(found, answer(call, made_anew(selected)))
    if call.startswith(OF_THE_WHOLE):
        return
    is_same = selection in HELD_OTHERWISE or selection in ALONG_AN_AXIS
    if (call in OVER_RUNS and "run" in selection) or call == ONE_STREAM:
        return
    if selection in OTHER_NUMBERS:
        return
    if call in OVER_HEADS and found_heads(selected) != found_heads(ds):
        return
    if is_same or (call in OF_A_CELL and "neighbor" in found.coords):
        assert_part_of(found, answer(call, ds))


def choose_share():
    """Choose one layout for a share of all pairs of a selection and a call."""
    rng = np.random.default_rng(0)
    pairs = [(selection, call) for selection in SELECTIONS for call in QUICK]
    chosen = rng.choice(len(pairs), SHARE, replace=False)
    return [(str(rng.choice(list(LAYOUTS))), *pairs[number]) for number in chosen]


@pytest.mark.parametrize(("layout", "selection", "call"), choose_share())
def test_a_call_on_a_selection_is_right_or_an_error_of_ours(layouts, layout, selection, call):
    check(layouts[layout], selection, call)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("AMICI_XR_LONG") != "1", reason="long; make test-long")
@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_call_on_every_selection_is_right_or_an_error_of_ours(layouts, layout, selection):
    errors = []
    for call in CALLS:
        try:
            check(layouts[layout], selection, call)
        except Exception as error:
            error.add_note(f"call: {call}")
            errors.append(error)
    if errors:
        raise ExceptionGroup("calls", errors)
