"""What differs between trainings: reach per run, and intervals over runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.length_scales import length_scale, reach_attributes
from amici_xr.dataset.reduction import STATISTICS, Statistic, ordered, rechunked, summary_of_labels
from amici_xr.dataset.schema import distance_attributes
from amici_xr.dataset.selection import check_has_head
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import SchemaError, check_choice, check_fraction
from amici_xr.kernels.student_t import interval_of_units
from amici_xr.uncertainty.clustered_intervals import ESTIMATES, described, with_unit_status

Floats = NDArray[np.float64]

_OVER_RUNS = ("mean", "std", "min", "max", "ci_lower", "ci_upper", "n_runs")


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
    ``m ± t·s/√n`` with t the quantile of Student's distribution with n − 1 degrees of freedom.
    Below 3 runs it is NaN. It takes R as normal over training runs; where R is skewed, or 0 in some
    of the runs, it under-covers (see the documentation). With few runs it is wide (t is 4.3 for
    three, at 95%), and rightly so: as few say little about how much training runs differ. A lower
    bound below 0 is set to 0, since lengths are not negative.

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
            over runs; for one run ``std`` is NaN, and below 3 the interval;
        ``n_runs`` (label)
            number of runs;
        ``interval_status`` (label)
            "estimated", "few_runs" below 3, or "absent".

        A label without neighbors has NaN, −1 and a count of 0.

    Raises
    ------
    ValueError
        If an argument lies out of its range.
    SchemaError
        If the Dataset has no ``run`` dim, or no neighborhoods while `sample_threshold` is given.

    References
    ----------
    Student, The probable error of a mean, Biometrika 6 (1908), 1–25.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> runs = amici_xr.align_runs([ds, ds.assign(dummy_attention_score=2.5)])
    >>> reach = amici_xr.reach_across_runs(runs, threshold=0.1)
    >>> reach.length_scale.dims, reach["mean"].dims
    (('run', 'label'), ('label',))
    """
    check_has_head(ds)
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
    result["ci_lower"] = result["ci_lower"].clip(min=0)
    result = with_unit_status(result, "n_runs")
    bounds = f"of the {100 * confidence_level:.4g}% interval of the mean over runs"
    long_names = {name: f"{name} over runs" for name in _OVER_RUNS[:4]} | {
        "length_scale": f"{statistic} length scale of the strongest head",
        "ci_lower": f"lower bound {bounds}",
        "ci_upper": f"upper bound {bounds}",
    }
    for name, long_name in long_names.items():
        result[name].attrs = distance_attributes(long_name, ds)
    result["strongest_head"].attrs = {"long_name": "head that reaches farthest"}
    settings = {"statistic": statistic, "confidence_level": confidence_level}
    return ordered(result).assign_attrs(settings | reach_attributes(threshold, sample_threshold))


def interval_over_runs(
    ds: xr.Dataset,
    threshold: float,
    sample_threshold: float | None,
    statistic: Statistic,
    confidence_level: float,
) -> xr.Dataset:
    """Student's interval of the mean over runs of the statistic in each run: dims (label, head).

    Heads that have no counterpart in the reference run (``is_matched``) count in the place that
    they were given.
    """
    per_run = _per_run(ds, threshold, sample_threshold, statistic)
    numbers = (*ESTIMATES, "n_runs")
    estimates = _reduced(
        per_run,
        "run",
        ["estimate"],
        interval_of_units,
        {"estimate": len(numbers)},
        confidence_level=confidence_level,
    )
    result = xr.Dataset({name: estimates.isel(estimate=i) for i, name in enumerate(numbers)})
    named = per_run.assign_attrs(distance_attributes("length scale over runs", ds))
    result = described(with_unit_status(result, "n_runs"), named, statistic, confidence_level)
    return ordered(result)


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
    n_runs = values.shape[-1]
    std = values.std(axis=-1, ddof=1) if n_runs > 1 else np.full(values.shape[:-1], np.nan)
    mean, lower, upper, n = np.moveaxis(interval_of_units(values, confidence), -1, 0)
    return np.stack([mean, std, values.min(axis=-1), values.max(axis=-1), lower, upper, n], axis=-1)
