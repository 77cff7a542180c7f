"""Intervals of a mean or median of values that are alike where they are near each other.

Plain arrays. Sums over blocks of the tissue estimate the variance of the mean without a model of
dependence; a fitted variogram tells how large the blocks have to be, and corrects for what is
left of the dependence between them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

from amici_xr.kernels.variograms import (
    Floats,
    Integers,
    Pairs,
    Variogram,
    empirical_variogram,
    fit_variogram,
    is_structured,
)

FEWEST_BLOCKS, MOST_BLOCKS = 4, 20  # along each side
LENGTHS_PER_BLOCK = 6
CELLS_PER_BLOCK = 25  # where no structure is seen
CELLS_PER_BOX = 5  # of the grid on which the occupied area is measured
NEGLIGIBLE = 40  # correlation lengths, where exp(−h/ℓ) is below rounding
FEWEST_PATCHES = 4  # with fewer there is no interval


class Blocks(NamedTuple):
    """The blocks that hold cells: that of each cell, (place,), and the cells of each, (block,)."""

    code: Integers
    n_cells: Integers


class SpatialError(NamedTuple):
    """Standard error of a mean, its degrees of freedom, and what they rest on."""

    standard_error: float
    degrees_of_freedom: float
    n_blocks: int
    effective_patches: float


def block_interval(
    values: Floats,
    pairs: Pairs,
    statistic: Literal["mean", "median"] = "mean",
    confidence_level: float = 0.95,
) -> Floats:
    """Point estimate, bounds, number of blocks and of effective patches: (..., place) → (..., 5).

    Mean: ``m ± t·se`` with `spatial_error`'s standard error and degrees of freedom. Median, after
    Woodruff: the same of the indicator of lying below the median gives an interval of
    probabilities, ``½ ± t·se``, which the quantile function maps to values: the lower bound is the
    least value x with ``F(x) ≥ ½ − t·se``, the upper one the least with ``F(x) > ½ + t·se``. Where
    several values equal the median (lengths floored at 0), those below it make the lower bound and
    those not above it the upper one: each side varies as the share does that would have to cross ½.

    Fewer than 4 effective patches give NaN for the bounds; so do fewer than 4 cells, unless they
    agree: a constant row of two or more has zero width.

    Raises
    ------
    ValueError
        If a value is not finite.

    References
    ----------
    Woodruff, Confidence intervals for medians and other position measures, JASA 47 (1952), 635–646.

    Examples
    --------
    >>> from amici_xr.variograms import prepare
    >>> rng = np.random.default_rng(0)
    >>> pairs = prepare(rng.random((500, 2)))
    >>> block_interval(rng.normal(size=500), pairs)[:3].round(2)
    array([ 0.05, -0.06,  0.15])
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("values holds NaN or infinite values, which have no place in a mean")
    out = np.full((*values.shape[:-1], 5), np.nan)
    of_row = _mean_interval if statistic == "mean" else _median_interval
    for row in np.ndindex(values.shape[:-1]):
        if values.shape[-1]:
            out[row] = of_row(values[row], pairs, confidence_level)
    return out


def spatial_error(values: Floats, pairs: Pairs) -> SpatialError:
    """Standard error of the mean of values (place,) that depend on each other in space.

    1. γ, nugget and exponential, fitted to the variogram of the values' ranks (`fit_variogram`).
    2. k × k blocks over the bounding box, ``k = clip(⌊extent/6ℓ⌋, 4, 20)``, B of them with cells.
    3. ``s² = B/(B − 1)·Σ_b (S_b − m·n_b)²/N²``, of block sums S_b of n_b of the N cells.
    4. ``se² = s²·max(1, v/E)``: v is the variance of the mean and E the expectation of s², both
       under γ and for the cells' own places. Blocks that depend on each other make s² too small.

    Ranks, because a variogram of skewed values is that of their few largest, and because the
    ratio needs γ but for its scale. Where the ranks show no structure in space (`is_structured`),
    ℓ means nothing: γ is all nugget, the ratio 1, and ``k = clip(⌊√(N/25)⌋, 4, 20)``: blocks of so
    many cells feel a dependence that is too weak to be seen between pairs of them.

    The degrees of freedom are Satterthwaite's, ``(tr R)²/tr R²`` with R the covariance of the
    ``S_b − m·n_b`` under γ, at most B − 1: exactly that where all blocks hold as many cells and are
    independent, fewer where a few blocks hold most of the cells.

    Effective patches are ``area/2πℓ²``, the occupied area over the integral range of the
    exponential, at most the number of cells; that number where there is no structure.

    References
    ----------
    Sherman, Variance estimation for statistics computed from spatial lattice data, JRSS B 58
    (1996), 509–523. Lahiri, Resampling Methods for Dependent Data (2003), chapter 12.
    Satterthwaite, An approximate distribution of estimates of variance components, Biometrics 2
    (1946), 110–114. Lantuéjoul, Ergodicity and integral range, J. Microscopy 161 (1991), 387–403.
    """
    shifted = values - values[0]
    scale = float(np.abs(shifted).max())
    is_constant = scale == 0
    model = None if is_constant else dependence(shifted, pairs)
    side, patches = np.sqrt(values.size / CELLS_PER_BLOCK), float(values.size)
    if model is not None:
        side = pairs.extent / (LENGTHS_PER_BLOCK * model.length)
        patches = min(patches, occupied_area(pairs) / (2 * np.pi * model.length**2))
    grid = blocks(pairs, int(np.clip(side, FEWEST_BLOCKS, MOST_BLOCKS)))
    n_blocks = grid.n_cells.size
    if is_constant or n_blocks == 1:
        return SpatialError(0.0 if is_constant else np.nan, 1.0, n_blocks, patches)
    covariance = block_covariance(model or Variogram(1.0, 0.0, 0.0), pairs, grid)
    residual = residual_covariance(covariance, grid)
    expected = expected_block_variance(residual, values.size)
    ratio = 1.0 if model is None else variance_of_mean(covariance, values.size) / expected
    variance = block_variance(shifted / scale, grid)  # of what neither vanishes nor overflows
    standard_error = scale * float(np.sqrt(variance * max(1.0, ratio)))
    return SpatialError(standard_error, degrees_of_freedom(residual), n_blocks, patches)


def dependence(values: Floats, pairs: Pairs) -> Variogram | None:
    """Model of the variogram of the values' ranks; None where they show no structure in space."""
    from scipy.stats import rankdata

    ranks = np.asarray(rankdata(values)) / values.size
    semivariance = empirical_variogram(ranks, pairs)
    if not is_structured(ranks, semivariance, pairs):
        return None
    model = fit_variogram(semivariance, pairs)
    return model if model.length > 0 else None


def blocks(pairs: Pairs, k: int) -> Blocks:
    """Divide the bounding box into k × k blocks; those without cells are left out."""
    low = pairs.places.min(axis=0)
    side = np.ptp(pairs.places, axis=0)
    relative = (pairs.places - low) / np.where(side > 0, side, 1.0)
    column, row = np.minimum((k * relative).astype(np.intp), k - 1).T
    _, code, count = np.unique(column * k + row, return_inverse=True, return_counts=True)
    return Blocks(code.reshape(-1), count)


def block_variance(values: Floats, grid: Blocks) -> float:
    """Variance of the mean from block sums, ``B/(B − 1)·Σ_b (S_b − m·n_b)²/N²``."""
    residual = np.bincount(grid.code, values - values.mean())
    n_blocks = residual.size
    return float(n_blocks / (n_blocks - 1) * (residual**2).sum() / values.size**2)


def block_covariance(model: Variogram, pairs: Pairs, grid: Blocks) -> Floats:
    """Covariance of block sums under the model, ``K_bc = Σ_{i∈b, j∈c} C(i, j)``: (block, block)."""
    n_blocks = grid.n_cells.size
    near = slice(np.searchsorted(pairs.lag, NEGLIGIBLE * model.length))
    between = grid.code[pairs.first[near]] * n_blocks + grid.code[pairs.second[near]]
    weighted = pairs.weight[near] * model.covariance(pairs.lag[near])
    summed = np.bincount(between, weighted, n_blocks**2)
    half = summed.reshape(n_blocks, n_blocks)
    return np.asarray(half + half.T + np.diag(model.sill * grid.n_cells))


def residual_covariance(covariance: Floats, grid: Blocks) -> Floats:
    """Covariance of ``S_b − m·n_b`` from that of the sums, ``R = P·K·Pᵀ`` with P = I − (n/N)·1ᵀ."""
    share = grid.n_cells / grid.n_cells.sum()
    with_mean = np.outer(covariance.sum(axis=1), share)
    whole = covariance.sum() * np.outer(share, share)
    return np.asarray(covariance - with_mean - with_mean.T + whole)


def variance_of_mean(covariance: Floats, n: int) -> float:
    """Variance of the mean of all n cells from the covariance of block sums."""
    return float(covariance.sum()) / n**2


def expected_block_variance(residual: Floats, n: int) -> float:
    """Expectation of `block_variance`, ``B/(B − 1)·tr R/N²``."""
    n_blocks = len(residual)
    return n_blocks / (n_blocks - 1) * float(np.trace(residual)) / n**2


def degrees_of_freedom(residual: Floats) -> float:
    """Satterthwaite's ``(tr R)²/tr R²``, between 1 and B − 1."""
    squares = float((residual**2).sum())
    wanted = float(np.trace(residual)) ** 2 / squares if squares > 0 else 1.0
    return float(np.clip(wanted, 1.0, len(residual) - 1))


def occupied_area(pairs: Pairs) -> float:
    """Area of the boxes that hold cells, of a grid with about five cells to a box.

    The bounding box of an L-shaped tissue, or of clumps of cells, has room where no cells are.
    """
    along = np.sqrt(len(pairs.places) / CELLS_PER_BOX)
    k = int(np.clip(along, FEWEST_BLOCKS, MOST_BLOCKS))
    return blocks(pairs, k).n_cells.size * float(np.ptp(pairs.places, axis=0).prod()) / k**2


def _mean_interval(values: Floats, pairs: Pairs, confidence_level: float) -> tuple[float, ...]:
    error = spatial_error(values, pairs)
    is_constant = values.size > 1 and error.standard_error == 0
    mean = float(values[0] if is_constant else values.mean())
    half = 0.0 if is_constant else _half_width(error, confidence_level)
    return mean, mean - half, mean + half, error.n_blocks, error.effective_patches


def _median_interval(values: Floats, pairs: Pairs, confidence_level: float) -> tuple[float, ...]:
    median, ordered = float(np.median(values)), np.sort(values)
    n = values.size
    below, not_above = values < median, values <= median
    if not_above.sum() - below.sum() <= 1:  # one cell stands at the median: half of it on each side
        indicators = [(below + not_above.astype(np.float64)) / 2] * 2
    else:
        indicators = [below.astype(np.float64), not_above.astype(np.float64)]
    errors = [spatial_error(indicators[0], pairs)]
    errors.append(
        errors[0] if indicators[1] is indicators[0] else spatial_error(indicators[1], pairs)
    )
    n_blocks = min(error.n_blocks for error in errors)
    patches = min(error.effective_patches for error in errors)
    if n > 1 and ordered[0] == ordered[-1]:
        return median, median, median, n_blocks, patches
    down, up = (_half_width(error, confidence_level) for error in errors)
    if np.isnan(down + up):
        return median, np.nan, np.nan, n_blocks, patches
    lower = ordered[max(int(np.ceil(n * (0.5 - down) - 1e-9)) - 1, 0)]
    upper = ordered[min(int(np.floor(n * (0.5 + up) + 1e-9)), n - 1)]
    return median, min(float(lower), median), max(float(upper), median), n_blocks, patches


def _half_width(error: SpatialError, confidence_level: float) -> float:
    if error.effective_patches < FEWEST_PATCHES:
        return np.nan
    return (
        float(stdtrit(error.degrees_of_freedom, (1 + confidence_level) / 2)) * error.standard_error
    )
