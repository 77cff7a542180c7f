"""How a training went: held-out and training error, and explained variance of each cell type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.kinds import kind_of
from amici_xr.errors import SchemaError
from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.colors import Palette, label_colors, label_lines
from amici_xr.plotting.shared.layout import PAGE_WIDTH, add_legend, given_axes, grid_of_axes
from amici_xr.plotting.shared.line_names import INCHES_PER_NAME, name_lines
from amici_xr.plotting.shared.style import styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

_WIDTH = PAGE_WIDTH / 2  # inches of a panel
_HELD_OUT, _TRAINING = 0.12, 0.55  # grays, from ink to paper


def plot_history(
    history: xr.Dataset,
    ax: Sequence[Axes] | NDArray[np.object_] | None = None,
    palette: Palette = None,
) -> Any:
    """Draw how a training went, epoch by epoch.

    The first panel shows the error of each run, ``½·Σ_genes (x − ŷ)²``, of the cells that it trains
    on and of those that are held out; training drops neighbors at random, so its error may be the
    larger one. The second shows how much of the variance of each receiving cell type is explained
    in held-out cells. A dot marks the epoch whose weights a run keeps.

    Parameters
    ----------
    history
        The history of trained runs, ``runs.history``, dims (run, epoch).
    ax
        Two axes to draw on, one without held-out cells; None makes a figure in the package's style.
    palette
        Colors of the cell types, as in `plot_curve`.

    Returns
    -------
    numpy.ndarray
        The axes drawn on.

    Raises
    ------
    SchemaError
        If `history` is not the history of a training.
    ValueError
        If the number of `ax` is not that of the panels.

    Examples
    --------
    >>> import amici_xr
    >>> _, adata = amici_xr.demo()
    >>> runs = amici_xr.train(adata, "cell_type", max_epochs=2, n_neighbors=10, n_heads=2,
    ...                       cell_hidden_size=16, progress=False)
    >>> axes = amici_xr.plot_history(runs.history)
    >>> axes[1].get_ylabel()
    'held-out explained variance'
    """
    if not isinstance(history, xr.Dataset) or kind_of(history) != "training_history":
        raise SchemaError(
            "history is not the history of a training; give runs.history of what train returned"
        )
    if "run" not in history.dims:
        history = history.expand_dims("run")
    has_held_out = "explained_variance_by_label" in history
    explained = history["explained_variance_by_label"] if has_held_out else None
    labels: list[str] = []
    if explained is not None:
        explained = explained.dropna("label", how="all")
        best = explained.max("epoch").mean("run")  # the best of each run
        labels = best["label"].values[np.argsort(-best.values, kind="stable")].tolist()
    colors, lines = label_colors(history, labels, palette), label_lines(history, labels)
    with styled(ax, labels):
        n = 1 + has_held_out
        height = max(3.4, INCHES_PER_NAME * len(labels) + 0.6)
        axes = grid_of_axes(n, n, (_WIDTH * n, height)) if ax is None else given_axes(ax, n)
        _draw_errors(axes[0], history)
        if explained is not None:
            _draw_explained(axes[1], history, explained, labels, colors, lines)
            _name_explained(axes[1], explained, labels, colors, lines, is_ours=ax is None)
        for panel in axes:
            panel.set_xlabel("epoch")
            panel.margins(x=0.02)
    return np.array(axes, dtype=object)


def _draw_errors(axes: Axes, history: xr.Dataset) -> None:
    epochs = history["epoch"].values
    names = {"reconstruction": ("training", _TRAINING), "validation_error": ("held-out", _HELD_OUT)}
    for name, (text, brightness) in names.items():
        if name not in history:
            continue
        color = marks.gray(axes, brightness)
        for number, values in enumerate(history[name].values):
            label = text if number == 0 else None
            axes.plot(epochs, values, color=color, linewidth=1.2, label=label)
        for run in _runs_with_best(history) if name == "validation_error" else ():
            best = int(history["best_epoch"].values[run])
            axes.plot(best, history[name].values[run, best], "o", color=color, markersize=4)
    shown = np.concatenate([history[name].values.ravel() for name in names if name in history])
    shown = shown[np.isfinite(shown)]
    if shown.size:  # the first epochs would press all others to the floor
        top = min(
            shown.max(), np.quantile(shown, 0.95) + 0.5 * np.ptp(np.quantile(shown, [0.05, 0.95]))
        )
        axes.set_ylim(top=top + 0.02 * (top - shown.min()))
    axes.set_ylabel("error, ½·Σ (x − ŷ)²")
    axes.legend(fontsize="small")


def _draw_explained(
    axes: Axes,
    history: xr.Dataset,
    explained: xr.DataArray,
    labels: Sequence[str],
    colors: Any,
    lines: Any,
) -> None:
    epochs = history["epoch"].values
    for label in labels:
        for run, values in enumerate(explained.sel(label=label).values):
            axes.plot(epochs, values, color=colors[label], linestyle=lines[label], linewidth=1.2)
            if run in _runs_with_best(history):
                best = int(history["best_epoch"].values[run])
                axes.plot(best, values[best], "o", color=colors[label], markersize=4)
    axes.axhline(0, color=marks.gray(axes, 0.6), linewidth=0.8, zorder=0)
    lowest = np.nanquantile(explained.values, 0.05)
    axes.set_ylim(bottom=max(-0.5, min(lowest, -0.02)) - 0.02)
    axes.set_ylabel("held-out explained variance")


def _name_explained(
    axes: Axes,
    explained: xr.DataArray,
    labels: Sequence[str],
    colors: Any,
    lines: Any,
    *,
    is_ours: bool,
) -> None:
    """Name lines at their right end, or in a legend where there is no room beside the axes."""
    axes.margins(x=0.02)
    heights = {label: _mean_end(explained.sel(label=label).values) for label in labels}
    if not (is_ours and name_lines(axes, heights, colors, "right")):
        handles = marks.legend_handles(axes, colors, {}, lines)
        add_legend([axes], handles, is_ours=False)


def _mean_end(runs: NDArray[np.float64]) -> float:
    """Return the mean of the last values of runs, (run, epoch), which may have stopped early."""
    ends = [values[np.isfinite(values)][-1:] for values in runs]
    return float(np.concatenate(ends).mean())


def _runs_with_best(history: xr.Dataset) -> list[int]:
    return np.flatnonzero(history["best_epoch"].values >= 0).tolist()
