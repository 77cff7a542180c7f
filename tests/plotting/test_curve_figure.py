"""Figures: what is drawn, on which axes, and clear errors."""

import itertools

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import amici_xr

DISTANCE = np.linspace(0, 10, 11)


MARKS = ("mean", "± 1 std", "single neighbors", "set to 0, see support")


def every_text(ax):
    """Texts of the legend, beside the axes or below the figure."""
    drawn = ax.get_legend() or ax.figure.legends[0]
    return [text.get_text() for text in drawn.get_texts()]


def legend(ax):
    """Labels in the legend, without the marks."""
    return [text for text in every_text(ax) if text not in MARKS and "interval" not in text]


def colors(ax):
    """Color of each label in the legend."""
    handles = ax.get_legend().legend_handles
    return {handle.get_label(): to_hex(handle.get_color()) for handle in handles}


def names(ax):
    """Labels under the groups of length scales, from left to right."""
    every = [text.get_text() for text in ax.get_xticklabels(minor=True)]
    return list(dict.fromkeys(every))


def box_colors(ax):
    """Color of each label's first box."""
    boxes = [to_hex(box.get_facecolor()) for box in ax.patches]
    return dict(zip(names(ax), boxes, strict=False))


@pytest.fixture
def many():
    """Forty cell types."""
    cell_types = [f"type {number:02d}" for number in range(40)]
    return amici_xr.testing.simulate_dataset(
        "type 00", cell_types=cell_types, n_cells=2000, n_neighbors=20
    )


def test_a_curve_plot_draws_mean_and_band_of_each_label(ds):
    ax = amici_xr.plot_curve(ds, 0, DISTANCE, n_traces=0)
    assert sorted(legend(ax)) == ["B", "C", "D"]
    summary = ds.amici.curve_summary(DISTANCE).sel(head=0)
    reach = [float(summary["mean"].sel(label=label).mean()) for label in legend(ax)]
    assert reach == sorted(reach, reverse=True)
    for line, label in zip(ax.lines, legend(ax), strict=True):
        np.testing.assert_allclose(line.get_ydata(), summary["mean"].sel(label=label))
        np.testing.assert_allclose(line.get_xdata(), DISTANCE)
    for band, label in zip(ax.collections, legend(ax), strict=True):
        own = summary.sel(label=label)
        edges = band.get_paths()[0].vertices[:, 1]
        assert edges.max() == pytest.approx(float((own["mean"] + own["std"]).clip(0, 1).max()))
        assert edges.min() == pytest.approx(float((own["mean"] - own["std"]).clip(0, 1).min()))
    assert ax.get_xlabel() == "distance (µm)"
    assert ax.get_ylabel() == "counterfactual attention"
    assert ax.get_title() == "neighbors → A, head 0"


def test_traces_are_a_seeded_sample_of_real_curves(ds):
    axes = [
        ds.cf.plot_curve(0, DISTANCE, n_traces=5, labels=["B"], random_state=s) for s in (1, 1, 2)
    ]
    drawn = [np.array([line.get_ydata() for line in ax.lines[:5]]) for ax in axes]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    curves = ds.cf.curve(DISTANCE).sel(head=0).values[ds.label == "B"]
    for trace in drawn[0]:
        assert np.isclose(curves, trace).all(axis=1).any()
    assert len(axes[0].lines) == 6


def test_unsorted_distances_are_drawn_in_order(ds):
    ax = ds.cf.plot_curve(0, [5, 0, 2], n_traces=0)
    assert ax.lines[0].get_xdata().tolist() == [0, 2, 5]


def test_length_scales_are_ordered_by_their_largest_median(ds):
    ax = ds.cf.plot_length_scale(0.1)
    medians = ds.cf.support(0.1).median_length_scale.max("head").dropna("label")
    expected = medians.sortby(-medians).label.values.tolist()
    assert names(ax) == expected
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["head 0", "head 1"]
    assert ax.get_ylabel() == "length scale at threshold 0.1 (µm)"


@pytest.mark.parametrize("kind", ["box", "violin", "density"])
@pytest.mark.parametrize("heads", [[0, 1], [1, 0]])
def test_the_black_line_of_each_label_and_head_is_its_median(ds, kind, heads):
    ax = ds.cf.plot_length_scale(0.1, heads=heads, kind=kind, sample_threshold=None)
    lengths = ds.cf.length_scale(0.1, None)
    expected = {
        column * 4 + place: float(np.median(lengths.sel(head=head).values[ds.label == label]))
        for column, head in enumerate(heads)
        for place, label in enumerate(names(ax))
    }
    if kind == "box":
        lines = [line.get_xydata() for line in ax.lines if line.get_linewidth() == 1.4]
    else:
        sets = [drawn for drawn in ax.collections if hasattr(drawn, "get_segments")]
        lines = [segment for drawn in sets for segment in drawn.get_segments()]
    drawn = {round(float(line[:, 0].max() - 0.35)): float(line[0, 1]) for line in lines}
    assert drawn == pytest.approx(expected)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [f"head {head}" for head in heads]


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_brackets_are_the_bootstrap_intervals_of_the_corrected_lengths(ds, statistic):
    options = {"threshold": 0.1, "sample_threshold": 0.9}
    ax = ds.cf.plot_length_scale(ci=True, heads=[1, 0], statistic=statistic, **options)
    interval = ds.isel(head=[1, 0]).cf.bootstrap(statistic=statistic, **options)
    brackets = {
        round(line.get_xdata()[0] - 0.44): line.get_ydata().tolist()
        for line in ax.lines
        if line.get_marker() == "_"
    }
    expected = {
        column * 4 + place: [float(own.ci_lower), float(own.ci_upper)]
        for column, head in enumerate([1, 0])
        for place, label in enumerate(names(ax))
        for own in [interval.sel(head=head, label=label)]
    }
    assert brackets == expected
    texts = every_text(ax)
    assert f"95% interval of the {statistic} (cells)" in texts


@pytest.fixture
def sampled():
    """One query of four samples."""
    return amici_xr.testing.simulate_dataset(n_cells=400, samples=list("abcd"), unit="µm")


# of a small tissue; tested beside the intervals themselves
@pytest.mark.filterwarnings("ignore:.*effective patches")
@pytest.mark.parametrize("unit", ["cell", "spatial", "sample"])
def test_figures_draw_the_intervals_of_the_resampling_unit_and_name_it(sampled, unit):
    interval = sampled.cf.bootstrap([0.1, 0.3], None, "median", resampling_unit=unit).sel(head=0)
    how = {"heads": 0, "sample_threshold": None, "ci": True, "resampling_unit": unit}
    word = f"95% interval of the median ({unit}{'' if unit == 'spatial' else 's'})"

    boxes = sampled.cf.plot_length_scale(0.1, **how)
    brackets = [line.get_ydata().tolist() for line in boxes.lines if line.get_marker() == "_"]
    ends = interval.sel(threshold=0.1, label=names(boxes))
    assert brackets == np.stack([ends.ci_lower, ends.ci_upper], axis=-1).tolist()
    assert word in every_text(boxes)

    sweep = sampled.cf.plot_threshold_sweep([0.1, 0.3], **how)
    for label, band in zip(legend(sweep), sweep.collections, strict=True):
        edges = band.get_paths()[0].vertices[:, 1]
        own = interval.sel(label=label)
        assert edges.max() == pytest.approx(float(own.ci_upper.max()))
        assert edges.min() == pytest.approx(float(own.ci_lower.min()))
    assert word in every_text(sweep)


def test_groups_without_an_interval_are_drawn_without_one():
    """Two samples give no interval, and the axis still ends at the values."""
    ds = amici_xr.testing.simulate_dataset(n_cells=200, samples=["a", "b"])
    ax = ds.cf.plot_length_scale(
        0.1, None, sample_threshold=None, ci=True, resampling_unit="sample"
    )
    plain = ds.cf.plot_length_scale(0.1, None, sample_threshold=None)
    assert ax.get_ylim() == plain.get_ylim()


@pytest.mark.parametrize("draw", ["plot_length_scale", "plot_threshold_sweep"])
def test_a_resampling_unit_that_figures_do_not_have_is_named(ds, draw):
    with pytest.raises(ValueError, match="resampling_unit='run' is not known; choose one of 'cell"):
        getattr(ds.cf, draw)(ci=True, resampling_unit="run")
    with pytest.raises(amici_xr.SchemaError, match="'sample' needs the coordinate neighbor_sample"):
        getattr(ds.cf, draw)(ci=True, resampling_unit="sample")


def test_long_labels_cut_nothing_off():
    labels = [f"CD8-positive, alpha-beta memory T cell {number:02d}" for number in range(20)]
    ds = amici_xr.testing.simulate_dataset(labels[0], cell_types=labels, n_cells=900)
    curves, boxes = ds.cf.plot_curve(0, DISTANCE), ds.cf.plot_length_scale(0.1, heads=0)
    for ax, beside in ((curves, curves.texts), (boxes, boxes.get_xticklabels(minor=True))):
        figure = ax.get_figure()
        figure.canvas.draw()
        for artist in (ax.title, ax.yaxis.label, *beside):
            box = artist.get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1
            assert box.y0 >= 0
        assert ax.get_window_extent().width > 300
        assert ax.get_window_extent().height > 180


def test_a_very_long_label_loses_its_middle_and_others_stay_whole():
    labels = ["A", "x" * 40 + "y" * 40, "B"]
    ds = amici_xr.testing.simulate_dataset("A", cell_types=labels)
    assert sorted(legend(ds.cf.plot_curve(0, DISTANCE))) == ["B", "x" * 30 + "…" + "y" * 29]
    assert sorted(names(ds.cf.plot_length_scale(0.1))) == ["B", "x" * 17 + "…" + "y" * 16]


def test_given_axes_are_drawn_on_and_no_figure_is_made(ds):
    fig, axes = plt.subplots(1, 2)
    assert ds.cf.plot_curve(0, DISTANCE, ax=axes[0]) is axes[0]
    assert ds.cf.plot_length_scale(0.1, ax=axes[1]) is axes[1]
    assert plt.get_fignums() == [fig.number]


def test_nothing_global_is_changed(ds):
    before = dict(plt.rcParams)
    ds.cf.plot_curve(0, DISTANCE)
    ds.cf.plot_length_scale(0.1, kind="violin", ci=True)
    assert dict(plt.rcParams) == before


def named_lines(ax):
    """Color of each line that is drawn with its label."""
    lines = [line for line in ax.lines if line.get_linewidth() == 2]
    return {line.get_label(): to_hex(line.get_color()) for line in lines}


def test_forty_labels_have_forty_colors_and_are_named_at_their_curves(many):
    ax = many.cf.plot_curve(0, DISTANCE)
    shown = [text.get_text() for text in ax.texts]
    assert len(shown) == len(set(named_lines(ax).values())) == 39
    assert set(shown) == set(named_lines(ax))
    ax.figure.canvas.draw()
    assert all(text.get_window_extent().x1 < ax.get_window_extent().x0 for text in ax.texts)
    assert box_colors(many.cf.plot_length_scale(0.1, heads=0)) == named_lines(ax)
    assert not ax.collections[:-1]  # no bands; the last one connects names with curves


def test_panels_of_many_labels_name_the_largest_curves_of_each_head(many):
    axes = many.cf.plot_curve(None, DISTANCE)
    summary = many.cf.curve_summary(DISTANCE)["mean"].mean("distance")
    for ax, head in zip(axes, (0, 1), strict=True):
        size = summary.sel(head=head).dropna("label")
        largest = set(size.label.values[np.argsort(-size.values)[:8]])
        assert {text.get_text() for text in ax.texts} == set(named_lines(ax)) == largest
        grays = {line.get_color() for line in ax.lines if line.get_linewidth() < 1}
        assert grays == {"0.7"}
    assert every_text(axes[0]) == ["mean", "the other 31 senders"]


def test_traces_and_bands_of_many_labels_are_drawn_where_asked_or_few(many):
    assert len(many.cf.plot_curve(0, DISTANCE, n_traces=2).lines) == 3 * 39
    few = many.cf.plot_curve(0, DISTANCE, labels=[f"type {number:02d}" for number in range(1, 6)])
    assert len(few.collections) == 5
    assert "single neighbors" in every_text(few)


def test_heads_have_panels_where_all_side_by_side_are_wider_than_a_page(many, ds):
    axes = many.cf.plot_length_scale(0.1, kind="violin")
    assert [ax.get_title() for ax in axes] == ["head 0", "head 1"]
    figure = axes[0].figure
    assert figure.get_size_inches()[0] <= 180 / 25.4
    figure.canvas.draw()
    upper, lower = ([text for text in ax.get_xticklabels(minor=True) if text.get_visible()]
                    for ax in axes)  # fmt: skip
    assert not upper
    boxes = [text.get_window_extent() for text in lower]
    assert len(boxes) == 39
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))
    whole = many.cf.plot_length_scale(0.1, panels=False)
    assert len(whole.get_xticklabels(minor=True)) == 2 * 39
    _, given = plt.subplots(1, 2)
    assert ds.cf.plot_length_scale(0.1, ax=given).tolist() == given.tolist()


def test_a_label_keeps_its_color_whatever_is_drawn(ds):
    alone = colors(ds.cf.plot_curve(0, DISTANCE, labels=["C"]))
    beside = box_colors(ds.cf.plot_length_scale(0.1))
    swept = colors(ds.cf.plot_threshold_sweep(heads=0))
    mapped = colors(ds.cf.plot_spatial("label"))
    assert alone["C"] == swept["C"] == mapped["C"]
    assert beside["C"] == alone["C"]


def test_groups_that_the_correction_set_to_zero_are_crossed(ds):
    sample_threshold = 0.9
    support = ds.cf.support(0.1, sample_threshold)
    ax = ds.cf.plot_length_scale(0.1, sample_threshold=sample_threshold)
    expected = support.status.isin(["median_zero", "too_few_receivers"]).sum()
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert len(crosses) == expected > 0
    assert "set to 0, see support" in every_text(ax)
    plain = ds.cf.plot_length_scale(0.1, sample_threshold=None)
    assert not [line for line in plain.lines if line.get_marker() == "x"]


def test_the_legend_explains_a_cross_only_where_one_is_drawn():
    ds = amici_xr.from_arrays(
        [[8.0]] * 4, [[1.0]] * 4, ["B", "B", "C", "C"], query="A",
        neighborhood_index=[[0, 1, 2]] * 10,
        neighborhood_distance=[[1.0, 2.0, 90.0]] * 10,
        neighborhood_label=[[1, 1, 2]] * 10,
        cell_type=["A", "B", "C"], receiver_label=["A"] * 10, receiver=range(10, 20),
    )  # fmt: skip
    assert ds.cf.support().status.sel(head=0, label=["B", "C"]).values.tolist() == [
        *("reachable", "too_few_receivers")
    ]
    assert not ds.cf.plot_length_scale(labels=["B"]).figure.legends
    assert every_text(ds.cf.plot_length_scale(labels=["C"])) == ["set to 0, see support"]


@pytest.mark.parametrize(
    ("palette", "color"),
    [
        ({"B": "red", "C": "blue", "D": "green"}, "red"),
        (["black", "red"], "red"),
        ("tab20", plt.colormaps["tab20"].colors[1]),
        ("viridis", plt.colormaps["viridis"](1 / 3)),
    ],
)
def test_a_palette_may_be_a_mapping_a_sequence_or_a_colormap(ds, palette, color):
    ax = ds.cf.plot_curve(0, DISTANCE, labels=["B"], palette=palette)
    assert to_hex(ax.lines[-1].get_color()) == to_hex(color)


def test_a_palette_need_not_cover_what_is_not_drawn(ds):
    assert (
        colors(ds.cf.plot_curve(0, DISTANCE, labels=["B"], palette={"B": "red"}))["B"] == "#ff0000"
    )


def test_a_palette_that_is_too_short_warns(many):
    for draw in (
        lambda: amici_xr.plot_curve(many, 0, DISTANCE, palette="tab10"),
        lambda: amici_xr.plot_length_scale(many, 0.1, palette="tab10"),
    ):
        with pytest.warns(UserWarning, match="palette='tab10' has 10 colors for 40 cell") as warned:
            draw()
        assert [warning.filename for warning in warned] == [__file__]  # the line that mends it


def test_on_axes_of_ones_own_the_legend_is_not_cut_off(ds):
    for layout, is_within in ((None, True), ("constrained", False)):
        fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout=layout)
        ds.cf.plot_curve(0, DISTANCE, ax=axes[0])
        ds.cf.plot_length_scale(0.1, ax=axes[1])
        fig.canvas.draw()
        for ax in axes:
            box, own = ax.get_legend().get_window_extent(), ax.get_window_extent()
            assert (box.x0 >= own.x0 and box.x1 <= own.x1) == is_within
            assert box.x1 <= fig.bbox.x1
        assert axes[0].get_legend().get_window_extent().x1 < axes[1].get_tightbbox().x0


def test_dollar_signs_in_labels_are_drawn_as_they_are():
    odd = amici_xr.testing.simulate_dataset("$a{$", cell_types=["$a{$", "$\\alpha{$", "$x$"])
    odd.cf.plot_curve(0, DISTANCE).figure.savefig("curve.png")
    odd.cf.plot_length_scale(0.1).figure.savefig("length_scale.png")


def test_max_length_scale_ends_the_axis(ds):
    assert ds.cf.plot_length_scale(0.1, max_length_scale=2.0).get_ylim()[1] == 2.0


@pytest.mark.parametrize("kind", ["box", "violin", "density"])
def test_one_neighbor_and_equal_values_are_drawn(ds, kind):
    one = ds.isel(neighbor=[0])
    assert len(names(one.cf.plot_length_scale(0.1, kind=kind, ci=True))) == 1
    assert len(legend(one.cf.plot_curve(0, DISTANCE))) == 1
    flat = ds.assign(base_attention_score=ds.base_attention_score * 0)
    assert len(names(flat.cf.plot_length_scale(0.1, kind=kind))) == 3


def test_a_single_distance_is_drawn(ds):
    assert ds.cf.plot_curve(0, 5).lines[-1].get_xdata().tolist() == [5]


def test_a_head_picked_by_isel_is_drawn(ds):
    picked = ds.isel(head=1)
    assert picked.cf.plot_length_scale(0.1).get_xticklabels()[0].get_text() == "head 1"
    assert picked.cf.plot_curve(1, DISTANCE).get_title() == "neighbors → A, head 1"


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda ds: ds.cf.plot_curve(7, [0, 1]), KeyError, "head: unknown head 7; known: 0, 1"),
        (lambda ds: ds.cf.plot_curve(0, [-1]), ValueError, "distance holds -1"),
        (
            lambda ds: ds.cf.plot_curve(0, [0], labels=["A"]),
            KeyError,
            "labels: no neighbor is 'A'; there are 'B', 'C', 'D'",
        ),
        (lambda ds: ds.cf.plot_length_scale(labels=["Z"]), KeyError, "no neighbor is 'Z'"),
        (lambda ds: ds.cf.plot_length_scale(labels=[]), ValueError, r"labels=\[\] names no label"),
        (lambda ds: ds.cf.plot_length_scale(labels=["B", "B"]), ValueError, "names a label twice"),
        (lambda ds: ds.cf.plot_length_scale(heads=[]), ValueError, r"heads=\[\] names no head"),
        (lambda ds: ds.cf.plot_curve(0, [0], n_traces=2.5), TypeError, "n_traces=2.5 must be an"),
        (
            lambda ds: ds.cf.plot_length_scale(max_length_scale=-3),
            ValueError,
            "max_length_scale=-3 must be a positive number",
        ),
        (lambda ds: ds.cf.plot_length_scale(heads=[5]), KeyError, "heads: unknown head 5"),
        (lambda ds: ds.cf.plot_length_scale(kind="pie"), ValueError, "kind='pie' is not known"),
        (lambda ds: ds.cf.plot_length_scale(threshold=2), ValueError, "threshold=2 must lie"),
        (
            lambda ds: ds.cf.plot_length_scale(palette={"B": "red"}),
            KeyError,
            "palette has no color for 'D', 'C'",
        ),
        (
            lambda ds: ds.cf.plot_length_scale(palette=[]),
            ValueError,
            r"palette=\[\] holds no color",
        ),
        (
            lambda ds: ds.cf.plot_length_scale(palette="mud"),
            KeyError,
            "palette='mud' is not a matplot",
        ),
        (lambda ds: ds.isel(neighbor=[]).cf.plot_length_scale(), ValueError, "holds no neighbors"),
    ],
)
def test_what_can_not_be_drawn_is_named(ds, draw, error, message):
    with pytest.raises(error, match=message):
        draw(ds)


def test_several_queries_ask_for_one(several):
    with pytest.raises(ValueError, match=r"ds holds the queries 'A', 'C', 'D'; draw one at a time"):
        several.cf.plot_curve(0, DISTANCE)


def test_neighbors_without_a_label_are_counted_in_an_error(ds):
    labels = ds.label.values.astype(object)
    labels[:2] = None
    with pytest.raises(amici_xr.SchemaError, match="label is missing for 2 neighbors; give each"):
        ds.assign_coords(label=("neighbor", labels)).cf.plot_curve(0, [0, 1])


def test_labels_may_be_those_of_a_result(ds):
    labels = ds.cf.support(0.1).label[[1, 3]]
    assert names(ds.cf.plot_length_scale(0.1, labels=labels)) == names(
        ds.cf.plot_length_scale(0.1, labels=["B", "D"])
    )
