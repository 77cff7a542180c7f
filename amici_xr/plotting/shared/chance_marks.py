"""How the atlas shows chance: what models of the permuted tissue reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.length_scales import REACHES
from amici_xr.plotting.shared import marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHANCE = ("chance_lower", "chance_upper")


def _ring(ax: Axes) -> dict[str, Any]:
    return {"marker": "o", "markersize": 4, "linestyle": "none", "markeredgewidth": 0.8,
            "markerfacecolor": marks.gray(ax, 1.0), "markeredgecolor": marks.ink(ax)}  # fmt: skip


def is_within_chance(panel: xr.Dataset) -> NDArray[np.bool_]:
    """Tell which pairs have a reach, drawn in this panel, that is not above chance's."""
    if "chance_upper" not in panel:
        return np.zeros((panel.sizes["query"], panel.sizes["label"]), dtype=bool)
    is_within = panel["median_length_scale"] <= panel["chance_upper"]
    is_within = is_within & panel["status"].isin(REACHES)
    return np.asarray(is_within.transpose("query", "label").values)


def draw_within_chance(ax: Axes, column: int, row: int) -> None:
    """Draw a ring into the lower right corner of a pair, where no number stands."""
    ax.plot(column + 0.34, row + 0.34, zorder=4, clip_on=False, **_ring(ax))


def legend_of_chance(ax: Axes, *, has_ring: bool) -> list[Any]:
    """Return the legend entry of the ring, if there is one."""
    from matplotlib.lines import Line2D

    words = "as far in permuted tissue"
    return [Line2D([], [], label=words, **_ring(ax))] if has_ring else []


def mark_color_bar(bar: Axes, pairs: xr.Dataset, largest: float, *, is_flat: bool) -> None:
    """Draw a bracket along the color bar from the smallest to the largest reach by chance.

    It ends in an arrow where chance reaches beyond the colors. It stands left of a color bar, and
    above one that is flat.
    """
    if "chance_upper" not in pairs or not pairs["chance_upper"].notnull().any():
        return
    lower, upper = float(pairs["chance_lower"].min()), float(pairs["chance_upper"].max())
    low, high = min(lower, largest), min(upper, largest)
    transform = bar.get_xaxis_transform() if is_flat else bar.get_yaxis_transform()
    style: dict[str, Any] = {"color": marks.ink(bar), "clip_on": False, "transform": transform}

    def draw(across: list[float], along: list[float], **how: Any) -> None:
        distance = np.array(across)
        xy = (along, 1 + distance) if is_flat else (-distance, along)
        bar.plot(*xy, **style, **how)

    if upper > 0:
        end = [0.4] if upper > largest else [0.4, 0.15]
        draw([0.15, 0.4, *end], [low, low, *[high] * len(end)], linewidth=1)
    if upper > largest:
        draw([0.4], [high], marker=">" if is_flat else "^", markersize=4)
    middle = np.clip((low + high) / 2, 0.3 * largest, 0.7 * largest) if upper > 0 else largest / 2
    words = "permuted tissue" if upper > 0 else "permuted tissue: no reach"
    if is_flat:
        bar.text(float(middle), 1.7, words, fontsize=7, ha="center", va="bottom", **style)
    else:
        bar.text(-0.7, float(middle), words, fontsize=7, rotation=90, ha="right", va="center",
                 **style)  # fmt: skip
