"""How figures of pairs show evidence: pairs without it recede, those with it are framed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from amici_xr.uncertainty.evidence import STRICT, WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EVIDENCE = ("evidence", "supported_by", STRICT, *(f"q_value_{word}" for word in WORDS.values()))
RECEDED_TEXT = "0.45"
_VEIL: dict[str, Any] = {"facecolor": (1.0, 1.0, 1.0, 0.78), "edgecolor": "0.72", "linewidth": 0}
_RECEDED: dict[str, tuple[str, str]] = {  # hatch, and words in the legend
    "not_supported": (r"\\\\", "reach without evidence"),
    "not_tested": ("....", "reach, not tested"),
}
_FRAME: dict[str, Any] = {"facecolor": "none", "edgecolor": "black", "linewidth": 1.6}
_STAR: dict[str, Any] = {"marker": "*", "markersize": 6, "markerfacecolor": "white",
                         "markeredgecolor": "black", "markeredgewidth": 0.6,
                         "linestyle": "none"}  # fmt: skip


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
        ax.add_patch(Rectangle((column - 0.44, row - 0.44), 0.88, 0.88, zorder=3, **_FRAME))
    elif has_reach:
        hatch = _RECEDED[state][0]
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, hatch=hatch, zorder=2.5, **_VEIL))
    if has_star:
        ax.plot(column + 0.34, row - 0.34, zorder=4, clip_on=False, **_STAR)


def legend_of_evidence(states: set[str], *, has_star: bool) -> list[Any]:
    """Return legend entries of what `draw_evidence` drew."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    if "supported" in states:
        handles.append(Patch(label="evidence", **_FRAME))
    for state, (hatch, words) in _RECEDED.items():
        if state in states:
            handles.append(Patch(label=words, hatch=hatch, **(_VEIL | {"linewidth": 0.5})))
    if has_star:
        handles.append(Line2D([], [], label="may be spillover", **_STAR))
    return handles
