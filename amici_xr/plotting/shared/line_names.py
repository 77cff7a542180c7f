"""Name lines at their ends, without a legend and without overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.layout import inches_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

LONGEST_NAME = 34  # characters
INCHES_PER_NAME = 0.19  # of a figure's height
_LINE_SPACING = 1.2  # times the font size
_GAP, _STUB = 0.05, 0.01  # of the axes' width: to the names, and of a connector's level end


def name_lines(
    ax: Axes,
    heights: Mapping[str, float],
    colors: Mapping[str, Any],
    side: Literal["left", "right"] = "left",
) -> bool:
    """Write the name of each line beside its end; at the left end, the axis of y moves right.

    Names that would overlap are moved apart, as little as possible, and each is connected with its
    line. Limits of the axes must be set before.

    Parameters
    ----------
    ax
        The axes, with a linear axis of y.
    heights
        Where each line meets that side of the axes, in units of the data.
    colors
        Color of each line.
    side
        The side of the axes on which the names stand.

    Returns
    -------
    bool
        Whether there was room; without it nothing is changed.
    """
    from matplotlib.collections import LineCollection

    bottom, top = ax.get_ylim()
    ends = (np.array([heights[name] for name in heights]) - bottom) / (top - bottom)
    ends = np.clip(ends, 0, 1)
    size = float(ax.yaxis.get_major_ticks(1)[0].label1.get_fontsize())
    gap = _LINE_SPACING * size / 72 / float(inches_of(ax)[1])
    if gap * (ends.size - 1) > 1:
        return False
    places = spread(ends, gap)
    x, outward = (0.0, -1.0) if side == "left" else (1.0, 1.0)
    style: dict[str, Any] = {"va": "center", "fontsize": size, "transform": ax.transAxes}
    style["ha"] = "right" if side == "left" else "left"
    for name, place in zip(heights, places, strict=True):
        ax.text(x + outward * _GAP, place, marks.shorten(name, LONGEST_NAME), **style)
    steps = x + outward * np.array([0, _STUB, _GAP - _STUB, _GAP - _STUB / 2])
    connectors = [
        np.column_stack([steps, [end, end, place, place]])
        for end, place in zip(ends, places, strict=True)
    ]
    ax.add_collection(
        LineCollection(
            connectors,
            colors=[colors[name] for name in heights],
            linewidths=0.8,
            transform=ax.transAxes,
            clip_on=False,
        ),
        autolim=False,
    )
    if side == "left":
        ax.yaxis.tick_right()
        ax.yaxis.set_label_position("right")
    return True


def spread(places: Floats, gap: float) -> Floats:
    """Move places in 0…1 apart by at least `gap`, keeping their order, by least squares.

    With the gaps taken out this is an isotonic regression, whose solution is
    ``max over a ≤ i of min over b ≥ i of mean(a…b)``.
    """
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(places.size)
    target = places[order] - steps
    total = np.concatenate([[0.0], np.cumsum(target)])
    first, last = np.indices((places.size, places.size))
    is_range = last >= first
    means = (total[last + 1] - total[first]) / np.where(is_range, last - first + 1, 1)
    means[~is_range] = np.inf
    lowest = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
    fitted = np.where(is_range, lowest, -np.inf).max(axis=0)
    spread_out = np.empty(places.size)
    spread_out[order] = np.clip(fitted, 0, 1 - steps[-1]) + steps
    return spread_out
