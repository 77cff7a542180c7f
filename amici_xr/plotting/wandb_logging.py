"""Figures in a Weights & Biases run."""

from __future__ import annotations

import io
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
        Axes or an array of them, as the figure functions return, or a matplotlib figure.
    name
        Name under which the run shows the image.
    run
        The run that ``wandb.init`` returned; None takes the current run.
    step
        The step of the run; None takes the next one.

    Raises
    ------
    ModuleNotFoundError
        If wandb is not installed; the message says how to install it.
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
    import PIL.Image

    wandb = require("wandb", "wandb", "logging a figure")
    whole_figure = _figure_of(figure)
    run = wandb.run if run is None else run
    if run is None:
        raise ValueError("run=None, and there is no current run; call wandb.init() first")
    picture = io.BytesIO()  # wandb takes no subclass of matplotlib's Figure
    whole_figure.savefig(picture, format="png")
    run.log({name: wandb.Image(PIL.Image.open(picture, formats=["PNG"]))}, step=step)


def _figure_of(drawn: Any) -> Figure:
    """Return the figure in which the axes stand, or the figure itself."""
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    first = drawn.flat[0] if isinstance(drawn, np.ndarray) and drawn.size else drawn
    figure: Any = first.figure.canvas.figure if isinstance(first, Axes) else first  # no subfigure
    if not isinstance(figure, Figure):
        raise TypeError(
            f"figure must be axes, an array of them or a figure, not {type(drawn).__name__}"
        )
    return figure
