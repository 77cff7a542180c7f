"""Length scales of each head and label, in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.length_scales import length_scale
from amici_xr.dataset.reduction import Statistic, summary_of_labels
from amici_xr.errors import check_choice
from amici_xr.plotting import marks
from amici_xr.plotting.colors import Palette, label_colors
from amici_xr.plotting.contents import by_size, heads_of, labels_of, one_query, title_of, with_unit
from amici_xr.plotting.layout import (
    add_legend,
    name_panels,
    one_or_array,
    panel_axes,
    room_for_names,
)
from amici_xr.plotting.style import styled
from amici_xr.uncertainty.length_scale_intervals import bootstrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BRACKET = ("ci_lower", "ci_upper", "point_estimate")


@overload
def plot_length_scale(
    ds: xr.Dataset,
    threshold: float = 0.5,
    heads: int | Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    sample_threshold: float | None = 0.02,
    kind: marks.Kind = "box",
    ci: bool = False,
    ax: Axes | None = None,
    palette: Palette = None,
    max_length_scale: float | None = None,
    *,
    statistic: Statistic = "median",
    panels: Literal[False] = False,
) -> Axes: ...


@overload
def plot_length_scale(
    ds: xr.Dataset,
    threshold: float = 0.5,
    heads: int | Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    sample_threshold: float | None = 0.02,
    kind: marks.Kind = "box",
    ci: bool = False,
    ax: Sequence[Axes] | NDArray[np.object_] | None = None,
    palette: Palette = None,
    max_length_scale: float | None = None,
    *,
    statistic: Statistic = "median",
    panels: Literal[True],
) -> NDArray[np.object_]: ...


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
    panels: bool = False,
) -> Axes | NDArray[np.object_]:
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
        Whether to draw beside each box the 95% bootstrap interval of the `statistic`.
    ax
        Where to draw, one for each of several panels; None makes a figure in the package's style,
        the sheet ``amici_xr.figures`` of matplotlib. Given axes keep yours.
    palette
        Colors: a mapping from label to color, a sequence, or the name of a matplotlib colormap;
        None takes those that the tissue came with (``cell_type_color``), else ones that are told
        apart with every kind of color vision.
    max_length_scale
        Upper end of the axis; None is as above, ``numpy.inf`` shows all.
    statistic
        "median" or "mean", for `ci`.
    panels
        Whether each head gets a panel of its own, which share their axes, instead of all standing
        side by side.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        The axes drawn on; an array of them with ``panels``.

    Raises
    ------
    NotFoundError
        If a head or label is not there.
    ValueError
        If `ds` holds several queries or runs, or no neighbors, or an argument is out of range,
        or `ax` are not as many as the panels.
    SchemaError
        If `ds` is not a Dataset of scores, or has no neighborhoods while `sample_threshold` is
        given.

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
    one = one_query(ds)
    asked = heads_of(one, heads, "heads")
    one = one.sel(head=asked)
    shown = labels_of(one, labels)
    lengths = length_scale(one, threshold, sample_threshold)
    shown = by_size(shown, summary_of_labels(one, lengths, "median"))
    is_corrected = (lengths == 0) & (length_scale(one, threshold, None) > 0)
    interval = bootstrap(one, threshold, sample_threshold, statistic) if ci else None
    groups = [
        _Group.of(label, head, column, lengths, is_corrected, interval)
        for column, head in enumerate(asked)
        for label in shown
    ]
    end = _end_of_axis(groups) if max_length_scale is None else float(max_length_scale)
    colors = label_colors(one, shown, palette)
    columns = [[head] for head in asked] if panels else [asked]
    with styled(ax, shown):
        width = max(2.8, 0.6 + 0.26 * len(columns[0]) * (len(shown) + 1))
        size = (width, 2.6 + room_for_names(shown))
        axes = panel_axes(ax, len(columns), size, (width, size[1] - 0.6), [])
        for panel, of_panel in zip(axes, columns, strict=True):
            _draw(panel, [group for group in groups if group.head in of_panel], kind, colors, end)
            marks.group_axis(panel, of_panel, shown, is_named=not panels)
        y = with_unit(f"length scale at threshold {threshold:g}", one)
        names = [f"head {head}" for head in asked] if panels else [""]
        words = (title_of(one, shown), "", y)
        room = marks.ROOM_ABOVE + 3 if panels else None
        name_panels(axes, names, *words, is_ours=ax is None, title_pad=room)
        is_any = any(group.is_corrected for group in groups)
        legend = {"correction": "set to 0, see support"} if is_any else {}
        legend |= {"bracket": f"95% interval of the {statistic}"} if ci else {}
        is_cut = any(group.n_beyond(end) for group in groups)
        legend |= {"beyond": "neighbors beyond the axis"} if is_cut else {}
        add_legend(axes, marks.legend_handles({}, legend), is_ours=ax is None)
    return one_or_array(axes, is_one=not panels)


@dataclass(frozen=True)
class _Group:
    """The length scales of a label in a head, and what is said of them."""

    label: str
    head: int
    values: NDArray[np.float64]
    is_corrected: bool
    interval: tuple[float, ...] | None  # lower, upper, point estimate

    @classmethod
    def of(
        cls,
        label: str,
        head: int,
        column: int,
        lengths: xr.DataArray,
        is_corrected: xr.DataArray,
        interval: xr.Dataset | None,
    ) -> _Group:
        own = {"neighbor": np.flatnonzero(lengths["label"].values == label), "head": column}
        found = None
        if interval is not None:
            estimate = interval.sel(label=label).isel(head=column)
            found = tuple(float(estimate[name]) for name in _BRACKET)
        return cls(label, head, lengths[own].values, bool(is_corrected[own].any()), found)

    def n_beyond(self, end: float) -> int:
        return int((self.values > end).sum())


def _end_of_axis(groups: Sequence[_Group]) -> float:
    upper = [group.interval[1] for group in groups if group.interval is not None]
    return 1.05 * marks.reach_of_axis([group.values for group in groups], upper)


def _draw(
    ax: Axes, groups: Sequence[_Group], kind: marks.Kind, colors: dict[str, Any], end: float
) -> None:
    """Groups from left to right, with a gap between heads."""
    heads = list(dict.fromkeys(group.head for group in groups))
    for number, group in enumerate(groups):
        place = number + heads.index(group.head)
        marks.distribution(ax, kind, group.values, place, colors[group.label])
        if group.is_corrected:
            marks.correction(ax, place)
        if group.interval is not None:
            marks.bracket(ax, place + 0.44, *group.interval)
        if group.n_beyond(end):
            marks.beyond(ax, place, group.n_beyond(end))
    top = end if 0 < end < np.inf else ax.get_ylim()[1]
    ax.set_ylim(-0.02 * top, top)
