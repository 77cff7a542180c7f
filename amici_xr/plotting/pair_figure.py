"""All pairs of a distance response in one figure: receivers against senders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.response_structure import check_response
from amici_xr.errors import NotFoundError, check_fraction, check_positive_number
from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.layout import (
    PAGE_WIDTH,
    columns_below,
    given_axes,
    grid_of_axes,
    inches_of,
    make_room,
    room_for_names,
)
from amici_xr.plotting.shared.style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_Q = 1e-10  # smaller ones are drawn as large; of them no more is known than that
_LEGEND_WIDTH = 1.75  # inches
_MOST_POINTS = 16.0  # diameter of the largest dot
_LEGEND_HEIGHT = 0.9  # inches of a legend below, where there is no room beside the pairs
_LEAST_CELL = 0.138  # inches, as high as a name
_COLOR_BAR = 0.65  # inches above the pairs
# Style of the pairs that were not tested, and its name in the legend.
_STATES: dict[str, tuple[dict[str, Any], str]] = {
    "same_type": ({"marker": "s", "size": 0.35}, "same type"),
    "absent": ({"marker": "x", "size": 0.3}, "too few senders"),
    "too_few_receivers": ({"marker": "_", "size": 0.4}, "too few receivers"),
    "no_contrast": ({"marker": "|", "size": 0.4}, "none near, or none far"),
}


def plot_pairs(
    response: xr.Dataset,
    q: str = "q_value",
    level: float = 0.05,
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
    cmap: str = "RdBu_r",
    max_effect: float | None = None,
) -> Any:
    """Draw all pairs of a distance response as dots, receivers as rows and senders as columns.

    The area of a dot grows with −log10 of q, down to 1e-10; its color is the mean effect of the
    genes that respond, red for higher near the sender and blue for lower. Dots with an outline are
    called. A cross on a dot marks a call that transcripts leaking from the sender could explain:
    its ``q_value_strict`` is not below the level. Pairs that were not tested have faint marks that
    tell why.

    Parameters
    ----------
    response
        The result of `distance_response`.
    q
        Which q is drawn: "q_value", "q_value_beyond_niche", "q_value_strict" or, where there are
        samples, "q_value_over_samples".
    level
        Value of q below which a pair is called, and a gene responds.
    ax
        Axes to draw on; None makes a figure in the package's style, the matplotlib style sheet
        ``amici_xr.figures``. Given axes keep your style.
    figsize
        Width and height of a new figure in inches; None chooses them by the number of types.
    cmap
        A matplotlib colormap for the effect, centered at 0; best a diverging one.
    max_effect
        Effect at both ends of the colors; None takes the largest that is called.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    NotFoundError
        If the response has no such q.
    ValueError
        If `level` or `max_effect` is out of its range, or there is no pair.
    SchemaError
        If ``response`` is not the result of `distance_response`.

    Examples
    --------
    >>> import amici_xr
    >>> tissue = amici_xr.testing.simulate_tissue(n_cells=700, n_types=3, n_genes=9, n_pairs=1)
    >>> response = amici_xr.distance_response(tissue, "cell_type", progress=False)
    >>> ax = amici_xr.plot_pairs(response, figsize=(5, 4))
    >>> ax.get_xlabel()
    'sender'
    """
    level = check_fraction("level", level)
    if max_effect is not None:
        check_positive_number("max_effect", max_effect)
    pairs = _choose_pairs(check_response(response), q, level)
    names = {dim: [str(name) for name in pairs[dim].values] for dim in ("query", "label")}
    with styled(ax, [*names["query"], *names["label"]]):
        is_flat = False
        if ax is None:
            panel, is_flat = _new_axes(names, figsize)
        else:
            panel = given_axes(ax, 1)[0]
        left, below = (room_for_names(names[dim]) + 0.3 for dim in ("query", "label"))
        make_room(panel, left=left, right=_LEGEND_WIDTH, below=below)
        _name_pairs(panel, names)
        _draw_pairs(panel, pairs, q, level, cmap, max_effect, is_flat=is_flat)
    return panel


def mean_effect(response: xr.Dataset, level: float) -> xr.DataArray:
    """Return the mean effect of the genes whose q is below the level, else of the strongest."""
    effect, gene_q = response["effect"], response["gene_q_value"]
    responds = gene_q < level
    is_strongest = gene_q == gene_q.min("gene")
    used = responds | (is_strongest & ~responds.any("gene"))
    return effect.where(used).mean("gene")


def _choose_pairs(response: xr.Dataset, q: str, level: float) -> xr.Dataset:
    """Return q, mean effect, status and whether spillover could explain a call, (query, label)."""
    available = [str(name) for name in response.data_vars if str(name).startswith("q_value")]
    if q not in available:
        raise NotFoundError(f"q={q!r} is not in the response, which has {', '.join(available)}")
    if not response[q].size:
        raise ValueError(f"the response has no pairs, with sizes {dict(response.sizes)}")
    pairs = xr.Dataset(
        {"q": response[q], "effect": mean_effect(response, level), "status": response["status"]}
    )
    pairs["is_called"] = pairs["q"] < level
    strict = response.get("q_value_strict", xr.zeros_like(pairs["q"]))
    pairs["is_spillover"] = pairs["is_called"] & (strict >= level)
    pairs = pairs.compute()
    pairs = pairs.expand_dims([dim for dim in ("query", "label") if dim not in pairs.dims])
    return pairs.transpose("query", "label")


def _new_axes(
    names: dict[str, list[str]], figsize: tuple[float, float] | None
) -> tuple[Axes, bool]:
    """Make axes, and tell whether the legend belongs below them."""
    n_rows, n_columns = len(names["query"]), len(names["label"])
    cell = 0.36 if max(n_rows, n_columns) <= 20 else 0.21
    beside = room_for_names(names["query"]) + 0.4
    width = max(cell * n_columns, 1.6) + beside + _LEGEND_WIDTH
    is_flat = width > PAGE_WIDTH
    if is_flat:
        cell = float(np.clip((PAGE_WIDTH - beside) / n_columns, _LEAST_CELL, cell))
        width = cell * n_columns + beside
    height = max(cell * n_rows, 2.2) + room_for_names(names["label"]) + 0.4 + _COLOR_BAR
    size = (width, height + (_LEGEND_HEIGHT if is_flat else 0.0))
    return grid_of_axes(1, 1, figsize or size)[0], is_flat


def _name_pairs(ax: Axes, names: dict[str, list[str]]) -> None:
    for axis, dim, title in ((ax.xaxis, "label", "sender"), (ax.yaxis, "query", "receiver")):
        upright = [marks.shorten_upright(name) for name in names[dim]]
        axis.set_ticks(range(len(upright)), upright, fontsize=8)
        axis.set_label_text(title)
    ax.tick_params(axis="x", rotation=90)
    ax.set_xlim(-0.6, len(names["label"]) - 0.4)
    ax.set_ylim(len(names["query"]) - 0.4, -0.6)
    ax.grid(visible=True, which="major", axis="both", linewidth=0.5, alpha=0.5)
    ax.set_axisbelow(True)


def _draw_pairs(
    ax: Axes,
    pairs: xr.Dataset,
    q: str,
    level: float,
    cmap: str,
    max_effect: float | None,
    *,
    is_flat: bool,
) -> None:
    from matplotlib import patheffects

    figure: Any = ax.figure
    ink = ax.yaxis.label.get_color()
    called = pairs["effect"].where(pairs["is_called"])
    largest = max_effect or next(
        (size for effect in (called, pairs["effect"]) if (size := _largest(effect)) > 0), 1.0
    )
    most = _dot_points(ax, pairs.sizes, is_flat=is_flat)
    row, column = np.nonzero(np.isfinite(pairs["q"].values))
    at = (row, column)
    is_called = pairs["is_called"].values[at]
    look: dict[str, Any] = {"linewidths": np.where(is_called, 1.0, 0.0)}
    if row.size:  # matplotlib refuses an empty array
        look["alpha"] = np.where(is_called, 1.0, 0.6)
    dots = ax.scatter(
        column, row, _areas(pairs["q"].values[at], most), pairs["effect"].values[at],
        cmap=cmap, vmin=-largest, vmax=largest, edgecolors=ink, zorder=3, **look,
    )  # fmt: skip
    row, column = np.nonzero(pairs["is_spillover"].values)
    cross: dict[str, Any] = {"marker": "x", "color": "black", "linestyle": "none", "zorder": 4}
    cross |= {"markersize": max(2.5, 0.35 * most), "markeredgewidth": 0.08 * most}
    cross["path_effects"] = [patheffects.withStroke(linewidth=0.18 * most, foreground="white")]
    ax.plot(column, row, **cross)
    faint: dict[str, Any] = {"color": ink, "alpha": 0.3, "linestyle": "none"}
    entries = _size_entries(ax, level, most, ink)
    if row.size:
        entries.append(_entry(**cross, label="spillover may explain it"))
    for status, (mark, words) in _STATES.items():
        row, column = np.nonzero(pairs["status"].values == status)
        if row.size:
            how = {"marker": mark["marker"], "markersize": max(2.0, mark["size"] * most), **faint}
            ax.plot(column, row, zorder=2, **how)
            entries.append(_entry(**how, label=words))
    title = q.removeprefix("q_value").replace("_", " ").strip()
    style: dict[str, Any] = {"title": f"q {title}".strip(), "frameon": False, "fontsize": "small"}
    style |= {"handles": entries, "alignment": "left", "handletextpad": 0.6}
    if is_flat:
        width = figure.get_size_inches()[0]
        n_columns = columns_below([entry.get_label() for entry in entries], width)
        figure.legend(loc="outside lower center", ncols=n_columns, labelspacing=0.7, **style)
    else:
        style |= {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0}
        ax.legend(labelspacing=1.2, **style)
    bar = figure.colorbar(
        dots,
        ax=ax,
        location="top",
        fraction=0.05,
        aspect=max(18.0, 1.8 * pairs.sizes["label"]),
        pad=0.03,
        use_gridspec=False,
    )
    bar.set_label("mean effect near the sender", fontsize="small")
    bar.ax.tick_params(labelsize="small")
    bar.locator = _ticks_of_color_bar()
    bar.update_ticks()


def _ticks_of_color_bar() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4, symmetric=True)


def _largest(effect: xr.DataArray) -> float:
    return float(np.nanmax(np.abs(effect.values), initial=0.0))


def _dot_points(ax: Axes, sizes: Any, *, is_flat: bool) -> float:
    """Return the diameter in points of the largest dot, so that none touches another."""
    figure: Any = ax.figure
    width, height = (side * 72 for side in inches_of(figure))
    if figure.get_layout_engine() is None:
        box = ax.get_position()
        width, height = width * box.width, height * box.height * 0.85
    else:  # before the layout is made
        box = ax.get_position()
        lost = (0.5 if is_flat else _LEGEND_WIDTH + 1.4) * 72
        width, height = max(width * box.width - lost, 0.4 * width), 0.6 * height * box.height
    cell = min(width / sizes["label"], height / sizes["query"])
    return float(np.clip(0.85 * cell, 3.0, _MOST_POINTS))


def _areas(q: Any, most: float) -> NDArray[np.float64]:
    """Return areas in square points: linear in −log10 q, from a small one at 1."""
    strength = np.log10(np.clip(q, LEAST_Q, 1.0)) / np.log10(LEAST_Q)
    return np.asarray(most**2 * (0.1 + 0.9 * strength), dtype=np.float64)


def _size_entries(ax: Axes, level: float, most: float, ink: Any) -> list[Any]:
    values = {0.5: "0.5", level: f"{level:g}, called below"}
    values |= {value: f"{value:g}" for value in (1e-3, 1e-6) if value < level}
    values[LEAST_Q] = f"{LEAST_Q:g} or less"
    return [
        _entry(
            marker="o", linestyle="none", markersize=float(np.sqrt(_areas(value, most))),
            markerfacecolor=marks.gray(ax, 0.6), markeredgecolor=ink, label=words,
            markeredgewidth=1.0 if value < level else 0.0,
        )
        for value, words in values.items()
    ]  # fmt: skip


def _entry(**style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **style)
