"""Whether a Dataset is what the schema says: every problem in one error, with its remedy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from .errors import SchemaError, listed
from .neighborhood_checks import neighborhood_problems, sample_problems
from .schema import (
    NEIGHBORHOODS,
    SCHEMA,
    SCHEMA_VERSION,
    SCORES,
    Variable,
    has_neighborhoods,
)

_IS_NO_STRING = "holds values that are no strings"
LONGEST_LABEL = 256  # strings come back from NetCDF with a fixed width that every element pays

_DTYPE_KINDS = {
    "float32": "f",
    "float64": "f",
    "int16": "iu",
    "int64": "iu",
    "bool": "b",
    "string": "UOT",
}


def validate(ds: xr.Dataset) -> xr.Dataset:
    """Check a Dataset against the schema, structure and values.

    Values are computed where they are lazy; the methods that reduce a Dataset check its structure
    alone, so that lazy stays lazy.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), or (query, neighbor, head) with several queries.

    Returns
    -------
    xarray.Dataset
        The same Dataset.

    Raises
    ------
    SchemaError
        With every problem found and how to mend it.
    TypeError
        If `ds` is no Dataset.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.from_arrays([[2.0]], [[0.5]], ["Tumor"], query="T_cell")
    >>> amici_xr.validate(ds) is ds
    True
    >>> amici_xr.validate(ds.assign(position_coefficient=-ds.position_coefficient))
    Traceback (most recent call last):
    ...
    amici_xr.errors.SchemaError: not a Dataset of counterfactual attention scores:
    - position_coefficient: 1 value is not above 0; extract the scores again
    """
    check_structure(ds)
    _raise(list(_value_problems(ds)))
    return ds


def validate_loaded(ds: xr.Dataset) -> xr.Dataset:
    """As `validate`, but of the values only those that are not lazy."""
    check_structure(ds)
    lazy = [name for name, variable in ds.variables.items() if variable.chunks is not None]
    _raise(list(_value_problems(ds.drop_vars(lazy))))
    return ds


def check_structure(ds: xr.Dataset) -> xr.Dataset:
    """Check names, dims and kinds, without computing a single value."""
    if not isinstance(ds, xr.Dataset):
        raise TypeError(f"ds must be an xarray.Dataset, not {type(ds).__name__}")
    _raise(list(_structure_problems(ds)))
    return ds


def _raise(problems: list[str]) -> None:
    if problems:
        lines = "\n- ".join(problems)
        raise SchemaError(f"not a Dataset of counterfactual attention scores:\n- {lines}")


def _structure_problems(ds: xr.Dataset) -> Iterator[str]:
    version = ds.attrs.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int | np.integer):
        yield f"schema_version {version!r} is no integer; remove the attribute"
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
    scalar = {
        name
        for name in ("run", "query", "head")
        if name in ds.coords and not ds.variables[name].dims
    }
    for row in SCHEMA.values():
        if row.name in ds.variables and not (row.name == "label" and "label" in ds.dims):
            yield from _shape_problems(ds.variables[row.name], row, scalar)
    for name in ("neighbor", "head", "query", "run", "cell_type", "receiver"):
        if name in ds.dims and name in ds.coords and not ds.indexes[name].is_unique:
            twice = ds.indexes[name][ds.indexes[name].duplicated()].unique()
            yield f"{name} holds {listed(twice, 5)} more than once; drop_duplicates({name!r})"
    if ds.sizes.get("query") == 0:
        yield "query is empty; keep at least one query"
    if "run" in ds.dims:
        yield from _run_problems(ds)
    if "query" in ds.dims and "is_neighbor" not in ds.variables:
        yield "is_neighbor is missing: with several queries it tells whose neighbor a cell is"
    if any(name in ds.variables for name in NEIGHBORHOODS):
        wanted = (*NEIGHBORHOODS, "receiver", "receiver_label", "cell_type")
        missing = [name for name in wanted if name not in ds.variables]
        if missing:
            yield f"neighborhoods without {listed(missing)}; keep all of {listed(wanted)}, or none"


def _run_problems(ds: xr.Dataset) -> Iterator[str]:
    if not ds.sizes["run"]:
        yield "run is empty; keep at least one run"
    if "run" not in ds.coords:
        yield "run is a dim without its coordinate; put runs together with align_runs"
    without = [name for name in SCORES if name in ds and "run" not in ds[name].dims]
    if without:
        yield f"run is a dim, but not of {listed(without)}; put runs together with align_runs"


def _shape_problems(array: xr.Variable, row: Variable, scalar: set[str]) -> Iterator[str]:
    needed = set(row.dims) - scalar
    if not needed <= set(array.dims) <= needed | set(row.further_dims):
        is_of_runs = set(array.dims) - needed == {"run"}
        remedy = "put runs together with align_runs" if is_of_runs else "rename or select"
        yield f"{row.name} has dims {tuple(array.dims)}, not {row.dims}; {remedy}"
    if array.dtype.kind not in _DTYPE_KINDS[row.kind]:
        yield f"{row.name} has dtype {array.dtype}, not {row.kind}; cast it with astype"


def _value_problems(ds: xr.Dataset) -> Iterator[str]:
    yield from _score_problems(ds)
    strings = [row.name for row in SCHEMA.values() if row.kind == "string"]
    problems = [
        one for name in strings if name in ds.variables for one in _string_problems(ds, name)
    ]
    yield from problems
    if any(_IS_NO_STRING in problem for problem in problems):
        return  # what is no string, such as pandas.NA, can't be compared
    yield from _role_problems(ds)
    if "cell_type" in ds.variables:
        known = set(ds["cell_type"].values.tolist())
        for name in ("query", "label", "receiver_label"):
            used = set(ds[name].values.ravel().tolist()) if name in ds.variables else set()
            if used - known:
                strange = listed(sorted(used - known, key=str), 5)
                yield f"{name} holds {strange}, not in cell_type ({listed(sorted(known))})"
    if has_neighborhoods(ds):
        yield from neighborhood_problems(ds)


def _role_problems(ds: xr.Dataset) -> Iterator[str]:
    variables = ds.variables
    if (variables["neighbor"] < 0).any():
        yield "neighbor holds negative positions; count cells from 0"
    if bool((_mask(ds) & (variables["label"] == variables["query"])).any()):
        yield "a neighbor has the label of its query; neighbors are cells of other types"


def _score_problems(ds: xr.Dataset) -> Iterator[str]:
    is_neighbor = _mask(ds)
    for name in (name for name in SCORES if name in ds.variables):
        values = ds.variables[name]
        wrong = int((is_neighbor & ~np.isfinite(values)).sum())
        if wrong:
            yield f"{name}: {_values(wrong)} not finite; extract the scores again"
        extra = int((~is_neighbor & ~np.isnan(values)).sum())
        if extra:
            yield f"{name}: {_values(extra)} where is_neighbor is False; use where(ds.is_neighbor)"
        low = int((values <= 0).sum()) if name == "position_coefficient" else 0
        if low:
            yield f"position_coefficient: {_values(low)} not above 0; extract the scores again"
    unit_scale = ds.variables["distance_kernel_unit_scale"].values
    if not np.isfinite(ds.variables["dummy_attention_score"].values).all():
        yield "dummy_attention_score is not finite; take it from the model's settings"
    if not (np.isfinite(unit_scale) & (unit_scale > 0)).all():
        yield "distance_kernel_unit_scale is not a positive number; take it from the model"


def _mask(ds: xr.Dataset) -> xr.Variable:
    """Which cell is a neighbor of which query; a Variable, for which nothing has to be aligned."""
    every: xr.Variable = ds.variables.get("is_neighbor", xr.Variable((), True))
    return every


def _string_problems(ds: xr.Dataset, name: str) -> Iterator[str]:
    values = ds.variables[name].values.ravel()
    if values.dtype.kind != "U" and not all(isinstance(value, str) for value in values.tolist()):
        yield f"{name} {_IS_NO_STRING} (missing ones?); give each cell a string"
        return
    longest = max(map(len, values.tolist()), default=0)
    if longest > LONGEST_LABEL:
        yield f"{name} holds a string of {longest} characters, over {LONGEST_LABEL}; shorten it"


def _values(count: int) -> str:
    return f"{count} value is" if count == 1 else f"{count:,} values are"


def check_neighborhoods(ds: xr.Dataset) -> None:
    """Check that neighborhoods and labels still belong together, as `support` takes for granted."""
    _raise(list(neighborhood_problems(ds)))


def check_samples(ds: xr.Dataset) -> None:
    """Check that no neighborhood crosses samples."""
    _raise(list(sample_problems(ds)))


def is_valid_structure(ds: xr.Dataset) -> bool:
    """Whether `check_structure` would pass."""
    return not any(_structure_problems(ds))
