"""The commands that draw, ``plot`` with the name of a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from amici_xr.cli.inputs import distances_of, one_query_of, opened
from amici_xr.cli.messages import InOrder
from amici_xr.cli.options import (
    FILE,
    NUMBER_OR_NONE,
    Numbers,
    WholeNumbers,
    one_or_several,
    option,
    output,
    together,
)
from amici_xr.dataset.reduction import STATISTICS
from amici_xr.dataset.selection import select
from amici_xr.plotting.atlas_figure import plot_atlas
from amici_xr.plotting.curve_figure import plot_curve
from amici_xr.plotting.length_scale_figure import plot_length_scale
from amici_xr.plotting.marks import Kind
from amici_xr.plotting.style import STYLE
from amici_xr.plotting.threshold_figure import plot_threshold_sweep
from amici_xr.plotting.tissue_map import plot_spatial

SUFFIXES = (".png", ".svg", ".pdf")
_STEPS = 200  # between the distances of a figure, where none were asked for

RUN = click.option("--run", type=int, help="Which training, of a file of several.")
drawing = together(
    RUN,
    click.option("--dpi", type=click.IntRange(min=1), metavar="INTEGER", default=150,
                 show_default=True, help="Dots per inch, of .png."),
    output(SUFFIXES, "Where to draw to", required=True),
)  # fmt: skip
QUERY = option(select, "query", "Receiving cell type, of a file of several.")
SAMPLE = option(select, "sample", "Sample, of a file of several.", when_none="all together")
LABELS: dict[str, Any] = {"when_none": "all", "multiple": True}
PALETTE: dict[str, Any] = {"when_none": "the tissue's own, or color-blind-safe"}
HEADS: dict[str, Any] = {"when_none": "all", "type": WholeNumbers()}
SAMPLE_THRESHOLD = "Share of the receivers below which length scales become 0; none: never."


@click.group("plot", cls=InOrder)
def plot_group() -> None:
    """Figures, as PNG, SVG or PDF."""


@plot_group.command("curve")
@FILE
@option(plot_curve, "head", "Attention head; a panel for each of several, e.g. 0,2.",
        type=WholeNumbers(), required=False, show_default="all")  # fmt: skip
@option(plot_curve, "distance", "Where to evaluate the curves: 0:50:0.5.", type=Numbers(),
        required=False, show_default="0 to where neighborhoods end")  # fmt: skip
@option(plot_curve, "labels", "Sending cell type; give it again for several.", **LABELS)
@option(plot_curve, "n_traces", "Single neighbors drawn of each label, at most.", type=int)
@option(plot_curve, "palette", "Name of a matplotlib colormap.", **PALETTE)
@option(plot_curve, "random_state", "Seed of the choice of neighbors.", type=int)
@QUERY
@SAMPLE
@drawing
def draw_curve(
    file: Path,
    query: str | None,
    sample: str | None,
    run: int | None,
    head: list[int] | None,
    distance: list[float] | None,
    dpi: int,
    out: Path,
    **arguments: Any,
) -> None:
    """Attention against distance, a panel for each head.

    The mean of each cell type, a band of one standard deviation and single neighbors.
    """
    ds = one_query_of(opened(file, query, run=run, sample=sample))
    at = distances_of(ds, distance, _STEPS)
    _save(plot_curve(_off_screen(ds), one_or_several(head), at, **arguments), out, dpi)


@plot_group.command("length-scale")
@FILE
@option(plot_length_scale, "threshold", "The weight at which attention ends.", type=float)
@option(plot_length_scale, "heads", "Attention heads, e.g. 0,2.", **HEADS)
@option(plot_length_scale, "labels", "Sending cell type; give it again for several.", **LABELS)
@option(plot_length_scale, "sample_threshold", SAMPLE_THRESHOLD, type=NUMBER_OR_NONE)
@option(plot_length_scale, "kind", "What is drawn of each group.",
        type=click.Choice(get_args(Kind)))  # fmt: skip
@option(plot_length_scale, "ci", "The 95% interval of the statistic beside each group.")
@option(plot_length_scale, "palette", "Name of a matplotlib colormap.", **PALETTE)
@option(plot_length_scale, "max_length_scale", "Upper end of the axis; inf: all is shown.",
        when_none="where whiskers end", type=float)  # fmt: skip
@option(plot_length_scale, "statistic", "Of what the interval is.",
        type=click.Choice(tuple(STATISTICS)))  # fmt: skip
@option(plot_length_scale, "panels", "A panel for each head.")
@QUERY
@SAMPLE
@drawing
def draw_length_scale(
    file: Path,
    query: str | None,
    sample: str | None,
    run: int | None,
    dpi: int,
    out: Path,
    **arguments: Any,
) -> None:
    """Length scales of each head and cell type.

    Cell types are ordered by their largest median. A cross marks what the artifact correction has
    set to 0.
    """
    ds = one_query_of(opened(file, query, run=run, sample=sample))
    _save(plot_length_scale(_off_screen(ds), **arguments), out, dpi)


@plot_group.command("threshold-sweep")
@FILE
@option(plot_threshold_sweep, "threshold", "Thresholds: 0.1:0.9:0.1.", type=Numbers(),
        when_none="0.05 to 0.95")  # fmt: skip
@option(plot_threshold_sweep, "heads", "Attention heads, a panel for each, e.g. 0,2.", **HEADS)
@option(plot_threshold_sweep, "labels", "Sending cell type; give it again for several.", **LABELS)
@option(plot_threshold_sweep, "sample_threshold", SAMPLE_THRESHOLD, type=NUMBER_OR_NONE)
@option(plot_threshold_sweep, "statistic", "Of the length scales of a cell type.",
        type=click.Choice(tuple(STATISTICS)))  # fmt: skip
@option(plot_threshold_sweep, "ci", "A band of its 95% interval.")
@option(plot_threshold_sweep, "palette", "Name of a matplotlib colormap.", **PALETTE)
@QUERY
@SAMPLE
@drawing
def draw_threshold_sweep(
    file: Path,
    query: str | None,
    sample: str | None,
    run: int | None,
    dpi: int,
    out: Path,
    **arguments: Any,
) -> None:
    """Length scale of each cell type against the threshold."""
    ds = one_query_of(opened(file, query, run=run, sample=sample))
    _save(plot_threshold_sweep(_off_screen(ds), **arguments), out, dpi)


@plot_group.command("atlas")
@FILE
@option(plot_atlas, "threshold", "The weight at which attention ends.", type=float)
@option(plot_atlas, "heads", "One panel for each, e.g. 0,2.",
        when_none="the strongest of each pair", type=WholeNumbers())  # fmt: skip
@option(plot_atlas, "sample_threshold", SAMPLE_THRESHOLD, type=NUMBER_OR_NONE)
@option(plot_atlas, "cmap", "Name of a matplotlib colormap.")
@option(plot_atlas, "max_length_scale", "Upper end of the colors.", when_none="the largest drawn",
        type=float)  # fmt: skip
@drawing
def draw_atlas(file: Path, run: int | None, dpi: int, out: Path, **arguments: Any) -> None:
    """Median length scale of every pair of types.

    Receivers are rows, senders columns.
    """
    _save(plot_atlas(_off_screen(opened(file, run=run)), **arguments), out, dpi)


@plot_group.command("spatial")
@FILE
@option(plot_spatial, "quantity", "length_scale or a variable such as label.")
@option(plot_spatial, "head", "Attention head, of a file of several.", type=int)
@option(plot_spatial, "threshold", "The weight at which attention ends.", type=float)
@option(plot_spatial, "sample_threshold", SAMPLE_THRESHOLD, type=NUMBER_OR_NONE)
@option(plot_spatial, "sample", "Which sample, of a file of several.")
@option(plot_spatial, "labels", "Sending cell type; give it again for several.", **LABELS)
@option(plot_spatial, "cmap", "Name of a matplotlib colormap, for numbers.")
@option(plot_spatial, "palette", "Name of a matplotlib colormap, for text.", **PALETTE)
@option(plot_spatial, "limits", "The two ends of the colors; none: what is drawn.",
        type=(NUMBER_OR_NONE, NUMBER_OR_NONE), metavar="LOWER UPPER",
        default=None, show_default="none none")  # fmt: skip
@option(plot_spatial, "point_size", "Area of a point, in points².",
        when_none="less the more cells there are", type=float)  # fmt: skip
@QUERY
@drawing
def draw_spatial(
    file: Path,
    query: str | None,
    run: int | None,
    limits: tuple[float | None, float | None] | None,
    dpi: int,
    out: Path,
    **arguments: Any,
) -> None:
    """A quantity of each cell, where the cell lies."""
    ds = one_query_of(opened(file, query, run=run))
    given: dict[str, Any] = {} if limits is None else {"limits": limits}
    _save(plot_spatial(_off_screen(ds), **arguments, **given), out, dpi)


def _off_screen(ds: Any) -> Any:
    """Let matplotlib open no window, before it makes a figure."""
    import matplotlib as mpl

    mpl.use("agg")
    return ds


def _save(drawn: Any, out: Path, dpi: int) -> None:
    """Write the figure of one axes or several; the old one stays if that fails."""
    import numpy as np
    from matplotlib import pyplot as plt

    from amici_xr.io.atomic import replace_atomically

    figure = np.ravel(drawn)[0].figure
    with replace_atomically(out) as beside, plt.style.context(STYLE):
        figure.savefig(beside, format=out.suffix[1:], dpi=dpi)
    plt.close(figure)
    click.echo(f"{out}", err=True)
