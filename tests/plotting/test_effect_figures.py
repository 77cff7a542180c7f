"""Figures of effects: what they show, and what they refuse."""

import numpy as np
import pytest

import amici_xr

pytest.importorskip("anndata")
pytestmark = pytest.mark.needs_model


@pytest.fixture(scope="module")
def every(demo):
    return amici_xr.extract(demo[0], ["T_cell", "Tumor"], demo[1], effects=True, progress=False)


@pytest.fixture
def tumor(every):
    return amici_xr.select(every, "Tumor")


def names(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def test_the_strongest_genes_are_shown_with_the_strongest_sender_first(tumor):
    ax = amici_xr.plot_gene_effects(tumor, n_genes=10)
    assert sorted(names(ax.xaxis)) == [f"gene_{number}" for number in range(40, 50)]
    assert names(ax.yaxis)[0] == "Fibroblast"
    assert "Tumor" not in names(ax.yaxis)
    (dots,) = ax.collections
    colors = dots.get_array().reshape(4, 10)
    np.testing.assert_allclose(dots.get_clim(), [-abs(colors).max(), abs(colors).max()])


def test_genes_and_senders_are_drawn_in_the_order_asked_for(tumor):
    ax = amici_xr.plot_gene_effects(
        tumor, labels=["T_cell", "Fibroblast"], genes=["gene_03", "gene_01"]
    )
    assert names(ax.xaxis) == ["gene_03", "gene_01"]
    assert names(ax.yaxis) == ["T_cell", "Fibroblast"]


def test_axes_that_were_given_are_drawn_on(tumor):
    from matplotlib import pyplot as plt

    _, (left, right) = plt.subplots(1, 2)
    assert amici_xr.plot_gene_effects(tumor, 5, ax=left) is left
    assert amici_xr.plot_effect_curve(tumor, ax=right) is right


def test_the_curve_has_a_dot_where_the_effect_has_fallen_to_half(tumor):
    ax = amici_xr.plot_effect_curve(tumor, "Fibroblast")
    line, dot = ax.get_lines()
    reach = amici_xr.effect_length_scale(tumor).sel(label="Fibroblast")
    assert dot.get_xdata().item() == pytest.approx(reach.effect_length_scale.item())
    assert line.get_ydata()[0] == pytest.approx(reach.contact_effect.item())
    assert ax.get_title() == "Fibroblast → Tumor"


def test_every_curve_is_named_where_it_begins(tumor):
    ax = amici_xr.plot_effect_curve(tumor)
    contact = amici_xr.effect_length_scale(tumor).contact_effect.dropna("label")
    ordered = contact.sortby(-contact).label.values.tolist()
    assert [text.get_text() for text in ax.texts] == ordered
    heights = [text.get_position()[1] for text in ax.texts]
    assert heights == sorted(heights, reverse=True)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0.5 of contact"]
    assert ax.yaxis.get_label_position() == "right"


def test_a_legend_names_the_curves_where_there_is_no_room(tumor):
    from matplotlib import pyplot as plt

    _, small = plt.subplots(figsize=(3, 0.3))
    ax = amici_xr.plot_effect_curve(tumor, ["Fibroblast", "Macrophage", "T_cell"], ax=small)
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown == ["Fibroblast", "Macrophage", "T_cell", "0.5 of contact"]
    assert not ax.texts


@pytest.mark.parametrize("plot", [amici_xr.plot_gene_effects, amici_xr.plot_effect_curve])
def test_what_can_not_be_drawn_is_told(plot, every, tumor):
    with pytest.raises(ValueError, match="ds holds the queries 'T_cell', 'Tumor'; draw one"):
        plot(every)
    with pytest.raises(amici_xr.NotFoundError, match="labels: unknown label 'Tumor'"):
        plot(tumor, labels=["Tumor"])
    with pytest.raises(ValueError, match="ds holds no neighbors, so there is nothing to draw"):
        plot(tumor.isel(neighbor=[]))


def test_an_unknown_gene_is_named(tumor):
    with pytest.raises(amici_xr.NotFoundError, match="genes: unknown gene 'gene_99'"):
        amici_xr.plot_gene_effects(tumor, genes=["gene_99"])
