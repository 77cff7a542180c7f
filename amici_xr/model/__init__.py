"""A trained model, read safely, and its network."""

from amici_xr.model.loading import load_model
from amici_xr.model.saved_model import ModelSettings, SavedModel

__all__ = ["ModelSettings", "SavedModel", "load_model"]
