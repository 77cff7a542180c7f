"""Files: what is saved comes back, and a failed save leaves the old file."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from damaging import flip_a_bit_of

import amici_xr

HAS_ZARR = importlib.util.find_spec("zarr") is not None
needs_zarr = pytest.mark.skipif(not HAS_ZARR, reason="zarr is not installed")
ZARR_SUFFIXES = [pytest.param(suffix, marks=needs_zarr) for suffix in (".zarr", ".zarr.zip")]
SUFFIXES = [".nc", *ZARR_SUFFIXES]
# zarr's own warnings about its own format, in plain to_zarr
plain_zarr = pytest.mark.filterwarnings("ignore::UserWarning:zarr", "ignore::FutureWarning")


def same(opened, ds):
    """Identical, kinds of the arrays included."""
    xr.testing.assert_identical(opened, ds)
    kinds = {name: variable.dtype.kind for name, variable in ds.variables.items()}
    assert {name: variable.dtype.kind for name, variable in opened.variables.items()} == kinds
    assert {name: type(value) for name, value in opened.attrs.items() if name == "title"} == {
        "title": str
    }


@pytest.fixture(params=["one", "several", "strange labels", "no neighborhoods"])
def any_ds(request, ds, several):
    strange = amici_xr.testing.simulate_dataset(
        "CD8⁺ T/αβ", cell_types=["CD8⁺ T/αβ", "", "NA", "b c", "類"], unit="µm"
    )
    table = amici_xr.from_dataframe(amici_xr.to_dataframe(ds))
    choice = [ds, several, strange, table]
    return choice[["one", "several", "strange labels", "no neighborhoods"].index(request.param)]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("chunks", [None, {}])
def test_text_that_was_objects_comes_back_as_what_numpy_casts(several, suffix, chunks):
    names = ("label", "receiver_label", "cell_type", "query")
    objects = several.assign_coords({name: several[name].astype(object) for name in names})
    amici_xr.save(objects, f"a{suffix}")
    opened = amici_xr.open_dataset(f"a{suffix}", chunks=chunks)
    for name in names:
        assert opened[name].astype(str).values.tolist() == several[name].values.tolist()
        assert opened[name].attrs == several[name].attrs
    assert set(opened.coords) == set(several.coords)


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_plain_netcdf_comes_back_identical(any_ds, engine):
    any_ds.to_netcdf("a.nc", engine=engine)
    with xr.open_dataset("a.nc", engine=engine) as opened:
        same(opened.load(), any_ds)


@needs_zarr
@plain_zarr
def test_plain_zarr_comes_back_identical(any_ds):
    any_ds.to_zarr("a.zarr")
    with xr.open_zarr("a.zarr") as opened:
        same(opened.load(), any_ds)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_save_and_open_is_identity(any_ds, suffix):
    amici_xr.save(any_ds, f"a{suffix}")
    same(amici_xr.open_dataset(f"a{suffix}"), any_ds)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_neighbor_and_no_neighbor_come_back(ds, suffix):
    for count in (1, 0):
        few = ds.isel(neighbor=slice(count))
        amici_xr.save(few, f"a{suffix}")
        same(amici_xr.open_dataset(f"a{suffix}"), few)


def test_plain_open_dataset_of_a_saved_file_answers_everything(ds):
    amici_xr.save(ds, "a.nc")
    distance = np.linspace(0, 5, 6)
    with xr.open_dataset("a.nc") as opened:
        xr.testing.assert_identical(opened.cf.curve(distance), ds.cf.curve(distance))
        xr.testing.assert_identical(
            opened.cf.curve_summary(distance), ds.cf.curve_summary(distance)
        )
        xr.testing.assert_identical(opened.cf.length_scale(0.1), ds.cf.length_scale(0.1))
        xr.testing.assert_identical(opened.cf.support(0.1), ds.cf.support(0.1))
        xr.testing.assert_identical(opened.cf.bootstrap(0.1), ds.cf.bootstrap(0.1))
        assert opened.cf.plot_length_scale(0.1).get_ylabel().endswith("(µm)")
        assert opened.cf.plot_curve(0, distance).get_xlabel() == "distance (µm)"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_chunks_leave_a_file_lazy(ds, suffix):
    amici_xr.save(ds, f"a{suffix}")
    with amici_xr.open_dataset(f"a{suffix}", chunks={}) as opened:
        assert opened.base_attention_score.chunks is not None
        same(opened.load(), ds)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_without_chunks_all_is_read_and_the_file_no_longer_needed(ds, suffix):
    amici_xr.save(ds, f"a{suffix}")
    opened = amici_xr.open_dataset(f"a{suffix}")
    if suffix == ".zarr":
        shutil.rmtree("a.zarr")
    else:
        os.truncate(f"a{suffix}", 0)
    same(opened, ds)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_overwriting_replaces_the_old_file_whole(ds, suffix):
    amici_xr.save(ds, f"a{suffix}")
    changed = ds.isel(neighbor=slice(0, 20))
    amici_xr.save(changed, f"a{suffix}")
    same(amici_xr.open_dataset(f"a{suffix}"), changed)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_may_be_overwritten_with_what_was_lazily_read_from_it(ds, suffix):
    amici_xr.save(ds, f"a{suffix}")
    with amici_xr.open_dataset(f"a{suffix}", chunks={}) as lazy:
        amici_xr.save(lazy.isel(neighbor=slice(0, 9)), f"a{suffix}")
    same(amici_xr.open_dataset(f"a{suffix}"), ds.isel(neighbor=slice(0, 9)))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "value", [True, None, {"a": 1}, ["a"], [1, 2], np.datetime64("2026-01-01")]
)
def test_an_attribute_that_files_lose_is_refused_and_the_old_file_stays(
    ds, tmp_path, suffix, value
):
    amici_xr.save(ds, f"a{suffix}")
    bad = ds.assign_attrs(note=value)
    bad.label.attrs["other"] = value
    with pytest.raises(amici_xr.SchemaError, match=r"(?s)attrs\['note'\].*label\.attrs\['other'\]"):
        amici_xr.save(bad, f"a{suffix}")
    same(amici_xr.open_dataset(f"a{suffix}"), ds)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("name", ["_FillValue", "scale_factor"])
def test_an_attribute_that_files_use_themselves_never_changes_data(ds, tmp_path, name):
    amici_xr.save(ds, "a.nc")
    bad = ds.copy()
    bad.neighbor_x.attrs[name] = 2.0
    with pytest.raises(ValueError, match=f"the name '{name}', which files use themselves"):
        amici_xr.save(bad, "a.nc")
    same(amici_xr.open_dataset("a.nc"), ds)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]


@needs_zarr
def test_an_exchange_that_was_cut_off_between_two_renames_is_recovered(ds, tmp_path):
    amici_xr.save(ds, "a.zarr")
    (tmp_path / "a.zarr").rename(tmp_path / ".a.zarr.old")
    same(amici_xr.open_dataset("a.zarr"), ds)


@needs_zarr
def test_without_an_exchange_call_two_renames_do(ds, tmp_path, monkeypatch):
    monkeypatch.setattr("amici_xr.io.atomic.ctypes.CDLL", lambda *_, **__: object())
    for part in (ds, ds.isel(head=[0])):
        amici_xr.save(part, "a.zarr")
    same(amici_xr.open_dataset("a.zarr"), ds.isel(head=[0]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


DAMAGED = (
    "^path='a.nc' is damaged: its SHA-256 is not that of the file that was saved; restore the file "
    "from a copy, or extract again$"
)


@pytest.mark.parametrize("name", ["base_attention_score", "label", "dummy_attention_score"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_changed_data_is_noticed(ds, name, chunks):
    amici_xr.save(ds, "a.nc")
    flip_a_bit_of("a.nc", name)
    with pytest.raises(ValueError, match=DAMAGED):
        amici_xr.open_dataset("a.nc", chunks=chunks)


def test_a_changed_attribute_is_noticed(ds):
    amici_xr.save(ds.assign_attrs(note="a tissue of mine"), "a.nc")
    whole = Path("a.nc").read_bytes()
    Path("a.nc").write_bytes(whole.replace(b"a tissue of mine", b"a tissue of thee"))
    with pytest.raises(ValueError, match=DAMAGED):
        amici_xr.open_dataset("a.nc")


# h5netcdf's own, when a file that it could not open is collected
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_flipped_bits_are_noticed_or_harmless(ds):
    amici_xr.save(ds, "a.nc")
    whole = Path("a.nc").read_bytes()
    rng = np.random.default_rng(0)
    messages = []
    for position in rng.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        Path("b.nc").write_bytes(damaged)
        try:
            opened = amici_xr.open_dataset("b.nc")
        except ValueError as error:
            messages.append(str(error))
        else:
            same(opened, ds)
    assert len(messages) > 10
    assert all(message.startswith("path='b.nc' ") for message in messages)


def test_what_follows_the_end_of_hdf5_is_the_sha256_of_all_before_it_twice(ds):
    amici_xr.save(ds, "a.nc")
    whole = Path("a.nc").read_bytes()
    first = whole.index(b"amici_xr sha256") - 1
    digest = hashlib.sha256(whole[:first]).digest()
    assert whole[first:].count(digest) == 2
    assert whole[first : first + 48] == whole[first + 8192 : first + 8240] == whole[-48:]


# h5netcdf's own, when a file that it could not open is collected
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("chunks", [None, {}])
def test_no_zeroed_part_of_a_file_is_opened_and_none_hangs(ds, chunks):
    """HDF5 alone reads on for ever in some of these files."""
    amici_xr.save(ds.isel(neighbor=slice(9), receiver=slice(9)), "a.nc")
    whole = Path("a.nc").read_bytes()
    for length in (64, 4096):
        for start in range(0, len(whole), length):
            damaged = whole[:start] + bytes(len(whole[start : start + length]))
            damaged += whole[start + length :]
            if damaged != whole:
                Path("a.nc").write_bytes(damaged)
                with pytest.raises(ValueError, match=DAMAGED):
                    amici_xr.open_dataset("a.nc", chunks=chunks)


@pytest.mark.parametrize("lost", [1, 40, 48, 49, 5000, 8191, 8192, 8193, 8239])
def test_a_file_that_lost_a_part_of_its_records_is_not_opened(ds, lost):
    amici_xr.save(ds, "a.nc")
    os.truncate("a.nc", os.path.getsize("a.nc") - lost)
    if lost > 8240 - 16:  # nothing but a few bytes of the word is left: as plain xarray writes it
        same(amici_xr.open_dataset("a.nc"), ds)
        return
    with pytest.raises(
        ValueError, match=r"path='a\.nc' (is damaged: its|can't.*: its end is miss)"
    ):
        amici_xr.open_dataset("a.nc")


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_what_others_append_to_a_file_is_taken_for_theirs(ds, engine, chunks):
    amici_xr.save(ds, "a.nc")
    with xr.open_dataset("a.nc", engine=engine) as opened:
        same(opened.load(), ds)
    note = xr.Dataset({"note": ("neighbor", np.arange(float(ds.sizes["neighbor"])))})
    note.to_netcdf("a.nc", mode="a", engine=engine)
    opened = amici_xr.open_dataset("a.nc", chunks=chunks).load()
    xr.testing.assert_identical(opened["note"].variable, note["note"].variable)
    same(opened.drop_vars("note"), ds)


def test_every_chunk_of_numbers_has_a_checksum_of_hdf5(several):
    amici_xr.save(several, "a.nc")
    with h5py.File("a.nc") as file:
        numbers = [name for name in file if file[name].dtype.kind in "fiu" and file[name].chunks]
        assert len(numbers) > 8
        assert all(file[name].fletcher32 for name in numbers)


@needs_zarr
def test_a_store_has_the_sums_that_sha256sum_reads_and_a_checksum_in_each_chunk(several):
    amici_xr.save(several, "a.zarr")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd="a.zarr", check=True)
    listed = [line[66:] for line in Path("a.zarr/SHA256SUMS").read_text().splitlines()]
    metadata = [path for path in Path("a.zarr").rglob(".z*") if path.is_file()]
    assert sorted(listed) == sorted(str(path.relative_to("a.zarr")) for path in metadata)
    for array in Path("a.zarr").glob("*/.zarray"):
        assert {"id": "crc32c", "location": "end"} in json.loads(array.read_text())["filters"] or {
            "id": "crc32c"
        } in json.loads(array.read_text())["filters"]


@needs_zarr
@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize("suffix", [".zarr", ".zarr.zip"])
def test_a_changed_attribute_of_a_store_is_noticed(ds, suffix, chunks):
    amici_xr.save(ds, "a.zarr")
    changed = Path("a.zarr/.zmetadata").read_text().replace('"arrays"', '"models"')
    Path("a.zarr/.zmetadata").write_text(changed)
    if suffix == ".zarr.zip":
        shutil.make_archive("a.zarr", "zip", "a.zarr")
    with pytest.raises(ValueError, match=r"is damaged: '\.zmetadata' are missing or differ"):
        amici_xr.open_dataset(f"a{suffix}", chunks=chunks)


@needs_zarr
def test_leftovers_of_an_exchange_that_was_cut_off_do_not_come_back(ds, tmp_path):
    amici_xr.save(ds, "a.zarr")
    shutil.copytree("a.zarr", ".a.zarr.old")
    amici_xr.save(ds.isel(head=[0]), "a.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


@needs_zarr
def test_an_exchange_that_was_cut_off_is_recovered_through_a_link_and_before_a_save(ds, tmp_path):
    amici_xr.save(ds, "a.zarr")
    (tmp_path / "link.zarr").symlink_to("a.zarr")
    (tmp_path / "a.zarr").rename(tmp_path / ".a.zarr.old")
    same(amici_xr.open_dataset("link.zarr"), ds)


@needs_zarr
def test_an_exchange_that_fails_leaves_the_old_store(ds, monkeypatch):
    amici_xr.save(ds, "a.zarr")
    monkeypatch.setattr("amici_xr.io.atomic.ctypes.CDLL", lambda *_, **__: object())
    rename = os.rename
    calls = []

    def fail_at_the_second(old, new):
        calls.append(old)
        if len(calls) == 2:
            raise OSError("no more room")
        rename(old, new)

    monkeypatch.setattr("amici_xr.io.atomic.os.rename", fail_at_the_second)
    with pytest.raises(OSError, match="no more room"):
        amici_xr.save(ds.isel(head=[0]), "a.zarr")
    assert Path("a.zarr").is_dir()
    same(amici_xr.open_dataset("a.zarr"), ds)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda ds: ds.assign_attrs({"a/b": 1}), r"attrs has the name 'a/b'; names must be text"),
        (lambda ds: ds.assign_attrs({7: 1}), "attrs has the name 7"),
        (lambda ds: ds.assign_attrs(big=2**70), r"attrs\['big'\] is 11805916207174113034"),
        (lambda ds: ds.assign_attrs(nul="a\0b"), r"attrs\['nul'\] is .* str without NUL"),
        (lambda ds: ds.assign_attrs(half="\udce4"), r"attrs\['half'\] is "),
        (lambda ds: ds.assign({"a/b": 1}), "a variable has the name 'a/b'"),
    ],
)
def test_names_and_values_that_a_file_can_not_hold_are_named(ds, spoil, message):
    with pytest.raises(amici_xr.SchemaError, match=message):
        amici_xr.save(spoil(ds), "a.nc")


def test_a_file_made_of_an_opened_dataset_is_not_taken_for_damaged(ds):
    amici_xr.save(ds, "a.nc")
    with xr.open_dataset("a.nc") as opened:
        opened.isel(neighbor=slice(9)).assign_attrs(note="cut").to_netcdf("b.nc")
    assert amici_xr.open_dataset("b.nc").sizes["neighbor"] == 9


def test_wrong_values_are_named_on_opening_lazily_too(ds):
    ds.assign(position_coefficient=-ds.position_coefficient).to_netcdf("a.nc")
    for chunks in (None, {}):
        with pytest.raises(amici_xr.SchemaError, match=r"a\.nc.*\n- position_coefficient: \d+ val"):
            amici_xr.open_dataset("a.nc", chunks=chunks)


@needs_zarr
def test_a_zip_opens_with_plain_xarray_as_its_documentation_says(ds):
    from zarr.storage import ZipStore

    amici_xr.save(ds, "a.zarr.zip")
    with xr.open_dataset(ZipStore("a.zarr.zip", mode="r"), engine="zarr") as opened:
        same(opened.load(), ds)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_such_file_is_not_replaced(ds, tmp_path, suffix):
    target = tmp_path / f"results{suffix}"
    target.mkdir()
    (target / "precious.txt").write_text("kept")
    with pytest.raises(ValueError, match=r"is (a folder|not a Zarr store); remove it"):
        amici_xr.save(ds, target)
    assert (target / "precious.txt").read_text() == "kept"
    if suffix == ".zarr":
        (tmp_path / "file.zarr").write_text("kept")
        with pytest.raises(ValueError, match="is not a Zarr store; remove it"):
            amici_xr.save(ds, tmp_path / "file.zarr")


def test_dates_among_the_coordinates_come_back(ds):
    days = np.datetime64("2026-01-01", "ns") + np.arange(ds.sizes["receiver"]) * np.timedelta64(
        1, "D"
    )
    dated = ds.assign_coords(day=("receiver", days.astype("datetime64[ns]")))
    amici_xr.save(dated, "a.nc")
    xr.testing.assert_identical(amici_xr.open_dataset("a.nc"), dated)


@pytest.mark.parametrize("dtype", ["float16", "longdouble", "complex64", "complex128"])
@pytest.mark.parametrize("name", ["odd", "base_attention_score"])
def test_numbers_that_netcdf_lacks_are_refused(ds, tmp_path, dtype, name):
    """netCDF4 ends the process that opens a file with some of them."""
    values = ds["base_attention_score"].astype(dtype)
    with pytest.raises(amici_xr.SchemaError, match=rf"{name} (has dtype|.*is not|.*must|.*float)"):
        amici_xr.save(ds.assign({name: values}), "a.nc")
    assert not list(tmp_path.iterdir())


def test_values_that_a_file_can_not_hold_are_named(ds, tmp_path):
    amici_xr.save(ds, "a.nc")
    n = ds.sizes["neighbor"]
    bad = ds.assign_coords(
        area=("neighbor", pd.Categorical(["a"] * n)),
        mixed=("neighbor", np.array([1, "b"] + [None] * (n - 2), dtype=object)),
    )
    with pytest.raises(
        amici_xr.SchemaError, match=r"(?s)area has dtype category.*mixed holds obje"
    ):
        amici_xr.save(bad, "a.nc")
    same(amici_xr.open_dataset("a.nc"), ds)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]


def test_lazy_variables_are_computed_once(ds):
    computed = []

    def count(block):
        computed.append(block.size)
        return block

    lazy = ds.chunk(neighbor=100)
    lazy["base_attention_score"] = lazy.base_attention_score.copy(
        data=lazy.base_attention_score.data.map_blocks(
            count, dtype="float32", meta=np.empty((0, 0), "f4")
        )
    )
    amici_xr.save(lazy, "a.nc")
    assert len(computed) == 4


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"neither text nor data", None])
def test_a_file_that_is_none_is_named(ds, content):
    if content is None:  # cut short
        amici_xr.save(ds, "a.nc")
        content = Path("a.nc").read_bytes()[:5000]
    Path("a.nc").write_bytes(content)
    with pytest.raises(ValueError, match=r"path='a\.nc' can't be read as \.nc"):
        amici_xr.open_dataset("a.nc")


@pytest.mark.parametrize("suffix", ZARR_SUFFIXES)
def test_a_zarr_that_is_none_is_named(suffix):
    Path(f"a{suffix}").write_bytes(b"neither")
    with pytest.raises(ValueError, match=r"can't be read as \.zarr"):
        amici_xr.open_dataset(f"a{suffix}")


def test_a_foreign_netcdf_is_named():
    xr.Dataset({"temperature": ("time", [1.0])}).to_netcdf("a.nc")
    with pytest.raises(amici_xr.SchemaError, match=r"(?s)a\.nc.*missing: 'base_attention_score'"):
        amici_xr.open_dataset("a.nc")


def test_a_newer_schema_version_asks_for_an_upgrade(ds):
    ds.assign_attrs(schema_version=99).to_netcdf("a.nc")
    with pytest.raises(amici_xr.SchemaError, match=r"schema_version 99 is newer.*pip install"):
        amici_xr.open_dataset("a.nc")


def test_a_missing_file_a_missing_folder_and_a_strange_suffix_are_named(ds):
    with pytest.raises(FileNotFoundError, match=r"path='none\.nc': there is no such file"):
        amici_xr.open_dataset("none.nc")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        amici_xr.save(ds, "none/a.nc")
    with pytest.raises(ValueError, match=r"path='a\.csv' must end in one of '\.nc'"):
        amici_xr.save(ds, "a.csv")
    with pytest.raises(ValueError, match=r"path='a\.h5' must end in one of '\.nc'"):
        amici_xr.open_dataset("a.h5")


def test_an_invalid_dataset_is_not_saved(ds, tmp_path):
    with pytest.raises(amici_xr.SchemaError, match="not above 0"):
        amici_xr.save(ds.assign(position_coefficient=-ds.position_coefficient), "a.nc")
    assert not list(tmp_path.iterdir())


def test_save_keeps_the_file_mode_and_follows_links(ds, tmp_path):
    amici_xr.save(ds, "a.nc")
    (tmp_path / "a.nc").chmod(0o640)
    (tmp_path / "link.nc").symlink_to("a.nc")
    amici_xr.save(ds.isel(head=[0]), "link.nc")
    assert (tmp_path / "link.nc").is_symlink()
    assert (tmp_path / "a.nc").stat().st_mode & 0o777 == 0o640
    assert amici_xr.open_dataset("a.nc").sizes["head"] == 1


@needs_zarr
def test_a_missing_chunk_of_a_zarr_store_is_noticed(ds):
    amici_xr.save(ds, "a.zarr")
    shutil.rmtree("a.zarr/neighborhood_distance")
    with pytest.raises(ValueError, match=r"is damaged: 'neighborhood_distance/"):
        amici_xr.open_dataset("a.zarr")


@needs_zarr
@pytest.mark.filterwarnings("ignore")  # of zarr, about its formats
def test_other_peoples_datasets_are_not_replaced(ds, tmp_path):
    xr.Dataset({"temperature": ("time", [1.0])}).to_zarr("climate.zarr")
    shutil.make_archive("climate.zarr", "zip", "climate.zarr")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("climate.zarr", "climate.zarr.zip"):
        with pytest.raises(ValueError, match=r"holds 'temperature'.* neither scores of amici_xr"):
            amici_xr.save(ds, name)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_damaged_file_of_ours_and_an_empty_one_are_replaced(ds, tmp_path):
    amici_xr.save(ds, "a.nc")
    content = bytearray((tmp_path / "a.nc").read_bytes())
    content[:4096] = bytes(4096)
    (tmp_path / "a.nc").write_bytes(content)
    (tmp_path / "empty.nc").touch()
    for name in ("a.nc", "empty.nc"):
        amici_xr.save(ds, name)
        same(amici_xr.open_dataset(name), ds)


@needs_zarr
def test_save_keeps_the_modes_of_a_folder_and_its_files(ds, tmp_path):
    amici_xr.save(ds, "a.zarr")
    (tmp_path / "a.zarr").chmod(0o750)
    (tmp_path / "a.zarr/SHA256SUMS").chmod(0o600)
    amici_xr.save(ds.isel(head=[0]), "a.zarr")
    assert (tmp_path / "a.zarr").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "a.zarr/SHA256SUMS").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_tilde_is_the_home_folder(ds, tmp_path, monkeypatch, suffix):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    amici_xr.save(ds, f"~/a{suffix}")
    same(amici_xr.open_dataset(f"~/a{suffix}"), ds)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("chunks", [None, {}])
@plain_zarr
def test_what_was_opened_can_be_written_in_any_format_by_xarray(ds, suffix, chunks):
    amici_xr.save(ds, f"a{suffix}")
    opened = amici_xr.open_dataset(f"a{suffix}", chunks=chunks)
    for made in (opened, opened.cf.bootstrap(0.1)):
        if HAS_ZARR:
            made.to_zarr("plain.zarr", mode="w")
            xr.testing.assert_identical(xr.open_zarr("plain.zarr").load(), made.compute())
        made.to_netcdf("plain.nc")
        xr.testing.assert_identical(xr.load_dataset("plain.nc"), made.compute())


@pytest.mark.parametrize("chunks", [None, {}, {"neighbor": 20}])
@pytest.mark.parametrize("file_format", ["NETCDF3_CLASSIC", "NETCDF3_64BIT"])
def test_netcdf_3_is_read(ds, file_format, chunks):
    ds.to_netcdf("a.nc", format=file_format, engine="scipy")
    opened = amici_xr.open_dataset("a.nc", chunks=chunks)
    assert (opened.chunks == {}) == (chunks is None)
    xr.testing.assert_equal(opened.compute(), ds)
    amici_xr.save(opened, "b.nc")
    xr.testing.assert_equal(amici_xr.open_dataset("b.nc"), ds)


def test_netcdf_3_with_64_bit_data_is_named_with_the_call_that_reads_it(ds):
    ds.to_netcdf("a.nc", format="NETCDF3_64BIT_DATA", engine="netcdf4")
    with pytest.raises(ValueError, match=r"^path='a\.nc' is a NetCDF 3 file .* engine='netcdf4'"):
        amici_xr.open_dataset("a.nc")
    amici_xr.save(xr.open_dataset("a.nc", engine="netcdf4").load(), "b.nc")


def test_a_process_may_be_forked_after_opening_lazily():
    code = """
import multiprocessing, amici_xr
amici_xr.save(amici_xr.testing.simulate_dataset(n_cells=80), "a.nc")
ds = amici_xr.open_dataset("a.nc", chunks={})
def size(ds):
    return int(ds.base_attention_score.compute().size)
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.map_async(size, [ds]).get(timeout=60) == [ds.base_attention_score.size])
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
