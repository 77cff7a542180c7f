"""The commands that answer with a table: ``curve`` and ``length-scale``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click
import xarray as xr

from amici_xr.analysis.curves import curve, curve_summary
from amici_xr.analysis.length_scales import length_scale, support
from amici_xr.cli.inputs import distances_of, opened, unit_of
from amici_xr.cli.options import (
    FILE,
    NUMBER_OR_NONE,
    Numbers,
    OrWord,
    WholeNumbers,
    one_or_several,
    option,
    output,
    together,
)
from amici_xr.cli.tables import SUFFIXES, Table, check_writable, deliver, long_table
from amici_xr.dataset.reduction import STATISTICS
from amici_xr.dataset.schema import has_neighborhoods
from amici_xr.dataset.selection import select, with_head_dim
from amici_xr.plotting.length_scale_figure import plot_length_scale
from amici_xr.uncertainty.intervals import Method
from amici_xr.uncertainty.length_scale_intervals import ResamplingUnit, bootstrap

DIMS = ("run", "sample", "query", "label", "neighbor", "head", "threshold", "distance")
_STEPS = 20  # between the distances of a table, where none were asked for
_OF_INTERVALS = ("statistic", "confidence_level", "method", "resampling_unit", "n_resamples",
                 "random_state", "by_sample")  # fmt: skip

COLUMNS = """\b
point_estimate       mean (or median) length scale; ci_lower to ci_upper is its
                     interval, of which --resampling-unit says what it takes
                     for independent
n_neighbors          number of cells of the label; the original's tables call it
                     n_samples, which here is a number of samples (sections)
support              share of the receivers with such a cell nearer than the
                     median length scale
edge_share           share of the receivers whose whole neighborhood is nearer
status               the first of these that applies:
  absent               no neighbor of that label
  no_reach             every length scale is 0
  median_zero          some reach, but the median is 0, so all are set to 0
  too_few_receivers    support below --sample-threshold, so all are set to 0
  beyond_neighborhood  edge_share above a half: extrapolated
  ok                   none of these
"""  # a line with \\b keeps Click from filling what follows

selecting = together(
    option(select, "query", "Receiving cell type.", when_none="every one of the file"),
    option(select, "sample", "Sample, of a file of several.", when_none="all together"),
    option(plot_length_scale, "heads", "Attention heads, e.g. 0,2.", when_none="all",
           type=WholeNumbers()),
    option(plot_length_scale, "labels", "Sending cell type; give it again for several.",
           when_none="all", multiple=True),
)  # fmt: skip
PER_NEIGHBOR = click.option(
    "--per-neighbor", is_flag=True, help="One row for each neighbor instead of a summary."
)
OUT_TABLE = output(SUFFIXES, "Write to a file instead of the screen", required=False)


@click.command("curve")
@FILE
@option(curve_summary, "distance", "Where to ask, in the unit of the file: 0,10,20 or 0:50:5.",
        type=Numbers(), required=False,
        show_default="0 to where neighborhoods end")  # fmt: skip
@option(curve_summary, "by", "Coordinate of the neighbors by which to group, or none: all as one.",
        type=OrWord(str, "none", None))  # fmt: skip
@option(curve_summary, "quantiles", "Quantiles beside mean and std, e.g. 0.05,0.95.",
        when_none="none", type=Numbers())  # fmt: skip
@option(curve_summary, "by_sample", "Each sample by itself.")
@selecting
@PER_NEIGHBOR
@OUT_TABLE
@click.pass_context
def curve_command(
    ctx: click.Context,
    /,
    file: Path,
    distance: list[float] | None,
    by: str | None,
    quantiles: list[float] | None,
    by_sample: bool,
    query: str | None,
    sample: str | None,
    heads: list[int] | None,
    labels: list[str] | None,
    per_neighbor: bool,
    out: Path | None,
) -> None:
    """Attention against distance, of each cell type.

    Its mean and standard deviation over the neighbors of a type: one row for each query, label,
    head and distance. Cell types without neighbors have none.
    """
    check_writable(out)
    if per_neighbor:
        _refuse(ctx, ("by", "quantiles", "by_sample"))
    ds = with_head_dim(opened(file, query, heads, labels, sample=sample))
    at = distances_of(ds, distance, _STEPS)
    same = {"unit": unit_of(ds)} | _scalars(ds)
    if per_neighbor:
        values = _with_cells(ds, curve(ds, at))
        title = "counterfactual attention"
    else:
        values = curve_summary(ds, at, by, quantiles, by_sample=by_sample)
        title = "mean and standard deviation of counterfactual attention"
    rows = long_table(values, (*DIMS, *([by] if by is not None and by not in DIMS else [])))
    known = rows["counterfactual_attention" if per_neighbor else "mean"].notna()
    title = f"{title}{_receivers(same)}; distance in {same['unit']}"
    deliver(Table(rows[known].reset_index(drop=True), title, same), out)


@click.command("length-scale", epilog=COLUMNS)
@FILE
@option(length_scale, "threshold", "The weight at which attention ends; 0.1,0.5 for several.",
        type=Numbers())  # fmt: skip
@option(length_scale, "sample_threshold", "Share of the receivers below which length scales "
        "become 0; none: never.", type=NUMBER_OR_NONE)  # fmt: skip
@option(bootstrap, "statistic", "What is estimated.", type=click.Choice(tuple(STATISTICS)))
@option(bootstrap, "confidence_level", "Coverage of the interval.", type=float)
@option(bootstrap, "method", "How cells are resampled.", when_none="exact",
        type=click.Choice(get_args(Method)))  # fmt: skip
@option(bootstrap, "resampling_unit", "What is taken for independent.",
        type=click.Choice(get_args(ResamplingUnit)))  # fmt: skip
@option(bootstrap, "n_resamples", "Number of resamples, where they are drawn.", type=int)
@option(bootstrap, "random_state", "Seed of the resamples; none: another each time.",
        type=OrWord(int, "none", None))  # fmt: skip
@option(bootstrap, "by_sample", "Each sample by itself.")
@selecting
@PER_NEIGHBOR
@OUT_TABLE
@click.pass_context
def length_scale_command(
    ctx: click.Context,
    /,
    file: Path,
    threshold: list[float],
    sample_threshold: float | None,
    query: str | None,
    sample: str | None,
    heads: list[int] | None,
    labels: list[str] | None,
    per_neighbor: bool,
    out: Path | None,
    **intervals: Any,
) -> None:
    """How far each cell type reaches, and how sure that is.

    One row for each query, label and head.
    """
    check_writable(out)
    if per_neighbor:
        _refuse(ctx, _OF_INTERVALS)
    ds = with_head_dim(opened(file, query, heads, labels, sample=sample))
    values: Any = one_or_several(threshold)
    same = {} if len(threshold) > 1 else {"threshold": values}
    at = f"at threshold {', '.join(f'{one:g}' for one in threshold)}"
    if per_neighbor:
        found = _with_cells(ds, length_scale(ds, values, sample_threshold))
        same |= {"unit": unit_of(ds)} | _scalars(ds)
        rows = long_table(found, DIMS)
        rows = rows[rows["length_scale"].notna()].reset_index(drop=True)
        title = f"length scale ({same['unit']}) {at}"
    else:
        found = _with_support(ds, values, sample_threshold, intervals)
        asked = ("statistic", "confidence_level", "resampling_unit")
        same |= {name: intervals[name] for name in asked} | {"unit": unit_of(ds)} | _scalars(ds)
        rows = long_table(found, DIMS)
        if labels is not None:
            rows = rows[rows["label"].isin(labels)].reset_index(drop=True)
        title = (
            f"{same['statistic']} length scale ({same['unit']}) {at}, "
            f"{100 * same['confidence_level']:.4g}% interval over {same['resampling_unit']}s"
        )
    deliver(Table(rows, f"{title}{_receivers(same)}", same), out)


def _with_support(
    ds: xr.Dataset, threshold: Any, sample_threshold: float | None, intervals: dict[str, Any]
) -> xr.Dataset:
    """The intervals, and what the tissue says of them where it is known."""
    found = bootstrap(ds, threshold, sample_threshold, **intervals)
    # Intervals over runs are one for all, support is of each.
    if has_neighborhoods(ds) and set(found.dims) >= {"run"} & set(ds.dims):
        seen = support(ds, threshold, sample_threshold, by_sample=intervals["by_sample"])
        found = found.assign({name: seen[name] for name in ("support", "edge_share", "status")})
    return found


def _with_cells(ds: xr.Dataset, values: xr.DataArray) -> xr.Dataset:
    """Values of neighbors, beside what is known of these."""
    about = ("label", "neighbor_name", "neighbor_sample", "neighbor_x", "neighbor_y", "neighbor_z")
    cells = {name: ds[name].reset_coords(drop=True) for name in about if name in ds.variables}
    return xr.Dataset(cells | {str(values.name): values.reset_coords(drop=True)})


def _scalars(ds: xr.Dataset) -> dict[str, Any]:
    """The one query (and run) of a Dataset that has no dim of them."""
    return {name: ds[name].item() for name in ("run", "query") if name in ds and not ds[name].ndim}


def _receivers(same: dict[str, Any]) -> str:
    return f"; neighbors → {same['query']}" if "query" in same else ""


def _refuse(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Refuse options of the summary where there is none."""
    default = click.core.ParameterSource.DEFAULT
    given = [name for name in names if ctx.get_parameter_source(name) != default]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise click.UsageError(f"{flags}: not with --per-neighbor, which summarizes nothing")
