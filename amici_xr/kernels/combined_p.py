"""Many p-values as one: over radii, over genes, over pairs; and statistics made comparable."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

CHI_SQUARE_MEDIAN = 0.4549364231195724
_MOST_P = 0.99  # one p near 1 would otherwise cancel all others in a Cauchy combination
_LEAST_P = 1e-300
SUM_TEST_FROM = 2.0  # the sum test adds what z² exceeds this by


def chi_square_equivalent(t: Floats, degrees_of_freedom: float) -> Floats:
    """Return the square of the normal deviate that has the same two-sided p as Student's t.

    Examples
    --------
    >>> chi_square_equivalent(np.array([2.0]), 10.0).round(3)
    array([3.206])
    """
    tail = special.stdtr(degrees_of_freedom, -np.abs(t))
    deviate = np.asarray(-special.ndtri(np.maximum(tail, _LEAST_P)))
    eighth = 8.0 * degrees_of_freedom  # Wallace's approximation where the tail underflows
    approximate = (
        (eighth + 1)
        / (eighth + 3)
        * np.sqrt(degrees_of_freedom * np.log1p(t**2 / degrees_of_freedom))
    )
    return np.asarray(np.where(tail > 1e-290, deviate, approximate) ** 2)


def chi_square_p(square: Floats) -> Floats:
    """Return the p of a χ² with one degree of freedom."""
    return np.asarray(special.erfc(np.sqrt(0.5 * square)))


def genomic_control(squares: Floats) -> float:
    """Return the median of χ²₁ statistics over what it is expected to be; NaN are left out.

    Examples
    --------
    >>> genomic_control(np.array([0.2, 0.4549364231195724, np.nan, 9.0]))
    1.0
    """
    finite = squares[np.isfinite(squares)]
    return float(np.median(finite) / CHI_SQUARE_MEDIAN) if finite.size else 1.0


def cauchy_combination(p: Floats, axis: int = 0) -> Floats:
    """Combine p-values that depend on each other; NaN are left out, all NaN give NaN.

    Each is clipped at 0.99.

    Examples
    --------
    >>> float(cauchy_combination(np.array([0.01, 0.01, 0.01])).round(6))
    0.01
    """
    statistic = 1.0 / np.tan(np.pi * np.clip(p, _LEAST_P, _MOST_P))
    n_combined = np.isfinite(p).sum(axis=axis)
    mean = np.nansum(statistic, axis=axis) / np.maximum(n_combined, 1)
    return np.asarray(np.where(n_combined > 0, np.arctan2(1.0, mean) / np.pi, np.nan))


def simes(p: Floats) -> float:
    """Return Simes' p of the hypothesis that all of `p` are null: ``min(m·p₍ₖ₎/k)``; NaN of none.

    Examples
    --------
    >>> simes(np.array([0.01, 0.5, 0.02]))
    0.03
    """
    ordered = np.sort(p[np.isfinite(p)])
    if not ordered.size:
        return float("nan")
    return float((ordered * ordered.size / np.arange(1, ordered.size + 1)).min())


def holm(p: Floats) -> Floats:
    """Return p adjusted by Holm's method over all that are not NaN; NaN stays.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, np.nan, 0.03]))
    array([0.03, 0.06,  nan, 0.06])
    """
    adjusted = np.full(p.shape, np.nan)
    is_test = np.isfinite(p)
    tests = p[is_test]
    order = np.argsort(tests, kind="stable")
    stepped = np.maximum.accumulate(tests[order] * np.arange(tests.size, 0, -1))
    values = np.empty(tests.size)
    values[order] = np.minimum(stepped, 1.0)
    adjusted[is_test] = values
    return adjusted


def excess_moments() -> tuple[float, float]:
    """Return mean and variance of ``(Z² − 2)₊`` of a standard normal Z."""
    bound = np.sqrt(SUM_TEST_FROM)
    density, tail = np.exp(-0.5 * bound**2) / np.sqrt(2.0 * np.pi), special.ndtr(-bound)
    second = 2.0 * (bound * density + tail)  # of Z² where it exceeds
    fourth = 2.0 * (bound**3 * density + 3.0 * bound * density + 3.0 * tail)
    mean = second - SUM_TEST_FROM * 2.0 * tail
    square = fourth - 2.0 * SUM_TEST_FROM * second + SUM_TEST_FROM**2 * 2.0 * tail
    return float(mean), float(square - mean**2)


def residual_correlation(residual: Floats) -> Floats:
    """Return the correlation between genes, (gene, gene), of residuals (cell, gene)."""
    length = np.sqrt(np.einsum("ij,ij->j", residual, residual))
    scaled = residual / length
    return np.asarray(scaled.T @ scaled)


def effective_genes(correlation: Floats, degrees_of_freedom: float) -> float:
    """Return by how much the variance of a sum over genes exceeds that of one gene.

    The number of genes plus the sum over pairs of their squared correlation, less what noise adds
    to it.
    """
    n_genes = len(correlation)
    squares = float((correlation**2).sum()) - n_genes
    noise = n_genes * (n_genes - 1) / degrees_of_freedom
    return n_genes + max(0.0, squares - noise)


class Innovations(NamedTuple):
    """What each gene tells beyond all others."""

    deviate: Floats  # (…, gene), of unit variance
    effective_genes: float
    gain: float  # median factor by which the deviate of a gene that responds alone grows


def innovations(deviate: Floats, correlation: Floats, degrees_of_freedom: float) -> Innovations:
    """Return the part of each gene's deviate that those of all other genes don't foretell.

    ``C⁻¹z`` over the roots of the diagonal of ``C⁻¹``, where C is the correlation, shrunk towards
    the identity by the share of its squares that noise explains. `deviate` is (…, gene).

    Examples
    --------
    >>> correlation = np.array([[1.0, 0.6], [0.6, 1.0]])
    >>> innovations(np.array([1.0, 0.0]), correlation, 1e9).deviate.round(3)
    array([ 1.25, -0.75])
    """
    n_genes = len(correlation)
    squares = float((correlation**2).sum()) - n_genes
    noise = n_genes * (n_genes - 1) / degrees_of_freedom
    shrinkage = min(1.0, noise / squares) if squares > 0 else 1.0
    shrunk = (1.0 - shrinkage) * correlation
    shrunk[np.diag_indices(n_genes)] = 1.0
    precision = np.linalg.inv(shrunk)
    root = np.sqrt(np.diag(precision))
    partial = precision / np.outer(root, root)
    return Innovations(
        deviate @ precision / root, float((partial**2).sum()), float(np.median(root))
    )


def harmonic_mean(p: Floats) -> Floats:
    """Return the harmonic mean of p-values over the first axis (Wilson 2019).

    Of several tests of one hypothesis that depend on each other; unlike twice the least of two, it
    loses nothing where they agree.

    Examples
    --------
    >>> float(harmonic_mean(np.array([0.01, 0.01])))
    0.01
    """
    return np.asarray(len(p) / (1.0 / np.maximum(p, _LEAST_P)).sum(axis=0))


def sum_test(squares: Floats, variance_factor: float) -> Floats:
    """Return p of ``Σ(z² − 2)₊`` over genes, the last axis, against a gamma distribution.

    Its mean is that of independent normal deviates, its variance that of one of them times
    `variance_factor` (`effective_genes`).
    """
    mean, variance = excess_moments()
    mean, variance = mean * squares.shape[-1], variance * variance_factor
    total = np.maximum(squares - SUM_TEST_FROM, 0.0).sum(axis=-1)
    return np.asarray(special.gammaincc(mean**2 / variance, total * mean / variance))
