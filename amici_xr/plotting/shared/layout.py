"""Axes in figures of the package: one or several panels, their names, and the legend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.style import LACKS_CHARACTERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Side = Literal["right", "below"]

PAGE_WIDTH = 7.08  # inches: 180 mm, two columns of a journal, where text keeps its size
LETTER = 0.072  # inches that a letter of a label takes
_NAME_SIZE = 8.0  # points of that letter
_HANDLE = 0.5  # inches of a legend beside its text
_LEGEND_ROWS = 17
_MAX_MAP_HEIGHT, _MAX_MAP_WIDTH = 4.2, 5.9  # inches of the tissue itself


def map_size(*positions: dict[str, NDArray[np.float64]]) -> tuple[float, float]:
    """Return the inches of axes in the shape of a tissue, so that no band of them stays empty."""
    coordinates = (np.concatenate([cells[axis] for cells in positions]) for axis in "xy")
    extent_x, extent_y = (np.ptp(values) if values.size else 0.0 for values in coordinates)
    ratio = extent_x / extent_y if extent_x > 0 and extent_y > 0 else 1.0
    height = np.clip(_MAX_MAP_WIDTH / ratio, 1.3, _MAX_MAP_HEIGHT)
    width = np.clip(_MAX_MAP_HEIGHT * ratio, 1.5, _MAX_MAP_WIDTH)
    return float(width) + 0.9, float(height) + 0.8


def inches_of(artist: Any) -> NDArray[np.float64]:
    """Return width and height in inches of axes, a figure or a part of one."""
    figure = getattr(artist, "figure", None) or artist
    inches: NDArray[np.float64] = np.array([artist.bbox.width, artist.bbox.height]) / figure.dpi
    return inches


def width_of(texts: Iterable[str]) -> float:
    """Return the inches that the longest of some texts takes."""
    return LETTER * max((marks.length_of(text) for text in texts), default=0.0)


def legend_width(texts: Sequence[str]) -> float:
    """Return the inches of a legend beside the axes."""
    n_columns = 1 + (len(texts) - 1) // _LEGEND_ROWS
    return (_HANDLE + width_of(texts)) * n_columns if texts else 0.0


def legend_side(width: float, texts: Sequence[str]) -> Side:
    """Choose where a legend stands: beside axes of this width, or below where it has no room."""
    return "right" if width + legend_width(texts) <= PAGE_WIDTH else "below"


def legend_height(texts: Sequence[str], width: float) -> float:
    """Return the inches of a legend below a figure of this width."""
    return 0.18 * -(-len(texts) // columns_below(texts, width)) + 0.15 if texts else 0.0


def columns_below(texts: Sequence[str], width: float) -> int:
    """Return how many columns a legend below a figure of this width has."""
    return max(1, min(len(texts), int(width / (_HANDLE + 0.25 + width_of(texts)))))


def columns_of_panels(n: int, width: float, least: float) -> int:
    """Return how many of `n` panels, of a least width, stand side by side within a width."""
    usual = n if n <= 3 else min(4, -(-n // 2))
    most = max(1, min(usual, int(width // least)))
    return -(-n // -(-n // most))  # rows of equal length


def grid_of_axes(
    n: int, n_columns: int, size: tuple[float, float], *, share: bool = False
) -> list[Axes]:
    """Make a figure of this size in inches with `n` axes, row by row; they may share their axes."""
    from matplotlib import pyplot as plt

    from amici_xr.plotting.shared.paper import PaperFigure

    figure, grid = plt.subplots(
        -(-n // n_columns),
        n_columns,
        figsize=size,
        layout="constrained",
        sharex=share,
        sharey=share,
        squeeze=False,
        FigureClass=PaperFigure,
    )
    paper: Any = figure
    paper.lacks_characters = LACKS_CHARACTERS.get()
    for spare in grid.ravel()[n:]:
        figure.delaxes(spare)
    axes: list[Axes] = list(grid.ravel()[:n])
    if share:
        for lowest_of_column in axes[-n_columns:]:
            lowest_of_column.tick_params(axis="x", which="both", labelbottom=True)
    return axes


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
    outer: str = "",
) -> None:
    """Write titles and axis labels: in a figure of ours, those common to several panels once.

    Labels of the axes in `outer`, "x" or "y" or both, stand at the outer panels instead: of x where
    a legend is below, of y where lines are named at the left.
    """
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
        if "x" not in outer:
            figure.supxlabel(marks.escape(x_label), size=font_size)
        if "y" not in outer:
            figure.supylabel(marks.escape(y_label), size=font_size)
        for ax in lowest_of_columns(axes) if "x" in outer else ():
            ax.set_xlabel(marks.escape(x_label))
        for ax in last_of_rows(axes) if "y" in outer else ():
            ax.set_ylabel(marks.escape(y_label))


def last_of_rows(axes: Sequence[Axes]) -> list[Axes]:
    """Return the axes at the right end of each row."""
    rows: dict[int, Axes] = {}
    for ax in axes:
        place: Any = ax.get_subplotspec()
        rows[place.rowspan.start] = ax
    return list(rows.values())


def lowest_of_columns(axes: Sequence[Axes]) -> list[Axes]:
    """Return the lowest axes of each column."""
    columns: dict[int, Axes] = {}
    for ax in axes:
        place: Any = ax.get_subplotspec()
        columns[place.colspan.start] = ax
    return list(columns.values())


def add_legend(
    axes: Sequence[Axes], handles: Sequence[Any], *, is_ours: bool, side: Side = "right"
) -> None:
    """Put the legend beside or below the axes where the figure makes room for it, else within them.

    In a figure without a layout engine it would be cut off, or lie over the next axes.
    """
    if not handles:
        return
    last: Any = axes[-1]
    if is_ours and side == "below":
        texts = [handle.get_label() for handle in handles]
        n_columns = columns_below(texts, last.figure.get_size_inches()[0])
        last.figure.legend(
            handles=handles, loc="outside lower center", ncols=n_columns, columnspacing=1.2,
            frameon=False,
        )  # fmt: skip
        return
    n_columns = 1 + (len(handles) - 1) // _LEGEND_ROWS
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
    return 0.2 + width_of(marks.shorten_upright(name) for name in names)


def room_for(ax: Axes, inches: float) -> float:
    """Return the inches of names in the font size of given axes, instead of that of ours."""
    return inches * float(ax.yaxis.get_major_ticks(1)[0].label1.get_fontsize()) / _NAME_SIZE


def make_room(ax: Axes, *, left: float = 0.0, right: float = 0.0, below: float = 0.0) -> None:
    """Shrink axes by inches for what stands beside them, where no layout engine does so."""
    figure: Any = ax.figure
    if figure.get_layout_engine() is not None:
        return
    width, height = inches_of(figure)
    box = ax.get_position()
    x0, y0 = max(box.x0, left / width), max(box.y0, below / height)
    x1 = box.x1 - right / width
    least = 0.05  # what is left of axes that are too small
    ax.set_position((x0, y0, max(x1 - x0, least), max(box.y1 - y0, least)))
