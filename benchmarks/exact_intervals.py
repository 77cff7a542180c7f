"""Are the exact bootstrap intervals right? Compared with Monte Carlo and with full enumeration.

Run with ``python benchmarks/exact_intervals.py --minutes 10``; it exits with 1 if any is wrong.
An endpoint at level q must lie between the quantiles at q ± 5 √(q(1 − q)/B) of B Monte-Carlo
resamples, widened by 0.1% of the interval's width; up to n = 7 it must also equal, to 0.1%, the
quantile over all nⁿ resamples. Only the interval that is judged comes from the library. A seed
fixes the data set: a violation is repeated with ``--seed SEED --data-sets 1``. ``--largest`` is the
largest n; ``--shift 0.02`` spoils each interval by 2% of its width, to see the check object.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.random import SFC64, Generator, default_rng
from numpy.typing import NDArray

import amici_xr

Values = NDArray[np.float64]
Bounds = tuple[float, float]
Interval = Callable[[Values, str, float], Bounds]
TOLERANCE, ROUNDING = 1e-3, 1e-13  # of the interval's width; of the largest value
ENUMERATED = 7  # largest n of which all resamples are looked at
RANGES = ((2, 7), (8, 100), (101, 3_000), (3_001, 20_000), (20_001, 100_000))
CACHED = 2**16  # numbers that stay in the processor's cache
FAMILIES: dict[str, Callable[[Generator, int], Values]] = {
    "gamma": lambda g, n: g.gamma(10 ** g.uniform(-1, 1), 10, n),
    "zero-inflated": lambda g, n: g.gamma(2, 10, n) * g.binomial(1, n ** -g.random(), n),
    "far outliers": lambda g, n: np.where(
        np.arange(n) < g.integers(1, 4), g.choice([-1e6, -1e4, 1e3, 1e6]), g.gamma(2, 1, n)
    ),
    "ties": lambda g, n: g.choice(g.normal(size=g.integers(2, 9)), n),
    "lognormal": lambda g, n: g.lognormal(0, g.uniform(0.3, 2.5), n),
    "shifted": lambda g, n: g.choice([-1e6, 1e6]) + g.normal(size=n),
    "integers": lambda g, n: g.poisson(10 ** g.uniform(-1, 1), n).astype(float),
    "scaled": lambda g, n: g.choice([1e-8, 1e8]) * g.gamma(1, 1, n),
    "two-valued": lambda g, n: np.where(g.random(n) < g.random(), *g.normal(size=2)),
    "constant but one": lambda g, n: np.append(np.full(n - 1, g.normal()), g.normal()),
    "normal": lambda g, n: g.normal(size=n),
    "grid": lambda g, n: 10 * g.normal() + np.round(g.gamma(2, 5, n)) / g.choice([3, 4, 10]),
    "constant": lambda g, n: np.full(n, g.normal()),
    "mixture": lambda g, n: np.choose(
        g.choice(4, n, p=g.dirichlet(np.ones(4))),
        [np.zeros(n), g.gamma(2, 10, n), g.integers(1, 4, n), g.normal(50, 1, n)],
    ),
}


class Comparison(NamedTuple):
    """One endpoint, and how far it lies outside the range in which it must lie."""

    seed: int
    statistic: str
    n_values: int
    excess: float  # in widths of the interval
    seconds: float  # that the interval took
    problem: str  # empty where the endpoint is right


def exact_interval(values: Values, statistic: str, level: float, shift: float = 0) -> Bounds:
    """The library's interval; moved by a share of its width to see that the check objects."""
    da = xr.DataArray(values, dims="neighbor")
    result = amici_xr.bootstrap_ci(
        da, by=None, statistic=statistic, confidence_level=level, method="exact"
    )
    lower, upper = float(result["ci_lower"]), float(result["ci_upper"])
    return lower + shift * (upper - lower), upper + shift * (upper - lower)


def data_set(seed: int, largest: int) -> tuple[str, Values, float]:
    """Family, values and confidence level of a seed; one in 1009 is of the largest size."""
    generator = default_rng(seed)
    family = list(FAMILIES)[seed % len(FAMILIES)]  # 14: prime to 11, 211 and 1009
    low, high = 2.0, 1e2
    for period, between in ((11, (300, 3e3)), (211, (5e3, 2e4)), (1009, (5e4, 1e5))):
        if seed % period == period // 2:
            low, high = between
    n_values = min(round(math.exp(generator.uniform(math.log(low), math.log(high)))), largest)
    confidence_level = float(generator.choice([0.95, 0.95, 0.95, 0.99]))
    return family, generator.permutation(FAMILIES[family](generator, n_values)), confidence_level


def mean_resamples(values: Values, generator: Generator, n_resamples: int) -> Values:
    """Means of resamples; counts of distinct values where these are few, else draws."""
    n, center = values.size, np.median(values)
    distinct, counts = np.unique(values, return_counts=True)
    totals, tables = np.zeros(n_resamples), []
    if few := 40 * distinct.size < n:  # one count takes about as long as 40 draws
        block = CACHED // distinct.size
    else:  # draws of several values at once, from a table of all their sums
        block, sums = CACHED // 2, [values - center]
        while len(sums) < n and sums[-1].size * n <= CACHED:
            sums.append(np.add.outer(sums[-1], sums[0]).ravel())
        whole, rest = divmod(n, len(sums))
        tables = [sums[-1]] * whole + ([sums[rest - 1]] if rest else [])
    for start in range(0, n_resamples, block):
        part = totals[start : start + block]
        if few:
            part += generator.multinomial(n, counts / n, size=part.size) @ (distinct - center)
        for table in tables:
            part += table[generator.integers(0, table.size, part.size)]
    return center + totals / n


def median_resamples(values: Values, generator: Generator, n_resamples: int) -> Values:
    """Medians of resamples, from the k-th of n uniform numbers: Beta(k, n − k + 1)."""
    n, ordered = values.size, np.sort(values)
    k = (n + 1) // 2
    uniform = generator.beta(k, n - k + 1, n_resamples)
    middle = ordered[np.minimum((n * uniform).astype(int), n - 1)]
    if n % 2:
        return middle
    uniform += (1 - uniform) * generator.beta(1, n - k, n_resamples)  # the one after it
    return middle + (ordered[np.minimum((n * uniform).astype(int), n - 1)] - middle) / 2


RESAMPLES = {"mean": mean_resamples, "median": median_resamples}


def monte_carlo_range(resamples: Values, level: float) -> Bounds:
    """Where the true quantile is, but for five standard errors."""
    error = 5 * math.sqrt(level * (1 - level) / resamples.size)
    lowest = np.quantile(resamples, max(level - error, 0), method="inverted_cdf")
    return float(lowest), float(np.quantile(resamples, min(level + error, 1), method="higher"))


def enumerated_range(values: Values, statistic: str, level: float) -> Bounds:
    """Twice the quantile over all nⁿ resamples: a midpoint where a plateau is at the level."""
    n, center = values.size, np.median(values)
    drawn = np.array(list(itertools.combinations_with_replacement(range(n), n)))
    counts = (drawn[:, :, None] == np.arange(n)).sum(axis=1)
    factorials = np.array([math.factorial(i) for i in range(n + 1)])
    ways = factorials[n] // factorials[counts].prod(axis=1)
    estimates = getattr(np, statistic)(values[drawn] - center, axis=1)
    order = np.argsort(estimates)
    atoms, cumulative = estimates[order], np.cumsum(ways[order]) / n**n
    last = np.append(np.diff(atoms) > 1e-14 * np.abs(values - center).max(), True)
    atoms, cumulative = atoms[last], cumulative[last]
    first = int(np.argmax(cumulative >= level - 1e-12))
    plateau = cumulative[first] <= level + 1e-12 and first + 1 < atoms.size
    return (float(center + (atoms[first] + atoms[first + plateau]) / 2),) * 2


def compare(
    statistic: str, seed: int, largest: int, n_resamples: int, interval: Interval
) -> list[Comparison]:
    """Each endpoint of the data set of a seed beside the range in which it must lie."""
    family, values, own_level = data_set(seed, largest)
    resamples = RESAMPLES[statistic](values, Generator(SFC64(seed)), n_resamples)
    find = functools.partial(monte_carlo_range, resamples)
    cases = [(own_level, f"{n_resamples} resamples", find)]
    if values.size <= ENUMERATED:  # also where plateaus are
        find = functools.partial(enumerated_range, values, statistic)
        cases += [(level, "all resamples", find) for level in (own_level, 0.5, 0.75, 0.875)]
    compared = []
    for level, against, find in cases:
        ranges = find((1 - level) / 2), find((1 + level) / 2)
        width = sum(ranges[1]) / 2 - sum(ranges[0]) / 2
        start, endpoints = time.perf_counter(), (math.nan, math.nan)
        try:
            endpoints = interval(values, statistic, level)
        except Exception as error:  # the endpoints count as wrong; the other data sets go on
            against += f" ({error!r})"
        seconds = time.perf_counter() - start
        for endpoint, (lowest, highest) in zip(endpoints, ranges, strict=True):
            outside, excess, problem = max(lowest - endpoint, endpoint - highest), 0.0, ""
            if not outside <= ROUNDING * np.abs(values).max():  # NaN as well
                excess = outside / width if outside > 0 and width > 0 else math.inf
            if excess > TOLERANCE:
                problem = (
                    f"seed {seed}: {statistic} of {family}, n = {values.size}, {level:.4g}: "
                    f"{endpoint!r} is outside [{lowest!r}, {highest!r}] of {against} "
                    f"by {excess:.3%} of the width {width:.6g}"
                )
            compared.append(Comparison(seed, statistic, values.size, excess, seconds, problem))
    return compared


def check(
    statistic: str,
    seeds: Iterable[int],
    largest: int = 100_000,
    n_resamples: int = 1_000_000,
    interval: Interval = exact_interval,
) -> list[str]:
    """Describe each wrong endpoint of the data sets of the seeds."""
    each = (compare(statistic, seed, largest, n_resamples, interval) for seed in seeds)
    return [one.problem for one in itertools.chain.from_iterable(each) if one.problem]


def compare_until(arguments: argparse.Namespace, first: int, deadline: float) -> list[Comparison]:
    """Take every `processes`-th seed, and leave out what would end after the deadline."""
    interval = functools.partial(exact_interval, shift=arguments.shift)
    compared = []
    seeds = range(first, arguments.seed + arguments.data_sets, arguments.processes)
    for seed in itertools.takewhile(lambda _: time.monotonic() < deadline, seeds):
        n_draws = data_set(seed, arguments.largest)[1].size * arguments.resamples
        for statistic, each in (("median", 0), ("mean", 5e-9)):  # seconds that a draw takes
            if time.monotonic() + each * n_draws > deadline:
                continue
            found = compare(statistic, seed, arguments.largest, arguments.resamples, interval)
            compared += found
            print("".join(f"{one.problem}\n" for one in found if one.problem), end="", flush=True)
    return compared


def report(compared: list[Comparison]) -> None:
    """Print for each range of n and each statistic how far the worst endpoint is."""
    print("             n  statistic  data sets  endpoints  wrong  worst excess   slowest")
    for (low, high), statistic in (*itertools.product(RANGES, RESAMPLES), ((0, 10**6), "")):
        both = [one for one in compared if low <= one.n_values <= high]
        if here := [one for one in both if statistic in ("", one.statistic)]:
            n_seeds, wrong = len({one.seed for one in here}), sum(one.problem != "" for one in here)
            worst, slowest = (max(one[i] for one in here) for i in (3, 4))
            name = f"{low}–{high}  {statistic:>9}" if statistic else "total"
            print(
                f"{name:>25}{n_seeds:>11}{len(here):>11}{wrong:>7}{worst:>14.4%}{slowest:>8.3f} s"
            )


def main() -> int:
    """Compare until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    defaults = {"minutes": 10.0, "seed": 0, "data-sets": 10**9, "resamples": 1_000_000}
    for name, default in (defaults | {"largest": 100_000, "processes": 1, "shift": 0.0}).items():
        parser.add_argument(f"--{name}", type=type(default), default=default, metavar=str(default))
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    firsts = range(arguments.seed, arguments.seed + arguments.processes)
    with ProcessPoolExecutor(arguments.processes) as pool:
        runs = [pool.submit(compare_until, arguments, first, deadline) for first in firsts]
        compared = [one for run in runs for one in run.result()]
    report(compared)
    return int(not compared or any(one.problem for one in compared))


if __name__ == "__main__":
    sys.exit(main())
