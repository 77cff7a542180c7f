"""A distance response beside the effects of a model: matched by name, in one unit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr

from amici_xr.dataset.response_structure import check_response
from amici_xr.dataset.schema import distance_unit
from amici_xr.dataset.units import microns_in
from amici_xr.errors import NotFoundError, SchemaError, listed

PAIR = ("query", "label")
_OF_PAIRS = ("status", "radius", "detectable_effect")
_OF_GENES = ("effect", "effect_se", "gene_q_value", "may_be_spillover")
_FILLS = {"status": "", "may_be_spillover": False}
_KINDS = {"query": "receiving cell types", "label": "sending cell types", "gene": "genes"}


def match_response(ds: xr.Dataset, response: xr.Dataset, q: str) -> xr.Dataset:
    """Put a response beside the model's effects at contact, by the names of types and genes.

    Parameters
    ----------
    ds
        Dataset with effects.
    response
        Distance response.
    q
        Which q of the response is taken.

    Returns
    -------
    xarray.Dataset
        In memory, dims ([run,] [query,] label, gene), with the types and genes of `ds`:
        ``contact`` of the model, ``q``, and what belongs to pairs and genes of the response; NaN,
        False and "" where it has none.
    """
    check_response(response)
    known = [str(name) for name in response.data_vars if str(name).startswith("q_value")]
    if q not in known:
        raise NotFoundError(f"q={q!r} is not in the response, which has {', '.join(known)}")
    for dim in (*PAIR, "gene"):
        _check_shared(dim, _names(ds, dim), _names(response, dim), "response")
    held = [name for name in (*_OF_PAIRS, *_OF_GENES) if name in response]
    tissue = _with_pairs_of(ds, response[held].assign(q=response[q]).compute())
    contact = ds["counterfactual_effect"].isel(distance=0, drop=True).astype(np.float64)
    contact = contact.rename(cell_type="label").drop_vars("cell_type_color", errors="ignore")
    return tissue.assign(contact=contact.compute())


def match_evidence(ds: xr.Dataset, evidence: xr.Dataset) -> xr.DataArray:
    """Return the ``q_value`` of evidence for each pair of `ds`, NaN where it has none."""
    is_dataset = isinstance(evidence, xr.Dataset)
    if not is_dataset or "q_value" not in evidence or not set(PAIR) <= set(evidence.coords):
        held = listed(evidence.variables) if is_dataset else type(evidence).__name__
        raise SchemaError(
            "evidence must be a Dataset with q_value by query and label, such as that of a test on "
            f"held-out cells; this one holds {held}"
        )
    for dim in PAIR:
        _check_shared(dim, _names(ds, dim), _names(evidence, dim), "evidence")
    return _with_pairs_of(ds, evidence[["q_value"]].compute())["q_value"]


def microns_per_unit(ds: xr.Dataset) -> float:
    """Return how many µm the unit of `ds` is; an unknown one is taken for µm."""
    unit = distance_unit(ds)
    if unit is None:
        return 1.0
    microns = microns_in(unit)
    if microns is None:
        raise ValueError(
            f"ds has its distances in {unit!r}, while a distance response is in µm; convert it "
            "with amici_xr.to_microns(ds, microns_per_unit=…)"
        )
    return microns


def describe_match(ds: xr.Dataset, response: xr.Dataset) -> dict[str, str]:
    """Say in words what the two do not share, and how the unit of `ds` was read."""
    types = {*_names(response, "query"), *_names(response, "label")}
    unit, genes = distance_unit(ds), [set(_names(each, "gene")) for each in (ds, response)]
    words = "distances of ds name no unit, and are taken for µm"
    if unit is not None:
        words = f"distances of ds are in {unit}" + ("" if microns_in(unit) == 1 else ", converted")
    return {
        "unit": words,
        "genes": f"{len(genes[0] & genes[1]):,} shared, {len(genes[0] - genes[1]):,} only in ds, "
        f"{len(genes[1] - genes[0]):,} only in response",
        "types_only_in_ds": ", ".join(sorted({*_names(ds, "label")} - types)),
        "types_only_in_response": ", ".join(unknown_types(ds, response)),
    }


def warn_of_unknown_types(ds: xr.Dataset, response: xr.Dataset) -> None:
    """Warn of cell types of the response that the model does not know."""
    unknown = unknown_types(ds, response)
    if unknown:
        warnings.warn(
            f"response has the cell types {listed(unknown, 5)}, which the model of ds does not "
            f"know (it knows {listed(_names(ds, 'label'), 5)}); they are left out: are both of one "
            "tissue, with the same labels?",
            stacklevel=4,
        )


def unknown_types(ds: xr.Dataset, response: xr.Dataset) -> list[str]:
    """Return the cell types of the response that the model does not know."""
    return sorted({*_names(response, "query"), *_names(response, "label")} - {*_names(ds, "label")})


def _names(ds: xr.Dataset, dim: str) -> list[str]:
    """Return the names along a dim of a response; the senders of a model are its vocabulary."""
    name = "cell_type" if dim == "label" and "cell_type" in ds.coords else dim
    return [str(each) for each in np.atleast_1d(ds[name].values)]


def _check_shared(dim: str, names: Sequence[str], others: Sequence[str], other: str) -> None:
    if not set(names) & set(others):
        raise SchemaError(
            f"ds and {other} share no {_KINDS[dim]}: ds has {listed(names, 5)}, {other} has "
            f"{listed(others, 5)}; make both of one tissue, with the same names"
        )


def _with_pairs_of(ds: xr.Dataset, tissue: xr.Dataset) -> xr.Dataset:
    """Give a Dataset the pairs, and the genes, of `ds`."""
    names = {dim: _names(ds, dim) for dim in (*PAIR, "gene") if dim in tissue.coords}
    tissue = tissue.drop_vars(set(tissue.coords) - {*names, "run"})
    tissue = tissue.expand_dims([dim for dim in names if dim not in tissue.dims])
    fills = {name: _FILLS.get(str(name), np.nan) for name in tissue.data_vars}
    tissue = tissue.reindex(names, fill_value=fills)
    return tissue if "query" in ds.dims else tissue.isel(query=0)
