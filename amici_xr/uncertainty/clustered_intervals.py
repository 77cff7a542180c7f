"""Intervals of length scales whose cells depend on each other: by sample, or in space."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.reduction import STATISTICS, Statistic, groups, reduce_neighbors
from amici_xr.dataset.selection import samples
from amici_xr.errors import SchemaError, listed
from amici_xr.kernels import resampling
from amici_xr.kernels.block_intervals import FEWEST_PATCHES, block_interval
from amici_xr.kernels.groups import group_positions
from amici_xr.kernels.variograms import prepare
from amici_xr.uncertainty.intervals import ESTIMATES, described

Floats = NDArray[np.float64]

ENOUGH_PATCHES = 16  # from which on intervals from blocks cover what they should


def interval_over_samples(
    one: xr.Dataset,
    *,
    statistic: Statistic,
    confidence_level: float,
    n_resamples: int,
    random_state: int | None,
) -> xr.Dataset:
    """Percentile interval of ``length_scale``, whole samples resampled: dims (label, head)."""
    known = samples(one)
    sample = np.searchsorted(known, one["neighbor_sample"].values.astype(str))
    alpha = 1 - confidence_level
    return _interval(
        one,
        _over_samples,
        {"n_samples": "number of samples"},
        statistic,
        confidence_level,
        sample=sample,
        probabilities=np.array([alpha / 2, 1 - alpha / 2]),
        n_resamples=n_resamples,
        random_state=random_state,
    )


def interval_from_blocks(
    one: xr.Dataset, *, statistic: Statistic, confidence_level: float
) -> xr.Dataset:
    """Interval of ``length_scale`` from blocks of the tissue: dims (label, head)."""
    missing = [name for name in ("neighbor_x", "neighbor_y") if name not in one.variables]
    if missing:
        raise SchemaError(
            f"this Dataset has no {listed(missing)}, so it can't tell where its cells lie; extract "
            "it from an AnnData with coordinates, or use resampling_unit='cell'"
        )
    if "neighbor_sample" in one.variables and len(samples(one)) > 1:
        raise SchemaError(
            f"this Dataset holds the samples {listed(samples(one))}, which lie in no one plane; "
            "pass by_sample=True, or take one with amici_xr.select(ds, sample=…)"
        )
    places = np.stack([one["neighbor_x"].values, one["neighbor_y"].values], axis=-1)
    unknown = int((~np.isfinite(places)).any(axis=1).sum())
    if unknown:
        raise SchemaError(
            f"neighbor_x or neighbor_y of {unknown:,} neighbors is not finite; drop these "
            "neighbors, or use resampling_unit='cell'"
        )
    further = {
        "n_blocks": "number of blocks that hold cells",
        "effective_patches": "occupied area over the area of a patch of cells that are alike",
    }
    return _interval(
        one,
        _from_blocks,
        further,
        statistic,
        confidence_level,
        places=places.astype(np.float64),
        confidence_level=confidence_level,
    )


def _interval(
    one: xr.Dataset,
    kernel: Any,
    further: dict[str, str],
    statistic: Statistic,
    level: float,
    **options: Any,
) -> xr.Dataset:
    """Apply a kernel that gives the estimates and further numbers of each label."""
    names, codes = groups(one, "label")
    numbers = (*ESTIMATES, *further)
    found = reduce_neighbors(
        kernel,
        one["length_scale"],
        sizes={"label": names.size, "_number": len(numbers)},
        names=names,
        codes=codes,
        statistic=statistic,
        **options,
    )
    result = xr.Dataset({name: found.isel(_number=i) for i, name in enumerate(numbers)})
    count = xr.DataArray(np.bincount(codes, minlength=names.size), dims="label")
    result["n_neighbors"] = count.broadcast_like(result["point_estimate"])
    result = described(result, one["length_scale"], statistic, level)
    for name, long_name in further.items():
        whole = result[name].fillna(0).astype(np.int64) if name.startswith("n_") else result[name]
        result[name] = whole
        result[name].attrs = {"long_name": long_name}
    result["n_neighbors"].attrs = {"long_name": "number of neighbors"}
    return result.assign_coords(label=names)


def _over_samples(
    values: Floats,
    *,
    names: NDArray[Any],
    codes: NDArray[np.intp],
    statistic: Statistic,
    sample: NDArray[np.intp],
    probabilities: Floats,
    n_resamples: int,
    random_state: int | None,
) -> Floats:
    """(..., neighbor) → (..., label, 4)."""
    out = np.full((*values.shape[:-1], names.size, 4), np.nan)
    for group, members in group_positions(codes, names.size):
        for row in np.ndindex(values.shape[:-1]):
            own = values[row][members]
            bounds, n_units = resampling.interval(
                own,
                sample[members],
                probabilities,
                statistic=statistic,
                n_resamples=n_resamples,
                random_state=random_state,
            )
            out[row][group] = (STATISTICS[statistic](own), *bounds, n_units)
    return out


def _from_blocks(
    values: Floats,
    *,
    names: NDArray[Any],
    codes: NDArray[np.intp],
    statistic: Statistic,
    places: Floats,
    confidence_level: float,
) -> Floats:
    """(..., neighbor) → (..., label, 5)."""
    out = np.full((*values.shape[:-1], names.size, 5), np.nan)
    for group, members in group_positions(codes, names.size):
        pairs = prepare(places[members])
        out[..., group, :] = block_interval(
            values[..., members], pairs, statistic, confidence_level
        )
    return out


def warn_of_few_patches(result: xr.Dataset) -> None:
    """Say which intervals from blocks rest on too few independent patches of tissue."""
    patches = result["effective_patches"]
    n_few, n_all = int((patches < ENOUGH_PATCHES).sum()), int(patches.count())
    if not n_few:
        return
    fewest = patches.isel(patches.argmin(...))
    names = (f"{dim} {fewest[dim].item()!r}" for dim in patches.dims if dim in fewest.coords)
    warnings.warn(
        f"{n_few} of {n_all} intervals rest on fewer than {ENOUGH_PATCHES} effective patches "
        f"(fewest: {fewest.item():.2g}, {', '.join(names)}): length scales there are alike over so "
        "large a part of the tissue that these intervals cover less than they say, and below "
        f"{FEWEST_PATCHES} there is none",
        UserWarning,
        stacklevel=7,
    )
