"""Lines of each label, a panel for each head: what curves and threshold sweeps have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from amici_xr.plotting import marks
from amici_xr.plotting.colors import label_lines
from amici_xr.plotting.contents import Content
from amici_xr.plotting.layout import add_legend, name_panels, panel_axes
from amici_xr.plotting.style import styled


def draw_line_panels(
    content: Content,
    colors: Mapping[str, Any],
    draw_label: Callable[[Any, int, str, dict[str, Any]], None],
    axis_labels: tuple[str, str],
    legend: Mapping[str, str],
    *,
    ax: Any,
) -> Any:
    """Draw each label of `colors` in the panel of each head, then titles, axis labels and legend.

    ``draw_label(axes, head, label, style)`` draws a label in the style of its line; `legend` names
    the marks used. Returns an array of the axes.
    """
    labels = list(colors)
    line_styles = label_lines(content.ds, labels)
    with styled(ax, labels):
        axes = panel_axes(ax, len(content.heads), (5, 3.6), (3, 2.6), labels)
        for panel, head in zip(axes, content.heads, strict=True):
            for label in labels:
                style = {"color": colors[label], "linestyle": line_styles[label], "label": label}
                draw_label(panel, head, label, style)
        for panel in axes:  # after all are drawn, since they may share their axes
            panel.margins(x=0)
            panel.set_ylim(bottom=0)
        names = [f"head {head}" for head in content.heads]
        name_panels(axes, names, content.title, *axis_labels, is_ours=ax is None)
        handles = marks.legend_handles(colors, legend, line_styles)
        add_legend(axes, handles, is_ours=ax is None)
    return np.array(axes, dtype=object)
