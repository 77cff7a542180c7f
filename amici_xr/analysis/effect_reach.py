"""The size of the effect of one neighbor against its distance, and how far it reaches."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.effects import check_effects, count_neighbors
from amici_xr.dataset.reduction import ordered, rechunked
from amici_xr.dataset.schema import distance_attributes
from amici_xr.errors import check_fraction

_NOISES = 2.0  # how many times its noise an effect is above it


def effect_curve(ds: xr.Dataset) -> xr.DataArray:
    """Compute the size of the effect of one neighbor that stands alone, against its distance.

    The norm over genes of ``counterfactual_effect``, the predicted change of expression if one
    neighbor of that type stood alone at that distance.

    Parameters
    ----------
    ds
        The Dataset, of ``extract(..., effects=True)``.

    Returns
    -------
    xarray.DataArray
        Dims (label, distance), ``query`` in front where `ds` has it, in units of expression; NaN
        for a cell type without neighbors.

    Raises
    ------
    SchemaError
        If the Dataset has no effects.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    >>> curve = amici_xr.effect_curve(ds).sel(label="Fibroblast")
    >>> bool(curve[0] > 2 * curve[-1])
    True
    """
    check_effects(ds)
    square = ds["counterfactual_effect"].astype(np.float64) ** 2
    norm = (square.sum("gene", skipna=False) ** 0.5).rename("effect_curve")
    norm.attrs = {"long_name": "norm over genes of the effect of one neighbor"}
    return ordered(norm.rename(cell_type="label"))


def effect_length_scale(ds: xr.Dataset, fraction: float = 0.5) -> xr.Dataset:
    """Find the distance where the effect of one neighbor falls to a fraction of that at contact.

    A reach that needs no threshold on attention: where `effect_curve`, interpolated linearly, first
    falls to `fraction` of its value at distance 0. It is a property of the model, and says nothing
    of how large the effect is: see ``contact_effect``.

    Parameters
    ----------
    ds
        The Dataset, of ``extract(..., effects=True)``.
    fraction
        Of the effect at contact, strictly between 0 and 1.

    Returns
    -------
    xarray.Dataset
        Dims (label), ``query`` in front where `ds` has it:

        ``effect_length_scale``
            in the Dataset's unit of distance; NaN unless `status` is ``falls``;
        ``contact_effect``
            the norm over genes at distance 0;
        ``status``
            the first that applies of ``absent`` (no neighbor of that label), ``within_noise`` (at
            no distance is the effect twice the norm that it would have if the effects of the
            neighbors had no direction in common), ``does_not_fall`` (to that fraction, up to the
            largest distance), ``falls``;
        ``n_neighbors``
            number of neighbors of the label.

    Raises
    ------
    ValueError
        If `fraction` lies out of its range.
    SchemaError
        If the Dataset has no effects.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    >>> reach = amici_xr.effect_length_scale(ds).sel(label="Fibroblast")
    >>> reach.status.item(), float(reach.effect_length_scale.round())  # planted within 20
    ('falls', 21.0)
    """
    fraction = check_fraction("fraction", fraction)
    curve = effect_curve(ds)
    noise = ds["counterfactual_noise"].rename(cell_type="label").transpose(*curve.dims)
    is_above = (curve > _NOISES * noise).any("distance")
    contact = curve.isel(distance=0, drop=True)
    lengths = xr.apply_ufunc(
        _first_fall,
        rechunked(curve, {"distance": -1}),
        ds["distance"].drop_vars("distance"),
        input_core_dims=[["distance"], ["distance"]],
        kwargs={"fraction": fraction},
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    status: xr.DataArray = xr.apply_ufunc(
        _status,
        contact,
        is_above,
        lengths,
        dask="parallelized",
        output_dtypes=[np.dtype("<U13")],
    )
    result = xr.Dataset(
        {
            "effect_length_scale": lengths.where(status == "falls"),
            "contact_effect": contact,
            "status": status,
            "n_neighbors": count_neighbors(ds).rename(cell_type="label"),
        }
    )
    attributes = distance_attributes(f"distance where the effect falls to {fraction:g}", ds)
    result["effect_length_scale"].attrs = attributes
    result["contact_effect"].attrs = {"long_name": "norm over genes of the effect at contact"}
    for name in ("status", "n_neighbors"):
        result[name].attrs = {"long_name": name.replace("n_", "number of ")}
    return ordered(result).assign_attrs(fraction=fraction)


def _status(
    contact: NDArray[np.float64], is_above: NDArray[np.bool_], lengths: NDArray[np.float64]
) -> NDArray[np.str_]:
    """Return the first status that applies."""
    status = {
        "absent": np.isnan(contact),
        "within_noise": ~is_above,
        "does_not_fall": np.isnan(lengths),
    }
    return np.select(list(status.values()), list(status), "falls").astype("<U13")


def _first_fall(
    curve: NDArray[np.float64], distance: NDArray[np.float64], fraction: float
) -> NDArray[np.float64]:
    """Find where each curve, (..., distance), first falls to a fraction of its first value."""
    level = fraction * curve[..., :1]
    is_below = curve <= level
    at = np.argmax(is_below, axis=-1)[..., np.newaxis]
    before = np.maximum(at - 1, 0)
    upper, lower = (np.take_along_axis(curve, place, -1) for place in (before, at))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (upper - level) / (upper - lower)
        lengths = distance[before] + share * (distance[at] - distance[before])
    falls = is_below.any(axis=-1) & (curve[..., 0] > 0)
    return np.where(falls, lengths[..., 0], np.nan)
