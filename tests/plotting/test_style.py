"""Properties of every figure: style, panels, ends of axes, files."""

import itertools
import re

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import amici_xr
from amici_xr.plotting.shared.colors import DISTINCT_COLORS

DISTANCE = np.linspace(0, 10, 11)
FIGURES = {
    "plot_curve": lambda ds, **how: ds.cf.plot_curve(0, DISTANCE, **how),
    "plot_length_scale": lambda ds, **how: ds.cf.plot_length_scale(0.1, ci=True, **how),
    "plot_threshold_sweep": lambda ds, **how: ds.cf.plot_threshold_sweep(
        [0.1, 0.5], heads=0, **how
    ),
    "plot_spatial": lambda ds, **how: ds.cf.plot_spatial(head=0, **how),
    "plot_atlas": lambda ds, **how: ds.cf.plot_atlas(0.1, **how),
}
PANELS = {
    "plot_curve": lambda ds, **how: ds.cf.plot_curve(None, DISTANCE, **how),
    "plot_length_scale": lambda ds, **how: ds.cf.plot_length_scale(0.1, panels=True, **how),
    "plot_threshold_sweep": lambda ds, **how: ds.cf.plot_threshold_sweep([0.1, 0.3, 0.5], **how),
}
every_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
every_grid = pytest.mark.parametrize("draw", PANELS.values(), ids=PANELS)


@pytest.fixture
def eight():
    """Eight heads."""
    return amici_xr.testing.simulate_dataset(n_cells=150, n_heads=8, unit="µm")


class TestStyle:
    @every_figure
    def test_figures_of_ours_have_the_style_and_nothing_stays_changed(self, ds, draw):
        with plt.rc_context({"axes.labelsize": 23, "ytick.labelsize": 23}):
            before = dict(plt.rcParams)
            ax = draw(ds)
            assert dict(plt.rcParams) == before
            ax.figure.canvas.draw()  # after the style has ended
        assert ax.yaxis.label.get_fontsize() == 9
        assert {text.get_fontsize() for text in ax.get_yticklabels()} == {8}
        assert not ax.spines["top"].get_visible()

    @every_figure
    def test_given_axes_keep_the_users_style(self, ds, draw):
        with plt.rc_context({"axes.labelsize": 23, "text.color": "red"}):
            _, own = plt.subplots()
            ax = draw(ds, ax=own)
        assert ax is own
        assert ax.yaxis.label.get_fontsize() == 23
        assert ax.spines["top"].get_visible() == (draw is not FIGURES["plot_atlas"])

    def test_lines_are_seen_on_a_dark_background(self, ds):
        with plt.style.context("dark_background"):
            _, own = plt.subplots()
            ds.cf.plot_length_scale(0.1, ax=own)
        medians = [line for line in own.lines if line.get_linewidth() == 1.4]
        assert {to_hex(line.get_color()) for line in medians} == {"#ffffff"}

    def test_the_sheet_is_there_for_figures_of_ones_own(self):
        with plt.style.context("amici_xr.figures"):
            cycle = [to_hex(color) for color in plt.rcParams["axes.prop_cycle"].by_key()["color"]]
        assert cycle == [color.lower() for color in DISTINCT_COLORS[:6]]

    @every_figure
    def test_no_window_is_shown(self, ds, draw, monkeypatch):
        shown = []
        monkeypatch.setattr(plt, "show", lambda *_, **__: shown.append(1))
        draw(ds)
        assert not shown

    @every_figure
    @pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
    def test_figures_are_saved_with_text_as_text_and_fonts_embedded(self, ds, draw, suffix):
        ax = draw(ds)
        with plt.style.context("amici_xr.figures"):
            ax.figure.savefig(f"figure.{suffix}", metadata={})
        with open(f"figure.{suffix}", "rb") as file:
            content = file.read()
        if suffix == "svg":
            assert ax.get_ylabel().split()[0] in content.decode("utf-8")
            assert "<text" in content.decode("utf-8")
        elif suffix == "pdf":
            assert b"/FontFile2" in content  # TrueType
        else:
            height, width, _ = plt.imread("figure.png").shape
            np.testing.assert_allclose((width, height), ax.figure.get_size_inches() * 300, atol=1)

    @every_figure
    def test_on_dark_paper_figures_are_dark_and_files_too(self, ds, draw):
        with plt.style.context("dark_background"):
            ax = draw(ds)
            ax.figure.savefig("dark.png")
        assert to_hex(ax.figure.get_facecolor()) == to_hex(ax.get_facecolor()) == "#000000"
        assert to_hex(ax.yaxis.label.get_color()) == to_hex(ax.title.get_color()) == "#ffffff"
        corner = plt.imread("dark.png")[0, 0, :3]
        assert corner.tolist() == [0, 0, 0]

    def test_light_figures_are_saved_on_light_paper_whatever_the_settings(self, ds):
        figure = ds.cf.plot_curve(0, DISTANCE).figure
        with plt.style.context("dark_background"):
            figure.savefig("light.png")
        assert plt.imread("light.png")[0, 0, :3].tolist() == [1, 1, 1]

    @pytest.mark.parametrize(("suffix", "sign"), [("svg", b"<text"), ("pdf", b"/FontFile2")])
    def test_text_stays_text_without_the_style(self, ds, suffix, sign):
        ds.cf.plot_curve(0, DISTANCE).figure.savefig(f"figure.{suffix}")
        with open(f"figure.{suffix}", "rb") as file:
            assert sign in file.read()


class TestPanels:
    @every_grid
    def test_each_head_has_a_panel_and_they_share_their_axes(self, eight, draw):
        axes = draw(eight)
        assert axes.shape == (8,)
        assert [ax.get_title() for ax in axes] == [f"head {head}" for head in range(8)]
        assert len({ax.get_ylim() for ax in axes}) == len({ax.get_xlim() for ax in axes}) == 1
        figure = axes[0].figure
        assert figure.get_suptitle() == "neighbors → A"
        assert len(figure.axes) == 8
        figure.canvas.draw()
        assert "attention" in figure.get_supylabel() or "length scale" in figure.get_supylabel()
        assert not any(ax.get_ylabel() for ax in axes)
        bottoms = {}
        for ax in axes:
            bottoms[ax.get_subplotspec().colspan.start] = ax
        x_labels = {ax.get_xlabel() for ax in bottoms.values()}  # the legend is below
        assert len(x_labels) == 1
        assert {ax for ax in axes if ax.get_xlabel()} in (set(), set(bottoms.values()))
        for ax in axes:
            texts = ax.get_xticklabels(which="both")
            has_names = any(text.get_visible() and text.get_text() for text in texts)
            assert has_names == (ax in bottoms.values())

    @every_grid
    def test_a_panel_shows_what_the_figure_of_its_head_shows(self, eight, draw):
        one, three = eight.isel(head=[3]), draw(eight)[3]
        (alone,) = draw(one)
        shown = [line.get_xydata() for line in three.lines if line.get_linewidth() > 1.2]
        expected = [line.get_xydata() for line in alone.lines if line.get_linewidth() > 1.2]
        in_order = [sorted(lines, key=lambda line: line.tolist()) for lines in (shown, expected)]
        if draw is PANELS["plot_length_scale"]:  # whose labels stand in another order
            in_order = [[line[:, 1] for line in lines] for lines in (shown, expected)]
            in_order = [sorted(lines, key=lambda line: line.tolist()) for lines in in_order]
        for ours, theirs in zip(*in_order, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    @every_grid
    def test_panels_are_drawn_on_given_axes(self, ds, draw):
        figure, given = plt.subplots(1, 2, layout="constrained")
        axes = draw(ds, ax=given)
        assert axes.tolist() == given.tolist()
        assert [ax.get_title() for ax in axes] == [f"neighbors → A, head {head}" for head in (0, 1)]
        assert all(ax.get_ylabel() for ax in axes)
        assert plt.get_fignums() == [figure.number]

    @every_grid
    def test_too_few_axes_are_named(self, eight, draw):
        with pytest.raises(ValueError, match="ax has 1 axes for 8 panels; give one for each"):
            draw(eight, ax=plt.gca())

    def test_a_head_gives_axes_and_several_give_an_array(self, ds):
        for call in (
            lambda head: ds.cf.plot_curve(head, DISTANCE),
            lambda head: ds.cf.plot_threshold_sweep([0.1], heads=head),
        ):
            assert isinstance(call(1), plt.Axes)
            assert isinstance(call(np.int64(1)), plt.Axes)
            assert call([1]).shape == (1,)
            assert call(None).shape == (2,)

    def test_subfigures_are_drawn_on(self, ds):
        figure = plt.figure(layout="constrained", figsize=(25, 4))
        for part, draw in zip(figure.subfigures(1, len(FIGURES)), FIGURES.values(), strict=True):
            draw(ds, ax=part.subplots())
        figure.canvas.draw()

    def test_one_sender_is_named_in_the_title(self, ds):
        assert ds.cf.plot_curve(1, DISTANCE, labels=["C"]).get_title() == "C → A, head 1"
        assert ds.cf.plot_length_scale(0.1, labels="C").get_title() == "C → A"
        assert ds.cf.plot_spatial(head=1, labels="C").get_title() == "C → A, head 1"


class TestEndOfAxis:
    @pytest.fixture
    def far(self, ds):
        """Two neighbors of one label reach a hundred times as far as the others."""
        position = ds.position_coefficient.copy(deep=True)
        reach = ds.cf.length_scale(0.1, None).sel(head=0).where(ds.label == "B", 0)
        position[np.argsort(reach.values)[-2:], 0] /= 100
        return ds.assign(position_coefficient=position)

    @pytest.mark.parametrize("kind", ["box", "violin", "density"])
    def test_a_few_neighbors_far_out_are_counted_beyond_the_axis(self, far, kind):
        lengths = far.cf.length_scale(0.1)
        ax = far.cf.plot_length_scale(0.1, kind=kind)
        end = ax.get_ylim()[1]
        assert end < lengths.max() / 10
        beyond = {
            (head, label): int((lengths.sel(head=head).values[far.label == label] > end).sum())
            for head in (0, 1)
            for label in "BCD"
        }
        assert sum(beyond.values()) >= beyond[0, "B"] >= 2
        drawn = sorted(text.get_text() for text in ax.texts)
        assert drawn == sorted(f"+{count}" for count in beyond.values() if count)
        texts = [text.get_text() for text in ax.figure.legends[0].get_texts()]
        assert "neighbors beyond the axis" in texts

    def test_the_axis_ends_above_every_whisker_and_interval(self, far):
        ax = far.cf.plot_length_scale(0.1, ci=True, statistic="mean")
        ends = far.cf.bootstrap(0.1, statistic="mean").ci_upper.max()
        lines = [line for line in ax.lines if line.get_linestyle() == "-"]  # no points far out
        whiskers = [max(line.get_ydata()) for line in lines]
        assert ax.get_ylim()[1] >= max(float(ends), *whiskers)

    def test_infinity_shows_all_and_a_number_ends_the_axis(self, far):
        lengths = far.cf.length_scale(0.1)
        ax = far.cf.plot_length_scale(0.1, max_length_scale=np.inf)
        assert ax.get_ylim()[1] > lengths.max()
        assert not ax.texts
        ax = far.cf.plot_length_scale(0.1, max_length_scale=3.0)
        assert ax.get_ylim()[1] == 3

    @pytest.mark.parametrize("label", ["B", "C", "D"])
    def test_what_lies_a_little_beyond_is_shown(self, ds, label):
        values = ds.cf.length_scale(0.1).sel(head=0).values[ds.label == label]
        lower, upper = np.percentile(values, [25, 75])
        whisker = values[values <= upper + 1.5 * (upper - lower)].max()
        end = max(whisker, np.percentile(values, 95))
        ax = ds.cf.plot_length_scale(0.1, labels=[label], heads=0)
        expected = end if values.max() > 1.25 * end else values.max()
        assert ax.get_ylim()[1] == pytest.approx(1.05 * expected)

    def test_colors_of_the_map_end_there_too(self, far):
        bar = far.cf.plot_spatial(head=0, threshold=0.1).collections[-1].colorbar
        assert bar.extend == "max"
        assert bar.vmax < far.cf.length_scale(0.1).max() / 10
        bar = far.cf.plot_spatial(head=0, threshold=0.1, limits=(0, 1e6)).collections[-1].colorbar
        assert (bar.extend, bar.vmax) == ("neither", 1e6)


class TestSweep:
    @pytest.mark.parametrize("statistic", ["mean", "median"])
    def test_lines_are_the_length_scales_of_each_threshold(self, ds, statistic):
        at = [0.5, 0.1, 0.3]
        ax = ds.cf.plot_threshold_sweep(at, heads=1, statistic=statistic, ci=True)
        lines = {line.get_label(): line for line in ax.lines if line.get_linewidth() == 2}
        assert set(lines) == {"B", "C", "D"}
        for label, line in lines.items():
            assert line.get_xdata().tolist() == [0.1, 0.3, 0.5]
            for threshold, drawn in zip((0.1, 0.3, 0.5), line.get_ydata(), strict=True):
                lengths = ds.cf.length_scale(threshold).sel(head=1).values[ds.label == label]
                assert drawn == pytest.approx(getattr(np, statistic)(lengths))
        interval = ds.cf.bootstrap([0.1, 0.3, 0.5], statistic=statistic).sel(head=1)
        for label, band in zip(lines, ax.collections, strict=True):
            edges = band.get_paths()[0].vertices[:, 1]
            assert edges.max() == float(interval.ci_upper.sel(label=label).max())
        assert ax.get_ylabel() == f"{statistic} length scale (µm)"
        assert ax.get_xlabel() == "threshold"

    def test_without_thresholds_they_go_from_low_to_high(self, ds):
        ax = ds.cf.plot_threshold_sweep(heads=0, labels=["B"])
        expected = [round(0.05 * step, 2) for step in range(1, 20)]
        assert list(ax.lines[0].get_xdata()) == expected

    def test_a_cross_stands_where_the_correction_takes_a_line_to_zero(self, ds):
        at, share = np.linspace(0.02, 0.98, 9), 0.3
        axes = ds.cf.plot_threshold_sweep(at, sample_threshold=share)
        support = ds.cf.support(at, share)
        found = 0
        for head, ax in enumerate(axes):
            for label in "BCD":
                status = support.status.sel(head=head, label=label).values
                is_zero = np.isin(status, ["median_zero", "too_few_receivers"])
                falls = at[1:][is_zero[1:] & ~np.isin(status, ["no_reach"])[1:] & ~is_zero[:-1]]
                color = next(line.get_color() for line in ax.lines if line.get_label() == label)
                crosses = [
                    line.get_xdata()[0]
                    for line in ax.lines
                    if line.get_marker() == "x" and line.get_color() == color
                ]
                assert crosses == pytest.approx(falls.tolist())
                found += len(crosses)
        assert found

    @pytest.mark.parametrize("labels", [["D", "B"], ["B", "D"]])
    def test_given_labels_keep_their_order(self, ds, labels):
        ax = ds.cf.plot_threshold_sweep([0.1, 0.5], heads=0, labels=labels)
        assert [text.get_text() for text in ax.get_legend().get_texts()][:2] == labels

    @pytest.mark.parametrize(
        ("how", "error", "message"),
        [
            ({"threshold": [0.1, 2]}, ValueError, "threshold=2"),
            ({"threshold": []}, ValueError, "threshold"),
            ({"heads": 9}, KeyError, "heads: unknown head 9"),
            ({"labels": ["A"]}, KeyError, "labels: no neighbor is 'A'"),
            ({"statistic": "mode"}, ValueError, "statistic='mode' is not known"),
        ],
    )
    def test_what_can_not_be_drawn_is_named(self, ds, how, error, message):
        with pytest.raises(error, match=re.escape(message)):
            ds.cf.plot_threshold_sweep(**how)


@every_grid
def test_legends_stand_beside_the_panels_over_nothing(eight, draw):
    axes = draw(eight)
    figure = axes[0].figure
    figure.canvas.draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert not any(box.overlaps(ax.get_window_extent()) for ax in axes)
    assert box.x1 <= figure.bbox.x1
    for left, right in itertools.pairwise(axes[:2]):
        assert not left.get_window_extent().overlaps(right.get_window_extent())
