"""Whether a Dataset is what the schema says: every problem in one error, with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from .errors import listed
from .schema import NEIGHBORHOODS, SCHEMA, SCORES, has_neighborhoods
from .structure import check_structure, raise_problems

_UNKNOWN = -2  # a cell that is not among the neighbors, or no cell
_RECEIVERS = 100_000  # compared at a time
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
        yield from _neighborhood_problems(ds)


def _role_problems(ds: xr.Dataset) -> Iterator[str]:
    if (ds["neighbor"] < 0).any():
        yield "neighbor holds negative positions; count cells from 0"
    is_neighbor = ds.get("is_neighbor", xr.DataArray(True))
    if bool((is_neighbor & (ds["label"] == ds["query"])).any()):
        yield "a neighbor has the label of its query; neighbors are cells of other types"


def _score_problems(ds: xr.Dataset) -> Iterator[str]:
    is_neighbor = ds.get("is_neighbor", xr.DataArray(True))
    wrong = {}
    for name in (name for name in SCORES if name in ds):
        scores = ds[name]
        wrong[f"{name}: {{}} not finite; extract the scores again"] = is_neighbor & ~np.isfinite(
            scores
        )
        wrong[f"{name}: {{}} where is_neighbor is False; use where(ds.is_neighbor)"] = (
            ~is_neighbor & scores.notnull()
        )
    if "position_coefficient" in ds:
        wrong["position_coefficient: {} not above 0; extract the scores again"] = (
            ds["position_coefficient"] <= 0
        )
    sums = xr.Dataset({problem: at.sum() for problem, at in wrong.items()})
    for problem, count in sums.compute().items():  # together, so that lazy scores are read once
        if count:
            yield str(problem).format(_values(int(count)))
    unit_scale = ds["distance_kernel_unit_scale"]
    if not np.isfinite(ds["dummy_attention_score"]).all():
        yield "dummy_attention_score is not finite; take it from the model's settings"
    if not (np.isfinite(unit_scale) & (unit_scale > 0)).all():
        yield "distance_kernel_unit_scale is not a positive number; take it from the model"


def _string_problems(ds: xr.Dataset, name: str) -> Iterator[str]:
    values = ds[name].values.ravel()
    if values.dtype.kind != "U" and not all(isinstance(value, str) for value in values.tolist()):
        yield f"{name} {_IS_NO_STRING} (missing ones?); give each cell a string"
        return
    longest = max(map(len, values.tolist()), default=0)
    if longest > LONGEST_LABEL:
        yield f"{name} holds a string of {longest} characters, over {LONGEST_LABEL}; shorten it"


def _neighborhood_problems(ds: xr.Dataset) -> Iterator[str]:
    index, distance, label = (ds[name] for name in NEIGHBORHOODS)
    absent = index < 0
    if not (absent == distance.isnull()).all() or not (absent == (label < 0)).all():
        yield (
            "neighborhood_index, _distance and _label disagree on where there is no neighbor; "
            "use -1, NaN and -1 in the same places"
        )
    if (distance < 0).any() or np.isinf(distance).any():
        yield "neighborhood_distance holds negative or infinite distances; extract again"
    yield from _sample_problems(ds)
    if (label >= ds.sizes["cell_type"]).any():
        yield "neighborhood_label points past the end of cell_type; keep cell_type whole"
    elif is_reordered(ds):
        yield (
            "neighborhood_label disagrees with label: cell_type was reordered, labels renamed or "
            "neighbors renumbered; keep them as they were, and name groups of your own in another "
            "coordinate"
        )


def _sample_problems(ds: xr.Dataset) -> Iterator[str]:
    if crosses_samples(ds):
        yield (
            "a neighborhood holds cells of another sample than its receiver's; extract it with "
            "sample_key=…, so that no neighborhood crosses samples"
        )


def is_reordered(ds: xr.Dataset) -> bool:
    """Whether neighbors have other labels than their neighborhoods give them."""
    code = pd.Index(ds["cell_type"].values).get_indexer(pd.Index(ds["label"].values))
    return _differ(ds, code, ds["neighborhood_label"].transpose("receiver", "rank"))


def crosses_samples(ds: xr.Dataset) -> bool:
    """Whether a neighborhood holds a neighbor of another sample than its receiver's."""
    if not {"neighbor_sample", "receiver_sample"} <= set(ds.variables):
        return False
    names = pd.Index(np.unique(ds["neighbor_sample"].values))
    code = names.get_indexer(pd.Index(ds["neighbor_sample"].values))
    receiver = names.get_indexer(pd.Index(ds["receiver_sample"].values))
    return _differ(ds, code, receiver[:, np.newaxis])


def _differ(ds: xr.Dataset, code: NDArray[np.intp], expected: Any) -> bool:
    """Whether a neighbor has another code than is expected of it, (receiver, rank), somewhere."""
    index = ds["neighborhood_index"].transpose("receiver", "rank")
    neighbor = ds["neighbor"].values
    nobody = neighbor.max(initial=-1) + 1
    own = np.full(nobody + 1, _UNKNOWN)  # the last for −1 too, where there is no neighbor
    own[neighbor] = code
    for start in range(0, len(index), _RECEIVERS):  # what is compared takes little memory
        block = slice(start, start + _RECEIVERS)
        found = own[np.minimum(index[block].values, nobody)]
        if ((found != _UNKNOWN) & (found != np.asarray(expected[block]))).any():
            return True
    return False


def _values(count: int) -> str:
    return f"{count} value is" if count == 1 else f"{count:,} values are"


def check_neighborhoods(ds: xr.Dataset) -> None:
    """Check that neighborhoods and labels still belong together, as `support` takes for granted."""
    raise_problems(list(_neighborhood_problems(ds)))


def check_samples(ds: xr.Dataset) -> None:
    """Check that no neighborhood crosses samples."""
    raise_problems(list(_sample_problems(ds)))
