"""A quantity of each cell on the tissue, in a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from amici_xr.dataset.schema import UNKNOWN_UNIT
from amici_xr.dataset.structure import check_structure
from amici_xr.dataset.units import in_unit
from amici_xr.errors import check_positive_number
from amici_xr.plotting.shared import layout, marks
from amici_xr.plotting.shared.colors import Palette, label_colors
from amici_xr.plotting.shared.contents import with_unit
from amici_xr.plotting.shared.map_contents import (
    Positions,
    are_shown,
    choose_quantity,
    positions_if_known,
    positions_of,
    select_head,
    select_sample,
)
from amici_xr.plotting.shared.style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE = 1.7  # times as wide as high: the name of the color bar is too long to stand beside it


def plot_spatial(
    ds: xr.Dataset,
    quantity: str | xr.DataArray = "length_scale",
    head: int | None = None,
    *,
    threshold: float = 0.5,
    sample_threshold: float | None = 0.02,
    sample: str | None = None,
    labels: str | list[str] | None = None,
    ax: Axes | None = None,
    cmap: str = "viridis_r",
    limits: tuple[float | None, float | None] | xr.DataArray = (None, None),
    point_size: float | None = None,
    palette: Palette = None,
) -> Axes:
    """Draw a quantity of each neighbor, or of each receiver, where the cell lies.

    Parameters
    ----------
    ds
        The Dataset of one query, dims (neighbor, head), with the coordinates of its cells; a third
        coordinate is left out.
    quantity
        "length_scale", a variable of the Dataset such as "position_coefficient" or "label", or any
        DataArray with the dim ``neighbor`` (or ``receiver``) and possibly ``head``, for example
        ``ds.cf.curve(distance=10.0)`` or ``ds.cf.dummy_attention()``. Text gives each value a color
        and a legend.
    head
        The attention head, where the quantity has several.
    threshold, sample_threshold
        As in `length_scale`, for "length_scale".
    sample
        The sample to draw, where the Dataset has several, whose coordinates may overlap.
    labels
        Cell types to draw; None draws all.
    ax
        Axes to draw on; None makes a figure in the package's style, the matplotlib style sheet
        ``amici_xr.figures``.
    cmap, limits
        A matplotlib colormap, by default one in which larger is darker, and the values at its two
        ends, in the quantity's unit unless they are labelled with another; None takes the smallest
        and the largest drawn. For length scales the upper end is the upper whisker (or 95%
        quantile) where the largest is over 1.25 times as far; the color bar then ends in a point.
    point_size
        Area of a point, in points²; None takes a smaller one the more cells there are.
    palette
        Colors of text, as in `plot_curve`.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on. Cells without a value are small and gray. So are the receivers where the
        quantity is one of neighbors, and the neighbors where it is one of receivers.

    Raises
    ------
    NotFoundError
        If the quantity, head, sample or a label is not in the Dataset.
    ValueError
        If the quantity has dims that cells do not have, or several heads, queries or samples to
        choose from, or an argument is out of range.
    TypeError
        If the quantity is neither a name nor a DataArray.
    SchemaError
        If the Dataset has no coordinates of its cells, or no neighborhoods while
        `sample_threshold` is given.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200, unit="µm")
    >>> ax = amici_xr.plot_spatial(ds, head=0, threshold=0.1)
    >>> ax.get_xlabel()
    'x (µm)'
    """
    check_structure(ds)
    if isinstance(limits, xr.DataArray) and limits.ndim == 1:
        limits = tuple(limits)  # each with the label of its unit
    _check_limits(limits)
    if point_size is not None:
        check_positive_number("point_size", point_size)
    ds = select_sample(ds, sample)
    values = choose_quantity(ds, quantity, threshold, sample_threshold)
    values = select_head(values, head).compute()
    cell = str(values.dims[0])
    values = values[are_shown(ds, values, labels)]
    positions = positions_of(ds, values)
    others = positions_if_known(ds, "receiver" if cell == "neighbor" else "neighbor")
    categories = np.unique(values).astype(str).tolist() if values.dtype.kind in "OUT" else []
    size = point_size or float(np.clip(20_000 / max(values.size, 1), 1, 20))
    is_ours, is_wide = ax is None, False
    title = _title(ds, values, cell, labels)
    side: layout.Side = "right"
    with styled(ax, [*categories, title]):
        if ax is None:
            ax, is_wide, side = _new_axes(positions, others, categories)
        color = marks.gray(ax, 0.75)
        ax.scatter(others["x"], others["y"], s=size / 3, color=color, linewidths=0, zorder=0)
        if categories:
            colors = _category_colors(ds, categories, palette)
            point_colors = [colors[category] for category in values.values.astype(str)]
            ax.scatter(positions["x"], positions["y"], c=point_colors, s=size, linewidths=0)
            handles = marks.legend_handles(ax, colors, {})
            layout.add_legend([ax], handles, is_ours=is_ours, side=side)
        else:
            location = "bottom" if is_wide else "right"
            ends = _limits_of(values, limits)
            _draw_numbers(ax, values, positions, size, cmap, ends, location)
        ax.set_aspect("equal")
        ax.set_xlabel(marks.escape(with_unit("x", ds)))
        ax.set_ylabel(marks.escape(with_unit("y", ds)))
        ax.set_title(marks.escape(title))
    return ax


def _new_axes(
    positions: Positions, others: Positions, categories: list[str]
) -> tuple[Axes, bool, layout.Side]:
    """Make axes in the shape of the tissue, with the side of a color bar or legend.

    Returns the axes, whether the color bar belongs below them, and where the legend stands.
    """
    width, height = layout.map_size(positions, others)
    names = [marks.shorten(category) for category in categories]
    side = layout.legend_side(width, names)
    is_wide = not categories and (width > _WIDE * height or width + 0.9 > layout.PAGE_WIDTH)
    if categories:
        beside = layout.legend_width(names) if side == "right" else 0.0
        below = layout.legend_height(names, width) if side == "below" else 0.0
    else:
        beside, below = (0.0, 0.9) if is_wide else (0.9, 0.0)
    (ax,) = layout.grid_of_axes(1, 1, (width + beside, height + below))
    figure: Any = ax.figure
    figure.set_layout_engine("compressed")  # closes up around axes of equal units
    ax.grid(visible=False)
    return ax, is_wide, side


def _draw_numbers(
    ax: Axes,
    values: xr.DataArray,
    positions: Positions,
    size: float,
    cmap: str,
    limits: tuple[float | None, float | None],
    location: str,
) -> None:
    numbers = values.values.astype(np.float64)
    is_missing = ~np.isfinite(numbers)
    x, y = positions["x"], positions["y"]
    ax.scatter(
        x[is_missing], y[is_missing], s=size / 4, color=marks.gray(ax, 0.6), linewidths=0, zorder=1
    )
    order = np.argsort(numbers, kind="stable")  # the largest on top
    order = order[~is_missing[order]]
    low, high = limits
    if high is None and "threshold" in values.attrs and order.size:
        high = marks.end_of_axis([numbers[order]])
    points = ax.scatter(x[order], y[order], c=numbers[order], s=size, cmap=cmap, linewidths=0,
                        vmin=low, vmax=high, zorder=2)  # fmt: skip
    extend = "max" if high is not None and (numbers[order] > high).any() else "neither"
    name = marks.escape(_name_with_unit(values))
    ax.figure.colorbar(points, ax=ax, label=name, shrink=0.8, extend=extend, location=location)


def _name_with_unit(values: xr.DataArray) -> str:
    """Name the values, with threshold and unit."""
    name, unit = values.attrs.get("long_name", values.name or "value"), values.attrs.get("units")
    if "threshold" in values.attrs:
        name, unit = f"{name} at threshold {values.attrs['threshold']:g}", unit or UNKNOWN_UNIT
    return str(name) if unit in (None, "1") else f"{name} ({unit})"


def _category_colors(ds: xr.Dataset, categories: list[str], palette: Palette) -> dict[str, Any]:
    """Return the colors of cell types, or of other categories."""
    cell_types = ds["cell_type"].values.tolist() if "cell_type" in ds.coords else []
    if not set(categories) <= set(cell_types):
        ds = xr.Dataset(coords={"cell_type": categories})
    return label_colors(ds, categories, palette)


def _title(ds: xr.Dataset, values: xr.DataArray, cell: str, labels: Any) -> str:
    queries = ", ".join(str(query) for query in np.atleast_1d(ds["query"].values))
    senders = np.atleast_1d("neighbors" if labels is None else labels)
    sender = senders[0] if senders.size == 1 else "neighbors"
    title = f"{sender} → {queries}" if cell == "neighbor" else f"receivers: {queries}"
    return title + (f", head {values['head'].item()}" if "head" in values.coords else "")


def _check_limits(limits: Any) -> None:
    ends = list(limits) if isinstance(limits, tuple | list) else []
    given = [np.asarray(end) for end in ends if end is not None]
    is_number = [end.ndim == 0 and end.dtype.kind in "fiu" for end in given]
    if len(ends) != 2 or not all(is_number) or (len(given) == 2 and not given[0] < given[1]):
        raise ValueError(
            f"limits={limits!r} must be the values of the two ends of the colors, the lower first, "
            "e.g. limits=(0, 30); None takes what is drawn"
        )


def _limits_of(values: xr.DataArray, limits: Any) -> tuple[float | None, float | None]:
    """Return the two ends of the colors in the unit of the values."""
    unit = values.attrs.get("units")
    low, high = (
        None if end is None else in_unit("limits", end, unit, "the quantity").item()
        for end in limits
    )
    return low, high
