"""Intervals of the mean or median length scale of each label and head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import xarray as xr

from amici_xr.analysis.length_scales import length_scale, reach_attributes
from amici_xr.dataset.reduction import (
    STATISTICS,
    Statistic,
    by_query,
    for_each_sample,
    for_each_threshold,
    groups,
    is_lazy,
    ordered,
)
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import check_choice, check_fraction, check_positive_integer, check_seed
from amici_xr.uncertainty.clustered_intervals import warn_of_few_patches
from amici_xr.uncertainty.intervals import (
    Method,
    ResamplingUnit,
    bootstrap_ci,
    check_resampling_unit,
)
from amici_xr.uncertainty.run_intervals import interval_over_runs

OF_NO_NEIGHBOR = {"n_neighbors": 0, "n_samples": 0, "interval_status": "absent"}
PLACES = ("neighbor_x", "neighbor_y", "neighbor_sample")


def bootstrap(
    ds: xr.Dataset,
    threshold: float | Sequence[float] = 0.5,
    sample_threshold: float | None = 0.02,
    statistic: Statistic = "mean",
    confidence_level: float = 0.95,
    method: Method | None = None,
    resampling_unit: ResamplingUnit = "cell",
    *,
    n_resamples: int = 10_000,
    random_state: int | None = 42,
    by_sample: bool = False,
) -> xr.Dataset:
    """Interval of the mean or median length scale of each label and head.

    What an interval says depends on what is taken as independent, and on what is held fixed. All of
    them hold the artifact correction fixed, so [0, 0] for a corrected label is not certainty.

    ``resampling_unit="cell"``, as in the original
        The quantiles, at ``α/2`` and ``1 − α/2`` with α = 1 − `confidence_level`, of the statistic
        over resamples of a label's cells. Conditional on the trained model. It takes neighboring
        cells as independent, so wherever values are spatially autocorrelated it is too narrow: of
        600 cells with an exponential correlation whose range is a twentieth of the tissue's side,
        a 95% interval holds the mean 45% of the time, at a tenth of the side 27%.
    ``"spatial"``
        Allows for spatial autocorrelation, without resampling. Values are projected on 30 smooth
        contrasts over the cells' places, whose sizes tell, under a grid of exponential models that
        is averaged by posterior weight, by how much the mean varies; the median inverts tests of
        shares of cells. In the same tissues 95% intervals hold the mean 98% and 97% of the time,
        and they are about 1.4 times as wide as with a known covariance; with a range of a quarter
        of the side, 91%; see the documentation for all settings. Conditional on the trained
        model, and on this tissue: the mean over one tissue says nothing about others. Uses x and y;
        cells of different samples are independent.
    ``"sample"``
        Each sample gives one number, the mean (or median) over its cells, and the interval is that
        of Student's t distribution for the mean over samples, ``m ± t·s/√n``: NaN below 3 samples.
        Conditional on the trained model; speaks of other samples of the kind. Samples have equal
        weight, whatever their number of cells. It takes the samples' numbers as normal: where they
        are skewed it under-covers, see the documentation.
    ``"run"``
        The same over the training runs of a Dataset of `align_runs`: what training adds, on this
        tissue. `reach_across_runs` needs no matching of heads.

    Length scales are not negative, so bounds below 0 are set to 0, except those of cells, which
    never are.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head).
    threshold, sample_threshold
        As in `length_scale`.
    statistic
        "mean" or "median".
    confidence_level
        Confidence level of the interval, strictly between 0 and 1.
    method
        For cells alone. "exact", the default, gives what infinitely many resamples would, without a
        seed: for the median the distribution of order statistics, for the mean the convolution of
        the values' distribution on a grid, with an error of about 0.05% of the interval's width.
        Where the distribution function equals a quantile's probability on a plateau, its middle is
        taken. "resample" draws `n_resamples` resamples, as the original does, to the last bit.
    resampling_unit
        "cell", "spatial", "sample" or "run", see above.
    n_resamples
        Number of resamples, for `method` "resample".
    random_state
        Seed of the resamples. One stream of random numbers per query runs through its groups in
        sorted order of (head, label), so that the same Dataset and seed give the same bits.
    by_sample
        Whether to take each sample by itself, which adds a ``sample`` dim.

    Returns
    -------
    xarray.Dataset
        ``point_estimate``, ``ci_lower``, ``ci_upper`` in the Dataset's unit of distance, and
        ``n_neighbors``; dims (label, head), and ``run`` in front where `ds` has it, unless the
        interval is over runs. A label without neighbors has NaN and a count of 0. With another
        unit than cells also:

        ``n_samples`` or ``n_runs``
            number of units;
        ``effective_patches``
            for "spatial": one over the average correlation of two cells, the number of independent
            patches that the cells stand for; NaN where all values are equal;
        ``interval_status``
            "estimated"; "few_patches", below 10, where the interval is wide and may under-cover;
            without an interval "few_places", below 8 distinct places, "few_samples" or "few_runs",
            below 3, or "absent".

    Raises
    ------
    ValueError
        If an argument lies out of its range, or goes with another `resampling_unit`.
    SchemaError
        If the Dataset has no neighborhoods and `sample_threshold` is given, or lacks the samples,
        runs or coordinates that the `resampling_unit` needs.

    Warns
    -----
    UserWarning
        If spatial intervals rest on fewer than 10 effective patches. Of a lazy Dataset this is not
        known yet: look at ``interval_status``.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13: cells.
    Müller & Watson, Econometrica 90, 2901 (2022), and Rev. Econ. Stud. 83, 1711 (2016): spatial
    contrasts, and the average over models.
    Student, Biometrika 6, 1 (1908): samples and runs.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> interval = amici_xr.bootstrap(ds)
    >>> bool((interval.ci_lower <= interval.ci_upper).sel(label="B").all())
    True
    """
    check_structure(ds)
    check_choice("statistic", statistic, tuple(STATISTICS))
    check_resampling_unit(resampling_unit, get_args(ResamplingUnit), method)
    confidence_level = check_fraction("confidence_level", confidence_level)
    n_resamples = check_positive_integer("n_resamples", n_resamples)
    random_state = check_seed(random_state)
    if by_sample and resampling_unit == "sample":
        raise ValueError(
            "resampling_unit='sample' is over the samples and by_sample=True takes each by itself; "
            "choose one"
        )
    ds = ds.set_coords([name for name in PLACES if name in ds.variables])

    def over_neighbors(ds_of_query: xr.Dataset) -> xr.Dataset:
        names, _ = groups(ds_of_query, "label")
        interval = bootstrap_ci(
            ds_of_query["length_scale"],
            statistic=statistic,
            confidence_level=confidence_level,
            method=method,
            resampling_unit=resampling_unit,  # type: ignore[arg-type]  # not "run"
            n_resamples=n_resamples,
            random_state=random_state,
        )
        return interval.reindex(label=names, fill_value=OF_NO_NEIGHBOR)

    def with_lengths(part: xr.Dataset, value: float | Sequence[float]) -> xr.Dataset:
        lengths = length_scale(part, value, sample_threshold)
        return by_query(over_neighbors, part.assign(length_scale=lengths))

    def at_threshold(part: xr.Dataset, value: float) -> xr.Dataset:
        if resampling_unit == "run":
            result = interval_over_runs(part, value, sample_threshold, statistic, confidence_level)
        else:
            result = with_lengths(part, value)
        return result.assign_attrs(reach_attributes(value, sample_threshold))

    def of_all(part: xr.Dataset) -> xr.Dataset:
        if resampling_unit == "spatial" and np.ndim(threshold):
            return ordered(with_lengths(part, threshold))  # places are prepared once
        return for_each_threshold(lambda value: at_threshold(part, value), threshold)

    result = for_each_sample(of_all, ds) if by_sample else of_all(ds)
    if resampling_unit != "cell":
        result["ci_lower"] = result["ci_lower"].clip(min=0, keep_attrs=True)
    if resampling_unit == "spatial" and not is_lazy(ds):
        warn_of_few_patches(result)
    return result.assign_attrs(resampling_unit=resampling_unit)
