"""Chance in the figure of the atlas: its range at the color bar, and pairs within it."""

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import amici_xr

SENDERS = ["B", "C", "D", "E"]
PAIR = ("query", "label")
RING = "as far in permuted tissue"


def atlas_of(lengths, upper, status="reachable", lower=1.0):
    """An atlas of one receiver by hand: lengths (label, head), chance (label)."""
    lengths = np.array([lengths], dtype=float)
    dims = (*PAIR, "head")
    return xr.Dataset(
        {
            "median_length_scale": (dims, lengths),
            "status": (dims, np.broadcast_to(np.reshape(status, (1, -1, 1)), lengths.shape)),
            "chance_lower": (PAIR, np.full((1, len(SENDERS)), lower)),
            "chance_upper": (PAIR, [upper]),
        },
        coords={"query": ["A"], "label": SENDERS, "head": range(lengths.shape[-1])},
        attrs={"threshold": 0.5},
    )


def rings(ax):
    return sorted(
        round(line.get_xdata()[0] - 0.34) for line in ax.lines if line.get_marker() == "o"
    )


def legend(figure):
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def bar_of(ax):
    return ax.images[0].colorbar.ax


def bracket(ax):
    """Heights of the bracket's ends, and whether it ends in an arrow."""
    long, *arrow = (line for line in bar_of(ax).lines if line.get_clip_on() is False)
    return (min(long.get_ydata()), max(long.get_ydata())), bool(arrow)


@pytest.fixture
def atlas():
    """20 of 30, 20 of 20, 20 of 5, and no reach."""
    status = ["reachable"] * 3 + ["no_reach"]
    return atlas_of([[20], [20], [20], [0]], [30, 20, 5, 30], status)


def test_a_ring_marks_a_reach_that_is_not_above_chance(atlas):
    ax = amici_xr.plot_atlas(atlas)
    assert rings(ax) == [0, 1]
    assert RING in legend(ax.figure)
    beyond = atlas.assign(status=atlas.status.copy(data=[[["beyond_neighborhood"]] * 4]))
    assert rings(amici_xr.plot_atlas(beyond)) == [0, 1, 3]
    none = amici_xr.plot_atlas(atlas.assign(chance_upper=atlas.chance_upper * 0 + 5))
    assert rings(none) == []
    assert RING not in legend(none.figure)


def test_each_panel_compares_the_length_that_it_draws(atlas):
    atlas = atlas_of([[20, 2], [2, 20], [20, 20], [2, 2]], [10] * 4)
    axes = amici_xr.plot_atlas(atlas, heads=[0, 1])
    assert [rings(ax) for ax in axes] == [[1, 3], [0, 3]]
    assert rings(amici_xr.plot_atlas(atlas)) == [3]


def test_a_bracket_spans_the_range_of_chance_at_the_color_bar(atlas):
    ax = amici_xr.plot_atlas(atlas, max_length_scale=40)
    assert bracket(ax) == ((1, 30), False)
    (words,) = bar_of(ax).texts
    assert words.get_text() == "permuted tissue"
    assert words.get_fontsize() == 7
    ends = amici_xr.plot_atlas(atlas, max_length_scale=25)
    assert bracket(ends) == ((1, 25), True)
    assert bar_of(ends).get_ylim() == (0, 25)


def test_chance_without_any_reach_is_said_in_words(atlas):
    nothing = atlas.assign(chance_lower=atlas.chance_lower * 0, chance_upper=atlas.chance_upper * 0)
    ax = amici_xr.plot_atlas(nothing)
    assert not bar_of(ax).lines
    assert [text.get_text() for text in bar_of(ax).texts] == ["permuted tissue: no reach"]
    unknown = atlas.assign(chance_upper=atlas.chance_upper * np.nan)
    assert not bar_of(amici_xr.plot_atlas(unknown)).texts


def test_without_chance_nothing_is_said_of_it(atlas):
    ax = amici_xr.plot_atlas(atlas.drop_vars(["chance_lower", "chance_upper"]))
    assert not bar_of(ax).texts
    assert not rings(ax)


def test_scores_are_drawn_as_the_atlas_with_chance_is(several):
    chance = amici_xr.testing.simulate_dataset(["A", "C", "D"], unit="µm", seed=1)
    atlas = amici_xr.atlas(several, 0.1, chance=chance)
    pictures = []
    for ax in (amici_xr.plot_atlas(several, 0.1, chance=chance), amici_xr.plot_atlas(atlas)):
        has_reach = atlas.strongest_by_reach >= 0
        row, column = np.nonzero((atlas.within_chance & has_reach).values)
        assert rings(ax) == sorted(column)
        assert len(row)
        ax.figure.canvas.draw()
        pictures.append(np.asarray(ax.figure.canvas.buffer_rgba()))
    np.testing.assert_array_equal(*pictures)


def test_bracket_and_words_are_seen_on_a_dark_background(atlas):
    with plt.style.context("dark_background"):
        _, given = plt.subplots()
        ax = amici_xr.plot_atlas(atlas, ax=given)
    assert ax is given
    bar = bar_of(ax)
    assert {to_hex(part.get_color()) for part in (*bar.lines[-2:], *bar.texts)} == {"#ffffff"}


@pytest.mark.parametrize("n_types", [5, 17])
def test_rings_and_words_are_readable(n_types):
    """No ring lies on a number, the words are beside the bar, and nothing is cut off."""
    types = [f"type_{number}" for number in range(n_types)]
    ds, chance = (
        amici_xr.testing.simulate_dataset(
            types,
            n_cells=60 * n_types,
            n_heads=6,
            cell_types=types,
            n_neighbors=40,
            unit="µm",
            seed=seed,
        )
        for seed in (0, 1)
    )
    ax = amici_xr.plot_atlas(ds, 0.6, chance=chance)
    figure = ax.figure
    figure.canvas.draw()
    marks = [line.get_window_extent() for line in ax.lines if line.get_marker() == "o"]
    numbers = [text.get_window_extent() for text in ax.texts]
    assert len(marks) > n_types
    assert not any(mark.overlaps(number) for mark in marks for number in numbers)
    (words,) = bar_of(ax).texts
    box, bar, cells = (part.get_window_extent() for part in (words, bar_of(ax), ax))
    assert cells.x1 < box.x0 < box.x1 < bar.x0
    assert bar.y0 < box.y0 < box.y1 < bar.y1
    inches = figure.get_size_inches()
    drawn = figure.get_tightbbox()
    assert -0.02 < drawn.x0 < drawn.x1 < inches[0] + 0.02
    assert -0.02 < drawn.y0 < drawn.y1 < inches[1] + 0.02
    shown = [words, *figure.legends[0].get_texts()]
    assert all(text.get_fontsize() * min(1, 180 / 25.4 / inches[0]) >= 7 for text in shown)


def test_chance_beside_an_atlas_is_refused(atlas, several):
    with pytest.raises(ValueError, match=r"give it to the atlas, plot_atlas\(atlas\(ds, …, chance"):
        amici_xr.plot_atlas(atlas, chance=several)
