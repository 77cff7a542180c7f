"""Interval estimates of a mean or median over a named dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.reduction import STATISTICS, Statistic, groups, ordered, rechunked
from amici_xr.errors import (
    NotFoundError,
    check_choice,
    check_fraction,
    check_positive_integer,
    check_seed,
    listed,
)
from amici_xr.iteration import for_each
from amici_xr.kernels import resampling
from amici_xr.kernels.exact_bootstrap import EXACT
from amici_xr.uncertainty.clustered_intervals import (
    ESTIMATES,
    check_finite,
    described,
    interval_in_space,
    interval_over_samples,
)

Method = Literal["exact", "resample"]
ResamplingUnit = Literal["cell", "spatial", "sample", "run"]


def bootstrap_ci(
    da: xr.DataArray,
    dim: str = "neighbor",
    by: str | None = "label",
    *,
    statistic: Statistic = "mean",
    confidence_level: float = 0.95,
    method: Method | None = None,
    resampling_unit: Literal["cell", "spatial", "sample"] = "cell",
    n_resamples: int = 10_000,
    random_state: int | None = 42,
) -> xr.Dataset:
    """Interval of the mean or median of any DataArray over a named dimension.

    Parameters
    ----------
    da
        The values.
    dim
        The dimension to resample.
    by
        The coordinate on `dim` whose groups have an interval each; None takes all as one group.
    statistic, confidence_level, method, n_resamples, random_state
        As in `bootstrap`. Each position along dimensions other than `dim` and ``head`` has a stream
        of random numbers of its own.
    resampling_unit
        "cell" takes the elements along `dim` as independent. "spatial" allows for spatial
        autocorrelation and needs the coordinates ``{dim}_x`` and ``{dim}_y`` (and takes
        ``{dim}_sample`` into account, where there is one). "sample" needs ``{dim}_sample``. See
        `bootstrap`.

    Returns
    -------
    xarray.Dataset
        ``point_estimate``, ``ci_lower``, ``ci_upper`` and the number of values (``n_neighbors``
        for ``neighbor``, and so on), dims (by, head); beside them, for "spatial" and "sample",
        ``interval_status`` and ``effective_patches`` or ``n_samples``, as in `bootstrap`.

    Raises
    ------
    ValueError
        If an argument lies out of its range, or a value is NaN or infinite.
    TypeError
        If `da` is not a DataArray.
    NotFoundError
        If `dim` is not a dimension of `da`, or `by` not a coordinate on it.
    SchemaError
        If `da` lacks the coordinates that the `resampling_unit` needs.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Examples
    --------
    >>> import amici_xr, numpy as np, xarray as xr
    >>> da = xr.DataArray(np.arange(5.0), dims="neighbor")
    >>> interval = amici_xr.bootstrap_ci(da, by=None)
    >>> [float(interval[name]) for name in ("point_estimate", "ci_lower", "ci_upper")]
    [2.0, 0.8, 3.2]
    """
    check_choice("statistic", statistic, tuple(STATISTICS))
    confidence_level = check_fraction("confidence_level", confidence_level)
    chosen = check_choice("method", "exact" if method is None else method, get_args(Method))
    check_resampling_unit(resampling_unit, ("cell", "spatial", "sample"), method)
    n_resamples = check_positive_integer("n_resamples", n_resamples)
    random_state = check_seed(random_state)
    if not isinstance(da, xr.DataArray):
        raise TypeError(f"da must be an xarray.DataArray, not {type(da).__name__}")
    if da.dtype.kind not in "biuf":
        raise TypeError(
            f"da has dtype {da.dtype}; an interval needs real numbers, cast with astype"
        )
    da = da if da.size else da.compute()
    if dim not in da.dims:
        raise NotFoundError(
            f"dim={dim!r} is not a dimension of the array, which has {listed(da.dims)}"
        )
    if not da.get_index(dim).is_monotonic_increasing:
        da = da.sortby(dim)  # so that the order in which values are kept does not matter
    if resampling_unit != "cell":
        interval = interval_in_space if resampling_unit == "spatial" else interval_over_samples
        return ordered(interval(da, dim, by, statistic, confidence_level))
    names, codes = groups(da, by, dim)  # sorted by name, the order in which the stream is used
    alpha = 1 - confidence_level
    shares_stream = chosen == "resample" and "head" in da.dims and dim != "head"
    stream = "head" if shares_stream else "_stream"
    rows = da if shares_stream else da.expand_dims(stream)
    order = (
        np.argsort(rows["head"].values) if stream in rows.coords else np.arange(rows.sizes[stream])
    )
    ascending = rows.isel({stream: order})
    estimates = xr.apply_ufunc(
        _estimates,
        rechunked(ascending, {dim: -1, stream: -1}),
        input_core_dims=[[stream, dim]],
        output_core_dims=[[stream, "_group", "_estimate"]],
        kwargs={
            "members": [np.flatnonzero(codes == group) for group in range(names.size)],
            "statistic": statistic,
            "probabilities": np.array([alpha / 2, 1 - alpha / 2]),
            "method": chosen,
            "n_resamples": n_resamples,
            "random_state": random_state,
        },
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={
            "output_sizes": {"_group": names.size, "_estimate": len(ESTIMATES)},
        },
        keep_attrs="override",
    )
    estimates = estimates.isel({stream: np.argsort(order)})
    count = xr.DataArray(np.bincount(codes, minlength=names.size), dims="_group")
    result = xr.Dataset({name: estimates.isel(_estimate=i) for i, name in enumerate(ESTIMATES)})
    result[f"n_{dim}s"] = count.broadcast_like(result["point_estimate"])
    result = described(result, da, statistic, confidence_level)
    result[f"n_{dim}s"].attrs = {"long_name": f"number of {dim}s"}
    result = result if shares_stream else result.isel({stream: 0})
    if by is None:
        return ordered(result.isel(_group=0))
    return ordered(result.rename(_group=by).assign_coords({by: names}))


def check_resampling_unit(unit: str, allowed: Sequence[str], method: str | None) -> None:
    """Refuse an unknown resampling unit, and a `method` where cells are not resampled."""
    if unit == "block":
        raise ValueError(
            "resampling_unit='block' has been replaced by a better method; pass "
            "resampling_unit='spatial'"
        )
    check_choice("resampling_unit", unit, allowed)
    if method is not None and unit != "cell":
        raise ValueError(
            f"method={method!r} is for cells; leave it out with resampling_unit={unit!r}"
        )


def _estimates(
    values: NDArray[np.float64],
    *,
    members: list[NDArray[np.intp]],
    statistic: Statistic,
    probabilities: NDArray[np.float64],
    method: str,
    n_resamples: int,
    random_state: int | None,
) -> NDArray[np.float64]:
    """(..., head, value) → (..., head, group, estimate).

    Each of the leading positions has a stream of random numbers, if any, of its own, for groups in
    sorted order within a head.
    """
    values = np.asarray(values, dtype=np.float64)
    check_finite(values)
    out = np.full((*values.shape[:-1], len(members), len(ESTIMATES)), np.nan)

    def fill(position: tuple[int, ...]) -> None:
        generator = np.random.default_rng(random_state)
        for head, row in enumerate(values[position]):
            for group, own_members in enumerate(members):
                own = row[own_members]
                if not own.size:
                    continue
                if method == "exact":
                    interval = EXACT[statistic](own, probabilities)
                else:
                    interval = resampling.resampled_interval(
                        own,
                        generator,
                        statistic=statistic,
                        probabilities=probabilities,
                        n_resamples=n_resamples,
                    )
                out[position][head, group] = (STATISTICS[statistic](own), *interval)

    for_each(fill, list(np.ndindex(values.shape[:-2])))
    return out
