"""Conversion of all distances from the unit of the coordinates to microns."""

from __future__ import annotations

import numpy as np
import xarray as xr

from amici_xr.dataset.schema import SCHEMA, distance_unit
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import check_positive_number

MICRON = "µm"
_MICRONS = (  # after casefold, which turns the micro sign into the Greek letter
    *("μm", "um", "micron", "microns"),
    *("micrometer", "micrometers", "micrometre", "micrometres"),
)


def to_microns(ds: xr.Dataset, microns_per_unit: float) -> xr.Dataset:
    """Convert every distance of a Dataset to microns.

    Coordinates, distances of neighbors and the distance kernel unit scale *u* are multiplied by
    `microns_per_unit`. Length scales ``(u/p)·(a − δ − logit t)`` follow from *u*; the scores have
    no unit and stay.

    Parameters
    ----------
    ds
        The Dataset, in any unit but microns.
    microns_per_unit
        How many microns one unit of the coordinates is, e.g. 0.2125 for a pixel of Xenium.

    Returns
    -------
    xarray.Dataset
        With ``units`` "µm" on every distance, and ``microns_per_unit`` among its attributes.

    Raises
    ------
    ValueError
        If `microns_per_unit` is not a positive number, or not 1 although the Dataset is in microns
        already.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.from_arrays([[5.0]], [[0.5]], ["Tumor"], query="T_cell", unit="pixel")
    >>> amici_xr.length_scale(ds, sample_threshold=None).item()
    4.0
    >>> in_microns = amici_xr.to_microns(ds, 0.25)
    >>> amici_xr.length_scale(in_microns, sample_threshold=None).item()
    1.0
    """
    check_structure(ds)
    factor = check_microns_per_unit(microns_per_unit, distance_unit(ds))
    converted = {}
    for name, row in SCHEMA.items():
        if row.units == "distance" and name in ds.variables:
            converted[name] = ds[name].astype(np.float64) * factor
            converted[name].attrs = ds[name].attrs | {"units": MICRON}
    attributes = {"microns_per_unit": factor * ds.attrs.get("microns_per_unit", 1.0)}
    if "matching_distance" in ds.attrs:  # of aligned runs
        attributes["matching_distance"] = factor * ds.attrs["matching_distance"]
    return ds.assign(converted).assign_attrs(attributes)


def check_microns_per_unit(value: float, unit: str | None) -> float:
    """Return the factor as a float; refuse any but 1 where the unit is the micron already."""
    factor = check_positive_number("microns_per_unit", value)
    if unit is not None and unit.casefold() in _MICRONS and factor != 1:
        raise ValueError(
            f"microns_per_unit={value!r}, but the unit is {unit!r} already; leave one of them out"
        )
    return factor
