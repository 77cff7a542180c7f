"""One pair in model and tissue: what the points are, which are named, and what is refused."""

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from test_pair_figure import cut_off_or_overlapping

import amici_xr
from amici_xr.plotting.shared.point_names import name_points

pytest.importorskip("anndata")  # the core environment has none
pytestmark = pytest.mark.needs_model


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def ds(effects_of_demo):
    return effects_of_demo[0]


def points_of(ax):
    """Every gene's point, in the order of x."""
    drawn = [line for line in ax.lines if line.get_marker() in ("o", "D")]
    points = np.concatenate([line.get_xydata() for line in drawn])
    return points[np.argsort(points[:, 0])]


def filled(ax):
    paper = ax.get_facecolor()
    return [
        line
        for line in ax.lines
        if line.get_marker() in ("o", "D") and line.get_markerfacecolor() != paper
    ]


def test_a_point_is_the_effect_in_the_tissue_and_in_the_model(ds, response_of_demo):
    ax = amici_xr.plot_agreement(ds, response_of_demo, "Tumor", "Fibroblast")
    effect = response_of_demo.effect.sel(query="Tumor", label="Fibroblast", gene=ds["gene"]).values
    contact = ds.counterfactual_effect.sel(query="Tumor", cell_type="Fibroblast").isel(distance=0)
    expected = np.column_stack([effect, contact])
    np.testing.assert_allclose(points_of(ax), expected[np.argsort(effect)])
    r = np.corrcoef(effect, contact)[0, 1]
    assert ax.get_title() == f"Fibroblast → Tumor\nin both, r = {r:.3f}"
    assert ax.get_ylabel() == "effect in the model\n(one Fibroblast at contact)"
    assert "within 20 µm" in ax.get_xlabel()


def test_genes_that_respond_are_filled_and_spillover_are_diamonds(ds, response_of_demo):
    ax = amici_xr.plot_agreement(ds, response_of_demo, "T_cell", "Macrophage")
    pair = response_of_demo.sel(query="T_cell", label="Macrophage")
    responds, spills = (pair.gene_q_value < 0.05).values, pair.may_be_spillover.values
    assert 0 < (responds & spills).sum() < responds.sum()
    shown = {line.get_marker(): len(line.get_xdata()) for line in filled(ax)}
    assert shown == {"o": (responds & ~spills).sum(), "D": (responds & spills).sum()}
    bars = next(each for each in ax.collections if each.get_segments())
    widths = np.ptp([segment[:, 0] for segment in bars.get_segments()], axis=1)
    np.testing.assert_allclose(widths, 2 * pair.effect_se.values[~spills])


def test_the_strongest_genes_that_respond_are_named(ds, response_of_demo):
    planted = {f"gene_{number}" for number in range(40, 50)}
    few = amici_xr.plot_agreement(ds, response_of_demo, "Tumor", "Fibroblast", n_genes=3)
    shown = {text.get_text() for text in few.texts}
    assert len(shown) == 3
    effect = abs(response_of_demo.effect.sel(query="Tumor", label="Fibroblast"))
    assert shown <= planted
    assert effect.idxmax("gene").item() in shown
    none = amici_xr.plot_agreement(ds, response_of_demo, "Tumor", "T_cell")
    assert not none.texts


def test_of_several_runs_the_mean_is_drawn_with_the_range(effects_of_demo, response_of_demo):
    aligned = amici_xr.align_runs(effects_of_demo)
    ax = amici_xr.plot_agreement(aligned, response_of_demo, "Tumor", "Endothelial")
    contact = np.array(
        [
            each.counterfactual_effect.sel(query="Tumor", cell_type="Endothelial").isel(distance=0)
            for each in effects_of_demo
        ]
    )
    effect = response_of_demo.effect.sel(query="Tumor", label="Endothelial").values
    np.testing.assert_allclose(
        points_of(ax)[:, 1], contact.mean(axis=0)[np.argsort(effect)], rtol=1e-5
    )
    heights = np.concatenate(
        [[np.ptp(segment[:, 1]) for segment in each.get_segments()] for each in ax.collections]
    )
    assert heights.max() == pytest.approx(np.ptp(contact, axis=0).max(), rel=1e-5)
    assert ax.get_title().startswith(
        "Endothelial → Tumor\nneither (2 of 3 runs), r = −0.337 to 0.0"
    )


@pytest.mark.parametrize("pair", [("Tumor", "Fibroblast"), ("T_cell", "Macrophage")])
@pytest.mark.parametrize("n_genes", [1, 8, 30])
def test_names_neither_overlap_nor_leave_the_figure(ds, response_of_demo, pair, n_genes):
    ax = amici_xr.plot_agreement(ds, response_of_demo, *pair, n_genes=n_genes)
    assert cut_off_or_overlapping(ax.figure) == ([], [])


def test_given_axes_without_a_layout_on_dark_paper_show_everything(ds, response_of_demo):
    with plt.style.context("dark_background"):
        figure, ax = plt.subplots(figsize=(6, 5))
        assert amici_xr.plot_agreement(ds, response_of_demo, "Tumor", "Fibroblast", ax=ax) is ax
        assert cut_off_or_overlapping(figure) == ([], [])
    assert {text.get_color() for text in ax.texts} == {"white"}


def test_the_settings_of_the_verdict_are_those_of_the_comparison(ds, response_of_demo):
    ax = amici_xr.plot_agreement(
        ds, response_of_demo, "Tumor", "Fibroblast", least_effect=9, significance_level=0.01
    )
    assert "tissue only" in ax.get_title()
    evidence = xr.full_like(response_of_demo[["q_value"]], 0.5)
    ax = amici_xr.plot_agreement(ds, response_of_demo, "Tumor", "Fibroblast", evidence=evidence)
    assert "tissue only" in ax.get_title()


def test_what_can_not_be_drawn_is_told(ds, response_of_demo):
    plot = amici_xr.plot_agreement
    with pytest.raises(amici_xr.NotFoundError, match="query: unknown cell type 'B_cell'; known"):
        plot(ds, response_of_demo, "B_cell", "Tumor")
    with pytest.raises(amici_xr.NotFoundError, match="label: unknown cell type 'B_cell'; known"):
        plot(ds, response_of_demo, "Tumor", "B_cell")
    with pytest.raises(ValueError, match="was not tested in the tissue: same_type; choose a pair"):
        plot(ds, response_of_demo, "Tumor", "Tumor")
    absent = ds["counterfactual_effect"].where(ds["cell_type"] != "Fibroblast")
    with pytest.raises(ValueError, match="the model met no 'Fibroblast' near 'Tumor'; choose"):
        plot(ds.assign(counterfactual_effect=absent), response_of_demo, "Tumor", "Fibroblast")
    with pytest.raises(ValueError, match="n_genes=0 must be at least 1"):
        plot(ds, response_of_demo, "Tumor", "Fibroblast", n_genes=0)
    with pytest.raises(amici_xr.SchemaError, match="response is not a distance response"):
        plot(ds, ds, "Tumor", "Fibroblast")


def test_names_are_left_out_where_there_is_no_room():
    _, ax = plt.subplots(figsize=(1.5, 1.5))
    points = np.full((30, 2), 0.5)
    written = name_points(ax, points, [f"name {number}" for number in range(30)])
    assert 0 < len(written) < 30
    assert written[0] == "name 0"  # the most important one


def test_no_name_lies_over_a_point_a_bar_or_the_legend():
    _, ax = plt.subplots()
    rng = np.random.default_rng(0)
    points = rng.uniform(size=(25, 2))
    ax.plot(*points.T, "o", label="points")
    legend = ax.legend(loc="upper left")
    half = np.array([0.1, 0])
    bars = np.column_stack([points - half, points + half])
    assert name_points(ax, points, [f"n{number}" for number in range(25)], bars)
    boxes = [plt.Text.get_window_extent(text) for text in ax.texts]
    at = ax.transData.transform(points)
    for box in boxes:
        assert not any(box.contains(*point) for point in at)
        assert not box.overlaps(legend.get_window_extent())
        for bar in bars:
            (left, height), (right, _) = ax.transData.transform(bar.reshape(2, 2))
            is_over = box.y0 < height < box.y1 and box.x0 < right and box.x1 > left
            assert not is_over
