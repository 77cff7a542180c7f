"""What a figure of a Dataset shows: which query, heads and labels, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from amici_xr.dataset.schema import UNKNOWN_UNIT, distance_unit
from amici_xr.dataset.selection import one_run, select, with_head_dim
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import NotFoundError, SchemaError, check_names, listed

OneRunUnit = Literal["cell", "spatial", "sample"]  # resampling units of a single run
_UNITS = {"cell": "cells", "spatial": "spatial", "sample": "samples"}


@dataclass(frozen=True)
class Content:
    """What a figure shows: one query and run in memory, dims (neighbor, head)."""

    ds: xr.Dataset  # of these heads alone
    heads: list[int]
    labels: list[str]

    def labels_by_size(self, sizes: xr.DataArray) -> list[str]:
        """Sort labels by the largest of their `sizes` (label, head) over heads."""
        largest = {label: float(sizes.sel(label=label).max()) for label in self.labels}
        return sorted(self.labels, key=lambda label: -largest[label])

    @property
    def title(self) -> str:
        """Sender → receiver."""
        sender = self.labels[0] if len(self.labels) == 1 else "neighbors"
        return f"{sender} → {self.ds['query'].item()}"


def check_one_query(ds: xr.Dataset) -> xr.Dataset:
    """Refuse several runs or queries, of which a figure can't tell which is meant."""
    one_run(check_structure(ds), "draw one at a time")
    if "query" in ds.dims:
        queries = listed(ds["query"].values)
        raise ValueError(
            f"ds holds the queries {queries}; draw one at a time, e.g. amici_xr.select(ds, query)"
        )
    return ds


def choose_content(
    ds: xr.Dataset,
    heads: int | Sequence[int] | None,
    labels: Sequence[str] | None,
    heads_argument: str = "heads",
) -> Content:
    """Take the heads and labels that were asked for; None is all heads, and all labels met."""
    check_one_query(ds)
    ds = with_head_dim(select(ds, ds["query"].item())).compute()
    every_head: list[int] = ds["head"].values.tolist()
    chosen: list[int] = every_head if heads is None else np.atleast_1d(heads).tolist()
    check_names(heads_argument, chosen, every_head, "head")
    return Content(ds.sel(head=chosen), chosen, _choose_labels(ds, labels))


def _choose_labels(ds: xr.Dataset, labels: Any) -> list[str]:
    values = ds["label"].values
    n_missing = int(pd.isna(values).sum())
    if n_missing:
        raise SchemaError(f"label is missing for {n_missing:,} neighbors; give each its cell type")
    present: list[str] = np.unique(values).tolist()
    if labels is None:
        if not present:
            raise ValueError("ds holds no neighbors, so there is nothing to draw")
        return present
    labels = labels.values.tolist() if isinstance(labels, xr.DataArray) else labels
    names = [labels] if isinstance(labels, str) else list(labels)
    absent = [name for name in names if name not in present]
    if absent:
        raise NotFoundError(f"labels: no neighbor is {listed(absent)}; there are {listed(present)}")
    check_names("labels", names, present, "label")
    return names


def choose_senders(
    shown: xr.Dataset, size: xr.DataArray, labels: Sequence[str] | None
) -> list[str]:
    """Return the senders asked for, or all that have neighbors by their size, largest first."""
    is_present = (shown["n_neighbors"] > 0).values
    present = shown["label"].values[is_present].tolist()
    if not present:
        raise ValueError("ds holds no neighbors, so there is nothing to draw")
    if labels is not None:
        names = [labels] if isinstance(labels, str) else list(labels)
        check_names("labels", names, present, "label")
        return names
    order = np.argsort(-np.nan_to_num(size.values[is_present]), kind="stable")
    return [str(present[place]) for place in order]


def with_unit(quantity: str, ds: xr.Dataset) -> str:
    """Name a distance with its unit, as axes do."""
    return f"{quantity} ({distance_unit(ds) or UNKNOWN_UNIT})"


def name_interval(statistic: str, resampling_unit: OneRunUnit) -> str:
    """Name the intervals of a figure, with what they take as independent."""
    return f"95% interval of the {statistic} ({_UNITS[resampling_unit]})"
