"""Figures: the public functions compute with labels, then draw onto an ``ax``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from .colors import label_colors
from .curves import check_distance, curve, curve_summary
from .errors import check_choice, check_names, listed
from .intervals import Statistic, bootstrap
from .length_scales import length_scale
from .schema import distance_unit
from .selection import select, with_head_dim
from .validation import check_structure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Palette = Mapping[str, Any] | Sequence[Any] | str | None
Kind = Literal["box", "violin", "density"]


def plot_curve(
    ds: xr.Dataset,
    head: int,
    distance: ArrayLike | xr.DataArray,
    labels: Sequence[str] | None = None,
    n_traces: int = 100,
    ax: Axes | None = None,
    palette: Palette = None,
    *,
    random_state: int = 42,
) -> Axes:
    """Draw attention against distance in one head: mean, ±1 std band and single neighbors.

    Parameters
    ----------
    ds
        The Dataset of one query, dims (neighbor, head).
    head
        The attention head.
    distance
        Where to evaluate the curves, in the Dataset's unit of distance.
    labels
        Cell types to draw; None draws all that have neighbors.
    n_traces
        Number of neighbors of each label whose own curve is drawn, at most; 0 draws none.
    ax
        Where to draw; None makes a figure.
    palette
        Colors: a mapping from label to color, a sequence, or the name of a matplotlib colormap.
    random_state
        Seed of the choice of neighbors.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    NotFoundError
        If the head or a label is not there.
    ValueError
        If `ds` holds several queries, a label has no neighbors, or a distance is out of range.

    Examples
    --------
    >>> import amici_xr, numpy as np
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=100)
    >>> ax = amici_xr.plot_curve(ds, head=0, distance=np.linspace(0, 10, 21))
    >>> ax.get_xlabel()
    'distance (coordinate units)'
    """
    one = _one_query(ds)
    check_names("head", [head], one["head"].values.tolist(), "head")
    one = one.sel(head=[head])
    shown = _labels(one, labels)
    at = check_distance(one, np.sort(np.atleast_1d(distance)))
    summary = curve_summary(one, at).sel(head=head)
    colors = label_colors(one, palette)
    ax = ax if ax is not None else _new_axes(5, len(shown))
    rng = np.random.default_rng(random_state)
    for label in shown:
        members = np.flatnonzero(one["label"].values == label)
        chosen = np.sort(rng.permutation(members)[: max(0, n_traces)])
        if chosen.size:
            traces = curve(one.isel(neighbor=chosen), at).sel(head=head)
            ax.plot(at, traces.T, color=colors[label], linewidth=0.5, alpha=0.12, zorder=1)
        mean = summary["mean"].sel(label=label)
        std = summary["std"].sel(label=label).fillna(0)
        low, high = np.clip(mean - std, 0, 1), np.clip(mean + std, 0, 1)
        ax.fill_between(at, low, high, color=colors[label], alpha=0.2, linewidth=0, zorder=2)
        ax.plot(at, mean, color=colors[label], linewidth=2, label=label, zorder=3)
    ax.margins(x=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(_with_unit("distance", one))
    ax.set_ylabel("counterfactual attention")
    ax.set_title(f"neighbors → {one['query'].item()}, head {head}")
    _legend(ax, len(shown))
    return ax


def plot_length_scale(
    ds: xr.Dataset,
    threshold: float = 0.5,
    heads: int | Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    sample_threshold: float | None = 0.02,
    kind: Kind = "box",
    ci: bool = False,
    ax: Axes | None = None,
    palette: Palette = None,
    max_length_scale: float | None = None,
    *,
    statistic: Statistic = "median",
) -> Axes:
    """Draw the length scales of each head and label, labels ordered by their largest median.

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
        Where to draw; None makes a figure wide enough.
    palette
        Colors: a mapping from label to color, a sequence, or the name of a matplotlib colormap.
    max_length_scale
        Upper end of the axis; None shows all.
    statistic
        "median" or "mean", for `ci`.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    NotFoundError
        If a head or label is not there.
    ValueError
        If `ds` holds several queries, a label has no neighbors, or an argument is out of range.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=100, unit="µm")
    >>> ax = amici_xr.plot_length_scale(ds, threshold=0.1, kind="violin")
    >>> ax.get_ylabel()
    'length scale at threshold 0.1 (µm)'
    """
    check_choice("kind", kind, ("box", "violin", "density"))
    one = _one_query(ds)
    asked = one["head"].values.tolist() if heads is None else np.atleast_1d(heads).tolist()
    check_names("heads", asked, one["head"].values.tolist(), "head")
    one = one.sel(head=asked)
    shown = _labels(one, labels)
    lengths = length_scale(one, threshold, sample_threshold)
    groups = {
        label: lengths.isel(neighbor=np.flatnonzero(one["label"].values == label))
        for label in shown
    }
    shown.sort(key=lambda label: -float(groups[label].median("neighbor").max()))
    colors = label_colors(one, palette)
    ax = (
        ax
        if ax is not None
        else _new_axes(max(3.5, 0.32 * len(asked) * (len(shown) + 1)), len(shown))
    )
    interval = bootstrap(one, threshold, sample_threshold, statistic) if ci else None
    for rank, label in enumerate(shown):
        for group, head in enumerate(asked):
            place = group * (len(shown) + 1) + rank
            values = groups[label].sel(head=head).values
            _draw_distribution(ax, kind, values, place, colors[label])
            if interval is not None:
                _draw_bracket(ax, interval.sel(label=label, head=head), place + 0.44)
        ax.plot([], [], color=colors[label], linewidth=6, alpha=0.7, label=label)
    middles = np.arange(len(asked)) * (len(shown) + 1) + (len(shown) - 1) / 2
    ax.set_xticks(middles, [f"head {head}" for head in asked])
    ax.set_xlim(-1, len(asked) * (len(shown) + 1) - 1)
    for edge in middles[1:]:
        ax.axvline(edge - (len(shown) + 1) / 2, color="0.85", linewidth=0.8, zorder=0)
    ax.set_ylim(0 - 0.02 * (max_length_scale or ax.get_ylim()[1]), max_length_scale)
    ax.set_ylabel(_with_unit(f"length scale at threshold {threshold:g}", one))
    ax.set_title(f"neighbors → {one['query'].item()}")
    _legend(ax, len(shown))
    return ax


def _draw_distribution(ax: Axes, kind: Kind, values: Any, place: float, color: Any) -> None:
    if kind == "box":
        ax.boxplot(
            values,
            positions=[place],
            widths=0.7,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": color, "alpha": 0.7, "linewidth": 0.8},
            medianprops={"color": "black", "linewidth": 1.2},
            whiskerprops={"linewidth": 0.8},
            capprops={"linewidth": 0.8},
            flierprops={"marker": ".", "markersize": 2, "markeredgecolor": color, "alpha": 0.4},
        )
        return
    ax.hlines(np.median(values), place - 0.35, place + 0.35, color="black", linewidth=1.2, zorder=3)
    if np.ptp(values) > 0:  # one value, or all the same, have no density: the line stands alone
        side: Any = "high" if kind == "density" else "both"
        drawn = ax.violinplot(values, [place], widths=0.8, showextrema=False, side=side)
        for body in drawn["bodies"]:  # type: ignore[attr-defined]
            body.set(facecolor=color, alpha=0.7, edgecolor=color, linewidth=0.8)


def _draw_bracket(ax: Axes, interval: xr.Dataset, place: float) -> None:
    low, high, point = (float(interval[n]) for n in ("ci_lower", "ci_upper", "point_estimate"))
    ax.plot(
        [place] * 2, [low, high], color="black", marker="_", markersize=4, linewidth=1, zorder=4
    )
    ax.plot(place, point, color="black", marker=".", markersize=3, zorder=4)


def _one_query(ds: xr.Dataset) -> xr.Dataset:
    check_structure(ds)
    if "query" in ds.dims:
        known = listed(ds["query"].values)
        raise ValueError(
            f"ds holds the queries {known}; draw one at a time, e.g. amici_xr.select(ds, query)"
        )
    return with_head_dim(select(ds, ds["query"].item()))


def _labels(ds: xr.Dataset, asked: Sequence[str] | None) -> list[str]:
    """Return the labels asked for, all of which must have neighbors."""
    present: list[str] = np.unique(ds["label"].values).tolist()
    if asked is None:
        if not present:
            raise ValueError("ds holds no neighbors, so there is nothing to draw")
        return present
    names = [asked] if isinstance(asked, str) else list(asked)
    if not names:
        raise ValueError(f"labels={asked!r} names no label; there are {listed(present)}")
    check_names("labels", names, present, "or absent label")
    return names


def _new_axes(width: float, n_labels: int) -> Axes:
    """Axes of about this width in inches, with room for the legend beside them."""
    from matplotlib import pyplot as plt

    size = (min(width, 28) + 1.6 * _legend_columns(n_labels), 4)
    return plt.subplots(figsize=size, layout="constrained")[1]


def _legend(ax: Axes, n_labels: int) -> None:
    """Beside the axes, where it covers nothing."""
    ax.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        borderaxespad=0,
        frameon=False,
        ncols=_legend_columns(n_labels),
        fontsize="small",
    )


def _legend_columns(n_labels: int) -> int:
    return 1 + (n_labels - 1) // 15


def _with_unit(what: str, ds: xr.Dataset) -> str:
    return f"{what} ({distance_unit(ds) or 'coordinate units'})"
