"""The effect of one neighbor of each sender against its distance, as curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from amici_xr.analysis.effect_reach import effect_curve, effect_length_scale
from amici_xr.errors import check_fraction
from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.colors import Palette, label_colors, label_lines
from amici_xr.plotting.shared.contents import check_one_query, choose_senders, with_unit
from amici_xr.plotting.shared.layout import (
    PAGE_WIDTH,
    add_legend,
    given_axes,
    grid_of_axes,
    make_room,
    room_for,
    width_of,
)
from amici_xr.plotting.shared.line_names import INCHES_PER_NAME, LONGEST_NAME, name_lines
from amici_xr.plotting.shared.style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_effect_curve(
    ds: xr.Dataset,
    labels: Sequence[str] | None = None,
    fraction: float = 0.5,
    ax: Axes | None = None,
    palette: Palette = None,
) -> Any:
    """Draw the size of the effect of one neighbor that stands alone, against its distance.

    A line for each sender, the norm over genes, and a dot where it has fallen to `fraction` of its
    value at contact. Lines are named at contact, where they begin, so that the axis of the effect
    stands on the right; in given axes without room for all names there is a legend instead.

    Parameters
    ----------
    ds
        The Dataset of one query, of ``extract(..., effects=True)``.
    labels
        Senders to draw, in this order; None draws all that have neighbors.
    fraction
        Of the effect at contact, strictly between 0 and 1, at which `effect_length_scale` is drawn.
    ax
        Axes to draw on; None makes a figure in the package's style.
    palette
        As in `plot_curve`.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    NotFoundError
        If a label is not in the Dataset.
    ValueError
        If `ds` holds several queries or runs, or no neighbors, or `fraction` is out of range.
    SchemaError
        If the Dataset has no effects.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    >>> amici_xr.plot_effect_curve(ds).get_xlabel()
    'distance (coordinate units)'
    """
    fraction = check_fraction("fraction", fraction)
    ds = check_one_query(ds)
    curve = effect_curve(ds).compute()
    reach = effect_length_scale(ds, fraction).compute()
    names = choose_senders(reach, reach["contact_effect"], labels)
    colors, lines = label_colors(ds, names, palette), label_lines(ds, names)
    title = f"{names[0] if len(names) == 1 else 'neighbors'} → {ds['query'].item()}"
    with styled(ax, [*names, title]):
        axes = _new_line_axes(names) if ax is None else given_axes(ax, 1)[0]
        beside = room_for(axes, width_of(marks.shorten(name, LONGEST_NAME) for name in names) + 0.3)
        make_room(axes, left=beside, right=0.6)
        for label in names:
            values, of_label = curve.sel(label=label), reach.sel(label=label)
            axes.plot(values["distance"], values, color=colors[label], linestyle=lines[label])
            length = float(of_label["effect_length_scale"])
            level = fraction * float(of_label["contact_effect"])
            axes.plot(length, level, marker="o", markersize=4, color=colors[label], linestyle="")
        axes.margins(x=0)
        axes.set_xlim(right=_end_of_distances(curve, names))
        axes.set_ylim(bottom=0)
        heights = {label: float(reach["contact_effect"].sel(label=label)) for label in names}
        is_named = name_lines(axes, heights, colors)
        axes.set_title(marks.escape(title))
        axes.set_xlabel(marks.escape(with_unit("distance", ds)))
        axes.set_ylabel("effect of one neighbor\n(norm over genes)")
        point = {"point": f"{fraction:g} of contact"}
        if is_named:
            handles = marks.legend_handles(axes, {}, point)
            axes.legend(handles=handles, loc="upper right", frameon=False)
        else:
            handles = marks.legend_handles(axes, colors, point, lines)
            add_legend([axes], handles, is_ours=False)
    return axes


def _new_line_axes(names: Sequence[str]) -> Axes:
    beside = width_of(marks.shorten(name, LONGEST_NAME) for name in names)
    height = max(3.6, INCHES_PER_NAME * len(names))
    return grid_of_axes(1, 1, (min(5 + beside, PAGE_WIDTH), height))[0]


def _end_of_distances(curve: xr.DataArray, labels: Sequence[str]) -> float:
    """Return where all curves have fallen below a fiftieth of the largest, or the last distance."""
    largest = curve.sel(label=list(labels)).max("label")
    is_large = (largest > 0.02 * largest.max()).values
    last = min(int(np.flatnonzero(is_large)[-1]) + 1, is_large.size - 1) if is_large.any() else -1
    return float(curve["distance"][last])
