"""How often 95% intervals hold the truth where values are spatially autocorrelated.

Run with ``python benchmarks/spatial_coverage.py --fields 1000``; it prints a Markdown table. Each
setting draws random fields at 600 places (25 draws of places, one Cholesky factor each) and counts
how often the spatial interval (``resampling_unit="spatial"``) and the bootstrap of cells
(``"cell"``) hold the mean of the process, how wide the spatial interval is beside the one that
knows the covariance (``ȳ ± 1.96·sd(ȳ)``), how often the spatial interval of the median holds the
median, and how often a one-sided test of the true mean at 0.025 rejects it on either side.
Correlation lengths are parts of the tissue's longer side. ``--only strip`` runs the settings with
that word in their name. A second table has the intervals of whole units, such as samples or runs
(``"sample"``, ``"run"``), for units that are normal and that are not.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy.stats import norm

from amici_xr.kernels.exact_bootstrap import interval_of_mean
from amici_xr.kernels.spatial.basis import prepare
from amici_xr.kernels.spatial.interval import spatial_interval
from amici_xr.kernels.spatial.mean import infer_mean
from amici_xr.kernels.student_t import interval_of_units

Values = NDArray[np.float64]
N_CELLS = 600
PLACE_DRAWS = 25
LEVELS = np.array([0.025, 0.975])


def square(generator: Generator) -> Values:
    """Draw cells over the unit square."""
    return generator.random((N_CELLS, 2))


def strip(generator: Generator) -> Values:
    """Draw cells over a strip five times as long as it is wide."""
    return generator.random((N_CELLS, 2)) * [1.0, 0.2]


def clustered(generator: Generator) -> Values:
    """Draw cells in 60 clumps of a standard deviation of 0.04, within the unit square."""
    parents = generator.random((60, 2))
    kept = np.empty((0, 2))
    while len(kept) < N_CELLS:
        more = parents[generator.integers(0, 60, N_CELLS)]
        more = more + 0.04 * generator.normal(size=more.shape)
        kept = np.concatenate([kept, more[((more >= 0) & (more <= 1)).all(axis=1)]])
    return kept[:N_CELLS]


def exponential(lengths: tuple[float, ...], lag: Values) -> Values:
    """Correlation ``exp(−h/ℓ)``; of two lengths, the first along x, the second along y."""
    return np.exp(-np.sqrt(((lag / np.array(lengths)) ** 2).sum(axis=-1)))


def gaussian(lengths: tuple[float, ...], lag: Values) -> Values:
    """Correlation ``exp(−(h/ℓ)²)``."""
    return np.exp(-((lag / np.array(lengths)) ** 2).sum(axis=-1))


def two_scales(lengths: tuple[float, ...], lag: Values) -> Values:
    """Mean of the exponential correlations of two lengths."""
    return (exponential(lengths[:1], lag) + exponential(lengths[1:], lag)) / 2


def noise(_lengths: tuple[float, ...], lag: Values) -> Values:
    """No correlation."""
    return (lag == 0).all(axis=-1).astype(np.float64)


class Marginal(NamedTuple):
    """What is made of a standard normal field, and what of its correlation."""

    values: Callable[[Values], Values]
    covariance: Callable[[Values], Values]
    mean: float
    median: float


def floored_covariance(correlation: Values) -> Values:
    """Covariance of ``max(0, Z − ½)``: ``Σ_k a_k²·ρ^k``, of coefficients in Hermite polynomials."""
    shift, n_terms = 0.5, 400
    hermite = [1.0, shift]  # He_k(shift)/√(k!)
    for k in range(2, n_terms):
        hermite.append((shift * hermite[-1] - math.sqrt(k - 1) * hermite[-2]) / math.sqrt(k))
    order = np.arange(2, n_terms)
    coefficient = norm.pdf(shift) * np.array(hermite[: n_terms - 2]) / np.sqrt(order * (order - 1))
    squares = np.concatenate([[0.0, norm.sf(shift) ** 2], coefficient**2])
    return np.polynomial.polynomial.polyval(correlation, squares)


NORMAL = Marginal(lambda z: z, lambda r: r, 0.0, 0.0)
SKEWED = Marginal(np.exp, lambda r: math.e * np.expm1(r), math.exp(0.5), 1.0)
FLOORED = Marginal(
    lambda z: np.maximum(0.0, z - 0.5),
    floored_covariance,
    float(norm.pdf(0.5) - 0.5 * norm.sf(0.5)),
    0.0,
)


@dataclass(frozen=True)
class Setting:
    """Where cells stand, how a field at them is correlated, and what values are made of it."""

    name: str
    published: float  # coverage of the mean in the study that the method was chosen by, percent
    correlation: Callable[[tuple[float, ...], Values], Values] = exponential
    lengths: tuple[float, ...] = ()
    places: Callable[[Generator], Values] = square
    marginal: Marginal = field(default=NORMAL)
    n_samples: int = 1


SETTINGS = [
    Setting("white noise", 98.7, noise),
    *(
        Setting(f"exponential, side/{part}", published, lengths=(1 / part,))
        for part, published in ((20, 98.1), (10, 96.4), (6, 95.6), (4, 90.4))
    ),
    Setting("exponential, side/3", 88.0, lengths=(1 / 3,)),
    Setting("exponential, side/2", 78.0, lengths=(1 / 2,)),
    *(
        Setting(f"Gaussian, side/{part}", published, gaussian, (1 / part,))
        for part, published in ((20, 97.7), (10, 96.9), (6, 97.7), (4, 98.8))
    ),
    Setting("4:1, side/40 and side/10", 96.3, lengths=(1 / 10, 1 / 40)),
    Setting("4:1, side/24 and side/6", 96.5, lengths=(1 / 6, 1 / 24)),
    Setting("10:1, side/100 and side/10", 97.2, lengths=(1 / 10, 1 / 100)),
    Setting("10:1, side/60 and side/6", 95.3, lengths=(1 / 6, 1 / 60)),
    Setting("10:1, side/40 and side/4", 93.5, lengths=(1 / 4, 1 / 40)),
    Setting("two scales, side/40 + side/10", 96.2, two_scales, (1 / 40, 1 / 10)),
    Setting("two scales, side/40 + side/6", 93.9, two_scales, (1 / 40, 1 / 6)),
    Setting("clustered places, side/20", 96.5, lengths=(1 / 20,), places=clustered),
    Setting("clustered places, side/10", 95.7, lengths=(1 / 10,), places=clustered),
    Setting("strip 5:1, side/40", 97.4, lengths=(1 / 40,), places=strip),
    Setting("strip 5:1, side/20", 96.0, lengths=(1 / 20,), places=strip),
    Setting("exp(field), side/20", 96.4, lengths=(1 / 20,), marginal=SKEWED),
    Setting("exp(field), side/10", 92.2, lengths=(1 / 10,), marginal=SKEWED),
    Setting("max(0, field − ½), side/20", 96.0, lengths=(1 / 20,), marginal=FLOORED),
    Setting("max(0, field − ½), side/10", 90.0, lengths=(1 / 10,), marginal=FLOORED),
    Setting("4 samples of 150, side/10", math.nan, lengths=(1 / 10,), n_samples=4),
    Setting("4 samples of 150, side/4", math.nan, lengths=(1 / 4,), n_samples=4),
]


class Measured(NamedTuple):
    """What intervals and tests of a setting did, in percent but for the width and the patches."""

    cells: float
    mean: float
    width: float
    median: float
    greater: float
    less: float
    patches: float


def measure(setting: Setting, n_fields: int, seed: int = 0) -> Measured:
    """Measure intervals and tests over the fields of one setting."""
    generator = default_rng([seed, SETTINGS.index(setting)])
    marginal = setting.marginal
    parts = []
    for draw in range(min(PLACE_DRAWS, n_fields)):
        n_of_draw = len(range(draw, n_fields, PLACE_DRAWS))
        places = setting.places(generator)
        sample = np.arange(N_CELLS) % setting.n_samples
        correlation = setting.correlation(setting.lengths, places[:, np.newaxis] - places)
        correlation *= sample[:, np.newaxis] == sample
        smooth = correlation + 1e-8 * np.eye(N_CELLS)  # smooth fields are nearly singular
        root = np.linalg.cholesky(smooth)
        values = marginal.values(generator.normal(size=(n_of_draw, N_CELLS)) @ root.T)
        known = norm.ppf(0.975) * math.sqrt(marginal.covariance(correlation).mean())
        basis = prepare(places, sample)
        inferred = infer_mean(values, basis)
        half = inferred.half_width()
        cells = np.array([interval_of_mean(row, LEVELS) for row in values]).T
        _, lower, upper, _ = spatial_interval(values, basis, "median").T
        parts.append(
            [
                (cells[0] <= marginal.mean) & (marginal.mean <= cells[1]),
                np.abs(inferred.mean - marginal.mean) <= half,
                half / known,
                (lower <= marginal.median) & (marginal.median <= upper),
                inferred.p_value(marginal.mean, "greater") <= 0.025,
                inferred.p_value(marginal.mean, "less") <= 0.025,
                inferred.effective_patches,
            ]
        )
    cells, mean, width, median, greater, less, patches = np.concatenate(parts, axis=1)
    return Measured(
        100 * float(cells.mean()),
        100 * float(mean.mean()),
        float(width.mean()),
        100 * float(median.mean()),
        100 * float(greater.mean()),
        100 * float(less.mean()),
        float(np.median(patches)),
    )


UNITS: dict[str, tuple[Callable[[Generator, tuple[int, int]], Values], float]] = {
    "normal": (lambda g, size: g.normal(size=size), 0.0),
    "lognormal, σ = ½": (lambda g, size: np.exp(0.5 * g.normal(size=size)), math.exp(0.125)),
    "lognormal, σ = 1": (lambda g, size: np.exp(g.normal(size=size)), math.exp(0.5)),
    "exponential, 30% zeros": (
        lambda g, size: g.exponential(size=size) * (g.random(size) < 0.7),
        0.7,
    ),
    "exponential, 60% zeros": (
        lambda g, size: g.exponential(size=size) * (g.random(size) < 0.4),
        0.4,
    ),
}
N_UNITS = (3, 5, 10, 20)


def print_units(n_draws: int = 100_000) -> None:
    """Print how often Student's 95% interval over units holds their mean, however distributed."""
    print("| units | " + " | ".join(f"n = {n}" for n in N_UNITS) + " |\n" + "| --- " * 5 + "|")
    for name, (draw, mean) in UNITS.items():
        row = []
        for n in N_UNITS:
            units = draw(default_rng(n), (n_draws, n))
            _, lower, upper, _ = interval_of_units(units).T
            row.append(f"{100 * ((lower <= mean) & (mean <= upper)).mean():.1f}")
        print(f"| {name} | {' | '.join(row)} |")


def main() -> None:
    """Print a row for each setting, then those of whole units."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a setting's name")
    arguments = parser.parse_args()
    print(
        "| field | cells: mean, % | spatial: mean, % | published, % | width | median, % | "
        'p ≤ 0.025, "greater" and "less", % | patches |\n' + "| --- " * 8 + "|"
    )
    for setting in SETTINGS:
        if arguments.only in setting.name:
            row = measure(setting, arguments.fields, arguments.seed)
            published = "" if math.isnan(setting.published) else f"{setting.published:.1f}"
            print(
                f"| {setting.name} | {row.cells:.1f} | {row.mean:.1f} | {published} | "
                f"{row.width:.2f} | {row.median:.1f} | {row.greater:.1f}, {row.less:.1f} | "
                f"{row.patches:.0f} |",
                flush=True,
            )
    if not arguments.only:
        print()
        print_units()


if __name__ == "__main__":
    main()
