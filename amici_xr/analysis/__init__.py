"""Analyses of a Dataset: curves, length scales, observed attention, effects."""

from amici_xr.analysis.attention_shares import attention_enrichment
from amici_xr.analysis.cell_columns import to_anndata
from amici_xr.analysis.curves import curve, curve_summary
from amici_xr.analysis.effect_reach import effect_curve, effect_length_scale
from amici_xr.analysis.effects import explained_variance, gene_effects
from amici_xr.analysis.length_scales import length_scale, support
from amici_xr.analysis.length_scales_in_context import in_context_length_scale
from amici_xr.analysis.observed_attention import attention, attention_by_distance, dummy_attention

__all__ = [
    "attention",
    "attention_by_distance",
    "attention_enrichment",
    "curve",
    "curve_summary",
    "dummy_attention",
    "effect_curve",
    "effect_length_scale",
    "explained_variance",
    "gene_effects",
    "in_context_length_scale",
    "length_scale",
    "support",
    "to_anndata",
]
