"""Intervals of the mean or median length scale of each label and head."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from .grouping import by_query, groups
from .intervals import Method, Statistic, bootstrap_ci
from .length_scales import length_scale, reach_attributes
from .repeating import for_each_sample, for_each_threshold
from .validation import check_structure


def bootstrap(
    ds: xr.Dataset,
    threshold: float | Sequence[float] = 0.5,
    sample_threshold: float | None = 0.02,
    statistic: Statistic = "mean",
    confidence_level: float = 0.95,
    method: Method | None = None,
    *,
    n_resamples: int = 10_000,
    random_state: int | None = 42,
    by_sample: bool = False,
) -> xr.Dataset:
    """Percentile interval of the mean or median length scale of each label and head.

    The quantiles, at ``α/2`` and ``1 − α/2`` with α = 1 − `confidence_level`, of the statistic over
    resamples of a label's cells. The cells are resampled independently of each other: the interval
    is conditional on the trained model and takes neighboring cells for independent. The artifact
    correction is held fixed, so [0, 0] for a corrected label is not certainty.

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
        "exact", the default, gives what infinitely many resamples would, without a seed: for the
        median the distribution of order statistics, for the mean the convolution of the values'
        distribution on a grid, with an error of about 0.05% of the interval's width. Where the
        distribution function equals a quantile's probability on a plateau, its middle is taken.
        "resample" draws `n_resamples` resamples, as the original does, to the last bit.
    n_resamples
        Number of resamples, for "resample".
    random_state
        Seed, for "resample". One stream of random numbers per query, through its groups in sorted
        order of (head, label), so that the same Dataset and seed give the same bits.

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
    >>> interval = amici_xr.bootstrap(ds)
    >>> bool((interval.ci_lower <= interval.ci_upper).sel(label="B").all())
    True
    """
    check_structure(ds)
    if by_sample:
        return for_each_sample(
            lambda one: bootstrap(
                one,
                threshold,
                sample_threshold,
                statistic,
                confidence_level,
                method,
                n_resamples=n_resamples,
                random_state=random_state,
            ),
            ds,
        )

    def of_one(one: xr.Dataset) -> xr.Dataset:
        interval = bootstrap_ci(
            one["length_scale"],
            statistic=statistic,
            confidence_level=confidence_level,
            method=method,
            n_resamples=n_resamples,
            random_state=random_state,
        )
        names, _ = groups(one, "label")
        return interval.reindex(label=names, fill_value={"n_neighbors": 0})

    def of_all(value: float) -> xr.Dataset:
        with_lengths = ds.assign(length_scale=length_scale(ds, value, sample_threshold))
        result = by_query(of_one, with_lengths)
        return result.assign_attrs(reach_attributes(value, sample_threshold))

    return for_each_threshold(of_all, threshold)
