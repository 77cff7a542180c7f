"""Scores, effects and training on a GPU beside the same on the processor: ``benchmarks/gpu.py``.

Printed are, in one run: what the GPU multiplies and copies in a second; the seconds of scores, of
effects and of an epoch of training on each device, and how many times as fast the GPU is; the
memory of the GPU that each takes; and how far the numbers of the two devices differ. Says so where
there is no GPU. ``--profile`` adds which functions take the time of each step on the GPU.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import sys
import warnings
from collections.abc import Callable
from typing import Any

import effects as benchmark_of_effects
import numpy as np
import setting
import torch
import training
import xarray as xr
from speed import multiply_adds, seconds

import amici_xr
from amici_xr.model.network import ScoringNetwork

GPU, CPU = "cuda", "cpu"
MATRIX = 8192
RESIDENT = 2**18  # cells whose expression lies on the GPU already
COMPARED = ("base_attention_score", "position_coefficient", "gene_effect", "gene_gain")


def on_gpu(function: Callable[[], Any]) -> Callable[[], None]:
    """Wait until the GPU has done what a function asks of it."""

    def run() -> None:
        function()
        torch.cuda.synchronize()

    return run


def multiply_adds_per_second() -> float:
    """Multiply-adds of a float32 matrix product on the GPU, a second."""
    left, right = (torch.rand(MATRIX, MATRIX, device=GPU) for _ in range(2))
    seconds(on_gpu(lambda: left @ right), 2)
    return MATRIX**3 / seconds(on_gpu(lambda: left @ right), 5)


def bytes_per_second() -> float:
    """Bytes from pinned memory to the GPU, a second."""
    values = torch.zeros(2**28, dtype=torch.uint8).pin_memory()
    return len(values) / seconds(on_gpu(lambda: values.to(GPU, non_blocking=True)), 5)


def network_row(model: amici_xr.SavedModel, queries: list[int], speed: float) -> str:
    """The network alone, on cells that lie on the GPU, beside the speed of a matrix product."""
    network = ScoringNetwork(
        model.weights, model.settings.pos_coef_offset, queries, torch.device(GPU)
    )
    batches = torch.rand(RESIDENT, setting.N_GENES, device=GPU).split(16_384)
    run = on_gpu(lambda: [network.scores(batch) for batch in batches])
    seconds(run, 2)
    taken = seconds(run, 5)
    with torch.device(GPU):
        operations = RESIDENT * multiply_adds(network, setting.N_GENES)
    name = f"{len(queries)} {'query' if len(queries) == 1 else 'queries'}"
    return (
        f"network alone, {name}: {1e9 * taken / RESIDENT:.0f} ns a cell, "
        f"{operations / speed / taken:.0%} of the speed of its matrix products"
    )


def beside_the_processor(
    what: str, step: Callable[[str], float], is_profiled: bool, processor: bool = True
) -> None:
    """Run a step, which returns its seconds, on both devices, and print a row."""
    step(GPU)
    torch.cuda.reset_peak_memory_stats()
    taken = min(step(GPU) for _ in range(2))
    row = f"{what}: {taken:.2f} s on the GPU"
    if processor:
        alone = step(CPU)
        row += f", {alone:.2f} s on the processor, {alone / taken:.1f} × as fast"
    print(f"{row}; {torch.cuda.max_memory_allocated() / 1e9:.2f} GB of the GPU", flush=True)
    if is_profiled:
        profile = cProfile.Profile()
        profile.runcall(step, GPU)
        pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(14)


def extraction(
    found: dict[str, xr.Dataset],
    model: amici_xr.SavedModel,
    query: Any,
    tissue: Any,
    **options: Any,
) -> Callable[[str], float]:
    """Return a step that extracts, and keeps what it finds on each device."""

    def step(device: str) -> float:
        def extract() -> None:
            found[device] = amici_xr.extract(
                model, query, tissue, device=device, progress=False, **options
            )

        return seconds(extract, 1)

    return step


def differences(found: dict[str, xr.Dataset]) -> str:
    """How far the GPU's numbers are from the processor's, beside the largest of them."""
    rows = []
    for name in COMPARED:
        if name in found[GPU]:
            ours, theirs = found[GPU][name], found[CPU][name]
            largest = float(np.abs(theirs).max())
            rows.append(f"{name} {float(np.abs(ours - theirs).max()):.1e} of {largest:.2g}")
    return "    largest differences: " + ", ".join(rows)


def main() -> int:
    """Measure both devices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000, help="of which scores are taken")
    parser.add_argument("--with-effects", type=int, default=100_000, help="cells, of effects")
    parser.add_argument("--trained", type=int, default=50_000, help="cells, of the larger training")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("torch sees no GPU here, so there is nothing to measure")
        return 1
    speed = multiply_adds_per_second()
    name = torch.cuda.get_device_name()
    print(f"{name}, torch {torch.__version__}, {os.cpu_count()} cores of the processor")
    print(f"matrix product: {2e-12 * speed:.1f} TFLOP/s in float32")
    print(f"copying to the GPU: {bytes_per_second() / 1e9:.1f} GB/s")
    model = setting.saved_model()
    for queries in ([0], list(range(setting.N_TYPES))):
        print(network_row(model, queries, speed))
    found: dict[str, xr.Dataset] = {}
    tissue = setting.tissue(arguments.cells)
    for query, what in ((setting.QUERY, "one query"), (None, "all queries")):
        step = extraction(found, model, query, tissue)
        beside_the_processor(
            f"scores of {arguments.cells:,} cells, {what}", step, arguments.profile
        )
        print(differences(found))
    tissue = setting.tissue(arguments.with_effects)
    model = benchmark_of_effects.model("usual", setting.N_GENES, setting.N_TYPES)
    step = extraction(found, model, None, tissue, effects=True)
    beside_the_processor(f"effects, {arguments.with_effects:,} cells", step, arguments.profile)
    print(differences(found))
    _, small = amici_xr.demo()
    large = setting.tissue(arguments.trained)
    large.X.data = np.log1p(large.X.data)
    for adata, n_runs, n_epochs in ((small, 1, 4), (small, 32, 4), (large, 1, 3), (large, 8, 3)):

        def epoch(
            device: str, adata: Any = adata, n_runs: int = n_runs, n_epochs: int = n_epochs
        ) -> float:
            return training.seconds_of_an_epoch(
                adata.copy(), n_runs, training.N_HEADS, n_epochs=n_epochs, device=device
            )

        what = f"an epoch of {n_runs} models, {adata.n_obs:,} cells"
        beside_the_processor(what, epoch, arguments.profile, processor=n_runs == 1)
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of random weights and few epochs
    sys.exit(main())
