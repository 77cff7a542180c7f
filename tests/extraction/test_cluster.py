"""Extraction on several processes: a real cluster of two workers, of which one is killed."""

import os
import signal
import time

import numpy as np
import pytest
import xarray as xr

import amici_xr

distributed = pytest.importorskip("distributed")  # only the development environment has it
pytestmark = [pytest.mark.needs_model, pytest.mark.slow]


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def tissue_file(demo, tmp_path_factory):
    path = tmp_path_factory.mktemp("tissue") / "tissue.h5ad"
    demo[1].write_h5ad(path)
    return path


def processes_of_workers(client):
    return sorted(client.run(os.getpid).values())


def slowly(scores):
    time.sleep(0.1)  # so that there is a middle
    return scores


def test_workers_give_the_scores_of_one_process_and_write_them_to_zarr(
    client, demo, tissue_file, tmp_path
):
    pytest.importorskip("zarr")  # an extra
    expected = amici_xr.extract(demo[0], None, tissue_file, progress=False)
    lazy = amici_xr.extract(demo[0], None, tissue_file, chunks=500)
    lazy.to_zarr(tmp_path / "a.zarr", zarr_format=2)  # in parallel, by the workers
    opened = xr.open_zarr(tmp_path / "a.zarr")
    xr.testing.assert_allclose(opened.compute(), expected, rtol=0, atol=1e-5)
    summary = opened.amici.bootstrap(0.1, statistic="median").compute()
    xr.testing.assert_allclose(
        summary, expected.amici.bootstrap(0.1, statistic="median"), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".zarr.zip"])
def test_what_workers_score_is_saved_whole(client, demo, tissue_file, tmp_path, suffix):
    if suffix != ".nc":
        pytest.importorskip("zarr")  # an extra
    expected = amici_xr.extract(demo[0], "T_cell", tissue_file, progress=False)
    lazy = amici_xr.extract(demo[0], "T_cell", tissue_file, chunks=500)
    amici_xr.save(lazy, tmp_path / f"a{suffix}")
    with amici_xr.open_dataset(tmp_path / f"a{suffix}", chunks={}) as opened:
        lengths = amici_xr.length_scale(opened).compute()  # read by the workers
    xr.testing.assert_allclose(lengths, amici_xr.length_scale(expected), rtol=1e-3, atol=1e-4)


def test_a_worker_killed_in_the_middle_changes_no_number(client, demo, tissue_file):
    expected = amici_xr.extract(demo[0], "T_cell", tissue_file, progress=False)
    lazy = amici_xr.extract(demo[0], "T_cell", tissue_file, chunks=100)
    scores = lazy["base_attention_score"].data.map_blocks(slowly, dtype=np.float32)
    before = processes_of_workers(client)
    running = client.compute(scores)
    time.sleep(1.5)
    assert not running.done()
    os.kill(before[0], signal.SIGKILL)
    np.testing.assert_allclose(
        running.result(timeout=120), expected["base_attention_score"], rtol=0, atol=1e-5
    )
    assert before[0] not in processes_of_workers(client)
