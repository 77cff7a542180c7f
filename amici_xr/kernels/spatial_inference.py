"""Intervals and p-values of a mean or median of values that are spatially autocorrelated.

Plain arrays. Places are prepared once, and every row of values at these places shares what was
prepared. The method goes without a choice of scale: values are projected on smooth contrasts over
the places, whose covariance under a grid of exponential models tells by how much the mean varies.

Constants: 30 contrasts of an exponential covariance whose average correlation between two cells is
0.03; 14 average correlations between 0.002 and 0.35, geometrically spaced, with nugget shares of 0,
0.5 and 0.8, and pure noise: 43 models of equal prior probability.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh
from scipy.special import stdtr, stdtrit

from amici_xr.iteration import one_thread_of_linear_algebra
from amici_xr.kernels.groups import Floats, Integers
from amici_xr.kernels.place_leaves import (
    Leaves,
    bisect,
    correlation_lengths,
    describe_leaves,
    distinct_places,
    group_places,
)

Alternative = Literal["two-sided", "greater", "less"]

N_CONTRASTS = 30
NUGGETS = (0.0, 0.5, 0.8)
FEWEST_PLACES = 8  # with fewer there is no interval
FEWEST_PATCHES = 10  # with fewer the interval is wide, and covers less than its level

JITTER = 1e-12  # of the mean variance of a contrast: places may nearly coincide
N_SECTIONS = 64  # into which the search for a bound of the median divides the values at a time


@dataclass(frozen=True)
class SpatialBasis:
    """What all rows of values at the same places share.

    Attributes
    ----------
    order, start
        Cells in the order of their leaves, (cell,), and where each leaf begins, (leaf,).
    contrasts
        W₁ … W_K on the leaves, (leaf, contrast).
    whitening
        Inverse Cholesky factors of the contrasts' covariance Ω₁₁, (model, contrast, contrast).
    log_determinant
        ``log |Ω₁₁|``, (model,).
    mean_variance
        Variance of the mean of all cells, ``Ω₀₀/n``, (model,).
    correlation
        Average correlation of two cells, (model,).
    n_places
        Number of distinct places; below 8 all that is inferred is NaN.
    """

    order: Integers
    start: Integers
    contrasts: Floats
    whitening: Floats
    log_determinant: Floats
    mean_variance: Floats
    correlation: Floats
    n_places: int

    def cell_contrasts(self) -> Floats:
        """Return the contrasts of the leaf of each cell, in the order of the cells: (cell, K)."""
        sizes = np.diff(np.append(self.start, self.order.size))
        contrasts = np.empty((self.order.size, self.contrasts.shape[1]))
        contrasts[self.order] = np.repeat(self.contrasts, sizes, axis=0)
        return contrasts


@dataclass(frozen=True)
class SpatialMean:
    """Means of rows of values, and the mixture of scaled t distributions of their errors.

    Attributes
    ----------
    mean
        Mean of each row, (row,).
    scale, weight
        Scale of the error and posterior weight of each model, (row, model).
    freedom
        Degrees of freedom, the number of contrasts; after `widen` one for each row.
    effective_patches
        One over the posterior mean of the average correlation of two cells, (row,): so many
        independent patches of tissue the cells stand for. NaN for a constant row.
    """

    mean: Floats
    scale: Floats
    weight: Floats
    freedom: float | Floats
    effective_patches: Floats

    def p_value(self, null: ArrayLike = 0.0, alternative: Alternative = "two-sided") -> Floats:
        """Compute the p-value of each row's mean against `null`: (row,).

        ``Σ_g w_g·P(t_K > (ȳ − μ)/s_g)`` for the alternative that the mean is greater than μ. A
        constant row, whose error is 0, has 0 or 1, and at its own value 1/2 (two-sided: 1).
        """
        excess = self.mean - np.asarray(null, dtype=np.float64)
        if alternative == "two-sided":
            return np.asarray(2 * self._upper_tail(np.abs(excess)))
        return self._upper_tail(excess if alternative == "greater" else -excess)

    def half_width(self, confidence_level: float = 0.95) -> Floats:
        """Compute h, with which the interval ``ȳ ± h`` has the confidence level: (row,).

        The bounds are the nulls whose two-sided p-value is ``1 − confidence_level``.
        """
        tail = (1 - confidence_level) / 2
        quantile = -stdtrit(self.freedom, tail)
        return bisect(
            lambda width: self._upper_tail(width) > tail,
            quantile * self.scale.min(axis=1),
            quantile * self.scale.max(axis=1),
        )

    def widen(self, variance: ArrayLike, freedom: float) -> SpatialMean:
        """Add a variance v that was estimated apart with so many degrees of freedom, (row,).

        The scale of each model becomes ``√(s_g² + v)``, and the degrees of freedom those of
        Satterthwaite, ``(s² + v)²/(s⁴/K + v²/freedom)`` with s² the weighted mean of s_g².
        """
        further = np.broadcast_to(np.asarray(variance, dtype=np.float64), self.mean.shape)
        spatial = (self.weight * self.scale**2).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            joined = (spatial + further) ** 2 / (spatial**2 / self.freedom + further**2 / freedom)
        return replace(
            self,
            scale=np.sqrt(self.scale**2 + further[:, np.newaxis]),
            freedom=np.where(spatial + further > 0, joined, self.freedom),
        )

    def _upper_tail(self, excess: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(excess[:, np.newaxis] == 0, 0.0, excess[:, np.newaxis] / self.scale)
        freedom = np.asarray(self.freedom, dtype=np.float64)[..., np.newaxis]
        return np.asarray((self.weight * stdtr(freedom, -ratio)).sum(axis=1))


@one_thread_of_linear_algebra()
def prepare(places: ArrayLike, sample: ArrayLike | None = None) -> SpatialBasis:
    """Prepare places: the contrasts and their covariance under each model.

    Up to 512 distinct places are leaves by themselves; more are grouped into 512 leaves by a k-d
    tree, split at the median of the longer side. With n_b cells in leaf b, the covariance of the
    means of two leaves is ``exp(−d/ℓ)`` at the distance of their centroids, and that of a leaf
    with itself ``[1 + (n_b − 1)·exp(−δ_b/ℓ)]/n_b``, with δ_b the typical distance within it. ℓ of
    a model is found from the average correlation of two cells. Contrasts are the leading
    eigenvectors of the demeaned covariance. Neither the order of the cells nor the unit of the
    coordinates matters.

    Parameters
    ----------
    places
        Coordinates, (cell, 2); of more columns the first two, x and y, are used.
    sample
        Sample of each cell, (cell,), where there are several. Cells of different samples are
        independent under every model, whatever their coordinates, and the average correlation is
        that of two cells of the same sample.

    Raises
    ------
    ValueError
        If there are fewer than two columns, or a coordinate is not finite.

    References
    ----------
    Müller & Watson, Spatial correlation robust inference, Econometrica 90 (2022), 2901–2935: the
    contrasts.

    Examples
    --------
    >>> prepare(np.random.default_rng(0).random((500, 2))).contrasts.shape
    (500, 30)
    """
    xy = np.asarray(places, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] < 2:
        raise ValueError(
            f"places has the shape {xy.shape}, allowed is (cell, 2); pass x and y as columns"
        )
    xy = xy[:, :2]
    if not np.isfinite(xy).all():
        raise ValueError("places holds NaN or infinite coordinates; leave those cells out")
    samples = np.zeros(len(xy), np.intp)
    if sample is not None:
        samples = np.unique(np.asarray(sample), return_inverse=True)[1].reshape(len(xy))
    order, place_start = distinct_places(xy, samples)
    n_places = place_start.size
    if n_places < FEWEST_PLACES:
        one, nan = np.ones((1, 1, 1)), np.full(1, np.nan)
        nothing = np.zeros((n_places, 1))
        return SpatialBasis(order, place_start, nothing, one, nan, nan, nan, n_places)

    order, start = group_places(xy, samples, order, place_start)
    leaves = describe_leaves(xy[order], samples[order], start)
    lengths, correlation, basis_length = correlation_lengths(leaves)
    contrasts = _contrasts(leaves, basis_length)
    # Ω of the mean, first, and the contrasts, under each model
    mean = np.full(start.size, len(xy) ** -0.5)
    weighted = leaves.n_cells[:, np.newaxis] * np.column_stack([mean, contrasts])
    smooth = [weighted.T @ leaves.covariance(length) @ weighted for length in lengths]
    noise = np.eye(weighted.shape[1])
    models = [(1 - nugget) * omega + nugget * noise for nugget in NUGGETS for omega in smooth]
    omega = np.stack([*models, noise])
    of_contrasts = omega[:, 1:, 1:]
    jitter = JITTER * of_contrasts.diagonal(axis1=1, axis2=2).mean(axis=1)
    factor = np.linalg.cholesky(of_contrasts + jitter[:, np.newaxis, np.newaxis] * noise[1:, 1:])
    return SpatialBasis(
        order,
        start,
        contrasts,
        whitening=np.linalg.inv(factor),
        log_determinant=2 * np.log(factor.diagonal(axis1=1, axis2=2)).sum(axis=1),
        mean_variance=omega[:, 0, 0] / len(xy),
        correlation=np.append(np.outer(1 - np.array(NUGGETS), correlation), 0.0),
        n_places=n_places,
    )


def infer_mean(values: ArrayLike, basis: SpatialBasis) -> SpatialMean:
    """Infer the mean of each row of values, (row, cell), from the sizes of its contrasts.

    With X the contrasts of the row and ``Q_g = X′Ω₁₁⁻¹X`` under model g, the weights are
    ``w_g ∝ |Ω₁₁|^(−½)·Q_g^(−K/2)`` and the scales ``s_g = √(Ω₀₀·Q_g/(K·n))``: the error of the mean
    is a mixture of t distributions with K degrees of freedom. Fewer than 8 distinct places give
    NaN. A constant row has an error of 0.

    Raises
    ------
    ValueError
        If a value is not finite.

    References
    ----------
    Müller & Watson, Measuring uncertainty about long-run predictions, Review of Economic Studies 83
    (2016), 1711–1740: the mixture, in time.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> basis = prepare(rng.random((500, 2)))
    >>> inferred = infer_mean(rng.normal(size=(1, 500)), basis)
    >>> inferred.mean.round(2), inferred.half_width().round(2), inferred.p_value(0.5).round(3)
    (array([0.05]), array([0.11]), array([0.]))
    """
    rows = _finite(values)
    first = rows[:, basis.order[:1]]
    shifted = rows[:, basis.order] - first
    size = np.abs(shifted).max(axis=1, keepdims=True)
    shifted /= np.where(size > 0, size, 1.0)  # squares of what neither vanishes nor overflows
    inferred = _from_leaf_sums(
        np.add.reduceat(shifted, basis.start, axis=1), shifted.mean(axis=1), basis
    )
    return SpatialMean(
        first[:, 0] + size[:, 0] * inferred.mean,
        size * inferred.scale,
        inferred.weight,
        inferred.freedom,
        inferred.effective_patches,
    )


def spatial_interval(
    values: ArrayLike,
    basis: SpatialBasis,
    statistic: Literal["mean", "median"] = "mean",
    confidence_level: float = 0.95,
) -> Floats:
    """Estimate, lower and upper bound, and effective patches: (..., cell) → (..., 4).

    Mean: `infer_mean`. Median: one-sided tests of shares of cells are inverted. The lower bound is
    the least value x for which "the share of cells up to x is at least ½" is not rejected at
    ``α/2``, the upper bound the largest for which "the share of cells below x is at most ½" is not.
    Its effective patches are those of the signs of ``y − median``.

    Fewer than 8 distinct places give NaN for all but the estimate. Fewer than 10 effective patches
    make intervals wide, and they cover less than their level. A constant row has zero width.

    Raises
    ------
    ValueError
        If a value is not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> basis = prepare(rng.random((500, 2)))
    >>> spatial_interval(rng.normal(size=500), basis)[:3].round(2)
    array([ 0.05, -0.07,  0.16])
    """
    values = np.asarray(values, dtype=np.float64)
    rows = _finite(values.reshape(-1, values.shape[-1]))
    if statistic == "mean":
        inferred = infer_mean(rows, basis)
        half = inferred.half_width(confidence_level)
        point, lower, upper = inferred.mean, inferred.mean - half, inferred.mean + half
    else:
        point = np.median(rows, axis=1)
        inferred = infer_mean(np.sign(rows - point[:, np.newaxis]), basis)
        tail = (1 - confidence_level) / 2
        lower = np.array([_lower_bound_of_median(row, basis, tail) for row in rows])
        upper = -np.array([_lower_bound_of_median(-row, basis, tail) for row in rows])
    result = np.stack([point, lower, upper, inferred.effective_patches], axis=-1)
    if basis.n_places < FEWEST_PLACES:
        result[:, 1:] = np.nan
    return result.reshape(*values.shape[:-1], 4)


def _finite(values: ArrayLike) -> Floats:
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("values holds NaN or infinite values; leave those cells out")
    return values


def _from_leaf_sums(sums: Floats, mean: Floats, basis: SpatialBasis) -> SpatialMean:
    """Infer means from the sums of values in each leaf: (row, leaf) and (row,)."""
    return infer_from_contrasts(sums @ basis.contrasts, mean, basis)


def infer_from_contrasts(contrasts: Floats, mean: Floats, basis: SpatialBasis) -> SpatialMean:
    """Infer means as `infer_mean`, from the contrasts X of each row, (row, contrast), and (row,).

    Contrasts are sums over cells, ``values @ basis.cell_contrasts()``, and so can be added up where
    the cells come in parts.
    """
    n_contrasts = basis.contrasts.shape[1]
    whitened = basis.whitening @ contrasts.T
    quadratic = (whitened**2).sum(axis=1).T  # (row, model)
    has_spread = quadratic > 0
    log_weight = -0.5 * basis.log_determinant - 0.5 * n_contrasts * np.log(
        np.where(has_spread, quadratic, 1.0)
    )
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):  # samples of a cell each
        patches = np.where(has_spread.any(axis=1), 1 / (weight @ basis.correlation), np.nan)
    scale = np.sqrt(basis.mean_variance * quadratic / n_contrasts)
    return SpatialMean(mean, scale, weight, n_contrasts, patches)


def _lower_bound_of_median(values: Floats, basis: SpatialBasis, tail: float) -> float:
    """Find the least value for which "the share of cells up to it is at least ½" is accepted."""
    distinct, code = np.unique(values[basis.order], return_inverse=True)
    n_leaves = basis.start.size
    leaf = np.repeat(np.arange(n_leaves), np.diff(np.append(basis.start, values.size)))

    def are_accepted(positions: Integers) -> NDArray[np.bool_]:
        n_columns = positions.size + 1  # the last for cells above all positions
        column = leaf * n_columns + np.searchsorted(positions, code)
        count = np.bincount(column, minlength=n_leaves * n_columns).reshape(n_leaves, n_columns)
        up_to = count[:, :-1].cumsum(axis=1).T.astype(np.float64)
        share = _from_leaf_sums(up_to, up_to.sum(axis=1) / values.size, basis)
        return share.p_value(0.5, "less") > tail

    return float(distinct[_first_accepted(are_accepted, distinct.size - 1)])


def _first_accepted(are_accepted: Callable[[Integers], NDArray[np.bool_]], last: int) -> int:
    """Find the least accepted position from 0 on; `last` always is accepted.

    Looks at 64 positions at a time, then between the first accepted and the one before it.
    """
    low, high = 0, last
    while low < high:
        positions = np.unique(np.linspace(low, high, N_SECTIONS).astype(np.intp))
        first = int(np.argmax(are_accepted(positions)))
        high = int(positions[first])
        low = int(positions[first - 1]) + 1 if first else high
    return high


def _contrasts(leaves: Leaves, length: float) -> Floats:
    """Leading eigenvectors of the demeaned covariance: (leaf, contrast), with ``W′NW = I``."""
    share, root, last = (
        leaves.n_cells / leaves.n_cells.sum(),
        np.sqrt(leaves.n_cells),
        len(leaves.n_cells),
    )
    demeaned = leaves.covariance(length)
    demeaned -= (demeaned @ share)[:, np.newaxis]
    demeaned -= share @ demeaned
    leading = (last - min(N_CONTRASTS, last - 1), last - 1)
    _, vectors = eigh(root[:, np.newaxis] * demeaned * root, subset_by_index=leading)
    return np.asarray(vectors / root[:, np.newaxis])
