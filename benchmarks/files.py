"""What saving and opening cost beside plain xarray, and the memory of a lazy save.

``python benchmarks/files.py`` saves and opens a Dataset of each number of neighbors by this library
and by plain xarray, turn about, and prints the shortest time of each and their ratio; then the peak
above the imports of a lazy save, in a process of its own. Plain xarray neither packs the values of
a NetCDF file nor takes a checksum, reads back, or waits for the disk.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dask.array
import h5netcdf  # noqa: F401  # counted among the imports
import netCDF4  # noqa: F401  # likewise
import numpy as np
import xarray as xr
import zarr  # noqa: F401  # likewise
from process_memory import peak

import amici_xr

N_HEADS = 8
LABELS = np.array(["B", "Fibroblast", "Macrophage", "Tumor"])
CHUNK = 2**15
Job = Callable[[Path], object]


def scores(n_neighbors: int, *, lazy: bool = False) -> xr.Dataset:
    """Scores of one query, drawn; lazily, a chunk at a time."""
    shape = (n_neighbors, N_HEADS)
    rng = np.random.default_rng(0)
    if lazy:
        drawn = dask.array.random.default_rng(0).gamma(2.0, size=shape, chunks=(CHUNK, N_HEADS))
        base = position = drawn
    else:
        base, position = rng.normal(size=shape), rng.gamma(2.0, size=shape)
    return amici_xr.from_arrays(
        base.astype("f4"),
        position.astype("f4"),
        LABELS[rng.integers(LABELS.size, size=n_neighbors)],
        query="T_cell",
        neighbor_x=rng.uniform(size=n_neighbors),
        neighbor_y=rng.uniform(size=n_neighbors),
    )


def jobs(ds: xr.Dataset, folder: Path) -> dict[str, tuple[Job, Job]]:
    """Each job by this library, and by plain xarray."""
    return {
        "save .nc": (
            lambda path: amici_xr.save(ds, path / "ours.nc"),
            lambda path: ds.to_netcdf(path / "plain.nc"),
        ),
        "open .nc": (
            lambda path: amici_xr.open_dataset(path / "ours.nc"),
            lambda path: xr.open_dataset(path / "plain.nc").load().close(),
        ),
        "save .zarr": (
            lambda path: amici_xr.save(ds, path / "ours.zarr"),
            lambda path: ds.to_zarr(path / "plain.zarr", mode="w", zarr_format=2),
        ),
        "open .zarr": (
            lambda path: amici_xr.open_dataset(path / "ours.zarr"),
            lambda path: xr.open_dataset(path / "plain.zarr", engine="zarr").load(),
        ),
    }


def compare(n_neighbors: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Seconds of each job by this library and by plain xarray, the shortest of several."""
    ds = scores(n_neighbors)
    with tempfile.TemporaryDirectory() as name:
        seconds: dict[str, tuple[float, float]] = {}
        for job, pair in jobs(ds, Path(name)).items():
            times = [[_seconds(run, Path(name)) for run in pair] for _ in range(repeats)]
            ours, plain = np.min(times, axis=0)
            seconds[job] = (float(ours), float(plain))
        return seconds


def _seconds(job: Job, folder: Path) -> float:
    start = time.perf_counter()
    job(folder)
    return time.perf_counter() - start


def lazy_save(n_neighbors: int, suffix: str) -> float:
    """Peak of a process above its imports in GB, while it saves what is computed as it goes."""
    command = [sys.executable, __file__, "--lazy", str(n_neighbors), suffix]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _save_lazily(n_neighbors: int, suffix: str) -> None:
    folder = tempfile.mkdtemp()
    imports = peak()
    amici_xr.save(scores(n_neighbors, lazy=True), f"{folder}/a{suffix}")
    print(json.dumps(peak() - imports))
    shutil.rmtree(folder)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neighbors", type=int, nargs="+", default=[100_000, 2_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--lazy", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.lazy:
        _save_lazily(int(arguments.lazy[0]), arguments.lazy[1])
        return
    for n_neighbors in arguments.neighbors:
        print(f"{n_neighbors:,} neighbors × {N_HEADS} heads")
        print(f"{'':<14}{'this library':>14}{'plain xarray':>14}{'ratio':>8}")
        for job, (ours, plain) in compare(n_neighbors, arguments.repeats).items():
            print(f"{job:<14}{ours:>12.2f} s{plain:>12.2f} s{ours / plain:>8.1f}")
        for suffix in (".nc", ".zarr"):
            above = lazy_save(n_neighbors, suffix)
            print(f"lazy save {suffix:<8}{above:>10.2f} GB above the imports")


if __name__ == "__main__":
    main()
