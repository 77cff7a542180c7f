"""The mean or median over the neighbors of each label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import xarray as xr

from . import kernels
from .grouping import by_query, groups, reduce_neighbors

Statistic = Literal["mean", "median"]
STATISTICS: dict[str, Callable[..., Any]] = {"mean": np.mean, "median": np.median}


def summary_of_labels(ds: xr.Dataset, values: xr.DataArray, statistic: str) -> xr.DataArray:
    """Reduce values of the neighbors, (query, neighbor, head), to (query, label, head)."""

    def of_one(one: xr.Dataset) -> xr.Dataset:
        names, codes = groups(one, "label")
        reduced = reduce_neighbors(
            kernels.group_reduce,
            one["_values"],
            sizes={"label": names.size},
            codes=codes,
            n_groups=names.size,
            reduce=STATISTICS[statistic],
        )
        return xr.Dataset({"summary": reduced}, coords={"label": names})

    return by_query(of_one, ds.assign(_values=values))["summary"]
