"""How the time of ``distance_response`` grows with cells, genes and types.

Run with ``OMP_NUM_THREADS=1 python benchmarks/response_growth.py --figure growth.png``; about two
minutes. One of the three sizes grows while the others stay. Seconds are those that the process
computes, so that what else a machine does counts little.
"""

from __future__ import annotations

import argparse
import os
import time

import amici_xr

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
        axes[0, 0].set_ylabel("seconds of computing,\none thread")
        figure.savefig(path, dpi=120, metadata={"Software": None})
        plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table, and draw a figure where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", help="file of a figure, e.g. growth.png")
    given = parser.parse_args(arguments)
    print(f"threads: OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}")
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
