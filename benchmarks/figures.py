"""Every figure in every setting, drawn and measured: ``python benchmarks/figures.py FOLDER``.

Writes a PNG of each into the folder and prints, for paper of 180 mm: width and height in inches,
the smallest font in points, texts that leave the figure, and pairs of texts that overlap.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from figure_measures import measure
from matplotlib import pyplot as plt

import amici_xr

DISTANCES = np.linspace(0, 10, 41)
THRESHOLD = 0.1
N_GENES = 40
LABELS_OF_MANY_SCRIPTS = (
    *("神经元", "星形胶质细胞", "小胶质细胞", "内皮細胞", "ニューロン", "신경세포"),
    *("Ωμέγα κύτταρο", "β-κύτταρο", "خلية عصبية", "خلية دبقية", "Нейрон", "T细胞 (CD8⁺)"),
)


@dataclass(frozen=True)
class Study:
    """Everything that figures are drawn of, from a simulated tissue of these types."""

    types: tuple[str, ...]
    n_heads: int = 6
    n_neighbors_kept: int | None = None  # of the first receiver
    n_runs: int = 3

    @cached_property
    def tissue(self) -> xr.Dataset:
        """Scores with every type as receiver."""
        types = list(self.types)
        size = {"n_cells": 60 * len(types), "n_heads": self.n_heads, "n_neighbors": 40}
        return amici_xr.testing.simulate_dataset(types, cell_types=types, unit="µm", **size)

    @cached_property
    def atlas(self) -> xr.Dataset:
        """Return all pairs."""
        return amici_xr.atlas(self.tissue, THRESHOLD)

    @cached_property
    def chance(self) -> xr.Dataset:
        """Scores as models of the permuted tissue give them."""
        types = list(self.types)
        size = {"n_cells": 60 * len(types), "n_heads": self.n_heads, "n_neighbors": 40}
        return amici_xr.testing.simulate_dataset(types, cell_types=types, unit="µm", seed=7, **size)

    @cached_property
    def receiver(self) -> xr.Dataset:
        """Scores of one receiver."""
        ds = amici_xr.select(self.tissue, self.types[0])
        return ds if self.n_neighbors_kept is None else ds.isel(neighbor=[0])

    @cached_property
    def cells(self) -> Any:
        """Cells with expression, of which some pairs interact."""
        n_types = len(self.types)
        adata = amici_xr.testing.simulate_tissue(
            n_cells=max(100 * n_types, 900), n_types=n_types, n_genes=N_GENES, n_pairs=4
        )
        in_order = [f"type_{number}" for number in range(n_types)]
        names = dict(zip(in_order, self.types, strict=True))
        adata.obs["cell_type"] = adata.obs["cell_type"].astype(str).map(names).astype("category")
        return adata

    @cached_property
    def response(self) -> xr.Dataset:
        """What the tissue alone tells of its pairs."""
        return amici_xr.distance_response(self.cells, "cell_type", progress=False)

    @cached_property
    def tested_pair(self) -> tuple[str, str]:
        """The receiver and the sender of the smallest q."""
        q = self.response["q_value"].stack(pair=("query", "label"))
        pair = q["pair"].values[int(np.nanargmin(q.values))]
        return str(pair[0]), str(pair[1])

    @cached_property
    def effects(self) -> xr.Dataset:
        """Effects of a model with random weights on the receiver of that pair."""
        labels = sorted(self.types)
        sizes = {"n_heads": self.n_heads, "n_neighbors": 20}
        model = amici_xr.testing.simulate_model(self.cells.var_names, labels, **sizes)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "explained variance is")  # which random weights give
            return amici_xr.extract(
                model, self.tested_pair[0], self.cells, effects=True, unit="µm", progress=False
            )

    @cached_property
    def history(self) -> xr.Dataset:
        """A training that learns more of some types than of others."""
        rng = np.random.default_rng(0)
        epoch = np.arange(60)
        learned = 1 - np.exp(-epoch / 15)
        best = xr.DataArray(rng.uniform(-0.05, 0.5, len(self.types)), dims="label")
        noise = rng.normal(0, 0.01, (self.n_runs, epoch.size, len(self.types)))
        falls = 20 - 6 * learned + rng.normal(0, 0.1, (2, self.n_runs, epoch.size))
        dims = ("run", "epoch", "label")
        return xr.Dataset(
            {
                "reconstruction": (dims[:2], falls[0]),
                "validation_error": (dims[:2], falls[1] + 0.5),
                "explained_variance_by_label": best * xr.DataArray(learned, dims="epoch")
                + xr.DataArray(noise, dims=dims),
                "best_epoch": ("run", rng.integers(40, 60, self.n_runs)),
            },
            coords={"label": list(self.types), "cell_type": list(self.types), "epoch": epoch},
            attrs={"dataset_kind": "training_history"},
        ).transpose(*dims, ...)


FIGURES: dict[str, Callable[[Study], Any]] = {
    "atlas": lambda study: amici_xr.plot_atlas(study.atlas),
    "atlas_with_evidence": lambda study: amici_xr.plot_atlas(study.atlas, evidence=study.response),
    "atlas_with_chance": lambda study: amici_xr.plot_atlas(
        study.tissue, THRESHOLD, evidence=study.response, chance=study.chance
    ),
    "atlas_of_heads": lambda study: amici_xr.plot_atlas(
        study.atlas, heads=study.atlas["head"].values, evidence=study.response
    ),
    "length_scale": lambda study: study.receiver.cf.plot_length_scale(THRESHOLD, ci=True),
    "length_scale_of_a_head": lambda study: study.receiver.cf.plot_length_scale(
        THRESHOLD, heads=0, kind="violin"
    ),
    "length_scale_panels": lambda study: study.receiver.cf.plot_length_scale(
        THRESHOLD, panels=True
    ),
    "curve": lambda study: study.receiver.cf.plot_curve(0, DISTANCES),
    "curve_of_heads": lambda study: study.receiver.cf.plot_curve(None, DISTANCES),
    "sweep": lambda study: study.receiver.cf.plot_threshold_sweep(heads=0, ci=True),
    "sweep_of_heads": lambda study: study.receiver.cf.plot_threshold_sweep(),
    "map": lambda study: study.receiver.cf.plot_spatial(head=0, threshold=THRESHOLD),
    "map_of_labels": lambda study: study.receiver.cf.plot_spatial("label"),
    "pairs": lambda study: study.response.cf.plot_pairs(),
    "response": lambda study: study.response.cf.plot_response(*study.tested_pair),
    "gene_effects": lambda study: study.effects.cf.plot_gene_effects(),
    "effect_curve": lambda study: study.effects.cf.plot_effect_curve(),
    "agreement": lambda study: study.effects.cf.plot_agreement(study.response, *study.tested_pair),
    "history": lambda study: amici_xr.plot_history(study.history),
}
OF_CELLS = ("curve", "curve_of_heads", "length_scale", "length_scale_panels", "sweep",
            "sweep_of_heads", "map", "map_of_labels", "length_scale_of_a_head")  # fmt: skip


@contextmanager
def dark() -> Iterator[None]:
    """Draw as a user of a dark style sheet does."""
    with plt.style.context("dark_background"):
        yield


def _types(n_types: int) -> tuple[str, ...]:
    return tuple(f"cell type {number}" for number in range(n_types))


SETTINGS: Mapping[str, Study] = {
    "5_types": Study(_types(5), n_heads=4),
    "17_types": Study(_types(17)),
    "40_types": Study(_types(40)),
    "scripts": Study(LABELS_OF_MANY_SCRIPTS, n_heads=3),
    "dark": Study(_types(8), n_heads=4),
    "one_head": Study(_types(6), n_heads=1, n_runs=1),
    "one_neighbor": Study(_types(4), n_heads=2, n_neighbors_kept=1),
}


def figures_of(setting: str) -> list[str]:
    """Return the names of the figures that a setting has."""
    return list(OF_CELLS) if setting == "one_neighbor" else list(FIGURES)


def draw(setting: str, name: str) -> Any:
    """Draw a figure in a setting and return it."""
    if setting == "dark":
        with dark():
            return np.ravel(FIGURES[name](SETTINGS[setting]))[0].figure
    return np.ravel(FIGURES[name](SETTINGS[setting]))[0].figure


def main() -> None:
    """Draw, measure and save every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--figures", nargs="*", default=list(FIGURES), choices=FIGURES)
    parser.add_argument("--dpi", type=int, default=110)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    plt.switch_backend("agg")
    print(f"{'figure':<40}{'width':>7}{'height':>8}{'font':>7}{'outside':>9}{'over':>6}")
    for setting in arguments.settings:
        for name in arguments.figures:
            if name not in figures_of(setting):
                continue
            figure = draw(setting, name)
            measures = measure(figure)
            print(
                f"{f'{setting}: {name}':<40}{measures.width:7.2f}{measures.height:8.2f}"
                f"{measures.smallest_font:7.1f}{len(measures.outside):9}"
                f"{len(measures.overlapping):6}",
                flush=True,
            )
            for fault in measures.faults[:4]:
                print(f"    {fault}")
            figure.savefig(arguments.folder / f"{setting}.{name}.png", dpi=arguments.dpi)
            plt.close(figure)


if __name__ == "__main__":
    main()
