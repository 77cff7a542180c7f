"""What a Dataset is: its schema, construction, validation, selection, reduction and units."""

from amici_xr.dataset.concatenation import concat_samples
from amici_xr.dataset.construction import from_arrays
from amici_xr.dataset.selection import select
from amici_xr.dataset.units import to_microns
from amici_xr.dataset.validation import validate

__all__ = ["concat_samples", "from_arrays", "select", "to_microns", "validate"]
