"""Length scale against threshold, in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from amici_xr.analysis.length_scales import length_scale
from amici_xr.dataset.reduction import STATISTICS, Statistic, summary_of_labels
from amici_xr.errors import check_choice
from amici_xr.plotting import marks
from amici_xr.plotting.colors import Palette, label_colors, label_lines
from amici_xr.plotting.contents import by_size, heads_of, labels_of, one_query, title_of, with_unit
from amici_xr.plotting.layout import add_legend, name_panels, one_or_array, panel_axes
from amici_xr.plotting.style import styled
from amici_xr.uncertainty.length_scale_intervals import bootstrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_THRESHOLDS = np.linspace(0.05, 0.95, 19).round(2)


@overload
def plot_threshold_sweep(
    ds: xr.Dataset,
    threshold: ArrayLike | None = None,
    *,
    heads: int,
    labels: Sequence[str] | None = None,
    sample_threshold: float | None = 0.02,
    statistic: Statistic = "median",
    ci: bool = False,
    ax: Axes | None = None,
    palette: Palette = None,
) -> Axes: ...


@overload
def plot_threshold_sweep(
    ds: xr.Dataset,
    threshold: ArrayLike | None = None,
    heads: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    sample_threshold: float | None = 0.02,
    statistic: Statistic = "median",
    ci: bool = False,
    ax: Sequence[Axes] | NDArray[np.object_] | None = None,
    palette: Palette = None,
) -> NDArray[np.object_]: ...


def plot_threshold_sweep(
    ds: xr.Dataset,
    threshold: ArrayLike | None = None,
    heads: int | Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    sample_threshold: float | None = 0.02,
    statistic: Statistic = "median",
    ci: bool = False,
    ax: Axes | Sequence[Axes] | NDArray[np.object_] | None = None,
    palette: Palette = None,
) -> Axes | NDArray[np.object_]:
    """Draw the length scale of each label against the threshold that defines it.

    So that a finding that hangs on one threshold is told from one that does not. A line shows the
    corrected length scales, as `length_scale` gives them; where the artifact correction begins to
    set a label with some reach to 0 it falls to a cross.

    Parameters
    ----------
    ds
        The Dataset of one query, dims (neighbor, head).
    threshold
        The thresholds, each strictly between 0 and 1; None takes 0.05, 0.1, …, 0.95.
    heads
        The attention head; several, or None for all, get a panel each, which share their axes.
    labels
        Cell types to draw, in this order; None draws all that have neighbors, the one with the
        largest length scale first.
    sample_threshold
        As in `length_scale`.
    statistic
        "median" or "mean" of the neighbors of each label.
    ci
        Whether to draw the 95% bootstrap interval of the `statistic` as a band.
    ax
        Where to draw, one for each panel; None makes a figure in the package's style, the sheet
        ``amici_xr.figures`` of matplotlib. Given axes keep yours.
    palette
        Colors, as in `plot_curve`.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        The axes drawn on; with several heads, or None, an array of them.

    Raises
    ------
    NotFoundError
        If a head or a label is not there.
    ValueError
        If `ds` holds several queries or runs, or no neighbors, a threshold is out of its range or
        there is none, or `ax` are not as many as the panels.
    SchemaError
        If `ds` is not a Dataset of scores, or has no neighborhoods while `sample_threshold` is
        given.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=100, unit="µm")
    >>> ax = amici_xr.plot_threshold_sweep(ds, [0.1, 0.3, 0.5], heads=0)
    >>> ax.get_ylabel()
    'median length scale (µm)'
    """
    check_choice("statistic", statistic, tuple(STATISTICS))
    one = one_query(ds)
    asked = heads_of(one, heads, "heads")
    one = one.sel(head=asked)
    shown = labels_of(one, labels)
    at = np.unique(_THRESHOLDS if threshold is None else threshold).tolist()
    lengths = length_scale(one, at, sample_threshold)
    middle = summary_of_labels(one, lengths, statistic)
    interval = bootstrap(one, at, sample_threshold, statistic) if ci else None
    is_corrected = (lengths == 0) & (length_scale(one, at, None) > 0)
    corrected = summary_of_labels(one, is_corrected.astype(float), "mean") > 0
    shown = shown if labels is not None else by_size(shown, middle.max("threshold"))
    colors, lines = label_colors(one, shown, palette), label_lines(one, shown)
    with styled(ax, shown):
        axes = panel_axes(ax, len(asked), (5, 3.6), (3, 2.6), shown)
        for panel, head in zip(axes, asked, strict=True):
            for label in shown:
                of: dict[str, Any] = {"head": head, "label": label}
                style = {"color": colors[label], "linestyle": lines[label], "label": label}
                panel.plot(at, middle.sel(of), linewidth=2, zorder=3, **style)
                if interval is not None:
                    ends = interval.sel(of)
                    band: Any = {"color": colors[label], "alpha": 0.2, "linewidth": 0}
                    panel.fill_between(at, ends["ci_lower"], ends["ci_upper"], **band)
                _mark_correction(panel, corrected.sel(of), middle.sel(of), colors[label])
        for panel in axes:  # after all are drawn, since they may share their axes
            panel.margins(x=0)
            panel.set_ylim(bottom=0)
        words = (title_of(one, shown), "threshold", with_unit(f"{statistic} length scale", one))
        name_panels(axes, [f"head {head}" for head in asked], *words, is_ours=ax is None)
        legend = {"band": f"95% interval of the {statistic}"} if ci else {}
        legend |= {"correction": "set to 0, see support"} if bool(corrected.any()) else {}
        add_legend(axes, marks.legend_handles(colors, legend, lines), is_ours=ax is None)
    return one_or_array(axes, is_one=np.isscalar(heads))


def _mark_correction(ax: Axes, corrected: xr.DataArray, middle: xr.DataArray, color: Any) -> None:
    """A cross where the correction takes a line to 0."""
    is_zero = corrected.values
    falls = is_zero[1:] & (middle.values[:-1] > 0)
    for place in corrected["threshold"].values[1:][falls]:
        marks.correction(ax, float(place), color)
