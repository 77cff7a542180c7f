"""The atlas of a whole tissue, from a file: ``python benchmarks/atlas.py``.

Writes a simulated tissue of 20 types, 8 heads and 100,000 cells with 30 neighbors each to NetCDF,
opens it again, and prints how long each answer about all of its pairs takes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

import amici_xr

THRESHOLD = 0.1
QUESTIONS: dict[str, Callable[[xr.Dataset], Any]] = {
    "atlas": lambda ds: ds.amici.atlas(THRESHOLD),
    "atlas at three thresholds": lambda ds: ds.amici.atlas([0.1, 0.25, 0.5]),
    "attention in place": lambda ds: ds.amici.attention(),
    "attention by label and distance": lambda ds: ds.amici.attention_by_distance(10),
    "in-context length scales": lambda ds: ds.amici.in_context_length_scale(THRESHOLD),
    "the same, all competing": lambda ds: ds.amici.in_context_length_scale(THRESHOLD, "all"),
}


def main() -> None:
    """Measure each question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--types", type=int, default=20)
    parser.add_argument("--heads", type=int, default=8)
    arguments = parser.parse_args()
    types = [f"cell type {number}" for number in range(arguments.types)]
    ds = amici_xr.testing.simulate_dataset(
        types, n_cells=arguments.cells, n_heads=arguments.heads, n_neighbors=30, cell_types=types
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tissue.nc"
        ds.to_netcdf(path)
        size = path.stat().st_size / 1e6
        opened = xr.open_dataset(path)
        print(
            f"{arguments.types} types x {arguments.heads} heads x {arguments.cells:,} cells: "
            f"{size:,.0f} MB in a file"
        )
        start = time.perf_counter()
        opened.load()
        print(f"{'read from the file':<34}{time.perf_counter() - start:6.1f} s")
        for name, ask in QUESTIONS.items():
            start = time.perf_counter()
            ask(opened)
            print(f"{name:<34}{time.perf_counter() - start:6.1f} s")
        opened.close()


if __name__ == "__main__":
    main()
