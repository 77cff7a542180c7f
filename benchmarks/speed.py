"""How fast, beside the same job in long tables and beside what the machine can do.

Run with ``make bench``, or ``python benchmarks/speed.py``. Every row is measured in one run: this
library; `long_table`, the same job one row per neighbor and head; and a bound: the multiply-adds
that remain at the speed of a matrix product, or the pass through memory that can't be left out.
``--original PYTHON`` adds the original's own functions, run by an interpreter that has amici-st.
``--figure FILE`` draws time against the number of cells.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import long_table
import numpy as np
import setting
import torch
import xarray as xr
from torch.utils.flop_counter import FlopCounterMode

import amici_xr
from amici_xr.extraction.arguments import BATCH_SIZE
from amici_xr.extraction.scoring import score
from amici_xr.model.network import ScoringNetwork
from amici_xr.tissue.expression import Expression

DISTANCES = np.linspace(0, 50, 51)
THRESHOLD, SAMPLE_THRESHOLD = 0.5, 0.02
GROUP_SIZE, N_RESAMPLES = 10_000, 10_000


class Row(NamedTuple):
    """One line of the table; seconds, NaN where nothing was measured."""

    what: str
    library: float
    table: float
    bound: float = np.nan
    original: float = np.nan


def seconds(function: Callable[[], Any], repeats: int) -> float:
    """Shortest of several runs: what else the machine does only ever adds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def matrix_product_speed() -> float:
    """float32 multiply-adds per second of a matrix product of the network's own size."""
    left, right = torch.rand(1024, 512), torch.rand(512, 512)
    return 1024 * 512 * 512 / seconds(lambda: torch.nn.functional.linear(left, right), 200)


def multiply_adds(network: ScoringNetwork, n_genes: int) -> float:
    """Multiply-adds of the network for a cell, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        network.scores(torch.zeros(64, n_genes))
    return counter.get_total_flops() / 2 / 64


def copying_speed() -> float:
    """Bytes per second that are read and written again."""
    values = np.zeros(2**24)
    other = np.ones_like(values)
    return 2 * values.nbytes / seconds(lambda: np.copyto(other, values), 10)


def network_rows(model: amici_xr.SavedModel, tissue: Any, repeats: int) -> list[Row]:
    """All cells through the network for one query and for all, beside a matrix product's speed."""
    cells = np.arange(tissue.n_obs)
    expression = Expression(tissue, None, genes=model.gene_names)
    speed = matrix_product_speed()
    queries = {"one query": [0], "all queries": list(range(len(model.labels)))}
    bounds, alone = {}, {}
    for name, codes in queries.items():
        offset = model.settings.pos_coef_offset
        network = ScoringNetwork(model.weights, offset, codes, torch.device("cpu"))
        bounds[name] = cells.size * multiply_adds(network, tissue.n_vars)
        alone[name] = seconds(
            lambda n=network, c=codes: score(
                cells, np.ones((cells.size, len(c)), bool), n, expression, BATCH_SIZE["cpu"]
            ),
            repeats,
        )
        speed = max(speed, matrix_product_speed())
    return [
        Row(f"the network alone, {name}", alone[name], np.nan, bounds[name] / speed)
        for name in queries
    ]


def extraction_rows(
    model: amici_xr.SavedModel, tissue: Any, repeats: int, every_query: bool = True
) -> list[Row]:
    """From model and tissue to scores; the long table takes its queries one after the other."""
    found = long_table.neighborhood_table(tissue, setting.QUERY, model.settings.n_neighbors)
    neighbors = np.unique(found.index)
    of_table = seconds(
        lambda: (
            long_table.neighborhood_table(tissue, setting.QUERY, model.settings.n_neighbors),
            long_table.score_table(model, tissue, setting.QUERY, neighbors),
        ),
        max(1, repeats - 1),
    )
    cases = [("one query", setting.QUERY, 1), ("all queries", None, len(model.labels))]
    rows = []
    for name, query, times in cases if every_query else cases[:1]:
        ours = seconds(lambda q=query: extracted(model, tissue, q), repeats)
        rows.append(Row(f"extract, {name}", ours, times * of_table))
    return rows


def extracted(model: amici_xr.SavedModel, tissue: Any, query: str | None) -> xr.Dataset:
    """Extract without a progress bar."""
    return amici_xr.extract(model, query, tissue, progress=False)


def reduction_rows(model: amici_xr.SavedModel, tissue: Any, repeats: int) -> list[Row]:
    """Curves and length scales of one query, all heads."""
    ds = extracted(model, tissue, setting.QUERY)
    found = long_table.neighborhood_table(tissue, setting.QUERY, model.settings.n_neighbors)
    table = long_table.score_table(model, tissue, setting.QUERY, np.unique(found.index))
    curves_of_table = seconds(
        lambda: long_table.curve_summary(long_table.curves(table, 0, DISTANCES)), 3
    )
    block = np.random.default_rng(0).normal(size=2**15)  # stays in the processor's cache
    exponential = seconds(lambda: np.exp(block), 50) / block.size / max(1, os.cpu_count() or 1)
    n_scores = ds["base_attention_score"].size
    return [
        Row(
            f"mean and std of curves, {DISTANCES.size} distances",
            seconds(lambda: ds.amici.curve_summary(DISTANCES), repeats),
            model.n_heads * curves_of_table,
            n_scores * DISTANCES.size * exponential,
        ),
        Row(
            "length scales, corrected",
            seconds(lambda: ds.amici.length_scale(THRESHOLD, SAMPLE_THRESHOLD), repeats),
            seconds(lambda: long_table.length_scales(table, THRESHOLD, found, SAMPLE_THRESHOLD), 2),
            n_scores * 16 / copying_speed(),
        ),
    ]


def interval_rows(
    group_size: int, n_resamples: int, repeats: int, with_resampling: bool = True
) -> list[Row]:
    """Intervals of 72 groups without ties; the loop runs over `n_resamples` and is scaled up."""
    label = np.repeat([f"type_{number}" for number in range(9)], group_size)
    values = np.random.default_rng(0).gamma(2.0, 10.0, (label.size, 8))
    coords = {"label": ("neighbor", label), "neighbor": np.arange(label.size), "head": range(8)}
    lengths = xr.DataArray(values, dims=("neighbor", "head"), coords=coords)
    long = lengths.to_dataframe("length_scale").reset_index()
    long = long.rename(columns={"label": "neighbor_label", "head": "head_idx"})
    generator, drawn = np.random.default_rng(0), values.size * N_RESAMPLES
    draw = seconds(lambda: generator.integers(0, group_size, size=2**18), 10) / 2**18
    rows = []
    for statistic in ("mean", "median"):
        options = {"statistic": statistic, "n_resamples": n_resamples}
        start = time.perf_counter()
        long_table.bootstrap(long, **options)
        of_table = (time.perf_counter() - start) * N_RESAMPLES / n_resamples
        for method in ("exact", "resample") if with_resampling else ("exact",):
            scale = 1 if method == "exact" else N_RESAMPLES / n_resamples
            ours = seconds(
                lambda m=method, o=options: amici_xr.bootstrap_ci(lengths, method=m, **o),
                repeats if method == "exact" else 1,
            )
            bound = drawn * draw if method == "resample" else np.nan
            name = f"intervals of the {statistic}, {method}"
            rows.append(Row(name, scale * ours, of_table, bound))
    return rows


def with_original(rows: list[Row], measured: dict[str, float]) -> list[Row]:
    """Add what the original itself took."""
    names = {"extract, one query": "scores", "mean and std": "curves"}
    return [
        row._replace(
            original=next((measured[k] for n, k in names.items() if row.what.startswith(n)), np.nan)
        )
        for row in rows
    ]


def chain_row(rows: list[Row]) -> Row:
    """From the model to curves, length scales and both intervals."""
    steps = ("extract, one", "mean and std", "length scales")
    parts = [row for row in rows if row.what.startswith(steps) or row.what.endswith("exact")]
    return Row(
        "the whole chain, one query",
        sum(row.library for row in parts),
        sum(row.table for row in parts),
    )


def printed(rows: list[Row]) -> None:
    """Print the table: seconds, and how many times faster."""
    has_original = not all(np.isnan(row.original) for row in rows)
    head = ["", "library", "long table", "ratio", "bound", "of bound"]
    head += ["amici-st", "ratio"] if has_original else []
    print(f"{head[0]:<42}" + "".join(f"{name:>12}" for name in head[1:]))
    for row in rows:
        cells = [f"{row.library:.3f} s", f"{row.table:.2f} s", f"{row.table / row.library:.1f}×"]
        cells += [f"{row.bound:.3f} s", f"{row.bound / row.library:.0%}"]
        if has_original:
            cells += [f"{row.original:.2f} s", f"{row.original / row.library:.0f}×"]
        cells = ["" if cell.startswith("nan") else cell for cell in cells]
        print(f"{row.what:<42}" + "".join(f"{cell:>12}" for cell in cells))


def measured(
    n_cells: int,
    *,
    repeats: int = 5,
    group_size: int = GROUP_SIZE,
    n_resamples: int = N_RESAMPLES // 10,
    every_query: bool = True,
) -> list[Row]:
    """All rows for a tissue of so many cells."""
    model, tissue = setting.saved_model(), setting.tissue(n_cells)
    rows = network_rows(model, tissue, repeats) if every_query else []
    rows += extraction_rows(model, tissue, repeats, every_query)
    rows += reduction_rows(model, tissue, repeats)
    rows += interval_rows(group_size, n_resamples, repeats, with_resampling=every_query)
    return [*rows, chain_row(rows)]


def figure(path: Path, sizes: list[int]) -> None:
    """Draw time against the number of cells, a panel for each step."""
    import matplotlib.pyplot as plt

    steps = {
        "extract, one query": "scores of one query",
        "mean and std": f"mean and std of curves,\n8 heads × {DISTANCES.size} distances",
        "length scales": "length scales, corrected",
        "intervals of the median, exact": "intervals of the median,\n72 groups",
    }
    lines: dict[str, list[tuple[float, float]]] = {step: [] for step in steps}
    for n_cells in sizes:
        group_size = max(10, n_cells // 10)
        n_resamples = max(5, min(200, 200_000_000 // (72 * group_size)))
        rows = measured(
            n_cells, repeats=2, group_size=group_size, n_resamples=n_resamples, every_query=False
        )
        for step, points in lines.items():
            (row,) = (row for row in rows if row.what.startswith(step))
            points.append((row.library, row.table))
        print(f"{n_cells:,} cells measured", file=sys.stderr)
    drawing, panels = plt.subplots(
        1, len(steps), figsize=(11, 3.2), sharey=True, layout="constrained"
    )
    for ax, (step, title) in zip(panels, steps.items(), strict=True):
        library, table = zip(*lines[step], strict=True)
        ax.loglog(sizes, table, "o--", color="#D55E00", label="long tables")
        ax.loglog(sizes, library, "o-", color="#0072B2", label="amici_xr")
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("cells")
        ax.grid(alpha=0.3)
    panels[0].set_ylabel("time (s), two cores")
    panels[0].legend(frameon=False)
    drawing.savefig(path, dpi=150)
    plt.close(drawing)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--original", metavar="PYTHON", help="interpreter that has amici-st")
    parser.add_argument("--figure", type=Path, metavar="FILE")
    parser.add_argument("--largest", type=int, default=1_000_000, help="cells in the figure")
    arguments = parser.parse_args()
    print(
        f"{arguments.cells:,} cells × {setting.N_GENES} genes, {setting.N_TYPES} types, "
        f"{setting.N_NEIGHBORS} neighbors, {setting.N_HEADS} heads; "
        f"{os.cpu_count()} cores, torch {torch.__version__}, NumPy {np.__version__}"
    )
    print(f"matrix product: {2e-9 * matrix_product_speed():.0f} GFLOP/s in float32")
    rows = measured(arguments.cells)
    if arguments.original:
        command = [arguments.original, str(Path(__file__).with_name("original.py"))]
        done = subprocess.run(
            [*command, str(arguments.cells)], capture_output=True, text=True, check=True
        )
        rows = with_original(rows, json.loads(done.stdout.splitlines()[-1]))
    printed(rows)
    if arguments.figure:
        figure(
            arguments.figure, [n for n in (10**3, 10**4, 10**5, 10**6) if n <= arguments.largest]
        )


if __name__ == "__main__":
    main()
