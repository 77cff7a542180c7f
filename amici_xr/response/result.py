"""The result of a distance response as a labelled Dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.kinds import KIND
from amici_xr.dataset.response_schema import describe_response
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
            "bin_start": ("distance_bin", bin_start),
            "bin_end": ("distance_bin", bin_end),
        },
        attrs=provenance(source)
        | {
            "title": "Distance response",
            KIND: "distance_response",
            "correction": correction,
            "trend_scale": settings.trend_scale,
            "niche_scale": settings.niche_scale,
        }
        | ({"median_nearest_distance": spacing} if np.isfinite(spacing) else {}),
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
    return describe_response(ds)


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
