"""Whether a Dataset is what the schema says: every problem in one error, with its remedy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from amici_xr.dataset.neighborhood_checks import neighborhood_problems, sample_problems
from amici_xr.dataset.schema import SCHEMA, SCORES, has_neighborhoods
from amici_xr.dataset.structure import check_structure, raise_problems
from amici_xr.errors import listed

_IS_NO_STRING = "holds values that are no strings"
LONGEST_LABEL = 256  # strings come back from NetCDF with a fixed width that every element pays


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
    raise_problems(list(_value_problems(ds)))
    return ds


def validate_loaded(ds: xr.Dataset) -> xr.Dataset:
    """As `validate`, but of the values only those that are not lazy."""
    check_structure(ds)
    lazy = [name for name, variable in ds.variables.items() if variable.chunks is not None]
    raise_problems(list(_value_problems(ds.drop_vars(lazy))))
    return ds


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
    wrong = {}
    for name in (name for name in SCORES if name in ds.variables):
        values = ds.variables[name]
        wrong[f"{name}: {{}} not finite; extract the scores again"] = is_neighbor & ~np.isfinite(
            values
        )
        wrong[f"{name}: {{}} where is_neighbor is False; use where(ds.is_neighbor)"] = (
            ~is_neighbor & ~np.isnan(values)
        )
    if "position_coefficient" in ds.variables:
        wrong["position_coefficient: {} not above 0; extract the scores again"] = (
            ds.variables["position_coefficient"] <= 0
        )
    sums = {problem: at.sum() for problem, at in wrong.items()}
    if any(count.chunks is not None for count in sums.values()):
        together = xr.Dataset(sums).compute()  # so that scores are read once
        sums = {problem: together.variables[problem] for problem in sums}
    for problem, count in sums.items():
        if count.values:
            yield problem.format(_values(int(count)))
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
    raise_problems(list(neighborhood_problems(ds)))


def check_samples(ds: xr.Dataset) -> None:
    """Check that no neighborhood crosses samples."""
    raise_problems(list(sample_problems(ds)))
