"""From errors of models with and without a sender to a Dataset of pairs, with p-values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.kinds import KIND
from amici_xr.dataset.schema import provenance
from amici_xr.kernels.permutation import benjamini_hochberg
from amici_xr.kernels.spatial_inference import FEWEST_PLACES, infer_mean, prepare
from amici_xr.tissue.cells import Tissue
from amici_xr.training.cross_fitting import HeldOutErrors

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

FEWEST_RECEIVERS = 30
_PAIR = ("query", "label")
_BY_RUN = (*_PAIR, "fold", "run")
# Name, dims, units and description of each variable.
_DESCRIPTIONS = (
    ("gain", _PAIR, "1",
     "squared error without the sender less that with it, over the squared deviation from the mean "
     "of the type, both beyond smooth variation over the tissue"),
    ("ci_lower", _PAIR, "1", "lower bound of the interval of the gain"),
    ("ci_upper", _PAIR, "1", "upper bound of the interval of the gain"),
    ("p_value", _PAIR, "1", "one-sided p that the gain is not above 0"),
    ("q_value", _PAIR, "1", "p_value adjusted over all pairs (Benjamini and Hochberg)"),
    ("effective_patches", _PAIR, "1", "number of independent patches that the receivers stand for"),
    ("n_receivers", _PAIR, "", "number of receivers"),
    ("n_with_sender", _PAIR, "", "number of receivers with the sender in their neighborhood"),
    ("status", _PAIR, "", "tested, or why not"),
    ("gain_by_run", _BY_RUN, "1", "gain in each fold and training run"),
    ("explained_variance", ("query",), "1",
     "share of the squared deviation that models with all senders explain in cells they never saw"),
)  # fmt: skip


def refit_dataset(
    errors: HeldOutErrors,
    tissue: Tissue,
    neighbors: NDArray[np.integer[Any]],
    *,
    queries: Sequence[str],
    senders: Sequence[str],
    seeds: Sequence[int],
    confidence_level: float,
    settings: dict[str, Any],
) -> xr.Dataset:
    """Test the gain of every pair; `neighbors` holds the neighborhood of each cell, (cell, rank).

    Gains are averaged over runs, and their mean over receivers is tested under spatial
    autocorrelation. What the mean varies by from run to run, over the number of runs, is added to
    its variance.
    """
    vocabulary = tissue.vocabulary
    n_folds = int(errors.fold.max()) + 1
    shape = (len(queries), len(senders))
    found: dict[str, NDArray[Any]] = {
        name: np.full(shape, np.nan)
        for name in ("gain", "ci_lower", "ci_upper", "p_value", "effective_patches")
    }
    found |= {name: np.zeros(shape, np.int64) for name in ("n_receivers", "n_with_sender")}
    found["status"] = np.full(shape, "absent", dtype="<U17")
    found["gain_by_run"] = np.full((*shape, n_folds, len(seeds)), np.nan)
    found["explained_variance"] = np.full(len(queries), np.nan)
    labels_near = np.where(neighbors >= 0, tissue.codes[neighbors], -1)
    for row, query in enumerate(queries):
        receivers = np.flatnonzero(tissue.codes == vocabulary.index(query))
        found["n_receivers"][row] = receivers.size
        if not receivers.size:
            continue
        total = errors.deviation[receivers].mean()
        unexplained = errors.error[:, 0, receivers].mean() / total if total > 0 else np.nan
        found["explained_variance"][row] = 1 - unexplained
        basis = _prepare(tissue, receivers)
        for column, sender in enumerate(senders):
            has_sender = (labels_near[receivers] == vocabulary.index(sender)).any(axis=1)
            found["n_with_sender"][row, column] = has_sender.sum()
            gains = errors.error[:, column + 1, receivers] - errors.error[:, 0, receivers]
            status = _status(query == sender, has_sender, gains, basis.n_places)
            found["status"][row, column] = status
            if status != "tested":
                continue
            by_run, variance = _spread_over_runs(gains, errors.fold[receivers], n_folds)
            inferred = infer_mean(gains.mean(axis=0)[np.newaxis], basis).widen(variance)
            gain, half = inferred.mean[0], inferred.half_width(confidence_level)[0]
            found["gain_by_run"][row, column] = by_run / total
            found["gain"][row, column] = gain / total
            found["ci_lower"][row, column] = (gain - half) / total
            found["ci_upper"][row, column] = (gain + half) / total
            found["p_value"][row, column] = inferred.p_value(0.0, "greater")[0]
            found["effective_patches"][row, column] = inferred.effective_patches[0]
    found["q_value"] = benjamini_hochberg(found["p_value"])
    return _assemble(found, queries, senders, seeds, confidence_level, settings)


def _prepare(tissue: Tissue, receivers: Integers) -> Any:
    assert tissue.positions is not None  # it was read with coordinates
    samples = tissue.sample_codes
    return prepare(tissue.positions[receivers], None if samples is None else samples[receivers])


def _status(is_same: bool, has_sender: NDArray[np.bool_], gains: Floats, n_places: int) -> str:
    """Return "tested", or the first reason that applies why a pair can't be tested."""
    if is_same:
        return "same_type"
    if not has_sender.any():
        return "absent"
    if has_sender.size < FEWEST_RECEIVERS or n_places < FEWEST_PLACES:
        return "too_few_receivers"
    return "tested" if np.isfinite(gains).all() else "diverged"


def _spread_over_runs(gains: Floats, fold: Integers, n_folds: int) -> tuple[Floats, float]:
    """Mean gain in each fold and run, and the variance of the mean of all that runs cause.

    `gains` is (run, receiver). Models of different folds are trained apart, so that their
    variances add, weighted by the share of the receivers.
    """
    n_runs, n_receivers = gains.shape
    by_run = np.full((n_folds, n_runs), np.nan)
    variance = 0.0
    for number in range(n_folds):
        members = fold == number
        if members.any():
            by_run[number] = gains[:, members].mean(axis=1)
            share = members.sum() / n_receivers
            variance += share**2 * by_run[number].var(ddof=1) / n_runs
    return by_run, variance


def _assemble(
    found: dict[str, NDArray[Any]],
    queries: Sequence[str],
    senders: Sequence[str],
    seeds: Sequence[int],
    confidence_level: float,
    settings: dict[str, Any],
) -> xr.Dataset:
    variables = {}
    for name, dims, units, text in _DESCRIPTIONS:
        attributes = {"long_name": name.replace("_", " "), "description": text}
        variables[name] = (dims, found[name], attributes | ({"units": units} if units else {}))
    n_folds = found["gain_by_run"].shape[2]
    coords = {
        "query": np.array(queries, dtype=np.str_),
        "label": np.array(senders, dtype=np.str_),
        "fold": np.arange(n_folds),
        "run": np.arange(len(seeds)),
        "seed": ("run", np.array(seeds)),
    }
    of_refits: dict[str, Any] = {
        **provenance("leave_out_senders", settings=settings),
        "title": "Evidence from refits without each sender",
        KIND: "sender_refits",
        "confidence_level": confidence_level,
    }
    return xr.Dataset(variables, coords, of_refits)
