"""Arguments of a distance response, checked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.dataset.units import MICRON, in_unit, microns_in
from amici_xr.errors import check_names, check_positive_number, listed
from amici_xr.response.surroundings import median_nearest_distance
from amici_xr.tissue.expression import genes_not_finite, looks_like_counts
from amici_xr.tissue.unit_entries import find_unit

Floats = NDArray[np.float64]

OWNER = "a distance response"  # whose distances are in µm
RADII = tuple(8.0 * 1.2**k for k in range(11))
LEAST_SPACING, MOST_SPACING = 2.0, 60.0  # µm between nearest cells, outside of which units are odd


def check_radii(radii: Sequence[float] | None) -> Floats:
    """Return the radii in µm, ascending; None gives the usual ones."""
    if radii is None:
        return np.array(RADII)
    values = in_unit("radii", radii, MICRON, OWNER).astype(np.float64)
    if values.ndim != 1 or not values.size or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(
            f"radii={radii!r} must be a sequence of finite numbers above 0 in µm, e.g. "
            "radii=[10, 20, 40]"
        )
    return np.unique(values)


def check_subset(
    argument: str, asked: Sequence[str] | str | None, known: Sequence[str], kind: str
) -> list[int]:
    """Return the positions of the names that were asked for; None takes all."""
    if asked is None:
        return list(range(len(known)))
    names = [asked] if isinstance(asked, str) else list(asked)
    check_names(argument, names, known, kind)
    position = {name: number for number, name in enumerate(known)}
    return [position[name] for name in names]


def find_microns_per_unit(
    given: float | None, unit_entries: Mapping[str, Any]
) -> tuple[float, str]:
    """Return the length of a coordinate unit in µm, and who says so: the argument, or the tissue.

    Where neither does, coordinates are taken for µm.
    """
    if given is not None:
        factor = check_positive_number("microns_per_unit", given)
        return factor, "with this microns_per_unit"
    unit = find_unit(unit_entries)
    if unit is None:
        return 1.0, "if coordinates are µm"
    key = next(iter(unit_entries))
    length = microns_in(unit)
    if length is None:
        raise ValueError(
            f"adata.uns[{key!r}] names the unit {unit!r} of the coordinates, whose length is not "
            "known; give it in µm as microns_per_unit, e.g. microns_per_unit=0.5"
        )
    return length, f"if coordinates are in {unit}, as adata.uns[{key!r}] says"


def warn_of_units(positions: Floats, samples: NDArray[np.intp], condition: str) -> float:
    """Warn where coordinates can hardly be µm; return the median distance of nearest cells."""
    spacing = median_nearest_distance(positions, samples)
    if spacing < LEAST_SPACING or spacing > MOST_SPACING:
        warnings.warn(
            f"the median distance between nearest cells is {spacing:.3g} µm {condition}, where "
            f"cells of a tissue are {LEAST_SPACING:g} to {MOST_SPACING:g} µm apart; give the "
            "length of a coordinate unit in µm as microns_per_unit, e.g. microns_per_unit=0.5",
            UserWarning,
            stacklevel=3,
        )
    return spacing


def check_expression(values: NDArray[Any], genes: Sequence[str], cell_type: str) -> None:
    """Refuse expression that holds NaN, infinite values, or raw counts."""
    names = genes_not_finite(values, genes)
    if names:
        raise ValueError(
            f"the expression of {listed(names, 5)} holds NaN or infinite values in cells of type "
            f"{cell_type!r}; leave these genes out with genes=…, or fill the values"
        )
    if looks_like_counts(values):
        raise ValueError(
            f"the expression holds integers up to {values.max():g}, which look like raw counts; "
            "give log_normalize=True, or name the layer with log-normalized expression, layer=…"
        )
