"""A model and its tissue become a Dataset."""

from amici_xr.extraction.pipeline import extract
from amici_xr.extraction.predicted_expression import predict_expression

__all__ = ["extract", "predict_expression"]
