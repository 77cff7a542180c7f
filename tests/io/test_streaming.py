"""Lazy Datasets are written chunk by chunk, each computed once, and read as lazily."""

import importlib.util
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import cloudpickle
import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from damaging import flip_a_bit_of
from slow_cases import slow

import amici_xr

HAS_ZARR = importlib.util.find_spec("zarr") is not None
needs_zarr = pytest.mark.skipif(not HAS_ZARR, reason="zarr is not installed")
SUFFIXES = [".nc", *(pytest.param(one, marks=needs_zarr) for one in (".zarr", ".zarr.zip"))]
SCORES = ["base_attention_score", "position_coefficient"]


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of so few elements that small variables have many, and count as large."""
    monkeypatch.setattr("amici_xr.io.streaming._CELLS", 30)
    monkeypatch.setattr("amici_xr.io.streaming._CHUNK", 90)
    monkeypatch.setattr("amici_xr.io.opening._SMALL", 300)


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
def test_all_queries_are_saved_in_a_fraction_of_the_memory_of_their_scores(monkeypatch, suffix):
    monkeypatch.setattr("amici_xr.io.streaming._CELLS", 2_000)
    monkeypatch.setattr("amici_xr.dataset.validation._BYTES_OF_PART", 2**20)
    n_queries, n_neighbors, n_heads = 10, 40_000, 8

    def network(block_info):
        start, stop = block_info[None]["array-location"][2]
        return np.full((2, n_queries, stop - start, n_heads), start + 1, dtype="f4")

    starts = range(0, n_neighbors, 2_000)
    chunks = (2, n_queries, tuple(2_000 for _ in starts), n_heads)
    meta = np.empty((0, 0, 0, 0), "f4")
    base, position = dask.array.map_blocks(network, chunks=chunks, dtype="f4", meta=meta)
    ds = amici_xr.from_arrays(
        base,
        position,
        ["sender"] * n_neighbors,
        query=[f"receiver_{number}" for number in range(n_queries)],
        is_neighbor=np.ones((n_queries, n_neighbors), dtype=bool),
    )
    amici_xr.save(ds.isel(neighbor=slice(2_000)), f"a{suffix}")  # imports what it needs
    tracemalloc.start()
    amici_xr.save(ds, f"a{suffix}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (base.nbytes + position.nbytes) / 3
    opened = amici_xr.open_dataset(f"a{suffix}", chunks={})
    np.testing.assert_array_equal(
        opened["position_coefficient"][3, ::2_000, 0], np.array(starts) + 1
    )


@pytest.mark.slow
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


@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize("name", [*SCORES, "label", "neighbor_x", "dummy_attention_score"])
def test_of_a_netcdf_all_is_compared_when_it_is_opened(ds, small_blocks, name, chunks):
    amici_xr.save(ds, "a.nc")
    flip_a_bit_of("a.nc", name)
    with pytest.raises(ValueError, match="is damaged: its SHA-256 is not that of the file that"):
        amici_xr.open_dataset("a.nc", chunks=chunks)


@needs_zarr
@pytest.mark.parametrize("suffix", [".zarr", ".zarr.zip"])
def test_of_a_lazy_store_every_chunk_is_compared_when_it_is_read(ds, small_blocks, suffix):
    amici_xr.save(ds, f"a{suffix}")
    flip_a_bit_of_a_chunk(f"a{suffix}", "base_attention_score/1.0")
    with amici_xr.open_dataset(f"a{suffix}", chunks={}) as opened:
        scores = opened["base_attention_score"]
        np.testing.assert_array_equal(scores[:30], ds["base_attention_score"][:30])
        np.testing.assert_array_equal(scores[60:], ds["base_attention_score"][60:])
        for ask in (scores[35].compute, amici_xr.length_scale(opened).compute):
            with pytest.raises((RuntimeError, zipfile.BadZipFile), match=r"checksum|CRC-32"):
                ask()
    message = rf"path='a\{suffix}' can't be read as \{suffix}: .*(checksum|CRC-32)"
    with pytest.raises(ValueError, match=message):
        amici_xr.open_dataset(f"a{suffix}")


def flip_a_bit_of_a_chunk(path, chunk):
    """Flip a bit of the values that are stored, below what packs them."""
    if path.endswith(".zarr"):
        file = Path(path, chunk)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4
        file.write_bytes(content)
        return
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(chunk)
    content = bytearray(Path(path).read_bytes())
    content[member.header_offset + 30 + len(chunk) + member.file_size // 2] ^= 4
    Path(path).write_bytes(content)


@needs_zarr
def test_a_store_that_was_replaced_while_it_was_open_gives_no_mixture(ds, small_blocks):
    amici_xr.save(ds, "a.zarr")
    with amici_xr.open_dataset("a.zarr", chunks={}) as opened:
        changed = ds.assign(base_attention_score=ds["base_attention_score"] + 1)
        amici_xr.save(changed, "a.zarr")
        with pytest.raises(ValueError, match="was replaced while it was open; open it again"):
            opened["base_attention_score"].compute()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_lazy_file_travels_to_another_process(ds, small_blocks, suffix):
    amici_xr.save(ds, f"a{suffix}")
    with amici_xr.open_dataset(f"a{suffix}", chunks={}) as opened:
        xr.testing.assert_identical(pickle.loads(pickle.dumps(opened)).compute(), ds)


def test_all_variables_of_a_file_have_chunks_of_the_same_cells(several, small_blocks):
    amici_xr.save(several, "a.nc")
    with amici_xr.open_dataset("a.nc", chunks={}) as opened:
        assert set(opened.chunksizes["neighbor"][:-1]) == {30}  # an error where they differ
        assert opened.chunksizes["head"] == (3,)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("run", [slice(None), slow([1]), 0])
def test_several_runs_opened_lazily_are_saved_again(suffix, run):
    if suffix == ".zarr":
        pytest.importorskip("zarr")  # an extra
    ds = amici_xr.testing.simulate_dataset(n_cells=80)
    shifted = ds.assign(base_attention_score=ds["base_attention_score"] + 1)
    amici_xr.save(amici_xr.align_runs([ds, shifted]), "runs.nc")
    for chunks in ({}, {"run": 1}):
        opened = amici_xr.open_dataset("runs.nc", chunks=chunks).isel(run=run)
        amici_xr.save(opened, f"again{suffix}")
        xr.testing.assert_identical(amici_xr.open_dataset(f"again{suffix}"), opened.compute())
