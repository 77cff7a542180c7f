"""What goes wrong with a file at rest, and what is odd but right: an error, or the same Dataset."""

import concurrent.futures
import contextlib
import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import amici_xr

HAS_ZARR = importlib.util.find_spec("zarr") is not None
needs_zarr = pytest.mark.skipif(not HAS_ZARR, reason="zarr is not installed")
ZARR_SUFFIXES = [pytest.param(suffix, marks=needs_zarr) for suffix in (".zarr", ".zarr.zip")]
SUFFIXES = [".nc", *ZARR_SUFFIXES]
FILES = [".nc", pytest.param(".zarr.zip", marks=needs_zarr)]
ODD_LABELS = ["CD8⁺ T/αβ", "", "NA", "nan", " ", "ლეიკოციტი", "類" * 256, "e\u0301", "🙂", "a\nb"]
# zarr's own warnings about its own format, in plain to_zarr
plain_zarr = pytest.mark.filterwarnings("ignore::UserWarning:zarr", "ignore::FutureWarning")
# h5netcdf's own, when a file that it could not open is collected
h5netcdf_leftovers = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def ds():
    return amici_xr.testing.simulate_dataset(n_cells=80, unit="µm")


@h5netcdf_leftovers
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_flipped_bit_is_noticed_or_harmless(ds, suffix, record_property):
    amici_xr.save(ds, f"a{suffix}")
    files = [
        path for path in [Path(f"a{suffix}"), *Path(f"a{suffix}").rglob("*")] if path.is_file()
    ]
    rng = np.random.default_rng(0)
    messages = []
    for _ in range(15):
        path = files[rng.integers(len(files))]
        whole = path.read_bytes()
        if not whole:
            continue
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            xr.testing.assert_identical(amici_xr.open_dataset(f"a{suffix}"), ds)
        except ValueError as error:
            messages.append(str(error))
        path.write_bytes(whole)
    record_property("flipped bits of files, noticed", len(messages))
    assert len(messages) > 3
    assert all(message.startswith(f"path='a{suffix}' ") for message in messages)


@h5netcdf_leftovers
@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize("content", ["empty", "8 bytes", "text", "first half", "all but the end"])
def test_a_file_that_is_none_or_is_cut_short_is_named(ds, suffix, content, chunks):
    amici_xr.save(ds, f"a{suffix}")
    whole = Path(f"a{suffix}").read_bytes()
    contents = {
        "empty": b"",
        "8 bytes": whole[:8],
        "text": b"neighbor,head\n0,0\n",
        "first half": whole[: len(whole) // 2],
        "all but the end": whole[:-10],
    }
    Path(f"a{suffix}").write_bytes(contents[content])
    message = rf"path='a{suffix}' can't be read as \{suffix}: .*; is it complete\?"
    with pytest.raises(ValueError, match=rf"(?s){message}"):
        amici_xr.open_dataset(f"a{suffix}", chunks=chunks)


@needs_zarr
@pytest.mark.parametrize("content", ["empty folder", "text"])
def test_a_zarr_store_that_is_none_is_named(content):
    if content == "empty folder":
        Path("a.zarr").mkdir()
    else:
        Path("a.zarr").write_text("text")
    with pytest.raises(ValueError, match=r"path='a\.zarr' can't be read as \.zarr"):
        amici_xr.open_dataset("a.zarr")


@needs_zarr
@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize("name", ["base_attention_score", "label", "dummy_attention_score"])
def test_a_missing_chunk_of_a_zarr_store_is_noticed(ds, name, chunks):
    amici_xr.save(ds, "a.zarr")
    chunk = next(path for path in Path("a.zarr", name).iterdir() if path.name[0].isdigit())
    chunk.unlink()
    with pytest.raises(ValueError, match=rf"path='a\.zarr' is damaged: '{name}/"):
        amici_xr.open_dataset("a.zarr", chunks=chunks)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_eight_threads_read_the_same(ds, suffix):
    amici_xr.save(ds, f"a{suffix}")
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        read = list(threads.map(lambda _: amici_xr.open_dataset(f"a{suffix}"), range(16)))
    assert all(one.identical(ds) for one in read)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_eight_threads_read_one_lazy_dataset_alike(ds, suffix):
    amici_xr.save(ds, f"a{suffix}")
    with (
        amici_xr.open_dataset(f"a{suffix}", chunks={}) as opened,
        concurrent.futures.ThreadPoolExecutor(8) as threads,
    ):
        lazy = opened.chunk(neighbor=10)
        read = list(threads.map(lambda _: lazy.compute(), range(16)))
    assert all(one.identical(ds) for one in read)


@plain_zarr
@pytest.mark.parametrize("suffix", [".nc", pytest.param(".zarr", marks=needs_zarr)])
@pytest.mark.parametrize("chunks", [None, {}])
def test_a_file_of_a_newer_schema_asks_for_an_upgrade(ds, suffix, chunks):
    newer = ds.assign_attrs(schema_version=99)
    newer.to_netcdf("a.nc") if suffix == ".nc" else newer.to_zarr("a.zarr", zarr_format=2)
    with pytest.raises(amici_xr.SchemaError, match=r"(?s)path='a.*schema_version 99 is newer.*pip"):
        amici_xr.open_dataset(f"a{suffix}", chunks=chunks)
    with pytest.raises(amici_xr.SchemaError, match="schema_version 99 is newer"):
        amici_xr.save(newer, f"b{suffix}")
    assert not Path(f"b{suffix}").exists()


@plain_zarr
@pytest.mark.parametrize("suffix", [".nc", pytest.param(".zarr", marks=needs_zarr)])
@pytest.mark.parametrize("chunks", [None, {}])
def test_a_foreign_file_is_named(suffix, chunks):
    foreign = xr.Dataset({"temperature": (("time", "x"), np.zeros((2, 3)))})
    foreign.to_netcdf("a.nc") if suffix == ".nc" else foreign.to_zarr("a.zarr", zarr_format=2)
    with pytest.raises(amici_xr.SchemaError, match=r"(?s)path='a.*missing: 'base_attention_score'"):
        amici_xr.open_dataset(f"a{suffix}", chunks=chunks)


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_a_missing_label_in_a_file_of_others_is_named(ds, engine):
    label = ds["label"].values.astype(object)
    label[3] = np.nan
    text = ds.assign_coords(label=("neighbor", np.where(label == label, label, "")))
    text.to_netcdf("a.nc", engine=engine)  # what pandas leaves out becomes an empty string there
    with pytest.raises(amici_xr.SchemaError, match="label holds '', not in cell_type"):
        amici_xr.open_dataset("a.nc")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_labels_in_any_script_come_back(suffix):
    odd = amici_xr.testing.simulate_dataset(ODD_LABELS[0], cell_types=ODD_LABELS, n_cells=120)
    assert set(odd["label"].values) == set(ODD_LABELS[1:])
    amici_xr.save(odd, f"a{suffix}")
    opened = amici_xr.open_dataset(f"a{suffix}")
    xr.testing.assert_identical(opened, odd)
    xr.testing.assert_identical(opened.amici.support(0.1), odd.amici.support(0.1))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("count", [0, 1])
def test_no_neighbor_and_one_neighbor_come_back_and_are_answered(ds, suffix, count):
    few = ds.isel(neighbor=slice(count))
    amici_xr.save(few, f"a{suffix}")
    opened = amici_xr.open_dataset(f"a{suffix}")
    xr.testing.assert_identical(opened, few)
    assert (opened.amici.support(0.1)["n_neighbors"].sum("label") == count).all()
    assert opened.amici.length_scale(0.1).shape == (count, few.sizes["head"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_neighborhoods_of_fewer_cells_than_ranks_come_back(suffix):
    sparse = amici_xr.testing.simulate_dataset(n_cells=6, n_neighbors=8, seed=3)
    assert (sparse["neighborhood_index"] < 0).any()
    amici_xr.save(sparse, f"a{suffix}")
    opened = amici_xr.open_dataset(f"a{suffix}")
    xr.testing.assert_identical(opened, sparse)
    assert (opened["neighborhood_index"] < 0).equals(opened["neighborhood_distance"].isnull())


@needs_zarr
def test_a_store_that_was_copied_in_part_is_noticed(ds):
    amici_xr.save(ds, "a.zarr")
    opened = set()
    for name in sorted(os.listdir("a.zarr")):
        shutil.copytree("a.zarr", "b.zarr")
        part = Path("b.zarr", name)
        shutil.rmtree(part) if part.is_dir() else part.unlink()
        with contextlib.suppress(ValueError):
            xr.testing.assert_identical(amici_xr.open_dataset("b.zarr"), ds)
            opened.add(name)
        shutil.rmtree("b.zarr")
    assert opened <= {"SHA256SUMS"}  # without which it is as plain xarray writes it
