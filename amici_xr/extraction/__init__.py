"""A model and its tissue become a Dataset."""

from amici_xr.extraction.pipeline import extract

__all__ = ["extract"]
