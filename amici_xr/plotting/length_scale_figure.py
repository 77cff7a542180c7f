"""Length scales of each head and label, in a figure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.length_scales import length_scale
from amici_xr.dataset.reduction import Statistic, summary_of_labels
from amici_xr.dataset.units import in_unit_of
from amici_xr.errors import check_choice
from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.colors import Palette, label_colors
from amici_xr.plotting.shared.contents import (
    Content,
    OneRunUnit,
    choose_content,
    name_interval,
    with_unit,
)
from amici_xr.plotting.shared.layout import (
    PAGE_WIDTH,
    add_legend,
    columns_of_panels,
    given_axes,
    grid_of_axes,
    inches_of,
    legend_height,
    legend_width,
    make_room,
    name_panels,
    room_for,
    room_for_names,
)
from amici_xr.plotting.shared.style import styled
from amici_xr.uncertainty.length_scale_intervals import bootstrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BRACKET = ("ci_lower", "ci_upper", "point_estimate")
_BESIDE = 0.6  # inches of the axis of y
_GROUP, _LEAST_GROUP = 0.26, 0.2  # inches from a group to the next; where fewer, heads are panels
_HEIGHT_IN_A_COLUMN, _HEIGHT_IN_A_GRID = 1.25, 2.0  # inches of a panel


def plot_length_scale(
    ds: xr.Dataset,
    threshold: float = 0.5,
    heads: int | Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    sample_threshold: float | None = 0.02,
    kind: marks.Kind = "box",
    ci: bool = False,
    ax: Axes | Sequence[Axes] | NDArray[np.object_] | None = None,
    palette: Palette = None,
    max_length_scale: float | None = None,
    *,
    statistic: Statistic = "median",
    panels: bool | None = None,
    resampling_unit: OneRunUnit = "cell",
) -> Any:
    """Draw the length scales of each head and label, labels ordered by their largest median.

    The line across each group is its median. A cross marks a group with some reach that the
    artifact correction has set to 0; `support` tells why. The axis ends at the largest whisker (or
    95% quantile, or interval) of all groups, and ``+n`` at its end says how many of a group's
    neighbors lie beyond; where no value is over 1.25 times as far, it shows all.

    Parameters
    ----------
    ds
        The Dataset of one query, dims (neighbor, head).
    threshold, sample_threshold
        As in `length_scale`.
    heads, labels
        What to draw; None draws all heads, and all labels that have neighbors.
    kind
        "box" (quartiles, whiskers to 1.5 interquartile ranges), "violin" or "density" (half a
        violin).
    ci
        Whether to draw beside each box the 95% interval of the `statistic`, from `bootstrap`. The
        legend names the resampling unit; a group without an interval has none.
    ax
        Axes to draw on, one for each panel; None makes a figure in the package's style, the
        matplotlib style sheet ``amici_xr.figures``. Given axes keep your style.
    palette
        Colors: a mapping from label to color, a sequence, or the name of a matplotlib colormap;
        None takes the colors recorded with the tissue (``cell_type_color``), otherwise colors that
        are distinct with every kind of color vision.
    max_length_scale
        Upper end of the axis, in the Dataset's unit unless it is labelled with another; None is as
        above, ``numpy.inf`` shows all.
    statistic
        "median" or "mean", for `ci`.
    panels
        Whether to draw each head in its own panel, with shared axes, instead of all side by side;
        None draws panels where all side by side would be wider than a page of 180 mm, or where
        several `ax` are given.
    resampling_unit
        For `ci`: "cell" takes cells as independent, "spatial" allows for spatial autocorrelation,
        "sample" is over samples, around the mean of their statistics; see `bootstrap`.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        The axes drawn on; an array of them if each head has its own panel.

    Raises
    ------
    NotFoundError
        If a head or label is not in the Dataset.
    ValueError
        If `ds` holds several queries or runs, or no neighbors, or an argument is out of range,
        or the number of `ax` is not that of the panels.
    SchemaError
        If `ds` is not a Dataset of scores, or has no neighborhoods while `sample_threshold` is
        given, or lacks the coordinates or samples that the `resampling_unit` needs.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=100, unit="µm")
    >>> ax = amici_xr.plot_length_scale(ds, threshold=0.1, kind="violin")
    >>> ax.get_ylabel()
    'length scale at threshold 0.1 (µm)'
    """
    check_choice("kind", kind, ("box", "violin", "density"))
    if max_length_scale is not None and not float(max_length_scale) > 0:
        raise ValueError(
            f"max_length_scale={max_length_scale!r} must be a positive number, numpy.inf, which "
            "shows all, or None"
        )
    content = choose_content(ds, heads, labels)
    if max_length_scale is not None:
        max_length_scale = float(in_unit_of(ds, "max_length_scale", max_length_scale))
    lengths = length_scale(content.ds, threshold, sample_threshold)
    shown = content.labels_by_size(summary_of_labels(content.ds, lengths, "median"))
    uncorrected = length_scale(content.ds, threshold, None)
    check_choice("resampling_unit", resampling_unit, get_args(OneRunUnit))
    interval = (
        bootstrap(
            content.ds, threshold, sample_threshold, statistic, resampling_unit=resampling_unit
        )
        if ci
        else None
    )
    groups = []
    for head, label in itertools.product(content.heads, shown):
        cells = {"head": content.heads.index(head), "neighbor": content.ds["label"].values == label}
        values, values_before = lengths[cells].values, uncorrected[cells].values
        is_corrected = bool(((values == 0) & (values_before > 0)).any())
        ends = None if interval is None else interval.sel(head=head, label=label)
        groups.append(_Group(label, head, values, is_corrected, ends))
    end = _end_of_axis(groups) if max_length_scale is None else float(max_length_scale)
    colors = label_colors(content.ds, shown, palette)
    if panels is None:
        panels = len(content.heads) > 1 and _needs_panels(content, shown, ax)
    heads_of_panels = [[head] for head in content.heads] if panels else [content.heads]
    of_interval = name_interval(statistic, resampling_unit) if ci else None
    legend = _legend(groups, end, of_interval)
    with styled(ax, [*shown, content.title]):
        axes = _axes_for(heads_of_panels, shown, list(legend.values()), ax)
        n_groups = len(heads_of_panels[0]) * (len(shown) + 1)
        inches = float(inches_of(axes[0])[0]) / n_groups  # before a layout moves the axes
        largest = max(group.n_beyond(end) for group in groups)
        is_upright, room = marks.room_for_numbers(largest, inches)
        for panel, panel_heads in zip(axes, heads_of_panels, strict=True):
            of_panel = [group for group in groups if group.head in panel_heads]
            _draw_groups(panel, of_panel, kind, colors, end, is_upright=is_upright)
            marks.group_axis(panel, panel_heads, shown, is_named=not panels, room_above=room)
        y_label = with_unit(f"length scale at threshold {threshold:g}", content.ds)
        names = [f"head {head}" for head in content.heads] if panels else [""]
        pad = (room if largest else 0) + 3 if panels else None
        is_ours = ax is None
        name_panels(axes, names, content.title, "", y_label, is_ours=is_ours, title_pad=pad)
        handles = marks.legend_handles(axes[0], {}, legend)
        add_legend(axes, handles, is_ours=is_ours, side="below")
    return np.array(axes, dtype=object) if panels else axes[0]


def _needs_panels(content: Content, shown: Sequence[str], ax: Any) -> bool:
    """Tell whether several axes were given, or one would be wider than a page."""
    if ax is not None:
        return np.size(ax) > 1
    n_groups = len(content.heads) * (len(shown) + 1)
    return _BESIDE + _LEAST_GROUP * n_groups > PAGE_WIDTH


def _axes_for(
    heads_of_panels: Sequence[Any], shown: Sequence[str], legend: Sequence[str], ax: Any
) -> list[Axes]:
    """Return the axes given, or new ones with room for groups, their names and a legend."""
    n = len(heads_of_panels)
    if ax is not None:
        axes = given_axes(ax, n)
        for panel in axes:
            make_room(panel, below=room_for(panel, room_for_names(shown)))
        return axes
    n_groups = len(heads_of_panels[0]) * (len(shown) + 1)
    width = max(2.8, _BESIDE + _GROUP * n_groups)
    if n == 1:
        width = min(width, max(PAGE_WIDTH, _BESIDE + 0.135 * n_groups))
        n_columns, height = 1, 2.6
    else:
        n_columns = columns_of_panels(n, PAGE_WIDTH, max(1.7, _BESIDE / 2 + 0.2 * n_groups))
        width = min(n_columns * width, PAGE_WIDTH)
        height = _HEIGHT_IN_A_COLUMN if n_columns == 1 else _HEIGHT_IN_A_GRID
    width = max(width, legend_width(legend) + 0.3)
    height = -(-n // n_columns) * height + room_for_names(shown) + legend_height(legend, width)
    return grid_of_axes(n, n_columns, (width, height), share=True)


@dataclass(frozen=True)
class _Group:
    """The length scales of a label in a head, with their correction and interval."""

    label: str
    head: int
    values: NDArray[np.float64]
    is_corrected: bool
    interval: xr.Dataset | None

    def n_beyond(self, end: float) -> int:
        return int((self.values > end).sum())


def _end_of_axis(groups: Sequence[_Group]) -> float:
    upper_ends = [
        float(group.interval["ci_upper"]) for group in groups if group.interval is not None
    ]
    known = [upper for upper in upper_ends if np.isfinite(upper)]  # NaN: too few units
    return 1.05 * marks.end_of_axis([group.values for group in groups], known)


def _legend(groups: Sequence[_Group], end: float, interval: str | None) -> dict[str, str]:
    """Words for the marks that are drawn; `interval` names the intervals."""
    legend = {}
    if any(group.is_corrected for group in groups):
        legend["correction"] = "set to 0, see support"
    if interval is not None:
        legend["bracket"] = interval
    if any(group.n_beyond(end) for group in groups):
        legend["beyond"] = "neighbors beyond the axis"
    return legend


def _draw_groups(
    axes: Axes,
    groups: Sequence[_Group],
    kind: marks.Kind,
    colors: dict[str, Any],
    end: float,
    *,
    is_upright: bool,
) -> None:
    """Draw groups from left to right, with a gap between heads."""
    heads = list(dict.fromkeys(group.head for group in groups))
    for number, group in enumerate(groups):
        x = number + heads.index(group.head)
        marks.distribution(axes, kind, group.values, x, colors[group.label])
        if group.is_corrected:
            marks.correction(axes, x)
        if group.interval is not None:
            marks.bracket(axes, x + 0.44, *(float(group.interval[name]) for name in _BRACKET))
        if group.n_beyond(end):
            marks.beyond(axes, x, group.n_beyond(end), is_upright=is_upright)
    top = end if 0 < end < np.inf else axes.get_ylim()[1]
    axes.set_ylim(-0.02 * top, top)
