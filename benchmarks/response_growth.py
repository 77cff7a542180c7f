"""How the time of ``distance_response`` grows with cells, genes and types.

Run with ``python benchmarks/response_growth.py --figure growth.png``; about two minutes. One of the
three sizes grows while the others stay. Seconds are those that the process computes, summed over
its threads, so that what else a machine does counts little.

``--large`` goes from 5,000 to 100,000 cells with 300 genes and 20 types instead, each in a process
of its own: seconds on the clock, memory above the imports, and the exponent by which time grows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata
import numpy as np
from process_memory import peak

import amici_xr

LARGE = {"n_genes": 300, "n_types": 20, "n_pairs": 2, "genes_per_pair": 8}
NUMBERS_OF_CELLS = (5_000, 10_000, 20_000, 50_000, 100_000)
USUAL = {"n_cells": 2_000, "n_genes": 40, "n_types": 4}
SIZES = {
    "n_cells": (1_000, 2_000, 4_000, 8_000),
    "n_genes": (20, 40, 80, 160, 320),
    "n_types": (2, 4, 8, 12),
}


def seconds_of(**sizes: int) -> float:
    """Return the seconds of computing that the test of a simulated tissue takes."""
    tissue = amici_xr.testing.simulate_tissue(**sizes, n_pairs=1, genes_per_pair=4)
    start = time.process_time()
    amici_xr.distance_response(tissue, "cell_type", progress=False)
    return time.process_time() - start


def measure(sizes: dict[str, tuple[int, ...]]) -> dict[str, list[float]]:
    """Return seconds for each size of each kind, the others being usual."""
    seconds_of(**{name: min(values) for name, values in sizes.items()})  # what is imported late
    return {
        name: [seconds_of(**{**USUAL, name: value}) for value in values]
        for name, values in sizes.items()
    }


def measure_file(path: str) -> dict[str, float]:
    """Test the tissue of a file in this process: seconds, and the memory above the imports."""
    small = amici_xr.testing.simulate_tissue(n_cells=500, n_genes=8, n_types=2, n_pairs=1)
    amici_xr.distance_response(small, "cell_type", progress=False)  # what is imported late
    before = peak()
    start = time.perf_counter()
    tissue = anndata.read_h5ad(path)
    amici_xr.distance_response(tissue, "cell_type", progress=False)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "GB": peak() - before}


def measure_large() -> None:
    """Print seconds and memory for each number of cells, and the exponent."""
    print(f"{LARGE['n_genes']} genes, {LARGE['n_types']} types, {os.cpu_count()} cores\n")
    print("| cells | seconds | GB above the imports |\n| --- | --- | --- |")
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for n_cells in NUMBERS_OF_CELLS:
            path = Path(folder) / "tissue.h5ad"
            amici_xr.testing.simulate_tissue(n_cells=n_cells, **LARGE).write_h5ad(path)
            command = [sys.executable, __file__, "--file", str(path)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            seconds.append(found["seconds"])
            print(f"| {n_cells:,} | {found['seconds']:.1f} | {found['GB']:.2f} |", flush=True)
    for first in (0, 2):
        cells, taken = np.log(NUMBERS_OF_CELLS[first:]), np.log(seconds[first:])
        exponent = np.polyfit(cells, taken, 1)[0]
        print(f"\nfrom {NUMBERS_OF_CELLS[first]:,} cells on, seconds grow as cells^{exponent:.2f}")


def draw(sizes: dict[str, tuple[int, ...]], seconds: dict[str, list[float]], path: str) -> None:
    """Draw seconds against each size."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    with plt.style.context("amici_xr.figures"):
        figure, axes = plt.subplots(
            1, len(sizes), figsize=(8, 2.8), layout="constrained", sharey=True, squeeze=False
        )
        for ax, (name, values) in zip(axes[0], sizes.items(), strict=True):
            ax.plot(values, seconds[name], marker="o")
            ax.set_xlabel(name.removeprefix("n_"))
        for ax in axes[0]:  # after all are drawn, since they share an axis
            ax.set_ylim(bottom=0)
            ax.set_xlim(left=0)
        axes[0, 0].set_ylabel("seconds of computing")
        figure.savefig(path, dpi=120, metadata={"Software": None})
        plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table, and draw a figure where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", help="file of a figure, e.g. growth.png")
    parser.add_argument("--large", action="store_true", help="up to 100,000 cells")
    parser.add_argument("--file", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.file:
        print(json.dumps(measure_file(given.file)))
        return
    if given.large:
        measure_large()
        return
    print(f"usual: {', '.join(f'{name} {value:,}' for name, value in USUAL.items())}\n")
    seconds = measure(SIZES)
    print("| grows | size | seconds |\n| --- | --- | --- |")
    for name, values in SIZES.items():
        for value, taken in zip(values, seconds[name], strict=True):
            print(f"| {name} | {value:,} | {taken:.2f} |")
    if given.figure:
        draw(SIZES, seconds, given.figure)


if __name__ == "__main__":
    main()
