"""Intervals of the mean over whole units, such as samples or training runs, on plain arrays."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]

FEWEST_UNITS = 3  # with fewer there is no interval


def interval_of_units(values: Floats, confidence_level: float = 0.95) -> Floats:
    """Mean, lower and upper bound, and number of units: (..., unit) → (..., 4).

    Each unit gives one number, NaN where it has none. The interval is Student's,
    ``m ± t·s/√n`` with the t quantile of ``n − 1`` degrees of freedom, and NaN below 3 units.

    References
    ----------
    Student, The probable error of a mean, Biometrika 6 (1908), 1–25.

    Examples
    --------
    >>> interval_of_units(np.array([9.0, 10.0, 11.0, np.nan])).round(2)
    array([10.  ,  7.52, 12.48,  3.  ])
    """
    n = np.sum(~np.isnan(values), axis=-1)
    has_interval = n >= FEWEST_UNITS
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # no unit, or a single one
        mean = np.nanmean(values, axis=-1)
        error = np.nanstd(values, axis=-1, ddof=1) / np.sqrt(n)
    half = stdtrit(np.maximum(n - 1, 1), (1 + confidence_level) / 2) * error
    half = np.where(has_interval, half, np.nan)
    return np.stack([mean, mean - half, mean + half, n], axis=-1)
