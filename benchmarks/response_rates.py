"""How often ``distance_response`` finds what is planted, and calls what is not.

Run with ``python benchmarks/response_rates.py``; about 3 s a tissue. Each row is a setting of
`amici_xr.testing.simulate_tissue`. A pair is called where its q is below 0.05. The calibration
counts the p of genes in pairs that are not planted.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

import amici_xr

LEVEL = 0.05
P_BOUNDS = (0.05, 0.01, 0.001)
_DOMAINS = {"n_cells": 8_000, "n_types": 12, "n_genes": 150, "n_pairs": 4,
            "arrangement": "domains", "counts": True, "noise": 0.3}  # fmt: skip

SETTINGS: dict[str, dict[str, Any]] = {
    "effect 1": {"effect": 1.0},
    "effect 0.4": {"effect": 0.4},
    "effect 0.2": {"effect": 0.2},
    "none": {"n_pairs": 0},
    "gradient, none planted": {"n_pairs": 0, "gradient": 0.7},
    "gradient, effect 1": {"effect": 1.0, "gradient": 0.7},
    "fields of 25 µm, none planted": {"n_pairs": 0, "field_scale": 25.0, "field_share": 0.5},
    "fields of 25 µm, effect 0.4": {"effect": 0.4, "field_scale": 25.0, "field_share": 0.5},
    "800 cells, effect 0.4": {"n_cells": 800, "effect": 0.4},
    "800 cells, none planted": {"n_cells": 800, "n_pairs": 0},
    "uneven density, effect 0.4": {"effect": 0.4, "uneven": True},
    "uneven density, none planted": {"n_pairs": 0, "uneven": True},
    "domains, effect 1": {"effect": 1.0, "arrangement": "domains"},
    "domains, none planted": {"n_pairs": 0, "arrangement": "domains"},
    "clumps of 40 µm, none planted": {
        "n_pairs": 0, "arrangement": "clumps", "clumped_expression": 0.5,
    },
    "spillover of 15%, none planted": {"n_pairs": 0, "spillover": 0.15},
    "three samples, effect 0.4": {"effect": 0.4, "n_samples": 3},
    "three samples, none planted": {"n_pairs": 0, "n_samples": 3},
    "counts in domains, fold 2": {**_DOMAINS, "effect": np.log(2.0)},
    "counts in domains, fold 1.5": {**_DOMAINS, "effect": np.log(1.5)},
    "counts in domains, smooth fold 2": {**_DOMAINS, "effect": np.log(2.0), "shape": "decay"},
    "counts in domains, none planted": {**_DOMAINS, "n_pairs": 0},
    "1,000 genes, effect 0.4": {"n_genes": 1_000, "effect": 0.4},
    "1,000 genes, none planted": {"n_genes": 1_000, "n_pairs": 0},
    "20 types, effect 0.4": {"n_cells": 8_000, "n_types": 20, "effect": 0.4},
    "20 types, none planted": {"n_cells": 8_000, "n_types": 20, "n_pairs": 0},
}  # fmt: skip


class Tally(NamedTuple):
    """What is found in one tissue."""

    planted: NDArray[np.int64]  # called: plain, beyond the niche, strict; and how many there are
    unplanted: NDArray[np.int64]
    genes: NDArray[np.int64]  # planted genes found, planted in called pairs, false, called
    null_p: NDArray[np.float64]


def tally(ds: xr.Dataset, planted: pd.DataFrame) -> Tally:
    """Compare the calls of one tissue with what was planted."""
    truth = {
        (query, label): set(rows["gene"])
        for (query, label), rows in planted.groupby(["query", "label"])
    }
    counts = {True: np.zeros(4, dtype=np.int64), False: np.zeros(4, dtype=np.int64)}
    genes = np.zeros(4, dtype=np.int64)
    null_p = []
    for query in ds["query"].values:
        for label in ds["label"].values:
            pair = ds.sel(query=query, label=label)
            if pair["status"].item() != "tested":
                continue
            is_called = [
                bool(pair[name] < LEVEL)
                for name in ("q_value", "q_value_beyond_niche", "q_value_strict")
            ]
            responding = truth.get((str(query), str(label)), set())
            counts[bool(responding)] += [*is_called, 1]
            p = pair["gene_p_value"].values
            if not responding:
                null_p.append(p[p < 1])
            elif is_called[0]:
                called = set(ds["gene"].values[pair["gene_q_value"].values < LEVEL])
                genes += [len(called & responding), len(responding),
                          len(called - responding), len(called)]  # fmt: skip
    return Tally(counts[True], counts[False], genes, np.concatenate(null_p))


def row_of(name: str, tallies: list[Tally]) -> str:
    """Return the row of a setting in the table."""
    planted = sum(one.planted for one in tallies)
    unplanted = sum(one.unplanted for one in tallies)
    genes = sum(one.genes for one in tallies)
    tissues = [sum(one.unplanted[which] > 0 for one in tallies) for which in range(3)]
    p = np.concatenate([one.null_p for one in tallies])
    cells = [name]
    for which in range(3):
        found = f"{planted[which]} of {planted[3]}" if planted[3] else "–"
        cells.append(f"{found}; {unplanted[which]} of {unplanted[3]} ({tissues[which]})")
    cells.append(f"{genes[0]} of {genes[1]} / {genes[2]} of {genes[3]}" if genes[3] else "")
    cells.append(" / ".join(f"{100 * (p < bound).mean():.3g}" for bound in P_BOUNDS))
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tissues", type=int, default=25, metavar="25")
    parser.add_argument("--seed", type=int, default=0, metavar="0")
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    arguments = parser.parse_args()
    print(
        "| setting | planted found; others called (tissues with any) | the same beyond the niche | "
        "the same, strict | planted genes found / false among called | null p of genes below "
        "0.05 / 0.01 / 0.001 (%) |\n| --- | --- | --- | --- | --- | --- |"
    )
    start = time.perf_counter()
    for name in arguments.settings:
        tallies = []
        for seed in range(arguments.seed, arguments.seed + arguments.tissues):
            tissue = amici_xr.testing.simulate_tissue(seed=seed, **SETTINGS[name])
            sample_key = "sample" if SETTINGS[name].get("n_samples", 1) > 1 else None
            ds = amici_xr.distance_response(
                tissue, "cell_type", sample_key=sample_key, progress=False
            )
            tallies.append(tally(ds, tissue.uns["planted"]))
        print(row_of(name, tallies), flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
