"""Attention against distance, in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from amici_xr.analysis.curves import check_distance, curve, curve_summary
from amici_xr.plotting import marks
from amici_xr.plotting.colors import Palette, label_colors, label_lines
from amici_xr.plotting.contents import by_size, heads_of, labels_of, one_query, title_of, with_unit
from amici_xr.plotting.layout import add_legend, name_panels, one_or_array, panel_axes
from amici_xr.plotting.style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@overload
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
) -> Axes: ...


@overload
def plot_curve(
    ds: xr.Dataset,
    head: Sequence[int] | None,
    distance: ArrayLike | xr.DataArray,
    labels: Sequence[str] | None = None,
    n_traces: int = 100,
    ax: Sequence[Axes] | NDArray[np.object_] | None = None,
    palette: Palette = None,
    *,
    random_state: int = 42,
) -> NDArray[np.object_]: ...


def plot_curve(
    ds: xr.Dataset,
    head: int | Sequence[int] | None,
    distance: ArrayLike | xr.DataArray,
    labels: Sequence[str] | None = None,
    n_traces: int = 100,
    ax: Axes | Sequence[Axes] | NDArray[np.object_] | None = None,
    palette: Palette = None,
    *,
    random_state: int = 42,
) -> Axes | NDArray[np.object_]:
    """Draw attention against distance: mean, ±1 std band and single neighbors of each label.

    Labels stand in the legend by the reach of their mean curve, the largest first, as the curves
    lie above each other, so that they are told apart in gray too.

    Parameters
    ----------
    ds
        The Dataset of one query, dims (neighbor, head).
    head
        The attention head; several, or None for all, get a panel each, which share their axes.
    distance
        Where to evaluate the curves, in the Dataset's unit of distance.
    labels
        Cell types to draw, in this order; None draws all that have neighbors.
    n_traces
        Number of neighbors of each label whose own curve is drawn, at most; 0 draws none.
    ax
        Where to draw, one for each panel; None makes a figure in the package's style, the sheet
        ``amici_xr.figures`` of matplotlib. Given axes keep yours. In a figure of your own the
        legend stands beside the axes if it has ``layout="constrained"``, which makes room for it,
        and else within.
    palette
        Colors: a mapping from label to color, a sequence, or the name of a matplotlib colormap;
        None takes those that the tissue came with (``cell_type_color``), else ones that are told
        apart with every kind of color vision.
    random_state
        Seed of the choice of neighbors.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        The axes drawn on; with several heads, or None, an array of them.

    Raises
    ------
    NotFoundError
        If the head or a label is not there.
    ValueError
        If `ds` holds several queries or runs, or no neighbors, a distance is out of range, or `ax`
        are not as many as the panels.
    SchemaError
        If `ds` is not a Dataset of scores.

    Examples
    --------
    >>> import amici_xr, numpy as np
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=100)
    >>> ax = amici_xr.plot_curve(ds, head=0, distance=np.linspace(0, 10, 21))
    >>> ax.get_xlabel()
    'distance (coordinate units)'
    >>> [ax.get_title() for ax in ds.cf.plot_curve(None, [0, 5, 10])]
    ['head 0', 'head 1']
    """
    one = one_query(ds)
    heads = heads_of(one, head, "head")
    one = one.sel(head=heads)
    if isinstance(n_traces, bool) or not isinstance(n_traces, int | np.integer):
        raise TypeError(f"n_traces={n_traces!r} must be an integer; 0 draws none")
    shown = labels_of(one, labels)
    at = check_distance(one, np.sort(np.atleast_1d(distance)))
    summary = curve_summary(one, at)
    chosen = _some_of_each(one, shown, n_traces, random_state)
    shown = shown if labels is not None else by_size(shown, summary["mean"].mean("distance"))
    colors, lines = label_colors(one, shown, palette), label_lines(one, shown)
    with styled(ax, shown):
        axes = panel_axes(ax, len(heads), (5, 3.6), (3, 2.6), shown)
        for panel, of_head in zip(axes, heads, strict=True):
            for label in shown:
                style = {"color": colors[label], "linestyle": lines[label], "label": label}
                traces = curve(one.isel(neighbor=chosen[label]), at).sel(head=of_head)
                _draw_traces(panel, traces, colors[label], faint=min(0.12, 0.3 / len(shown)))
                own = summary.sel(head=of_head, label=label)
                _draw_curve(panel, own, style, pale=min(0.2, 0.6 / len(shown)))
        for panel in axes:  # after all are drawn, since they may share their axes
            panel.margins(x=0)
            panel.set_ylim(bottom=0)
        words = (title_of(one, shown), with_unit("distance", one), "counterfactual attention")
        name_panels(axes, [f"head {of_head}" for of_head in heads], *words, is_ours=ax is None)
        legend = {"mean": "mean", "band": "± 1 std"}
        legend |= {"trace": "single neighbors"} if n_traces > 0 else {}
        add_legend(axes, marks.legend_handles(colors, legend, lines), is_ours=ax is None)
    return one_or_array(axes, is_one=np.isscalar(head))


def _some_of_each(
    ds: xr.Dataset, labels: Sequence[str], n: int, random_state: int
) -> dict[str, NDArray[np.intp]]:
    """Positions of up to `n` neighbors of each label."""
    rng = np.random.default_rng(random_state)
    members = {label: np.flatnonzero(ds["label"].values == label) for label in labels}
    return {label: np.sort(rng.permutation(own)[: max(0, n)]) for label, own in members.items()}


def _draw_traces(ax: Axes, traces: xr.DataArray, color: Any, faint: float) -> None:
    if traces.sizes["neighbor"]:
        lines = traces.transpose("distance", "neighbor")
        ax.plot(traces["distance"], lines, color=color, linewidth=0.5, alpha=faint, zorder=1)


def _draw_curve(ax: Axes, own: xr.Dataset, style: dict[str, Any], pale: float) -> None:
    at, mean, std = own["distance"], own["mean"], own["std"].fillna(0)
    low, high = np.clip(mean - std, 0, 1), np.clip(mean + std, 0, 1)
    ax.fill_between(at, low, high, color=style["color"], alpha=pale, linewidth=0, zorder=2)
    ax.plot(at, mean, linewidth=2, zorder=3, **style)
