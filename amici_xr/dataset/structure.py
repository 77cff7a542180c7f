"""Structure of a Dataset: names, dims and kinds, checked without computing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

from amici_xr.dataset.schema import NEIGHBORHOODS, SCHEMA, SCHEMA_VERSION, SCORES, Variable
from amici_xr.errors import SchemaError, listed

_DTYPE_KINDS = {
    "float32": "f",
    "float64": "f",
    "int16": "iu",
    "int64": "iu",
    "bool": "b",
    "string": "UOT",
}


def check_structure(ds: xr.Dataset) -> xr.Dataset:
    """Check names, dims and kinds, and return the Dataset."""
    if not isinstance(ds, xr.Dataset):
        raise TypeError(f"ds must be an xarray.Dataset, not {type(ds).__name__}")
    raise_problems(list(_structure_problems(ds)))
    return ds


def is_valid_structure(ds: xr.Dataset) -> bool:
    """Tell whether `check_structure` would pass."""
    return not any(_structure_problems(ds))


def raise_problems(problems: Sequence[str]) -> None:
    """Raise one error that lists all problems, if there are any."""
    if problems:
        lines = "\n- ".join(problems)
        raise SchemaError(f"not a Dataset of counterfactual attention scores:\n- {lines}")


def _structure_problems(ds: xr.Dataset) -> Iterator[str]:
    version = ds.attrs.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int | np.integer):
        yield f"schema_version {version!r} is not an integer; remove the attribute"
    elif version > SCHEMA_VERSION:
        yield (
            f"schema_version {version} is newer than {SCHEMA_VERSION}, which this version of "
            "amici_xr knows; pip install --upgrade amici-xr"
        )
        return  # a newer schema may rightly look different
    if "label" in ds.dims:
        yield (
            "label is a dimension: a reduction by label was assigned into the Dataset and has "
            "replaced the label of each neighbor; keep reductions in Datasets of their own"
        )
    missing = [
        row.name for row in SCHEMA.values() if row.is_required and row.name not in ds.variables
    ]
    if missing:
        yield (
            f"missing: {listed(missing)}; Datasets come from extract, from_dataframe, from_arrays "
            "or open_dataset"
        )
    scalar = {name for name in ("run", "query", "head") if name in ds.coords and not ds[name].dims}
    for row in SCHEMA.values():
        if row.name in ds.variables and not (row.name == "label" and "label" in ds.dims):
            yield from _shape_problems(ds.variables[row.name], row, scalar)
    for name in ("neighbor", "head", "query", "run", "cell_type", "receiver"):
        if name in ds.dims and name in ds.coords and not ds.indexes[name].is_unique:
            repeated = ds.indexes[name][ds.indexes[name].duplicated()].unique()
            yield f"{name} holds {listed(repeated, 5)} more than once; drop_duplicates({name!r})"
    if ds.sizes.get("query") == 0:
        yield "query is empty; keep at least one query"
    if "run" in ds.dims:
        yield from _run_problems(ds)
    if "query" in ds.dims and "is_neighbor" not in ds.variables:
        yield "is_neighbor is missing: with several queries it tells whose neighbor a cell is"
    if any(name in ds.variables for name in NEIGHBORHOODS):
        needed = (*NEIGHBORHOODS, "receiver", "receiver_label", "cell_type")
        missing = [name for name in needed if name not in ds.variables]
        if missing:
            yield f"neighborhoods without {listed(missing)}; keep all of {listed(needed)}, or none"


def _run_problems(ds: xr.Dataset) -> Iterator[str]:
    if not ds.sizes["run"]:
        yield "run is empty; keep at least one run"
    if "run" not in ds.coords:
        yield "run is a dim without its coordinate; combine runs with align_runs"
    without = [name for name in SCORES if name in ds and "run" not in ds[name].dims]
    if without:
        yield f"run is a dim, but not of {listed(without)}; combine runs with align_runs"


def _shape_problems(array: xr.Variable, row: Variable, scalar: set[str]) -> Iterator[str]:
    needed = set(row.dims) - scalar
    if not needed <= set(array.dims) <= needed | set(row.further_dims):
        is_of_runs = set(array.dims) - needed == {"run"}
        remedy = "combine runs with align_runs" if is_of_runs else "rename or select"
        yield f"{row.name} has dims {tuple(array.dims)}, not {row.dims}; {remedy}"
    if array.dtype.kind not in _DTYPE_KINDS[row.kind]:
        yield f"{row.name} has dtype {array.dtype}, not {row.kind}; cast it with astype"
