"""The step of a model: its effect on receivers near the senders, less that on the others."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.schema import neighborhoods

_PAIR = ("query", "label")


def effect_step(ds: xr.Dataset, radius: xr.DataArray) -> xr.DataArray:
    """Compute how much the model's effect differs between receivers within a radius and beyond.

    For each receiver i, c(d_i) is ``counterfactual_effect``, interpolated linearly at the distance
    d_i of its nearest neighbor of the label; of a receiver without one, at the distance of its
    farthest neighbor. The step is the mean of c over the receivers with d_i below the radius, less
    that over the others: what the model says of the very contrast that a tissue shows.

    Parameters
    ----------
    ds
        Dataset with effects and neighborhoods.
    radius
        Dims ([query,] label), in the unit of `ds`.

    Returns
    -------
    xarray.DataArray
        Dims ([run,] [query,] label, gene), in units of expression; NaN where no receiver is
        within, or none beyond.
    """
    effect = ds["counterfactual_effect"].astype(np.float64).compute()
    effect = effect.rename(cell_type="label").drop_vars("cell_type_color", errors="ignore")
    return (effect * _weights(ds, radius)).sum("distance", skipna=False)


def _weights(ds: xr.Dataset, radius: xr.DataArray) -> xr.DataArray:
    """Return the weights of the grid of distances that make a step of a curve."""
    _, distance, codes = neighborhoods(ds)
    grid = ds["distance"].values.astype(np.float64)
    names = ds["receiver_label"].values
    radius = radius.expand_dims([dim for dim in _PAIR if dim not in radius.dims])
    radius = radius.transpose(*_PAIR)
    weights = np.full((*radius.shape, grid.size), np.nan)
    for row, query in enumerate(radius["query"].values):
        is_receiver = names == query
        of_receivers = distance[is_receiver]
        farthest = np.nanmax(of_receivers, axis=1, initial=0)
        for code, limit in enumerate(radius.values[row]):
            is_label = codes[is_receiver] == code
            nearest = np.where(is_label, of_receivers, np.inf).min(axis=1, initial=np.inf)
            is_within = nearest < limit
            if is_within.any() and not is_within.all():
                nearest = np.minimum(nearest, farthest)
                within, beyond = (
                    _interpolation_weights(nearest[chosen], grid)
                    for chosen in (is_within, ~is_within)
                )
                weights[row, code] = within - beyond
    coords = {dim: radius[dim].values for dim in _PAIR} | {"distance": ds["distance"].values}
    array = xr.DataArray(weights, coords, (*_PAIR, "distance"))
    return array if "query" in ds.dims else array.isel(query=0, drop=True)


def _interpolation_weights(
    distances: NDArray[np.float64], grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean weights of linear interpolation at these distances, clipped to the grid."""
    upper = np.clip(np.searchsorted(grid, distances), 1, grid.size - 1)
    width = grid[upper] - grid[upper - 1]
    share = np.clip((distances - grid[upper - 1]) / width, 0, 1)
    total = np.bincount(upper, share, grid.size) + np.bincount(upper - 1, 1 - share, grid.size)
    return np.asarray(total / distances.size)
