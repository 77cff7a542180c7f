"""The table of variables that make up a distance response."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from amici_xr.dataset.schema import Variable

STATUSES = ("tested", "absent", "too_few_receivers", "no_contrast", "same_type")
GENES_OF_DETECTABLE_EFFECT = 8
_PAIR = ("query", "label")
_GENE = (*_PAIR, "gene")
_BIN = (*_PAIR, "distance_bin")

# fmt: off
# A table reads best with its rows as rows.
_ROWS = (
    Variable("p_value", _PAIR, "float64", "1",
             "p that expression does not change with the distance to the sender, beyond trend, "
             "other senders and autocorrelation"),
    Variable("q_value", _PAIR, "float64", "1", "p_value adjusted over all pairs",
             is_required=True),
    Variable("p_value_beyond_niche", _PAIR, "float64", "1",
             "as p_value, and beyond the composition of the niche"),
    Variable("q_value_beyond_niche", _PAIR, "float64", "1",
             "p_value_beyond_niche adjusted over all pairs"),
    Variable("p_value_strict", _PAIR, "float64", "1",
             "as p_value, from the genes that spillover can't explain"),
    Variable("q_value_strict", _PAIR, "float64", "1", "p_value_strict adjusted over all pairs"),
    Variable("radius", _PAIR, "float64", "µm",
             "distance at which the response is strongest as a step; not a length scale"),
    Variable("n_receivers", _PAIR, "int64", "", "cells of the query type"),
    Variable("n_within", _PAIR, "int64", "", "receivers nearer to the sender than the radius"),
    Variable("status", _PAIR, "string", "",
             "tested, or why not: absent (fewer than 20 senders), too_few_receivers, "
             "no_contrast (too few receivers near or far), same_type", is_required=True),
    Variable("stands_with", _PAIR, "string", "",
             "other senders near which mostly the same receivers stand: one finding, not several"),
    Variable("detectable_effect", _PAIR, "float64", "1",
             f"step of {GENES_OF_DETECTABLE_EFFECT} genes, in standard deviations, that is found "
             "with 80% power"),
    Variable("effect", _GENE, "float64", "",
             "expression of receivers within the radius less that of the others, adjusted",
             is_required=True),
    Variable("effect_se", _GENE, "float64", "", "standard error of effect"),
    Variable("gene_p_value", _GENE, "float64", "1", "p of the gene, over all radii"),
    Variable("gene_q_value", _GENE, "float64", "1",
             "gene_p_value adjusted over the genes of the pair", is_required=True),
    Variable("may_be_spillover", _GENE, "bool", "",
             "whether transcripts of touching senders could explain the effect",
             is_required=True),
    Variable("response", (*_BIN, "gene"), "float64", "",
             "mean expression of receivers in the distance bin, adjusted", is_required=True),
    Variable("response_se", (*_BIN, "gene"), "float64", "", "standard error of response",
             is_required=True),
    Variable("mean_distance", _BIN, "float64", "µm",
             "mean distance of the receivers in the bin from the sender", is_required=True),
    Variable("n_in_bin", _BIN, "int64", "", "receivers in the bin"),
    Variable("genomic_control", ("query",), "float64", "1",
             "median of the statistics over that of the null; the larger, the more inflated"),
    Variable("genomic_control_beyond_niche", ("query",), "float64", "1",
             "genomic_control of the fit with the niche"),
    Variable("effect_by_sample", (*_GENE, "sample"), "float64", "", "effect in each sample"),
    Variable("effect_by_sample_se", (*_GENE, "sample"), "float64", "",
             "standard error of effect_by_sample"),
    Variable("gene_p_value_over_samples", _GENE, "float64", "1",
             "p of a t test of the effects of samples, over all radii"),
    Variable("p_value_over_samples", _PAIR, "float64", "1",
             "gene_p_value_over_samples combined over genes (Simes)"),
    Variable("q_value_over_samples", _PAIR, "float64", "1",
             "p_value_over_samples adjusted over all pairs"),
    Variable("query", ("query",), "string", "", "receiving cell type", True, True),
    Variable("label", ("label",), "string", "", "cell type of the sender", True, True),
    Variable("gene", ("gene",), "string", "", "name of the gene", True, True),
    Variable("sample", ("sample",), "string", "", "name of the sample", True),
    Variable("bin_start", ("distance_bin",), "float64", "µm", "least distance of the bin", True),
    Variable("bin_end", ("distance_bin",), "float64", "µm",
             "distance at which the bin ends; infinite for the last one", True),
)
# fmt: on

RESPONSE_SCHEMA: Mapping[str, Variable] = {row.name: row for row in _ROWS}


def describe_response(ds: xr.Dataset) -> xr.Dataset:
    """Set ``long_name``, ``description`` and ``units`` of each variable from the schema."""
    out = ds.copy()
    for name in set(out.variables) & set(RESPONSE_SCHEMA):
        row = RESPONSE_SCHEMA[str(name)]
        units = {"units": row.units} if row.units else {}
        attributes = {"long_name": row.name.replace("_", " "), "description": row.doc}
        out.variables[name].attrs = attributes | units
    return out
