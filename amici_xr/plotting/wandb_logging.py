"""A figure beside the other records of a Weights & Biases run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amici_xr.dependencies import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def log_figure(
    figure: Axes | NDArray[np.object_] | Figure,
    name: str,
    run: Any = None,
    *,
    step: int | None = None,
) -> None:
    """Log a figure to a Weights & Biases run, as an image.

    Parameters
    ----------
    figure
        What a figure function gave back, axes or an array of them, or a matplotlib figure.
    name
        Under which the run shows it.
    run
        The run, as ``wandb.init`` gives it; None takes the current one.
    step
        The step of the run; None takes its next.

    Raises
    ------
    ModuleNotFoundError
        If wandb is not installed; the message says how to.
    ValueError
        If there is no current run.
    TypeError
        If `figure` is none of the above.

    Examples
    --------
    >>> import amici_xr, wandb
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=100)
    >>> with wandb.init(project="tissue", mode="disabled") as run:
    ...     amici_xr.log_figure(ds.cf.plot_length_scale(0.1), "length scales", run)
    """
    wandb = require("wandb", "wandb", "logging a figure")
    drawn = _figure_of(figure)
    run = wandb.run if run is None else run
    if run is None:
        raise ValueError("run=None, and there is no current run; call wandb.init() first")
    run.log({name: wandb.Image(drawn)}, step=step)


def _figure_of(figure: Any) -> Figure:
    """The figure itself, of the axes that stand in it."""
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    one = figure.flat[0] if isinstance(figure, np.ndarray) and figure.size else figure
    whole: Any = one.figure.canvas.figure if isinstance(one, Axes) else one  # not a subfigure
    if not isinstance(whole, Figure):
        raise TypeError(
            f"figure must be axes, an array of them or a figure, not {type(figure).__name__}"
        )
    return whole
