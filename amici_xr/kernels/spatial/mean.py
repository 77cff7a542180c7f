"""The mean of spatially autocorrelated values, and the mixture of t distributions of its error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from amici_xr.kernels.groups import Floats
from amici_xr.kernels.spatial.basis import SpatialBasis
from amici_xr.kernels.spatial.places import bisect

Alternative = Literal["two-sided", "greater", "less"]


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
    >>> from amici_xr.kernels.spatial.basis import prepare
    >>> rng = np.random.default_rng(0)
    >>> basis = prepare(rng.random((500, 2)))
    >>> inferred = infer_mean(rng.normal(size=(1, 500)), basis)
    >>> inferred.mean.round(2), inferred.half_width().round(2), inferred.p_value(0.5).round(3)
    (array([0.05]), array([0.11]), array([0.]))
    """
    rows = finite_values(values)
    first = rows[:, basis.order[:1]]
    shifted = rows[:, basis.order] - first
    size = np.abs(shifted).max(axis=1, keepdims=True)
    shifted /= np.where(size > 0, size, 1.0)  # squares of what neither vanishes nor overflows
    inferred = infer_from_leaf_sums(
        np.add.reduceat(shifted, basis.start, axis=1), shifted.mean(axis=1), basis
    )
    return SpatialMean(
        first[:, 0] + size[:, 0] * inferred.mean,
        size * inferred.scale,
        inferred.weight,
        inferred.freedom,
        inferred.effective_patches,
    )


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


def infer_from_leaf_sums(sums: Floats, mean: Floats, basis: SpatialBasis) -> SpatialMean:
    """Infer means from the sums of values in each leaf: (row, leaf) and (row,)."""
    return infer_from_contrasts(sums @ basis.contrasts, mean, basis)


def finite_values(values: ArrayLike) -> Floats:
    """Return values as an array of numbers; refuse NaN and infinite ones."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("values holds NaN or infinite values; leave those cells out")
    return values
