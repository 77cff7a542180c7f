"""Intervals of a mean or median of spatially autocorrelated values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amici_xr.kernels.groups import Floats, Integers
from amici_xr.kernels.spatial.basis import FEWEST_PLACES, SpatialBasis
from amici_xr.kernels.spatial.mean import finite_values, infer_from_leaf_sums, infer_mean

FEWEST_PATCHES = 10  # with fewer the interval is wide, and covers less than its level
N_SECTIONS = 64  # into which the search for a bound of the median divides the values at a time


def spatial_interval(
    values: ArrayLike,
    basis: SpatialBasis,
    statistic: Literal["mean", "median"] = "mean",
    confidence_level: float = 0.95,
) -> Floats:
    """Estimate, lower and upper bound, and effective patches: (..., cell) → (..., 4).

    Mean: `infer_mean`. Median: one-sided tests of shares of cells are inverted. The lower bound is
    the least value x for which "the share of cells up to x is at least ½" is not rejected at
    ``α/2``, the upper bound the largest for which "the share of cells below x is at most ½" is not.
    Its effective patches are those of the signs of ``y − median``.

    Fewer than 8 distinct places give NaN for all but the estimate. Fewer than 10 effective patches
    make intervals wide, and they cover less than their level. A constant row has zero width.

    Raises
    ------
    ValueError
        If a value is not finite.

    Examples
    --------
    >>> from amici_xr.kernels.spatial.basis import prepare
    >>> rng = np.random.default_rng(0)
    >>> basis = prepare(rng.random((500, 2)))
    >>> spatial_interval(rng.normal(size=500), basis)[:3].round(2)
    array([ 0.05, -0.07,  0.16])
    """
    values = np.asarray(values, dtype=np.float64)
    rows = finite_values(values.reshape(-1, values.shape[-1]))
    if statistic == "mean":
        inferred = infer_mean(rows, basis)
        half = inferred.half_width(confidence_level)
        point, lower, upper = inferred.mean, inferred.mean - half, inferred.mean + half
    else:
        point = np.median(rows, axis=1)
        inferred = infer_mean(np.sign(rows - point[:, np.newaxis]), basis)
        tail = (1 - confidence_level) / 2
        lower = np.array([_lower_bound_of_median(row, basis, tail) for row in rows])
        upper = -np.array([_lower_bound_of_median(-row, basis, tail) for row in rows])
    result = np.stack([point, lower, upper, inferred.effective_patches], axis=-1)
    if basis.n_places < FEWEST_PLACES:
        result[:, 1:] = np.nan
    return result.reshape(*values.shape[:-1], 4)


def _lower_bound_of_median(values: Floats, basis: SpatialBasis, tail: float) -> float:
    """Find the least value for which "the share of cells up to it is at least ½" is accepted."""
    distinct, code = np.unique(values[basis.order], return_inverse=True)
    n_leaves = basis.start.size
    leaf = np.repeat(np.arange(n_leaves), np.diff(np.append(basis.start, values.size)))

    def are_accepted(positions: Integers) -> NDArray[np.bool_]:
        n_columns = positions.size + 1  # the last for cells above all positions
        column = leaf * n_columns + np.searchsorted(positions, code)
        count = np.bincount(column, minlength=n_leaves * n_columns).reshape(n_leaves, n_columns)
        up_to = count[:, :-1].cumsum(axis=1).T.astype(np.float64)
        share = infer_from_leaf_sums(up_to, up_to.sum(axis=1) / values.size, basis)
        return share.p_value(0.5, "less") > tail

    return float(distinct[_first_accepted(are_accepted, distinct.size - 1)])


def _first_accepted(are_accepted: Callable[[Integers], NDArray[np.bool_]], last: int) -> int:
    """Find the least accepted position from 0 on; `last` always is accepted.

    Looks at 64 positions at a time, then between the first accepted and the one before it.
    """
    low, high = 0, last
    while low < high:
        positions = np.unique(np.linspace(low, high, N_SECTIONS).astype(np.intp))
        first = int(np.argmax(are_accepted(positions)))
        high = int(positions[first])
        low = int(positions[first - 1]) + 1 if first else high
    return high
