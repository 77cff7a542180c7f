"""The whole tissue in one figure: receivers against senders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.schema import UNKNOWN_UNIT
from amici_xr.dataset.structure import is_valid_structure
from amici_xr.errors import check_names, check_positive_number, listed
from amici_xr.plotting import marks
from amici_xr.plotting.layout import given_axes
from amici_xr.plotting.style import styled
from amici_xr.uncertainty.pair_atlas import (
    REACHES,
    atlas,
    strongest_by_attention,
    strongest_by_reach,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST_WITH_NUMBERS = 10  # types in a row or column, up to which each cell has its length scale
_DRAWN = {"median_length_scale", "status"}
# How each state that has no color of its own looks, and what the legend calls it.
_STATES: dict[str, tuple[dict[str, Any], str]] = {
    "absent": ({"facecolor": "white", "hatch": "////", "edgecolor": "0.85"}, "no such neighbor"),
    "no_reach": ({"facecolor": "0.93"}, "no reach"),
    "median_zero": ({"facecolor": "0.93", "marker": "."}, "reach of a minority, median 0"),
    "too_few_receivers": ({"facecolor": "0.93", "marker": "x"}, "too few receivers"),
    "beyond_neighborhood": ({"facecolor": "none", "marker": "^"}, "extrapolated"),
}


def plot_atlas(
    ds: xr.Dataset,
    threshold: float = 0.5,
    heads: int | Sequence[int] | None = None,
    sample_threshold: float | None = 0.02,
    ax: Axes | Sequence[Axes] | None = None,
    cmap: str = "viridis",
    max_length_scale: float | None = None,
) -> Axes | NDArray[np.object_]:
    """Draw the median length scale of every pair, receivers as rows and senders as columns.

    A color is a reach that the tissue supports; one with a triangle is extrapolated, since for
    most receivers it lies beyond their whole neighborhood. No such neighbor, no reach, a reach of
    a minority of the cells, and a reach that too few receivers support look different from it and
    from each other.

    Parameters
    ----------
    ds
        The Dataset, dims (query, neighbor, head), or of one query; or what `atlas` made of it, so
        that it is not computed again (then `threshold` and `sample_threshold` are its own).
    threshold, sample_threshold
        As in `atlas`.
    heads
        One panel for each of these heads; None draws one panel with the strongest head by reach of
        each pair, and where there is none with the one of the largest attention at contact. Up to
        ten types the length scale is written into each cell, and with more types the head's number.
    ax
        Where to draw, one for each panel; None makes a figure in the package's style, the sheet
        ``amici_xr.figures`` of matplotlib.
    cmap
        A matplotlib colormap for the length scale; by default one whose low end is dark, so that a
        short reach is not taken for none.
    max_length_scale
        Upper end of the colors; None takes the largest that is drawn.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        The axes drawn on; an array of them with several heads.

    Raises
    ------
    NotFoundError
        If a head is not there.
    ValueError
        If the atlas has a ``run``, ``sample`` or ``threshold`` dim or is empty, `ax` are not as
        many as the panels, or an argument is out of range.
    SchemaError
        If the Dataset has no neighborhoods.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(["A", "B", "C"], n_cells=300)
    >>> ax = amici_xr.plot_atlas(ds, threshold=0.1)
    >>> ax.get_ylabel()
    'receiver'
    """
    if max_length_scale is not None:
        check_positive_number("max_length_scale", max_length_scale)
    found = _atlas(ds, threshold, sample_threshold)
    panels = _panels(found, heads)
    drawn = np.concatenate([_colored(panel).ravel() for panel in panels.values()])
    largest = max_length_scale or np.nanmax(drawn, initial=0.0) or 1.0
    types = [str(name) for dim in ("query", "label") for name in found[dim].values]
    with styled(ax, types):
        axes = _axes(ax, panels, found)
        for one, (title, panel) in zip(axes, panels.items(), strict=True):
            mesh = _draw(one, panel, cmap, float(largest))
            one.set_title(title)
        figure = axes[0].figure
        figure.colorbar(mesh, ax=list(axes), label=_name(found), shrink=0.8, pad=0.02)
        _legend(axes, np.stack([panel["status"].values for panel in panels.values()]))
    return axes[0] if len(axes) == 1 else np.array(axes, dtype=object)


def _atlas(ds: xr.Dataset, threshold: float, sample_threshold: float | None) -> xr.Dataset:
    """What is drawn, dims (query, label, head): of an atlas, or of a Dataset of scores."""
    if isinstance(ds, xr.Dataset) and set(ds.data_vars) >= _DRAWN and not is_valid_structure(ds):
        found = ds
    else:
        found = atlas(ds, threshold, sample_threshold)
    further = set(found["status"].dims) - {"query", "label", "head"}
    if further:
        (dim, *_) = sorted(map(str, further))
        raise ValueError(
            f"the atlas has a {dim} dim ({listed(found[dim].values)}); draw one at a time, e.g. "
            f"plot_atlas(found.isel({dim}=0))"
        )
    shown = found[[name for name in (*_DRAWN, "attention_at_contact") if name in found]].compute()
    for dim in ("query", "label", "head"):
        if dim not in shown.dims:
            shown = shown.expand_dims(dim)
    if not all(shown.sizes.values()):
        raise ValueError(f"the atlas is empty, with sizes {dict(shown.sizes)}; nothing to draw")
    return shown.transpose("query", "label", "head")


def _name(found: xr.Dataset) -> str:
    """What the colors are, with unit and threshold."""
    unit = found["median_length_scale"].attrs.get("units", UNKNOWN_UNIT)
    coordinate = found.coords.get("threshold")
    threshold = found.attrs.get("threshold") if coordinate is None else coordinate.item()
    at = "" if threshold is None else f"\nat threshold {threshold:g}"
    between = "\n" if len(unit) > 8 else " "  # so that it is not longer than the colors are high
    return marks.plain(f"median length scale{between}({unit}){at}")


def _panels(found: xr.Dataset, heads: int | Sequence[int] | None) -> dict[str, xr.Dataset]:
    """What each panel shows: dims (query, label), with the head of each cell."""
    shown = found.assign(of_head=found["head"])
    known = found["head"].values.tolist()
    if heads is not None:
        asked = np.atleast_1d(heads).tolist()
        check_names("heads", asked, known, "head")
        return {f"head {head}": shown.sel(head=head) for head in asked}
    strongest = strongest_by_reach(found)
    if "attention_at_contact" in found:
        strongest = strongest.where(strongest >= 0, strongest_by_attention(found))
    of_each = shown.sel(head=strongest.where(strongest >= 0, known[0]))
    return {"strongest head" if len(known) > 1 else f"head {known[0]}": of_each}


def _colored(panel: xr.Dataset) -> NDArray[np.float64]:
    """Length scales of the cells that have a color, NaN elsewhere, (query, label)."""
    lengths = panel["median_length_scale"].where(panel["status"].isin(REACHES))
    return np.asarray(lengths.transpose("query", "label").values, dtype=np.float64)


def _axes(ax: Any, panels: dict[str, xr.Dataset], found: xr.Dataset) -> list[Axes]:
    if ax is not None:
        return given_axes(ax, len(panels))
    from matplotlib import pyplot as plt

    n_rows, n_columns = found.sizes["query"], found.sizes["label"]
    name = max(len(marks.upright(str(label))) for label in found["label"].values)
    cell = 0.55 if max(n_rows, n_columns) <= LARGEST_WITH_NUMBERS else 0.27
    across = min(len(panels), 2)
    down = -(-len(panels) // across)
    width, height = cell * n_columns + 0.075 * name + 0.5, cell * n_rows + 0.075 * name + 0.7
    figure, grid = plt.subplots(
        down,
        across,
        squeeze=False,
        # at least what the legend, and the name of the colors, take
        figsize=(max(across * width + 1.1, 4.6), max(down * height + 0.8, 3.4)),
        layout="constrained",
    )
    for spare in grid.ravel()[len(panels) :]:
        figure.delaxes(spare)
    return list(grid.ravel()[: len(panels)])


def _draw(ax: Axes, panel: xr.Dataset, cmap: str, largest: float) -> Any:
    from matplotlib.patches import Rectangle

    colored = _colored(panel)
    status = panel["status"].transpose("query", "label").values
    mesh = ax.imshow(colored, cmap=cmap, vmin=0, vmax=largest, aspect="equal")
    for row, column in np.ndindex(status.shape):
        style = dict(_STATES.get(str(status[row, column]), ({}, ""))[0])
        marker = style.pop("marker", None)
        if style and style["facecolor"] != "none":
            ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, linewidth=0, **style))
        if marker is not None:
            _mark(ax, marker, row, column, is_colored=bool(np.isfinite(colored[row, column])))
    _write_numbers(ax, panel, colored, mesh)
    for axis, dim, name in ((ax.xaxis, "label", "sender"), (ax.yaxis, "query", "receiver")):
        names = [marks.upright(str(value)) for value in panel[dim].values]
        axis.set_ticks(range(len(names)), names, fontsize=8)
        axis.set_ticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axis.set_label_text(name)
    ax.tick_params(axis="x", rotation=90)
    ax.tick_params(which="minor", length=0)
    ax.grid(visible=False, which="major")
    ax.grid(which="minor", axis="both", color="white", linestyle="-", linewidth=1)
    ax.spines[:].set_visible(False)
    return mesh


def _mark(ax: Axes, marker: str, row: int, column: int, *, is_colored: bool) -> None:
    """A mark in the cell, in a corner where there may be a number."""
    place = (column - 0.32, row - 0.32) if is_colored else (column, row)
    ax.plot(*place, **_marker(marker))


def _marker(marker: str) -> dict[str, Any]:
    outline = {"markerfacecolor": "white", "markeredgecolor": "black", "markeredgewidth": 0.5}
    style = {"marker": marker, "markersize": 4, "linestyle": "none", "color": "0.35"}
    return style | (outline if marker == "^" else {})


def _write_numbers(ax: Axes, panel: xr.Dataset, colored: NDArray[np.float64], mesh: Any) -> None:
    """The length scale where there is room for it, and where cells differ in it the head."""
    has_room = max(colored.shape) <= LARGEST_WITH_NUMBERS
    is_mixed = panel["of_head"].ndim > 0
    head = panel["of_head"].broadcast_like(panel["status"]).transpose("query", "label").values
    for row, column in zip(*np.nonzero(np.isfinite(colored)), strict=True):
        red, green, blue, _ = mesh.to_rgba(colored[row, column])
        color = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
        parts = [f"{colored[row, column]:.3g}"] if has_room else []
        parts += [f"head {head[row, column]}" if has_room else str(head[row, column])] * is_mixed
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
        ax.text(column, row, "\n".join(parts), color=color, **style)


def _legend(axes: Sequence[Axes], status: NDArray[Any]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for state, (style, words) in _STATES.items():
        if not (status == state).any():
            continue
        if "marker" in style:
            handles.append(Line2D([], [], label=words, **_marker(style["marker"])))
        else:
            handles.append(Patch(label=words, linewidth=0.5, **({"edgecolor": "0.7"} | style)))
    how: Any = {"handles": handles, "frameon": False}
    figure: Any = axes[0].figure
    if figure.get_layout_engine() is not None:
        figure.legend(loc="outside lower center", ncols=2, fontsize="small", **how)
    else:  # along the upper edge, where least stands
        how |= {"columnspacing": 1, "borderaxespad": 0.2}
        figure.legend(loc="upper center", ncols=len(handles), fontsize="x-small", **how)
