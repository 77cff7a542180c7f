"""How much memory, above the imports: the whole chain, and cells that are only streamed.

``python benchmarks/memory.py`` compares the peak of the whole chain of one query, from a file, by
this library and by long tables. ``python benchmarks/memory.py --cells 2000000 --streamed`` goes
from a file of sparse cells to Zarr, and from there to curve summaries and intervals; with
``--chunks 16384`` in chunks of so many neighbors, and with ``--all-queries`` for all ten. Every
part runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import dask.array  # noqa: F401  # counted among the imports
import long_table
import numpy as np
import setting
import zarr  # noqa: F401  # likewise
from process_memory import peak

import amici_xr
import amici_xr.extraction.scoring
import amici_xr.model.network

DISTANCES = np.linspace(0, 50, 51)
THRESHOLD, SAMPLE_THRESHOLD = 0.5, 0.02


def write_tissue(folder: Path, n_cells: int) -> None:
    """Write the sparse cells."""
    setting.tissue(n_cells).write_h5ad(folder / "tissue.h5ad")


def chain_of_the_library(folder: Path, n_resamples: int) -> None:
    """Everything that is asked of one query."""
    model = setting.saved_model()
    ds = amici_xr.extract(model, setting.QUERY, folder / "tissue.h5ad", progress=False)
    ds.amici.curve_summary(DISTANCES)
    ds.amici.length_scale(THRESHOLD, SAMPLE_THRESHOLD)
    for statistic in ("mean", "median"):
        ds.amici.bootstrap(THRESHOLD, SAMPLE_THRESHOLD, statistic)


def chain_of_long_tables(folder: Path, n_resamples: int) -> None:
    """The same in long tables; a few resamples take as much memory as many."""
    model, tissue = setting.saved_model(), anndata.read_h5ad(folder / "tissue.h5ad")
    found = long_table.neighborhood_table(tissue, setting.QUERY, model.settings.n_neighbors)
    table = long_table.score_table(model, tissue, setting.QUERY, np.unique(found.index))
    for head in range(model.n_heads):
        long_table.curve_summary(long_table.curves(table, head, DISTANCES))
    lengths = long_table.length_scales(table, THRESHOLD, found, SAMPLE_THRESHOLD)
    for statistic in ("mean", "median"):
        long_table.bootstrap(lengths, statistic, n_resamples)


def extraction_to_zarr(folder: Path, query: str | None, chunks: Any = "auto") -> None:
    """Score the cells of the file a chunk at a time, and write each where it belongs."""
    model = setting.saved_model()
    ds = amici_xr.extract(model, query, folder / "tissue.h5ad", chunks=chunks, progress=False)
    amici_xr.save(ds, folder / "scores.zarr")


def curve_summary_from_zarr(folder: Path) -> None:
    """Mean and standard deviation at 51 distances."""
    opened = amici_xr.open_dataset(folder / "scores.zarr", chunks={})
    opened.amici.curve_summary(DISTANCES).compute()


def bootstrap_from_zarr(folder: Path) -> None:
    """Exact intervals of the median of corrected length scales."""
    opened = amici_xr.open_dataset(folder / "scores.zarr", chunks={})
    opened.amici.bootstrap(THRESHOLD, SAMPLE_THRESHOLD, "median").compute()


PARTS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        write_tissue,
        chain_of_the_library,
        chain_of_long_tables,
        extraction_to_zarr,
        curve_summary_from_zarr,
        bootstrap_from_zarr,
    )
}


def in_its_own_process(part: str, folder: Path, *given: Any) -> dict[str, float]:
    """Seconds of a part, and its peak above the imports."""
    command = [sys.executable, __file__, "--part", part, str(folder), json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_part(part: str, folder: str, given: str) -> None:
    """What the process of a part does."""
    imports, start = peak(), time.perf_counter()
    PARTS[part](Path(folder), *json.loads(given))
    print(json.dumps({"seconds": time.perf_counter() - start, "above_imports": peak() - imports}))


def compared(n_cells: int, parts: list[tuple[Any, ...]]) -> dict[str, dict[str, float]]:
    """Write a tissue and run the parts on it, one after the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_its_own_process("write_tissue", folder, n_cells)
        return {part: in_its_own_process(part, folder, *given) for part, *given in parts}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--streamed", action="store_true")
    parser.add_argument("--all-queries", action="store_true")
    parser.add_argument("--chunks", type=int, help="neighbors in a chunk; else chosen")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        run_part(*arguments.part)
        return
    query = None if arguments.all_queries else setting.QUERY
    chunks = {"neighbor": arguments.chunks} if arguments.chunks else "auto"
    streamed: list[tuple[Any, ...]] = [
        ("extraction_to_zarr", query, chunks),
        ("curve_summary_from_zarr",),
        ("bootstrap_from_zarr",),
    ]
    chains: list[tuple[Any, ...]] = [("chain_of_the_library", 10), ("chain_of_long_tables", 10)]
    print(f"{arguments.cells:,} sparse cells × {setting.N_GENES} genes in a file")
    print(f"{'':<28}{'peak above imports':>20}{'time':>12}")
    results = compared(arguments.cells, streamed if arguments.streamed else chains)
    for part, result in results.items():
        name = part.replace("_", " ")
        print(f"{name:<28}{result['above_imports']:>17.2f} GB{result['seconds']:>10.1f} s")


if __name__ == "__main__":
    main()
