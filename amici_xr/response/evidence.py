"""From statistics of every sender, radius and gene to p-values of genes and pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from amici_xr.kernels.combined_p import (
    SUM_TEST_FROM,
    cauchy_combination,
    chi_square_p,
    excess_moments,
    genomic_control,
    simes,
    sum_test,
)
from amici_xr.response.tests_of_pairs import PairTests

Floats = NDArray[np.float64]

LEAST_CONTROL_OF_SUM = 0.95
MOST_GENES_OF_SUM_TEST = 2000  # beyond, its approximate tail is the fragile part
GENES_OF_DETECTABLE_EFFECT = 8
POWER = 0.8


@dataclass(frozen=True)
class Evidence:
    """Evidence of the receivers of one type."""

    gene_p_value: Floats  # (sender, gene)
    p_value: Floats  # (sender)
    genomic_control: float


def weigh(tests: PairTests) -> Evidence:
    """Combine statistics over radii and genes; senders that were not tested get NaN."""
    control = genomic_control(tests.square)
    controlled = tests.square / max(1.0, control)
    gene_p = cauchy_combination(chi_square_p(controlled), axis=1)
    n_genes = tests.square.shape[2]
    pair_p = np.array([simes(p) for p in gene_p])
    if 0 < n_genes <= MOST_GENES_OF_SUM_TEST:
        for_sum = tests.square / max(LEAST_CONTROL_OF_SUM, control)
        is_tested = np.isfinite(for_sum).all(axis=2)
        by_radius = np.full(is_tested.shape, np.nan)
        by_radius[is_tested] = sum_test(for_sum[is_tested], tests.variance_factor)
        pair_p = np.minimum(pair_p, cauchy_combination(by_radius, axis=1))
    return Evidence(gene_p, np.minimum(1.0, 2.0 * pair_p), control)


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


def detectable_deviate(n_genes: int, variance_factor: float, level: float) -> float:
    """Return the mean z that eight genes need for a pair to have p ≤ `level` with 80% power.

    The smaller of what Simes' test and the sum test need, at one radius.
    """
    n_shifted = min(GENES_OF_DETECTABLE_EFFECT, n_genes)
    rank = np.arange(1, n_shifted + 1)
    bound = stats.norm.isf(0.25 * level * rank / n_genes)  # two sides; twice the least of two
    share = special.betaincinv(rank, n_shifted - rank + 1.0, POWER)  # so that `rank` of them pass
    by_simes = float((bound + stats.norm.ppf(share)).min())
    if n_genes > MOST_GENES_OF_SUM_TEST:
        return by_simes
    mean, variance = excess_moments()
    mean, variance = mean * n_genes, variance * variance_factor
    critical = stats.gamma.isf(0.5 * level, mean**2 / variance, scale=variance / mean)
    shift = np.linspace(0.0, 10.0, 1001)
    shifted_square = shift**2 + 1.0  # of a deviate with that mean; its variance is 2 + 4·shift²
    total = mean * (1.0 - n_shifted / n_genes) + n_shifted * np.maximum(
        shifted_square - SUM_TEST_FROM, mean / n_genes
    )
    spread = np.sqrt(variance + n_shifted * (2.0 + 4.0 * shift**2))
    passes = total + stats.norm.isf(POWER) * spread >= critical
    by_sum = float(shift[passes.argmax()]) if passes.any() else np.inf
    return min(by_simes, by_sum)
