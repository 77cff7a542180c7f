"""Draw marks from computed numbers; nothing here knows a Dataset."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from amici_xr.plotting.shared.style import is_light

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["box", "violin", "density"]
_LONGEST_NAME = 60  # characters of a label in a legend
_LONGEST_UPRIGHT = 34  # characters of a label that stands upright under an axis
_WIDE = 1.6  # letters that a Chinese, Japanese or Korean one takes
ROOM_ABOVE = 9.0  # points above an axis for the numbers of values beyond it
_NUMBER_SIZE = 7.0  # points of their font
_DIGIT = 0.068  # inches that a digit takes in it


def distribution(ax: Axes, kind: Kind, values: Any, x: float, color: Any) -> None:
    """Draw a group of values: quartiles with whiskers, or median and density."""
    median: dict[str, Any] = {"color": ink(ax), "linewidth": 1.4}
    if kind == "box":
        line: dict[str, Any] = {"linewidth": 0.8, "color": ink(ax)}
        ax.boxplot(
            values,
            positions=[x],
            widths=0.7,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": color, "alpha": 0.75, "linewidth": 0.8, "edgecolor": ink(ax)},
            medianprops=median | {"solid_capstyle": "butt"},
            whiskerprops=line,
            capprops=line,
            flierprops={
                "marker": ".", "markersize": 2, "markeredgecolor": color, "alpha": 0.35,
            },
        )  # fmt: skip
        return
    side: Any = "high" if kind == "density" else "both"
    left = x if kind == "density" else x - 0.35
    ax.hlines(np.median(values), left, x + 0.35, zorder=3, **median)
    # Equal values have no density, nor have those whose variance is rounded to 0: the
    # median stands alone.
    if np.var(values) > np.finfo(np.float64).tiny:
        violin = ax.violinplot(
            values,
            [x],
            widths=0.8,
            showextrema=False,
            side=side,
            points=400,
            bw_method=lambda _: _bandwidth(values),
        )
        bodies: Any = violin["bodies"]
        for body in bodies:
            body.set(facecolor=color, alpha=0.75, edgecolor=color, linewidth=0.8)


def _bandwidth(values: NDArray[np.float64]) -> float:
    """Return Silverman's bandwidth in standard deviations, robust to a few very large values."""
    deviation = float(np.std(values, ddof=1))
    spread = float(np.subtract(*np.percentile(values, [75, 25]))) / 1.34
    narrower = min(deviation, spread) if spread > 0 else deviation
    return float(0.9 * narrower / deviation * len(values) ** -0.2)


def end_of_axis(groups: Sequence[NDArray[np.float64]], upper_ends: Sequence[float] = ()) -> float:
    """Return where an axis ends, so that a few very large values do not squash the rest.

    It is the largest whisker (or 95% quantile, or upper end of an interval) of all groups, or the
    largest value where that is at most 1.25 times as far.
    """
    from matplotlib.cbook import boxplot_stats

    whiskers = [stats["whishi"] for stats in boxplot_stats(groups)]
    quantiles = [np.percentile(values, 95) for values in groups]
    largest = max(np.max(values) for values in groups)
    end = max([*whiskers, *quantiles, *upper_ends])
    return float(end if 0 < 1.25 * end < largest else max(largest, end))


def bracket(ax: Axes, x: float, low: float, high: float, point: float) -> None:
    """Draw an interval with its point estimate, beside its group."""
    style: dict[str, Any] = {"color": ink(ax), "zorder": 4}
    ax.plot([x] * 2, [low, high], marker="_", markersize=4, linewidth=1, **style)
    ax.plot(x, point, marker=".", markersize=3, **style)


def correction(ax: Axes, x: float, color: Any = None) -> None:
    """Draw a cross on what was set to 0."""
    color = gray(ax, 0.35) if color is None else color
    ax.plot(x, 0, linestyle="none", **_CROSS, color=color, zorder=5, clip_on=False)


def beyond(ax: Axes, x: float, count: int, *, is_upright: bool = False) -> None:
    """Write above the end of the axis how many values of a group lie beyond it."""
    ax.annotate(
        f"+{count}",
        (x, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 1.5),
        textcoords="offset points",
        ha="center",
        va="bottom",
        rotation=90 if is_upright else 0,
        fontsize=_NUMBER_SIZE,
        color=gray(ax, 0.35),
        annotation_clip=False,
    )


def room_for_numbers(largest: int, inches: float) -> tuple[bool, float]:
    """Return whether numbers of values beyond stand upright, and the points they take above.

    They do where the `inches` from a group to the next are too few for the largest number.
    """
    length = _DIGIT * (len(str(largest)) + 1.2)
    is_upright = largest > 0 and length > inches
    return is_upright, 72 * length + 3 if is_upright else ROOM_ABOVE


def group_axis(
    ax: Axes,
    heads: Sequence[Any],
    names: Sequence[str],
    *,
    is_named: bool = True,
    room_above: float = ROOM_ABOVE,
) -> None:
    """Name the groups under the axis and, unless a title does, the heads above; separate heads."""
    step = len(names) + 1
    starts = np.arange(len(heads)) * step
    positions = (starts[:, np.newaxis] + np.arange(len(names))).ravel()
    if is_named:
        ax.set_xticks(starts + (len(names) - 1) / 2, [f"head {head}" for head in heads])
    else:
        ax.set_xticks([])
    ax.xaxis.remove_overlapping_locs = False  # the group in the middle has its name too
    ax.set_xticks(positions, [shorten_upright(name) for name in names] * len(heads), minor=True)
    ax.tick_params(axis="x", which="major", top=False, bottom=False, labeltop=True,
                   labelbottom=False, length=0, pad=room_above)  # fmt: skip
    ax.tick_params(axis="x", which="minor", length=0, labelrotation=90)
    ax.set_xlim(-1, len(heads) * step - 1)
    ax.grid(visible=False, axis="x")
    for start in starts[1:]:
        ax.axvline(start - 1, color=gray(ax, 0.8), linewidth=0.8, zorder=0)


def legend_handles(
    ax: Axes,
    colors: Mapping[str, Any],
    marks: Mapping[str, str],
    lines: Mapping[str, str] | None = None,
) -> list[Any]:
    """Make legend entries: labels with color and line style, then the marks with their words."""
    from matplotlib.lines import Line2D

    width = 2 if lines else 5
    entries = [
        {"color": color, "linewidth": width, "linestyle": (lines or {}).get(name, "-"),
         "label": shorten(name)}
        for name, color in colors.items()
    ]  # fmt: skip
    for mark, words in marks.items():
        style = {"color": gray(ax, _GRAYS.get(mark, 0.35)), "label": words, **_MARKS[mark]}
        entries.append(style)
    return [Line2D([], [], **entry) for entry in entries]


def escape(text: str) -> str:
    """Return text that is drawn as it is: a dollar sign in a label starts no formula."""
    return text.replace("$", r"\$")


def shorten(name: str, longest: int = _LONGEST_NAME) -> str:
    """Return a label as figures show it: without its middle where it is very long.

    What can't be printed, such as control characters that no font has, is shown as "�".
    """
    name = "".join(char if char.isprintable() else "\ufffd" for char in name)
    half = longest // 2
    return escape(name if len(name) <= longest else f"{name[:half]}…{name[-half + 1 :]}")


def shorten_upright(name: str) -> str:
    """Return a label as it stands upright under an axis."""
    return shorten(name, _LONGEST_UPRIGHT)


def length_of(name: str) -> float:
    """Return how many letters of average width a name takes."""
    return sum(_WIDE if unicodedata.east_asian_width(char) in "WF" else 1.0 for char in name)


def ink(ax: Axes) -> Any:
    """Return the color of the axes' own text, so that lines are visible on any background."""
    return ax.yaxis.label.get_color()


def gray(ax: Axes, brightness: float) -> str:
    """Return a gray between ink (0) and paper (1), of light paper or dark."""
    from matplotlib.colors import to_rgb

    is_dark = is_light(to_rgb(ink(ax)))
    return f"{1 - brightness if is_dark else brightness:g}"


_CROSS: dict[str, Any] = {"marker": "x", "markersize": 4}
_GRAYS = {"band": 0.85, "trace": 0.6, "plain": 0.7}  # of the legend; others are dark
_MARKS: dict[str, dict[str, Any]] = {  # how the legend shows each kind of mark
    "mean": {"linewidth": 2},
    "point": {"linestyle": "none", "marker": "o", "markersize": 4},
    "band": {"linewidth": 7},
    "trace": {"linewidth": 0.5},
    "plain": {"linewidth": 0.8},
    "correction": {"linestyle": "none", **_CROSS},
    "bracket": {"marker": "|", "markersize": 9, "linestyle": "none"},
    "beyond": {"linestyle": "none", "marker": "$+n$", "markersize": 10, "markeredgewidth": 0.3},
}  # fmt: skip
