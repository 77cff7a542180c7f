"""Counterfactual attention of cell-cell interaction models, as labelled arrays.

``extract`` scores the neighbors of a receiving cell type with a trained AMICI model; what comes
back is an ``xarray.Dataset`` whose methods under ``ds.cf`` (or ``ds.amici``) answer the rest.
"""

from importlib.metadata import version as _version
from typing import Any as _Any

from amici_xr import testing
from amici_xr.accessor import register as _register
from amici_xr.analysis import (
    attention,
    attention_by_distance,
    attention_enrichment,
    curve,
    curve_summary,
    dummy_attention,
    effect_curve,
    effect_length_scale,
    explained_variance,
    gene_effects,
    in_context_length_scale,
    length_scale,
    support,
    to_anndata,
)
from amici_xr.dataset import concat_samples, from_arrays, select, to_microns, validate
from amici_xr.demo_data import demo
from amici_xr.dependencies import show_versions
from amici_xr.errors import NotFoundError, SchemaError
from amici_xr.extraction import extract
from amici_xr.findings import Summary, compare_with_tissue, summary
from amici_xr.io import from_dataframe, open_dataset, open_study, read_csv, save, to_dataframe
from amici_xr.model import ModelSettings, SavedModel, load_model
from amici_xr.plotting import (
    log_figure,
    plot_agreement,
    plot_atlas,
    plot_curve,
    plot_effect_curve,
    plot_gene_effects,
    plot_history,
    plot_length_scale,
    plot_pairs,
    plot_response,
    plot_spatial,
    plot_threshold_sweep,
)
from amici_xr.plotting.page import report
from amici_xr.refits import leave_out_senders
from amici_xr.response import distance_response
from amici_xr.tissue import from_spatialdata
from amici_xr.training import TrainedModel, TrainedRuns, load_runs, train
from amici_xr.uncertainty import (
    align_runs,
    atlas,
    bootstrap,
    bootstrap_ci,
    contrast,
    prediction_gain,
    reach_across_runs,
)

__version__ = _version("amici-xr")

__all__ = [
    "ModelSettings",
    "NotFoundError",
    "SavedModel",
    "SchemaError",
    "Summary",
    "TrainedModel",
    "TrainedRuns",
    "align_runs",
    "atlas",
    "attention",
    "attention_by_distance",
    "attention_enrichment",
    "bootstrap",
    "bootstrap_ci",
    "compare_with_tissue",
    "concat_samples",
    "contrast",
    "curve",
    "curve_summary",
    "demo",
    "distance_response",
    "dummy_attention",
    "effect_curve",
    "effect_length_scale",
    "explained_variance",
    "extract",
    "from_arrays",
    "from_dataframe",
    "from_spatialdata",
    "gene_effects",
    "in_context_length_scale",
    "leave_out_senders",
    "length_scale",
    "load_model",
    "load_runs",
    "log_figure",
    "open_dataset",
    "open_study",
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
    "prediction_gain",
    "reach_across_runs",
    "read_csv",
    "report",
    "save",
    "select",
    "show_versions",
    "summary",
    "support",
    "testing",
    "to_anndata",
    "to_dataframe",
    "to_microns",
    "train",
    "validate",
]

_register()


def __getattr__(name: str) -> _Any:
    """Import the model class of scvi-tools, which takes seconds, only when it is asked for."""
    if name == "AttentionModel":
        from amici_xr.training.attention_model import AttentionModel

        return AttentionModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
