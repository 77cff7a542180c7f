"""Counterfactual attention of cell-cell interaction models, as labelled arrays.

``extract`` scores the neighbors of a receiving cell type with a trained AMICI model; what comes
back is an ``xarray.Dataset`` whose methods under ``ds.cf`` (or ``ds.amici``) answer the rest.
"""

from importlib.metadata import version as _version

from . import testing
from .accessor import register as _register
from .annotation import to_anndata
from .assembly import from_arrays
from .atlas_figure import plot_atlas
from .checkpoint import load_model
from .contrasts import contrast
from .convert import from_dataframe, read_csv, to_dataframe
from .curves import curve, curve_summary
from .demo_data import demo
from .errors import NotFoundError, SchemaError
from .extraction import extract
from .in_context import in_context_length_scale
from .in_place import attention, attention_by_distance, dummy_attention
from .intervals import bootstrap_ci
from .length_scale_figure import plot_length_scale
from .length_scale_intervals import bootstrap
from .length_scales import length_scale, support
from .maps import plot_spatial
from .page import report
from .plots import plot_curve
from .run_spread import reach_across_runs
from .runs import align_runs
from .saved_model import ModelSettings, SavedModel
from .selection import select
from .storage import open_dataset, save
from .sweep_figure import plot_threshold_sweep
from .units import to_microns
from .validation import validate
from .versions import show_versions
from .weights_and_biases import log_figure
from .whole_tissue import atlas

__version__ = _version("amici-xr")

__all__ = [
    "ModelSettings",
    "NotFoundError",
    "SavedModel",
    "SchemaError",
    "align_runs",
    "atlas",
    "attention",
    "attention_by_distance",
    "bootstrap",
    "bootstrap_ci",
    "contrast",
    "curve",
    "curve_summary",
    "demo",
    "dummy_attention",
    "extract",
    "from_arrays",
    "from_dataframe",
    "in_context_length_scale",
    "length_scale",
    "load_model",
    "log_figure",
    "open_dataset",
    "plot_atlas",
    "plot_curve",
    "plot_length_scale",
    "plot_spatial",
    "plot_threshold_sweep",
    "reach_across_runs",
    "read_csv",
    "report",
    "save",
    "select",
    "show_versions",
    "support",
    "testing",
    "to_anndata",
    "to_dataframe",
    "to_microns",
    "validate",
]

_register()
