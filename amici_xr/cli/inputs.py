"""What the command line reads: a file with a Dataset, cut down to what was asked about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.ticker import MaxNLocator

from amici_xr.cli.messages import WrongCall
from amici_xr.dataset.schema import has_neighborhoods
from amici_xr.dataset.selection import select, with_head_dim
from amici_xr.errors import NotFoundError, check_names
from amici_xr.io.long_table import read_csv
from amici_xr.io.storage import open_dataset

CSV = (".csv", ".csv.gz")


def open_file(file: Path, *, unit: str | None = None, is_lazy: bool = False) -> xr.Dataset:
    """Read a file that `extract` or the original wrote."""
    if file.name.endswith(CSV):
        return read_csv(file, unit=unit)
    if unit is not None:
        raise WrongCall("--unit is for a .csv; other files tell their unit themselves")
    return open_dataset(file, chunks={} if is_lazy else None)


def cut_down(
    ds: xr.Dataset,
    *,
    run: int | None = None,
    query: str | None = None,
    sample: str | None = None,
    heads: int | Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
) -> xr.Dataset:
    """Select from a Dataset what a command was asked about.

    Parameters
    ----------
    ds
        What the file holds.
    run
        Training run to take, of a file of several.
    query
        Receiving cell type to take, of a file of several.
    sample
        Sample to take, of a file of several.
    heads
        Attention heads to take, e.g. 0,2.
    labels
        Sending cell type to take; give it again for several.
    """
    if run is not None:
        if "run" not in ds.dims:
            raise NotFoundError(f"run={run}: this file holds a single training run")
        check_names("run", [run], ds["run"].values.tolist(), "run")
        ds = ds.sel(run=run)
    if query is not None or sample is not None:
        ds = select(ds, query, sample=sample)
    if heads is not None:
        ds = with_head_dim(ds)
        check_names("heads", np.atleast_1d(heads).tolist(), ds["head"].values.tolist(), "head")
        ds = ds.sel(head=np.atleast_1d(heads))
    if labels is not None:
        check_names("labels", labels, np.unique(ds["label"].values).tolist(), "label")
        ds = ds.isel(neighbor=np.flatnonzero(ds["label"].isin(list(labels)).values))
    return ds


def distances_to_the_edge(ds: xr.Dataset, n_steps: int) -> list[float]:
    """Return distances in equal steps from 0 to where the neighborhoods end.

    That is the 95th percentile of the receivers' farthest neighbors, up to the next round step.
    """
    farthest = np.array([])
    if has_neighborhoods(ds):
        distance = ds["neighborhood_distance"].values
        farthest = distance[np.isfinite(distance).any(axis=1)]
    if not farthest.size:
        raise WrongCall(
            "the file has no neighborhoods that tell up to where; add --distance, e.g. 0:50:5"
        )
    end = float(np.quantile(np.nanmax(farthest, axis=1), 0.95)) or 1.0
    ticks = MaxNLocator(nbins=10, steps=[1, 2, 2.5, 5, 10]).tick_values(0, end)
    return [float(f"{distance:.12g}") for distance in np.linspace(0, ticks[-1], n_steps + 1)]
