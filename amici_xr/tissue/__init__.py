"""An AnnData as arrays: cell types, positions, samples, expression, neighborhoods."""

from amici_xr.tissue.spatial_data import from_spatialdata

__all__ = ["from_spatialdata"]
