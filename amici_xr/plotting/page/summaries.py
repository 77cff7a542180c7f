"""Summaries of one query on the page, from all neighbors: reach, support, curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.curves import curve_summary
from amici_xr.analysis.length_scales import correct_length_scales, length_scale, support
from amici_xr.dataset.reduction import groups
from amici_xr.dataset.schema import has_neighborhoods
from amici_xr.kernels.groups import group_positions
from amici_xr.uncertainty.intervals import bootstrap_ci

BOX = (0.05, 0.25, 0.5, 0.75, 0.95)  # whisker, quartile, median, quartile, whisker
NOT_KNOWN = "not_known"  # the status in a Dataset without neighborhoods
STATUSES = (
    *("absent", "no_reach", "median_zero", "too_few_receivers", "beyond_neighborhood", "reachable"),
    NOT_KNOWN,
)
N_DISTANCES = (241, 121, 61)  # the finest whose curves take no more than
_BYTES = 3_000_000  # in the page, before base64; else the coarsest
_DIMS = ("label", "head")


def reach(
    ds: xr.Dataset, thresholds: Iterable[float], sample_threshold: float | None
) -> xr.Dataset:
    """Summarize the length scales of each label and head at each stop, from all neighbors.

    They are those of `length_scale`, corrected; ``median_before_correction`` and what follows it
    come from `support`. Dims (label, head, threshold), and ``probability`` last for ``quantiles``.
    """
    results = [_reach_at(ds, threshold, sample_threshold) for threshold in thresholds]
    options: Any = {"combine_attrs": "drop", "coords": "minimal", "compat": "override"}
    together = xr.concat(results, dim="threshold", data_vars="all", **options)
    return together.transpose("label", "head", "threshold", "probability")


def _reach_at(ds: xr.Dataset, threshold: float, sample_threshold: float | None) -> xr.Dataset:
    lengths = length_scale(ds, threshold, None)
    evidence = support(ds, threshold, sample_threshold) if has_neighborhoods(ds) else None
    if evidence is not None and sample_threshold is not None:
        lengths = correct_length_scales(ds, lengths, evidence["support"], sample_threshold)
    names, codes = groups(ds, "label")
    values = lengths.transpose("head", "neighbor").values
    mean = np.full((names.size, len(values)), np.nan)
    quantiles = np.full((names.size, len(values), len(BOX)), np.nan)
    for group, members in group_positions(codes, names.size):
        mean[group] = values[:, members].mean(axis=1)
        quantiles[group] = np.quantile(values[:, members], BOX, axis=1).T
    median = bootstrap_ci(lengths, statistic="median").reindex(
        label=names, fill_value={"n_neighbors": 0}
    )
    if evidence is None:
        evidence = _unknown_support(median)
    result = xr.Dataset(
        {
            "mean": (_DIMS, mean),
            "quantiles": ((*_DIMS, "probability"), quantiles),
            "n_neighbors": median["n_neighbors"],
            "median": median["point_estimate"],  # beside what is mostly the same: smaller packed
            "median_before_correction": evidence["median_length_scale"],
            "lower": median["ci_lower"],
            "upper": median["ci_upper"],
            "support": evidence["support"],
            "edge_share": evidence["edge_share"],
            "status": evidence["status"].copy(data=_status_codes(evidence["status"].values)),
        },
        coords={"label": names, "head": ds["head"].values},
    )
    return result.drop_vars("threshold", errors="ignore").transpose(*_DIMS, ...)


def _unknown_support(median: xr.Dataset) -> xr.Dataset:
    """Without neighborhoods nothing is corrected, and support cannot be determined."""
    unknown = xr.full_like(median["point_estimate"], np.nan)
    status = unknown.copy(data=np.where(median["n_neighbors"] > 0, NOT_KNOWN, "absent"))
    return median.rename(point_estimate="median_length_scale").assign(
        support=unknown, edge_share=unknown, status=status
    )


def _status_codes(status: NDArray[np.str_]) -> NDArray[np.uint8]:
    """Return the position of each status in `STATUSES`."""
    codes = pd.Index(STATUSES).get_indexer(pd.Index(status.ravel()))
    return codes.reshape(status.shape).astype(np.uint8)


def curves(ds: xr.Dataset, distance: NDArray[np.float64]) -> xr.Dataset:
    """Return mean, std and quantiles of the curves, (label, head, distance), of all neighbors."""
    summary = curve_summary(ds, distance, quantiles=[BOX[0], 0.5, BOX[-1]])
    return summary.transpose("label", "head", "quantile", "distance")


def default_distance(
    datasets: Sequence[xr.Dataset], reaches: Sequence[xr.Dataset]
) -> NDArray[np.float64]:
    """Choose distances from 0 to where neighborhoods end and curves have fallen, rounded up."""
    ends = [
        float(np.nanquantile(ds["neighborhood_distance"], 0.95))
        for ds in datasets
        if has_neighborhoods(ds) and ds["neighborhood_distance"].notnull().any()
    ]
    if ends:
        medians = [reach["median"].values[reach["support"].values > 0.5] for reach in reaches]
    else:
        medians = [reach["median"].values[..., 0].ravel() for reach in reaches]
    lengths = np.concatenate(medians)
    lengths = lengths[lengths > 0]  # and so not NaN
    ends += [1.5 * float(np.median(lengths))] if lengths.size else []
    units = [float(ds["distance_kernel_unit_scale"]) for ds in datasets]
    end = _round_up(max((end for end in ends if end > 0), default=max(units)))
    n_curves = sum(reach.sizes["label"] * reach.sizes["head"] for reach in reaches)
    bytes_per_distance = 8 * n_curves * 5  # mean, std and three quantiles, of float64
    fits = [n for n in N_DISTANCES if n * bytes_per_distance <= _BYTES]
    return np.linspace(0, end, max(fits, default=N_DISTANCES[-1]))


def _round_up(value: float) -> float:
    """Round up to 1, 1.5, 2, 3, 4, 5, 6, 8 or 10 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    steps = np.array([1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15]) * power
    return float(steps[steps >= value][0])
