"""Files of every kind of Dataset: distance responses, and answers about scores, beside scores."""

import numpy as np
import pytest
import xarray as xr
from responses import simulate_response

import amici_xr


@pytest.fixture
def response():
    return simulate_response(4)


@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".zarr.zip"])
def test_a_response_comes_back_identically(response, suffix, chunks):
    if suffix != ".nc":
        pytest.importorskip("zarr")  # an extra
    amici_xr.save(response, f"a{suffix}")
    opened = amici_xr.open_dataset(f"a{suffix}", chunks=chunks)
    xr.testing.assert_identical(opened, response.assign_attrs(schema_version=1))
    assert opened["q_value"].isnull().sum() == 6
    assert opened["status"].sel(query="type_3", label="type_0") == "absent"


def test_one_pair_of_a_response_comes_back(response):
    pair = response.sel(query="type_0", label="type_1")
    amici_xr.save(pair, "a.nc")
    xr.testing.assert_equal(amici_xr.open_dataset("a.nc"), pair)


def test_a_response_that_lost_its_attributes_is_known_by_its_variables(response):
    amici_xr.save(response.drop_attrs(), "a.nc")
    amici_xr.open_dataset("a.nc").cf.plot_pairs()


def test_a_response_replaces_another_file_of_ours(response, ds):
    amici_xr.save(ds, "a.nc")
    amici_xr.save(response, "a.nc")
    assert "q_value" in amici_xr.open_dataset("a.nc")


@pytest.mark.parametrize(
    "ask",
    [
        lambda ds: ds.cf.bootstrap(0.1),
        lambda ds: ds.cf.support([0.1, 0.5]),
        lambda ds: ds.cf.curve_summary([0, 5]),
        lambda ds: ds.cf.atlas(0.1),
        lambda ds: ds.cf.length_scale(0.1).to_dataset(),
        lambda ds: ds.cf.attention().to_dataset(),
    ],
)
@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".zarr.zip"])
def test_an_answer_about_scores_comes_back(ds, ask, suffix):
    if suffix != ".nc":
        pytest.importorskip("zarr")  # an extra
    answer = ask(ds)
    amici_xr.save(answer, f"a{suffix}")
    opened = amici_xr.open_dataset(f"a{suffix}")
    xr.testing.assert_identical(opened, answer.assign_attrs(schema_version=1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda ds: ds.drop_vars("status"), "missing: 'status'; keep them, or remove"),
        (lambda ds: ds.assign(q_value=2 * ds.q_value / ds.q_value), "q_value holds values outside"),
        (lambda ds: ds.assign(gene_p_value=-ds.gene_p_value), "gene_p_value holds values outside"),
        (lambda ds: ds.assign(status=ds.status.str.upper()), "status holds 'ABSENT'"),
        (lambda ds: ds.isel(gene=[0, 0]), "gene holds 'gene_0' more than once; keep one"),
        (lambda ds: ds.assign(radius=ds.radius.mean("label")), "radius has dims .'query',., not"),
        (lambda ds: ds.assign(n_within=ds.n_within / 2), "n_within has dtype float64, not int64"),
        (lambda ds: ds.assign_attrs(schema_version=99), "schema_version 99 is newer than 1"),
    ],
)
def test_a_spoiled_response_is_refused_wherever_it_comes_in(response, spoil, message):
    bad = spoil(response)
    for refuse in (amici_xr.validate, lambda ds: amici_xr.save(ds, "a.nc"), amici_xr.plot_pairs):
        with pytest.raises(amici_xr.SchemaError, match=message):
            refuse(bad)
    bad.to_netcdf("b.nc")
    with pytest.raises(amici_xr.SchemaError, match=message):
        amici_xr.open_dataset("b.nc")


def test_an_answer_of_a_newer_version_is_refused(ds):
    ds.cf.bootstrap(0.1).assign_attrs(schema_version=99).to_netcdf("a.nc")
    with pytest.raises(amici_xr.SchemaError, match="schema_version 99 is newer than 1"):
        amici_xr.open_dataset("a.nc")


def test_a_kind_that_this_version_does_not_know_is_refused(response):
    newer = response.assign_attrs(dataset_kind="refit")
    for refuse in (amici_xr.validate, lambda ds: amici_xr.save(ds, "a.nc")):
        with pytest.raises(amici_xr.SchemaError, match="dataset_kind is 'refit', while this"):
            refuse(newer)
    with pytest.raises(amici_xr.SchemaError, match="response is not a distance response but"):
        amici_xr.plot_pairs(newer)
    assert "dataset_kind is 'refit'" in repr(newer.amici)


def test_what_is_of_no_kind_is_refused():
    with pytest.raises(amici_xr.SchemaError, match="missing: 'base_attention_score'"):
        amici_xr.save(xr.Dataset({"a": ("x", np.arange(3))}), "a.nc")
    with pytest.raises(TypeError, match=r"response must be an xarray\.Dataset, not list"):
        amici_xr.plot_pairs([])
