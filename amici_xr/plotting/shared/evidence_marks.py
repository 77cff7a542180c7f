"""How figures of pairs show evidence: pairs without it recede, those with it are framed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from amici_xr.plotting.shared import marks
from amici_xr.uncertainty.evidence import STRICT, WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EVIDENCE = ("evidence", "supported_by", STRICT, *(f"q_value_{word}" for word in WORDS.values()))
RECEDED_TEXT = 0.45  # brightness from ink to paper
_RECEDED: dict[str, tuple[str, str]] = {  # hatch, and words in the legend
    "not_supported": (r"\\\\", "reach without evidence"),
    "not_tested": ("....", "reach, not tested"),
}


def _veil(ax: Axes) -> dict[str, Any]:
    """Return the style of what lies over a reach without evidence, in the color of the paper."""
    return {"facecolor": (marks.gray(ax, 1.0), 0.78), "edgecolor": marks.gray(ax, 0.72)}


def _frame(ax: Axes) -> dict[str, Any]:
    return {"facecolor": "none", "edgecolor": marks.ink(ax), "linewidth": 1.6}


def _star(ax: Axes) -> dict[str, Any]:
    return {"marker": "*", "markersize": 6, "linestyle": "none", "markeredgewidth": 0.6,
            "markerfacecolor": marks.gray(ax, 1.0), "markeredgecolor": marks.ink(ax)}  # fmt: skip


def title_line(pairs: xr.Dataset) -> str:
    """Tell which kinds of evidence a figure shows or, without any, how to get it."""
    if "evidence" not in pairs:
        return "no evidence given: distance_response(adata, …) tests pairs"
    kinds = [word for word in WORDS.values() if f"q_value_{word}" in pairs]
    level = pairs.attrs.get("significance_level")
    at = "" if level is None else f" (q < {level:g})"
    return f"evidence{at}: {', '.join(kinds)}"


def is_spillover(pairs: xr.Dataset) -> xr.DataArray:
    """Tell for which pairs the tissue is the only support, and may be spillover."""
    is_alone = pairs["supported_by"] == "tissue"
    level = pairs.attrs.get("significance_level", 0.05)
    return is_alone & ~(pairs[STRICT] < level) if STRICT in pairs else xr.zeros_like(is_alone)


def draw_evidence(
    ax: Axes, column: int, row: int, state: str, *, has_reach: bool, has_star: bool
) -> None:
    """Frame a supported pair; draw a veil over a reach that nothing supports."""
    from matplotlib.patches import Rectangle

    if state == "supported":
        ax.add_patch(Rectangle((column - 0.44, row - 0.44), 0.88, 0.88, zorder=3, **_frame(ax)))
    elif has_reach:
        hatch = _RECEDED[state][0]
        veil = _veil(ax) | {"hatch": hatch, "linewidth": 0, "zorder": 2.5}
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **veil))
    if has_star:
        ax.plot(column + 0.34, row - 0.34, zorder=4, clip_on=False, **_star(ax))


def legend_of_evidence(ax: Axes, states: set[str], *, has_star: bool) -> list[Any]:
    """Return legend entries of what `draw_evidence` drew."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    if "supported" in states:
        handles.append(Patch(label="evidence", **_frame(ax)))
    for state, (hatch, words) in _RECEDED.items():
        if state in states:
            handles.append(Patch(label=words, hatch=hatch, linewidth=0.5, **_veil(ax)))
    if has_star:
        handles.append(Line2D([], [], label="may be spillover", **_star(ax)))
    return handles
