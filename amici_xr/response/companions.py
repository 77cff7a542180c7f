"""What qualifies a finding: senders that stand together, and effects sample by sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from amici_xr.kernels.combined_p import cauchy_combination
from amici_xr.kernels.response_regression import WhitenedFit

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Bools = NDArray[np.bool_]

STANDING_TOGETHER = 0.6  # correlation of two steps from which senders can hardly be told apart
LEAST_SAMPLES = 3
LEAST_CELLS_OF_SAMPLE = 5  # on each side of a radius


def standing_together(distance: Floats, sender: int, query: int, radius: float) -> list[int]:
    """Return the other senders near which mostly the same receivers stand.

    `distance` is (receiver, type).
    """
    within = distance < radius
    share = within.mean(axis=0)
    spread = np.sqrt(share * (1.0 - share))
    joint = (within & within[:, [sender]]).mean(axis=0) - share * share[sender]
    product = spread * spread[sender]
    correlation = joint / np.where(product > 0, product, np.inf)
    is_together = correlation >= STANDING_TOGETHER
    is_together[[sender, query]] = False
    return np.flatnonzero(is_together).tolist()


def effects_by_sample(
    fit: WhitenedFit,
    given_back: Integers,
    white_step: Floats,
    step: Floats,
    samples: Integers,
    n_samples: int,
) -> tuple[Floats, Floats]:
    """Return effect and standard error of one step in each sample, (sample, gene).

    Whitened values stay within samples. NaN where a sample has too few receivers on a side.
    """
    is_sample = samples[:, np.newaxis] == np.arange(n_samples)
    n_within = step @ is_sample
    n_beyond = is_sample.sum(axis=0) - n_within
    is_told = np.minimum(n_within, n_beyond) >= LEAST_CELLS_OF_SAMPLE
    columns = white_step[:, np.newaxis] * is_sample
    coefficient, inverse, variance = fit.replace(given_back, columns).fit_together()
    error = np.sqrt(np.diag(inverse)[:, np.newaxis] * variance)
    untold = ~is_told[:, np.newaxis]
    return np.where(untold, np.nan, coefficient), np.where(untold, np.nan, error)


def p_over_samples(effect: Floats) -> Floats:
    """Return p of each gene from a t test of its effects over samples, combined over radii.

    `effect` is (radius, sample, gene). NaN with fewer than three samples.
    """
    n_told = np.isfinite(effect).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(effect, axis=1) / n_told
        square = np.nansum((effect - mean[:, np.newaxis]) ** 2, axis=1)
        t = mean / np.sqrt(square / (n_told - 1) / n_told)
        p = 2.0 * special.stdtr(n_told - 1.0, -np.abs(t))
    return cauchy_combination(np.where(n_told >= LEAST_SAMPLES, p, np.nan), axis=0)
