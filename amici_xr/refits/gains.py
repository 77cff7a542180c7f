"""Gains of held-out receivers, gene by gene, added up so that no cell is kept.

The prediction of several runs is their mean. Its gain varies with the runs that were drawn, by how
much a jackknife over runs tells.

Receivers near a sender gain more than others because the sender is there, which is not chance. With
δ the difference of the two predictions, the gain ``2δ(x − ŷ without S) − δ²`` has the mean
``(2β − 1)·δ²`` where expression differs by ``β·δ`` from the prediction without the sender.
Regressed on δ², it leaves ``2δ(x − ŷ without S − β·δ)``, which varies by chance alone: inference is
conditional on the places of the cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.kernels.spatial.basis import N_CONTRASTS, SpatialBasis, prepare
from amici_xr.refits.smooth_variation import SmoothVariation
from amici_xr.tissue.cells import Tissue

Floats = NDArray[np.float64]

_OF_SENDERS = ("gain", "contrasts", "spread", "total_spread", "by_run")


@dataclass(frozen=True)
class Gains:
    """Sums over receivers; those of several folds are added.

    Attributes
    ----------
    gain
        Of each pair and gene, (query, sender, gene).
    contrasts
        Of what of the gains chance has made, by which their mean is tested, (query, sender, gene,
        contrast).
    spread, total_spread
        Variance of the mean gain over runs, of each gene and of all together, (query, sender, gene)
        and (query, sender).
    by_run
        Mean gain over all genes of each run by itself, (query, sender, fold, run).
    deviation, error
        Squared deviation from the mean of the type, and squared error with all senders, (query,
        gene).
    n_varying
        Number of folds in which the gene is not constant, (query, gene).
    freedom
        Number of receivers less that of the columns by which they are regressed, (query,).
    """

    gain: Floats
    contrasts: Floats
    spread: Floats
    total_spread: Floats
    by_run: Floats
    deviation: Floats
    error: Floats
    n_varying: Floats
    freedom: Floats

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

    def of_model(run: int, left_out: int) -> Floats:
        return cleaned(residuals(run, left_out))

    def sum_over_runs(left_out: int) -> Floats:
        total = of_model(0, left_out)
        for run in range(1, n_runs):
            total += of_model(run, left_out)
        return total

    # Residuals of one model at a time, so that memory does not grow with the number of runs.
    with_all = sum_over_runs(0)
    sums: dict[str, list[Any]] = {name: [] for name in _OF_SENDERS}
    for sender in range(1, n_senders + 1):
        without = sum_over_runs(sender)
        gain = (without**2 - with_all**2) / n_runs**2
        square = ((without - with_all) / n_runs) ** 2  # of the difference of the predictions
        slope = gain.sum(axis=0) / np.maximum(square.sum(axis=0), np.finfo(float).tiny)
        partial, by_run = [], []  # the gain without a run, and that of the run alone
        for run in range(n_runs):
            one, one_with_all = of_model(run, sender), of_model(run, 0)
            gain_of_others = (without - one) ** 2 - (with_all - one_with_all) ** 2
            partial.append(gain_of_others.mean(axis=0) / (n_runs - 1) ** 2)
            by_run.append((one**2 - one_with_all**2).sum(axis=1).mean())
        sums["gain"].append(gain.sum(axis=0))
        sums["contrasts"].append(_padded((gain - slope * square).T @ contrasts))
        sums["spread"].append(share**2 * _jackknife_variance(np.array(partial)))
        total = np.array(partial).sum(axis=1)
        sums["total_spread"].append(share**2 * _jackknife_variance(total))
        sums["by_run"].append(by_run)
    n_columns = 1 if smooth is None else smooth.n_columns
    return {name: np.array(values) for name, values in sums.items()} | {
        "deviation": (cleaned(deviation) ** 2).sum(axis=0),
        "error": ((with_all / n_runs) ** 2).sum(axis=0),
        "n_varying": 1.0 * (np.ptp(deviation, axis=0) > 0),
        "freedom": np.array(max(0, len(deviation) - n_columns), dtype=np.float64),
    }


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


def _jackknife_variance(partial: Floats) -> Floats:
    """Variance of an estimate, from those that leave out one run each, (run, …) → (…)."""
    n_runs = len(partial)
    return np.asarray((n_runs - 1) * partial.var(axis=0))
