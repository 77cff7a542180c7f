"""How often ``contrast`` rejects: type-I error and power, as Markdown tables.

Run with ``python benchmarks/contrast_rates.py``; some minutes. The signed length scale of a cell is
normal around that of its sample, which is normal around that of its group, in each head by itself.
Training runs add an error of their own to each sample and to each cell. Studies go through the
kernels that `contrast` applies; ``check`` compares them with `contrast` itself. Beside them stands
the former test: the median of floored length scales, the largest of the heads, and permutation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import amici_xr
from amici_xr.kernels import permutation
from amici_xr.kernels.rarefaction import rarefied_summary
from amici_xr.kernels.student_t import welch_p

Floats = NDArray[np.floating]
Groups = tuple[Floats, Floats]  # each (study, sample, run, head, cell)

ALPHA = 0.05
SIZES = (3, 4, 6, 12)
COUNTS = ((10, 300), (30, 100), (50, 50))
NEAR, AWAY = 0.0, 40.0
BLOCK = 2**24  # cells simulated at a time
SHIFT = {3: 3.5, 4: 2.5, 6: 1.8, 12: 1.2}  # in standard deviations of samples: power is 0.6 to 0.8


@dataclass(frozen=True)
class Setting:
    """Studies of one kind, with lengths in µm."""

    n_samples: int
    n_cells: tuple[int, int]
    mean: float = AWAY
    n_heads: int = 1
    n_runs: int = 1
    sample_sd: float = 2.0
    cell_sd: float = 8.0
    cells: str = "normal"
    shift: float = 0.0
    drop_of_other_heads: float = 0.0  # that all heads but the first lie lower, and do not shift

    def simulate(self, generator: np.random.Generator, n_studies: int) -> Groups:
        """Signed length scales of all cells of both groups."""
        head = np.arange(self.n_heads)
        lower = np.where(head > 0, self.drop_of_other_heads, 0.0)
        shifts = np.where((head > 0) & (self.drop_of_other_heads > 0), 0.0, self.shift)
        groups = []
        for n_cells, shift in zip(self.n_cells, (0.0, shifts), strict=True):
            shape = (n_studies, self.n_samples, self.n_runs, self.n_heads)
            of_sample = generator.normal(0, self.sample_sd, (*shape[:2], 1, self.n_heads))
            of_sample = self.mean - lower + shift + of_sample
            if self.n_runs > 1:
                of_sample = of_sample + generator.normal(0, self.sample_sd / 2, shape)
            of_cell = _draw_cells(generator, self.cells, (*shape, n_cells))
            of_cell *= np.float32(self.cell_sd)
            groups.append(of_cell + of_sample[..., np.newaxis].astype(np.float32))
        return groups[0], groups[1]


def _draw_cells(generator: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Floats:
    """Values of mean 0 and standard deviation 1."""
    if kind == "normal":
        return generator.standard_normal(shape, dtype=np.float32)
    if kind == "skewed down":  # as where position coefficients come near 0
        return 1 - generator.standard_exponential(shape, dtype=np.float32)
    if kind == "skewed up":
        return generator.standard_exponential(shape, dtype=np.float32) - 1
    return (generator.standard_t(3, shape) / np.sqrt(3)).astype(np.float32)


def contrast_p(groups: Groups, statistic: Callable[..., Floats] = np.mean) -> Floats:
    """P as `contrast` computes it by default where there are runs, and with one head without."""
    fewest = min(group.shape[-1] for group in groups)
    largest_head = groups[0].shape[-2] > 1
    uses_all = statistic is np.mean and not largest_head
    units = []
    for group in groups:
        size = group.shape[-1] if uses_all else fewest
        summary = rarefied_summary(
            group, size, statistic=statistic, largest_head=largest_head, random_state=42
        )
        units.append(summary.reshape(*group.shape[:3]).mean(axis=-1))
    return p_of_units(*units)


def p_of_units(first: Floats, second: Floats) -> Floats:
    """Welch's p, (study, unit) twice → (study)."""
    moments = [value for group in (first, second) for value in (group.var(1, ddof=1), len(group.T))]
    return welch_p(permutation.studentized_difference(first, second), *moments)


def former_p(groups: Groups) -> Floats:
    """P of the former test, which depends on the numbers of cells."""
    units = [
        np.maximum(np.median(group, axis=-1), 0).max(axis=-1).mean(axis=-1) for group in groups
    ]
    first, second = (unit.astype(np.float64) for unit in units)
    return permutation.permutation_p(first, second, n_resamples=999, random_state=42)


def rates(
    setting: Setting, n_studies: int, seed: int, tests: tuple[Callable[[Groups], Floats], ...]
) -> list[float]:
    """Share of the studies that each test rejects."""
    generator = np.random.default_rng(seed)
    blocks = _blocks(setting, n_studies, generator)
    rejected = [[test(groups) <= ALPHA for test in tests] for groups in blocks]
    return [float(np.concatenate(part).mean()) for part in zip(*rejected, strict=True)]


def _blocks(setting: Setting, n_studies: int, generator: np.random.Generator) -> Iterator[Groups]:
    of_study = setting.n_samples * setting.n_runs * setting.n_heads * max(setting.n_cells)
    size = max(1, BLOCK // of_study)
    for start in range(0, n_studies, size):
        yield setting.simulate(generator, min(size, n_studies - start))


def print_table(header: list[str], rows: Iterator[list[str]]) -> None:
    """Print a Markdown table, a row as soon as it is known."""
    print("| " + " | ".join(header) + " |\n|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def percent(rate: float) -> str:
    """Write a rate with one decimal."""
    return f"{100 * rate:.1f}"


def type_one_errors(n_studies: int) -> None:
    """Print the rate of rejections of true nulls in the whole grid, former ones in brackets."""
    columns = [
        (n_heads, n_runs, mean) for n_heads in (1, 8) for n_runs in (1, 3) for mean in (AWAY, NEAR)
    ]
    header = ["samples", "cells"]
    header += [
        f"{n_heads} head{'s' * (n_heads > 1)}, {n_runs} run{'s' * (n_runs > 1)}, "
        f"{'near' if mean == NEAR else 'away'}"
        for n_heads, n_runs, mean in columns
    ]

    def rows() -> Iterator[list[str]]:
        for n_samples in SIZES:
            for n_cells in COUNTS:
                row = [str(n_samples), f"{n_cells[0]}/{n_cells[1]}"]
                for seed, (n_heads, n_runs, mean) in enumerate(columns):
                    setting = Setting(n_samples, n_cells, mean, n_heads, n_runs)
                    (rate,) = rates(setting, n_studies, seed, (contrast_p,))
                    (former,) = rates(setting, min(400, n_studies), seed, (former_p,))
                    row.append(f"{percent(rate)} ({round(100 * former)})")
                yield row

    print_table(header, rows())


def other_distributions(n_studies: int) -> None:
    """Print the rate of rejections of true nulls where assumptions fail or spreads differ."""
    base = Setting(3, (10, 300), NEAR)
    kinds = {
        "samples do not vary": replace(base, sample_sd=0.0),
        "samples vary more": replace(base, sample_sd=10.0),
        "cells skewed up": replace(base, cells="skewed up"),
        "cells skewed down": replace(base, cells="skewed down"),
        "cells with heavy tails": replace(base, cells="heavy tails"),
        "cells skewed up, samples do not vary": replace(base, cells="skewed up", sample_sd=0.0),
    }

    def rows() -> Iterator[list[str]]:
        for name, kind in kinds.items():
            row = [name]
            for n_samples in (3, 12):
                for n_heads in (1, 8):
                    setting = replace(kind, n_samples=n_samples, n_heads=n_heads)
                    of_mean, of_median = rates(
                        setting, n_studies, 1, (contrast_p, lambda g: contrast_p(g, np.median))
                    )
                    row.append(f"{percent(of_mean)}, {percent(of_median)}")
            yield row

    header = [f"{n} samples, {heads} head{'s' * (heads > 1)}" for n in (3, 12) for heads in (1, 8)]
    print_table(["10/300 cells, near the floor: mean, median", *header], rows())


def powers(n_studies: int) -> None:
    """Print the rate of rejections where groups differ and counts are equal."""
    kinds: dict[str, tuple[float, Setting]] = {
        "1 head": (1, Setting(3, (50, 50))),
        "1 head, 3 runs": (1, Setting(3, (50, 50), n_runs=3)),
        "8 heads, all shifted": (0.5, Setting(3, (50, 50), n_heads=8)),
        "8 heads, one reaches": (1, Setting(3, (50, 50), n_heads=8, drop_of_other_heads=30.0)),
        "8 heads, one is ahead": (1, Setting(3, (50, 50), n_heads=8, drop_of_other_heads=5.0)),
    }

    def rows() -> Iterator[list[str]]:
        for n_samples in SIZES:
            row = [str(n_samples)]
            for share, kind in kinds.values():
                shift = share * SHIFT[n_samples] * np.hypot(kind.sample_sd, kind.cell_sd / 50**0.5)
                setting = replace(kind, n_samples=n_samples, shift=shift)
                power, former = rates(setting, n_studies, 2, (contrast_p, former_p))
                row.append(f"{percent(power)} ({percent(former)})")
            yield row

    print_table(["samples, 50 cells each", *kinds], rows())


def check(n_studies: int = 5) -> float:
    """Largest difference between p of `contrast` and of the kernels, over a few studies."""
    differences = []
    for n_heads in (1, 8):
        setting = Setting(3, (10, 30), n_heads=n_heads, n_runs=2)
        groups = setting.simulate(np.random.default_rng(0), n_studies)
        for study, expected in enumerate(contrast_p(groups)):
            p = _through_the_package([group[study] for group in groups])
            differences.append(abs(p - float(expected)))
    return max(differences)


def _through_the_package(groups: list[Floats]) -> float:
    """P of one study, each group (sample, run, head, cell), by `contrast` itself."""
    names = [f"{group}{number}" for group in "ab" for number in range(len(groups[0]))]
    counts = [group.shape[-1] for group in groups for _ in group]
    # (run, head, cell of all samples)
    lengths = np.concatenate([sample for group in groups for sample in group], axis=-1)
    runs = [
        amici_xr.from_arrays(
            3 + of_run.T, np.ones_like(of_run.T), ["S"] * sum(counts), query="R",
            neighbor_sample=np.repeat(names, counts),
        )
        for of_run in lengths
    ]  # fmt: skip
    ds = amici_xr.align_runs(runs, distance=60)
    result = amici_xr.contrast(ds, {name: name[0] for name in names})
    return float(result["p_value"].sel(label="S").item())


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=4_000, metavar="4000")
    n_studies = parser.parse_args().studies
    print(f"largest difference from p of contrast itself, 10 studies: {check():.1e}\n")
    print(f"Type-I error in % at p ≤ {ALPHA}, {n_studies:,} studies; in brackets the former test\n")
    type_one_errors(n_studies)
    print(f"\nType-I error in % elsewhere, {n_studies:,} studies\n")
    other_distributions(n_studies)
    print(f"\nPower in %, {n_studies:,} studies; in brackets the former test\n")
    powers(n_studies)


if __name__ == "__main__":
    main()
