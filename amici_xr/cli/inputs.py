"""What the command line reads: a file with a Dataset, cut down to what was asked about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import xarray as xr

from amici_xr.dataset.schema import UNKNOWN_UNIT, distance_unit, has_neighborhoods
from amici_xr.dataset.selection import select, with_head_dim
from amici_xr.errors import NotFoundError, check_names, listed
from amici_xr.io.long_table import read_csv
from amici_xr.io.storage import open_dataset

CSV = (".csv", ".csv.gz")
_STEPS = (1, 2, 2.5, 5, 10)


def opened(
    file: Path,
    query: str | None = None,
    heads: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    *,
    run: int | None = None,
    sample: str | None = None,
    is_lazy: bool = False,
) -> xr.Dataset:
    """Read a file that `extract` or the original wrote, checked, and select from it."""
    if file.suffix == ".h5ad":
        raise click.UsageError(f"{str(file)!r} is a tissue; extract scores it first")
    is_table = file.name.endswith(CSV)
    ds = read_csv(file) if is_table else open_dataset(file, chunks={} if is_lazy else None)
    if run is not None:
        if "run" not in ds.dims:
            raise NotFoundError(f"run={run}: this file holds a single training")
        check_names("run", [run], ds["run"].values.tolist(), "run")
        ds = ds.sel(run=run)
    if query is not None or sample is not None:
        ds = select(ds, query, sample=sample)
    if heads is not None:
        ds = with_head_dim(ds)
        check_names("heads", heads, ds["head"].values.tolist(), "head")
        ds = ds.sel(head=list(heads))
    if labels is not None:
        check_names("labels", labels, np.unique(ds["label"].values).tolist(), "label")
        ds = ds.isel(neighbor=np.flatnonzero(ds["label"].isin(list(labels)).values))
    return ds


def one_query_of(ds: xr.Dataset) -> xr.Dataset:
    """Refuse a Dataset of several queries or runs, of which a figure shows one."""
    for dim in ("run", "query"):
        if dim in ds.dims:
            known = listed(ds[dim].values)
            raise click.UsageError(f"the file holds several; name one with --{dim}: {known}")
    return ds


def distances_of(ds: xr.Dataset, asked: Sequence[float] | None, n_steps: int) -> list[float]:
    """The distances asked for; else so many steps from 0 to where the neighborhoods end.

    That is the 95th percentile of the receivers' farthest neighbors, up to the next round step.
    """
    if asked is not None:
        return list(asked)
    farthest = np.array([])
    if has_neighborhoods(ds):
        distance = ds["neighborhood_distance"].values
        farthest = distance[np.isfinite(distance).any(axis=1)]
    if not farthest.size:
        raise click.UsageError(
            "the file has no neighborhoods that tell up to where; add --distance, e.g. 0:50:5"
        )
    end = float(np.quantile(np.nanmax(farthest, axis=1), 0.95)) or 1.0
    exponent = 10.0 ** np.floor(np.log10(end / 10))
    step = next(step * exponent for step in _STEPS if step * exponent * 10 >= end * (1 - 1e-9))
    return [float(f"{at:.12g}") for at in np.linspace(0, 10 * step, n_steps + 1)]


def unit_of(ds: xr.Dataset) -> str:
    """The unit of distance, or what it is called where nobody told it."""
    return distance_unit(ds) or UNKNOWN_UNIT
