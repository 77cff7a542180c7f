"""Intervals over a named dimension whose elements depend on each other: by sample, or in space."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.reduction import STATISTICS, Statistic, groups, rechunked
from amici_xr.errors import SchemaError, listed
from amici_xr.kernels.groups import group_positions
from amici_xr.kernels.spatial.basis import FEWEST_PLACES, prepare
from amici_xr.kernels.spatial.interval import FEWEST_PATCHES, spatial_interval
from amici_xr.kernels.student_t import FEWEST_UNITS, interval_of_units

Floats = NDArray[np.float64]
Members = NDArray[np.integer[Any]]

ESTIMATES = ("point_estimate", "ci_lower", "ci_upper")


def interval_over_samples(
    da: xr.DataArray, dim: str, by: str | None, statistic: Statistic, confidence_level: float
) -> xr.Dataset:
    """Student's interval of the mean over samples of the statistic in each: dims (by, …)."""
    if f"{dim}_sample" not in da.coords:
        raise SchemaError(
            f"resampling_unit='sample' needs the coordinate {dim}_sample, which is missing; "
            "extract with sample_key=, or use resampling_unit='cell'"
        )
    sample = da[f"{dim}_sample"].values.astype(str)

    def estimate(values: Floats, members: Members) -> Floats:
        own = sample[members]
        units = [
            STATISTICS[statistic](values[..., own == name], axis=-1) for name in np.unique(own)
        ]
        return interval_of_units(np.stack(units, axis=-1), confidence_level)

    result = _reduced(da, dim, by, estimate, (*ESTIMATES, "n_samples"))
    result["n_samples"] = result["n_samples"].fillna(0)
    return described(with_unit_status(result, "n_samples"), da, statistic, confidence_level)


def interval_in_space(
    da: xr.DataArray, dim: str, by: str | None, statistic: Statistic, confidence_level: float
) -> xr.Dataset:
    """Interval under spatial autocorrelation, of places ``{dim}_x`` and ``{dim}_y``: (by, …)."""
    missing = [name for name in (f"{dim}_x", f"{dim}_y") if name not in da.coords]
    if missing:
        raise SchemaError(
            f"resampling_unit='spatial' needs the coordinates {dim}_x and {dim}_y, of which "
            f"{listed(missing)} are missing; extract from an AnnData with coordinates, or use "
            "resampling_unit='cell'"
        )
    places = np.stack([da[f"{dim}_x"].values, da[f"{dim}_y"].values], axis=-1).astype(np.float64)
    n_unknown = int((~np.isfinite(places)).any(axis=1).sum())
    if n_unknown:
        raise SchemaError(
            f"{dim}_x or {dim}_y of {n_unknown:,} {dim}s is not finite; drop these {dim}s, or use "
            "resampling_unit='cell'"
        )
    sample = da.coords[f"{dim}_sample"].values.astype(str) if f"{dim}_sample" in da.coords else None

    @np.errstate(under="ignore")  # weights and correlations become 0
    def estimate(values: Floats, members: Members) -> Floats:
        basis = prepare(places[members], None if sample is None else sample[members])
        numbers = spatial_interval(values, basis, statistic, confidence_level)
        return np.insert(numbers, 4, basis.n_places, axis=-1)

    result = _reduced(da, dim, by, estimate, (*ESTIMATES, "effective_patches", "n_places"))
    result["interval_status"] = _first_that_holds(
        absent=result["n_places"].isnull(),
        few_places=result["n_places"] < FEWEST_PLACES,
        few_patches=result["effective_patches"] < FEWEST_PATCHES,
    )
    patches = {"long_name": "number of independent patches of tissue that the cells stand for"}
    result["effective_patches"].attrs = patches
    return described(result.drop_vars("n_places"), da, statistic, confidence_level)


def with_unit_status(result: xr.Dataset, counted: str) -> xr.Dataset:
    """Add the status of intervals over units, of which `counted`, "n_runs" say, has the number."""
    unit = counted.removeprefix("n_")
    n_units = result[counted].astype(np.int64)
    n_units.attrs = {"long_name": f"number of {unit}"}
    too_few = {f"few_{unit}": n_units < FEWEST_UNITS}
    result[counted] = n_units
    result["interval_status"] = _first_that_holds(absent=n_units == 0, **too_few)
    return result


def described(
    result: xr.Dataset, da: xr.DataArray, statistic: str, confidence_level: float
) -> xr.Dataset:
    """Give the estimates their names and unit, and say what they are estimates of."""
    what = da.attrs.get("long_name", da.name or "value")
    unit = {"units": da.attrs["units"]} if "units" in da.attrs else {}
    bounds = f"of the {100 * confidence_level:.4g}% interval of the {statistic} {what}"
    long_names = {
        "point_estimate": f"{statistic} {what}",
        "ci_lower": f"lower bound {bounds}",
        "ci_upper": f"upper bound {bounds}",
    }
    for name, long_name in long_names.items():
        result[name].attrs = {"long_name": long_name} | unit
    result.attrs = {"statistic": statistic, "confidence_level": confidence_level}
    return result


def check_finite(values: Floats) -> None:
    """Refuse values of which no interval can be computed."""
    if not np.isfinite(values).all():
        raise ValueError(
            "da holds NaN or infinite values, which have no place in a resample; drop them first, "
            "or call bootstrap(ds), which knows for each query who is a neighbor"
        )


def warn_of_few_patches(result: xr.Dataset) -> None:
    """Say which spatial intervals rest on few independent patches of tissue."""
    patches = result["effective_patches"]
    n_few, n_all = int((patches < FEWEST_PATCHES).sum()), int(patches.count())
    if not n_few:
        return
    fewest = patches.isel(patches.argmin(...))
    names = (f"{dim} {fewest[dim].item()!r}" for dim in patches.dims if dim in fewest.coords)
    warnings.warn(
        f"{n_few} of {n_all} intervals are wide, because the tissue holds fewer than "
        f"{FEWEST_PATCHES} independent patches (fewest: {fewest.item():.2g}, {', '.join(names)}). "
        "Spatial autocorrelation is long-range here: these intervals may under-cover "
        "(amici-xr glossary patches explains the words)",
        UserWarning,
        stacklevel=3,
    )


def _reduced(
    da: xr.DataArray,
    dim: str,
    by: str | None,
    estimate: Callable[[Floats, Members], Floats],
    numbers: tuple[str, ...],
) -> xr.Dataset:
    """Apply a kernel to the values of each group, and count its members.

    The kernel takes values (…, member) and where the members stand along `dim`, and gives the
    numbers (…, number).
    """
    names, codes = groups(da, by, dim)

    def estimate_groups(values: NDArray[Any]) -> Floats:
        check_finite(values)
        result = np.full((*values.shape[:-1], names.size, len(numbers)), np.nan)
        for group, members in group_positions(codes, names.size):
            result[..., group, :] = estimate(values[..., members].astype(np.float64), members)
        return result

    estimates = xr.apply_ufunc(
        estimate_groups,
        rechunked(da, {name: -1 for name in (dim, "head") if name in da.dims}),
        input_core_dims=[[dim]],
        output_core_dims=[["_group", "_number"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"_group": names.size, "_number": len(numbers)}},
    )
    result = xr.Dataset({name: estimates.isel(_number=i) for i, name in enumerate(numbers)})
    count = xr.DataArray(np.bincount(codes, minlength=names.size), dims="_group")
    at_one_threshold = result["point_estimate"].isel(threshold=0, drop=True, missing_dims="ignore")
    result[f"n_{dim}s"] = count.broadcast_like(at_one_threshold)
    result[f"n_{dim}s"].attrs = {"long_name": f"number of {dim}s"}
    if by is None:
        return result.isel(_group=0)
    return result.rename(_group=by).assign_coords({by: names})


def _first_that_holds(**conditions: xr.DataArray) -> xr.DataArray:
    """Name the first condition that holds, or "estimated"."""
    status: xr.DataArray = xr.apply_ufunc(
        lambda *hold: np.select(hold, list(conditions), "estimated"),
        *conditions.values(),
        dask="parallelized",
        output_dtypes=["<U11"],
    )
    status.attrs = {"long_name": "what the interval rests on"}
    return status
