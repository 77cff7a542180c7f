"""Marks on an ``ax`` from numbers that are computed already; nothing here knows a Dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["box", "violin", "density"]
_LONGEST_NAME = 60  # characters of a label that a legend shows
_LONGEST_UPRIGHT = 34  # that are shown of one that stands upright under an axis
ROOM_ABOVE = 9  # points that the numbers of values beyond an axis take above it


def distribution(ax: Axes, kind: Kind, values: Any, place: float, color: Any) -> None:
    """One group of values: quartiles with whiskers, or median and density."""
    median: dict[str, Any] = {"color": _ink(ax), "linewidth": 1.4}
    if kind == "box":
        line: dict[str, Any] = {"linewidth": 0.8, "color": _ink(ax)}
        ax.boxplot(
            values,
            positions=[place],
            widths=0.7,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": color, "alpha": 0.75, "linewidth": 0.8, "edgecolor": _ink(ax)},
            medianprops=median | {"solid_capstyle": "butt"},
            whiskerprops=line,
            capprops=line,
            flierprops={
                "marker": ".", "markersize": 2, "markeredgecolor": color, "alpha": 0.35,
            },
        )  # fmt: skip
        return
    side: Any = "high" if kind == "density" else "both"
    left = place if kind == "density" else place - 0.35
    ax.hlines(np.median(values), left, place + 0.35, zorder=3, **median)
    if np.ptp(values) > 0:  # one value, or all the same, have no density: the line stands alone
        drawn = ax.violinplot(
            values,
            [place],
            widths=0.8,
            showextrema=False,
            side=side,
            points=400,
            bw_method=lambda _: _bandwidth(values),
        )
        bodies: Any = drawn["bodies"]
        for body in bodies:
            body.set(facecolor=color, alpha=0.75, edgecolor=color, linewidth=0.8)


def _bandwidth(values: NDArray[np.float64]) -> float:
    """Silverman's, in standard deviations: by the quartiles, where a few values lie far out."""
    deviation = float(np.std(values, ddof=1))
    spread = float(np.subtract(*np.percentile(values, [75, 25]))) / 1.34
    narrower = min(deviation, spread) if spread > 0 else deviation
    return float(0.9 * narrower / deviation * len(values) ** -0.2)


def reach_of_axis(groups: Sequence[NDArray[np.float64]], upper_ends: Sequence[float] = ()) -> float:
    """Where an axis should end, so that a few values far out do not squash the rest.

    At the largest end of a whisker (or 95% quantile, or interval) of all groups; at the largest
    value where that is little more.
    """
    every = [np.max(values) for values in groups]
    ends = [max(whisker(values), float(np.percentile(values, 95))) for values in groups]
    largest, end = max(every), max([*ends, *upper_ends])
    return float(end if 0 < 1.25 * end < largest else max(largest, end))


def whisker(values: NDArray[np.float64]) -> float:
    """The largest value within 1.5 interquartile ranges of the upper quartile."""
    lower, upper = np.percentile(values, [25, 75])
    return float(values[values <= upper + 1.5 * (upper - lower)].max())


def bracket(ax: Axes, place: float, low: float, high: float, point: float) -> None:
    """An interval with its point estimate, beside its group."""
    style: dict[str, Any] = {"color": _ink(ax), "zorder": 4}
    ax.plot([place] * 2, [low, high], marker="_", markersize=4, linewidth=1, **style)
    ax.plot(place, point, marker=".", markersize=3, **style)


def correction(ax: Axes, place: float, color: Any = "0.35") -> None:
    """A cross on what was set to 0."""
    ax.plot(place, 0, linestyle="none", **(_CROSS | {"color": color}), zorder=5, clip_on=False)


def beyond(ax: Axes, place: float, count: int) -> None:
    """How many values of a group lie beyond the axis, above its end."""
    ax.annotate(
        f"+{count}",
        (place, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 1),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=6,
        color="0.35",
        annotation_clip=False,
    )


def group_axis(
    ax: Axes, heads: Sequence[Any], names: Sequence[str], *, is_named: bool = True
) -> None:
    """Name the groups under the axis and, unless a title does, the heads above; part them."""
    step = len(names) + 1
    starts = np.arange(len(heads)) * step
    places = (starts[:, np.newaxis] + np.arange(len(names))).ravel()
    middles = starts + (len(names) - 1) / 2
    of_heads = dict(zip(middles, (f"head {head}" for head in heads), strict=True))
    of_heads = of_heads if is_named else {}
    ax.set_xticks(list(of_heads), list(of_heads.values()))
    ax.xaxis.remove_overlapping_locs = False  # the group in the middle has its name too
    ax.set_xticks(places, [upright(name) for name in names] * len(heads), minor=True)
    ax.tick_params(axis="x", which="major", top=False, bottom=False, labeltop=True,
                   labelbottom=False, length=0, pad=ROOM_ABOVE)  # fmt: skip
    ax.tick_params(axis="x", which="minor", length=0, labelrotation=90)
    ax.set_xlim(-1, len(heads) * step - 1)
    ax.grid(visible=False, axis="x")
    for start in starts[1:]:
        ax.axvline(start - 1, color="0.8", linewidth=0.8, zorder=0)


def legend_handles(
    colors: Mapping[str, Any], marks: Mapping[str, str], lines: Mapping[str, str] | None = None
) -> list[Any]:
    """Labels with their colors (and line styles), then the marks used, each with its words."""
    from matplotlib.lines import Line2D

    styles: Mapping[str, Any] = lines or {}
    width = 2 if lines else 5
    of_labels = (
        Line2D([], [], color=color, linewidth=width, linestyle=styles.get(name, "-"),
               label=shown(name))
        for name, color in colors.items()
    )  # fmt: skip
    return [*of_labels, *(Line2D([], [], label=words, **_MARKS[mark])
                          for mark, words in marks.items())]  # fmt: skip


def plain(text: str) -> str:
    """Text as it is: a dollar sign in a label starts no formula."""
    return text.replace("$", r"\$")


def shown(name: str, longest: int = _LONGEST_NAME) -> str:
    """A label as figures show it: as it is, a very long one without its middle."""
    half = longest // 2
    return plain(name if len(name) <= longest else f"{name[:half]}…{name[-half + 1 :]}")


def upright(name: str) -> str:
    """A label as it stands upright under an axis."""
    return shown(name, _LONGEST_UPRIGHT)


def _ink(ax: Axes) -> Any:
    """The color of the axes' own text, so that lines are seen on whatever is behind them."""
    return ax.yaxis.label.get_color()


_CROSS: dict[str, Any] = {"marker": "x", "markersize": 4, "color": "0.35"}
_MARKS: dict[str, dict[str, Any]] = {  # how each kind of mark is shown in the legend
    "mean": {"color": "0.35", "linewidth": 2},
    "band": {"color": "0.85", "linewidth": 7},
    "trace": {"color": "0.6", "linewidth": 0.5},
    "correction": {"linestyle": "none", **_CROSS},
    "bracket": {"color": "0.35", "marker": "|", "markersize": 9, "linestyle": "none"},
    "beyond": {"linestyle": "none", "marker": "$+n$", "markersize": 10, "color": "0.35",
               "markeredgewidth": 0.3},
    "extrapolated": {"linestyle": "none", "marker": "^", "markersize": 4,
                     "markerfacecolor": "white", "markeredgecolor": "0.35"},
}  # fmt: skip
