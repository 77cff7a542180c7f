"""Quantities of single cells on the tissue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.length_scales import length_scale
from amici_xr.dataset.schema import UNKNOWN_UNIT
from amici_xr.dataset.selection import samples, select
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import NotFoundError, SchemaError, check_names, check_positive_number, listed
from amici_xr.plotting import layout, marks
from amici_xr.plotting.colors import Palette, label_colors
from amici_xr.plotting.contents import with_unit
from amici_xr.plotting.style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = {"neighbor", "receiver"}
_WIDE = 1.7  # times as wide as high: the name of the colors is too long to stand beside it


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
    limits: tuple[float | None, float | None] = (None, None),
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
        DataArray with the dim ``neighbor`` (or ``receiver``) and perhaps ``head``, for example
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
        Where to draw; None makes a figure in the package's style, the sheet ``amici_xr.figures`` of
        matplotlib.
    cmap, limits
        A matplotlib colormap, by default one in which more is darker, and the values of its two
        ends; None takes the smallest and the
        largest drawn. Of length scales it takes as the largest the upper whisker (or 95% quantile),
        where others are over 1.25 times as far: the colors end in a point then.
    point_size
        Area of a point, in points²; None takes less the more cells there are.
    palette
        Colors of text, as in `plot_curve`.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on. Cells without a value are small and gray, and so are the receivers where
        the quantity is the neighbors' (the neighbors where it is the receivers').

    Raises
    ------
    NotFoundError
        If the quantity, head, sample or a label is not there.
    ValueError
        If the quantity has dims that no cell has, or several heads, queries or samples to choose
        from, or an argument is out of range.
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
    _check_limits(limits)
    if point_size is not None:
        check_positive_number("point_size", point_size)
    ds = _one_sample(ds, sample)
    values = _one_head(_quantity(ds, quantity, threshold, sample_threshold), head).compute()
    cell = str(values.dims[0])
    values = values[_is_shown(ds, values, labels)]
    place = {axis: _coordinate(ds, values, f"{cell}_{axis}") for axis in "xy"}
    named = np.unique(values).astype(str).tolist() if values.dtype.kind in "OUT" else []
    size = point_size or float(np.clip(20_000 / max(values.size, 1), 1, 20))
    others = _places(ds, "receiver" if cell == "neighbor" else "neighbor")
    is_ours = ax is None
    is_wide = False
    with styled(ax, named):
        if ax is None:
            width, height = layout.size_of_map(place, others)
            is_wide = not named and width > _WIDE * height
            beside, below = (0.0, 0.9) if is_wide else (0.0 if named else 0.9, 0.0)
            ax = layout.new_axes(width + beside, named, height=height + below)
            figure: Any = ax.figure
            figure.set_layout_engine("compressed")  # closes up around axes of equal units
            ax.grid(visible=False)
        pale: Any = {"s": size / 3, "color": "0.75", "linewidths": 0, "zorder": 0}
        ax.scatter(*others.values(), **pale)
        if named:
            colors = _draw_text(ax, ds, values, place, size, palette)
            layout.add_legend([ax], marks.legend_handles(colors, {}), is_ours=is_ours)
        else:
            where = "bottom" if is_wide else "right"
            _draw_numbers(ax, values, place, size, cmap, limits, where)
        ax.set_aspect("equal")
        for axis in "xy":
            ax.set(**{f"{axis}label": marks.plain(with_unit(axis, ds))})
        ax.set_title(marks.plain(_title(ds, values, cell, labels)))
    return ax


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
    dims = {name: set(array.dims) for name, array in ds.variables.items()}
    of_cells = [name for name, own in dims.items() if own & _CELLS and "rank" not in own]
    if quantity not in of_cells:
        known = listed(["length_scale", *of_cells])
        raise NotFoundError(f"quantity={quantity!r} is not known; known: {known}, or a DataArray")
    named: xr.DataArray = ds[quantity]
    return named


def _one_head(values: xr.DataArray, head: int | None) -> xr.DataArray:
    """Return the values along the one dim of cells."""
    if "head" in values.coords and not values["head"].dims and head is not None:
        check_names("head", [head], [values["head"].item()], "head")
    if "head" in values.dims:
        known = values["head"].values.tolist()
        if head is None and len(known) > 1:
            raise ValueError(f"quantity has the heads {listed(known)}; name one, e.g. head=0")
        chosen = known[0] if head is None else head
        check_names("head", [chosen], known, "head")
        values = values.sel(head=chosen)
    further = [dim for dim in values.dims if dim not in _CELLS]
    if further or len(values.dims) != 1:
        raise ValueError(
            f"quantity has dims {values.dims}, but a map needs one value for each neighbor or "
            f"receiver; pick one along {listed(further or values.dims)}, e.g. with isel or "
            "amici_xr.select"
        )
    return values


def _one_sample(ds: xr.Dataset, sample: str | None) -> xr.Dataset:
    if sample is not None:
        return select(ds, sample=sample)
    if "neighbor_sample" in ds.variables and len(samples(ds)) > 1:
        raise ValueError(
            f"ds holds the samples {listed(samples(ds))}, whose coordinates may overlap; draw one "
            "at a time with sample=…"
        )
    return ds


def _is_shown(ds: xr.Dataset, values: xr.DataArray, labels: Any) -> NDArray[np.bool_]:
    """Which values are of a cell that is in `ds`, and of the labels asked for."""
    (cell,) = values.dims
    if cell not in values.coords:
        raise ValueError(f"quantity has no coordinate {cell}, so its cells are not known")
    at = ds.get_index(cell).get_indexer(values.get_index(cell))
    is_shown = np.asarray(at >= 0)
    if labels is None:
        return is_shown
    name = "label" if cell == "neighbor" else "receiver_label"
    if name not in ds.variables:
        raise SchemaError(f"this Dataset has no {name}, so labels={labels!r} can't be told apart")
    of_cell = ds[name].values
    asked = [labels] if isinstance(labels, str) else list(labels)
    check_names("labels", asked, np.unique(of_cell).tolist(), "label")
    return is_shown & np.isin(of_cell[at], asked)


def _coordinate(ds: xr.Dataset, values: xr.DataArray, name: str) -> NDArray[np.float64]:
    (cell,) = values.dims
    if name not in ds.variables:
        raise SchemaError(
            f"this Dataset has no {name}, so it can't tell where its cells lie; extract it from an "
            f"AnnData with coordinates, or assign {cell}_x and {cell}_y"
        )
    coordinate: NDArray[np.float64] = ds[name].sel({cell: values[cell].values}).values
    return coordinate


def _places(ds: xr.Dataset, cell: str) -> dict[str, NDArray[np.float64]]:
    """Where the neighbors, or the receivers, lie; nothing where that is not known."""
    names = {axis: f"{cell}_{axis}" for axis in "xy"}
    known = set(names.values()) <= set(ds.variables)
    return {axis: ds[name].values if known else np.array([]) for axis, name in names.items()}


def _draw_numbers(
    ax: Axes,
    values: xr.DataArray,
    place: dict[str, NDArray[np.float64]],
    size: float,
    cmap: str,
    limits: tuple[float | None, float | None],
    where: str,
) -> None:
    number = values.values.astype(np.float64)
    known = np.isfinite(number)
    x, y = place["x"], place["y"]
    ax.scatter(x[~known], y[~known], s=size / 4, color="0.6", linewidths=0, zorder=1)
    order = np.flatnonzero(known)[np.argsort(number[known], kind="stable")]  # the largest on top
    low, high = limits
    if high is None and "threshold" in values.attrs and order.size:
        high = marks.reach_of_axis([number[order]])
    drawn = ax.scatter(x[order], y[order], c=number[order], s=size, cmap=cmap, linewidths=0,
                       vmin=low, vmax=high, zorder=2)  # fmt: skip
    extend = "max" if high is not None and (number[order] > high).any() else "neither"
    name = marks.plain(_name(values))
    ax.figure.colorbar(drawn, ax=ax, label=name, shrink=0.8, extend=extend, location=where)


def _name(values: xr.DataArray) -> str:
    """What the values are, with threshold and unit."""
    name, unit = values.attrs.get("long_name", values.name or "value"), values.attrs.get("units")
    if "threshold" in values.attrs:
        name, unit = f"{name} at threshold {values.attrs['threshold']:g}", unit or UNKNOWN_UNIT
    return str(name) if unit in (None, "1") else f"{name} ({unit})"


def _draw_text(
    ax: Axes,
    ds: xr.Dataset,
    values: xr.DataArray,
    place: dict[str, NDArray[np.float64]],
    size: float,
    palette: Palette,
) -> dict[str, Any]:
    text = values.values.astype(str)
    shown = np.unique(text).tolist()
    known = ds["cell_type"].values.tolist() if "cell_type" in ds.coords else []
    named = ds if set(shown) <= set(known) else xr.Dataset(coords={"cell_type": shown})
    colors = label_colors(named, shown, palette)
    ax.scatter(place["x"], place["y"], c=[colors[one] for one in text], s=size, linewidths=0)
    return colors


def _title(ds: xr.Dataset, values: xr.DataArray, cell: str, labels: Any) -> str:
    queries = ", ".join(str(query) for query in np.atleast_1d(ds["query"].values))
    senders = np.atleast_1d("neighbors" if labels is None else labels)
    sender = senders[0] if senders.size == 1 else "neighbors"
    title = f"{sender} → {queries}" if cell == "neighbor" else f"receivers: {queries}"
    return title + (f", head {values['head'].item()}" if "head" in values.coords else "")


def _check_limits(limits: Any) -> None:
    ends = list(limits) if isinstance(limits, tuple | list) else []
    known = [end for end in ends if end is not None]
    is_number = [isinstance(end, int | float | np.number) for end in known]
    if len(ends) != 2 or not all(is_number) or (len(known) == 2 and not known[0] < known[1]):
        raise ValueError(
            f"limits={limits!r} must be the values of the two ends of the colors, the lower first, "
            "e.g. limits=(0, 30); None takes what is drawn"
        )
