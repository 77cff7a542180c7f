"""Conversion of all distances from the unit of the coordinates to microns."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.schema import SCHEMA, distance_unit
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import check_positive_number

MICRON = "µm"
_PREFIXES = {-9: ("n", "nano"), -6: ("μ", "micro"), -3: ("m", "milli"), -2: ("c", "centi")}
_POWERS = {  # of 10, in meters; after casefold, which turns the micro sign into the Greek letter
    **{
        name: power
        for power, (letter, prefix) in {**_PREFIXES, 0: ("", "")}.items()
        for end in ("meter", "meters", "metre", "metres")
        for name in (f"{letter}m", f"{prefix}{end}")
    },
    **dict.fromkeys(("um", "micron", "microns"), -6),
}

_USUAL_NAMES = {-9: "nm", -6: MICRON, -3: "mm", -2: "cm", 0: "m"}


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
    if unit is not None and _power(unit) == _power(MICRON) and factor != 1:
        raise ValueError(
            f"microns_per_unit={value!r}, but the unit is {unit!r} already; leave one of them out"
        )
    return factor


def in_unit_of(ds: xr.Dataset, argument: str, given: Any) -> NDArray[Any]:
    """Return distances in the Dataset's unit, as `in_unit` does."""
    return in_unit(argument, given, distance_unit(ds), "the Dataset")


def in_unit(argument: str, given: Any, own: str | None, owner: str) -> NDArray[Any]:
    """Return distances in the unit `own` of `owner`: those labelled with another are converted.

    The label is the attribute ``units``, as of a DataArray, or ``unit``; numbers without one are in
    the owner's unit.
    """
    if isinstance(given, list | tuple) and any(unit_label(part) is not None for part in given):
        return np.array([in_unit(argument, part, own, owner) for part in given])
    values = np.asarray(given)
    unit = unit_label(given)
    if values.dtype.kind not in "fiu" or unit is None or unit == own:
        return values  # the caller refuses what are no numbers
    powers = [None if name is None else _power(name) for name in (unit, own)]
    if powers[0] is None or powers[1] is None:
        mine = "unknown" if own is None else repr(own)
        raise ValueError(
            f"{argument} is labelled with the unit {unit!r}, while that of {owner} is {mine}; "
            f"give {argument} as plain numbers in the unit of {owner}"
        )
    exponent = powers[0] - powers[1]
    return values * 10.0**exponent if exponent >= 0 else values / 10.0**-exponent


def usual_name(unit: str) -> str:
    """Return "µm" for every spelling of it, likewise for other lengths; unknown units stay."""
    power = _power(unit)
    return unit.strip() if power is None else _USUAL_NAMES[power]


def microns_in(unit: str) -> float | None:
    """Return the length of a unit in µm; None where it is unknown, as of a pixel."""
    power = _power(unit)
    return None if power is None else float(10.0 ** (power - _POWERS["um"]))


def unit_label(given: Any) -> str | None:
    """Return the unit with which a distance is labelled, None where it has no label."""
    labels = (getattr(given, "attrs", {}).get("units"), *(
        getattr(given, name, None) for name in ("units", "unit")
    ))  # fmt: skip
    return next((str(label) for label in labels if label), None)


def check_distance_number(argument: str, given: Any, own: str | None, owner: str) -> float:
    """Return a finite distance above 0, converted as `in_unit` does."""
    if unit_label(given) is None:
        return check_positive_number(argument, given)
    values = in_unit(argument, given, own, owner)
    return check_positive_number(argument, values.item() if values.size == 1 else given)


def _power(unit: str) -> int | None:
    """Return which power of 10 of a meter a unit is, None where that is unknown."""
    return _POWERS.get(unit.strip().casefold())
