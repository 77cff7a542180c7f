"""Figures: the public functions compute with labels, then draw onto an ``ax``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from . import drawing
from .colors import label_colors
from .curves import check_distance, curve, curve_summary
from .errors import NotFoundError, check_choice, check_names, listed
from .length_scale_intervals import bootstrap
from .length_scales import length_scale
from .schema import UNKNOWN_UNIT, distance_unit
from .selection import one_run, select, with_head_dim
from .structure import check_structure
from .summaries import Statistic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BRACKET = ("ci_lower", "ci_upper", "point_estimate")
Palette = Mapping[str, Any] | Sequence[Any] | str | None


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
        Where to draw; None makes a figure. In a figure of your own the legend stands beside the
        axes if it has ``layout="constrained"``, which makes room for it, and else within.
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
        If `ds` holds several queries or runs, or no neighbors, or a distance is out of range.
    SchemaError
        If `ds` is not a Dataset of scores.

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
    if isinstance(n_traces, bool) or not isinstance(n_traces, int | np.integer):
        raise TypeError(f"n_traces={n_traces!r} must be an integer; 0 draws none")
    shown = _labels(one, labels)
    at = check_distance(one, np.sort(np.atleast_1d(distance)))
    summary = curve_summary(one, at).sel(head=head)
    colors = label_colors(one, shown, palette)
    ax = drawing.new_axes(5, shown) if ax is None else ax
    rng = np.random.default_rng(random_state)
    faint, pale = min(0.12, 0.5 / len(shown)), min(0.2, 1 / len(shown))  # more lines, fainter
    for label in shown:
        members = np.flatnonzero(one["label"].values == label)
        chosen = np.sort(rng.permutation(members)[: max(0, n_traces)])
        if chosen.size:
            traces = curve(one.isel(neighbor=chosen), at).sel(head=head)
            ax.plot(at, traces.T, color=colors[label], linewidth=0.5, alpha=faint, zorder=1)
        mean = summary["mean"].sel(label=label)
        std = summary["std"].sel(label=label).fillna(0)
        low, high = np.clip(mean - std, 0, 1), np.clip(mean + std, 0, 1)
        ax.fill_between(at, low, high, color=colors[label], alpha=pale, linewidth=0, zorder=2)
        ax.plot(at, mean, color=colors[label], linewidth=2, label=label, zorder=3)
    ax.margins(x=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(_with_unit("distance", one))
    ax.set_ylabel("counterfactual attention")
    ax.set_title(drawing.plain(f"neighbors → {one['query'].item()}, head {head}"))
    marks = {"mean": "mean", "band": "± 1 std"}
    marks |= {"trace": "single neighbors"} if n_traces > 0 else {}
    drawing.legend(ax, colors, marks)
    return ax


def plot_length_scale(
    ds: xr.Dataset,
    threshold: float = 0.5,
    heads: int | Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    sample_threshold: float | None = 0.02,
    kind: drawing.Kind = "box",
    ci: bool = False,
    ax: Axes | None = None,
    palette: Palette = None,
    max_length_scale: float | None = None,
    *,
    statistic: Statistic = "median",
) -> Axes:
    """Draw the length scales of each head and label, labels ordered by their largest median.

    The black line of each group is its median. A cross marks a group with some reach that the
    artifact correction has set to 0; `support` tells why.

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
        Where to draw; None makes a figure wide enough. In a figure of your own the legend
        stands beside the axes if it has ``layout="constrained"``, and else within.
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
        If `ds` holds several queries or runs, or no neighbors, or an argument is out of range.
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
    if max_length_scale is not None and not 0 < float(max_length_scale) < np.inf:
        raise ValueError(f"max_length_scale={max_length_scale!r} must be a positive number or None")
    one = _one_query(ds)
    asked = one["head"].values.tolist() if heads is None else np.atleast_1d(heads).tolist()
    check_names("heads", asked, one["head"].values.tolist(), "head")
    one = one.sel(head=asked)
    shown = _labels(one, labels)
    lengths = length_scale(one, threshold, sample_threshold)
    members = {label: np.flatnonzero(one["label"].values == label) for label in shown}
    medians = {label: lengths[members[label]].median("neighbor").max().item() for label in shown}
    shown.sort(key=lambda label: -medians[label])
    is_corrected = (lengths == 0) & (length_scale(one, threshold, None) > 0)
    interval = bootstrap(one, threshold, sample_threshold, statistic) if ci else None
    colors = label_colors(one, shown, palette)
    step = len(shown) + 1  # from one head's first group to the next head's
    ax = ax if ax is not None else drawing.new_axes(max(3.5, 0.32 * len(asked) * step), shown)
    for column, head in enumerate(asked):
        for place, label in enumerate(shown, start=column * step):
            group = {"neighbor": members[label], "head": column}
            drawing.distribution(ax, kind, lengths[group].values, place, colors[label])
            if is_corrected[group].any():
                drawing.correction(ax, place)
            if interval is not None:
                own = interval.sel(label=label, head=head)
                drawing.bracket(ax, place + 0.44, *(float(own[name]) for name in _BRACKET))
    drawing.head_axis(ax, asked, len(shown))
    ax.set_ylim(-0.02 * (max_length_scale or ax.get_ylim()[1]), max_length_scale)
    ax.set_ylabel(_with_unit(f"length scale at threshold {threshold:g}", one))
    ax.set_title(drawing.plain(f"neighbors → {one['query'].item()}"))
    marks = {"correction": "set to 0, see support"} if is_corrected.any() else {}
    marks |= {"bracket": f"95% interval of the {statistic}"} if ci else {}
    drawing.legend(ax, colors, marks)
    return ax


def _one_query(ds: xr.Dataset) -> xr.Dataset:
    one_run(check_structure(ds), "draw one at a time")
    if "query" in ds.dims:
        known = listed(ds["query"].values)
        raise ValueError(
            f"ds holds the queries {known}; draw one at a time, e.g. amici_xr.select(ds, query)"
        )
    return with_head_dim(select(ds, ds["query"].item())).compute()


def _labels(ds: xr.Dataset, asked: Sequence[str] | None) -> list[str]:
    """Return the labels asked for, all of which must have neighbors."""
    present: list[str] = np.unique(ds["label"].values).tolist()
    if asked is None:
        if not present:
            raise ValueError("ds holds no neighbors, so there is nothing to draw")
        return present
    names = [asked] if isinstance(asked, str) else list(asked)
    absent = [name for name in names if name not in present]
    if absent:
        raise NotFoundError(f"labels: no neighbor is {listed(absent)}; there are {listed(present)}")
    check_names("labels", names, present, "label")
    return names


def _with_unit(what: str, ds: xr.Dataset) -> str:
    return drawing.plain(f"{what} ({distance_unit(ds) or UNKNOWN_UNIT})")
