"""Marks of the atlas: fields of each status, numbers in them, and the legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from amici_xr.plotting.atlas_panels import has_reach_of, values_of
from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.chance_marks import is_within_chance, legend_of_chance
from amici_xr.plotting.shared.evidence_marks import RECEDED_TEXT, is_spillover, legend_of_evidence
from amici_xr.plotting.shared.layout import columns_below, inches_of
from amici_xr.plotting.shared.style import is_light

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST_WITH_HEADS_BEYOND = 20  # up to which a reach beyond the neighborhoods has its head
_BEYOND = "beyond_neighborhood"
# Style of each status without a color of its own, and its name in the legend.
_STATES: dict[str, tuple[dict[str, Any], str]] = {
    "absent": ({"facecolor": 1.0, "hatch": "////", "edgecolor": 0.85}, "no such neighbor"),
    "no_reach": ({"facecolor": 0.93}, "no reach"),
    "median_zero": ({"facecolor": 0.93, "marker": "."}, "reach of a minority, median 0"),
    "too_few_receivers": ({"facecolor": 0.93, "marker": "x"}, "too few receivers"),
    _BEYOND: ({"facecolor": 0.78, "marker": "^"}, "beyond the neighborhoods"),
}  # grays from ink (0) to paper (1)


def style_of_state(ax: Axes, state: str) -> dict[str, Any]:
    """Return the style of the field of a pair with this status, in grays of the paper."""
    style = _STATES.get(state, ({}, ""))[0]
    colors = {name: marks.gray(ax, value) for name, value in style.items() if "color" in name}
    return style | colors


def style_of_marker(ax: Axes, marker: str) -> dict[str, Any]:
    """Return the style of the mark of a status."""
    style = {"marker": marker, "markersize": 4, "linestyle": "none", "color": marks.gray(ax, 0.35)}
    outline = {"markerfacecolor": marks.gray(ax, 1.0), "markeredgecolor": marks.ink(ax),
               "markeredgewidth": 0.5}  # fmt: skip
    return style | (outline if marker == "^" else {})


def write_numbers(ax: Axes, panel: xr.Dataset, mesh: Any, *, has_room: bool) -> None:
    """Write the length scale where there is room for it, and the head where cells differ in it.

    Where there is no room, a reach that nothing supports has no number at all.
    """
    lengths = values_of(panel, panel["median_length_scale"])
    is_beyond = values_of(panel, panel["status"]) == _BEYOND
    edges = values_of(panel, panel.get("neighborhood_edge", xr.DataArray(np.nan)))
    receded = np.zeros(lengths.shape, dtype=bool)
    if "evidence" in panel:
        receded = values_of(panel, panel["evidence"]) != "supported"
    is_small = max(lengths.shape) > LARGEST_WITH_HEADS_BEYOND
    heads_differ = panel["head_drawn"].ndim > 0
    heads = values_of(panel, panel["head_drawn"])
    for row, column in zip(*np.nonzero(has_reach_of(panel)), strict=True):
        pair = (row, column)
        if (receded[pair] and not has_room) or (is_beyond[pair] and is_small):
            continue
        if is_beyond[pair]:
            parts = [_beyond(edges[pair])] if has_room else []
            color = marks.ink(ax)
        else:
            parts = [f"{lengths[pair]:.3g}"] if has_room else []
            red, green, blue, _ = mesh.to_rgba(lengths[pair])
            color = "black" if is_light((red, green, blue)) else "white"
        if heads_differ:
            parts.append(f"head {heads[pair]}" if has_room else str(heads[pair]))
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
        color = marks.gray(ax, RECEDED_TEXT) if receded[pair] else color
        ax.text(column, row, "\n".join(parts), color=color, **style)


def _beyond(edge: float) -> str:
    return f"beyond\n{edge:.3g}" if np.isfinite(edge) else "beyond"


def add_legend(axes: Sequence[Axes], panels: Sequence[xr.Dataset], *, is_ours: bool) -> None:
    """Explain what is drawn, below the panels; a figure of ours grows by the legend."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    status = np.stack([panel["status"].values for panel in panels])
    handles: list[Any] = []
    ax = axes[0]
    for state, (_, words) in _STATES.items():
        if not (status == state).any():
            continue
        words = words + _edges(panels) if state == _BEYOND else words
        style = style_of_state(ax, state)
        if "marker" in style:
            handles.append(Line2D([], [], label=words, **style_of_marker(ax, style["marker"])))
        else:
            style = {"edgecolor": marks.gray(ax, 0.7)} | style
            handles.append(Patch(label=words, linewidth=0.5, **style))
    with_evidence = [panel for panel in panels if "evidence" in panel]
    states = {
        str(state)
        for panel in with_evidence
        for state, reaches in zip(
            values_of(panel, panel["evidence"]).flat, has_reach_of(panel).flat, strict=True
        )
        if reaches or state == "supported"
    }
    has_star = any(bool(is_spillover(panel).any()) for panel in with_evidence)
    handles += legend_of_evidence(ax, states, has_star=has_star)
    has_ring = any(is_within_chance(panel).any() for panel in panels)
    handles += legend_of_chance(ax, has_ring=has_ring)
    options: Any = {"handles": handles, "frameon": False}
    figure: Any = axes[0].figure
    if figure.get_layout_engine() is not None:
        texts = [handle.get_label() for handle in handles]
        width, height = inches_of(figure)
        ncols = max(2, columns_below(texts, width))
        if is_ours:
            figure.set_size_inches(width, height + 0.17 * -(-len(texts) // ncols) + 0.1)
        figure.legend(loc="outside lower center", ncols=ncols, fontsize="small", **options)
    else:  # along the upper edge, where there is most room
        options |= {"columnspacing": 1, "borderaxespad": 0.2}
        figure.legend(loc="upper center", ncols=len(handles), fontsize="x-small", **options)


def _edges(panels: Sequence[xr.Dataset]) -> str:
    """Return where the neighborhoods end, as the legend says it, of pairs that reach beyond."""
    edges = [
        values_of(panel, panel["neighborhood_edge"])[values_of(panel, panel["status"]) == _BEYOND]
        for panel in panels
        if "neighborhood_edge" in panel
    ]
    values = np.concatenate(edges) if edges else np.empty(0)
    if not np.isfinite(values).any():
        return ""
    ends = f"{np.nanmin(values):.3g}", f"{np.nanmax(values):.3g}"
    unit = panels[0]["neighborhood_edge"].attrs.get("units", "")
    return f" ({' to '.join(sorted(set(ends), key=float))} {unit}".rstrip() + ")"
