"""From statistics of every sender, radius and gene to p-values of genes and pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from amici_xr.dataset.response_schema import GENES_OF_DETECTABLE_EFFECT
from amici_xr.kernels.combined_p import (
    SUM_TEST_FROM,
    cauchy_combination,
    chi_square_p,
    effective_genes,
    excess_moments,
    genomic_control,
    harmonic_mean,
    innovations,
    simes,
    sum_test,
)
from amici_xr.response.tests_of_pairs import PairTests

Floats = NDArray[np.float64]

# The larger of two variances makes most statistics too small. Genomic control undoes little of it,
# since it is an estimate, and a sum over genes is sensitive to it.
LEAST_CONTROL = 0.95
MOST_GENES_OF_SUM_TEST = 2000  # beyond, its approximate tail is the fragile part
POWER = 0.8


@dataclass(frozen=True)
class Evidence:
    """Evidence of the receivers of one type."""

    gene_p_value: Floats  # (sender, gene)
    p_value: Floats  # (sender)
    genomic_control: float
    n_genes: int
    effective_genes: tuple[float, float]  # of the sum tests, without and with innovations
    gain: float  # of innovations


def weigh(tests: PairTests) -> Evidence:
    """Combine statistics over radii and genes; senders that were not tested get NaN.

    A pair is tested by Simes over genes, by the sum over genes and, since genes go together, by
    the sum over what each gene tells beyond the others.
    """
    square = tests.deviate**2
    control = genomic_control(square)
    gene_p = cauchy_combination(chi_square_p(square / max(LEAST_CONTROL, control)), axis=1)
    parts = [np.array([simes(p) for p in gene_p])]
    n_genes = square.shape[2]
    gain, effective = 1.0, (float(n_genes), float(n_genes))
    if n_genes <= MOST_GENES_OF_SUM_TEST:
        correlation, degrees_of_freedom = tests.correlation, tests.degrees_of_freedom
        beyond = innovations(tests.deviate, correlation, degrees_of_freedom)
        effective = (effective_genes(correlation, degrees_of_freedom), beyond.effective_genes)
        gain = beyond.gain
        parts += [_sum_p(square, effective[0]), _sum_p(beyond.deviate**2, effective[1])]
    pair_p = np.minimum(1.0, harmonic_mean(np.array(parts)))
    return Evidence(gene_p, pair_p, control, n_genes, effective, gain)


def _sum_p(square: Floats, factor: float) -> Floats:
    """P of the sum test of each sender, over radii; `square` is (sender, radius, gene)."""
    square = square / max(LEAST_CONTROL, genomic_control(square))
    is_tested = np.isfinite(square).all(axis=2)
    by_radius = np.full(is_tested.shape, np.nan)
    by_radius[is_tested] = sum_test(square[is_tested], factor)
    return cauchy_combination(by_radius, axis=1)


def choose_radius(square: Floats, gene_q: Floats) -> int:
    """Return the number of the radius at which significant genes respond most, −1 of none.

    `square` is (radius, gene), NaN at radii that were not tested. Where no gene is significant,
    the one with the largest statistic decides.
    """
    is_tested = np.isfinite(square).any(axis=1)
    if not is_tested.any():
        return -1
    chosen = gene_q < 0.05
    if not chosen.any():
        chosen = np.arange(gene_q.size) == np.nanmax(square, axis=0).argmax()
    total = np.where(is_tested, np.nan_to_num(square[:, chosen]).sum(axis=1), -1.0)
    return int(total.argmax())


def detectable_deviate(evidence: Evidence, level: float) -> float:
    """Return the mean z that eight genes need for a pair to have p ≤ `level` with 80% power.

    The smallest of what Simes' test and the two sum tests need, at one radius.
    """
    n_genes, n_shifted = evidence.n_genes, min(GENES_OF_DETECTABLE_EFFECT, evidence.n_genes)
    n_tests = 1 if n_genes > MOST_GENES_OF_SUM_TEST else 3
    rank = np.arange(1, n_shifted + 1)
    bound = -special.ndtri(0.5 * level / n_tests * rank / n_genes)
    share = special.betaincinv(rank, n_shifted - rank + 1.0, POWER)  # so that `rank` of them pass
    needed = [float((bound + special.ndtri(share)).min())]
    if n_tests > 1:
        for factor, gain in zip(evidence.effective_genes, (1.0, evidence.gain), strict=True):
            needed.append(_deviate_of_sum(n_genes, n_shifted, factor, level / n_tests) / gain)
    return min(needed)


def _deviate_of_sum(n_genes: int, n_shifted: int, factor: float, level: float) -> float:
    """Mean z of the shifted genes for which the sum test has the power."""
    mean, variance = excess_moments()
    mean, variance = mean * n_genes, variance * factor
    critical = special.gammainccinv(mean**2 / variance, level) * variance / mean
    shift = np.linspace(0.0, 20.0, 2001)
    excess = shift**2 + 1.0 - SUM_TEST_FROM  # the variance of z² is 2 + 4·shift²
    total = mean + n_shifted * np.maximum(excess - mean / n_genes, 0.0)
    spread = np.sqrt(variance + n_shifted * (2.0 + 4.0 * shift**2))
    passes = total - special.ndtri(POWER) * spread >= critical
    return float(shift[passes.argmax()]) if passes.any() else float("inf")
