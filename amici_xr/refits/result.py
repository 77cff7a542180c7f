"""From the gains of models with and without a sender to a Dataset of pairs, with p-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.kinds import KIND
from amici_xr.dataset.schema import provenance
from amici_xr.kernels.combined_p import harmonic_mean, simes
from amici_xr.kernels.permutation import benjamini_hochberg
from amici_xr.kernels.spatial.basis import FEWEST_PLACES, SpatialBasis
from amici_xr.kernels.spatial.mean import SpatialMean, infer_from_contrasts
from amici_xr.refits.gains import Gains
from amici_xr.tissue.cells import Tissue

Floats = NDArray[np.float64]

FEWEST_RECEIVERS = 30  # beyond the columns by which they are regressed
_PRIOR_WEIGHT = 4  # of the other genes, beside the gene itself
FEWEST_TRAINED = 10  # of the type, in a fold that holds others out
_PAIR = ("query", "label")
_GENE = (*_PAIR, "gene")
# Name, dims, units and description of each variable.
_DESCRIPTIONS = (
    ("gain", _PAIR, "1",
     "squared error without the sender less that with it, over the squared deviation from the mean "
     "of the type, both summed over genes"),
    ("ci_lower", _PAIR, "1", "lower bound of the interval of the gain"),
    ("ci_upper", _PAIR, "1", "upper bound of the interval of the gain"),
    ("p_value", _PAIR, "1",
     "harmonic mean of gene_p_value combined over genes (Simes) and of the p of gain, one-sided, "
     "beyond that of as many median genes"),
    ("q_value", _PAIR, "1", "p_value adjusted over all pairs (Benjamini and Hochberg)"),
    ("effective_patches", _PAIR, "1", "number of independent patches that the receivers stand for"),
    ("n_receivers", _PAIR, "", "number of receivers"),
    ("n_with_sender", _PAIR, "", "number of receivers with the sender in their neighborhood"),
    ("status", _PAIR, "", "tested, or why not"),
    ("gain_by_run", (*_PAIR, "fold", "run"), "1", "gain in each fold, of each run by itself"),
    ("gene_gain", _GENE, "1", "gain over the squared deviation, of each gene"),
    ("gene_p_value", _GENE, "1", "one-sided p that the gain of the gene is not above 0"),
    ("gene_q_value", _GENE, "1", "gene_p_value adjusted over the genes of the pair"),
    ("explained_variance", ("query",), "1",
     "share of the squared deviation that models with all senders explain of held-out cells"),
)  # fmt: skip


def refit_dataset(
    gains: Gains,
    bases: Mapping[int, SpatialBasis],
    tissue: Tissue,
    neighbors: NDArray[np.integer[Any]],
    *,
    senders: Sequence[str],
    seeds: NDArray[np.int64],
    n_in_fold: NDArray[np.int64],
    confidence_level: float,
    settings: dict[str, Any],
) -> xr.Dataset:
    """Test the gain of every pair and gene.

    `neighbors` is the neighborhood of each cell, (cell, rank), and `n_in_fold` the number of
    receivers of each type in each fold. Means over receivers are tested under spatial
    autocorrelation, with the variance over runs added.
    """
    queries, n_genes = tissue.vocabulary, gains.gain.shape[2]
    shape = (len(queries), len(senders))
    results: dict[str, NDArray[Any]] = {
        name: np.full(shape, np.nan)
        for name in ("gain", "ci_lower", "ci_upper", "p_value", "effective_patches")
    }
    results |= {name: np.full((*shape, n_genes), np.nan) for name in ("gene_gain", "gene_p_value")}
    results["gene_q_value"] = np.full((*shape, n_genes), np.nan)
    results["gain_by_run"] = np.full(gains.by_run.shape, np.nan)
    results["status"] = np.full(shape, "absent", dtype="<U17")
    with np.errstate(divide="ignore", invalid="ignore"):  # a type without cells
        explained = 1 - gains.error.sum(axis=1) / gains.deviation.sum(axis=1)
    results["explained_variance"] = np.where(np.isfinite(explained), explained, np.nan)
    n_receivers = np.bincount(tissue.codes, minlength=len(queries))
    results["n_receivers"] = np.repeat(n_receivers[:, np.newaxis], len(senders), axis=1)
    results["n_with_sender"] = _count_with_sender(tissue, neighbors, senders)
    for row, column in np.ndindex(shape):
        is_enough = _is_enough(n_in_fold[row], float(gains.freedom[row]))
        is_enough &= row in bases and bases[row].n_places >= FEWEST_PLACES
        status = _status(
            queries[row] == senders[column],
            int(results["n_with_sender"][row, column]),
            is_enough=is_enough,
            varies=bool(gains.n_varying[row].any()),
            gain=gains.gain[row, column],
        )
        results["status"][row, column] = status
        if status == "tested":
            freedom = int((n_in_fold[row] > 0).sum()) * (seeds.shape[1] - 1)
            pair = _test_pair(gains, bases[row], row, column, confidence_level, freedom)
            total = gains.deviation[row].sum() / n_receivers[row]
            pair["gain_by_run"] = gains.by_run[row, column] / total
            pair["gain_by_run"][n_in_fold[row] == 0] = np.nan
            for name, value in pair.items():
                results[name][row, column] = value
    results["q_value"] = benjamini_hochberg(results["p_value"])
    genes = tissue.expression.genes
    return _assemble(results, queries, senders, genes, seeds, confidence_level, settings)


def _test_pair(
    gains: Gains, basis: SpatialBasis, row: int, column: int, confidence_level: float, freedom: int
) -> dict[str, Any]:
    """Test the gain of each gene and of all together, combine both, and bound the latter.

    Simes' test finds a single gene, and the sum the many genes none of which stands out. A model
    that lacks a sender which matters to other receivers is trained a little worse, in all genes of
    all receivers: so the sum has to exceed what it would be if every gene gained like the median
    gene, in units of its standard error.
    """
    n = basis.order.size
    mean = gains.gain[row, column] / n
    contrasts = gains.contrasts[row, column, :, : basis.contrasts.shape[1]]
    varies = gains.n_varying[row] > 0
    of_genes = infer_from_contrasts(contrasts, mean, basis)
    spread, joint_freedom = _moderate(gains.spread[row, column], of_genes, varies, freedom)
    gene_p = of_genes.widen(spread, joint_freedom).p_value(0.0, "greater")
    gene_p = np.where(varies, gene_p, np.nan)
    share = np.divide(
        gains.gain[row, column], gains.deviation[row], out=np.full(mean.shape, np.nan), where=varies
    )
    summed = infer_from_contrasts(contrasts.sum(axis=0)[np.newaxis], mean.sum()[np.newaxis], basis)
    whole = summed.widen(gains.total_spread[row, column], freedom)
    half = whole.half_width(confidence_level)[0]
    over_places = (of_genes.weight * of_genes.scale**2).sum(axis=1)
    error = np.sqrt(over_places + spread)[varies]
    typical = max(0.0, float(np.median(mean[varies] / np.maximum(error, np.finfo(float).tiny))))
    p_of_sum = whole.p_value(typical * error.sum(), "greater")[0]
    total = gains.deviation[row].sum() / n
    return {
        "gain": mean.sum() / total,
        "ci_lower": (mean.sum() - half) / total,
        "ci_upper": (mean.sum() + half) / total,
        "p_value": min(1.0, float(harmonic_mean(np.array([simes(gene_p[varies]), p_of_sum])))),
        "effective_patches": summed.effective_patches[0],
        "gene_gain": share,
        "gene_p_value": gene_p,
        "gene_q_value": benjamini_hochberg(gene_p),
    }


def _moderate(
    spread: Floats, of_genes: SpatialMean, varies: NDArray[np.bool_], freedom: int
) -> tuple[Floats, float]:
    """Moderate the variance over runs, which few runs tell badly, by that of the other genes.

    In relation to the variance over places s², it is much the same in all genes of a pair: with v
    the variance of a gene, the moderated one is ``(v + m·κ·s²)/(1 + m)``, with κ the sum of v over
    that of s² and m = 4, and has 1 + m times the degrees of freedom. As Smyth (2004) moderates
    variances of genes, with a prior weight that is fixed.
    """
    over_places = (of_genes.weight * of_genes.scale**2).sum(axis=1)
    total = over_places[varies].sum()
    if varies.sum() == 1 or total == 0:
        return spread, freedom
    ratio = spread[varies].sum() / total
    moderated = (spread + _PRIOR_WEIGHT * ratio * over_places) / (1 + _PRIOR_WEIGHT)
    return moderated, (1 + _PRIOR_WEIGHT) * freedom


def _count_with_sender(
    tissue: Tissue, neighbors: NDArray[np.integer[Any]], senders: Sequence[str]
) -> NDArray[np.int64]:
    """Count receivers of each type with each sender in their neighborhood, (query, sender)."""
    near = np.where(neighbors >= 0, tissue.codes[neighbors], -1)
    columns = []
    for sender in senders:
        has_sender = (near == tissue.vocabulary.index(sender)).any(axis=1)
        columns.append(np.bincount(tissue.codes[has_sender], minlength=len(tissue.vocabulary)))
    return np.stack(columns, axis=1)


def _is_enough(n_in_fold: NDArray[np.int64], freedom: float) -> bool:
    """Tell whether there are receivers enough, to be tested and, in each fold, to learn from."""
    n_trained = n_in_fold.sum() - n_in_fold[n_in_fold > 0]
    return bool(freedom >= FEWEST_RECEIVERS and (n_trained >= FEWEST_TRAINED).all())


def _status(
    is_same: bool, n_with_sender: int, *, is_enough: bool, varies: bool, gain: Floats
) -> str:  # fmt: skip
    """Return "tested", or the first reason that applies why a pair can't be tested."""
    if is_same:
        return "same_type"
    if not n_with_sender:
        return "absent"
    if not is_enough:
        return "too_few_receivers"
    if not varies:
        return "no_variation"
    return "tested" if np.isfinite(gain).all() else "diverged"


def _assemble(
    results: dict[str, NDArray[Any]],
    queries: Sequence[str],
    senders: Sequence[str],
    genes: Sequence[str],
    seeds: NDArray[np.int64],
    confidence_level: float,
    settings: dict[str, Any],
) -> xr.Dataset:
    variables = {}
    for name, dims, units, text in _DESCRIPTIONS:
        attributes = {"long_name": name.replace("_", " "), "description": text}
        variables[name] = (dims, results[name], attributes | ({"units": units} if units else {}))
    coords = {
        "query": np.array(queries, dtype=np.str_),
        "label": np.array(senders, dtype=np.str_),
        "gene": np.array(genes, dtype=np.str_),
        "fold": np.arange(results["gain_by_run"].shape[2]),
        "run": np.arange(seeds.shape[1]),
        "seed": (("fold", "run"), seeds),
    }
    of_refits: dict[str, Any] = {
        **provenance("leave_out_senders", settings=settings),
        "title": "Evidence from refits without each sender",
        KIND: "sender_refits",
        "confidence_level": confidence_level,
    }
    return xr.Dataset(variables, coords, of_refits)
