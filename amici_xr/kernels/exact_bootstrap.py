"""Exact bootstrap distribution of a mean or median: the limit of infinitely many resamples.

A resample draws n of the n values with replacement, so its median is an order statistic of n
uniform draws, and its sum the n-fold convolution of the values' own distribution. Plain arrays in,
plain numbers out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import betainc, betaincinv, gammaln, lambertw

from amici_xr.kernels.groups import Floats

NEGLIGIBLE = 1e-12  # probability left out at each end
SAME = 1e-10  # F and q are equal up to rounding
WIDEST_GAP = 28  # ranks between the two middle draws: more has a probability below exp(−28)
LARGEST_LATTICE = 2**20  # values on a lattice are summed on it, up to so many points


def interval_of_mean(values: Floats, probabilities: Floats) -> Floats:
    """Compute quantiles of the mean of a resample.

    ``φ_S = φⁿ``: the characteristic function of the sum on an FFT grid. Values on a common lattice
    (counts, ties, zeros and one other) are summed exactly on it. Others are split between the
    points of a grid, which leaves an error of up to about 0.05% of the interval's width; with far
    outliers that is still much beside the other values.
    """
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size == 1:
        return np.full(probabilities.shape, distinct[0])
    n = values.size
    # Anchored at the commonest value, so that its atom (no reach at all, say) is met exactly; of
    # several at one in the middle, so that few lie far from the anchor.
    commonest = distinct[counts == counts.max()]
    anchor = commonest[np.abs(commonest - np.median(values)).argmin()]
    scale = distinct[-1] - distinct[0]  # so that squares of tiny values do not vanish
    offset, share = (distinct - anchor) / scale, counts / n
    low, high = _sum_window(offset, share, n)
    margin = 4 * (1 + int(np.sqrt(n)))  # points that an atom at the window's edge spreads over
    step, of_sum = _distribution_of_sum(offset, share, n, high - low, margin)
    first = int(np.floor(low / step)) - margin
    at, beyond = _crossings(np.cumsum(np.roll(of_sum, -first)), probabilities)
    sums = (first + (at + beyond) / 2) * step
    return np.asarray(anchor + scale * np.clip(sums / n, offset[0], offset[-1]))


def interval_of_median(values: Floats, probabilities: Floats) -> Floats:
    """Compute quantiles of the median of a resample.

    The k-th smallest of n uniform draws from the sorted values is at most the i-th of these with
    probability ``I(i/n; k, n − k + 1)``, the incomplete beta function; for even n the joint
    distribution of the two in the middle is needed.
    """
    ordered = np.sort(values)
    n = ordered.size
    if ordered[0] == ordered[-1]:
        return np.full(probabilities.shape, ordered[0])
    middle = (n + 1) // 2
    lowest, highest = betaincinv(middle, n - middle + 1, [NEGLIGIBLE, 1 - NEGLIGIBLE])
    ranks = np.arange(max(1, int(n * lowest) - 1), min(n, int(n * highest) + 2) + 1)
    if n % 2:
        below = betainc(middle, n - middle + 1, np.stack([ranks - 1, ranks]) / n)
        medians, mass = ordered[ranks - 1], below[1] - below[0]
    else:
        medians, mass = _middle_pairs(ordered, ranks)
    return quantiles_of_atoms(medians, mass, probabilities)


def quantiles_of_atoms(values: Floats, mass: Floats, probabilities: Floats) -> Floats:
    """Compute ``F⁻¹(q)`` of weighted values; where F equals q on a plateau, its middle."""
    order = np.argsort(values)
    atoms, cumulated = values[order], np.cumsum(mass[order])
    at, beyond = _crossings(cumulated, probabilities)
    return np.asarray((atoms[at] + atoms[beyond]) / 2)


def _middle_pairs(ordered: Floats, ranks: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Compute medians and their probabilities for even n = 2m; i and j are the middle ranks.

    For i < j, m draws are at most i, the greatest of them i, and m at least j, the least of them
    j: ``C(n, m)·[(i/n)ᵐ − ((i−1)/n)ᵐ]·[((n−j+1)/n)ᵐ − ((n−j)/n)ᵐ]``. The rest of the
    probability that the m-th is i belongs to j = i.
    """
    n = ordered.size
    m = n // 2
    gap = np.arange(1, WIDEST_GAP + 1)[:, np.newaxis]
    count = n - (ranks + gap) + 1  # of values from rank j on
    binomial = gammaln(n + 1) - 2 * gammaln(m + 1)
    of_i = binomial + _log_power_step(ranks, n)
    table = _log_power_step(np.arange(count[-1, -1], count[0, 0] + 1), n)
    pair = np.exp(of_i + table[count - count[-1, -1]])
    at_most = betainc(m, m + 1, np.stack([ranks - 1, ranks]) / n)
    same = at_most[1] - at_most[0] - np.exp(of_i + _log_power(n - ranks, n))
    gap, i = np.nonzero(pair > NEGLIGIBLE / pair.size)
    medians = (ordered[ranks[i] - 1] + ordered[ranks[i] + gap]) / 2
    mass = np.concatenate([np.maximum(same, 0.0), pair[gap, i]])
    return np.concatenate([ordered[ranks - 1], medians]), mass


def _log_power(count: NDArray[np.intp], n: int) -> Floats:
    """Compute ``log (c/n)^(n/2)``, −∞ for c ≤ 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(n // 2 * np.log(np.maximum(count, 0) / n))


def _log_power_step(count: NDArray[np.intp], n: int) -> Floats:
    """Compute ``log [(c/n)^(n/2) − ((c−1)/n)^(n/2)]``, −∞ for c ≤ 0."""
    with np.errstate(divide="ignore"):
        share = -np.expm1(n // 2 * np.log1p(-1 / np.maximum(count, 1)))
        return np.asarray(_log_power(count, n) + np.log(share))


def _sum_window(offset: Floats, share: Floats, n: int) -> tuple[float, float]:
    """Bound the sum up to a negligible probability, never beyond its extremes."""
    mean = float((share * offset).sum())
    variance = n * float((share * (offset - mean) ** 2).sum())
    above = _bennett(variance, float(offset[-1]) - mean)
    below = _bennett(variance, mean - float(offset[0]))
    return max(n * mean - below, n * offset[0]), min(n * mean + above, n * offset[-1])


def _bennett(variance: float, largest: float) -> float:
    """Compute a deviation of the sum that is exceeded with negligible probability at most.

    Bennett's inequality, the Chernoff bound for summands at most `largest` above their mean:
    ``P(S − ES ≥ t) ≤ exp(−(v/b²)·g(b·t/v))`` with ``g(x) = (1 + x)·log(1 + x) − x``. Solved by
    Lambert's W: ``g(x) = y`` at ``x = exp(1 + W((y − 1)/e)) − 1``.
    """
    exponent = -np.log(NEGLIGIBLE) * largest**2 / variance
    excess = np.expm1(1 + lambertw((exponent - 1) / np.e).real)
    return float(variance / largest * excess)


def _distribution_of_sum(
    offset: Floats, share: Floats, n: int, width: float, margin: int
) -> tuple[float, Floats]:
    """Compute a grid's spacing and the sum's mass on it, modulo its size (width and margins)."""
    lattice = float(np.diff(offset).min())  # 0 where values differ by less than they are rounded
    if lattice * LARGEST_LATTICE > width:
        multiple = np.round(offset / lattice)
        if np.abs(offset / lattice - multiple).max() < 1e-9:
            size = next_fast_len(int(width / lattice) + 2 * margin, real=True)
            return lattice, irfft(_spectrum(_spread(multiple, share, 2), n, size), size)
    # A split over four points keeps three moments, but is partly negative. Where the sum is smooth
    # at the scale of the grid that does not show.
    size = next_fast_len(max(2**15, int(160 * np.sqrt(n))), real=True)
    step = width / (size - 2 * margin)
    spectrum = _spectrum(_spread(offset / step, share, 4), n, size)
    if np.abs(spectrum[size // 4 :]).max() > SAME:
        # It has atoms. A split over two points has no ripples that a quantile could be caught in;
        # it spreads an atom over √n points or so, which have to be few beside the interval.
        size = next_fast_len(int(np.clip(4000 * np.sqrt(n), 2**16, 2**21)), real=True)
        step = width / (size - 2 * margin)
        spectrum = _spectrum(_spread(offset / step, share, 2), n, size)
    return step, irfft(spectrum, size)


def _spread(
    position: Floats, share: Floats, n_points: int
) -> list[tuple[NDArray[np.intp], Floats]]:
    """Spread masses over 2 or 4 grid points each: positions and masses for each of these.

    By linear interpolation the mean stays, by Lagrange's cubic interpolation three moments stay.
    """
    whole = np.floor(position)
    f = position - whole
    if n_points == 2:
        weights = {0: 1 - f, 1: f}
    else:
        weights = {
            -1: -f * (1 - f) * (2 - f) / 6,
            0: (1 + f) * (1 - f) * (2 - f) / 2,
            1: f * (1 + f) * (2 - f) / 2,
            2: -f * (1 - f) * (1 + f) / 6,
        }
    return [(whole.astype(np.intp) + shift, share * weight) for shift, weight in weights.items()]


def _spectrum(
    parts: list[tuple[NDArray[np.intp], Floats]], n: int, size: int
) -> NDArray[np.complex128]:
    """Transform the n-fold convolution of the masses, modulo `size`."""
    positions = np.concatenate([position for position, _ in parts])
    masses = np.concatenate([mass for _, mass in parts])
    lowest = positions.min()
    mass = np.bincount(positions - lowest, masses)
    circular = (lowest + np.arange(mass.size)) % size
    transformed = rfft(np.bincount(circular, mass, minlength=size))
    modulus = np.abs(transformed)
    kept = np.flatnonzero(modulus > np.exp(-50 / n))  # the n-th power of the others vanishes
    powered = np.zeros_like(transformed)
    powered[kept] = modulus[kept] ** n * np.exp(1j * n * np.angle(transformed[kept]))
    return np.asarray(powered)


def _crossings(cumulated: Floats, probabilities: Floats) -> tuple[NDArray[np.intp], ...]:
    """Find where F reaches each q and where it exceeds it; these differ on a plateau at q."""
    level = probabilities[:, np.newaxis]
    reached = np.argmax(cumulated >= level - SAME, axis=1)
    exceeded = np.argmax(cumulated > level + SAME, axis=1)
    return reached, np.maximum(reached, exceeded)


EXACT = {"mean": interval_of_mean, "median": interval_of_median}
