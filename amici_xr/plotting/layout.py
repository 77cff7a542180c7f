"""Axes in figures of the package: one or several panels, their names, and the legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.plotting import marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEGEND_ROWS = 17
_USUAL_WIDTH, _MAX_WIDTH, _MAX_HEIGHT = 12.0, 28.0, 20.0  # inches
_LETTER = 0.072  # inches that a letter of a label takes
_MAX_MAP_HEIGHT, _MAX_MAP_WIDTH = 4.2, 8.0  # inches of the tissue itself


def map_size(*positions: dict[str, NDArray[np.float64]]) -> tuple[float, float]:
    """Return the inches of axes in the shape of a tissue, so that no band of them stays empty."""
    coordinates = (np.concatenate([cells[axis] for cells in positions]) for axis in "xy")
    extent_x, extent_y = (np.ptp(values) if values.size else 0.0 for values in coordinates)
    ratio = extent_x / extent_y if extent_x > 0 and extent_y > 0 else 1.0
    height = np.clip(_MAX_MAP_WIDTH / ratio, 2.0, _MAX_MAP_HEIGHT)
    width = np.clip(_MAX_MAP_HEIGHT * ratio, 1.5, _MAX_MAP_WIDTH)
    return float(width) + 0.9, float(height) + 0.8


def panel_axes(
    ax: Any,
    n: int,
    size: tuple[float, float],
    size_of_several: tuple[float, float],
    names: Sequence[str],
    n_marks: int = 3,
) -> list[Axes]:
    """Return the given axes, one for each of `n` panels, or new ones that share their axes.

    A single panel has about the first size in inches, each of several about the second, and there
    is room for a legend of these names, and so many marks, beside them.
    """
    if ax is not None:
        return given_axes(ax, n)
    width, height = size if n == 1 else size_of_several
    n_columns = max(1, min(n if n <= 3 else min(4, -(-n // 2)), int(_USUAL_WIDTH // width)))
    n_rows = -(-n // n_columns)
    lengths = [20] * n_marks + [len(marks.shorten(name)) for name in names]
    legend = (0.5 + _LETTER * max(lengths)) * _legend_columns(len(lengths)) if lengths else 0.0
    figure_width = min(n_columns * width, _MAX_WIDTH) + legend
    figure_size = (figure_width, min(n_rows * height, _MAX_HEIGHT))
    axes = grid_of_axes(n, n_columns, figure_size, share=True)
    for lowest_of_column in axes[-n_columns:]:
        lowest_of_column.tick_params(axis="x", which="both", labelbottom=True)
    return axes


def grid_of_axes(
    n: int, n_columns: int, size: tuple[float, float], *, share: bool = False
) -> list[Axes]:
    """Make a figure of this size in inches with `n` axes, row by row."""
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(
        -(-n // n_columns),
        n_columns,
        figsize=size,
        layout="constrained",
        sharex=share,
        sharey=share,
        squeeze=False,
    )
    for spare in grid.ravel()[n:]:
        figure.delaxes(spare)
    return list(grid.ravel()[:n])


def given_axes(ax: Any, n: int) -> list[Axes]:
    """Return the axes that were given, which must be one for each of `n` panels."""
    axes: list[Axes] = list(np.atleast_1d(ax).ravel())
    if len(axes) != n:
        raise ValueError(f"ax has {len(axes)} axes for {n} panels; give one for each")
    return axes


def name_panels(
    axes: Sequence[Axes],
    names: Sequence[str],
    title: str,
    x_label: str,
    y_label: str,
    *,
    is_ours: bool,
    title_pad: float | None = None,
) -> None:
    """Write titles and axis labels: in a figure of ours, those common to several panels once."""
    several = len(axes) > 1 and is_ours
    for ax, name in zip(axes, names, strict=True):
        full_title = ", ".join(part for part in (title, name) if part)
        ax.set_title(marks.escape(name if several else full_title), pad=title_pad)
        if not several:
            ax.set_xlabel(marks.escape(x_label))
            ax.set_ylabel(marks.escape(y_label))
    if several:
        figure: Any = axes[0].figure
        font_size = axes[0].yaxis.label.get_fontsize()
        figure.suptitle(marks.escape(title))
        figure.supxlabel(marks.escape(x_label), size=font_size)
        figure.supylabel(marks.escape(y_label), size=font_size)


def add_legend(axes: Sequence[Axes], handles: Sequence[Any], *, is_ours: bool) -> None:
    """Put the legend beside the axes where the figure makes room for it, else within them.

    In a figure without a layout engine it would be cut off, or lie over the next axes.
    """
    if not handles:
        return
    last: Any = axes[-1]
    n_columns = _legend_columns(len(handles))
    if len(axes) > 1 and is_ours:
        last.figure.legend(handles=handles, loc="outside right upper", ncols=n_columns)
        return
    style: dict[str, Any] = {} if is_ours else {"fontsize": "small"}
    if last.figure.get_layout_engine() is None:
        style |= {"loc": "best", "framealpha": 0.6}
    else:
        style |= {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
        style |= {"frameon": False}
    last.legend(handles=handles, ncols=n_columns, **style)


def room_for_names(names: Sequence[str]) -> float:
    """Return the inches that upright names of groups take under the axes."""
    return 0.2 + _LETTER * max((len(marks.shorten_upright(name)) for name in names), default=0)


def make_room(ax: Axes, *, left: float = 0.0, right: float = 0.0, below: float = 0.0) -> None:
    """Shrink axes by inches for what stands beside them, where no layout engine does so."""
    figure: Any = ax.figure
    if figure.get_layout_engine() is not None:
        return
    width, height = figure.get_size_inches()
    box = ax.get_position()
    x0, y0 = max(box.x0, left / width), max(box.y0, below / height)
    x1 = box.x1 - right / width
    least = 0.05  # what is left of axes that are too small
    ax.set_position((x0, y0, max(x1 - x0, least), max(box.y1 - y0, least)))


def _legend_columns(n_entries: int) -> int:
    return 1 + (n_entries - 1) // _LEGEND_ROWS
