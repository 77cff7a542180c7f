"""The whole tissue in one figure: receivers against senders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from amici_xr.dataset.schema import UNKNOWN_UNIT
from amici_xr.dataset.units import check_distance_number, unit_label
from amici_xr.errors import check_positive_number
from amici_xr.plotting.atlas_marks import (
    LARGEST_WITH_HEADS_BEYOND,
    add_legend,
    style_of_marker,
    style_of_state,
    write_numbers,
)
from amici_xr.plotting.atlas_panels import (
    colored_lengths,
    has_reach_of,
    names_of,
    pairs_of,
    panels_of,
    values_of,
)
from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.chance_marks import (
    draw_within_chance,
    is_within_chance,
    mark_color_bar,
)
from amici_xr.plotting.shared.evidence_marks import (
    draw_evidence,
    is_spillover,
    title_line,
)
from amici_xr.plotting.shared.layout import (
    PAGE_WIDTH,
    given_axes,
    grid_of_axes,
    width_of,
)
from amici_xr.plotting.shared.style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST_WITH_NUMBERS = 10  # types in a row or column, up to which each cell has its length scale
_LARGEST_OF_SEVERAL = 7  # the same where there are several panels
_CELLS = {"with numbers": (0.55, 0.45), "bare": (0.27, 0.138)}  # inches wanted, and at least
_BAR_BESIDE, _BAR_BELOW = 1.1, 0.7  # inches of the color bar
_GAP = 0.15  # inches between panels


def plot_atlas(
    ds: xr.Dataset,
    threshold: float = 0.5,
    heads: int | Sequence[int] | None = None,
    sample_threshold: float | None = 0.02,
    ax: Axes | Sequence[Axes] | None = None,
    cmap: str = "viridis",
    max_length_scale: float | None = None,
    *,
    evidence: xr.Dataset | Sequence[xr.Dataset] | None = None,
    significance_level: float = 0.05,
    chance: xr.Dataset | None = None,
) -> Any:
    """Draw the median length scale of every pair, receivers as rows and senders as columns.

    A reach says how far the model looks; `evidence` says which pairs interact. Pairs that it
    supports are framed; a reach that it does not support, or did not test, is pale and hatched,
    however long it is. A star marks a pair that the tissue alone supports and that spillover could
    explain. Without evidence the title says so.

    With `chance`, a bracket at the color bar spans the reach of all pairs in models of the permuted
    tissue, with an arrow where it goes on beyond the colors, and a ring marks each pair whose reach
    is not above that of the same pair there.

    A reach beyond the whole neighborhood of most receivers is extrapolated: it has no color, but a
    triangle and, up to ten types, the distance at which neighborhoods end. No such neighbor, no
    reach, a reach of a minority of the cells, and a reach within which too few receivers have a
    neighbor each look different. Types of fewer than ten cells tell how many there are.

    Parameters
    ----------
    ds
        The Dataset, dims (query, neighbor, head), or of one query; or the result of `atlas`, which
        is then not computed again (and has its own `threshold` and `sample_threshold`, and its own
        evidence unless `evidence` is given, and its own `chance`).
    threshold, sample_threshold
        As in `atlas`.
    heads
        One panel for each of these heads; None draws one panel with the strongest head by reach of
        each pair or, where no head has a reach, that with the largest attention at contact. Up to
        ten types the length scale is written into each cell (up to seven where there are several
        panels), with more types the head's number.
    ax
        Axes to draw on, one for each panel; None makes a figure in the package's style, the
        matplotlib style sheet ``amici_xr.figures``.
    cmap
        A matplotlib colormap for the length scale; by default one whose low end is dark, so that a
        short reach is not mistaken for no reach.
    max_length_scale
        Upper end of the colors, in the unit of the length scales unless it is labelled with
        another; None takes the largest that has a color, which lies within the neighborhoods.
    evidence, significance_level, chance
        As in `atlas`.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        The axes drawn on; an array of them with several heads.

    Raises
    ------
    NotFoundError
        If a head is not in the Dataset.
    ValueError
        If the atlas has a ``run``, ``sample`` or ``threshold`` dim or is empty, `ax` are not as
        many as the panels, an argument is out of range, `evidence` or `chance` is of other cell
        types, `chance` is in another unit or lacks a query, or it is given beside an atlas.
    SchemaError
        If the Dataset has no neighborhoods, `evidence` is of another kind or in-sample, or `chance`
        is not a Dataset of scores.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(["A", "B", "C"], n_cells=300)
    >>> ax = amici_xr.plot_atlas(ds, threshold=0.1)
    >>> ax.get_ylabel()
    'receiver'
    """
    if max_length_scale is not None and unit_label(max_length_scale) is None:
        check_positive_number("max_length_scale", max_length_scale)
    pairs = pairs_of(ds, threshold, sample_threshold, evidence, significance_level, chance)
    if max_length_scale is not None:
        unit = pairs["median_length_scale"].attrs.get("units")
        max_length_scale = check_distance_number(
            "max_length_scale", max_length_scale, unit, "the atlas"
        )
    panels = panels_of(pairs, heads)
    lengths = np.concatenate([colored_lengths(panel).ravel() for panel in panels.values()])
    largest = float(max_length_scale or np.nanmax(lengths, initial=0.0) or 1.0)
    types = [str(name) for dim in ("query", "label") for name in pairs[dim].values]
    with styled(ax, types):
        is_ours = ax is None
        most = LARGEST_WITH_NUMBERS if len(panels) == 1 else _LARGEST_OF_SEVERAL
        has_numbers = max(pairs.sizes["query"], pairs.sizes["label"]) <= most
        axes, is_flat = (
            _new_axes(len(panels), pairs, has_numbers=has_numbers)
            if is_ours
            else (given_axes(ax, len(panels)), False)
        )
        for panel_axes, (title, panel) in zip(axes, panels.items(), strict=True):
            mesh = _draw_panel(panel_axes, panel, cmap, largest, has_numbers=has_numbers)
            panel_axes.set_title(title)
        if is_ours:
            _name_outer_pairs(axes)
        _write_title_line(axes, title_line(pairs), is_ours=is_ours)
        figure: Any = axes[0].figure
        pad = 0.02 if "chance_upper" not in pairs else 0.06  # room for what stands beside it
        flat = {"location": "bottom", "aspect": 35} if is_flat else {}
        label = _color_bar_label(pairs, is_flat=is_flat)
        bar = figure.colorbar(mesh, ax=list(axes), label=label, shrink=0.8, pad=pad, **flat)
        mark_color_bar(bar.ax, pairs, largest, is_flat=is_flat)
        add_legend(axes, list(panels.values()), is_ours=is_ours)
        if is_ours and "chance_upper" in pairs:  # whose bracket moves panels in a second pass only
            figure.draw_without_rendering()
    return axes[0] if len(axes) == 1 else np.array(axes, dtype=object)


def _color_bar_label(pairs: xr.Dataset, *, is_flat: bool) -> str:
    """Name the colors, with unit and threshold."""
    unit = pairs["median_length_scale"].attrs.get("units", UNKNOWN_UNIT)
    coordinate = pairs.coords.get("threshold")
    threshold = pairs.attrs.get("threshold") if coordinate is None else coordinate.item()
    line = " " if is_flat else "\n"  # no longer than the color bar is high
    at = "" if threshold is None else f"{line}at threshold {threshold:g}"
    between = line if len(unit) > 8 else " "
    return marks.escape(f"median length scale{between}({unit}){at}")


def _new_axes(n_panels: int, pairs: xr.Dataset, *, has_numbers: bool) -> tuple[list[Axes], bool]:
    """Make panels as large as a page is wide, and tell whether the color bar belongs below them."""
    n_rows, n_columns = pairs.sizes["query"], pairs.sizes["label"]
    wanted, least = _CELLS["with numbers" if has_numbers else "bare"]
    beside, under = (0.45 + width_of(names_of(pairs, dim)) for dim in ("query", "label"))
    across = max(1, min(n_panels, 2, int((PAGE_WIDTH - beside) / (least * n_columns + _GAP))))
    is_flat = across * (n_columns * wanted + _GAP) + beside + _BAR_BESIDE > PAGE_WIDTH
    bar = 0.0 if is_flat else _BAR_BESIDE
    room = (PAGE_WIDTH - beside - bar) / across - _GAP
    cell = float(np.clip(room / n_columns, least, wanted))
    down = -(-n_panels // across)
    width = across * (cell * n_columns + _GAP) + beside + bar
    height = down * (cell * n_rows + 0.3) + under + (_BAR_BELOW if is_flat else 0.0) + 0.3
    # at least what the legend, which adds its own height, and the name of the colors take
    axes = grid_of_axes(n_panels, across, (max(width, 4.6), max(height, 2.9)))
    figure: Any = axes[0].figure
    figure.set_layout_engine("compressed")  # closes up around axes of equal units
    return axes, is_flat


def _draw_panel(
    ax: Axes, panel: xr.Dataset, cmap: str, largest: float, *, has_numbers: bool
) -> Any:
    from matplotlib.patches import Rectangle

    mesh = ax.imshow(colored_lengths(panel), cmap=cmap, vmin=0, vmax=largest, aspect="equal")
    status, has_reach = values_of(panel, panel["status"]), has_reach_of(panel)
    is_small = max(status.shape) > LARGEST_WITH_HEADS_BEYOND
    for row, column in np.ndindex(status.shape):
        style = style_of_state(ax, str(status[row, column]))
        marker = style.pop("marker", None)
        if style:
            ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, linewidth=0, **style))
        if marker is not None:  # in a corner where there may be a number
            shift = 0.37 if has_reach[row, column] and not is_small else 0
            ax.plot(column - shift, row - shift, **style_of_marker(ax, marker))
    if "evidence" in panel:
        states, stars = values_of(panel, panel["evidence"]), values_of(panel, is_spillover(panel))
        for row, column in np.ndindex(status.shape):
            state, has_star = str(states[row, column]), bool(stars[row, column])
            reaches = bool(has_reach[row, column])
            draw_evidence(ax, column, row, state, has_reach=reaches, has_star=has_star)
    for row, column in np.argwhere(is_within_chance(panel)):
        draw_within_chance(ax, column, row)
    write_numbers(ax, panel, mesh, has_room=has_numbers)
    for artist in (*ax.patches, *ax.lines, *ax.texts):  # within the axes: no layout asks for them
        artist.set_in_layout(False)
    _name_pairs(ax, panel)
    return mesh


def _write_title_line(axes: Sequence[Axes], words: str, *, is_ours: bool) -> None:
    """Write over a figure of ours, or over given axes, what evidence it shows."""
    if is_ours:
        figure: Any = axes[0].figure
        figure.suptitle(marks.escape(words), fontsize=8)
    else:
        axes[0].set_title(f"{axes[0].get_title()}\n{marks.escape(words)}", fontsize=8)


def _name_pairs(ax: Axes, panel: xr.Dataset) -> None:
    """Name rows and columns, and separate them by white lines."""
    for axis, dim, name in ((ax.xaxis, "label", "sender"), (ax.yaxis, "query", "receiver")):
        names = names_of(panel, dim)
        axis.set_ticks(range(len(names)), names, fontsize=8)
        axis.set_ticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axis.set_label_text(name)
    ax.tick_params(axis="x", rotation=90)
    ax.tick_params(which="minor", length=0)
    ax.grid(visible=False, which="major")
    ax.grid(which="minor", axis="both", color=marks.gray(ax, 1.0), linestyle="-", linewidth=1)
    ax.spines[:].set_visible(False)


def _name_outer_pairs(axes: Sequence[Axes]) -> None:
    """Leave names of rows to the left panels, and names of columns to the lowest ones."""
    places: list[Any] = [ax.get_subplotspec() for ax in axes]
    lowest = {place.colspan.start: place.rowspan.start for place in places}
    for ax, place in zip(axes, places, strict=True):
        if not place.is_first_col():
            ax.tick_params(axis="y", labelleft=False, length=0)
            ax.set_ylabel("")
        if place.rowspan.start < lowest[place.colspan.start]:
            ax.tick_params(axis="x", labelbottom=False, length=0)
            ax.set_xlabel("")
