"""Axes in figures of ours: one or several panels, their names, and the legend beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.plotting import marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROWS_OF_LEGEND = 17
_USUAL_WIDTH, _WIDEST, _HIGHEST = 12.0, 28.0, 20.0  # inches
_LETTER = 0.072  # inches that a letter of a label takes
_HIGHEST_MAP, _WIDEST_MAP = 4.2, 8.0  # inches of the tissue itself


def new_axes(width: float, names: Sequence[str], height: float = 3.6) -> Axes:
    """Axes of about this size in inches, with room for the legend of these names beside them."""
    size = (width, height)
    return panel_axes(None, 1, size, size, names, n_marks=0)[0]


def size_of_map(*places: dict[str, NDArray[np.float64]]) -> tuple[float, float]:
    """Inches of axes in the shape of a tissue, so that no band of them stays empty."""
    along = (np.concatenate([one[axis] for one in places]) for axis in "xy")
    across, up = (np.ptp(values) if values.size else 0.0 for values in along)
    shape = across / up if across > 0 and up > 0 else 1.0
    height = np.clip(_WIDEST_MAP / shape, 2.0, _HIGHEST_MAP)
    width = np.clip(_HIGHEST_MAP * shape, 1.5, _WIDEST_MAP)
    return float(width) + 0.9, float(height) + 0.8


def panel_axes(
    ax: Any,
    n: int,
    size: tuple[float, float],
    size_of_several: tuple[float, float],
    names: Sequence[str],
    n_marks: int = 3,
) -> list[Axes]:
    """The axes of so many panels: those that were given, or new ones that share their axes.

    A single one has about the first size in inches, each of several about the second, and there is
    room for the legend of these names, and so many marks, beside them.
    """
    if ax is not None:
        return given_axes(ax, n)
    from matplotlib import pyplot as plt

    width, height = size if n == 1 else size_of_several
    across = max(1, min(_across(n), int(_USUAL_WIDTH // width)))
    down = -(-n // across)
    lengths = [20] * n_marks + [len(marks.shown(name)) for name in names]
    beside = (0.5 + _LETTER * max(lengths)) * _columns(len(lengths)) if lengths else 0.0
    figure, grid = plt.subplots(
        down,
        across,
        figsize=(min(across * width, _WIDEST) + beside, min(down * height, _HIGHEST)),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for spare in grid.ravel()[n:]:
        figure.delaxes(spare)
    axes: list[Axes] = list(grid.ravel()[:n])
    for ax_above_none in axes[-across:]:  # the lowest of its column
        ax_above_none.tick_params(axis="x", which="both", labelbottom=True)
    return axes


def one_or_array(axes: Sequence[Axes], *, is_one: bool) -> Axes | NDArray[np.object_]:
    """What a figure gives back: the axes where one panel was asked for, else an array of them."""
    return axes[0] if is_one else np.array(axes, dtype=object)


def given_axes(ax: Any, n: int) -> list[Axes]:
    """The axes that were given, which must be one for each panel."""
    axes: list[Axes] = list(np.atleast_1d(ax).ravel())
    if len(axes) != n:
        raise ValueError(f"ax has {len(axes)} axes for {n} panels; give one for each")
    return axes


def name_panels(
    axes: Sequence[Axes],
    names: Sequence[str],
    whole: str,
    x: str,
    y: str,
    *,
    is_ours: bool,
    title_pad: float | None = None,
) -> None:
    """Titles and axis labels: in a figure of ours, what is common to several panels stands once."""
    several = len(axes) > 1 and is_ours
    for ax, name in zip(axes, names, strict=True):
        whole_title = ", ".join(part for part in (whole, name) if part)
        ax.set_title(marks.plain(name if several else whole_title), pad=title_pad)
        if not several:
            ax.set_xlabel(marks.plain(x))
            ax.set_ylabel(marks.plain(y))
    if several:
        figure: Any = axes[0].figure
        size = axes[0].yaxis.label.get_fontsize()
        figure.suptitle(marks.plain(whole))
        figure.supxlabel(marks.plain(x), size=size)
        figure.supylabel(marks.plain(y), size=size)


def add_legend(axes: Sequence[Axes], handles: Sequence[Any], *, is_ours: bool) -> None:
    """Beside the axes, over nothing, where the figure makes room for what stands there.

    Within them otherwise, since it would be cut off or lie over the next axes.
    """
    if not handles:
        return
    last: Any = axes[-1]
    columns = _columns(len(handles))
    if len(axes) > 1 and is_ours:
        last.figure.legend(handles=handles, loc="outside right upper", ncols=columns)
        return
    style: dict[str, Any] = {} if is_ours else {"fontsize": "small"}
    if last.figure.get_layout_engine() is None:
        style |= {"loc": "best", "framealpha": 0.6}
    else:
        style |= {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
        style |= {"frameon": False}
    last.legend(handles=handles, ncols=columns, **style)


def room_for_names(names: Sequence[str]) -> float:
    """Inches that upright names of groups take under the axes."""
    return 0.2 + _LETTER * max((len(marks.upright(name)) for name in names), default=0)


def _across(n: int) -> int:
    return n if n <= 3 else min(4, -(-n // 2))


def _columns(n_entries: int) -> int:
    return 1 + (n_entries - 1) // _ROWS_OF_LEGEND
