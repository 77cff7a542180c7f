"""A quantity of each cell on the tissue, in a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.length_scales import length_scale
from amici_xr.dataset.schema import UNKNOWN_UNIT
from amici_xr.dataset.selection import samples, select
from amici_xr.dataset.structure import check_structure
from amici_xr.dataset.units import in_unit
from amici_xr.errors import NotFoundError, SchemaError, check_names, check_positive_number, listed
from amici_xr.plotting.shared import layout, marks
from amici_xr.plotting.shared.colors import Palette, label_colors
from amici_xr.plotting.shared.contents import with_unit
from amici_xr.plotting.shared.style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = {"neighbor", "receiver"}
_WIDE = 1.7  # times as wide as high: the name of the color bar is too long to stand beside it
Positions = dict[str, NDArray[np.float64]]  # x and y of some cells


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
    ds = _select_sample(ds, sample)
    values = _quantity(ds, quantity, threshold, sample_threshold)
    values = _select_head(values, head).compute()
    cell = str(values.dims[0])
    values = values[_is_shown(ds, values, labels)]
    positions = _positions_of(ds, values)
    others = _positions_if_known(ds, "receiver" if cell == "neighbor" else "neighbor")
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


def _quantity(
    ds: xr.Dataset, quantity: Any, threshold: float, sample_threshold: float | None
) -> xr.DataArray:
    if isinstance(quantity, xr.DataArray):
        return quantity
    if not isinstance(quantity, str):
        raise TypeError(
            f"quantity must be a name or a DataArray, not {type(quantity).__name__}; an array of "
            "your own needs its cells: xr.DataArray(values, coords={'neighbor': ds.neighbor})"
        )
    if quantity == "length_scale":
        return length_scale(ds, threshold, sample_threshold)
    drawable = [
        name
        for name, variable in ds.variables.items()
        if _CELLS & set(variable.dims) and "rank" not in variable.dims
    ]
    if quantity not in drawable:
        names = listed(["length_scale", *drawable])
        raise NotFoundError(f"quantity={quantity!r} is not known; known: {names}, or a DataArray")
    return ds[quantity]


def _select_head(values: xr.DataArray, head: int | None) -> xr.DataArray:
    """Return the values along the one dim of cells."""
    if "head" in values.coords and (head is not None or "head" in values.dims):
        heads = np.atleast_1d(values["head"].values).tolist()
        if head is None and len(heads) > 1:
            raise ValueError(f"quantity has the heads {listed(heads)}; name one, e.g. head=0")
        chosen = heads[0] if head is None else head
        check_names("head", [chosen], heads, "head")
        values = values.sel(head=chosen) if "head" in values.dims else values
    further = [dim for dim in values.dims if dim not in _CELLS]
    if further or len(values.dims) != 1:
        raise ValueError(
            f"quantity has dims {values.dims}, but a map needs one value for each neighbor or "
            f"receiver; pick one along {listed(further or values.dims)}, e.g. with isel or "
            "amici_xr.select"
        )
    return values


def _select_sample(ds: xr.Dataset, sample: str | None) -> xr.Dataset:
    if sample is not None:
        return select(ds, sample=sample)
    if "neighbor_sample" in ds.variables and len(samples(ds)) > 1:
        raise ValueError(
            f"ds holds the samples {listed(samples(ds))}, whose coordinates may overlap; draw one "
            "at a time with sample=…"
        )
    return ds


def _is_shown(ds: xr.Dataset, values: xr.DataArray, labels: Any) -> NDArray[np.bool_]:
    """Which values belong to a cell in `ds` with one of the labels."""
    (cell,) = values.dims
    if cell not in values.coords:
        raise ValueError(f"quantity has no coordinate {cell}, so its cells are not known")
    positions = ds.get_index(cell).get_indexer(values.get_index(cell))
    is_shown = np.asarray(positions >= 0)
    if labels is None:
        return is_shown
    name = "label" if cell == "neighbor" else "receiver_label"
    if name not in ds.variables:
        raise SchemaError(f"this Dataset has no {name}, so labels={labels!r} can't be told apart")
    label_of_cell = ds[name].values
    names = [labels] if isinstance(labels, str) else list(labels)
    check_names("labels", names, np.unique(label_of_cell).tolist(), "label")
    return is_shown & np.isin(label_of_cell[positions], names)


def _positions_of(ds: xr.Dataset, values: xr.DataArray) -> Positions:
    (cell,) = values.dims
    for name in (f"{cell}_x", f"{cell}_y"):
        if name not in ds.variables:
            raise SchemaError(
                f"this Dataset has no {name}, so it can't tell where its cells lie; extract it "
                f"from an AnnData with coordinates, or assign {cell}_x and {cell}_y"
            )
    return _positions_if_known(ds.sel({cell: values[cell].values}), str(cell))


def _positions_if_known(ds: xr.Dataset, cell: str) -> Positions:
    """Return where the neighbors, or the receivers, lie; empty arrays where unknown."""
    is_known = {f"{cell}_x", f"{cell}_y"} <= set(ds.variables)
    return {axis: ds[f"{cell}_{axis}"].values if is_known else np.array([]) for axis in "xy"}


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
