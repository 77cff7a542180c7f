"""How alike values at nearby places are: pairs of places, the empirical variogram, a model of it.

Plain arrays. Places are prepared once, and every row of values at them shares the pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]

ALL_PAIRS = 2**19  # of up to 1,024 places every pair is looked at
FAR_PAIRS = 200_000  # drawn from all pairs where there are more
NEAR, NEAR_PAIRS = 0.1, 60_000  # part of the extent within which few of these lie; pairs of a band
N_BANDS = 20  # halvings of that part
N_BINS = 20  # of lag; their widths grow, so that short lags are told apart
FARTHEST_BIN = 0.5  # of the extent
SHORTEST, LONGEST = 1 / 3, 1.0  # correlation length: of the least lag; of the extent
SCORED_LENGTHS = np.geomspace(0.01, 0.5, 8)  # of the extent
STRUCTURED = 2.0  # standard errors; about one in twenty rows of noise has more
SMALLEST_SHAPE = 1e-9  # of a variogram at lag 0, beside its sill


@dataclass(frozen=True)
class Pairs:
    """Places and pairs of them in ascending order of lag, the distance between the two.

    Attributes
    ----------
    places
        x and y of each place, (place, 2).
    extent
        The longer side of their bounding box.
    first, second, lag, weight
        Positions of the two places, their distance, and how many pairs it stands for, (pair,).
    bin_start, bin_lag, bin_count
        Where each bin of lags up to half the extent that is not empty begins, and where the last
        ends, (bin + 1,); mean lag and number of its pairs, (bin,).
    bin_degrees, bin_squares
        ``Σ_i d_ai·d_bi``, where d_ai counts the pairs of place i in bin a, (bin, bin), and the sum
        of squared weights, (bin,): what the variances of a variogram of noise are made of.
    """

    places: Floats
    extent: float
    first: Integers
    second: Integers
    lag: Floats
    weight: Floats
    bin_start: Integers
    bin_lag: Floats
    bin_count: Floats
    bin_degrees: Floats
    bin_squares: Floats


class Variogram(NamedTuple):
    """``γ(h) = c₀ + c₁·(1 − exp(−h/ℓ))`` for h > 0: nugget c₀, partial sill c₁, length ℓ."""

    nugget: float
    partial_sill: float
    length: float

    @property
    def sill(self) -> float:
        """Variance of a value, ``c₀ + c₁``."""
        return self.nugget + self.partial_sill

    def covariance(self, lag: Floats) -> Floats:
        """Covariance of the values at two places, ``c₁·exp(−h/ℓ)``."""
        if self.length == 0:
            return np.zeros_like(lag)
        return np.asarray(self.partial_sill * np.exp(lag / -self.length))


def prepare(places: ArrayLike) -> Pairs:
    """Pairs of places, binned by lag: what all rows of values at these places share.

    All pairs of up to 1,024 places. Of more, a seeded sample in which each pair stands for many:
    200,000 of all pairs, and for lags below a tenth of the extent up to 60,000 in each of several
    bands, so that short lags are as well known as long ones. The sample does not depend on the
    order of the places. The edges of the bins are ``(extent/2)·(j/20)²``.

    Parameters
    ----------
    places
        Coordinates, (place, 2); of more columns the first two, x and y, are used.

    Raises
    ------
    ValueError
        If there are fewer than two columns, or a coordinate is not finite.

    Examples
    --------
    >>> prepare([[0, 0], [3, 4], [0, 1]]).lag
    array([1.        , 4.24264069, 5.        ])
    """
    places = np.asarray(places, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] < 2:
        raise ValueError(
            f"places has the shape {places.shape}, allowed is (place, 2); pass x and y as columns"
        )
    places = np.ascontiguousarray(places[:, :2])
    if not np.isfinite(places).all():
        raise ValueError("places holds NaN or infinite coordinates; leave those places out")
    n = len(places)
    extent = float(np.ptp(places, axis=0).max()) if n else 0.0
    is_small = n * (n - 1) // 2 <= ALL_PAIRS
    first, second, lag, weight = _all_pairs(places) if is_small else _sampled_pairs(places, extent)
    order = np.argsort(lag, kind="stable")
    first, second, lag, weight = first[order], second[order], lag[order], weight[order]
    edges = extent * FARTHEST_BIN * (np.arange(1, N_BINS + 1) / N_BINS) ** 2
    start = np.unique(np.append(0, np.searchsorted(lag, edges, side="right")))
    bins = np.repeat(np.arange(start.size - 1), np.diff(start))
    used, size = slice(bins.size), start.size - 1

    def summed(what: Floats) -> Floats:
        return np.bincount(bins, what[used], size).astype(np.float64)

    count, degrees = summed(weight), np.zeros((size, n))
    for end in (first, second):
        of_end = np.bincount(bins * n + end[used], weight[used], size * n)
        degrees += of_end.reshape(size, n)
    return Pairs(
        places,
        extent,
        first,
        second,
        lag,
        weight,
        bin_start=start,
        bin_lag=summed(weight * lag) / count,
        bin_count=count,
        bin_degrees=degrees @ degrees.T,
        bin_squares=summed(weight**2),
    )


def empirical_variogram(values: Floats, pairs: Pairs) -> Floats:
    """Matheron's estimate, ``γ̂(h) = Σ (z_i − z_j)² / 2N(h)`` over the N(h) pairs of a bin.

    (..., place) → (..., bin).

    References
    ----------
    Matheron, Principles of geostatistics, Economic Geology 58 (1963), 1246–1266.

    Examples
    --------
    >>> pairs = prepare([[0, 0], [1, 0], [10, 0], [11, 0]])
    >>> pairs.bin_lag, empirical_variogram(np.array([0.0, 2.0, 6.0, 6.0]), pairs)
    (array([1.]), array([1.]))
    """
    start = pairs.bin_start[:-1]
    first, second, weight = (
        part[: pairs.bin_start[-1]] for part in (pairs.first, pairs.second, pairs.weight)
    )
    out = np.zeros((*values.shape[:-1], start.size))
    if start.size:
        for row in np.ndindex(values.shape[:-1]):
            difference = values[row][first] - values[row][second]
            out[row] = np.add.reduceat(weight * difference**2, start) / (2 * pairs.bin_count)
    return out


def fit_variogram(semivariance: Floats, pairs: Pairs) -> Variogram:
    """Nugget and exponential that fit an empirical variogram, by weighted least squares.

    Minimises ``Σ N(h)·(γ̂(h)/γ(h) − 1)²``, Cressie's weights ``N(h)/γ(h)²``, with c₀, c₁ ≥ 0 and ℓ
    between a third of the least lag and the extent. The sill that is best for a share of nugget
    and an ℓ is known in closed form; the best of a grid of the two is where the search begins.
    A variogram that is 0 everywhere, or has no bins, gives 0 for all three.

    References
    ----------
    Cressie, Fitting variogram models by weighted least squares, Mathematical Geology 17 (1985),
    563–586.

    Examples
    --------
    >>> pairs = prepare(np.random.default_rng(0).random((100, 2)))
    >>> fit = fit_variogram(1 + 2 * (1 - np.exp(-pairs.bin_lag / 0.1)), pairs)
    >>> [round(part, 3) for part in fit]
    [1.0, 2.0, 0.1]
    """
    from scipy.optimize import least_squares

    size = float(semivariance.max(initial=0.0))
    if size == 0 or pairs.extent == 0:
        return Variogram(0.0, 0.0, 0.0)
    lag, observed = pairs.bin_lag / pairs.extent, semivariance / size
    weight = pairs.bin_count / pairs.bin_count.sum()

    def ratio(share: Floats, log_length: Floats) -> Floats:
        shape = share + (1 - share) * -np.expm1(-lag / np.exp(log_length))
        return np.asarray(observed / np.maximum(shape, SMALLEST_SHAPE))

    def residuals(at: Floats) -> Floats:
        to_sill = ratio(at[0], at[1])
        best = (weight @ to_sill) / (weight @ to_sill**2)  # 1/sill
        return np.asarray(np.sqrt(weight) * (best * to_sill - 1))

    least = lag[lag > 0].min(initial=LONGEST)
    low, high = np.log(max(SHORTEST * least, 1e-9)), np.log(LONGEST)
    shares = np.linspace(1, 0, 11)  # of equally good ones the first is taken: all of it nugget
    log_lengths = np.linspace(low, high, 40)
    to_sill = ratio(shares[:, np.newaxis, np.newaxis], log_lengths[:, np.newaxis])
    loss = 1 - (to_sill @ weight) ** 2 / (to_sill**2 @ weight)
    i, j = np.unravel_index(np.argmin(loss), loss.shape)
    found = least_squares(
        residuals, (shares[i], log_lengths[j]), bounds=((0, low), (1, high)), xtol=1e-7, ftol=1e-9
    )
    share, length = float(found.x[0]), float(np.exp(found.x[1]))
    to_sill = ratio(found.x[0], found.x[1])
    sill = size * float((weight @ to_sill**2) / (weight @ to_sill))
    if share == 1:
        return Variogram(sill, 0.0, 0.0)
    return Variogram(share * sill, (1 - share) * sill, length * pairs.extent)


def is_structured(values: Floats, semivariance: Floats, pairs: Pairs) -> bool:
    """Whether values (place,) are more alike where they are nearer than independent ones would be.

    ``T(ℓ) = −Σ_h N(h)·e(h)·γ̂(h)``, with e = exp(−h/ℓ) less its mean over pairs, has mean 0 for
    independent values of variance σ² and excess kurtosis κ, and a variance from
    ``cov(N_a·γ̂_a, N_b·γ̂_b) = σ⁴·((2 + κ)·Σ_i d_ai·d_bi/4 + [a = b]·Σ w²)``. True where T exceeds
    twice its standard error at one of eight lengths between 1% and 50% of the extent, which about
    one in twenty rows of independent values does. Without structure ℓ has no meaning.
    """
    if pairs.bin_lag.size < 2:
        return False
    deviation = values - values.mean()
    variance = float(np.mean(deviation**2))
    if variance == 0:
        return False
    kurtosis = float(np.mean(deviation**4)) / variance**2  # κ + 3
    covariance = (kurtosis - 1) * pairs.bin_degrees / 4 + np.diag(pairs.bin_squares)
    near = np.exp(-pairs.bin_lag / pairs.extent / SCORED_LENGTHS[:, np.newaxis])
    near -= (near @ pairs.bin_count / pairs.bin_count.sum())[:, np.newaxis]
    score = -(near @ (pairs.bin_count * semivariance)) / variance
    error = np.sqrt(np.einsum("la,ab,lb->l", near, covariance, near))
    return bool((score > STRUCTURED * error).any())


def _all_pairs(places: Floats) -> tuple[Integers, Integers, Floats, Floats]:
    first, second = np.triu_indices(len(places), 1)
    return first, second, _lags(places, first, second), np.ones(first.size)


def _lags(places: Floats, first: Integers, second: Integers) -> Floats:
    return np.asarray(np.hypot(*(places[first] - places[second]).T))


def _sampled_pairs(places: Floats, extent: float) -> tuple[Integers, Integers, Floats, Floats]:
    """Pairs at random, and in bands of short lags the pairs among fewer of the places.

    The n(n − 1)/2 pairs are represented by those of a random m of the places, where each stands
    for ``n(n − 1)/m(m − 1)``. The shorter the lags of a band, the more places can be taken.
    """
    from scipy.spatial import cKDTree

    n = len(places)
    generator = np.random.default_rng(0)
    order = np.lexsort(places.T)[generator.permutation(n)]
    start = generator.integers(0, n, FAR_PAIRS)
    end = (start + generator.integers(1, n, FAR_PAIRS)) % n
    reach, m = NEAR * extent, min(n, 1000)
    parts = []

    def keep(found: Integers, shortest: float, longest: float, n_pairs: float) -> None:
        lag = _lags(places, found[:, 0], found[:, 1])
        kept = (lag > shortest) & (lag <= longest)
        weight = np.full(int(kept.sum()), n * (n - 1) / 2 / n_pairs)
        parts.append((found[kept, 0], found[kept, 1], lag[kept], weight))

    keep(order[np.stack([start, end], axis=1)], reach, np.inf, FAR_PAIRS)
    for band in range(N_BANDS):
        while True:
            tree = cKDTree(places[order[:m]])
            n_near = max((int(tree.count_neighbors(tree, reach)) - m) // 2, 1)
            wanted = int(np.clip(m * np.sqrt(0.8 * NEAR_PAIRS / n_near), 100, min(n, 4 * m)))
            if m == wanted or NEAR_PAIRS / 2 < n_near <= NEAR_PAIRS:
                break
            m = wanted
        is_last = m == n or band == N_BANDS - 1
        found = order[tree.query_pairs(reach, output_type="ndarray")]
        keep(found, -1.0 if is_last else reach / 2, reach, m * (m - 1) / 2)
        if is_last:
            break
        reach, m = reach / 2, min(n, 2 * m)
    first, second, lag, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
    return first, second, lag, weight
