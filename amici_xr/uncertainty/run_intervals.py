"""What differs between trainings: reach per run, and intervals over runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import stdtrit

from amici_xr.analysis.length_scales import length_scale, reach_attributes
from amici_xr.dataset.reduction import STATISTICS, Statistic, ordered, rechunked, summary_of_labels
from amici_xr.dataset.schema import distance_attributes
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import SchemaError, check_choice, check_fraction
from amici_xr.kernels.exact_bootstrap import EXACT
from amici_xr.uncertainty.intervals import ESTIMATES

Floats = NDArray[np.float64]

_OVER_RUNS = ("mean", "std", "min", "max", "ci_lower", "ci_upper")


def reach_across_runs(
    ds: xr.Dataset,
    threshold: float = 0.5,
    sample_threshold: float | None = 0.02,
    statistic: Statistic = "median",
    confidence_level: float = 0.95,
) -> xr.Dataset:
    """How far each label reaches in its strongest head, in each run and over all runs.

    ``R = max over heads of the median (or mean) length scale of the label's neighbors``, of each
    run by itself: heads swap places between trainings, merge and split, and the largest needs no
    matching of them. Over the n runs: mean m, standard deviation s, and the interval
    ``m ± t·s/√n`` with t the quantile of Student's distribution with n − 1 degrees of freedom. That
    takes R for normal over trainings. Of few runs it is wide (t is 12.7 of two runs and 4.3 of
    three, at 95%), and rightly so: as few say little about how much trainings differ. It is cut off
    at 0, below which there is no length.

    Parameters
    ----------
    ds
        The Dataset of `align_runs`, dims (run, neighbor, head).
    threshold, sample_threshold
        As in `length_scale`; the artifact correction is applied in each run.
    statistic
        "median" or "mean", over the neighbors of a label.
    confidence_level
        Coverage of the interval over runs, strictly between 0 and 1.

    Returns
    -------
    xarray.Dataset
        In the Dataset's unit of distance:

        ``length_scale`` (run, label)
            R of each run, with ``query`` between where `ds` has it;
        ``strongest_head`` (run, label)
            the ``head`` that it comes from, the first of equal ones; −1 where no head reaches
            beyond 0;
        ``mean``, ``std``, ``min``, ``max``, ``ci_lower``, ``ci_upper`` (label)
            over runs; of one run ``std`` and the interval are NaN;
        ``n_runs`` (label)
            number of runs.

        A label without neighbors has NaN, −1 and a count of 0.

    Raises
    ------
    ValueError
        If an argument lies out of its range.
    SchemaError
        If the Dataset has no ``run`` dim, or no neighborhoods while `sample_threshold` is given.

    References
    ----------
    Student, The probable error of a mean, Biometrika 6:1 (1908).

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> runs = amici_xr.align_runs([ds, ds.assign(dummy_attention_score=2.5)])
    >>> reach = amici_xr.reach_across_runs(runs, threshold=0.1)
    >>> reach.length_scale.dims, reach["mean"].dims
    (('run', 'label'), ('label',))
    """
    confidence_level = check_fraction("confidence_level", confidence_level)
    per_head = _per_run(ds, threshold, sample_threshold, statistic)
    heads = np.atleast_1d(per_head["head"].values)
    per_head = per_head if "head" in per_head.dims else per_head.expand_dims("head")
    strongest = _reduced(per_head, "head", ["of_head"], _strongest, {"of_head": 2}, heads=heads)
    reach, head = strongest.isel(of_head=0), strongest.isel(of_head=1)
    over = _reduced(
        reach, "run", ["over"], _over_runs, {"over": len(_OVER_RUNS)}, confidence=confidence_level
    )
    result = xr.Dataset({"length_scale": reach, "strongest_head": head.astype(np.int64)})
    for number, name in enumerate(_OVER_RUNS):
        result[name] = over.isel(over=number)
    result["n_runs"] = reach.notnull().sum("run")
    bounds = f"of the {100 * confidence_level:.4g}% interval of the mean over runs"
    long_names = {name: f"{name} over runs" for name in _OVER_RUNS} | {
        "length_scale": f"{statistic} length scale of the strongest head",
        "ci_lower": f"lower bound {bounds}",
        "ci_upper": f"upper bound {bounds}",
    }
    for name, long_name in long_names.items():
        result[name].attrs = distance_attributes(long_name, ds)
    result["strongest_head"].attrs = {"long_name": "head that reaches farthest"}
    result["n_runs"].attrs = {"long_name": "number of runs"}
    settings = {"statistic": statistic, "confidence_level": confidence_level}
    return ordered(result).assign_attrs(settings | reach_attributes(threshold, sample_threshold))


def bootstrap_over_runs(
    ds: xr.Dataset,
    threshold: float = 0.5,
    sample_threshold: float | None = 0.02,
    statistic: Statistic = "mean",
    confidence_level: float = 0.95,
) -> xr.Dataset:
    """Percentile interval over runs, whole runs resampled, of each label and head.

    The mean (or median) over runs of the mean (or median) length scale of the label's neighbors in
    a run. Resampled are the n runs, with replacement, each with all of its cells: what the interval
    shows is what training adds. It is that of infinitely many resamples, without a seed.

    Of few runs it is too narrow. The variance over resamples is that of the mean times
    ``(n − 1)/n``, and no value lies beyond the n that there are: at 95% the interval of up to three
    runs is just their range, which holds the median of all trainings with probability
    ``1 − 2^(1 − n)``, 75% of three. `reach_across_runs` gives an interval that knows how few they
    are. Heads that have no counterpart in the reference run (``is_matched``) count in the place
    that they were given.

    Parameters
    ----------
    ds
        The Dataset of `align_runs`, dims (run, neighbor, head).
    threshold, sample_threshold, statistic, confidence_level
        As in `bootstrap`.

    Returns
    -------
    xarray.Dataset
        ``point_estimate``, ``ci_lower``, ``ci_upper`` in the Dataset's unit of distance, and
        ``n_runs``; dims (label, head). A label without neighbors has NaN and a count of 0.

    Raises
    ------
    ValueError
        If an argument lies out of its range.
    SchemaError
        If the Dataset has no ``run`` dim, or no neighborhoods while `sample_threshold` is given.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Examples
    --------
    >>> import amici_xr
    >>> from amici_xr.run_spread import bootstrap_over_runs
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> runs = amici_xr.align_runs([ds, ds.assign(dummy_attention_score=2.5)])
    >>> bootstrap_over_runs(runs, threshold=0.1).n_runs.sel(label="B").values.tolist()
    [2, 2]
    """
    confidence_level = check_fraction("confidence_level", confidence_level)
    per_run = _per_run(ds, threshold, sample_threshold, statistic)
    alpha = 1 - confidence_level
    estimates = _reduced(
        per_run,
        "run",
        ["estimate"],
        _interval,
        {"estimate": len(ESTIMATES)},
        statistic=statistic,
        probabilities=np.array([alpha / 2, 1 - alpha / 2]),
    )
    result = xr.Dataset({name: estimates.isel(estimate=i) for i, name in enumerate(ESTIMATES)})
    result["n_runs"] = per_run.notnull().sum("run")
    what = f"{statistic} length scale over runs"
    bounds = f"of the {100 * confidence_level:.4g}% interval of the {what}"
    for name, long_name in zip(
        ESTIMATES, (what, f"lower bound {bounds}", f"upper bound {bounds}"), strict=True
    ):
        result[name].attrs = distance_attributes(long_name, ds)
    result["n_runs"].attrs = {"long_name": "number of runs"}
    settings = {"statistic": statistic, "confidence_level": confidence_level}
    return ordered(result).assign_attrs(settings | reach_attributes(threshold, sample_threshold))


def _per_run(
    ds: xr.Dataset, threshold: float, sample_threshold: float | None, statistic: str
) -> xr.DataArray:
    """Mean or median length scale of each label, (run, query, label, head)."""
    check_structure(ds)
    check_choice("statistic", statistic, tuple(STATISTICS))
    if "run" not in ds.dims:
        raise SchemaError(
            "this Dataset holds a single training, without a run dim: put several together with "
            "align_runs([first, second])"
        )

    return summary_of_labels(ds, length_scale(ds, threshold, sample_threshold), statistic)


def _reduced(
    array: xr.DataArray,
    dim: str,
    out: list[str],
    kernel: Callable[..., Floats],
    sizes: dict[str, int],
    **options: Any,
) -> xr.DataArray:
    """Apply a kernel that reduces `dim`, which lies last; what is lazy stays so."""
    reduced: xr.DataArray = xr.apply_ufunc(
        kernel,
        rechunked(array, {dim: -1}),
        input_core_dims=[[dim]],
        output_core_dims=[out],
        kwargs=options,
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": sizes},
    )
    return reduced


def _strongest(values: Floats, heads: NDArray[np.int64]) -> Floats:
    """(..., head) → (..., 2): the largest value, and the number of its head."""
    largest = values.max(axis=-1)
    head = np.where(largest > 0, heads[values.argmax(axis=-1)], -1)
    return np.stack([largest, head], axis=-1)


def _over_runs(values: Floats, confidence: float) -> Floats:
    """(..., run) → (..., _OVER_RUNS)."""
    n = values.shape[-1]
    mean = values.mean(axis=-1)
    std = values.std(axis=-1, ddof=1) if n > 1 else np.full(mean.shape, np.nan)
    half = stdtrit(max(n - 1, 1), (1 + confidence) / 2) * std / np.sqrt(n)
    bounds = np.maximum(mean - half, 0.0), mean + half
    return np.stack([mean, std, values.min(axis=-1), values.max(axis=-1), *bounds], axis=-1)


def _interval(values: Floats, statistic: str, probabilities: Floats) -> Floats:
    """(..., run) → (..., ESTIMATES)."""
    out = np.full((*values.shape[:-1], len(ESTIMATES)), np.nan)
    for position in np.ndindex(values.shape[:-1]):
        own = values[position]
        if not np.isnan(own).any():
            out[position] = (STATISTICS[statistic](own), *EXACT[statistic](own, probabilities))
    return out
