"""Files that could make their reader open other files, or run code, are refused before that."""

import importlib.util
import json
import os
import pickle
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

import amici_xr

HAS_ZARR = importlib.util.find_spec("zarr") is not None
needs_zarr = pytest.mark.skipif(not HAS_ZARR, reason="zarr is not installed")
# zarr's own warnings about its own format, in plain to_zarr
plain_zarr = pytest.mark.filterwarnings("ignore::UserWarning:zarr", "ignore::FutureWarning")


@pytest.fixture
def ds():
    return amici_xr.testing.simulate_dataset(n_cells=80, unit="µm")


def add_external_storage(file, count):
    Path("secret.txt").write_bytes(b"a secret of the reader" * 50)
    file.create_dataset("note", (count,), "u1", external=[("secret.txt", 0, count)])


def add_virtual_dataset(file, count):
    layout = h5py.VirtualLayout((count,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (count,))
    file.create_virtual_dataset("note", layout)


def add_external_link(file, count):
    file["note"] = h5py.ExternalLink("other.h5", "secret")


def add_soft_link(file, count):
    file["note"] = h5py.SoftLink("/neighbor_x")


def add_external_link_in_a_group(file, count):
    file.create_group("inner")["note"] = h5py.ExternalLink("other.h5", "secret")


@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize(
    ("add", "kind"),
    [
        (add_external_storage, "'note' is kept in external storage"),
        (add_virtual_dataset, "'note' is a virtual dataset"),
        (add_external_link, "'note' is an external link"),
        (add_soft_link, "'note' is a soft link"),
        (add_external_link_in_a_group, "'inner/note' is an external link"),
    ],
)
def test_a_netcdf_whose_values_lie_elsewhere_is_refused(ds, add, kind, chunks):
    count = ds.sizes["neighbor"]
    with h5py.File("other.h5", "w") as other:
        other["secret"] = np.arange(float(count))
    ds.to_netcdf("a.nc")
    with h5py.File("a.nc", "r+") as file:
        add(file, count)
    with pytest.raises(ValueError, match=rf"^path='a\.nc' is refused: its {kind}, by which"):
        amici_xr.open_dataset("a.nc", chunks=chunks)


class TouchesAFile:
    """What pickle would make of it: a new file."""

    def __reduce__(self):
        return Path.touch, (Path("code_ran"),)


def put_pickles(store, name):
    for chunk in Path(store, name).iterdir():
        if not chunk.name.startswith("."):
            chunk.write_bytes(pickle.dumps(TouchesAFile()))


def change_description(store, name, **changes):
    for path, key in ((Path(store, name, ".zarray"), None), (Path(store, ".zmetadata"), name)):
        content = json.loads(path.read_text())
        (content["metadata"][f"{key}/.zarray"] if key else content).update(changes)
        path.write_text(json.dumps(content))


PICKLE = {"id": "pickle", "protocol": 5}
TEXT = {"dtype": "|O", "fill_value": ""}


@needs_zarr
@plain_zarr
@pytest.mark.parametrize("suffix", [".zarr", ".zarr.zip"])
@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("base_attention_score", {"filters": [PICKLE], "compressor": None}),
        ("base_attention_score", {"filters": None, "compressor": PICKLE}),
        ("label", {"filters": [{"id": "vlen-utf8"}, PICKLE], "compressor": None} | TEXT),
        ("cell_type", {"filters": [{"id": "vlen-utf8"}], "compressor": PICKLE} | TEXT),
        ("head", {"filters": [PICKLE], "compressor": None}),
    ],
)
def test_a_store_whose_codec_runs_code_is_refused(ds, suffix, chunks, name, changes):
    import shutil

    ds.to_zarr("a.zarr", zarr_format=2)
    change_description("a.zarr", name, **changes)
    put_pickles("a.zarr", name)
    if suffix == ".zarr.zip":
        shutil.make_archive("a.zarr", "zip", "a.zarr")
    message = rf"^path='a{suffix}' is refused: its '.*' names the codec 'pickle', and some codecs"
    with pytest.raises(ValueError, match=message):
        amici_xr.open_dataset(f"a{suffix}", chunks=chunks)
    assert not Path("code_ran").exists()


@needs_zarr
@pytest.mark.parametrize("where", [".zmetadata", "label/.zarray"])
def test_a_codec_is_found_where_only_one_description_names_it(ds, where):
    amici_xr.save(ds, "a.zarr")
    Path("a.zarr/SHA256SUMS").unlink()
    content = json.loads(Path("a.zarr", where).read_text())
    array = content["metadata"]["label/.zarray"] if where == ".zmetadata" else content
    array["filters"].append(PICKLE)
    Path("a.zarr", where).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"its '{where}' names the codec 'pickle'"):
        amici_xr.open_dataset("a.zarr")


@needs_zarr
@plain_zarr
def test_a_codec_of_zarr_format_3_is_found_within_another(ds):
    pytest.importorskip("zarr", minversion="3")
    ds.to_zarr("a.zarr", zarr_format=3)
    xr.testing.assert_identical(amici_xr.open_dataset("a.zarr"), ds)
    path = Path("a.zarr/base_attention_score/zarr.json")
    content = json.loads(path.read_text())
    inner = {"codecs": [{"name": "numcodecs.pickle"}], "index_codecs": ["bytes"]}
    content["codecs"] = [{"name": "sharding_indexed", "configuration": inner}]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="names the codec 'pickle', and some codecs run what a"):
        amici_xr.open_dataset("a.zarr")


@needs_zarr
def test_a_store_with_a_symbolic_link_is_refused(ds):
    amici_xr.save(ds, "a.zarr")
    chunk = Path("a.zarr/neighbor_x/0")
    chunk.rename("elsewhere")
    chunk.symlink_to(Path("elsewhere").absolute())
    with pytest.raises(ValueError, match=r"is refused: its 'neighbor_x/0' are symbolic links, by"):
        amici_xr.open_dataset("a.zarr")


@pytest.mark.slow
@pytest.mark.parametrize(
    "suffix",
    [".nc", *(pytest.param(one, marks=needs_zarr) for one in (".zarr", ".zarr.zip"))],
)
def test_a_reader_beside_a_writer_always_finds_a_whole_file(ds, suffix):
    path, versions = f"a{suffix}", [ds, ds.isel(head=[0])]
    amici_xr.save(ds, path)
    stop = threading.Event()

    def keep_replacing():
        """As another process does, but with files that are there already."""
        for number in range(1, 10_000):
            if stop.is_set():
                return
            amici_xr.save(versions[number % 2], path)

    writer = threading.Thread(target=keep_replacing)
    writer.start()
    try:
        for _ in range(30):
            opened = amici_xr.open_dataset(path)
            xr.testing.assert_identical(opened, versions[2 - opened.sizes["head"]])
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize(
    "suffix",
    [".nc", *(pytest.param(one, marks=needs_zarr) for one in (".zarr", ".zarr.zip"))],
)
def test_what_was_opened_before_and_after_a_file_was_replaced_is_told_apart(ds, suffix):
    amici_xr.save(ds, f"a{suffix}")
    old = amici_xr.open_dataset(f"a{suffix}", chunks={})
    changed = ds.assign(base_attention_score=ds["base_attention_score"] + 1)
    amici_xr.save(changed, f"a{suffix}")
    new = amici_xr.open_dataset(f"a{suffix}", chunks={})
    difference = new["base_attention_score"] - old["base_attention_score"]
    if suffix == ".zarr":  # a folder, whose chunks are found by their path
        with pytest.raises(ValueError, match="was replaced while it was open; open it again"):
            difference.compute()
    else:
        np.testing.assert_array_equal(
            difference, changed["base_attention_score"] - ds["base_attention_score"]
        )


@pytest.mark.parametrize("suffix", [".nc", pytest.param(".zarr.zip", marks=needs_zarr)])
def test_another_process_does_not_read_what_replaced_the_file_that_was_opened(ds, suffix):
    amici_xr.save(ds, f"a{suffix}")
    with amici_xr.open_dataset(f"a{suffix}", chunks={}) as opened:
        sent = pickle.dumps(opened)
        xr.testing.assert_identical(pickle.loads(sent).compute(), ds)
        os.utime(f"a{suffix}")  # another file, as far as anyone can tell
        with pytest.raises(ValueError, match="was replaced while it was open; open it again"):
            pickle.loads(sent).compute()
