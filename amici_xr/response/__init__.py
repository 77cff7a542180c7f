"""Tests from the tissue alone: which pairs of cell types interact, and which genes respond."""

from amici_xr.response.pipeline import distance_response

__all__ = ["distance_response"]
