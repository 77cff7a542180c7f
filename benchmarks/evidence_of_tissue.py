"""Ask a tissue for all three kinds of evidence, as it is and permuted, and print them side by side.

Run with ``python benchmarks/evidence_of_tissue.py TISSUE.h5ad --labels-key cell_type``; 40 min on
one core for 5,517 cells of 9 types and 135 genes. With expression permuted within types every call
is false. ``--folder`` keeps results and checkpoints, so that a benchmark that was stopped goes on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import anndata
import evidence_rates
import pandas as pd
import torch
import xarray as xr
from evidence_rates import LEVEL, held_out_gains
from response_power import permuted

import amici_xr


def evidence(
    adata: anndata.AnnData, labels_key: str, permute: str | None, folder: Path
) -> dict[str, xr.Dataset]:
    """Compute each kind, or read it from the folder."""
    labels = adata.obs[labels_key].to_numpy(object)
    tissue = adata if permute is None else permuted(adata, labels, seed=0)
    ways = {
        "tissue": lambda: amici_xr.distance_response(tissue, labels_key, progress=False),
        "held_out_gain": lambda: held_out_gains(
            adata, 0, labels_key=labels_key, n_neighbors=50, batch_size=128, permute=permute
        ),
        "refits": lambda: amici_xr.leave_out_senders(
            adata,
            labels_key,
            permute=permute,
            max_epochs=evidence_rates.MAX_EPOCHS,
            checkpoint=folder / f"refits_{permute}",
        ),
    }
    found = {}
    for name, ask in ways.items():
        path = folder / f"{name}_{permute}.nc"
        if not path.exists():
            start = time.perf_counter()
            amici_xr.save(ask(), path)
            print(f"{name}, {permute or 'as it is'}: {time.perf_counter() - start:.0f} s")
        found[name] = amici_xr.open_dataset(path).load()
    return found


def table(found: dict[str, xr.Dataset]) -> pd.DataFrame:
    """Return q of each kind for all pairs that any of them calls."""
    q = xr.Dataset({name: ds["q_value"] for name, ds in found.items()})
    q["tissue, beyond niche"] = found["tissue"]["q_value_beyond_niche"]
    q["tissue, strict"] = found["tissue"]["q_value_strict"]
    rows = q.to_dataframe()
    return rows[(rows < LEVEL).any(axis=1)]


def main() -> None:
    """Print calls, as the tissue is and permuted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tissue", type=Path)
    parser.add_argument("--labels-key", default="cell_type")
    parser.add_argument("--folder", type=Path, default=Path("evidence"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.folder.mkdir(exist_ok=True)
    adata = anndata.read_h5ad(arguments.tissue)
    for permute in (None, "expression"):
        found = evidence(adata, arguments.labels_key, permute, arguments.folder)
        print(f"\n{permute or 'as it is'}: pairs with q < {LEVEL}, of those tested")
        for name, ds in found.items():
            n_called, n_tested = int((ds["q_value"] < LEVEL).sum()), int(ds["q_value"].count())
            print(f"    {name}: {n_called} of {n_tested}")
        print(table(found).round(4).to_string())


if __name__ == "__main__":
    main()
