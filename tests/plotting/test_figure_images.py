"""Every figure beside a picture of it, in ``tests/plotting/baseline``.

``python tests/plotting/test_figure_images.py`` makes the pictures; look at each before it is kept.
They are compared where matplotlib and FreeType are those that made them: others place text anew.
"""

import json
import platform
import warnings
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import ft2font
from matplotlib import pyplot as plt
from matplotlib.testing.compare import compare_images
from responses import simulate_response

import amici_xr

pytestmark = pytest.mark.once

BASELINE = Path(__file__).parent / "baseline"
TOLERANCE = 1.0  # root mean square of 0…255; lines half a point thinner give 2, paler boxes 1.2
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
DISTANCE = np.linspace(0, 10, 41)
HOW = {"dpi": 60}


def tissue(n_labels=3, **options):
    """Simulate a tissue with so many labels beside the query."""
    cells = {"cell_types": LETTERS[: n_labels + 1], "n_cells": 100 * (n_labels + 1)}
    return amici_xr.testing.simulate_dataset(unit="µm", **(cells | options))


@cache
def effects_in_the_demo():
    model, adata = amici_xr.demo()
    return amici_xr.extract(model, "Tumor", adata, effects=True, unit="µm", progress=False)


@cache
def response_of_the_demo():
    return amici_xr.distance_response(amici_xr.demo()[1], "cell_type", progress=False)


@cache
def runs_of_the_demo():
    extracted = (
        amici_xr.extract(model, "T_cell", adata, effects=True, progress=False)
        for model, adata in map(amici_xr.demo, range(3))
    )
    return amici_xr.align_runs(list(extracted))


@cache
def effects_of_17():
    """Effects of a model with random weights, in a tissue of 17 types."""
    adata = amici_xr.testing.simulate_tissue(n_cells=1700, n_types=17, n_genes=24, n_pairs=4)
    labels = sorted(adata.obs["cell_type"].unique())
    model = amici_xr.testing.simulate_model(adata.var_names, labels, n_heads=6, n_neighbors=15)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "explained variance is")  # which random weights give
        return amici_xr.extract(model, "type_4", adata, effects=True, progress=False)


@cache
def simulate_response_of_17():
    """A response to types and genes of `effects_of_17`, as if drawn at random."""
    names = [f"gene_{number}" for number in range(24)]
    response = simulate_response(17, n_genes=24)
    return response.assign_coords(gene=names).isel(gene=slice(23))


def atlas():
    return tissue(query=["A", "B", "C"], n_heads=3).cf.plot_atlas(0.1)


def atlas_with_evidence(n_types):
    response = simulate_response(n_types)
    types = response["query"].values.tolist()
    ds = tissue(query=types, cell_types=types, n_cells=60 * n_types, n_heads=4, n_neighbors=40)
    return ds.cf.plot_atlas(0.6, evidence=response, significance_level=0.01)


def atlas_with_chance(n_types):
    response = simulate_response(n_types)
    types = response["query"].values.tolist()
    cells = {"query": types, "cell_types": types, "n_cells": 60 * n_types, "n_neighbors": 40}
    ds, chance = (tissue(n_heads=heads, seed=seed, **cells) for heads, seed in ((4, 0), (2, 1)))
    return ds.cf.plot_atlas(0.6, evidence=response, significance_level=0.01, chance=chance)


FIGURES = {
    "curve": lambda: tissue(n_labels=7).cf.plot_curve(0, DISTANCE),
    "curve_of_two": lambda: tissue(n_labels=2).cf.plot_curve(0, DISTANCE, palette="tab10"),
    "curve_of_25": lambda: tissue(n_labels=25).cf.plot_curve(0, DISTANCE, n_traces=5),
    "curve_panels": lambda: tissue(n_heads=8).cf.plot_curve(None, DISTANCE, n_traces=20),
    "box": lambda: tissue(n_labels=7).cf.plot_length_scale(0.1, ci=True),
    "box_of_12": lambda: tissue(n_labels=12).cf.plot_length_scale(0.1),
    "box_panels": lambda: tissue(n_heads=5).cf.plot_length_scale(0.1, panels=True, ci=True),
    "violin": lambda: tissue().cf.plot_length_scale(0.1, kind="violin"),
    "density": lambda: tissue().cf.plot_length_scale(0.1, kind="density", ci=True),
    "one_neighbor": lambda: tissue().isel(neighbor=[0]).cf.plot_length_scale(0.1, ci=True),
    "sweep": lambda: tissue(n_labels=7).cf.plot_threshold_sweep(heads=0, ci=True),
    "sweep_panels": lambda: tissue().cf.plot_threshold_sweep([0.1, 0.3, 0.5, 0.7, 0.9]),
    "map": lambda: tissue().cf.plot_spatial(head=0, threshold=0.1),
    "map_of_labels": lambda: tissue(n_labels=7).cf.plot_spatial("label"),
    "atlas": atlas,
    "atlas_with_evidence": lambda: atlas_with_evidence(5),
    "atlas_with_evidence_of_17": lambda: atlas_with_evidence(17),
    "atlas_with_chance": lambda: atlas_with_chance(5),
    "atlas_with_chance_of_17": lambda: atlas_with_chance(17),
    "pairs": lambda: simulate_response(5).cf.plot_pairs(),
    "pairs_of_17": lambda: simulate_response(17).cf.plot_pairs("q_value_strict"),
    "pairs_of_40": lambda: simulate_response(40).cf.plot_pairs(),
    "box_of_17": lambda: tissue(n_labels=17, n_heads=6).cf.plot_length_scale(0.1, ci=True),
    "curve_panels_of_17": lambda: tissue(n_labels=17, n_heads=6).cf.plot_curve(None, DISTANCE),
    "gene_effects": lambda: effects_in_the_demo().cf.plot_gene_effects(12),
    "gene_effects_of_17": lambda: effects_of_17().cf.plot_gene_effects(),
    "effect_curve": lambda: effects_in_the_demo().cf.plot_effect_curve(),
    "effect_curve_of_17": lambda: effects_of_17().cf.plot_effect_curve(),
    "agreement": lambda: effects_in_the_demo().cf.plot_agreement(
        response_of_the_demo(), "Tumor", "Fibroblast"
    ),
    "agreement_of_runs": lambda: runs_of_the_demo().cf.plot_agreement(
        response_of_the_demo(), "T_cell", "Endothelial"
    ),
    "agreement_of_17": lambda: effects_of_17().cf.plot_agreement(
        simulate_response_of_17(), "type_4", "type_2", n_genes=24
    ),
    "response": lambda: simulate_response().cf.plot_response("type_0", "type_1"),
}
MADE_WITH = {
    "matplotlib": ".".join(mpl.__version__.split(".")[:2]),
    "FreeType": ft2font.__freetype_version__,
    "machine": platform.machine(),
}


def draw(name, path):
    """With matplotlib's own font, whatever the machine has."""
    with mpl.rc_context({"font.family": ["DejaVu Sans"]}):
        figure = np.ravel(FIGURES[name]())[0].figure
        figure.savefig(path, metadata={"Software": None}, **HOW)


def test_there_is_a_picture_of_each_figure_and_of_no_other():
    assert {path.stem for path in BASELINE.glob("*.png")} == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_looks_as_its_picture(name):
    recorded = json.loads((BASELINE / "made_with.json").read_text("utf-8"))
    if recorded != MADE_WITH:
        pytest.skip(f"the pictures were made with {recorded}, here is {MADE_WITH}")
    draw(name, f"{name}.png")
    (expected := Path(f"{name}-expected.png")).write_bytes((BASELINE / f"{name}.png").read_bytes())
    assert compare_images(str(expected), f"{name}.png", TOLERANCE) is None


def test_the_comparison_sees_another_label(tmp_path):
    """It can fail: one more label, one color less."""
    draw("violin", "violin.png")
    other = tissue().cf.plot_length_scale(0.1, kind="violin", palette=["k", "r", "g", "b"])
    other.figure.savefig("other.png", **HOW)
    assert compare_images("violin.png", "other.png", TOLERANCE) is not None


if __name__ == "__main__":
    BASELINE.mkdir(exist_ok=True)
    mpl.use("agg")
    for figure in FIGURES:
        draw(figure, BASELINE / f"{figure}.png")
        plt.close("all")
    (BASELINE / "made_with.json").write_text(json.dumps(MADE_WITH, indent=2) + "\n", "utf-8")
