"""The receivers of one type, and everything that is tested of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amici_xr.kernels.combined_p import simes
from amici_xr.kernels.permutation import benjamini_hochberg
from amici_xr.response.companions import p_over_samples, standing_together
from amici_xr.response.design import build_design, niche_columns
from amici_xr.response.evidence import Evidence, choose_radius, weigh
from amici_xr.response.surroundings import Surroundings
from amici_xr.response.tests_of_pairs import contrast_of, evaluate_pairs, useful_radii

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Bools = NDArray[np.bool_]

LEAST_RECEIVERS = 100
LEAST_UNUSUAL = 10  # receivers that differ from a gene's median
LEAST_FREE = 30  # receivers beyond the columns of the design
SPILLOVER_DIFFERENCE = 0.3  # by which senders express a gene more than receivers


@dataclass(frozen=True)
class Settings:
    """Settings that all receiving types share; lengths in µm."""

    radii: Floats
    bin_edges: Floats
    trend_scale: float
    niche_scale: float


@dataclass
class Responses:
    """What is found for the receivers of one type; senders and genes as in the result."""

    status: list[str]
    n_within: Integers
    mean_distance: Floats  # (sender, bin)
    n_in_bin: Integers  # (sender, bin)
    radius: Floats
    p_value: Floats
    p_value_beyond_niche: Floats
    p_value_strict: Floats
    gene_p_value: Floats  # (sender, gene)
    gene_q_value: Floats
    effect: Floats
    effect_se: Floats
    response: Floats  # (sender, bin, gene)
    response_se: Floats
    effect_by_sample: Floats  # (sender, gene, sample)
    effect_by_sample_se: Floats
    gene_p_value_over_samples: Floats  # (sender, gene)
    p_value_over_samples: Floats
    stands_with: list[list[int]]
    median_error: Floats  # (sender), least over radii of a gene's median error, in its SD
    evidence: Evidence | None
    genomic_control: float
    genomic_control_beyond_niche: float


def respond(
    query: int,
    senders: list[int],
    receivers: Integers,
    expression: Floats,
    positions: Floats,
    samples: Integers,
    surroundings: Surroundings,
    is_type: Bools,
    share_of_types: Floats,
    settings: Settings,
) -> Responses:
    """Test the response of receivers of type `query` to each sender.

    `positions` and `samples` are of all cells; `is_type` tells which types have cells enough to be
    senders.
    """
    n_genes, n_bins = expression.shape[1], settings.bin_edges.size + 1
    n_samples = int(samples.max()) + 1
    found = _nothing(len(senders), n_genes, n_bins, n_samples)
    for row, sender in enumerate(senders):
        if sender == query:
            found.status[row] = "same_type"
        elif not is_type[sender]:
            found.status[row] = "absent"
        else:
            found.status[row] = "too_few_receivers"
    if receivers.size < LEAST_RECEIVERS:
        return found
    places, groups = positions[receivers], samples[receivers]
    distance = surroundings.nearest_distance(receivers, query)
    weight = surroundings.niche_weight(receivers, settings.niche_scale)
    design = build_design(
        places, groups, distance, niche_columns(weight, share_of_types), settings.trend_scale
    )
    if receivers.size - design.with_niche.kept.size < LEAST_FREE:
        return found
    is_used = np.zeros((len(senders), settings.radii.size), dtype=bool)
    for row, sender in enumerate(senders):
        if found.status[row] == "too_few_receivers":
            is_used[row] = useful_radii(distance[:, sender], settings.radii)
            found.status[row] = "tested" if is_used[row].any() else "no_contrast"
    _describe_bins(found, distance, senders, settings.bin_edges)
    center, scale = expression.mean(axis=0), expression.std(axis=0)
    is_unusual = expression != np.median(expression, axis=0)
    is_constant = scale <= 1e-9 * np.maximum(1.0, np.abs(center))
    tested_genes = np.flatnonzero(~is_constant & (is_unusual.sum(axis=0) >= LEAST_UNUSUAL))
    if not tested_genes.size or not is_used.any():
        return found
    scaled = (expression[:, tested_genes] - center[tested_genes]) / scale[tested_genes]
    contrasts = [
        contrast_of(row, sender, distance[:, sender], settings.radii, used, settings.bin_edges)
        for row, (sender, used) in enumerate(zip(senders, is_used, strict=True))
    ]
    without, beyond = evaluate_pairs(
        scaled, places, groups, design, contrasts, settings.radii.size, n_samples
    )
    evidence, evidence_beyond = weigh(without), weigh(beyond)
    found.p_value, found.p_value_beyond_niche = evidence.p_value, evidence_beyond.p_value
    found.genomic_control = evidence.genomic_control
    found.genomic_control_beyond_niche = evidence_beyond.genomic_control
    found.evidence = evidence
    unit = scale[tested_genes]
    for row in np.flatnonzero(is_used.any(axis=1)).tolist():
        gene_p = evidence.gene_p_value[row]
        gene_q = benjamini_hochberg(gene_p)
        found.gene_p_value[row], found.gene_q_value[row] = 1.0, 1.0
        found.gene_p_value[row, tested_genes] = gene_p
        found.gene_q_value[row, tested_genes] = gene_q
        best = choose_radius(without.deviate[row] ** 2, gene_q)
        found.radius[row] = settings.radii[best]
        found.n_within[row] = (distance[:, senders[row]] < settings.radii[best]).sum()
        found.effect[row, tested_genes] = without.effect[row, best] * unit
        found.effect_se[row, tested_genes] = without.standard_error[row, best] * unit
        found.effect_by_sample[row][tested_genes] = (without.effect_by_sample[row, best] * unit).T
        found.effect_by_sample_se[row][tested_genes] = (without.error_by_sample[row, best] * unit).T
        p_of_genes = p_over_samples(without.effect_by_sample[row])
        found.gene_p_value_over_samples[row, tested_genes] = p_of_genes
        found.p_value_over_samples[row] = simes(p_of_genes)
        found.stands_with[row] = standing_together(
            distance, senders[row], query, settings.radii[best]
        )
        found.response[row][:, tested_genes] = without.response[row] * unit + center[tested_genes]
        found.response_se[row][:, tested_genes] = without.response_error[row] * unit
        found.median_error[row] = np.nanmin(
            np.median(without.standard_error[row][is_used[row]], axis=1)
        )
    return found


def judge_spillover(found: Responses, mean_of_senders: Floats, mean_of_receivers: Floats) -> Bools:
    """Flag genes that spilled transcripts could explain, and fill in the strict p of each pair.

    Means are (sender, gene) and (gene).
    """
    with np.errstate(invalid="ignore"):
        is_higher = mean_of_senders - mean_of_receivers > SPILLOVER_DIFFERENCE
        may_be_spillover = (found.effect > 0) & is_higher
    for row, status in enumerate(found.status):
        if status == "tested":
            is_tested = np.isfinite(found.effect[row])
            others = found.gene_p_value[row, is_tested & ~may_be_spillover[row]]
            found.p_value_strict[row] = simes(others) if others.size else 1.0
    return np.asarray(may_be_spillover)


def _describe_bins(found: Responses, distance: Floats, senders: list[int], edges: Floats) -> None:
    for row, sender in enumerate(senders):
        reached = distance[np.isfinite(distance[:, sender]), sender]
        number = np.searchsorted(edges, reached, side="right")
        count = np.bincount(number, minlength=edges.size + 1)
        total = np.bincount(number, reached, minlength=edges.size + 1)
        found.n_in_bin[row] = count
        found.mean_distance[row] = np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _nothing(n_senders: int, n_genes: int, n_bins: int, n_samples: int) -> Responses:
    def empty(*shape: int) -> Floats:
        return np.full((n_senders, *shape), np.nan)

    return Responses(
        status=[""] * n_senders,
        n_within=np.zeros(n_senders, dtype=np.intp),
        mean_distance=empty(n_bins),
        n_in_bin=np.zeros((n_senders, n_bins), dtype=np.intp),
        radius=empty(),
        p_value=empty(),
        p_value_beyond_niche=empty(),
        p_value_strict=empty(),
        gene_p_value=empty(n_genes),
        gene_q_value=empty(n_genes),
        effect=empty(n_genes),
        effect_se=empty(n_genes),
        response=empty(n_bins, n_genes),
        response_se=empty(n_bins, n_genes),
        effect_by_sample=empty(n_genes, n_samples),
        effect_by_sample_se=empty(n_genes, n_samples),
        gene_p_value_over_samples=empty(n_genes),
        p_value_over_samples=empty(),
        stands_with=[[] for _ in range(n_senders)],
        median_error=empty(),
        evidence=None,
        genomic_control=np.nan,
        genomic_control_beyond_niche=np.nan,
    )
