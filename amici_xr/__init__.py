"""Counterfactual attention of cell-cell interaction models, as labelled arrays.

``extract`` scores the neighbors of a receiving cell type with a trained AMICI model; what comes
back is an ``xarray.Dataset`` whose methods under ``ds.cf`` (or ``ds.amici``) answer the rest.
"""

from importlib.metadata import version as _version

from . import testing
from .accessor import register as _register
from .assembly import from_arrays
from .checkpoint import ModelSettings, SavedModel, load_model
from .convert import from_dataframe, read_csv, to_dataframe
from .curves import curve, curve_summary
from .demo_data import demo
from .errors import NotFoundError, SchemaError
from .extraction import extract
from .intervals import bootstrap, bootstrap_ci
from .length_scales import length_scale, support
from .plots import plot_curve, plot_length_scale
from .selection import select
from .storage import open_dataset, save
from .validation import validate

__version__ = _version("amici-xr")

__all__ = [
    "ModelSettings",
    "NotFoundError",
    "SavedModel",
    "SchemaError",
    "bootstrap",
    "bootstrap_ci",
    "curve",
    "curve_summary",
    "demo",
    "extract",
    "from_arrays",
    "from_dataframe",
    "length_scale",
    "load_model",
    "open_dataset",
    "plot_curve",
    "plot_length_scale",
    "read_csv",
    "save",
    "select",
    "support",
    "testing",
    "to_dataframe",
    "validate",
]

_register()
