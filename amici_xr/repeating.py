"""Reductions repeated for each sample or each threshold, with the results along a new dim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from .errors import SchemaError, check_fraction
from .grouping import joined, ordered, read_once
from .schema import NEIGHBORHOODS, has_neighborhoods
from .selection import samples, select
from .validation import check_neighborhoods

_Labelled = TypeVar("_Labelled", xr.Dataset, xr.DataArray)


def for_each_sample(reduce: Callable[[xr.Dataset], xr.Dataset], ds: xr.Dataset) -> xr.Dataset:
    """Reduce the neighbors and receivers of each sample by themselves, along ``sample``."""
    names = samples(ds)
    if not names.size:
        raise SchemaError("this Dataset holds no cell, and so no sample; leave out by_sample=True")
    ds = read_once(ds, *NEIGHBORHOODS, "neighbor_sample", "receiver_sample")
    if has_neighborhoods(ds):
        check_neighborhoods(ds)  # of the whole: what crosses samples is not seen in one alone
    results = [reduce(select(ds, sample=str(name))) for name in names]
    return ordered(joined(results, "sample").assign_coords(sample=names))


def for_each_threshold(
    reduce: Callable[[float], _Labelled], threshold: float | Sequence[float]
) -> _Labelled:
    """Reduce at one threshold, or at each of several, which adds ``threshold`` as the last dim."""
    if np.ndim(threshold) == 0:
        return reduce(check_fraction("threshold", threshold))  # type: ignore[arg-type]  # no sequence
    values = check_thresholds(threshold)  # type: ignore[arg-type]  # a sequence
    results = [reduce(value) for value in values]
    # each has its own threshold among its attributes
    how: Any = {"coords": "minimal", "compat": "override", "combine_attrs": "drop_conflicts"}
    how |= {} if isinstance(results[0], xr.DataArray) else {"data_vars": "all"}
    together: _Labelled = xr.concat(results, dim="threshold", **how)
    result = together.assign_coords(threshold=("threshold", values, {"units": "1"}))
    if isinstance(result, xr.Dataset) and "n_neighbors" in result:
        result["n_neighbors"] = results[0]["n_neighbors"]  # at every threshold the same
    return ordered(result)


def check_thresholds(threshold: Sequence[float], name: str = "threshold") -> list[float]:
    """Return several thresholds as floats, each strictly between 0 and 1, none twice."""
    if np.ndim(threshold) != 1 or not len(threshold):
        raise ValueError(f"{name}={threshold!r} must be a number or a sequence of numbers")
    values = [check_fraction(name, value) for value in np.asarray(threshold).tolist()]
    if len(set(values)) < len(values):
        raise ValueError(f"{name}={threshold!r} names a threshold twice; name each once")
    return values
