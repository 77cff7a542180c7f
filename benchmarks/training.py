"""An epoch of training beside AMICI's own, and beside what its matrix products alone would take.

``python benchmarks/training.py --original .venv-amici/bin/python`` prints, in one run: seconds of
the fastest epoch of one model of AMICI's default sizes, here and there; of eight models at once;
and the bound, the floating-point operations of an epoch over the rate of matrix products. Without
``--original`` AMICI is left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import anndata
import lightning
import numpy as np
import torch

import amici_xr
from amici_xr.tissue.cells import read_tissue
from amici_xr.training import preparation
from amici_xr.training.loading import PatchBatches
from amici_xr.training.network.batches import TrainingTissue
from amici_xr.training.network.weights import blocks
from amici_xr.training.settings import NetworkSizes

N_NEIGHBORS, N_HEADS = 50, 4  # AMICI's default number of heads
ORIGINAL = """
    import sys, time, warnings
    warnings.simplefilter("ignore")  # of old dependencies
    import anndata, lightning, torch
    from amici import AMICI

    torch.set_num_threads(int(sys.argv[2]))
    adata = anndata.read_h5ad(sys.argv[1])
    AMICI.setup_anndata(adata, labels_key="cell_type", coord_obsm_key="spatial", n_neighbors={k})

    class Clock(lightning.Callback):
        ends = []
        def on_train_epoch_start(self, *_):
            self.ends.append(time.perf_counter())
        def on_train_end(self, *_):
            self.ends.append(time.perf_counter())

    clock = Clock()
    model = AMICI(adata, n_heads={heads})
    model.train(max_epochs=4, accelerator="cpu", enable_progress_bar=False, logger=False,
                train_size=1.0, callbacks=[clock])
    seconds = [end - start for start, end in zip(clock.ends[1:-1], clock.ends[2:])]
    print("SECONDS", min(seconds))
"""


class Clock(lightning.Callback):
    """When each epoch begins, and the last ends."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def on_train_epoch_start(self, *_: object) -> None:
        """Note the beginning of an epoch."""
        self.moments.append(time.perf_counter())

    def on_train_end(self, *_: object) -> None:
        """Note the end."""
        self.moments.append(time.perf_counter())


def seconds_of_an_epoch(
    adata: anndata.AnnData, n_runs: int, n_heads: int, *, n_epochs: int = 7, device: str = "cpu"
) -> float:
    """Register the tissue, train on it, and return the shortest epoch but the first."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of raw counts and few epochs
        amici_xr.AttentionModel.setup_anndata(adata, "cell_type", n_neighbors=N_NEIGHBORS)
        model = amici_xr.AttentionModel(adata, n_runs=n_runs, n_heads=n_heads)
        clock = Clock()
        model.train(n_epochs, validation=None, callbacks=[clock], progress=False, device=device)
    return float(np.diff(clock.moments)[1:].min())


def operations(adata: anndata.AnnData, n_heads: int) -> float:
    """Count the floating-point operations of the matrix products of an epoch, of one model.

    Each product of the forward pass has two of its size in the backward pass, but the first layer
    one; what all receivers of a type share is left out.
    """
    tissue = read_tissue(adata, labels_key="cell_type")
    index, distance = preparation.find_neighborhoods(tissue, N_NEIGHBORS)
    expression = preparation.read_expression(tissue)
    n_genes, sizes = expression.shape[1], NetworkSizes(n_heads=n_heads)
    profiles = np.zeros((len(tissue.vocabulary), n_genes), np.float32)
    arrays = TrainingTissue(
        torch.from_numpy(expression), torch.from_numpy(profiles), tissue.codes, index, distance
    )
    cells = pairs = 0
    for receivers in PatchBatches(tissue.positions, None, np.arange(tissue.n_cells), 128, 0):
        batch = arrays.batch(receivers)
        cells, pairs = cells + len(batch.expression), pairs + len(batch.pair)
    parts = blocks(sizes, n_genes)

    def products(name: str) -> int:
        n_in, n_hidden, n_out, _ = parts[name]
        return 2 * n_in * n_hidden + (n_in * n_out if n_in != n_out else 0)

    of_cells = products("nn_embed") + products("kv_embed")
    of_cells += 2 * n_heads * sizes.key_size * sizes.head_size  # keys and values
    of_cells += sizes.cell_size * sizes.position_hidden_size  # the neighbor's part of positions
    hidden, width = sizes.position_hidden_size, sizes.cell_size + sizes.label_size
    of_pairs = hidden * width + width * n_heads
    of_receivers = sizes.output_size * (sizes.output_size + n_genes)
    first = n_genes * sizes.cell_hidden_size  # no gradient with respect to expression
    total = (
        3 * (cells * of_cells + pairs * of_pairs + tissue.n_cells * of_receivers) - cells * first
    )
    return 2.0 * total


def matmul_rate() -> float:
    """Return floating-point operations a second of a product of square matrices."""
    a = torch.randn(1024, 1024)
    best = np.inf
    for _ in range(20):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--original", type=Path, help="python of an environment with amici-st")
    parser.add_argument("--many", type=int, default=8, help="models trained at once")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    _, adata = amici_xr.demo()
    one = seconds_of_an_epoch(adata.copy(), 1, N_HEADS)
    many = seconds_of_an_epoch(adata.copy(), arguments.many, N_HEADS, n_epochs=4)
    bound = operations(adata, N_HEADS) / (rate := matmul_rate())
    print(f"{adata.n_obs:,} cells, {adata.n_vars} genes, K = {N_NEIGHBORS}, {N_HEADS} heads")
    print(f"matrix products: {rate / 1e9:.0f} GFLOP/s on {arguments.threads} threads")
    print(f"one model:       {one:6.2f} s an epoch; its matrix products alone {bound:.2f} s")
    print(f"{arguments.many} models at once: {many:6.2f} s, {many / one:.1f} × one")
    if arguments.original is not None:
        adata.write_h5ad(path := Path("benchmark_tissue.h5ad").absolute())
        script = textwrap.dedent(ORIGINAL).format(k=N_NEIGHBORS, heads=N_HEADS)
        call = [arguments.original, "-c", script, path, str(arguments.threads)]
        printed = subprocess.run(call, capture_output=True, text=True, check=True).stdout
        path.unlink()
        theirs = float(printed.split("SECONDS")[1])
        print(f"AMICI's own:     {theirs:6.2f} s an epoch, {theirs / one:.1f} × ours")


if __name__ == "__main__":
    sys.exit(main())
