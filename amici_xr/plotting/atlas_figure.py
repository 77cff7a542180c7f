"""The whole tissue in one figure: receivers against senders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.schema import UNKNOWN_UNIT
from amici_xr.dataset.structure import is_valid_structure
from amici_xr.dataset.units import check_distance_number, unit_label
from amici_xr.errors import check_names, check_positive_number, listed
from amici_xr.plotting import marks
from amici_xr.plotting.layout import given_axes, grid_of_axes
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
# Style of each status without a color of its own, and its name in the legend.
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
) -> Any:
    """Draw the median length scale of every pair, receivers as rows and senders as columns.

    A color is a reach that the tissue supports. A color with a triangle is extrapolated: for most
    receivers it lies beyond their whole neighborhood. No such neighbor, no reach, a reach of a
    minority of the cells, and a reach that too few receivers support each look different.

    Parameters
    ----------
    ds
        The Dataset, dims (query, neighbor, head), or of one query; or the result of `atlas`, which
        is then not computed again (and has its own `threshold` and `sample_threshold`).
    threshold, sample_threshold
        As in `atlas`.
    heads
        One panel for each of these heads; None draws one panel with the strongest head by reach of
        each pair or, where no head has a reach, that with the largest attention at contact. Up to
        ten types the length scale is written into each cell, with more types the head's number.
    ax
        Axes to draw on, one for each panel; None makes a figure in the package's style, the
        matplotlib style sheet ``amici_xr.figures``.
    cmap
        A matplotlib colormap for the length scale; by default one whose low end is dark, so that a
        short reach is not mistaken for no reach.
    max_length_scale
        Upper end of the colors, in the unit of the length scales unless it is labelled with
        another; None takes the largest that is drawn.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        The axes drawn on; an array of them with several heads.

    Raises
    ------
    NotFoundError
        If a head is not in the Dataset.
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
    if max_length_scale is not None and unit_label(max_length_scale) is None:
        check_positive_number("max_length_scale", max_length_scale)
    pairs = _atlas(ds, threshold, sample_threshold)
    if max_length_scale is not None:
        unit = pairs["median_length_scale"].attrs.get("units")
        max_length_scale = check_distance_number(
            "max_length_scale", max_length_scale, unit, "the atlas"
        )
    panels = _panels(pairs, heads)
    lengths = np.concatenate([_supported_lengths(panel).ravel() for panel in panels.values()])
    largest = float(max_length_scale or np.nanmax(lengths, initial=0.0) or 1.0)
    types = [str(name) for dim in ("query", "label") for name in pairs[dim].values]
    with styled(ax, types):
        axes = _new_axes(len(panels), pairs) if ax is None else given_axes(ax, len(panels))
        for panel_axes, (title, panel) in zip(axes, panels.items(), strict=True):
            mesh = _draw_panel(panel_axes, panel, cmap, largest)
            panel_axes.set_title(title)
        figure = axes[0].figure
        figure.colorbar(mesh, ax=list(axes), label=_color_bar_label(pairs), shrink=0.8, pad=0.02)
        _add_legend(axes, np.stack([panel["status"].values for panel in panels.values()]))
    return axes[0] if len(axes) == 1 else np.array(axes, dtype=object)


def _atlas(ds: xr.Dataset, threshold: float, sample_threshold: float | None) -> xr.Dataset:
    """Return what is drawn, dims (query, label, head), from an atlas or a Dataset of scores."""
    is_atlas = isinstance(ds, xr.Dataset) and set(ds.data_vars) >= _DRAWN
    is_atlas = is_atlas and not is_valid_structure(ds)
    pairs = ds if is_atlas else atlas(ds, threshold, sample_threshold)
    further = sorted(map(str, set(pairs["status"].dims) - {"query", "label", "head"}))
    if further:
        dim = further[0]
        raise ValueError(
            f"the atlas has a {dim} dim ({listed(pairs[dim].values)}); draw one at a time, e.g. "
            f"plot_atlas(atlas.isel({dim}=0))"
        )
    names = [name for name in (*_DRAWN, "attention_at_contact") if name in pairs]
    pairs = pairs[names].compute()
    scalar = [dim for dim in ("query", "label", "head") if dim not in pairs.dims]
    pairs = pairs.expand_dims(scalar).transpose("query", "label", "head")
    if not all(pairs.sizes.values()):
        raise ValueError(f"the atlas is empty, with sizes {dict(pairs.sizes)}; nothing to draw")
    return pairs


def _color_bar_label(pairs: xr.Dataset) -> str:
    """Name the colors, with unit and threshold."""
    unit = pairs["median_length_scale"].attrs.get("units", UNKNOWN_UNIT)
    coordinate = pairs.coords.get("threshold")
    threshold = pairs.attrs.get("threshold") if coordinate is None else coordinate.item()
    at = "" if threshold is None else f"\nat threshold {threshold:g}"
    between = "\n" if len(unit) > 8 else " "  # no longer than the color bar is high
    return marks.escape(f"median length scale{between}({unit}){at}")


def _panels(pairs: xr.Dataset, heads: int | Sequence[int] | None) -> dict[str, xr.Dataset]:
    """Return what each panel shows by its title: dims (query, label), with the head drawn."""
    pairs = pairs.assign(head_drawn=pairs["head"])
    every_head = pairs["head"].values.tolist()
    if heads is not None:
        chosen = np.atleast_1d(heads).tolist()
        check_names("heads", chosen, every_head, "head")
        return {f"head {head}": pairs.sel(head=head) for head in chosen}
    strongest = strongest_by_reach(pairs)
    if "attention_at_contact" in pairs:
        strongest = strongest.where(strongest >= 0, strongest_by_attention(pairs))
    panel = pairs.sel(head=strongest.where(strongest >= 0, every_head[0]))
    return {"strongest head" if len(every_head) > 1 else f"head {every_head[0]}": panel}


def _supported_lengths(panel: xr.Dataset) -> NDArray[np.float64]:
    """Return the length scales that have a color, NaN elsewhere, (query, label)."""
    lengths = panel["median_length_scale"].where(panel["status"].isin(REACHES))
    return np.asarray(lengths.transpose("query", "label").values, dtype=np.float64)


def _new_axes(n_panels: int, pairs: xr.Dataset) -> list[Axes]:
    n_rows, n_columns = pairs.sizes["query"], pairs.sizes["label"]
    longest = max(len(marks.shorten_upright(str(label))) for label in pairs["label"].values)
    cell = 0.55 if max(n_rows, n_columns) <= LARGEST_WITH_NUMBERS else 0.27
    across = min(n_panels, 2)
    down = -(-n_panels // across)
    width, height = cell * n_columns + 0.075 * longest + 0.5, cell * n_rows + 0.075 * longest + 0.7
    # at least what the legend, and the name of the colors, take
    size = (max(across * width + 1.1, 4.6), max(down * height + 0.8, 3.4))
    return grid_of_axes(n_panels, across, size)


def _draw_panel(ax: Axes, panel: xr.Dataset, cmap: str, largest: float) -> Any:
    from matplotlib.patches import Rectangle

    lengths = _supported_lengths(panel)
    mesh = ax.imshow(lengths, cmap=cmap, vmin=0, vmax=largest, aspect="equal")
    status = panel["status"].transpose("query", "label").values
    for row, column in np.ndindex(status.shape):
        style = dict(_STATES.get(str(status[row, column]), ({}, ""))[0])
        marker = style.pop("marker", None)
        if style and style["facecolor"] != "none":
            ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, linewidth=0, **style))
        if marker is not None:  # in a corner where there may be a number
            shift = 0.32 if np.isfinite(lengths[row, column]) else 0
            ax.plot(column - shift, row - shift, **_marker(marker))
    _write_numbers(ax, panel, lengths, mesh)
    _name_pairs(ax, panel)
    return mesh


def _name_pairs(ax: Axes, panel: xr.Dataset) -> None:
    """Name rows and columns, and separate them by white lines."""
    for axis, dim, name in ((ax.xaxis, "label", "sender"), (ax.yaxis, "query", "receiver")):
        names = [marks.shorten_upright(str(value)) for value in panel[dim].values]
        axis.set_ticks(range(len(names)), names, fontsize=8)
        axis.set_ticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axis.set_label_text(name)
    ax.tick_params(axis="x", rotation=90)
    ax.tick_params(which="minor", length=0)
    ax.grid(visible=False, which="major")
    ax.grid(which="minor", axis="both", color="white", linestyle="-", linewidth=1)
    ax.spines[:].set_visible(False)


def _marker(marker: str) -> dict[str, Any]:
    outline = {"markerfacecolor": "white", "markeredgecolor": "black", "markeredgewidth": 0.5}
    style = {"marker": marker, "markersize": 4, "linestyle": "none", "color": "0.35"}
    return style | (outline if marker == "^" else {})


def _write_numbers(ax: Axes, panel: xr.Dataset, lengths: NDArray[np.float64], mesh: Any) -> None:
    """Write the length scale where there is room for it, and the head where cells differ in it."""
    has_room = max(lengths.shape) <= LARGEST_WITH_NUMBERS
    heads_differ = panel["head_drawn"].ndim > 0
    heads = panel["head_drawn"].broadcast_like(panel["status"]).transpose("query", "label").values
    for row, column in zip(*np.nonzero(np.isfinite(lengths)), strict=True):
        red, green, blue, _ = mesh.to_rgba(lengths[row, column])
        color = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
        parts = [f"{lengths[row, column]:.3g}"] if has_room else []
        if heads_differ:
            parts.append(f"head {heads[row, column]}" if has_room else str(heads[row, column]))
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
        ax.text(column, row, "\n".join(parts), color=color, **style)


def _add_legend(axes: Sequence[Axes], status: NDArray[Any]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for state, (style, words) in _STATES.items():
        if (status == state).any() and "marker" in style:
            handles.append(Line2D([], [], label=words, **_marker(style["marker"])))
        elif (status == state).any():
            handles.append(Patch(label=words, linewidth=0.5, **({"edgecolor": "0.7"} | style)))
    options: Any = {"handles": handles, "frameon": False}
    figure: Any = axes[0].figure
    if figure.get_layout_engine() is not None:
        figure.legend(loc="outside lower center", ncols=2, fontsize="small", **options)
    else:  # along the upper edge, where there is most room
        options |= {"columnspacing": 1, "borderaxespad": 0.2}
        figure.legend(loc="upper center", ncols=len(handles), fontsize="x-small", **options)
