"""The figure of all pairs, and that of one pair's response: what is drawn beside the numbers."""

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from responses import simulate_response

import amici_xr


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def response():
    return simulate_response(5)


def dots_of(ax):
    return next(each for each in ax.collections if len(each.get_offsets()))


def cut_off_or_overlapping(figure):
    """Texts that reach beyond the figure, and pairs of texts that lie over each other."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    for ax in figure.axes:  # labels of ticks beyond an axis are not drawn
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick, place in zip(axis.get_major_ticks(), axis.get_majorticklocs(), strict=True):
                if not low <= place <= high:
                    tick.label1.set_visible(False)
                    tick.label2.set_visible(False)
    texts = [
        text
        for ax in figure.axes
        for text in ax.findobj(plt.Text)
        if text.get_visible() and text.get_text().strip()
    ]
    # without the lines that lead to annotations
    boxes = [(text.get_text(), plt.Text.get_window_extent(text, renderer)) for text in texts]
    width, height = figure.canvas.get_width_height()
    beyond = [
        text
        for text, box in boxes
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]
    over = [
        (first, second)
        for number, (first, box) in enumerate(boxes)
        for second, other in boxes[:number]
        if min(box.x1, other.x1) - max(box.x0, other.x0) > 1
        and min(box.y1, other.y1) - max(box.y0, other.y0) > 1
        and box.bounds != other.bounds
    ]
    return beyond, over


@pytest.mark.parametrize("n_types", [2, 17, 40])
def test_nothing_is_cut_off_or_overlaps_with_few_and_many_types(n_types):
    ax = simulate_response(n_types).cf.plot_pairs()
    assert cut_off_or_overlapping(ax.figure) == ([], [])


@pytest.mark.parametrize("n_genes", [1, 6, 12])
def test_names_of_genes_do_not_overlap_although_curves_end_together(response, n_genes):
    ax = response.cf.plot_response("type_0", "type_1", n_genes=n_genes)
    assert cut_off_or_overlapping(ax.figure) == ([], [])


@pytest.mark.parametrize("draw", [
    lambda response, ax: response.cf.plot_pairs(ax=ax),
    lambda response, ax: response.cf.plot_response("type_0", "type_1", ax=ax),
])  # fmt: skip
def test_given_axes_without_a_layout_on_dark_paper_show_everything(response, draw):
    with plt.style.context("dark_background"):
        figure, ax = plt.subplots(figsize=(7, 5))
        draw(response, ax)
        beyond, over = cut_off_or_overlapping(figure)
    assert (beyond, over) == ([], [])


def test_every_tested_pair_is_a_dot_whose_area_grows_as_q_falls(response):
    dots = dots_of(response.cf.plot_pairs())
    tested = np.argwhere((response["status"] == "tested").values)
    np.testing.assert_array_equal(dots.get_offsets(), tested[:, ::-1])
    q = response["q_value"].values[tuple(tested.T)]
    order = np.argsort(q)
    assert (np.diff(dots.get_sizes()[order]) <= 0).all()
    assert len(np.unique(dots.get_sizes())) > 3


def test_the_color_is_the_mean_effect_of_the_genes_that_respond(response):
    values = dots_of(response.cf.plot_pairs()).get_array()
    table = response[["effect", "gene_q_value"]].to_dataframe().reset_index()
    expected = []
    for pair, genes in table.groupby(["query", "label"], sort=False):
        if response["status"].sel(query=pair[0], label=pair[1]) != "tested":
            continue
        responding = genes[genes["gene_q_value"] < 0.05]
        if not len(responding):
            responding = genes[genes["gene_q_value"] == genes["gene_q_value"].min()]
        expected.append(responding["effect"].mean())
    np.testing.assert_allclose(values, expected)


def test_the_colors_are_centered_at_0(response):
    low, high = dots_of(response.cf.plot_pairs(max_effect=2.5)).get_clim()
    assert (low, high) == (-2.5, 2.5)


def test_crosses_mark_the_calls_that_spillover_could_explain(response):
    called = response["q_value"] < 0.05
    expected = np.argwhere((called & (response["q_value_strict"] >= 0.05)).values)
    ax = response.cf.plot_pairs()
    (crosses,) = [line for line in ax.lines if line.get_marker() == "x" and line.get_zorder() == 4]
    np.testing.assert_array_equal(np.transpose(crosses.get_data()), expected[:, ::-1])
    assert len(expected)


def test_another_q_can_be_asked(response):
    strict = dots_of(response.cf.plot_pairs("q_value_strict")).get_sizes()
    assert not np.array_equal(strict, dots_of(response.cf.plot_pairs()).get_sizes())
    with pytest.raises(amici_xr.NotFoundError, match="q='p' is not in the response, which has"):
        response.cf.plot_pairs("p")


def test_curves_are_the_response_less_that_far_away(response):
    ax = response.cf.plot_response("type_0", "type_1", genes=["gene_2"])
    curve = next(line for line in ax.lines if line.get_marker() == "o")
    gene = response.sel(query="type_0", label="type_1", gene="gene_2")
    mean = gene["response"].values
    np.testing.assert_allclose(curve.get_ydata(), mean - mean[-1])
    np.testing.assert_allclose(curve.get_xdata()[:-1], gene["mean_distance"].values[:-1])


def test_the_strongest_genes_are_chosen_and_spillover_has_a_star(response):
    ax = response.cf.plot_response("type_0", "type_1", n_genes=3)
    pair = response.sel(query="type_0", label="type_1")
    strongest = pair["gene_q_value"].to_series().nsmallest(3).index
    expected = {name + "*" * bool(pair["may_be_spillover"].sel(gene=name)) for name in strongest}
    assert {text.get_text() for text in ax.texts} == expected


def test_where_bins_hold_too_few_receivers_the_step_is_drawn(response):
    few = response.assign(response=response["response"].where(response["distance_bin"] == 5))
    ax = few.cf.plot_response("type_0", "type_1", genes="gene_2")
    curve = next(line for line in ax.lines if line.get_marker() == "o")
    effect = few["effect"].sel(query="type_0", label="type_1", gene="gene_2").item()
    np.testing.assert_allclose(curve.get_ydata(), [effect, effect, 0, 0])


def test_the_effect_of_a_model_is_a_dotted_line(response):
    distance = np.linspace(0, 40, 9)
    effects = xr.DataArray(
        np.exp(-distance / 10) * np.ones((5, 8, 1)),
        coords={
            "cell_type": response["label"].values,
            "gene": response["gene"].values,
            "distance": distance,
        },
        dims=("cell_type", "gene", "distance"),
    )
    for given in (effects, effects.to_dataset(name="counterfactual_effect")):
        ax = response.cf.plot_response(
            "type_0", "type_1", genes="gene_2", counterfactual_effect=given
        )
        line = next(line for line in ax.lines if len(line.get_xdata()) == 9)
        np.testing.assert_allclose(line.get_ydata(), np.exp(-distance / 10))
    with pytest.raises(ValueError, match="counterfactual_effect has dims"):
        response.cf.plot_response("type_0", "type_1", counterfactual_effect=effects[0])
    with pytest.raises(amici_xr.NotFoundError, match="counterfactual_effect is not in the Dataset"):
        response.cf.plot_response("type_0", "type_1", counterfactual_effect=xr.Dataset())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("type_9", "type_1"), "query: unknown cell type 'type_9'"),
        (("type_0", "type_9"), "label: unknown cell type 'type_9'"),
        (("type_0", "type_0"), "was not tested: same_type; choose a pair"),
        (("type_0", "type_1", "Sox2"), "genes: unknown gene 'Sox2'"),
        (("type_0", "type_1", "gene_7"), "genes: 'gene_7' were not tested"),
        (("type_0", "type_1", None, 0), "n_genes=0 must be at least 1"),
    ],
)
def test_wrong_arguments_are_told(response, arguments, message):
    with pytest.raises(ValueError, match=message):
        response.cf.plot_response(*arguments)


def test_scores_and_empty_responses_are_refused(ds, response):
    with pytest.raises(amici_xr.SchemaError, match="response is not a distance response"):
        ds.cf.plot_pairs()
    with pytest.raises(ValueError, match="the response has no pairs"):
        response.isel(label=[]).cf.plot_pairs()
    with pytest.raises(ValueError, match="level=2 must lie strictly between 0 and 1"):
        response.cf.plot_pairs(level=2)
    with pytest.raises(ValueError, match="max_effect=0 must be a finite number above 0"):
        response.cf.plot_pairs(max_effect=0)
