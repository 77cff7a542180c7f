"""Interval estimates of a mean or median over a named dimension."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from . import kernels
from .errors import NotFoundError, check_choice, check_fraction, check_positive_integer, listed
from .grouping import by_query, groups, ordered
from .length_scales import length_scale, reach_attributes
from .validation import check_structure

Statistic = Literal["mean", "median"]
_STATISTICS = {"mean": np.mean, "median": np.median}
_METHODS = ("resample",)
_ESTIMATES = ("point_estimate", "ci_lower", "ci_upper")


def bootstrap(
    ds: xr.Dataset,
    threshold: float = 0.5,
    sample_threshold: float | None = 0.02,
    statistic: Statistic = "mean",
    confidence_level: float = 0.95,
    method: Literal["resample"] | None = None,
    *,
    n_resamples: int = 10_000,
    random_state: int | None = 42,
) -> xr.Dataset:
    """Percentile interval of the mean or median length scale of each label and head.

    The cells are resampled, independently of each other: the interval is conditional on the
    trained model and takes neighboring cells for independent. The artifact correction is held
    fixed, so [0, 0] for a corrected label is not certainty.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head).
    threshold, sample_threshold
        As in `length_scale`.
    statistic
        "mean" or "median".
    confidence_level
        Coverage of the interval, strictly between 0 and 1.
    method
        "resample" draws `n_resamples` resamples; None takes the default, "resample".
    n_resamples
        Number of resamples.
    random_state
        Seed. One stream of random numbers per query, through its groups in sorted order of
        (head, label), so that the same Dataset and seed give the same bits.

    Returns
    -------
    xarray.Dataset
        ``point_estimate``, ``ci_lower``, ``ci_upper`` in the Dataset's unit of distance, and
        ``n_neighbors``; dims (label, head). A label without neighbors has NaN and a count of 0.

    Raises
    ------
    ValueError
        If an argument lies out of its range.
    SchemaError
        If the Dataset has no neighborhoods and `sample_threshold` is given.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> interval = amici_xr.bootstrap(ds, n_resamples=200)
    >>> bool((interval.ci_lower <= interval.ci_upper).sel(label="B").all())
    True
    """
    check_structure(ds)

    def of_one(one: xr.Dataset) -> xr.Dataset:
        lengths = length_scale(one, threshold, sample_threshold)
        interval = bootstrap_ci(
            lengths,
            statistic=statistic,
            confidence_level=confidence_level,
            method=method,
            n_resamples=n_resamples,
            random_state=random_state,
        )
        names, _ = groups(one, "label")
        return interval.reindex(label=names, fill_value={"n_neighbors": 0})

    result = by_query(of_one, ds)
    return result.assign_attrs(reach_attributes(threshold, sample_threshold))


def bootstrap_ci(
    da: xr.DataArray,
    dim: str = "neighbor",
    by: str | None = "label",
    *,
    statistic: Statistic = "mean",
    confidence_level: float = 0.95,
    method: Literal["resample"] | None = None,
    n_resamples: int = 10_000,
    random_state: int | None = 42,
) -> xr.Dataset:
    """Percentile interval of the mean or median of any DataArray over a named dim.

    Parameters
    ----------
    da
        The values.
    dim
        The dim to resample.
    by
        The coordinate on `dim` whose groups have an interval each; None takes all as one group.
    statistic, confidence_level, method, n_resamples, random_state
        As in `bootstrap`. Each position along dims other than `dim` and ``head`` has a stream of
        random numbers of its own.

    Returns
    -------
    xarray.Dataset
        ``point_estimate``, ``ci_lower``, ``ci_upper`` and the number of values (``n_neighbors``
        for ``neighbor``, and so on), dims (by, head).

    Raises
    ------
    ValueError
        If an argument lies out of its range, or a value is NaN or infinite.
    TypeError
        If `da` is no DataArray.
    NotFoundError
        If `dim` is no dim of `da`, or `by` no coordinate on it.

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
    reduce = _STATISTICS[check_choice("statistic", statistic, tuple(_STATISTICS))]
    confidence_level = check_fraction("confidence_level", confidence_level)
    check_choice("method", "resample" if method is None else method, _METHODS)
    n_resamples = check_positive_integer("n_resamples", n_resamples)
    if not isinstance(da, xr.DataArray):
        raise TypeError(f"da must be an xarray.DataArray, not {type(da).__name__}")
    if dim not in da.dims:
        raise NotFoundError(f"dim={dim!r} is no dim of the array, which has {listed(da.dims)}")
    da = da.compute()
    if not np.isfinite(da).all():
        raise ValueError(
            "da holds NaN or infinite values, which have no place in a resample; drop them first, "
            "or call bootstrap(ds), which knows for each query who is a neighbor"
        )
    if dim in da.coords:
        da = da.sortby(dim)  # so that the order in which values are kept does not matter
    names, codes = groups(da, by, dim)  # sorted by name, the order in which the stream is used
    has_heads = "head" in da.dims and dim != "head"
    stream = "head" if has_heads else "_stream"
    rows = da if has_heads else da.expand_dims(stream)
    estimates = xr.apply_ufunc(
        _estimates,
        rows.sortby("head") if stream in rows.coords else rows,
        input_core_dims=[[stream, dim]],
        output_core_dims=[[stream, "_group", "_estimate"]],
        vectorize=True,  # each position along the other dims starts a stream of its own
        kwargs={
            "members": [np.flatnonzero(codes == group) for group in range(names.size)],
            "statistic": reduce,
            "confidence_level": confidence_level,
            "n_resamples": n_resamples,
            "random_state": random_state,
        },
        keep_attrs="override",
    )
    if stream in rows.coords:
        estimates = estimates.sel(head=rows["head"])
    count = xr.DataArray(np.bincount(codes, minlength=names.size), dims="_group")
    result = xr.Dataset(
        {name: estimates.isel(_estimate=i) for i, name in enumerate(_ESTIMATES)}
        | {f"n_{dim}s": count.broadcast_like(estimates.isel(_estimate=0))}
    )
    result = _described(result, da, statistic, confidence_level)
    result = result if has_heads else result.isel({stream: 0})
    if by is None:
        return ordered(result.isel(_group=0))
    return ordered(result.rename(_group=by).assign_coords({by: names}))


def _estimates(
    values: NDArray[np.float64],
    *,
    members: list[NDArray[np.intp]],
    statistic: Any,
    random_state: int | None,
    **options: Any,
) -> NDArray[np.float64]:
    """(head, value) → (head, group, estimate): one stream, groups in sorted order within a head."""
    generator = np.random.default_rng(random_state)
    out = np.full((values.shape[0], len(members), len(_ESTIMATES)), np.nan)
    for head, row in enumerate(values):
        for group, own_members in enumerate(members):
            own = row[own_members]
            if own.size:
                interval = kernels.resampled_interval(
                    own, generator, statistic=statistic, **options
                )
                out[head, group] = (statistic(own), *interval)
    return out


def _described(
    result: xr.Dataset, da: xr.DataArray, statistic: str, confidence_level: float
) -> xr.Dataset:
    what = da.attrs.get("long_name", da.name or "value")
    unit = {"units": da.attrs["units"]} if "units" in da.attrs else {}
    bounds = f"of the {100 * confidence_level:.4g}% interval of the {statistic} {what}"
    for name, long_name in zip(
        _ESTIMATES, (f"{statistic} {what}", f"lower bound {bounds}", f"upper bound {bounds}"),
        strict=True,
    ):  # fmt: skip
        result[name].attrs = {"long_name": long_name} | unit
    result.attrs = {"statistic": statistic, "confidence_level": confidence_level}
    return result
