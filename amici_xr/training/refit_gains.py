"""Gains of held-out receivers, gene by gene, added up so that no cell is kept.

The prediction of several runs is their mean. Its gain varies with the runs that were drawn, by how
much a jackknife over runs tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.kernels.spatial_inference import N_CONTRASTS, SpatialBasis, prepare
from amici_xr.tissue.cells import Tissue
from amici_xr.training.smooth_variation import SmoothVariation

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Gains:
    """Sums over receivers; those of several folds are added.

    Attributes
    ----------
    gain
        Of each pair and gene, (query, sender, gene).
    contrasts
        Of the gains, by which their mean is tested, (query, sender, gene, contrast).
    spread, total_spread
        Variance of the mean gain over runs, of each gene and of all together, (query, sender, gene)
        and (query, sender).
    by_run
        Mean gain over all genes of each run by itself, (query, sender, fold, run).
    deviation, error
        Squared deviation from the mean of the type, and squared error with all senders, (query,
        gene).
    """

    gain: Floats
    contrasts: Floats
    spread: Floats
    total_spread: Floats
    by_run: Floats
    deviation: Floats
    error: Floats

    def __add__(self, other: Gains) -> Gains:
        """Add the sums of other receivers."""
        return Gains(**{name: value + getattr(other, name) for name, value in self.arrays.items()})

    @property
    def arrays(self) -> dict[str, Floats]:
        """The arrays by their names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def bases_of_types(tissue: Tissue) -> dict[int, SpatialBasis]:
    """Prepare the places of the cells of each type."""
    assert tissue.positions is not None  # it was read with coordinates
    samples = tissue.sample_codes
    bases = {}
    for code in np.unique(tissue.codes):
        cells = np.flatnonzero(tissue.codes == code)
        sample = None if samples is None else samples[cells]
        bases[int(code)] = prepare(tissue.positions[cells], sample)
    return bases


def gains_of_type(
    residuals: Callable[[int, int], NDArray[np.float32]],
    n_runs: int,
    n_senders: int,
    deviation: NDArray[np.float32],
    smooth: SmoothVariation | None,
    contrasts: Floats,
    share: float,
) -> dict[str, Floats]:
    """Compute the sums of `Gains` for the receivers of one type that a fold holds out.

    Parameters
    ----------
    residuals
        Returns those of a model, by run and number of the sender that it does not see, 0 for the
        one that sees all: (receiver, gene).
    n_runs, n_senders
        Number of each.
    deviation
        Expression less the mean of the type, (receiver, gene).
    smooth
        What is regressed out of both; None for nothing.
    contrasts
        Of each receiver, (receiver, contrast).
    share
        Share of the receivers of this type that are in this fold.
    """

    def cleaned(values: NDArray[np.float32]) -> Floats:
        rest = values.astype(np.float64)
        return rest if smooth is None else smooth.remove(rest)

    def of_all_runs(left_out: int) -> Floats:
        return np.stack([cleaned(residuals(run, left_out)) for run in range(n_runs)])

    whole = of_all_runs(0)
    found: dict[str, list[Any]] = {name: [] for name in ("gain", "contrasts", "spread",
                                                         "total_spread", "by_run")}  # fmt: skip
    for sender in range(n_senders):
        without = of_all_runs(sender + 1)
        gain = without.mean(axis=0) ** 2 - whole.mean(axis=0) ** 2
        partial = np.stack([
            _mean_gain(np.delete(without, run, axis=0), np.delete(whole, run, axis=0))
            for run in range(n_runs)
        ])  # fmt: skip
        found["gain"].append(gain.sum(axis=0))
        found["contrasts"].append(_padded(gain.T @ contrasts))
        found["spread"].append(share**2 * _jackknife_variance(partial))
        found["total_spread"].append(share**2 * _jackknife_variance(partial.sum(axis=1)))
        found["by_run"].append((without**2 - whole**2).sum(axis=2).mean(axis=1))
    sums = {name: np.array(values) for name, values in found.items()}
    sums["deviation"] = (cleaned(deviation) ** 2).sum(axis=0)
    sums["error"] = (whole.mean(axis=0) ** 2).sum(axis=0)
    return sums


def stack_types(
    by_type: Mapping[int, Mapping[str, Floats]], n_types: int, n_folds: int, fold: int
) -> Gains:
    """Stack the sums of each type, as those of one fold of several; types without any have 0."""
    first = next(iter(by_type.values()))
    stacked = {
        name: np.stack([
            by_type[code][name] if code in by_type else np.zeros_like(first[name])
            for code in range(n_types)
        ])
        for name in first
    }  # fmt: skip
    by_run = np.zeros((*stacked["by_run"].shape[:2], n_folds, stacked["by_run"].shape[2]))
    by_run[:, :, fold] = stacked["by_run"]
    return Gains(**{**stacked, "by_run": by_run})


def _padded(contrasts: Floats) -> Floats:
    """Fill up the contrasts of few places, which are fewer, with 0."""
    return np.pad(contrasts, ((0, 0), (0, N_CONTRASTS - contrasts.shape[1])))


def _mean_gain(without: Floats, whole: Floats) -> Floats:
    """Mean over receivers of the gain of the mean prediction, (run, receiver, gene) → (gene,)."""
    return np.asarray((without.mean(axis=0) ** 2 - whole.mean(axis=0) ** 2).mean(axis=0))


def _jackknife_variance(partial: Floats) -> Floats:
    """Variance of an estimate, from those that leave out one run each, (run, …) → (…)."""
    n_runs = len(partial)
    return np.asarray((n_runs - 1) * partial.var(axis=0))
