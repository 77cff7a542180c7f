"""Whether memory stays level where one process extracts, tests, saves and opens again and again.

Run with ``python benchmarks/soak.py``; some minutes. Each round extracts scores and effects of the
packaged model, asks the tissue, joins them in an atlas, saves a study with the gains, opens it and
reads it whole. Printed is what the process holds after some rounds, with and without what the
allocator keeps for later, and the ratios of the last round to the fifth. The first is to stay below
1.05; the second rises for some more rounds, until memory that was freed is as scattered as it gets.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import math
import tempfile
from pathlib import Path

import anndata
import xarray as xr
from process_memory import resident

import amici_xr

FIRST = 5  # rounds before which imports and caches still grow


def held() -> tuple[float, float]:
    """Return the memory in use, and that with what the allocator keeps for later, in GB."""
    gc.collect()
    with_kept = resident()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # gives back what is kept
    return resident(), with_kept


def work(model: amici_xr.SavedModel, tissue: anndata.AnnData, folder: Path) -> None:
    """Go from model and tissue to a study in a file, and back."""
    ds = amici_xr.extract(model, None, tissue, effects=True, progress=False)
    response = amici_xr.distance_response(tissue, "cell_type", progress=False)
    gain = ds.cf.prediction_gain()
    ds.cf.atlas(evidence=response)
    path = folder / "study.nc"
    tree = xr.DataTree.from_dict({"scores": ds, "response": response, "gain": gain})
    amici_xr.save(tree, path)
    with amici_xr.open_study(path) as study:
        study.load()
        study.cf.bootstrap(resampling_unit="spatial")


def main() -> None:
    """Work, and print what is held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    model, tissue = amici_xr.demo()
    before = now = (math.nan, math.nan)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, rounds + 1):
            work(model, tissue, Path(folder))
            if number in (FIRST, rounds) or number % 10 == 0:
                now = held()
                print(f"round {number}: {now[0]:.3f} GB in use, {now[1]:.3f} GB held", flush=True)
                before = now if number == FIRST else before
    ratios = [last / first for last, first in zip(now, before, strict=True)]
    print(f"last round beside the fifth: {ratios[0]:.3f} in use, {ratios[1]:.3f} held")


if __name__ == "__main__":
    main()
