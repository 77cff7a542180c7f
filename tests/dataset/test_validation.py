"""The schema: what is accepted, and that every problem is named at once."""

import re

import numpy as np
import pytest
import xarray as xr

import amici_xr
from amici_xr.dataset.schema import SCHEMA


def test_what_is_valid_is_returned_itself(ds, several):
    for valid in (ds, several, ds.isel(head=0), several.sel(query="A"), ds.isel(neighbor=[])):
        assert amici_xr.validate(valid) is valid


def test_every_variable_of_a_dataset_is_in_the_schema_with_its_dims(several):
    for name, variable in several.variables.items():
        row = SCHEMA[name]
        assert set(row.dims) <= set(variable.dims)
        assert variable.attrs["description"] == row.doc
        if row.units == "distance":
            assert variable.attrs["units"] == "µm"
        assert (name in several.coords) == row.is_coordinate


def test_something_else_than_a_dataset_is_named():
    with pytest.raises(TypeError, match=r"ds must be an xarray\.Dataset, not dict"):
        amici_xr.validate({})


def test_a_reduction_assigned_into_the_dataset_is_recognized(ds):
    spoilt = ds.drop_vars("label").assign(support=ds.amici.support(0.1).support)
    with pytest.raises(
        amici_xr.SchemaError, match="label is a dimension: a reduction by label was"
    ):
        spoilt.amici.curve([0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda ds: ds.drop_vars("label"), "missing: 'label'; Datasets come from extract"),
        (lambda ds: ds.rename(head="heads"), "missing: 'head'"),
        (
            lambda ds: ds.assign(
                base_attention_score=ds.base_attention_score.isel(head=0, drop=True)
            ),
            r"base_attention_score has dims \('neighbor',\), not \('neighbor', 'head'\)",
        ),
        (
            lambda ds: ds.assign(dummy_attention_score=ds.neighbor * 1.0),
            "dummy_attention_score has d",
        ),
        (
            lambda ds: ds.assign(neighborhood_index=ds.neighborhood_index * 1.0),
            r"has dtype float64, not int64; cast it with fillna\(-1\)\.astype\('int64'\)",
        ),
        (
            lambda ds: ds.assign_coords(head=ds["head"] * 1.0),
            r"head has dtype float64, not int64; cast it with astype\('int64'\)",
        ),
        (
            lambda ds: ds.assign(is_neighbor=("neighbor", np.ones(ds.sizes["neighbor"]))),
            r"is_neighbor has dtype float64, not bool; cast it with fillna\(False\)",
        ),
        (
            lambda ds: ds.drop_indexes("neighbor"),
            r"neighbor has no index.*set_xindex\('neighbor'\) makes it",
        ),
        (lambda ds: ds.drop_indexes("head"), r"head has no index.*set_xindex\('head'\)"),
        (lambda ds: ds.assign_coords(neighbor=ds.neighbor - 500), "neighbor holds negative pos"),
        (lambda ds: ds.assign_coords(receiver=ds.receiver - 500), "receiver holds negative pos"),
        (
            lambda ds: ds.assign(dummy_attention_score=ds.dummy_attention_score * np.inf),
            "dummy_attention_score is not finite",
        ),
        (
            lambda ds: ds.assign(distance_kernel_unit_scale=ds.distance_kernel_unit_scale * 0),
            "distance_kernel_unit_scale is not a positive number",
        ),
        (lambda ds: ds.assign_coords(label=ds.neighbor * 1), "label has dtype int64, not string"),
        (
            lambda ds: ds.drop_vars("neighborhood_label"),
            "neighborhoods without 'neighborhood_label'",
        ),
        (lambda ds: ds.drop_vars("receiver_label"), "neighborhoods without 'receiver_label'"),
        (
            lambda ds: ds.assign_attrs(schema_version="x"),
            "schema_version 'x' is not an integer; remove",
        ),
        (lambda ds: xr.concat([ds, ds], "query"), "query holds 'A' more than once"),
        (lambda ds: ds.isel(head=[0, 0]), "head holds 0 more than once"),
        (
            lambda ds: ds.expand_dims(run=2),
            "run is a dim without its coordinate; combine runs",
        ),
        (
            lambda ds: xr.concat([ds, ds], "run").assign_coords(run=[0, 1]),
            r"neighborhood_index has dims \('run', 'receiver', 'rank'\), not .*align_runs",
        ),
        (
            lambda ds: ds.assign(dummy_attention_score=("run", [3.0, 3.0])).assign_coords(
                run=[0, 1]
            ),
            "run is a dim, but not of 'base_attention_score', 'position_coefficient'; combine runs",
        ),
        (
            lambda ds: ds.reset_coords(["label", "query"]),
            r"'label', 'query': not coordinates; ds\.set_coords\(\['label', 'query'\]\) makes them",
        ),
        (lambda ds: ds.expand_dims(run=[0]).isel(run=[]), "run is empty; keep at least one"),
    ],
)
def test_a_wrong_structure_is_named_by_every_method(ds, spoil, message):
    spoilt = spoil(ds)
    for ask in (
        amici_xr.validate,
        lambda ds: amici_xr.curve(ds, [0]),
        lambda ds: amici_xr.curve_summary(ds, [0]),
        amici_xr.length_scale,
        amici_xr.support,
        amici_xr.bootstrap,
        amici_xr.to_dataframe,
        lambda ds: amici_xr.select(ds, "A"),
        lambda ds: amici_xr.plot_curve(ds, 0, [0]),
        amici_xr.plot_length_scale,
        lambda ds: amici_xr.save(ds, "a.nc"),
    ):
        with pytest.raises(amici_xr.SchemaError, match=message):
            ask(spoilt)


def test_no_query_at_all_is_named(several):
    with pytest.raises(amici_xr.SchemaError, match="query is empty; keep at least one"):
        several.isel(query=[]).amici.support()


def test_several_queries_without_is_neighbor_are_named(several):
    with pytest.raises(amici_xr.SchemaError, match="is_neighbor is missing"):
        several.drop_vars("is_neighbor").amici.curve([0])


def with_value(name, value, where=0):
    def spoil(ds):
        values = ds[name].values.copy()
        values.flat[where] = value
        return ds.assign({name: (ds[name].dims, values)})

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            with_value("base_attention_score", np.nan),
            "base_attention_score: 1 value is not finite",
        ),
        (with_value("base_attention_score", np.inf), "1 value is not finite"),
        (with_value("position_coefficient", 0), "position_coefficient: 1 value is not above 0"),
        (with_value("dummy_attention_score", np.nan), "dummy_attention_score is not finite"),
        (with_value("distance_kernel_unit_scale", 0), "is not a positive number"),
        (with_value("neighborhood_index", -1), "disagree on where there is no neighbor"),
        (with_value("neighborhood_distance", -1.0), "negative or infinite distances"),
        (with_value("neighborhood_label", 9), "points past the end of cell_type"),
        (lambda ds: ds.assign_coords(neighbor=ds.neighbor * 0), "neighbor holds 0 more than once"),
        (
            lambda ds: ds.assign_coords(label=("neighbor", np.full(ds.sizes["neighbor"], "Z"))),
            "label holds 'Z', not in cell_type",
        ),
    ],
)
def test_wrong_values_are_named(ds, spoil, message):
    with pytest.raises(amici_xr.SchemaError, match=message):
        amici_xr.validate(spoil(ds))


def test_scores_outside_the_mask_are_named(several):
    spoilt = several.assign(is_neighbor=several.is_neighbor & False)
    with pytest.raises(amici_xr.SchemaError, match=r"[\d,]+ values are where is_neighbor is False"):
        amici_xr.validate(spoilt)


def test_all_problems_are_in_one_error(ds):
    spoilt = with_value("position_coefficient", -1)(with_value("base_attention_score", np.nan)(ds))
    with pytest.raises(amici_xr.SchemaError) as error:
        amici_xr.validate(with_value("dummy_attention_score", np.nan)(spoilt))
    assert len(re.findall("^- ", str(error.value), re.MULTILINE)) == 3


def test_structure_is_checked_without_computing(ds):
    lazy = ds.chunk(neighbor=10).assign(
        base_attention_score=ds.base_attention_score.chunk(neighbor=10).map_blocks(must_not_run)
    )
    assert lazy.amici.curve([0, 5]).chunks is not None


def must_not_run(block):
    if block.size:
        raise AssertionError("something was computed")
    return block


def test_a_query_that_is_not_there_is_named(several, ds):
    with pytest.raises(
        KeyError, match=r"query='B' is not in this Dataset, which holds 'A', 'C', 'D'"
    ):
        several.amici.select("B")
    with pytest.raises(KeyError, match=r"query='B' is not in this Dataset, which holds 'A'"):
        ds.amici.select("B")


def test_select_keeps_only_what_belongs_to_the_query(several):
    one = several.amici.select("C")
    assert set(one.receiver_label.values.tolist()) == {"C"}
    assert "is_neighbor" not in one
    assert one.base_attention_score.dims == ("neighbor", "head")
    np.testing.assert_array_equal(
        one.neighbor, several.neighbor[several.is_neighbor.sel(query="C")]
    )
    assert one.amici.select("C").identical(one)
    assert several.sel(query="C").amici.select("C").identical(one)


def test_the_simulator_names_bad_arguments():
    with pytest.raises(ValueError, match=r"query='Z' must be among cell_types: 'A', 'B'"):
        amici_xr.testing.simulate_dataset("Z")
    with pytest.raises(ValueError, match="n_cells=0 must be at least 1"):
        amici_xr.testing.simulate_dataset(n_cells=0)


@pytest.mark.parametrize("chunks", [None, 50])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "position_coefficient",
            -0.5,
            r"position_coefficient holds -0\.5; it must be finite and ab",
        ),
        (
            "position_coefficient",
            0.0,
            r"position_coefficient holds 0\.0; it must be finite and abo",
        ),
        ("position_coefficient", np.inf, "position_coefficient holds inf; it must be finite"),
        (
            "base_attention_score",
            -np.inf,
            "base_attention_score holds -inf; it must be finite: ext",
        ),
    ],
)
def test_no_method_computes_with_scores_for_which_the_formulas_do_not_hold(
    ds, chunks, name, value, message
):
    spoilt = with_value(name, value, where=7)(ds)
    spoilt = spoilt if chunks is None else spoilt.chunk(neighbor=chunks)
    for ask in (
        lambda ds: amici_xr.length_scale(ds, 0.1),
        lambda ds: amici_xr.length_scale(ds, 0.1, None),
        lambda ds: amici_xr.curve(ds, [0, 5]),
        lambda ds: amici_xr.curve_summary(ds, [0, 5]),
        amici_xr.attention,
        amici_xr.attention_by_distance,
        amici_xr.support,
        amici_xr.bootstrap,
        amici_xr.atlas,
    ):
        with pytest.raises(amici_xr.SchemaError, match=message):
            ask(spoilt).compute()


def test_lazy_scores_of_no_neighbor_are_valid(ds):
    lazy = ds.isel(neighbor=slice(0)).drop_dims(["receiver"]).chunk()
    assert amici_xr.validate(lazy) is lazy


def test_lazy_settings_are_checked_by_validate(ds):
    lazy = with_value("dummy_attention_score", np.nan)(ds).chunk()
    with pytest.raises(amici_xr.SchemaError, match="dummy_attention_score is not finite"):
        amici_xr.validate(lazy)


@pytest.mark.parametrize("kind", ["int16", "int32", "int64"])
def test_integers_that_a_file_gave_back_as_floats_are_mended_as_the_message_says(kind, tmp_path):
    """For a tool wrote -1, which says that there is no neighbor, as missing."""
    ds = amici_xr.testing.simulate_dataset(n_cells=60, samples=list("abcdef"))
    ds.to_netcdf(
        tmp_path / "a.nc",
        encoding={
            "neighborhood_index": {"_FillValue": -1, "dtype": kind},
            "neighborhood_label": {"_FillValue": -1},
        },
    )
    read = xr.load_dataset(tmp_path / "a.nc")
    assert read.neighborhood_index.isnull().any()
    with pytest.raises(amici_xr.SchemaError, match="cast it with") as told:
        amici_xr.support(read, 0.1)
    advice = dict(re.findall(r"- (\w+) has dtype .*; cast it with (.*)", str(told.value)))
    mended = read.copy()
    for name, cast in advice.items():
        mended[name] = eval(f"array.{cast}", {"array": read[name]})
    xr.testing.assert_equal(amici_xr.support(mended, 0.1), amici_xr.support(ds, 0.1))


@pytest.mark.parametrize("least", [-2, np.iinfo(np.int64).min])
def test_positions_of_cells_below_those_that_mean_none_are_named(ds, least):
    """As NaN cast to integers gives them."""
    spoilt = with_value("neighborhood_index", least)(ds)
    for ask in (amici_xr.validate, amici_xr.support, amici_xr.attention, amici_xr.atlas):
        with pytest.raises(amici_xr.SchemaError, match=rf"holds {least}, below -1, which says"):
            ask(spoilt)


@pytest.mark.parametrize("position", [3 * 10**8, 2**63 - 1])
def test_positions_may_be_any_integers(ds, position):
    """Such as ids of a whole atlas, for which a table of all cells would fill the memory."""
    last = int(ds.neighbor[-1])
    index = ds.neighborhood_index
    renumbered = ds.assign_coords(neighbor=np.r_[ds.neighbor.values[:-1], position]).assign(
        neighborhood_index=index.where(index != last, position)
    )
    xr.testing.assert_equal(amici_xr.support(renumbered, 0.1), amici_xr.support(ds, 0.1))
    np.testing.assert_array_equal(amici_xr.attention(renumbered), amici_xr.attention(ds))
    relabelled = renumbered.assign_coords(label=ds.label.roll(neighbor=1).variable)
    with pytest.raises(amici_xr.SchemaError, match="neighborhood_label disagrees with label"):
        amici_xr.validate(relabelled)
