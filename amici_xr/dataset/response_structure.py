"""Validation of a distance response: every problem in one error, with its remedy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from amici_xr.dataset.kinds import KIND, kind_of
from amici_xr.dataset.response_schema import RESPONSE_SCHEMA, STATUSES
from amici_xr.dataset.structure import raise_problems, shape_problems, version_problems
from amici_xr.errors import SchemaError, listed

_TITLE = "distance response"
_INDEXED = ("query", "label", "gene", "sample")
_PROBABILITY = ("p_value", "q_value")


def check_response(ds: xr.Dataset) -> xr.Dataset:
    """Return a distance response; raise a `SchemaError` with every problem for anything else."""
    if not isinstance(ds, xr.Dataset):
        raise TypeError(f"response must be an xarray.Dataset, not {type(ds).__name__}")
    kind = kind_of(ds)
    if kind != "distance_response":
        held = "counterfactual attention scores" if kind == "scores" else "something else"
        raise SchemaError(
            f"response is not a distance response but holds {held}; "
            "amici_xr.distance_response(adata, labels_key) makes a response"
        )
    problems = list(_form_problems(ds))
    raise_problems(problems or list(_value_problems(ds)), _TITLE)
    return ds


def _form_problems(ds: xr.Dataset) -> Iterator[str]:
    newer = list(version_problems(ds))
    if newer:
        yield from newer
        return
    rows = RESPONSE_SCHEMA.values()
    missing = [row.name for row in rows if row.is_required and row.name not in ds.variables]
    if missing:
        yield (
            f"missing: {listed(missing)}; keep them, or remove the attribute {KIND} of a Dataset "
            "that holds some variables alone"
        )
    scalar = {str(name) for name, coordinate in ds.coords.items() if not coordinate.dims}
    if "bin_start" in scalar:
        scalar.add("distance_bin")
    for row in rows:
        if row.name in ds.variables:
            yield from shape_problems(ds.variables[row.name], row, scalar)
    for name in _INDEXED:
        if name in ds.indexes and not ds.indexes[name].is_unique:
            index = ds.indexes[name]
            repeated = index[index.duplicated()].unique()
            yield f"{name} holds {listed(repeated, 5)} more than once; keep one of each"


def _value_problems(ds: xr.Dataset) -> Iterator[str]:
    loaded = {name: ds.variables[name] for name in ds.variables if ds[name].chunks is None}
    for name, variable in loaded.items():
        if str(name).removeprefix("gene_").startswith(_PROBABILITY):
            values = variable.values
            if ((values < 0) | (values > 1)).any():
                yield f"{name} holds values outside 0 to 1; compute the response again"
    if "status" in loaded:
        unknown = np.setdiff1d(loaded["status"].values.astype(str), STATUSES)
        if unknown.size:
            yield f"status holds {listed(unknown)}; it is one of {listed(STATUSES)}"
