"""Lines of each label, a panel for each head: what curves and threshold sweeps have in common.

Up to eight labels have a legend. More are named where their lines begin, in every panel those that
are largest there; the others of a panel are gray.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xarray as xr

from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.colors import Palette, label_colors, label_lines
from amici_xr.plotting.shared.contents import Content
from amici_xr.plotting.shared.layout import (
    PAGE_WIDTH,
    Side,
    add_legend,
    columns_of_panels,
    given_axes,
    grid_of_axes,
    last_of_rows,
    legend_height,
    legend_side,
    legend_width,
    make_room,
    name_panels,
    room_for,
    width_of,
)
from amici_xr.plotting.shared.line_names import INCHES_PER_NAME, LONGEST_NAME, name_lines
from amici_xr.plotting.shared.style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_IN_LEGEND = 8  # labels
_NAMED_IN_PANEL = 8  # of several panels
_MOST_BESIDE_LEGEND = 4  # panels
_LEAST_WIDTH = 2.2  # inches of a panel beside its names
_PLAIN = {"linewidth": 0.8, "zorder": 1, "linestyle": "-"}


class DrawLabel(Protocol):
    """A function that draws a label in the panel of a head."""

    def __call__(
        self, ax: Axes, head: int, label: str, style: dict[str, Any], /, *, is_plain: bool
    ) -> None:
        """Draw a label; `is_plain` leaves out all but its line."""


def draw_line_panels(
    content: Content,
    labels: Sequence[str],
    palette: Palette,
    draw_label: DrawLabel,
    axis_labels: tuple[str, str],
    legend: Mapping[str, str],
    *,
    starts: xr.DataArray,
    sizes: xr.DataArray,
    ax: Any,
) -> Any:
    """Draw each label in the panel of each head, then titles, axis labels and names or a legend.

    `legend` names the marks used. `starts` says where lines begin at the left, and `sizes` which
    are named where a panel has no room for all, both with dims (head, label). Returns an array of
    the axes.
    """
    colors = label_colors(content.ds, labels, palette, level=4)
    line_styles = label_lines(content.ds, labels)
    with styled(ax, [*labels, content.title]):
        axes, has_names = _axes_for(content, labels, legend, ax)
        named = {head: list(labels) for head in content.heads}
        if has_names and len(axes) > 1:
            named = {head: _largest(sizes.sel(head=head), labels) for head in content.heads}
        for panel, head in zip(axes, content.heads, strict=True):
            for label in labels:
                style = {"color": colors[label], "linestyle": line_styles[label], "label": label}
                style |= {"linewidth": 2, "zorder": 3}
                is_plain = label not in named[head]
                if is_plain:
                    style |= _PLAIN | {"color": marks.gray(panel, 0.7)}
                draw_label(panel, head, label, style, is_plain=is_plain)
        for panel in axes:  # after all are drawn, since they may share their axes
            panel.margins(x=0)
            panel.set_ylim(bottom=0)
        is_named = has_names and all(
            name_lines(
                panel,
                {label: float(starts.sel(head=head, label=label)) for label in named[head]},
                colors,
            )
            for panel, head in zip(axes, content.heads, strict=True)
        )
        if is_named:
            _tick_right_ends(axes, is_ours=ax is None)
        side: Side = "below" if has_names else _side(content, labels, legend)
        names = [f"head {head}" for head in content.heads]
        outer = ("x" if side == "below" else "") + ("y" if is_named else "")
        name_panels(axes, names, content.title, *axis_labels, is_ours=ax is None, outer=outer)
        words = dict(legend)
        n_plain = len(labels) - min(len(names) for names in named.values())
        if n_plain:
            words["plain"] = f"the other {n_plain} senders"
        entries = {} if is_named else colors
        handles = marks.legend_handles(axes[0], entries, words, line_styles)
        add_legend(axes, handles, is_ours=ax is None, side=side)
    return np.array(axes, dtype=object)


def _axes_for(
    content: Content, labels: Sequence[str], legend: Mapping[str, str], ax: Any
) -> tuple[list[Axes], bool]:
    """Return the axes given, or new ones, and whether lines are named beside them."""
    n, is_many = len(content.heads), len(labels) > MOST_IN_LEGEND
    names = width_of(marks.shorten(label, LONGEST_NAME) for label in labels) + 0.2
    if ax is not None:
        axes = given_axes(ax, n)
        figure: Any = axes[0].figure
        has_layout = figure.get_layout_engine() is not None
        is_many = is_many and (has_layout or len(figure.axes) == 1)
        if is_many:
            make_room(axes[0], left=room_for(axes[0], names), right=0.7)
        return axes, is_many
    if is_many:
        n_columns = columns_of_panels(n, PAGE_WIDTH, names + _LEAST_WIDTH)
        width = min(n_columns * (names + (5.0 if n == 1 else 2.8)), PAGE_WIDTH)
        height = max(3.6, INCHES_PER_NAME * len(labels)) if n == 1 else 2.3
        rows = -(-n // n_columns)
        size = (width, rows * height + legend_height(list(legend.values()), width))
        return grid_of_axes(n, n_columns, size, share=True), True
    texts = _legend_texts(labels, legend)
    side = _side(content, labels, legend)
    beside = legend_width(texts) if side == "right" else 0.0
    width, height = (5.0, 3.6) if n == 1 else (3.0, 2.6)
    n_columns = columns_of_panels(n, PAGE_WIDTH - beside, 1.75)
    width = min(n_columns * width + beside, PAGE_WIDTH)
    below = 0.0 if side == "right" else legend_height(texts, width)
    size = (width, -(-n // n_columns) * height + below)
    return grid_of_axes(n, n_columns, size, share=True), False


def _legend_texts(labels: Sequence[str], legend: Mapping[str, str]) -> list[str]:
    return [*(marks.shorten(label) for label in labels), *legend.values()]


def _side(content: Content, labels: Sequence[str], legend: Mapping[str, str]) -> Side:
    n = len(content.heads)
    if n > _MOST_BESIDE_LEGEND:
        return "below"
    least = 4.0 if n == 1 else 2 * 2.2
    return legend_side(least, _legend_texts(labels, legend))


def _largest(sizes: xr.DataArray, labels: Sequence[str]) -> list[str]:
    """Return the labels of one head that are named, in the order given."""
    largest = np.argsort(-sizes.sel(label=list(labels)).values, kind="stable")[:_NAMED_IN_PANEL]
    return [labels[place] for place in sorted(largest)]


def _tick_right_ends(axes: Sequence[Axes], *, is_ours: bool) -> None:
    """Number the axis of y where a row of panels of ours ends, at the right."""
    ends = last_of_rows(axes) if is_ours else axes
    for panel in axes:
        panel.tick_params(axis="y", labelleft=False, labelright=panel in ends)
        panel.spines["right"].set_visible(True)
        panel.spines["left"].set_visible(False)
