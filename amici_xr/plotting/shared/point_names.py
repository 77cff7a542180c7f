"""Name points of a scatter without overlap, the most important ones first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.plotting.shared import marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

_LONGEST_NAME = 24  # characters
_SIZE = 8.0  # points of the font
_DISTANCES = (5.0, 12.0, 22.0, 36.0, 54.0)  # points from a point to its name
_DIRECTIONS = np.array(
    [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)], dtype=np.float64
)
_WITHOUT_LINE = 8.0  # points within which a name needs no line to its point
_RADIUS = 3.5  # points that a mark takes


def name_points(
    ax: Axes, points: Floats, names: Sequence[str | None], bars: Floats | None = None
) -> list[str]:
    """Write names beside their points, connected with them by a thin line where they are far.

    Points come in the order of their importance. A name for which there is no room within the axes
    is left out. Limits and legend of the axes must be set before.

    Parameters
    ----------
    ax
        The axes.
    points
        Coordinates in units of the data, (point, 2). No name lies over any of them.
    names
        Name of each point; None leaves it without one.
    bars
        Boxes in units of the data, (box, 4): x and y of two corners. No name lies over them, or
        over the legend.

    Returns
    -------
    list of str
        The names written.
    """
    figure: Any = ax.figure
    figure.draw_without_rendering()  # else a layout would move the axes afterwards
    pixels = figure.dpi / 72
    at = ax.transData.transform(points)
    taken = np.column_stack([at - _RADIUS * pixels, at + _RADIUS * pixels])
    if bars is not None:
        corners = ax.transData.transform(bars.reshape(-1, 2)).reshape(-1, 2, 2)
        taken = np.vstack([taken, np.column_stack([corners.min(axis=1), corners.max(axis=1)])])
    if legend := ax.get_legend():
        taken = np.vstack([taken, legend.get_window_extent().extents])
    written = []
    for point, place, name in zip(points, at, names, strict=True):
        if name is None:
            continue
        text = ax.annotate(
            marks.shorten(name, _LONGEST_NAME), point, (0, 0), textcoords="offset points",
            fontsize=_SIZE, ha="center", va="center", color=ax.yaxis.label.get_color(),
        )  # fmt: skip
        extent = text.get_window_extent()
        size = np.array([extent.width, extent.height])
        offset = _free_offset(place, size, taken, np.array(ax.bbox.extents), pixels)
        text.remove()
        if offset is None:
            continue
        _write(ax, text.get_text(), point, offset / pixels, size / pixels)
        center = place + offset
        taken = np.vstack([taken, np.concatenate([center - size / 2, center + size / 2])])
        written.append(name)
    return written


def _free_offset(
    place: Floats, size: Floats, taken: Floats, bounds: Floats, pixels: float
) -> Floats | None:
    """Return the nearest offset of a text, in pixels, at which it covers nothing."""
    for distance in _DISTANCES:
        for direction in _DIRECTIONS:
            step = distance * pixels / max(np.hypot(*direction), 1.0)
            offset: Floats = direction * (step + size / 2)
            low, high = place + offset - size / 2, place + offset + size / 2
            is_inside = (low >= bounds[:2]).all() and (high <= bounds[2:]).all()
            is_over = ((low < taken[:, 2:]) & (high > taken[:, :2])).all(axis=1)
            if is_inside and not is_over.any():
                return offset
    return None


def _write(ax: Axes, text: str, point: Floats, offset: Floats, size: Floats) -> None:
    ink = ax.yaxis.label.get_color()
    gap = np.hypot(*np.maximum(np.abs(offset) - size / 2, 0))
    line = {"arrowstyle": "-", "color": ink, "linewidth": 0.5, "alpha": 0.5, "shrinkA": 0}
    ax.annotate(
        text, tuple(point), tuple(offset), textcoords="offset points", fontsize=_SIZE,
        ha="center", va="center", color=ink,
        arrowprops=line | {"shrinkB": 2} if gap > _WITHOUT_LINE else None, zorder=5,
    )  # fmt: skip
