"""Scores and training on a GPU beside the same on the processor: ``python benchmarks/gpu.py``.

Prints the time of a whole extraction of all queries on each device and how far the scores differ,
and the seconds of an epoch of 1 and of 32 models trained at once. Says so where there is no GPU.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import setting
import torch
from speed import seconds
from training import seconds_of_an_epoch

import amici_xr


def main() -> int:
    """Measure both devices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("torch sees no GPU here, so there is nothing to measure")
        return 1
    model, tissue = setting.saved_model(), setting.tissue(arguments.cells)
    results, times = {}, {}
    for device in ("cuda", "cpu"):

        def extract(device: str = device) -> None:
            results[device] = amici_xr.extract(model, None, tissue, device=device, progress=False)

        extract()  # once to warm up
        times[device] = seconds(extract, 2)
        print(f"{device}: {times[device]:.2f} s for {arguments.cells:,} cells, all queries")
    print(f"{torch.cuda.get_device_name()}: {times['cpu'] / times['cuda']:.1f} times as fast")
    for name in ("base_attention_score", "position_coefficient"):
        difference = float(np.abs(results["cuda"][name] - results["cpu"][name]).max())
        print(f"largest difference of {name}: {difference:.2g}")
    _, adata = amici_xr.demo()
    for device, n_runs in (("cpu", 1), ("cuda", 1), ("cuda", 32)):
        epoch = seconds_of_an_epoch(adata.copy(), n_runs, 8, device=device)
        print(f"{device}: {epoch:.2f} s an epoch of {n_runs} models, {adata.n_obs:,} cells")
    return 0


if __name__ == "__main__":
    sys.exit(main())
