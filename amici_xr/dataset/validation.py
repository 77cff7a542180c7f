"""Validation of a Dataset against the schema: every problem in one error, with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.kinds import is_response
from amici_xr.dataset.response_structure import check_response
from amici_xr.dataset.schema import (
    EFFECTS,
    NEIGHBORHOODS,
    SCHEMA,
    SCORES,
    SETTINGS,
    has_neighborhoods,
)
from amici_xr.dataset.structure import check_form, number_problems, raise_problems
from amici_xr.errors import listed

_IS_NOT_STRING = "holds values that are not strings"
LONGEST_LABEL = 256  # strings come back from NetCDF with a fixed width for every element
_NOT_A_NEIGHBOR = -2  # a cell that is not among the neighbors, or no cell
_RECEIVER_BLOCK = 100_000  # receivers compared at a time
_BYTES_OF_PART = 2**25  # of lazy scores that are read at a time
_CELLS_PER_NEIGHBOR = 16  # up to which a table of all cells is faster than an index


def validate(ds: xr.Dataset) -> xr.Dataset:
    """Validate a Dataset against the schema, structure and values.

    Lazy values are computed; the methods that reduce a Dataset check its structure, its settings
    and, where they use them, p and the neighborhoods, so that lazy stays lazy.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), or (query, neighbor, head) with several queries; or
        the result of `distance_response`, which has a schema of its own.

    Returns
    -------
    xarray.Dataset
        The same Dataset.

    Raises
    ------
    SchemaError
        With every problem and its remedy.
    TypeError
        If `ds` is not a Dataset.

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
    if is_response(ds):
        return check_response(ds)
    check_form(ds)
    raise_problems(list(_value_problems(ds)))
    return ds


def validate_loaded(ds: xr.Dataset) -> xr.Dataset:
    """Validate structure and those values that are not lazy."""
    if is_response(ds):
        return check_response(ds)
    check_form(ds)
    lazy = [name for name, variable in ds.variables.items() if variable.chunks is not None]
    raise_problems(list(_value_problems(ds.drop_vars(lazy))))
    return ds


def validate_streamed(ds: xr.Dataset) -> None:
    """Validate scores and effects that were lazy, where all else was validated before."""
    raise_problems([*_score_problems(ds), *_effect_problems(ds)])


def _value_problems(ds: xr.Dataset) -> Iterator[str]:
    yield from _score_problems(ds)
    settings = {name: ds[name].compute() for name in SETTINGS if name in ds.variables}
    yield from number_problems(ds.assign(settings))
    strings = [row.name for row in SCHEMA.values() if row.kind == "string"]
    problems = [
        problem
        for name in strings
        if name in ds.variables
        for problem in _string_problems(ds, name)
    ]
    yield from problems
    if any(_IS_NOT_STRING in problem for problem in problems):
        return  # values that are not strings, such as pandas.NA, can't be compared
    yield from _role_problems(ds)
    if "cell_type" in ds.variables:
        vocabulary = set(ds["cell_type"].values.tolist())
        for name in ("query", "label", "receiver_label"):
            if name not in ds.variables:
                continue
            unknown = set(ds[name].values.ravel().tolist()) - vocabulary
            if unknown:
                shown = listed(sorted(unknown, key=str), 5)
                yield f"{name} holds {shown}, not in cell_type ({listed(sorted(vocabulary))})"
    if has_neighborhoods(ds):
        yield from _neighborhood_problems(ds)
    yield from _effect_problems(ds)


def _effect_problems(ds: xr.Dataset) -> Iterator[str]:
    for name in (name for name in EFFECTS if name in ds.variables):
        array, row = ds.variables[name], SCHEMA[name]
        if row.kind == "bool":
            continue
        # NaN says that a cell type has no neighbor that could stand alone
        n_wrong = int((np.isinf(array) if "distance" in row.dims else ~np.isfinite(array)).sum())
        if n_wrong and name != "counterfactual_noise":
            yield f"{name}: {_count_values(n_wrong)} not finite; extract the effects again"
        if name.startswith(("squared", "gene_variance", "residual_variance")) and (array < 0).any():
            yield f"{name} holds values below 0; extract the effects again"
    if "distance" in ds.dims and "distance" in ds.variables:
        distance = ds.variables["distance"].values
        if (
            not np.isfinite(distance).all()
            or (distance < 0).any()
            or (np.diff(distance) <= 0).any()
        ):
            yield "distance must ascend from 0 on; extract the effects again"


def _role_problems(ds: xr.Dataset) -> Iterator[str]:
    variables = ds.variables
    if bool((_mask(ds) & (variables["label"] == variables["query"])).any()):
        yield "a neighbor has the label of its query; neighbors are cells of other types"


def _score_problems(ds: xr.Dataset) -> Iterator[str]:
    names = [name for name in SCORES if name in ds.variables]
    counts: dict[str, int] = {}
    if not names:  # scores that are lazy are looked at when they have been written
        return
    given = xr.Dataset({name: ds.variables[name] for name in names})
    for part in _parts_of_neighbors(given):
        scores, is_neighbor = given.isel(neighbor=part).compute().variables, _mask(ds, part)
        for name in names:
            is_given = ~np.isnan(scores[name])
            wrong = {
                "not finite; extract the scores again": is_neighbor & ~np.isfinite(scores[name]),
                "where is_neighbor is False; use where(ds.is_neighbor)": ~is_neighbor & is_given,
            }
            if name == "position_coefficient":
                wrong["not above 0; extract the scores again"] = scores[name] <= 0
            for problem, at in wrong.items():
                key = f"{name}: {{}} {problem}"
                counts[key] = counts.get(key, 0) + int(at.sum())
    for problem, count in counts.items():
        if count:
            yield problem.format(_count_values(count))


def _parts_of_neighbors(scores: xr.Dataset) -> Iterator[slice]:
    """Cut the neighbors into parts of whole chunks, whose lazy scores take little memory.

    Left to itself, dask may read every chunk before it counts in the first.
    """
    lazy = [variable for variable in scores.variables.values() if variable.chunks is not None]
    if not lazy:
        yield slice(None)
        return
    n_neighbors = scores.sizes["neighbor"]
    bytes_of_each = sum(variable.nbytes for variable in lazy) / max(1, n_neighbors)
    chunk = max(variable.chunksizes["neighbor"][0] for variable in lazy)
    n_chunks = max(1, int(_BYTES_OF_PART / (bytes_of_each * chunk or 1)))
    size = max(1, n_chunks * chunk)
    for start in range(0, n_neighbors, size):
        yield slice(start, start + size)


def _mask(ds: xr.Dataset, part: slice = slice(None)) -> xr.Variable:
    """Return which cell is a neighbor of which query; Variables need no alignment."""
    if "is_neighbor" not in ds.variables:
        return xr.Variable((), True)
    mask: xr.Variable = ds.variables["is_neighbor"].isel(neighbor=part)
    return mask


def _string_problems(ds: xr.Dataset, name: str) -> Iterator[str]:
    values = ds.variables[name].values.ravel()
    if values.dtype.kind != "U" and not all(isinstance(value, str) for value in values.tolist()):
        yield f"{name} {_IS_NOT_STRING} (missing ones?); give each cell a string"
        return
    longest = max(map(len, values.tolist()), default=0)
    if longest > LONGEST_LABEL:
        yield f"{name} holds a string of {longest} characters, over {LONGEST_LABEL}; shorten it"


def _count_values(count: int) -> str:
    return f"{count} value is" if count == 1 else f"{count:,} values are"


def check_neighborhoods(ds: xr.Dataset) -> None:
    """Check that neighborhoods fit labels and samples, as `support` assumes."""
    raise_problems(list(_neighborhood_problems(ds)))


def check_samples(ds: xr.Dataset) -> None:
    """Check that no neighborhood crosses samples."""
    raise_problems(list(_sample_problems(ds)))


def _neighborhood_problems(ds: xr.Dataset) -> Iterator[str]:
    index, distance, label = (ds.variables[name] for name in NEIGHBORHOODS)
    least = int(index.min()) if index.size else -1
    if least < -1:
        yield (
            f"neighborhood_index holds {least}, below -1, which says that there is no neighbor; "
            "where NaN was cast to integers, cast it with fillna(-1).astype('int64')"
        )
        return
    is_absent = index < 0
    if not (is_absent == np.isnan(distance)).all() or not (is_absent == (label < 0)).all():
        yield (
            "neighborhood_index, _distance and _label disagree on where there is no neighbor; "
            "use -1, NaN and -1 in the same places"
        )
    if (distance < 0).any() or np.isinf(distance).any():
        yield "neighborhood_distance holds negative or infinite distances; extract again"
    yield from _sample_problems(ds)
    if (label >= ds.sizes["cell_type"]).any():
        yield "neighborhood_label points past the end of cell_type; keep cell_type whole"
        return
    names, labels = (pd.Index(ds.variables[name].values) for name in ("cell_type", "label"))
    if _differ(ds, names.get_indexer(labels), label.transpose("receiver", "rank")):
        yield (
            "neighborhood_label disagrees with label: cell_type was reordered, labels renamed or "
            "neighbors renumbered; keep them as they were, and name groups of your own in another "
            "coordinate"
        )


def _sample_problems(ds: xr.Dataset) -> Iterator[str]:
    if not {"neighbor_sample", "receiver_sample"} <= set(ds.variables):
        return
    samples = {cell: pd.Index(ds[f"{cell}_sample"].values) for cell in ("neighbor", "receiver")}
    names = samples["neighbor"].unique()
    neighbor, receiver = (names.get_indexer(sample) for sample in samples.values())
    if _differ(ds, neighbor, receiver[:, np.newaxis]):
        yield (
            "a neighborhood holds cells of another sample than its receiver's; extract it with "
            "sample_key=…, so that no neighborhood crosses samples"
        )


def _differ(ds: xr.Dataset, code: NDArray[np.intp], expected: Any) -> bool:
    """Tell whether the code of any neighbor differs from the expected one, (receiver, rank)."""
    index = ds.variables["neighborhood_index"].transpose("receiver", "rank")
    neighbor = ds.variables["neighbor"].values
    position_of = _find_positions(neighbor)
    code = np.append(code, _NOT_A_NEIGHBOR)  # for position -1, none
    for start in range(0, len(index), _RECEIVER_BLOCK):  # in blocks, to bound the memory
        block = slice(start, start + _RECEIVER_BLOCK)
        codes = code[position_of(index[block].values)]
        if ((codes != _NOT_A_NEIGHBOR) & (codes != np.asarray(expected[block]))).any():
            return True
    return False


def _find_positions(neighbor: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[np.intp]]:
    """Make a function that finds cells among the neighbors, −1 where they are not."""
    beyond = int(neighbor.max(initial=-1)) + 1
    is_sparse = beyond > _CELLS_PER_NEIGHBOR * (neighbor.size + _RECEIVER_BLOCK)
    if is_sparse or neighbor.min(initial=0) < 0:  # a table would be large, or impossible
        find = pd.Index(neighbor).get_indexer
        return lambda cells: find(cells.ravel()).reshape(cells.shape)
    table = np.full(beyond + 1, -1, dtype=np.intp)  # the last one serves −1, no neighbor, too
    table[neighbor] = np.arange(neighbor.size)
    return lambda cells: table[np.minimum(cells, beyond)]
