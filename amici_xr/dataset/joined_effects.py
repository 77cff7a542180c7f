"""Effects of several samples together: means of means, and variances about the joint mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from amici_xr.dataset.schema import REDUCED_EFFECTS

_MOMENTS = (
    ("gene_mean", "gene_variance"),
    ("residual_mean", "residual_variance"),
    ("residual_mean_by_head", "residual_variance_by_head"),
)


def join_effects(parts: Sequence[xr.Dataset]) -> dict[Any, xr.Variable]:
    """Join those effects of samples that are reduced over their receivers or neighbors.

    Means are weighted by the number of receivers of the query in each sample, those of lone
    neighbors by the number of these neighbors. Variances are those about the joint mean.
    """
    names = [name for name in REDUCED_EFFECTS if name in parts[0].variables]
    if not names:
        return {}
    receivers = [_n_receivers(part) for part in parts]
    joined: dict[Any, xr.Variable] = {}
    for name in names:
        arrays = [part[name].drop_vars(list(part[name].coords)) for part in parts]
        if name.startswith("counterfactual"):
            total = _weighted_mean(arrays, [_n_neighbors(part) for part in parts], name)
        else:
            total = _weighted_mean(arrays, receivers, name)
        joined[name] = total.transpose(*arrays[0].dims).variable.astype(arrays[0].dtype)
        joined[name].attrs = parts[0].variables[name].attrs
    for mean, variance in _MOMENTS:
        if {mean, variance} <= set(names):
            means = [part[mean].drop_vars(list(part[mean].coords)) for part in parts]
            center = xr.DataArray(joined[mean])
            between = _weighted_mean([(own - center) ** 2 for own in means], receivers, mean)
            joined[variance] = joined[variance] + between.transpose(*center.dims).variable
            joined[variance].attrs = parts[0].variables[variance].attrs
    return joined


def _weighted_mean(
    arrays: Sequence[xr.DataArray], weights: Sequence[xr.DataArray], name: str
) -> xr.DataArray:
    """Mean over samples, or the error of that mean; NaN where no sample has a value."""
    power = 2 if name.endswith("noise") else 1  # errors add up as their squares
    total = sum(weights[1:], weights[0])
    terms = [
        ((array * weight) ** power).where(weight > 0, 0)
        for array, weight in zip(arrays, weights, strict=True)
    ]
    mean: xr.DataArray = sum(terms[1:], terms[0]) ** (1 / power) / total.where(total > 0)
    return mean


def _n_receivers(ds: xr.Dataset) -> xr.DataArray:
    """Number of receivers of each query, (query,)."""
    is_of_query = ds["receiver_label"].variable == ds["query"].variable
    return xr.DataArray(is_of_query.sum("receiver"))


def _n_neighbors(ds: xr.Dataset) -> xr.DataArray:
    """Number of neighbors of each query and cell type."""
    is_of_type = ds["label"].variable == ds["cell_type"].variable
    if "is_neighbor" in ds.variables:
        is_of_type = is_of_type & ds["is_neighbor"].variable
    return xr.DataArray(is_of_type.sum("neighbor"))
