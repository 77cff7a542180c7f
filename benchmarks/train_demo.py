"""Train a model on the demo's tissue: how runs 1 and 2 of `amici_xr.demo` were made.

``python benchmarks/train_demo.py --seed 1 --out FOLDER``, where amici-st is installed (``make
test-amici`` makes such an environment). Sizes and penalties are those saved with the model of run
0. What that file does not record is amici-st's and scvi-tools' default (batches of 128, Adam with
its settings), but for a learning rate that falls to zero along a cosine, and the number of epochs.
The loss is the module's own. All cells are trained on, from tensors in memory, which is far faster
than the data loader: on one otherwise idle core less than two seconds an epoch. The same seed gives
the same weights on the same machine; elsewhere sums are rounded otherwise, and training drifts.
"""

from __future__ import annotations

import argparse
import os
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import torch

import amici_xr

N_NEIGHBORS = 30
N_EPOCHS = 200
BATCH_SIZE = 128
LEARNING_RATE = 1e-3
MODEL_SETTINGS: dict[str, Any] = {
    "attention_penalty_coef": 1e-6,
    "value_l1_penalty_coef": 1e-5,
    "n_heads": 4,
    "n_head_size": 16,
    "n_label_embed": 16,
    "n_kv_dim": 64,
    "n_query_dim": 32,
    "n_query_embed_hidden": 64,
    "n_nn_embed": 64,
    "n_nn_embed_hidden": 128,
    "n_pos_coef_mlp_hidden": 64,
}


def main(seed: int, out: Path, n_epochs: int = N_EPOCHS) -> None:
    """Train with one seed and save the folder, printing the loss on the way."""
    os.environ["WANDB_MODE"] = "disabled"
    import scvi
    from amici import AMICI

    scvi.settings.seed = seed
    adata = anndata.read_h5ad(str(files(amici_xr.demo_data) / "tissue.h5ad"))
    AMICI.setup_anndata(
        adata, labels_key="cell_type", coord_obsm_key="spatial", n_neighbors=N_NEIGHBORS
    )
    model = AMICI(adata, **MODEL_SETTINGS)
    train(model.module, tensors_of(adata), n_epochs)
    model.is_trained = True
    model.save(str(out), overwrite=True)


def tensors_of(adata: anndata.AnnData) -> dict[str, torch.Tensor]:
    """Return what the module asks for but for the neighbors' genes, cells along the first axis."""
    labels = torch.from_numpy(adata.obs["_scvi_labels"].to_numpy(dtype=np.int64))
    index = torch.from_numpy(adata.obsm["_nn_idx"].astype(np.int64))
    return {
        "X": torch.from_numpy(np.asarray(adata.X, dtype=np.float32)),
        "coordinates": torch.from_numpy(adata.obsm["spatial"].astype(np.float32)),
        "labels": labels[:, None],
        "nn_idx": index,
        "nn_dist": torch.from_numpy(adata.obsm["_nn_dist"].astype(np.float32)),
        "nn_labels": labels[index][..., None],
    }


def train(module: torch.nn.Module, tensors: dict[str, torch.Tensor], n_epochs: int) -> None:
    """Minimise the module's own loss."""
    n_cells = len(tensors["X"])
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, weight_decay=1e-6, eps=0.01)
    n_steps = n_epochs * -(-n_cells // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    module.train()
    start = time.perf_counter()
    for epoch in range(n_epochs):
        total = 0.0
        for cells in torch.randperm(n_cells).split(BATCH_SIZE):
            batch = {name: tensor[cells] for name, tensor in tensors.items()}
            batch["nn_x"] = tensors["X"][batch["nn_idx"]]
            loss = module(batch)[2].loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(cells)
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1}: loss {total / n_cells:.4f}, {seconds:.0f} s", flush=True)
    module.eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=N_EPOCHS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the order of float32 sums depends on it
    main(arguments.seed, arguments.out, arguments.epochs)
