"""Welch's t test of two groups of independent units, for many pairs at a time, on plain arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from amici_xr.kernels.groups import Floats


def welch_p(
    t: ArrayLike, variance_1: ArrayLike, n_1: ArrayLike, variance_2: ArrayLike, n_2: ArrayLike
) -> Floats:
    """Two-sided p of a studentized difference, given the variance of the units of each group.

    Student's distribution with `degrees_of_freedom`; NaN where neither group varies, or one has
    fewer than two units.
    """
    degrees = degrees_of_freedom(variance_1, n_1, variance_2, n_2)
    return np.asarray(2 * stdtr(degrees, -np.abs(t)))


def degrees_of_freedom(
    variance_1: ArrayLike, n_1: ArrayLike, variance_2: ArrayLike, n_2: ArrayLike
) -> Floats:
    """Degrees of freedom of Welch's t, with ``w = s²/n`` and ``ν = n − 1`` of each group.

    ``(w₁ + w₂)² / (w₁²/ν₁ + w₂²/ν₂)`` (Satterthwaite 1946) for groups of unequal size, and
    ``(w₁ + w₂)² / (w₁²/(ν₁ + 2) + w₂²/(ν₂ + 2)) − 2`` (Welch 1947), at most ν₁ + ν₂, for groups of
    equal size. The second comes from unbiased estimates of numerator and denominator. Of normal
    units, 3 against 3, it rejects 4.2 to 6.8% at 5%, where the first rejects 3.5 to 5.9%; but with
    it 3 against 12 would reject up to 8.7%, in place of 7.3%.
    """
    sizes = [np.asarray(n, dtype=np.float64) for n in (n_1, n_2)]
    nu_1, nu_2 = (np.where(n > 1, n - 1, np.nan) for n in sizes)
    with np.errstate(divide="ignore", invalid="ignore"):
        w_1, w_2 = (np.divide(v, n) for v, n in zip((variance_1, variance_2), sizes, strict=True))
        squared_sum = (w_1 + w_2) ** 2
        satterthwaite = squared_sum / (w_1**2 / nu_1 + w_2**2 / nu_2)
        welch = squared_sum / (w_1**2 / (nu_1 + 2) + w_2**2 / (nu_2 + 2)) - 2
    return np.where(nu_1 == nu_2, np.minimum(welch, nu_1 + nu_2), satterthwaite)
