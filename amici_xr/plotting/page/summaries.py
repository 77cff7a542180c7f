"""What the page says of every neighbor of one query: counts, reach, curves, support."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.curves import curve_summary
from amici_xr.analysis.length_scales import correct_length_scales, length_scale, support
from amici_xr.dataset.reduction import groups
from amici_xr.dataset.schema import has_neighborhoods
from amici_xr.kernels.groups import group_positions
from amici_xr.uncertainty.intervals import bootstrap_ci

BOX = (0.05, 0.25, 0.5, 0.75, 0.95)  # whisker, quartile, median, quartile, whisker
NOT_KNOWN = "not_known"  # a Dataset without neighborhoods can't tell the status
STATUSES = (
    *("absent", "no_reach", "median_zero", "too_few_receivers", "beyond_neighborhood", "ok"),
    NOT_KNOWN,
)
N_DISTANCES = (241, 121, 61)  # the finest of these that keeps the curves within
_BYTES = 3_000_000  # in the page, before base64; the coarsest in any case
_DIMS = ("label", "head")


def reach(
    one: xr.Dataset, thresholds: Iterable[float], sample_threshold: float | None
) -> xr.Dataset:
    """Length scales of each label and head at each stop of the slider, from all neighbors.

    Those of `length_scale`, corrected; ``median_before_correction`` and what follows it are of
    `support`. Dims (label, head, threshold), and ``probability`` last for ``quantiles``.
    """
    results = [_reach_at(one, value, sample_threshold) for value in thresholds]
    how: Any = {"combine_attrs": "drop", "coords": "minimal", "compat": "override"}
    together = xr.concat(results, dim="threshold", data_vars="all", **how)
    return together.transpose("label", "head", "threshold", "probability")


def _reach_at(one: xr.Dataset, threshold: float, sample_threshold: float | None) -> xr.Dataset:
    lengths = length_scale(one, threshold, None)
    found = support(one, threshold, sample_threshold) if has_neighborhoods(one) else None
    if found is not None and sample_threshold is not None:
        lengths = correct_length_scales(one, lengths, found["support"], sample_threshold)
    names, codes = groups(one, "label")
    values = lengths.transpose("head", "neighbor").values
    mean = np.full((names.size, len(values)), np.nan)
    quantiles = np.full((names.size, len(values), len(BOX)), np.nan)
    for group, members in group_positions(codes, names.size):
        own = values[:, members]
        mean[group] = own.mean(axis=1)
        quantiles[group] = np.quantile(own, BOX, axis=1).T
    median = bootstrap_ci(lengths, statistic="median").reindex(
        label=names, fill_value={"n_neighbors": 0}
    )
    result = xr.Dataset(
        {
            "mean": (_DIMS, mean),
            "quantiles": ((*_DIMS, "probability"), quantiles),
            "n_neighbors": (_DIMS, median["n_neighbors"].transpose(*_DIMS).values),
            "median": (_DIMS, median["point_estimate"].transpose(*_DIMS).values),
            "lower": (_DIMS, median["ci_lower"].transpose(*_DIMS).values),
            "upper": (_DIMS, median["ci_upper"].transpose(*_DIMS).values),
        },
        coords={"label": names, "head": one["head"].values},
    )
    return result.assign(_not_known(result) if found is None else _known(found))


def _known(found: xr.Dataset) -> dict[str, Any]:
    """What `support` says."""
    found = found.transpose(*_DIMS)
    return {
        "median_before_correction": (_DIMS, found["median_length_scale"].values),
        "support": (_DIMS, found["support"].values),
        "edge_share": (_DIMS, found["edge_share"].values),
        "status": (_DIMS, _status_codes(found["status"].values)),
    }


def _not_known(result: xr.Dataset) -> dict[str, Any]:
    """Without neighborhoods nothing is corrected, and what supports it can't be told."""
    status = np.where(result["n_neighbors"].values > 0, NOT_KNOWN, "absent")
    unknown = np.full(status.shape, np.nan)
    return {
        "median_before_correction": (_DIMS, result["median"].values),
        "support": (_DIMS, unknown),
        "edge_share": (_DIMS, unknown),
        "status": (_DIMS, _status_codes(status)),
    }


def _status_codes(status: NDArray[np.str_]) -> NDArray[np.uint8]:
    """Position of each status in `STATUSES`."""
    codes = {name: code for code, name in enumerate(STATUSES)}
    return np.asarray(np.vectorize(codes.__getitem__, otypes=[np.uint8])(status))


def curves(one: xr.Dataset, distance: NDArray[np.float64]) -> xr.Dataset:
    """Mean, std and quantiles of the curves, (label, head, distance), from all neighbors."""
    summary = curve_summary(one, distance, quantiles=[BOX[0], 0.5, BOX[-1]])
    return summary.transpose("label", "head", "quantile", "distance")


def default_distance(
    datasets: Sequence[xr.Dataset], reaches: Sequence[xr.Dataset]
) -> NDArray[np.float64]:
    """Distances from 0 to where neighborhoods end and curves have fallen, to a round number."""
    ends = [
        float(np.nanquantile(one["neighborhood_distance"], 0.95))
        for one in datasets
        if has_neighborhoods(one) and one["neighborhood_distance"].notnull().any()
    ]
    seen = [found["median"].values[found["support"].values > 0.5] for found in reaches]
    if not ends:
        seen = [found["median"].values[..., 0].ravel() for found in reaches]
    lengths = np.concatenate([np.ravel(own) for own in seen])
    lengths = lengths[lengths > 0]  # and so not NaN
    ends += [1.5 * float(np.median(lengths))] if lengths.size else []
    units = [float(one["distance_kernel_unit_scale"]) for one in datasets]
    end = _round_up(max((end for end in ends if end > 0), default=max(units)))
    n_curves = sum(found.sizes["label"] * found.sizes["head"] for found in reaches)
    of_distance = 8 * n_curves * 5  # mean, std and three quantiles, of float64
    fits = [n for n in N_DISTANCES if n * of_distance <= _BYTES]
    return np.linspace(0, end, max(fits, default=N_DISTANCES[-1]))


def _round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8, 10 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15)
                      if step * power >= value))  # fmt: skip
