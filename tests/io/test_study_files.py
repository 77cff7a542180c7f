"""Files of a study: every group comes back as it was, and a file is whole or refused."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray as xr
from responses import simulate_response

import amici_xr

HAS_ZARR = importlib.util.find_spec("zarr") is not None
needs_zarr = pytest.mark.skipif(not HAS_ZARR, reason="zarr is not installed")
SUFFIXES = [".nc", *(pytest.param(name, marks=needs_zarr) for name in (".zarr", ".zarr.zip"))]


def simulate_study():
    """Make a study with a group of every kind, one of them within another group."""
    ds = amici_xr.testing.simulate_dataset("A", n_cells=40, unit="µm")
    names = list("ABCD")
    response = simulate_response(4).assign_coords(query=names, label=names)
    status = ("query", "label"), np.full((4, 4), "tested")
    refits = xr.Dataset({"q_value": response["q_value"], "status": status})
    groups = {
        "scores": ds,
        "response": response,  # whose variables include one of that name
        "refits": refits.assign_attrs(dataset_kind="sender_refits"),
        "contrasts/reach": ds.cf.bootstrap(0.1),
    }
    return xr.DataTree.from_dict(groups)


@pytest.fixture(scope="module")
def study():
    return simulate_study()


def leaves(study):
    return {node.path: node.to_dataset() for node in study.leaves}


def assert_same(opened, study):
    """Each group has the same variables, values, attributes and kinds of values."""
    assert leaves(opened).keys() == leaves(study).keys()
    for path, ds in leaves(study).items():
        again = leaves(opened)[path]
        xr.testing.assert_identical(again, ds.assign_attrs(schema_version=1))
        kinds = {name: variable.dtype.kind for name, variable in ds.variables.items()}
        assert {name: each.dtype.kind for name, each in again.variables.items()} == kinds


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("chunks", [None, {}])
def test_a_study_comes_back_group_by_group(study, suffix, chunks):
    amici_xr.save(study, f"study{suffix}")
    with amici_xr.open_study(f"study{suffix}", chunks) as opened:
        assert_same(opened, study)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_attributes_of_the_study_come_back(study, suffix):
    noted = study.copy()
    noted.attrs = {"title": "Two mice", "year": 2026}
    amici_xr.save(noted, f"study{suffix}")
    attributes = amici_xr.open_study(f"study{suffix}").attrs
    assert attributes == {
        "schema_version": 1,
        "title": "Two mice",
        "year": 2026,
        "dataset_kind": "study",
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_attributes_of_groups_that_hold_groups_alone_come_back(study, suffix):
    noted = study.copy()
    noted["contrasts"].attrs = {"note": "at threshold 0.1"}
    amici_xr.save(noted, f"study{suffix}")
    opened = amici_xr.open_study(f"study{suffix}")
    assert opened["contrasts"].attrs == {"note": "at threshold 0.1"}
    assert set(opened.children) == set(study.children)


@pytest.mark.parametrize("group", ["scores", "contrasts", "contrasts/reach"])
def test_a_group_with_attributes_that_no_file_can_hold_is_named(study, group):
    noted = study.copy()
    noted[group].attrs["animals"] = [1, 2]
    with pytest.raises(amici_xr.SchemaError, match=f"group '{group}': what a file can't hold"):
        amici_xr.save(noted, "study.nc")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_chunks_leave_every_group_lazy(study, suffix):
    amici_xr.save(study, f"study{suffix}")
    with amici_xr.open_study(f"study{suffix}", chunks={}) as opened:
        for name, variable in (("scores", "base_attention_score"), ("response", "effect")):
            assert opened[name][variable].chunks is not None
        assert opened["scores"]["label"].chunks is None  # as groupby asks


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_lazy_groups_are_streamed_into_the_file(study, suffix):
    lazy = xr.DataTree.from_dict({path: ds.chunk() for path, ds in leaves(study).items()})
    amici_xr.save(lazy, f"study{suffix}")
    assert_same(amici_xr.open_study(f"study{suffix}"), study)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_without_chunks_the_file_is_no_longer_needed(study, suffix):
    amici_xr.save(study, f"study{suffix}")
    opened = amici_xr.open_study(f"study{suffix}")
    amici_xr.save(xr.DataTree.from_dict({"scores": study["scores"]}), f"study{suffix}")
    assert_same(opened, study)


@pytest.mark.parametrize("suffix", [".nc", pytest.param(".zarr", marks=needs_zarr)])
# plain zarr does not know our list of checksums
@pytest.mark.filterwarnings("ignore:Object at SHA256SUMS is not recognized")
def test_plain_xarray_opens_a_study_and_our_methods_answer(study, suffix):
    amici_xr.save(study, f"study{suffix}")
    with xr.open_datatree(f"study{suffix}") as opened:
        reach = opened["scores"].to_dataset().cf.length_scale(0.1)
        xr.testing.assert_identical(reach, study["scores"].to_dataset().cf.length_scale(0.1))


@pytest.mark.parametrize("write", [xr.DataTree.to_netcdf, xr.DataTree.to_zarr])
# zarr's own warnings about its own format
@pytest.mark.filterwarnings("ignore::UserWarning:zarr", "ignore::FutureWarning")
def test_a_study_of_plain_xarray_is_opened(study, write):
    if write is xr.DataTree.to_zarr:
        pytest.importorskip("zarr")  # an extra
    path = "study.nc" if write is xr.DataTree.to_netcdf else "study.zarr"
    with_version = {path: ds.assign_attrs(schema_version=1) for path, ds in leaves(study).items()}
    write(xr.DataTree.from_dict(with_version), path)
    assert_same(amici_xr.open_study(path), study)


def test_a_study_opens_and_answers_without_torch_and_anndata(study):
    amici_xr.save(study, "study.nc")
    code = (
        "import sys, amici_xr; study = amici_xr.open_study('study.nc'); str(study.cf.summary(0.5));"
        "print(sorted({'torch', 'anndata', 'spatialdata'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


# What opens what


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_open_dataset_names_open_study_and_the_reverse(study, suffix):
    amici_xr.save(study, f"study{suffix}")
    message = r"is a study with the groups .*'scores'.*; open it with amici_xr\.open_study\(path\)"
    with pytest.raises(ValueError, match=rf"^path='study\{suffix}' {message}"):
        amici_xr.open_dataset(f"study{suffix}")
    amici_xr.save(study["scores"].to_dataset(), f"a{suffix}")
    message = r"is a single Dataset and not a study; open it with amici_xr\.open_dataset\(path\)"
    with pytest.raises(ValueError, match=rf"^path='a\{suffix}' {message}"):
        amici_xr.open_study(f"a{suffix}")


def test_an_older_netcdf_is_no_study():
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf("a.nc", engine="scipy")
    with pytest.raises(ValueError, match="is a single Dataset and not a study"):
        amici_xr.open_study("a.nc")


def test_a_path_with_nothing_there_is_named():
    with pytest.raises(FileNotFoundError, match=r"path='study\.nc': there is no such file"):
        amici_xr.open_study("study.nc")


# What is refused


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "it has no groups; make one, e.g. xarray.DataTree.from_dict"),
        ({"/": "scores"}, "its root holds 'base_attention_score', .*; put each Dataset into a"),
        ({"a": "scores", "a/b": "scores"}, "group 'a' holds both variables and the groups 'b'"),
        ({"a": "scores", "b": "empty"}, "group 'b' holds no variables; leave it out"),
        ({"a": "scores", "b": "other"}, "group 'b' is not a Dataset of count.*  - missing: 'b"),
        ({"b": "spoiled"}, "group 'b' is not a .*  - q_value holds values outside"),
        ({"b": "newer"}, "dataset_kind is 'map', while this version of amici_xr knows"),
    ],
)
def test_what_is_not_a_study_is_refused_and_the_old_file_stays(study, tmp_path, groups, message):
    response = study["response"].to_dataset()
    datasets = {
        "scores": study["scores"].to_dataset(),
        "empty": xr.Dataset(),
        "other": xr.Dataset({"a": ("x", np.arange(3))}),
        "spoiled": response.assign(q_value=response["q_value"] + 2),
        "newer": response.assign_attrs(dataset_kind="map"),
    }
    wrong = xr.DataTree.from_dict({path: datasets[name] for path, name in groups.items()})
    amici_xr.save(study, "study.nc")
    before = Path("study.nc").read_bytes()
    with pytest.raises(amici_xr.SchemaError, match=f"(?s)^not a study:.*{message}"):
        amici_xr.save(wrong, "study.nc")
    assert Path("study.nc").read_bytes() == before
    if {"/", "a/b"} & groups.keys() or not groups:
        return
    wrong.to_netcdf("wrong.nc")
    refused = f"(?s)^path='wrong.nc' is not a study:.*{message}"
    with pytest.raises(amici_xr.SchemaError, match=refused):
        amici_xr.open_study("wrong.nc")


def test_a_study_of_a_newer_version_is_refused(study):
    newer = study.copy()
    newer.attrs["schema_version"] = 99
    with pytest.raises(amici_xr.SchemaError, match="not a study:\n- schema_version 99 is newer"):
        amici_xr.save(newer, "study.nc")


def test_an_attribute_of_a_group_that_a_file_can_not_hold_is_refused(study):
    bad = study.copy()
    bad.attrs["note"] = None
    with pytest.raises(amici_xr.SchemaError, match=r"attrs\['note'\] is None"):
        amici_xr.save(bad, "study.nc")
    bad = study.copy()
    bad["refits"].attrs["note"] = {"a": 1}
    with pytest.raises(amici_xr.SchemaError, match=r"attrs\['note'\] is {'a': 1}"):
        amici_xr.save(bad, "study.nc")


# What goes wrong with a file


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_save_that_fails_half_way_leaves_the_old_study(study, suffix, tmp_path):
    def fail(block):
        raise RuntimeError("the network is down")

    amici_xr.save(study, f"study{suffix}")
    scores = study["scores"].to_dataset()
    lazy = dask.array.from_array(scores["base_attention_score"].values, chunks=-1)
    failing = lazy.map_blocks(fail, dtype=np.float32, meta=np.empty((0, 0), np.float32))
    scores["base_attention_score"] = scores["base_attention_score"].copy(data=failing)
    groups = {path: ds for path, ds in leaves(study).items() if path != "/scores"}
    with pytest.raises(RuntimeError, match="the network is down"):
        amici_xr.save(xr.DataTree.from_dict({**groups, "scores": scores}), f"study{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"study{suffix}"]
    assert_same(amici_xr.open_study(f"study{suffix}"), study)


@pytest.mark.parametrize("chunks", [None, {}])
def test_a_flipped_bit_in_any_group_of_netcdf_is_noticed(study, chunks):
    amici_xr.save(study, "study.nc")
    whole = Path("study.nc").read_bytes()
    for position in np.random.default_rng(0).integers(0, len(whole) - 9000, 30):
        damaged = bytearray(whole)
        damaged[position] ^= 16
        Path("study.nc").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"path='study\.nc' is damaged: its SHA-256 is not"):
            amici_xr.open_study("study.nc", chunks)


@needs_zarr
def test_damage_to_any_group_of_zarr_is_noticed(study):
    amici_xr.save(study, "study.zarr")
    for file in ("scores/base_attention_score/0.0", "refits/q_value/0.0"):
        chunk = Path("study.zarr", file)
        whole = chunk.read_bytes()
        chunk.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        with pytest.raises(ValueError, match=r"path='study\.zarr' can't be read as \.zarr"):
            amici_xr.open_study("study.zarr")
        chunk.unlink()
        with pytest.raises(ValueError, match=rf"is damaged: '{file}' are missing or differ"):
            amici_xr.open_study("study.zarr", {})
        chunk.write_bytes(whole)
    attributes = Path("study.zarr", "response", ".zattrs")
    attributes.write_text(json.dumps({"dataset_kind": "scores"}))
    with pytest.raises(ValueError, match=r"is damaged: 'response/\.zattrs' are missing or differ"):
        amici_xr.open_study("study.zarr")


# What is replaced


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_study_replaces_a_study_or_a_dataset_and_the_reverse(study, suffix):
    scores = study["scores"].to_dataset()
    for data in (scores, study, study, scores):
        amici_xr.save(data, f"a{suffix}")
    xr.testing.assert_identical(amici_xr.open_dataset(f"a{suffix}"), scores)


def test_a_study_of_plain_xarray_that_says_so_is_replaced(study):
    declared = study.copy()
    declared.attrs["dataset_kind"] = "study"
    declared.to_netcdf("a.nc")
    amici_xr.save(study, "a.nc")
    assert_same(amici_xr.open_study("a.nc"), study)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_groups_of_another_program_are_not_replaced(study, suffix):
    foreign = xr.DataTree.from_dict({"obs": xr.Dataset({"query": ("cell", [1]), "label": 1})})
    if suffix == ".nc":
        foreign.to_netcdf("a.nc")
    else:
        foreign.to_zarr("a.zarr", zarr_format=2)
        shutil.make_archive("a.zarr", "zip", "a.zarr")
    with pytest.raises(
        ValueError, match="an answer about them nor a study that it saved, so it is not replaced"
    ):
        amici_xr.save(study, f"a{suffix}")


@needs_zarr
@pytest.mark.parametrize("groups", [("obs", "var", "obsm"), ("shapes", "tables")])
@pytest.mark.parametrize("open_file", [amici_xr.open_dataset, amici_xr.open_study])
# zarr's own warnings about its own format
@pytest.mark.filterwarnings("ignore::UserWarning:zarr", "ignore::FutureWarning")
def test_a_tissue_is_told_from_a_study(groups, open_file):
    import zarr

    root = zarr.open_group("tissue.zarr", mode="w")
    for name in groups:
        root.create_group(name)
    with pytest.raises(ValueError, match="is a tissue, an AnnData or SpatialData"):
        open_file("tissue.zarr")
