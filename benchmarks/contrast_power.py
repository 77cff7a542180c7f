"""Type-I error, power and false discoveries of the permutation test behind ``contrast``.

Run with ``python benchmarks/contrast_power.py``; a minute. Length scales of samples are normal with
SD 5; the shift is that of the second group. Beside the power stand Welch's t test on the same
values, and what the noncentral t says for the t test of equal variances.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from amici_xr.kernels import permutation

SD = 5.0
ALPHA = 0.05
N_RESAMPLES = 9_999
SIZES = ((3, 3), (4, 4), (5, 5), (6, 6), (8, 8), (4, 8))
SHIFTS = (0.0, 5.0, 10.0, 15.0)
FAMILIES = ((1, 1), (5, 1), (5, 5), (20, 10), (100, 50), (100, 5))

Floats = NDArray[np.float64]


def drawn(generator: np.random.Generator, shape: tuple[int, ...], shift: float) -> Floats:
    """Length scales of samples."""
    return generator.normal(40 + shift, SD, shape)


def p_values(first: Floats, second: Floats) -> Floats:
    """As `contrast` computes them."""
    return permutation.permutation_p(first, second, n_resamples=N_RESAMPLES, random_state=42)


def noncentral_t_power(n_first: int, n_second: int, shift: float) -> float:
    """Power of the two-sided t test of equal variances."""
    degrees = n_first + n_second - 2
    center = shift / (SD * np.sqrt(1 / n_first + 1 / n_second))
    critical = stats.t.isf(ALPHA / 2, degrees)
    tails = stats.nct.sf(critical, degrees, center) + stats.nct.cdf(-critical, degrees, center)
    return float(tails)


def single_tests(n_trials: int, generator: np.random.Generator) -> None:
    """Print how often one test has p ≤ 0.05."""
    print(f"share of p ≤ {ALPHA}, {n_trials:,} trials (standard error up to "
          f"{0.5 / np.sqrt(n_trials):.3f})")  # fmt: skip
    print("   units  shift  least p  permutation  Welch's t  noncentral t")
    for n_first, n_second in SIZES:
        least = float(permutation.min_attainable_p(n_first, n_second, n_resamples=N_RESAMPLES))
        for shift in SHIFTS:
            first = drawn(generator, (n_trials, n_first), 0.0)
            second = drawn(generator, (n_trials, n_second), shift)
            of_permutation = np.mean(p_values(first, second) <= ALPHA)
            welch = stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue
            in_theory = noncentral_t_power(n_first, n_second, shift)
            print(
                f"{f'{n_first} v {n_second}':>8}{shift:>7g}{least:>9.4f}{of_permutation:>13.3f}"
                f"{np.mean(welch <= ALPHA):>11.3f}{in_theory:>14.3f}"
            )


def families(n_trials: int, generator: np.random.Generator, shift: float = 10.0) -> None:
    """Print what is left after Benjamini-Hochberg at 5 against 5."""
    print(f"\nq ≤ {ALPHA} at 5 against 5, shift {shift:g}, {n_trials:,} families each")
    print("   tests  that differ  power  false discoveries")
    for n_tests, n_different in FAMILIES:
        first = drawn(generator, (n_trials, n_tests, 5), 0.0)
        second = drawn(generator, (n_trials, n_tests, 5), 0.0)
        second[:, :n_different] += shift
        p = p_values(first, second)
        is_found = np.array([permutation.benjamini_hochberg(row) for row in p]) <= ALPHA
        false = is_found[:, n_different:].sum(axis=1) / np.maximum(is_found.sum(axis=1), 1)
        power = is_found[:, :n_different].mean()
        print(f"{n_tests:>8}{n_different:>13}{power:>7.3f}{false.mean():>19.3f}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000, metavar="10000")
    parser.add_argument("--seed", type=int, default=0, metavar="0")
    arguments = parser.parse_args()
    generator = np.random.default_rng(arguments.seed)
    single_tests(arguments.trials, generator)
    families(max(1, arguments.trials // 10), generator)


if __name__ == "__main__":
    main()
