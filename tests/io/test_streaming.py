"""Lazy Datasets are written block by block, and compared block by block when they are read."""

import importlib.util
import itertools
import pickle
import shutil
from pathlib import Path

import cloudpickle
import dask
import dask.array
import h5py
import numpy as np
import pytest
import xarray as xr
from damaging import change_values

import amici_xr



HAS_ZARR = importlib.util.find_spec("zarr") is not None
needs_zarr = pytest.mark.skipif(not HAS_ZARR, reason="zarr is not installed")
SUFFIXES = [".nc", *(pytest.param(one, marks=needs_zarr) for one in (".zarr", ".zarr.zip"))]
SCORES = ["base_attention_score", "position_coefficient"]


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of so few elements that small variables have many, and count as large."""
    monkeypatch.setattr("amici_xr.io.storage._CELLS", 30)
    monkeypatch.setattr("amici_xr.io.storage._CHUNK", 90)
    monkeypatch.setattr("amici_xr.io.storage._SMALL", 300)


def scores_of_one_pass(ds, size, passes):
    """Both scores from one lazy computation of neighbors, which notes what it was asked for."""
    together = np.stack([ds[name].values for name in SCORES])

    def network(block_info):
        start, stop = block_info[None]["array-location"][1]
        passes.append(int(start))
        return together[:, start:stop]

    rows = range(0, ds.sizes["neighbor"], size)
    lengths = tuple(min(size, ds.sizes["neighbor"] - start) for start in rows)
    meta = np.empty((0, 0, 0), "f4")
    both = dask.array.map_blocks(network, chunks=(2, lengths, 2), dtype="f4", meta=meta)
    return ds.assign({name: ds[name].copy(data=both[number]) for number, name in enumerate(SCORES)})


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [7, 50, 342])
def test_a_pass_of_the_network_is_made_once_for_all_that_is_saved_of_it(
    ds, small_blocks, suffix, size
):
    passes = []
    lazy = scores_of_one_pass(ds, size, passes)
    amici_xr.save(lazy, f"a{suffix}")
    assert sorted(passes) == list(range(0, ds.sizes["neighbor"], size))
    xr.testing.assert_identical(amici_xr.open_dataset(f"a{suffix}"), ds)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("chunks", [{"neighbor": 7}, {"neighbor": 100, "head": 1}, {}])
def test_lazy_and_eager_datasets_make_files_of_the_same_content(
    several, small_blocks, suffix, chunks
):
    amici_xr.save(several, f"eager{suffix}")
    amici_xr.save(several.chunk(chunks), f"lazy{suffix}")
    eager, lazy = (amici_xr.open_dataset(f"{one}{suffix}") for one in ("eager", "lazy"))
    xr.testing.assert_identical(lazy, eager)
    assert {n: v.dtype for n, v in lazy.variables.items()} == {
        n: v.dtype for n, v in eager.variables.items()
    }


def test_where_other_processes_compute_they_do_not_write_to_the_netcdf_of_this_one(ds):
    def elsewhere(graph, keys, **options):
        cloudpickle.dumps(graph)  # as what goes to another process; an open file can't
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=elsewhere):
        amici_xr.save(ds.chunk(neighbor=200), "a.nc")
    xr.testing.assert_identical(amici_xr.open_dataset("a.nc"), ds)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_saved_lazy_dataset_opens_with_plain_xarray(ds, small_blocks, suffix):
    if suffix == ".zarr.zip":
        zarr = pytest.importorskip("zarr")  # one of the two that the suffix needs
    amici_xr.save(ds.chunk(neighbor=40), f"a{suffix}")
    store = zarr.storage.ZipStore("a.zarr.zip", mode="r") if suffix == ".zarr.zip" else f"a{suffix}"
    with xr.open_dataset(store, engine=None if suffix == ".nc" else "zarr") as opened:
        xr.testing.assert_identical(opened.load(), ds)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_scores_of_a_lazy_file_are_grouped_by_label_and_sample_as_any(suffix):
    ds = amici_xr.testing.simulate_dataset(n_cells=200, samples=["left", "right"])
    amici_xr.save(ds, f"a{suffix}")
    lazy = amici_xr.open_dataset(f"a{suffix}", chunks={})
    for name in ("label", "neighbor_sample"):
        means = lazy["base_attention_score"].groupby(name).mean()
        assert means.chunks is not None
        xr.testing.assert_allclose(means, ds["base_attention_score"].groupby(name).mean())
    farthest = lazy["neighborhood_distance"].groupby("receiver_sample").max(...)
    xr.testing.assert_equal(
        farthest, ds["neighborhood_distance"].groupby("receiver_sample").max(...)
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_of_a_lazy_file_every_block_is_compared_when_it_is_read(ds, small_blocks, suffix):
    amici_xr.save(ds, f"a{suffix}")
    damage(f"a{suffix}", "base_attention_score", row=35, suffix=suffix)
    with amici_xr.open_dataset(f"a{suffix}", chunks={}) as opened:
        scores = opened["base_attention_score"]
        np.testing.assert_array_equal(scores[:30], ds["base_attention_score"][:30])
        np.testing.assert_array_equal(scores[60:], ds["base_attention_score"][60:])
        with pytest.raises(ValueError, match=r"base_attention_score differs from what was saved"):
            scores[35].compute()
        with pytest.raises(ValueError, match=r"base_attention_score differs from what was saved"):
            amici_xr.length_scale(opened).compute()
    with pytest.raises(ValueError, match="damaged: 'base_attention_score' differ from what was"):
        amici_xr.open_dataset(f"a{suffix}")


def damage(path, name, row, suffix):
    """Change one row of a variable, by plain HDF5 or Zarr."""
    if suffix == ".nc":
        with h5py.File(path, "r+") as file:
            file[name][row] += 1
        return
    import zarr

    if suffix == ".zarr.zip":
        shutil.unpack_archive(path, "unpacked", "zip")
    folder = "unpacked" if suffix == ".zarr.zip" else path
    array = zarr.open_group(folder, mode="r+")[name]
    array[row] = array[row] + 1
    if suffix == ".zarr.zip":
        shutil.make_archive("packed", "zip", folder)
        shutil.move("packed.zip", path)


@pytest.mark.parametrize("name", ["label", "neighbor_x", "dummy_attention_score"])
def test_of_a_lazy_file_what_is_small_or_a_coordinate_is_compared_at_once(ds, small_blocks, name):
    amici_xr.save(ds, "a.nc")
    change_values("a.nc", name)
    with pytest.raises(ValueError, match=f"damaged: '{name}' differ"):
        amici_xr.open_dataset("a.nc", chunks={})


def test_of_a_lazy_file_attributes_of_large_variables_are_compared_at_once(ds, small_blocks):
    amici_xr.save(ds, "a.nc")
    with h5py.File("a.nc", "r+") as file:
        file["base_attention_score"].attrs["long_name"] = "another"
    with pytest.raises(ValueError, match="damaged: 'base_attention_score' differ"):
        amici_xr.open_dataset("a.nc", chunks={})


@needs_zarr
def test_a_store_that_was_replaced_while_it_was_open_gives_no_mixture(ds, small_blocks):
    amici_xr.save(ds, "a.zarr")
    with amici_xr.open_dataset("a.zarr", chunks={}) as opened:
        changed = ds.assign(base_attention_score=ds["base_attention_score"] + 1)
        amici_xr.save(changed, "a.zarr")
        with pytest.raises(ValueError, match="or was replaced while it was open; open it again"):
            opened["base_attention_score"].compute()
        np.testing.assert_array_equal(opened["position_coefficient"], ds["position_coefficient"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_lazy_file_travels_to_another_process(ds, small_blocks, suffix):
    amici_xr.save(ds, f"a{suffix}")
    with amici_xr.open_dataset(f"a{suffix}", chunks={}) as opened:
        xr.testing.assert_identical(pickle.loads(pickle.dumps(opened)).compute(), ds)


KEYS = [0, -1, 5, slice(None), slice(3, 40), slice(None, None, 7), slice(40, 3, -4), slice(5, 5)]


def test_parts_of_what_is_compared_are_those_of_the_array(ds, small_blocks):
    amici_xr.save(ds, "a.nc")
    scores = ds["base_attention_score"]
    with open_checked(Path("a.nc"), ".nc", None) as opened:
        for rows, heads in itertools.product([*KEYS, [31, 2, 2, 300]], [0, -1, slice(None)]):
            part = opened["base_attention_score"].isel(neighbor=rows, head=heads)
            xr.testing.assert_identical(part.load(), scores.isel(neighbor=rows, head=heads))


@pytest.mark.parametrize(
    "shape", [(), (0,), (5,), (0, 3), (1000, 2), (3, 1000, 2), (7, 9, 61), (61, 1), (60,), (2, 61)]
)
@pytest.mark.parametrize("dims", [("query", "neighbor", "head"), ("x", "y", "z")])
def test_blocks_cover_an_array_once_and_are_no_larger_than_allowed(shape, dims, small_blocks):
    dims = dims[-len(shape) :] if shape else ()
    covered = np.zeros(shape, int)
    for block in blocks_of(dims, shape):
        covered[block] += 1
        assert covered[block].size <= 90
    assert (covered == 1).all()


def test_all_variables_of_a_file_have_chunks_of_the_same_cells(several, small_blocks):
    amici_xr.save(several, "a.nc")
    with amici_xr.open_dataset("a.nc", chunks={}) as opened:
        assert set(opened.chunksizes["neighbor"][:-1]) == {30}  # an error where they differ
        assert opened.chunksizes["head"] == (3,)


def test_one_changed_value_changes_the_digest_of_its_block_alone(small_blocks):
    values = np.arange(200.0)
    before = digests(xr.Dataset({"a": ("x", values)}))["a"]
    values[70] = 0
    after = digests(xr.Dataset({"a": ("x", values)}))["a"]
    assert [one == other for one, other in zip(before, after, strict=True)] == [
        *(True, False, True, True)  # the header, and three blocks
    ]
