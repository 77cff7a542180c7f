"""What goes wrong while a file is written: the old one stays, and an error says why."""

import contextlib
import datetime
import importlib.util
import os
import random
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from forking import forking_process

import amici_xr

HAS_ZARR = importlib.util.find_spec("zarr") is not None
needs_zarr = pytest.mark.skipif(not HAS_ZARR, reason="zarr is not installed")
ZARR_SUFFIXES = [pytest.param(suffix, marks=needs_zarr) for suffix in (".zarr", ".zarr.zip")]
SUFFIXES = [".nc", *ZARR_SUFFIXES]
KILLS = 20 if os.environ.get("AMICI_XR_LONG") == "1" else 3
NOBODY = 65534


def small_dataset():
    ds = amici_xr.testing.simulate_dataset(n_cells=80, unit="µm")
    return ds.assign_attrs(created="2026-01-01T00:00:00Z")


@pytest.fixture
def ds():
    return small_dataset()


@pytest.fixture(scope="module")
def process():
    with forking_process() as server:
        yield server


def contents(folder="."):
    """Every file in a folder, by name, with its bytes."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with one file of each kind."""
    folder = tmp_path_factory.mktemp("saved")
    for suffix in (".nc", ".zarr", ".zarr.zip") if HAS_ZARR else (".nc",):
        amici_xr.save(small_dataset(), folder / f"a{suffix}")
    return folder


@pytest.fixture(autouse=True)
def _old_files(saved, _own_folder):
    shutil.copytree(saved, ".", dirs_exist_ok=True)


def assert_refused(bad, suffix, message, error=amici_xr.SchemaError):
    """`bad` can't overwrite the old file, and the folder is as it was, to the byte."""
    before = contents()
    with pytest.raises(error, match=message):
        amici_xr.save(bad, f"a{suffix}")
    assert contents() == before


def with_attribute(ds, name, value):
    bad = ds.copy()
    bad["neighbor_x"].attrs[name] = value
    return bad


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "value",
    [
        True,
        np.True_,
        None,
        {"a": 1},
        pd.Timestamp("2026-01-01"),
        datetime.datetime(2026, 1, 1),
        np.datetime64("2026-01-01"),
        "a\0b",
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_an_attribute_that_a_file_can_not_hold_leaves_the_old_file(ds, suffix, value):
    bad = with_attribute(ds, "note", value)
    assert_refused(bad, suffix, r"neighbor_x\.attrs\['note'\] is ")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "name",
    ["_FillValue", "scale_factor", "add_offset", "missing_value", "coordinates", "dtype", "CLASS"],
)
def test_an_attribute_with_a_name_that_files_use_leaves_the_old_file(ds, suffix, name):
    message = rf"neighbor_x\.attrs has the name '{name}', which files use themselves; rename it"
    assert_refused(with_attribute(ds, name, 2.0), suffix, message)
    with pytest.raises(amici_xr.SchemaError, match=rf"- attrs has the name '{name}'"):
        amici_xr.save(ds.assign_attrs({name: 2.0}), f"a{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_units_that_would_make_dates_of_numbers_leave_the_old_file(ds, suffix):
    bad = with_attribute(ds, "units", "days since 2000-01-01")
    assert_refused(bad, suffix, r"\['units'\] is 'days since 2000-01-01', by which files mark")


def values_that_no_file_holds(n):
    return {
        "categorical": (pd.Categorical(["a"] * n), "has dtype category; cast it"),
        "mixed objects": (
            np.array([1, "b"] + [None] * (n - 2), dtype=object),
            "holds objects that are no strings; cast it",
        ),
        "nullable integer": (pd.array([1, None] * n, dtype="Int64")[:n], "has dtype Int64; cast"),
        "nullable bool": (pd.array([True, None] * n, dtype="boolean")[:n], "has dtype boolean"),
        "nullable string": (
            pd.array(["a", None] * n, dtype="string")[:n],
            "(holds objects that are no strings|has dtype string); cast it",
        ),
        "string with NUL": (np.array(["a\0b"] * n), "which has NUL or half a character in it"),
        "half a character": (np.array(["a\udce4"] * n), "which has NUL or half a character in it"),
        "NUL in the last": (np.array(["longer", ""] * n + ["a\0b"])[-n:], r"'a\\x00b', which"),
        "half a character, big-endian": (
            np.array([""] * (n - 1) + ["\ud800"]).astype(">U9"),
            "which has NUL or half a character in it",
        ),
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", values_that_no_file_holds(2))
def test_a_variable_that_a_file_can_not_hold_leaves_the_old_file(ds, suffix, kind):
    values, message = values_that_no_file_holds(ds.sizes["neighbor"])[kind]
    bad = ds.assign_coords(note=("neighbor", values))
    assert_refused(bad, suffix, f"- note .*{message}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_variable_named_with_a_slash_leaves_the_old_file(ds, suffix):
    assert_refused(ds.assign({"a/b": 1}), suffix, "a variable has the name 'a/b'; names must")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_dask_failing_in_the_middle_leaves_the_old_file(ds, suffix):
    def fail_in_the_last_block(block, block_id=None):
        if block_id[0] > 2:
            raise RuntimeError("the worker is gone")
        return block

    lazy = ds.chunk(neighbor=10)
    scores = lazy["base_attention_score"]
    meta = np.empty((0, 0), "f4")
    failing = scores.data.map_blocks(fail_in_the_last_block, dtype="f4", meta=meta)
    lazy["base_attention_score"] = scores.copy(data=failing)
    assert scores.data.numblocks[0] > 3
    assert_refused(lazy, suffix, "the worker is gone", RuntimeError)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("chunks", [None, {"neighbor": 20}])
def test_scores_that_are_not_finite_leave_the_old_file(ds, value, chunks):
    bad = ds.copy(deep=True)
    bad["base_attention_score"][3, 0] = value
    bad = bad if chunks is None else bad.chunk(chunks)
    assert_refused(bad, ".nc", "base_attention_score: 1 value is not finite; extract the")


def test_a_neighbor_that_is_there_twice_leaves_the_old_file(ds):
    bad = ds.isel(neighbor=[0, 1, 1])
    message = r"neighbor holds \d+ more than once; two tissues\? .*concat_samples"
    assert_refused(bad, ".nc", message)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_missing_label_among_strings_leaves_the_old_file(ds, missing):
    label = ds["label"].values.astype(object)
    label[3] = missing
    bad = ds.assign_coords(label=("neighbor", label))
    assert_refused(bad, ".nc", r"label holds values that are not strings \(missing ones\?\)")


def test_a_label_of_ten_thousand_characters_leaves_the_old_file(ds):
    long = "類" * 10_000
    bad = ds.assign_coords(
        {
            name: ds[name].astype(object).where(ds[name] != "B", long)
            for name in ("label", "receiver_label", "cell_type")
        }
    )
    assert_refused(bad, ".nc", "label holds a string of 10000 characters, over 256; shorten it")


SAVE_BOTH = """
ds = amici_xr.open_dataset("a{suffix}")
amici_xr.save(ds, "a{suffix}")
print("ready", flush=True)
while True:
    for part in (ds.isel(head=[0]), ds):
        amici_xr.save(part, "a{suffix}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_process_killed_while_it_saves_leaves_a_whole_file(
    process, ds, tmp_path, suffix, record_property
):
    rng = random.Random(0)
    interrupted = 0
    for killed in range(1, 51):
        code = SAVE_BOTH.format(suffix=suffix)
        assert process.run(code, kill_after=rng.uniform(0, 0.5)) == ""  # no error of its own
        found = amici_xr.open_dataset(f"a{suffix}")
        xr.testing.assert_identical(found, ds if found.sizes["head"] == 2 else ds.isel(head=[0]))
        interrupted += any(path.name.endswith(".partial") for path in tmp_path.iterdir())
        if killed >= KILLS and interrupted:
            break
    assert interrupted  # at least one in the middle
    record_property("processes killed while they save", killed)


SAVE_ANOTHER = """
try:
    amici_xr.save(amici_xr.testing.simulate_dataset(n_cells=60), "a{suffix}")
except OSError as error:
    print(f"{{type(error).__name__}}: {{error}}")
else:
    print("saved")
"""

FILL_THE_DISK = """
descriptor = os.open("filling", os.O_CREAT | os.O_WRONLY)
with contextlib.suppress(OSError):
    while True:
        os.write(descriptor, bytes(1024))
os.close(descriptor)
os.truncate("filling", os.path.getsize("filling") - {left})
"""


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("left", [0, 8192])  # full at once, and in the middle
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_old_file(process, ds, small_disk, suffix, left):
    amici_xr.save(ds, small_disk / f"a{suffix}")
    before = contents(small_disk)
    code = FILL_THE_DISK.format(left=left) + SAVE_ANOTHER.format(suffix=suffix)
    printed = process.run(code, small_disk)
    assert f"path='a{suffix}': No space left on device, so nothing was replaced; free" in printed
    (small_disk / "filling").unlink()
    assert contents(small_disk) == before


@contextlib.contextmanager
def files_of_at_most(size):
    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))


@pytest.mark.parametrize("most", [100, 2000])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_may_not_grow_leaves_the_old_file(ds, suffix, most):
    message = (
        rf"^\[Errno 27\] path='a{suffix}': File too large, so nothing was replaced; free some "
        "space or choose another folder$"
    )
    with files_of_at_most(most):
        assert_refused(ds.isel(head=[0]), suffix, message, OSError)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_without_the_right_to_write_leaves_the_old_file(process, ds, suffix):
    with tempfile.TemporaryDirectory() as name:  # pytest's own may not be entered by others
        folder = Path(name)
        amici_xr.save(ds, folder / f"a{suffix}")
        before = contents(folder)
        folder.chmod(0o555)
        give_up = f"if os.geteuid() == 0: os.setuid({NOBODY})\n"  # root may write everywhere
        use_once = SAVE_ANOTHER.format(suffix=suffix)  # what is imported late may be out of reach
        with tempfile.TemporaryDirectory() as elsewhere:
            first = f"os.chdir({elsewhere!r})\n{use_once}os.chdir({name!r})\n"
            printed = process.run(first + give_up + SAVE_ANOTHER.format(suffix=suffix), folder)
        folder.chmod(0o755)
        message = f"PermissionError: [Errno 13] path='a{suffix}': Permission denied, so nothing"
        assert printed.removeprefix("saved\n").startswith(message)
        assert contents(folder) == before


READ_TWICE = """
with amici_xr.open_dataset("a{suffix}", chunks={{}}) as ds:
    first = ds.base_attention_score.values
    open("opened", "w").close()
    while not os.path.exists("replaced"):
        time.sleep(0.01)
    try:
        second = ds.base_attention_score.values
    except Exception as error:
        print(type(error).__name__)
    else:
        print("as before" if (first == second).all() else "other values")
"""


@pytest.mark.parametrize("suffix", [".nc", pytest.param(".zarr.zip", marks=needs_zarr)])
def test_a_file_that_another_process_has_open_is_replaced_and_that_one_reads_on(
    process, ds, tmp_path, suffix
):
    process.start(READ_TWICE.format(suffix=suffix), tmp_path)
    while not (tmp_path / "opened").exists():
        pass
    amici_xr.save(ds.isel(head=[0]), f"a{suffix}")
    (tmp_path / "replaced").touch()
    assert process.finish() == "as before\n"
    xr.testing.assert_identical(amici_xr.open_dataset(f"a{suffix}"), ds.isel(head=[0]))


@needs_zarr
def test_a_store_that_another_process_has_open_is_replaced_whole(process, ds, tmp_path):
    process.start(READ_TWICE.format(suffix=".zarr"), tmp_path)
    while not (tmp_path / "opened").exists():
        pass
    amici_xr.save(ds.isel(head=[0]), "a.zarr")
    (tmp_path / "replaced").touch()
    # A store is a folder: who holds it open finds the new one's chunks, which are refused.
    assert process.finish() == "ValueError\n"
    xr.testing.assert_identical(amici_xr.open_dataset("a.zarr"), ds.isel(head=[0]))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_its_own_source_is_replaced_whole(ds, tmp_path, suffix):
    with amici_xr.open_dataset(f"a{suffix}", chunks={}) as lazy:
        amici_xr.save(lazy.chunk(neighbor=10).assign_attrs(note="again"), f"a{suffix}")
    xr.testing.assert_identical(amici_xr.open_dataset(f"a{suffix}"), ds.assign_attrs(note="again"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_does_not_keep_what_it_takes_leaves_the_old_file(ds, suffix, monkeypatch):
    from amici_xr.io import storage

    format_of = storage.format_of

    def forget(suffix, task):
        """Write other values than those that are saved."""
        module = format_of(suffix, task)

        def write(ds, *where):
            module.write(ds.assign(neighbor_x=ds["neighbor_x"] * 0), *where)

        return SimpleNamespace(write=write, read=module.read)

    monkeypatch.setattr(storage, "format_of", forget)
    message = (
        r"^path='[^']+': 'neighbor_x' did not read back as written, so nothing was replaced; "
        "write to another disk$"
    )
    assert_refused(ds.isel(head=[0]), suffix, message, ValueError)
