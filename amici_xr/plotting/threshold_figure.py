"""Length scale against threshold, in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from amici_xr.analysis.length_scales import length_scale
from amici_xr.dataset.reduction import STATISTICS, Statistic, summary_of_labels
from amici_xr.errors import check_choice
from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.colors import Palette
from amici_xr.plotting.shared.contents import OneRunUnit, choose_content, name_interval, with_unit
from amici_xr.plotting.shared.line_panels import MOST_IN_LEGEND, draw_line_panels
from amici_xr.uncertainty.length_scale_intervals import bootstrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_THRESHOLDS = np.linspace(0.05, 0.95, 19).round(2)


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
    *,
    resampling_unit: OneRunUnit = "cell",
) -> Any:
    """Draw the length scale of each label against the threshold that defines it.

    It shows which findings depend on the choice of one threshold. A line shows the corrected length
    scales, as `length_scale` gives them; where the artifact correction begins to set a label with
    some reach to 0, the line falls to a cross. More than eight labels are named where their lines
    begin; of several panels each names the eight that are longest there, and the others are gray.

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
        Whether to draw the 95% interval of the `statistic`, as `bootstrap` gives it, as a band. The
        legend names the resampling unit; a label without an interval has none.
    ax
        Axes to draw on, one for each panel; None makes a figure in the package's style, the
        matplotlib style sheet ``amici_xr.figures``. Given axes keep your style.
    palette
        Colors, as in `plot_curve`.
    resampling_unit
        For `ci`, as in `plot_length_scale`: "cell", "spatial" or "sample".

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        The axes drawn on; with several heads, or None, an array of them.

    Raises
    ------
    NotFoundError
        If a head or a label is not in the Dataset.
    ValueError
        If `ds` holds several queries or runs, or no neighbors, a threshold is out of its range or
        there is none, or the number of `ax` is not that of the panels.
    SchemaError
        If `ds` is not a Dataset of scores, or has no neighborhoods while `sample_threshold` is
        given, or lacks the coordinates or samples that the `resampling_unit` needs.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=100, unit="µm")
    >>> ax = amici_xr.plot_threshold_sweep(ds, [0.1, 0.3, 0.5], heads=0)
    >>> ax.get_ylabel()
    'median length scale (µm)'
    """
    check_choice("statistic", statistic, tuple(STATISTICS))
    content = choose_content(ds, heads, labels)
    thresholds = np.unique(_THRESHOLDS if threshold is None else threshold).tolist()
    lengths = length_scale(content.ds, thresholds, sample_threshold)
    summary = summary_of_labels(content.ds, lengths, statistic)
    check_choice("resampling_unit", resampling_unit, get_args(OneRunUnit))
    interval = (
        bootstrap(
            content.ds, thresholds, sample_threshold, statistic, resampling_unit=resampling_unit
        )
        if ci
        else None
    )
    is_corrected = (lengths == 0) & (length_scale(content.ds, thresholds, None) > 0)
    corrected = summary_of_labels(content.ds, is_corrected.astype(float), "mean") > 0

    longest = summary.max("threshold")
    ordered = content.labels_by_size(longest) if labels is None else content.labels
    is_many = len(ordered) > MOST_IN_LEGEND

    def draw_label(
        axes: Axes, head: int, label: str, style: dict[str, Any], *, is_plain: bool
    ) -> None:
        line: dict[str, Any] = {"head": head, "label": label}
        axes.plot(thresholds, summary.sel(line), **style)
        if is_plain:
            return
        if interval is not None:
            ends = interval.sel(line)
            band: Any = {"facecolor": style["color"], "alpha": 0.1 if is_many else 0.2}
            band |= {"edgecolor": style["color"], "linewidth": 0.5 if is_many else 0}
            axes.fill_between(thresholds, ends["ci_lower"], ends["ci_upper"], **band)
        _mark_correction(axes, corrected.sel(line), summary.sel(line), style["color"])

    legend = {"band": name_interval(statistic, resampling_unit)} if ci else {}
    legend |= {"correction": "set to 0, see support"} if bool(corrected.any()) else {}
    axis_labels = ("threshold", with_unit(f"{statistic} length scale", content.ds))
    axes = draw_line_panels(
        content, ordered, palette, draw_label, axis_labels, legend,
        starts=summary.isel(threshold=0), sizes=longest, ax=ax,
    )  # fmt: skip
    return axes[0] if np.isscalar(heads) else axes


def _mark_correction(
    axes: Axes, corrected: xr.DataArray, summary: xr.DataArray, color: Any
) -> None:
    """Draw a cross where the correction takes a line to 0."""
    falls = corrected.values[1:] & (summary.values[:-1] > 0)
    for threshold in corrected["threshold"].values[1:][falls]:
        marks.correction(axes, float(threshold), color)
