"""Attention against distance, in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from amici_xr.analysis.curves import check_distance, curve, curve_summary
from amici_xr.plotting.shared.colors import Palette
from amici_xr.plotting.shared.contents import Content, choose_content, with_unit
from amici_xr.plotting.shared.line_panels import draw_line_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_WITH_BANDS = 5  # labels, whose bands can be told apart


def plot_curve(
    ds: xr.Dataset,
    head: int | Sequence[int] | None,
    distance: ArrayLike | xr.DataArray,
    labels: Sequence[str] | None = None,
    n_traces: int | None = None,
    ax: Axes | Sequence[Axes] | NDArray[np.object_] | None = None,
    palette: Palette = None,
    *,
    random_state: int = 42,
) -> Any:
    """Draw attention against distance: mean, ±1 std band and single neighbors of each label.

    The legend lists labels by the reach of their mean curve, the largest first, in the order in
    which the curves lie above each other, so that they can be told apart in gray too. More than
    five labels have no bands, which would cover each other. More than eight are named where their
    curves begin; of several panels each names the eight curves that are largest there, and the
    others are gray.

    Parameters
    ----------
    ds
        The Dataset of one query, dims (neighbor, head).
    head
        The attention head; several, or None for all, get a panel each, which share their axes.
    distance
        Where to evaluate the curves, in the Dataset's unit of distance; those of a DataArray with
        another unit as its attribute ``units`` are converted.
    labels
        Cell types to draw, in this order; None draws all that have neighbors.
    n_traces
        Largest number of neighbors of each label whose single curves are drawn; 0 draws none, and
        None draws 100 of up to five labels, and none of more.
    ax
        Axes to draw on, one for each panel; None makes a figure in the package's style, the
        matplotlib style sheet ``amici_xr.figures``. Given axes keep your style. The legend stands
        beside them if their figure has ``layout="constrained"``, which makes room for it, and
        otherwise within.
    palette
        Colors: a mapping from label to color, a sequence, or the name of a matplotlib colormap;
        None takes the colors recorded with the tissue (``cell_type_color``), otherwise colors that
        are distinct with every kind of color vision.
    random_state
        Seed of the choice of neighbors.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        The axes drawn on; with several heads, or None, an array of them.

    Raises
    ------
    NotFoundError
        If the head or a label is not in the Dataset.
    ValueError
        If `ds` holds several queries or runs, or no neighbors, a distance is out of range, or the
        number of `ax` is not that of the panels.
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
    content = choose_content(ds, head, labels, "head")
    if n_traces is not None and (
        isinstance(n_traces, bool) or not isinstance(n_traces, int | np.integer)
    ):
        raise TypeError(f"n_traces={n_traces!r} must be an integer; 0 draws none")
    given = check_distance(content.ds, distance).values  # in the unit of the Dataset
    distances = check_distance(content.ds, np.sort(np.atleast_1d(given)))
    summary = curve_summary(content.ds, distances)
    reach = summary["mean"].mean("distance")
    ordered = content.labels_by_size(reach) if labels is None else content.labels
    is_many = len(ordered) > _MOST_WITH_BANDS
    n_traces = (0 if is_many else 100) if n_traces is None else n_traces
    traced = _sample_of_each_label(content, n_traces, random_state)
    alpha_of_traces, alpha_of_band = min(0.12, 0.3 / len(ordered)), min(0.2, 0.6 / len(ordered))

    def draw_label(
        axes: Axes, head: int, label: str, style: dict[str, Any], *, is_plain: bool
    ) -> None:
        values = summary.sel(head=head, label=label)
        if not is_plain:
            traces = curve(content.ds.isel(neighbor=traced[label]), distances).sel(head=head)
            _draw_traces(axes, traces, style["color"], alpha_of_traces)
            if not is_many:
                _draw_band(axes, values, style["color"], alpha_of_band)
        axes.plot(values["distance"], values["mean"], **style)

    legend = {"mean": "mean"} | ({} if is_many else {"band": "± 1 std"})
    legend |= {"trace": "single neighbors"} if n_traces > 0 else {}
    axis_labels = (with_unit("distance", content.ds), "counterfactual attention")
    axes = draw_line_panels(
        content, ordered, palette, draw_label, axis_labels, legend,
        starts=summary["mean"].isel(distance=0), sizes=reach, ax=ax,
    )  # fmt: skip
    return axes[0] if np.isscalar(head) else axes


def _sample_of_each_label(
    content: Content, size: int, random_state: int
) -> dict[str, NDArray[np.intp]]:
    """Choose positions of up to `size` neighbors of each label."""
    rng = np.random.default_rng(random_state)
    label_of_neighbor = content.ds["label"].values
    members = {label: np.flatnonzero(label_of_neighbor == label) for label in content.labels}
    return {
        label: np.sort(rng.permutation(positions)[: max(0, size)])
        for label, positions in members.items()
    }


def _draw_traces(axes: Axes, traces: xr.DataArray, color: Any, alpha: float) -> None:
    if traces.sizes["neighbor"]:
        lines = traces.transpose("distance", "neighbor")
        axes.plot(traces["distance"], lines, color=color, linewidth=0.5, alpha=alpha, zorder=1)


def _draw_band(axes: Axes, summary: xr.Dataset, color: Any, alpha: float) -> None:
    distance, mean, std = summary["distance"], summary["mean"], summary["std"].fillna(0)
    low, high = np.clip(mean - std, 0, 1), np.clip(mean + std, 0, 1)
    axes.fill_between(distance, low, high, color=color, alpha=alpha, linewidth=0, zorder=2)
