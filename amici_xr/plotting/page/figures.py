"""Empty Bokeh figures of one head, which the page's script fills; nothing here knows a Dataset."""

from __future__ import annotations

import math
from typing import Any

from amici_xr.dependencies import require

_TOOLS = "pan,wheel_zoom,box_zoom,reset,save"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_UPRIGHT = math.pi / 2
INK, FAINT = "#1d2430", "#8a93a3"


def require_bokeh() -> Any:
    """Import Bokeh, with an installation hint where it is missing."""
    return require("bokeh", "report", "report")


def bokeh_script() -> str:
    """Return the script of Bokeh's core: figures alone, no widgets and no fonts."""
    from bokeh.resources import Resources

    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)


def empty_figures(unit: str, end: float) -> dict[str, Any]:
    """Return the three figures of a head as JSON; the page embeds them for each head shown."""
    from bokeh.embed import json_item

    empty = {"curves": _curves(unit, end), "reach": _reach(unit), "tissue": _tissue(unit)}
    return {kind: json_item(figure) for kind, figure in empty.items()}


def _curves(unit: str, end: float) -> Any:
    """Make the figure of a line and band for each label, and the threshold as a line."""
    from bokeh.models import HoverTool, Span

    fig = _figure(300, f"distance ({unit})", "attention", x_range=(0, end), y_range=(0, 1))
    bands = _source("bands", "xs", "ys", "color")
    fig.patches("xs", "ys", source=bands, color="color", alpha=0.18, line_width=0)
    lines = _source("lines", "xs", "ys", "color", "label")
    mean_lines = fig.multi_line("xs", "ys", source=lines, color="color", line_width=2.5)
    fig.add_layout(
        Span(dimension="width", location=0.5, line_color=INK, line_dash="dashed", name="threshold")
    )
    tips = [("cell type", "@label"), ("distance", "$x{0.0[0]}"), ("attention", "$y{0.000}")]
    fig.add_tools(HoverTool(renderers=[mean_lines], tooltips=tips, line_policy="interp"))
    return fig


def _reach(unit: str) -> Any:
    """Make the figure of a row for each label: cells, quartiles, interval of the median."""
    from bokeh.models import HoverTool

    fig = _figure(300, f"length scale ({unit})", None, x_range=(0, 1), y_range=(-0.6, 0.6))
    fig.ygrid.visible = False
    dots = _source("dots", "x", "y", "color")
    fig.scatter("x", "y", source=dots, size=3.5, color="color", alpha=0.35, line_width=0)
    boxes = _source("boxes", "left", "right", "low", "high", "median", "n", "y", "color", "label")
    style: Any = {"source": boxes, "line_color": INK}
    fig.segment("low", "y", "high", "y", line_width=1, **style)
    box = fig.hbar("y", left="left", right="right", height=0.3, fill_color="color",
                   fill_alpha=0.75, line_width=1, **style)  # fmt: skip
    fig.scatter("median", "y", marker="dash", angle=_UPRIGHT, size=17, line_width=3,
                **style)  # fmt: skip
    intervals = _source("intervals", "lower", "upper", "y")
    fig.segment("lower", "y", "upper", "y", source=intervals, line_width=2, line_color=INK)
    for end in ("lower", "upper"):
        fig.scatter(end, "y", source=intervals, marker="dash", angle=_UPRIGHT, size=7,
                    line_width=2, line_color=INK)  # fmt: skip
    crosses = _source("crosses", "x", "y")
    fig.scatter("x", "y", source=crosses, marker="x", size=8, line_color=INK, line_width=2)
    names = _source("names", "x", "y", "text")
    fig.text("x", "y", "text", source=names, text_color=INK, text_font_size="12px",
             text_font={"value": _FONT}, text_baseline="bottom", x_offset=6)  # fmt: skip
    tips = [
        ("cell type", "@label"),
        ("cells", "@n{0,0}"),
        ("median", "@median{0.000}"),
        ("quartiles", "@left{0.000} – @right{0.000}"),
        ("5 – 95 %", "@low{0.000} – @high{0.000}"),
    ]
    fig.add_tools(HoverTool(renderers=[box], tooltips=tips))
    return fig


def _tissue(unit: str) -> Any:
    """Make the map of cells, colored by a number as in `plot_spatial`: larger is darker."""
    from bokeh.models import ColorBar, HoverTool, LinearColorMapper
    from bokeh.palettes import Viridis256

    fig = _figure(None, f"x ({unit})", f"y ({unit})", match_aspect=True, aspect_ratio=1)
    fig.name = "tissue"
    fig.grid.visible = False
    others = _source("others", "x", "y")
    others.data = {"x": [0, 1], "y": [0, 1]}  # initial ranges of the axes, until it is filled
    fig.scatter("x", "y", source=others, size=3, color="#c3c9d3", line_width=0)
    cells = _source("cells", "x", "y", "value", "label", "size")
    mapper = LinearColorMapper(
        palette=Viridis256[::-1], low=0, high=1, name="mapper", nan_color="#8a93a3"
    )
    points = fig.scatter("x", "y", source=cells, size="size", line_width=0,
                        color={"field": "value", "transform": mapper})  # fmt: skip
    bar = ColorBar(color_mapper=mapper, height=10, title=" ", name="bar", title_text_font=_FONT,
                   title_text_font_style="normal", major_label_text_font=_FONT)  # fmt: skip
    fig.add_layout(bar, "below")
    tips = [("cell type", "@label"), ("value", "@value{0.000}")]
    fig.add_tools(HoverTool(renderers=[points], tooltips=tips))
    return fig


def _figure(height: int | None, x_label: str, y_label: str | None, **options: Any) -> Any:
    from bokeh.plotting import figure

    if y_label is None:
        options["y_axis_location"] = None
    fig = figure(height=height, sizing_mode="stretch_width", tools=_TOOLS, toolbar_location="above",
                 active_drag=None, active_scroll=None, **options)  # fmt: skip
    fig.toolbar.logo = None
    fig.toolbar.autohide = True
    fig.outline_line_color = None
    fig.min_border_left = fig.min_border_right = 24
    for axis, label in ((fig.xaxis, x_label), (fig.yaxis, y_label)):
        if label is None:
            continue
        axis.axis_label = escape(label)
        axis.axis_label_text_font = axis.major_label_text_font = _FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = INK
        axis.axis_line_color = axis.major_tick_line_color = FAINT
        axis.minor_tick_line_color = None
    fig.grid.grid_line_color = "#e8ebf0"
    return fig


def _source(name: str, *columns: str) -> Any:
    from bokeh.models import ColumnDataSource

    return ColumnDataSource({column: [] for column in columns}, name=name)


def escape(text: str) -> str:
    """Return text that is drawn as it is: in a formula, Bokeh would ask the network for fonts."""
    for delimiter in ("$$", r"\(", r"\["):
        text = text.replace(delimiter, f"{delimiter[0]}\u2060{delimiter[1]}")
    return text
