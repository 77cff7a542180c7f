"""The figures."""

from amici_xr.plotting.agreement_figure import plot_agreement
from amici_xr.plotting.atlas_figure import plot_atlas
from amici_xr.plotting.curve_figure import plot_curve
from amici_xr.plotting.effect_curve_figure import plot_effect_curve
from amici_xr.plotting.gene_effect_figure import plot_gene_effects
from amici_xr.plotting.history_figure import plot_history
from amici_xr.plotting.length_scale_figure import plot_length_scale
from amici_xr.plotting.pair_figure import plot_pairs
from amici_xr.plotting.response_figure import plot_response
from amici_xr.plotting.threshold_figure import plot_threshold_sweep
from amici_xr.plotting.tissue_map import plot_spatial
from amici_xr.plotting.wandb_logging import log_figure

__all__ = [
    "log_figure",
    "plot_agreement",
    "plot_atlas",
    "plot_curve",
    "plot_effect_curve",
    "plot_gene_effects",
    "plot_history",
    "plot_length_scale",
    "plot_pairs",
    "plot_response",
    "plot_spatial",
    "plot_threshold_sweep",
]
