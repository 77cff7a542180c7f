"""How often evidence from models finds planted pairs, and calls others.

Run with ``python benchmarks/evidence_rates.py --out rates.csv``; about 5 min a tissue on one core.
Tissues of `amici_xr.testing.simulate_tissue` with 3,000 cells, 5 types, 50 genes and two planted
pairs or none are asked twice: by refits without each sender (``leave_out_senders``), and the cheap
way, by masking each sender in one model (``prediction_gain`` on held-out cells, ``train`` holding
30% out). A pair is called where its q is below 0.05. Rows are added to the file, tissue by tissue,
so that a benchmark that was stopped goes on; the table of all rows is printed at the end.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import torch
import xarray as xr

import amici_xr
from amici_xr.refits.arguments import SIZES

LEVEL = 0.05
TISSUE = {"n_cells": 3_000, "n_types": 5, "n_genes": 50, "n_pairs": 2}
SETTINGS: dict[str, dict[str, Any]] = {
    "two planted pairs": {},
    "none planted": {"n_pairs": 0},
    "gradient, two planted pairs": {"gradient": 0.7},
    "fields of 25 µm, two planted pairs": {"field_scale": 25.0, "field_share": 0.5},
}
N_NEIGHBORS, MAX_EPOCHS = 20, 60


def count(ds: xr.Dataset, adata: anndata.AnnData) -> dict[str, int]:
    """Count the pairs that were planted and tested, and those of them that are called."""
    planted = set(zip(adata.uns["planted"]["query"], adata.uns["planted"]["label"], strict=True))
    counts = dict.fromkeys(("planted", "found", "unplanted", "called"), 0)
    for query in ds["query"].values:
        for label in ds["label"].values:
            q = float(ds["q_value"].sel(query=query, label=label))
            if np.isnan(q):
                continue
            kinds = ("planted", "found") if (query, label) in planted else ("unplanted", "called")
            counts[kinds[0]] += 1
            counts[kinds[1]] += q < LEVEL
    return counts


def refits(adata: anndata.AnnData, seed: int, checkpoint: Path | None = None) -> xr.Dataset:
    """Leave out each sender."""
    return amici_xr.leave_out_senders(
        adata, "cell_type", n_neighbors=N_NEIGHBORS, max_epochs=MAX_EPOCHS, seed=seed,
        checkpoint=checkpoint, progress=False,
    )  # fmt: skip


def held_out_gains(
    adata: anndata.AnnData,
    seed: int,
    checkpoint: Path | None = None,  # it is quick, and begins anew
    labels_key: str = "cell_type",
    n_neighbors: int = N_NEIGHBORS,
    batch_size: int = 64,
    permute: str | None = None,
) -> xr.Dataset:
    """Mask each sender in one model, trained as refits are, on 30% that are held out."""
    runs = amici_xr.train(
        adata, labels_key, n_neighbors=n_neighbors, max_epochs=MAX_EPOCHS, seed=seed,
        permute=permute, batch_size=batch_size, adam_epsilon=1e-3, validation_size=0.3,
        early_stopping_patience=None, progress=False,
        attention_penalty_epochs=(MAX_EPOCHS // 2, 5 * MAX_EPOCHS // 6), **SIZES,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of models that have learned nothing
        return amici_xr.prediction_gain(runs.extract(effects=True, progress=False))


WAYS = {"refits": refits, "held-out gains of one model": held_out_gains}


def main() -> None:
    """Try tissues, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("evidence_rates.csv"))
    parser.add_argument("--tissues", type=int, default=8, help="of each setting")
    parser.add_argument("--checkpoints", type=Path, help="folder, to go on within a tissue too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = pd.read_csv(arguments.out) if arguments.out.exists() else pd.DataFrame()
    done = set() if rows.empty else set(zip(rows["setting"], rows["seed"], strict=True))
    for seed in range(arguments.tissues):
        for setting, changes in SETTINGS.items():
            if (setting, seed) in done:
                continue
            adata = amici_xr.testing.simulate_tissue(**(TISSUE | changes), seed=1_000 + seed)
            folder = arguments.checkpoints
            checkpoint = None if folder is None else folder / f"{setting} {seed}"
            found = []
            for way, ask in WAYS.items():
                start = time.perf_counter()
                counts = count(ask(adata, seed, checkpoint), adata)
                seconds = time.perf_counter() - start
                found.append({"setting": setting, "seed": seed, "way": way} | counts)
                found[-1]["seconds"] = round(seconds, 1)
                print(found[-1], flush=True)
            rows = pd.concat([rows, pd.DataFrame(found)], ignore_index=True)
            rows.to_csv(arguments.out, index=False)
    sums = rows.groupby(["way", "setting"], sort=False)
    table = sums[["planted", "found", "unplanted", "called"]].sum()
    table.insert(0, "tissues", sums["seed"].nunique())
    print(table.to_string())


if __name__ == "__main__":
    main()
