"""How seconds and memory of each step grow with the number of cells, up to 200,000.

``python benchmarks/growth.py --figure growth.png`` writes tissues of 300 genes and 10 types, and
runs on each, in a process of its own: the tissue's own test, the scores of all receivers, scores
with effects, and the training of one model of the usual sizes. Printed are the seconds of each (of
training those of an epoch), the peak of memory above the imports, and the exponents by which the
seconds grow. About twelve minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
import effects as benchmark_of_effects
import numpy as np
import setting
import training
from process_memory import peak

import amici_xr
import amici_xr.training.attention_model  # counted among the imports

NUMBERS_OF_CELLS = (5_000, 10_000, 20_000, 50_000, 100_000, 200_000)
FROM = 20_000  # cells, from which on exponents are fitted: below, what is constant counts
HELD = "GB above the imports"


def test_pairs(path: Path) -> float:
    """Ask the tissue alone; return the seconds."""
    start = time.perf_counter()
    amici_xr.distance_response(path, "cell_type", log_normalize=True, progress=False)
    return time.perf_counter() - start


def extract(path: Path, *, effects: bool = False) -> float:
    """Score all receivers; return the seconds."""
    model = benchmark_of_effects.model("usual", setting.N_GENES, setting.N_TYPES)
    start = time.perf_counter()
    amici_xr.extract(model, None, path, effects=effects, progress=False)
    return time.perf_counter() - start


def extract_effects(path: Path) -> float:
    """Score all receivers, with effects; return the seconds."""
    return extract(path, effects=True)


def train(path: Path) -> float:
    """Train one model for two epochs; return the seconds of the second."""
    adata = anndata.read_h5ad(path)
    adata.X.data = np.log1p(adata.X.data)
    return training.seconds_of_an_epoch(adata, 1, training.N_HEADS, n_epochs=2)


STEPS: dict[str, Callable[[Path], float]] = {
    "distance response": test_pairs,
    "scores": extract,
    "scores and effects": extract_effects,
    "an epoch of training": train,
}


def measure(step: str, path: Path) -> dict[str, float]:
    """Run a step in this process, after a small tissue for which it imports what it needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of random weights and few epochs
        STEPS[step](path.with_name("small.h5ad"))
        before = peak()
        return {"seconds": STEPS[step](path), HELD: peak() - before}


def exponent_of(cells: list[int], seconds: list[float]) -> float:
    """Return by which power of the number of cells seconds grow."""
    kept = np.array(cells) >= min(FROM, max(cells) / 2)
    return float(np.polyfit(np.log(np.array(cells)[kept]), np.log(np.array(seconds)[kept]), 1)[0])


def draw(found: dict[str, dict[int, dict[str, float]]], path: Path) -> None:
    """Draw seconds and memory of each step against the number of cells."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    with plt.style.context("amici_xr.figures"):
        figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
        for ax, name in zip(axes, ("seconds", HELD), strict=True):
            for step, rows in found.items():
                ax.plot(list(rows), [row[name] for row in rows.values()], marker="o", label=step)
            ax.set(xscale="log", yscale="log", xlabel="cells", ylabel=name)
        axes[0].legend()
        figure.savefig(path, dpi=120, metadata={"Software": None})
        plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table, and draw a figure where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, help="file of a figure, e.g. growth.png")
    parser.add_argument("--cells", type=int, nargs="+", default=list(NUMBERS_OF_CELLS))
    parser.add_argument("--steps", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.measure:
        print(json.dumps(measure(given.measure[0], Path(given.measure[1]))))
        return
    found: dict[str, dict[int, dict[str, float]]] = {step: {} for step in given.steps}
    print(f"| step | cells | seconds | {HELD} |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        setting.tissue(1_000).write_h5ad(Path(folder) / "small.h5ad")
        for n_cells in given.cells:
            path = Path(folder) / f"tissue_of_{n_cells}.h5ad"
            setting.tissue(n_cells).write_h5ad(path)
            for step in given.steps:
                command = [sys.executable, __file__, "--measure", step, str(path)]
                done = subprocess.run(command, check=True, capture_output=True)
                row = found[step][n_cells] = json.loads(done.stdout.splitlines()[-1])
                cells = (step, f"{n_cells:,}", f"{row['seconds']:.1f}", f"{row[HELD]:.2f}")
                print(f"| {' | '.join(cells)} |", flush=True)
    for step, rows in found.items() if len(given.cells) > 1 else ():
        exponent = exponent_of(list(rows), [row["seconds"] for row in rows.values()])
        print(f"{step}: seconds grow as cells^{exponent:.2f}")
    if given.figure:
        draw(found, given.figure)


if __name__ == "__main__":
    main()
