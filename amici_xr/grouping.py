"""How reductions go through queries and groups of neighbors, and how their results are laid out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from .errors import NotFoundError, listed
from .selection import select

_Labelled = TypeVar("_Labelled", xr.Dataset, xr.DataArray)


def by_query(reduce: Callable[[xr.Dataset], xr.Dataset], ds: xr.Dataset) -> xr.Dataset:
    """Reduce the Dataset of each query by itself and put the results along ``query``.

    So no reduction ever sees a masked entry, and with several queries each answer is that of the
    query alone. What is lazy is computed, one query at a time.
    """
    queries = np.atleast_1d(ds["query"].values)
    results = [reduce(select(ds, query).compute()) for query in queries]
    if "query" not in ds.dims:
        return ordered(results[0])
    return ordered(
        xr.concat(results, dim="query", data_vars="all", coords="minimal", compat="override")
    )


def groups(
    labelled: xr.Dataset | xr.DataArray, by: str | None, dim: str = "neighbor"
) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Names of the groups and, for each element along `dim`, the position of its group.

    Labels are grouped by the model's whole vocabulary where it is known, so that every result has
    the same labels whatever was selected; other coordinates by the values that occur.
    """
    if by is None:
        return np.array(["all"]), np.zeros(labelled.sizes[dim], dtype=np.intp)
    if by not in labelled.coords or labelled[by].dims != (dim,):
        known = [name for name, value in labelled.coords.items() if value.dims == (dim,)]
        raise NotFoundError(f"by={by!r} is no coordinate on {dim}; there are {listed(known)}")
    values = labelled[by].values
    if by == "label" and "cell_type" in labelled.coords:
        names = labelled["cell_type"].values
        return names, pd.Index(names).get_indexer(pd.Index(values))
    names, codes = np.unique(values, return_inverse=True)
    return names, codes


def ordered(result: _Labelled) -> _Labelled:
    """Bring the dimensions into the order (run, query, neighbor or label, head), new ones last."""
    first = [name for name in ("run", "query") if name in result.dims]
    last = [name for name in ("head", "rank", "distance", "quantile") if name in result.dims]
    return result.transpose(*first, ..., *last)
