"""An AnnData as arrays: cell types, positions, samples, expression, neighborhoods."""
