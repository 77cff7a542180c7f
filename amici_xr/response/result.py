"""The result of a distance response as a labelled Dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.schema import provenance
from amici_xr.kernels.combined_p import holm
from amici_xr.kernels.permutation import benjamini_hochberg
from amici_xr.response.companions import LEAST_SAMPLES
from amici_xr.response.evidence import detectable_deviate
from amici_xr.response.receivers import Responses, Settings

Floats = NDArray[np.float64]

LEVEL = 0.05

_PAIR = ("query", "label")
_GENE = (*_PAIR, "gene")
_BIN = (*_PAIR, "distance_bin")
_DESCRIPTIONS = {
    "p_value": "p that expression does not change with the distance to the sender, beyond trend, "
    "other senders and autocorrelation",
    "q_value": "p_value adjusted over all pairs",
    "p_value_beyond_niche": "as p_value, and beyond the composition of the niche",
    "q_value_beyond_niche": "p_value_beyond_niche adjusted over all pairs",
    "p_value_strict": "as p_value, from the genes that spillover can't explain",
    "q_value_strict": "p_value_strict adjusted over all pairs",
    "radius": "distance at which the response is strongest as a step; not a length scale",
    "n_receivers": "cells of the query type",
    "n_within": "receivers nearer to the sender than the radius",
    "status": "tested, or why not: absent (fewer than 20 senders), too_few_receivers, "
    "no_contrast (too few receivers near or far), same_type",
    "detectable_effect": "step of 8 genes, in standard deviations, that is found with 80% power",
    "effect": "expression of receivers within the radius less that of the others, adjusted",
    "effect_se": "standard error of effect",
    "gene_p_value": "p of the gene, over all radii",
    "gene_q_value": "gene_p_value adjusted over the genes of the pair",
    "may_be_spillover": "whether transcripts of touching senders could explain the effect",
    "response": "mean expression of receivers in the distance bin, adjusted",
    "response_se": "standard error of response",
    "stands_with": "other senders near which mostly the same receivers stand: one finding, not "
    "several",
    "effect_by_sample": "effect in each sample",
    "effect_by_sample_se": "standard error of effect_by_sample",
    "gene_p_value_over_samples": "p of a t test of the effects of samples, over all radii",
    "p_value_over_samples": "gene_p_value_over_samples combined over genes (Simes)",
    "q_value_over_samples": "p_value_over_samples adjusted over all pairs",
    "mean_distance": "mean distance of the receivers in the bin from the sender",
    "n_in_bin": "receivers in the bin",
}
_MICRONS = ("radius", "mean_distance")


def assemble(
    found: Sequence[Responses],
    is_spillover: NDArray[np.bool_],
    *,
    n_receivers: NDArray[np.intp],
    queries: Sequence[str],
    labels: Sequence[str],
    genes: Sequence[str],
    vocabulary: Sequence[str],
    samples: Sequence[str],
    settings: Settings,
    correction: str,
    spacing: float,
    source: str,
) -> xr.Dataset:
    """Return the Dataset of all pairs; p-values are adjusted over all that were tested."""
    adjust = benjamini_hochberg if correction == "bh" else holm

    def stacked(name: str) -> Floats:
        return np.stack([getattr(responses, name) for responses in found])

    pairs: dict[str, tuple[tuple[str, ...], object]] = {}
    for suffix in ("", "_beyond_niche", "_strict"):
        p = stacked(f"p_value{suffix}")
        pairs[f"p_value{suffix}"] = (_PAIR, p)
        pairs[f"q_value{suffix}"] = (_PAIR, adjust(p))
    bin_start = np.concatenate([[0.0], settings.bin_edges])
    bin_end = np.concatenate([settings.bin_edges, [np.inf]])
    ds = xr.Dataset(
        {
            **pairs,
            "radius": (_PAIR, stacked("radius")),
            "n_receivers": (_PAIR, np.repeat(n_receivers[:, np.newaxis], len(labels), axis=1)),
            "n_within": (_PAIR, stacked("n_within").astype(np.int64)),
            "status": (_PAIR, np.array([responses.status for responses in found])),
            "stands_with": (_PAIR, _joined_names(found, vocabulary)),
            "detectable_effect": (_PAIR, _detectable_effects(found)),
            **{
                name: (_GENE, stacked(name))
                for name in ("effect", "effect_se", "gene_p_value", "gene_q_value")
            },
            "may_be_spillover": (_GENE, is_spillover),
            "response": ((*_BIN, "gene"), stacked("response")),
            "response_se": ((*_BIN, "gene"), stacked("response_se")),
            "mean_distance": (_BIN, stacked("mean_distance")),
            "n_in_bin": (_BIN, stacked("n_in_bin").astype(np.int64)),
            "genomic_control": ("query", stacked("genomic_control")),
            "genomic_control_beyond_niche": ("query", stacked("genomic_control_beyond_niche")),
        },
        coords={
            "query": list(queries),
            "label": list(labels),
            "gene": list(genes),
            "bin_start": ("distance_bin", bin_start, {"units": "µm"}),
            "bin_end": ("distance_bin", bin_end, {"units": "µm"}),
        },
        attrs=provenance(source)
        | {
            "title": "Distance response",
            "correction": correction,
            "trend_scale": settings.trend_scale,
            "niche_scale": settings.niche_scale,
            "median_nearest_distance": spacing,
        },
    )
    if len(samples) > 1:
        ds = ds.assign_coords(sample=list(samples)).assign(
            effect_by_sample=((*_GENE, "sample"), stacked("effect_by_sample")),
            effect_by_sample_se=((*_GENE, "sample"), stacked("effect_by_sample_se")),
        )
    if len(samples) >= LEAST_SAMPLES:
        p = stacked("p_value_over_samples")
        ds = ds.assign(
            gene_p_value_over_samples=(_GENE, stacked("gene_p_value_over_samples")),
            p_value_over_samples=(_PAIR, p),
            q_value_over_samples=(_PAIR, adjust(p)),
        )
    for name, description in _DESCRIPTIONS.items():
        if name not in ds:
            continue
        ds[name].attrs = {"long_name": name.replace("_", " "), "description": description}
        if name in _MICRONS:
            ds[name].attrs["units"] = "µm"
    return ds


def _joined_names(found: Sequence[Responses], vocabulary: Sequence[str]) -> NDArray[np.str_]:
    return np.array(
        [
            ["; ".join(vocabulary[sender] for sender in group) for group in responses.stands_with]
            for responses in found
        ]
    )


def _detectable_effects(found: Sequence[Responses]) -> Floats:
    """Step in SD of eight genes that each tested pair would show with 80% power, were it alone."""
    n_pairs = sum(responses.status.count("tested") for responses in found)
    effects = np.stack([responses.median_error for responses in found])
    for row, responses in zip(effects, found, strict=True):
        if responses.evidence is not None:
            row *= detectable_deviate(responses.evidence, LEVEL / max(n_pairs, 1))
    return effects
