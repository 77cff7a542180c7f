"""What the original itself takes: amici-st 0.1.0, by its public functions alone.

Run by `speed.py` with an interpreter that has amici-st (``make test-amici`` makes one); prints
JSON. It has no function that returns length scales, and no bootstrap.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

import numpy as np
import setting

DISTANCES = np.linspace(0, 50, 51)


def main(n_cells: int) -> dict[str, float]:
    """Time scores of one query, and curves of one head with their mean and std, times the heads."""
    os.environ["WANDB_MODE"] = "disabled"
    from amici import AMICI

    tissue = setting.tissue(n_cells)
    AMICI.setup_anndata(
        tissue,
        labels_key="cell_type",
        coord_obsm_key="spatial",
        n_neighbors=setting.N_NEIGHBORS,
    )
    model = AMICI(
        tissue,
        n_heads=setting.N_HEADS,
        n_query_dim=setting.HEAD_FEATURES,
        n_head_size=setting.HEAD_SIZE,
        n_nn_embed=setting.CELL_FEATURES,
        n_nn_embed_hidden=setting.N_HIDDEN,
    )
    model.module.load_state_dict(setting.saved_model().weights, strict=False)
    model.is_trained = True
    start = time.perf_counter()
    scored = model.get_counterfactual_attention_patterns(setting.QUERY)
    after_scores = time.perf_counter()
    times = []
    for _ in range(3):
        again = time.perf_counter()
        curves = scored.calculate_counterfactual_attention_at_distances(0, DISTANCES.tolist())
        curves.groupby(["neighbor_label", "distance"])["head_0"].agg(["mean", "std"])
        times.append(time.perf_counter() - again)
    return {"scores": after_scores - start, "curves": setting.N_HEADS * min(times)}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        measured = main(int(sys.argv[1]))
    print(json.dumps(measured))
