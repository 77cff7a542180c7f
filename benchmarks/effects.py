"""What effects cost beside scores, in time and memory, at the size of a seqFISH embryo.

``python benchmarks/effects.py`` extracts all queries of 14,139 cells of 17 types with 6 heads, 351
genes and K = 30, without effects, with them, and by head. ``--cells 500000 --chunks`` streams
the cells of a file, and shows how memory grows with their number, and how much of that the result
holds: compare two numbers of cells. Every part runs in a process of its own, whose peak is that of
the system's own account.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anndata
import dask.array  # noqa: F401  # counted among the imports
import setting
from process_memory import peak

import amici_xr
import amici_xr.extraction.effects

N_CELLS, N_GENES, N_TYPES, N_HEADS, N_NEIGHBORS = 14_139, 351, 17, 6, 30
SIZES = {
    "of the tests' models": {},
    "usual": {
        "label_size": 32,
        "query_size": 64,
        "cell_size": 256,
        "key_size": 256,
        "hidden_size": 512,
    },
}
MODES: dict[str, bool | str] = {"without": False, "effects": True, "by head": "by_head"}


def model(
    size: str, n_genes: int, n_types: int, n_neighbors: int = N_NEIGHBORS
) -> amici_xr.SavedModel:
    """Return a model with random weights."""
    tissue = setting.tissue(n_types, n_genes, n_types)
    labels = [f"type_{code}" for code in range(n_types)]
    options: Any = SIZES[size]
    return amici_xr.testing.simulate_model(
        tissue.var_names, labels, n_heads=N_HEADS, n_neighbors=n_neighbors, **options
    )


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Extract once, in this process: seconds, and the peak of memory above the imports."""
    path = Path(arguments.tissue)
    made = model(arguments.size, arguments.genes, arguments.types, arguments.neighbors)
    adata: Any = path if arguments.chunks else anndata.read_h5ad(path)
    query = [f"type_{code}" for code in range(arguments.queries)] if arguments.queries else None
    before = peak()
    start = time.perf_counter()
    ds = amici_xr.extract(
        made,
        query,
        adata,
        effects=MODES[arguments.mode],
        chunks="auto" if arguments.chunks else None,
        progress=False,
    )
    seconds, above = time.perf_counter() - start, 1e3 * (peak() - before)
    held = sum(array.nbytes for array in ds.variables.values() if array.chunks is None)
    return {"seconds": seconds, "MB": above, "result MB": held / 1e6}


def main() -> None:
    """Print a row for each size of the network and each mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=N_CELLS)
    parser.add_argument("--genes", type=int, default=N_GENES)
    parser.add_argument("--types", type=int, default=N_TYPES)
    parser.add_argument("--neighbors", type=int, default=N_NEIGHBORS)
    parser.add_argument("--queries", type=int, default=0, help="0: all")
    parser.add_argument("--size", default=None, choices=list(SIZES))
    parser.add_argument("--mode", default=None, choices=list(MODES))
    parser.add_argument("--chunks", action="store_true")
    parser.add_argument("--tissue", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tissue:
        print(json.dumps(measure(arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tissue.h5ad"
        setting.tissue(arguments.cells, arguments.genes, arguments.types).write_h5ad(path)
        for size in [arguments.size] if arguments.size else SIZES:
            without = None
            for mode in [arguments.mode] if arguments.mode else MODES:
                words = [*sys.argv[1:], "--tissue", str(path), "--size", size, "--mode", mode]
                run = [sys.executable, "-W", "ignore", __file__, *words]
                result = json.loads(subprocess.run(run, check=True, capture_output=True).stdout)
                shown = ", ".join(f"{value:,.2f} {name}" for name, value in result.items())
                without = result["seconds"] if mode == "without" else without
                ratio = "" if without is None else f", {result['seconds'] / without:.1f} × without"
                print(f"{size:22} {mode:10} {shown}{ratio}", flush=True)


if __name__ == "__main__":
    main()
