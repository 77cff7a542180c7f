"""Name lines where they begin, without a legend and without overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.plotting import marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

LONGEST_NAME = 34  # characters
INCHES_PER_NAME = 0.19  # of a figure's height
_LINE_SPACING = 1.2  # times the font size
_GAP, _STUB = 0.05, 0.01  # of the axes' width: to the names, and of a connector's level end


def name_lines(ax: Axes, heights: Mapping[str, float], colors: Mapping[str, Any]) -> bool:
    """Write the name of each line beside its left end, and move the axis of y to the right.

    Names that would overlap are moved apart, as little as possible, and each is connected with its
    line. Limits of the axes must be set before.

    Parameters
    ----------
    ax
        The axes, with a linear axis of y.
    heights
        Where each line meets the left side of the axes, in units of the data.
    colors
        Color of each line.

    Returns
    -------
    bool
        Whether there was room; without it nothing is changed.
    """
    from matplotlib.collections import LineCollection

    bottom, top = ax.get_ylim()
    starts = (np.array([heights[name] for name in heights]) - bottom) / (top - bottom)
    size = float(ax.yaxis.get_ticklabels()[0].get_fontsize())
    figure: Any = ax.figure
    gap = _LINE_SPACING * size / 72 / (ax.get_position().height * figure.get_size_inches()[1])
    if gap * (starts.size - 1) > 1:
        return False
    places = spread(starts, gap)
    for name, place in zip(heights, places, strict=True):
        shown = marks.shorten(name, LONGEST_NAME)
        ax.text(-_GAP, place, shown, transform=ax.transAxes, ha="right", va="center", fontsize=size)
    connectors = [
        [(0, start), (-_STUB, start), (_STUB - _GAP, place), (_STUB / 2 - _GAP, place)]
        for start, place in zip(starts, places, strict=True)
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
