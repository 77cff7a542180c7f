"""Marks on an ``ax`` from numbers that are computed already; nothing here knows a Dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["box", "violin", "density"]


def distribution(ax: Axes, kind: Kind, values: Any, place: float, color: Any) -> None:
    """One group of values: quartiles with whiskers, or median and density."""
    if kind == "box":
        ax.boxplot(
            values,
            positions=[place],
            widths=0.7,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": color, "alpha": 0.7, "linewidth": 0.8},
            medianprops={"color": "black", "linewidth": 1.2},
            whiskerprops={"linewidth": 0.8},
            capprops={"linewidth": 0.8},
            flierprops={"marker": ".", "markersize": 2, "markeredgecolor": color, "alpha": 0.4},
        )
        return
    ax.hlines(np.median(values), place - 0.35, place + 0.35, color="black", linewidth=1.2, zorder=3)
    if np.ptp(values) > 0:  # one value, or all the same, have no density: the line stands alone
        side: Any = "high" if kind == "density" else "both"
        drawn = ax.violinplot(values, [place], widths=0.8, showextrema=False, side=side)
        bodies: Any = drawn["bodies"]
        for body in bodies:
            body.set(facecolor=color, alpha=0.7, edgecolor=color, linewidth=0.8)


def bracket(ax: Axes, place: float, low: float, high: float, point: float) -> None:
    """An interval with its point estimate, beside its group."""
    style: Any = {"color": "black", "zorder": 4}
    ax.plot([place] * 2, [low, high], marker="_", markersize=4, linewidth=1, **style)
    ax.plot(place, point, marker=".", markersize=3, **style)


def correction(ax: Axes, place: float) -> None:
    """A cross on a group that was set to 0."""
    ax.plot(place, 0, linestyle="none", zorder=5, **_CROSS)


def head_axis(ax: Axes, heads: Sequence[Any], n_labels: int) -> None:
    """Name the heads under their groups, `n_labels` each with a gap between, and part them."""
    step = n_labels + 1
    middles = np.arange(len(heads)) * step + (n_labels - 1) / 2
    ax.set_xticks(middles, [f"head {head}" for head in heads])
    ax.set_xlim(-1, len(heads) * step - 1)
    for middle in middles[1:]:
        ax.axvline(middle - step / 2, color="0.85", linewidth=0.8, zorder=0)


def new_axes(width: float, labels: Sequence[str], height: float = 4) -> Axes:
    """Axes of about this size in inches, with room for the legend beside them."""
    from matplotlib import pyplot as plt

    longest = max(20, *map(len, labels)) if len(labels) else 0  # 20: the words of the marks
    beside = (0.7 + 0.075 * longest) * _columns(len(labels) + 3) if longest else 0.0
    size = (min(width, 28) + beside, height)
    return plt.subplots(figsize=size, layout="constrained")[1]


def legend(ax: Axes, colors: Mapping[str, Any], marks: Mapping[str, str]) -> None:
    """Labels with their colors, then the marks that were used, each with its words.

    Beside the axes, over nothing, where the figure makes room for what stands there; within them
    otherwise, since it would be cut off or lie over the next axes.
    """
    from matplotlib.lines import Line2D

    handles = [
        *(
            Line2D([], [], color=color, linewidth=5, label=plain(label))
            for label, color in colors.items()
        ),
        *(Line2D([], [], label=label, **_MARKS[mark]) for mark, label in marks.items()),
    ]
    beside: dict[str, Any] = {
        "loc": "upper left",
        "bbox_to_anchor": (1.01, 1),
        "borderaxespad": 0,
        "frameon": False,
    }
    makes_room = ax.figure.get_layout_engine() is not None
    ax.legend(
        handles=handles,
        ncols=_columns(len(handles)),
        fontsize="small",
        **(beside if makes_room else {"loc": "best", "framealpha": 0.6}),
    )


def plain(text: str) -> str:
    """Text as it is: a dollar sign in a label starts no formula."""
    return text.replace("$", r"\$")


def _columns(n_entries: int) -> int:
    return 1 + (n_entries - 1) // 17


_CROSS: dict[str, Any] = {"marker": "x", "markersize": 4, "color": "0.35"}
_MARKS: dict[str, dict[str, Any]] = {  # how each kind of mark is shown in the legend
    "mean": {"color": "0.35", "linewidth": 2},
    "band": {"color": "0.85", "linewidth": 7},
    "trace": {"color": "0.6", "linewidth": 0.5},
    "correction": {"linestyle": "none", **_CROSS},
    "bracket": {"color": "black", "marker": "_", "linewidth": 1},
}
