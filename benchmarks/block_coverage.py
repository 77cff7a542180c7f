"""How often a 95% interval holds the truth, where values depend on each other in space.

Run with ``python benchmarks/block_coverage.py --fields 1000``. Each setting draws stationary
Gaussian random fields at the places of cells (five draws of places; a Cholesky factor for each),
makes values of them, and counts how often the exact cell bootstrap (``resampling_unit="cell"``)
and the block interval (``"block"``) hold the mean and the median of the process. A setting's
number of patches is the occupied area over the integral range of its Gaussian field's correlation
without the nugget, 2πℓ² for the exponential. Where fewer than 4 patches are estimated the block
interval is NaN: coverage is that of the intervals given, and the share of those not given is
printed. With 16 patches or more, blocks have to hold it 92–97% of the time and cells less than 60%.
What does not is marked: ``blocks?`` where it is outside by less than two Monte-Carlo standard
errors, ``blocks!`` and ``cells!`` otherwise, with which it exits with 1.
``--only clumped`` runs the settings with that word in their name.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import norm

from amici_xr.kernels.block_intervals import block_interval, occupied_area
from amici_xr.kernels.exact_bootstrap import EXACT
from amici_xr.kernels.variograms import prepare

Values = NDArray[np.float64]
CLAIMED, LOWEST, HIGHEST, CELLS_BELOW = 16, 92.0, 97.0, 60.0  # patches; coverage in percent
PLACE_DRAWS = 5
LEVELS = np.array([0.025, 0.975])
CORRELATIONS: dict[str, tuple[Callable[[Values], Values], float]] = {  # of h/ℓ; integral over ℓ²
    "exponential": (lambda h: np.exp(-h), 2 * math.pi),
    "Matérn 3/2": (lambda h: (1 + h) * np.exp(-h), 6 * math.pi),
    "Gaussian": (lambda h: np.exp(-(h**2)), math.pi),
}


class Setting(NamedTuple):
    """Where cells stand, how a field at them is correlated, and what values are made of it."""

    places: str
    correlation: str  # "" for none: noise
    patches: float
    nugget: float = 0.0
    marginal: str = "normal"
    parameter: float = 0.0  # σ of the logarithm; what is added before values are floored at 0
    n_cells: int = 1000

    @property
    def name(self) -> str:
        """All of it in words."""
        marginal = self.marginal + (f" {self.parameter:+g}" if self.parameter else "")
        nugget = f" + nugget {self.nugget:g}" if self.nugget else ""
        return f"{self.places}, {self.correlation or 'noise'}{nugget}, {marginal}"


SETTINGS = [
    Setting("square", "exponential", 16),
    Setting("square", "exponential", 50),
    Setting("square", "exponential", 200, n_cells=2000),
    Setting("square", "exponential", 30, n_cells=400),
    Setting("square", "exponential", 16, nugget=0.3),
    Setting("square", "Matérn 3/2", 16),
    Setting("square", "Matérn 3/2", 60, nugget=0.2),
    Setting("L", "exponential", 16),
    Setting("L", "Matérn 3/2", 40),
    Setting("clumped", "exponential", 16),
    Setting("clumped", "exponential", 60, nugget=0.2),
    Setting("square", "exponential", 16, marginal="lognormal", parameter=0.5),
    Setting("L", "Matérn 3/2", 40, marginal="lognormal", parameter=0.5),
    Setting("square", "exponential", 100, marginal="lognormal", parameter=1.0),
    Setting("square", "exponential", 16, marginal="floored", parameter=0.5),
    Setting("clumped", "exponential", 40, marginal="floored", parameter=0.1),
    Setting("L", "exponential", 40, nugget=0.2, marginal="floored", parameter=-0.3),
    Setting("square", "", math.inf, n_cells=400),
    Setting("clumped", "", math.inf, marginal="lognormal", parameter=0.5),
    Setting("square", "exponential", 8),
    Setting("square", "exponential", 4),
    Setting("square", "Matérn 3/2", 8),
    Setting("clumped", "exponential", 8, marginal="lognormal", parameter=0.5),
    Setting("square", "Gaussian", 25),
    Setting("square", "exponential", 16, marginal="lognormal", parameter=1.0),
    Setting("clumped", "exponential", 16, marginal="floored", parameter=0.1),
    Setting("square", "exponential", 16, nugget=0.7, n_cells=200),
]
N_DIFFICULT = 4  # at the end: enough patches, but smoother than the model, skewed, or mostly noise


class Coverage(NamedTuple):
    """What one statistic's intervals of a setting did."""

    setting: Setting
    statistic: str
    n_fields: int
    cells: float  # percent, as are the next four
    blocks: float
    not_given: float
    warned: float
    too_high: float  # intervals wholly above the truth
    estimated_patches: float  # medians
    n_blocks: float

    def error(self, percent: float) -> float:
        """Monte-Carlo standard error of a coverage, in percent."""
        return math.sqrt(percent * (100 - percent) / self.n_fields)

    @property
    def is_atom(self) -> bool:
        """Whether the truth is a value that many cells have, which every interval then holds."""
        setting = self.setting
        is_floored = setting.marginal == "floored" and setting.parameter <= 0
        return is_floored and self.statistic == "median"

    @property
    def problem(self) -> str:
        """What is not as claimed, with ? where it is by less than two standard errors."""
        if self.setting not in claimed() or self.is_atom:
            return " (the truth is an atom)" if self.is_atom else ""
        problem = ""
        if not LOWEST <= self.blocks <= HIGHEST:
            outside = max(LOWEST - self.blocks, self.blocks - HIGHEST)
            problem = " blocks?" if outside < 2 * self.error(self.blocks) else " blocks!"
        if self.setting.correlation and self.cells >= CELLS_BELOW:
            problem += " cells!"
        return problem


def claimed() -> list[Setting]:
    """Settings with enough patches, but for the difficult ones."""
    return [setting for setting in SETTINGS[:-N_DIFFICULT] if setting.patches >= CLAIMED]


def places_of(kind: str, n: int, generator: Generator) -> Values:
    """Cells over the unit square, over an L in it, or in clumps (a Thomas process)."""
    kept = np.empty((0, 2))
    parents = generator.random((60, 2))
    while len(kept) < n:
        if kind == "clumped":
            more = parents[generator.integers(0, len(parents), n)]
            more = more + 0.04 * generator.normal(size=(n, 2))
        else:
            more = generator.random((n, 2))
        is_inside = ((more >= 0) & (more <= 1)).all(axis=1)
        if kind == "L":
            is_inside &= (more < 0.5).any(axis=1)
        kept = np.concatenate([kept, more[is_inside]])
    return kept[:n]


def fields(setting: Setting, places: Values, area: float, n: int, generator: Generator) -> Values:
    """Gaussian fields of variance 1 at the places, (field, place)."""
    noise = generator.normal(size=(n, len(places)))
    if not setting.correlation:
        return noise
    correlation, integral = CORRELATIONS[setting.correlation]
    length = math.sqrt(area / (integral * setting.patches))
    covariance = (1 - setting.nugget) * correlation(cdist(places, places) / length)
    covariance[np.diag_indices(len(places))] = 1 + 1e-8  # smooth fields are nearly singular
    return noise @ np.linalg.cholesky(covariance).T


def values_of(setting: Setting, field: Values) -> tuple[Values, dict[str, float]]:
    """Values of a field, and the mean and the median of its process."""
    c = setting.parameter
    if setting.marginal == "lognormal":
        return np.exp(c * field), {"mean": math.exp(c**2 / 2), "median": 1.0}
    if setting.marginal == "floored":
        mean = c * norm.cdf(c) + norm.pdf(c)
        return np.maximum(0, field + c), {"mean": mean, "median": max(0, c)}
    return field, {"mean": 0.0, "median": 0.0}


def measure(setting: Setting, n_fields: int, seed: int = 0) -> list[Coverage]:
    """Coverage of the mean and of the median over fields of one setting."""
    generator = default_rng([seed, SETTINGS.index(setting) if setting in SETTINGS else 999])
    found: dict[str, list[tuple[float, ...]]] = {"mean": [], "median": []}
    for draw in range(PLACE_DRAWS):
        n_of_draw = len(range(draw, n_fields, PLACE_DRAWS))
        places = places_of(setting.places, setting.n_cells, generator)
        pairs = prepare(places)
        drawn = fields(setting, places, occupied_area(pairs), n_of_draw, generator)
        values, truth = values_of(setting, drawn)
        for statistic, rows in found.items():
            of_blocks = block_interval(values, pairs, statistic)
            for row, (_, lower, upper, n_blocks, patches) in zip(values, of_blocks, strict=True):
                low, high = EXACT[statistic](row, LEVELS)
                true = truth[statistic]
                rows.append((low <= true <= high, lower, upper, true, n_blocks, patches))
    coverages = []
    for statistic, rows in found.items():
        by_cells, lower, upper, true, n_blocks, patches = np.array(rows).T
        given = ~np.isnan(lower)
        holds = (lower <= true) & (true <= upper)
        coverages.append(
            Coverage(
                setting,
                statistic,
                n_fields,
                100 * by_cells.mean(),
                100 * holds[given].mean() if given.any() else math.nan,
                100 * (1 - given.mean()),
                100 * (patches < CLAIMED).mean(),
                100 * (lower[given] > true[given]).mean() if given.any() else math.nan,
                float(np.median(patches)),
                float(np.median(n_blocks)),
            )
        )
    return coverages


def report(coverages: list[Coverage]) -> None:
    """Print a line for each setting and statistic."""
    print(
        f"{'places, field, values':52}{'n':>5}{'patches':>8}  {'of':6}{'cells %':>9}"
        f"{'blocks %':>14}{'above %':>9}{'NaN %':>7}{'warned %':>9}{'estimated':>10}{'B':>5}"
    )
    for one in coverages:
        setting = one.setting
        print(
            f"{setting.name:52}{setting.n_cells:>5}{setting.patches:>8.4g}  {one.statistic:6}"
            f"{one.cells:>9.1f}{one.blocks:>8.1f} ± {one.error(one.blocks):3.1f}"
            f"{one.too_high:>9.1f}{one.not_given:>7.1f}{one.warned:>9.1f}"
            f"{one.estimated_patches:>10.1f}{one.n_blocks:>5.0f}{one.problem}"
        )


def main() -> int:
    """Measure every setting, and print those of which something is claimed first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a setting's name")
    arguments = parser.parse_args()
    chosen = [setting for setting in SETTINGS if arguments.only in setting.name]
    with ProcessPoolExecutor(arguments.processes) as pool:
        run = functools.partial(measure, n_fields=arguments.fields, seed=arguments.seed)
        coverages = []
        for number, both in enumerate(pool.map(run, chosen), 1):
            coverages += both
            print(f"\r{number} of {len(chosen)} settings", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(f"{arguments.fields} fields a setting; ± one Monte-Carlo standard error")
    report([one for one in coverages if one.setting in claimed()])
    print(
        f"\nFewer than {CLAIMED} patches, smoother than the model, skewed, mostly noise: no claim"
    )
    report([one for one in coverages if one.setting not in claimed()])
    return int(any("!" in one.problem for one in coverages))


if __name__ == "__main__":
    sys.exit(main())
