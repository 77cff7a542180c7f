"""Construction of Datasets from plain arrays."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from amici_xr.dataset.schema import SCHEMA, Variable, describe, provenance
from amici_xr.dataset.units import in_unit, unit_label
from amici_xr.dataset.validation import validate_loaded
from amici_xr.errors import listed


def from_arrays(
    base_attention_score: ArrayLike,
    position_coefficient: ArrayLike,
    label: ArrayLike,
    *,
    query: str | Sequence[str],
    dummy_attention_score: float = 3.0,
    distance_kernel_unit_scale: float = 1.0,
    neighbor: ArrayLike | None = None,
    head: ArrayLike | None = None,
    cell_type: ArrayLike | None = None,
    unit: str | None = None,
    **others: ArrayLike,
) -> xr.Dataset:
    """Make a Dataset from plain arrays.

    Parameters
    ----------
    base_attention_score, position_coefficient
        Shape (neighbor, head) with one query, (query, neighbor, head) with a sequence of them; then
        NaN where a cell is not a neighbor of a query. Stored as float32. Dask arrays stay lazy, and
        their values unchecked.
    label
        The cell type of each neighbor, shape (neighbor,).
    query
        The receiving cell type, or a sequence of them, which gives a ``query`` dim.
    dummy_attention_score, distance_kernel_unit_scale
        δ and u of the model; AMICI's defaults.
    neighbor, head
        Positions of the neighbors in the AnnData and numbers of the heads; 0, 1, 2, … by default.
    cell_type
        The vocabulary of labels; by default every label and query that occurs, sorted.
    unit
        Name of the unit of every distance and coordinate, e.g. "µm". Arrays that are labelled with
        another one, by the attribute ``units`` of a DataArray, are converted; None takes the label
        of the first.
    **others
        Any other variable of the schema by its name, with the dims it has there: ``receiver``,
        ``receiver_label``, ``neighborhood_index``, ``neighborhood_distance``,
        ``neighborhood_label``, ``neighbor_name``, ``neighbor_x``, …

    Returns
    -------
    xarray.Dataset
        Valid by the schema.

    Raises
    ------
    TypeError
        If `others` holds a name that is not in the schema.
    ValueError
        If shapes disagree, or an array is labelled with a unit that can't be converted to `unit`.
    SchemaError
        With every problem in the arrays.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.from_arrays(
    ...     [[2.0, 0.1], [1.5, 0.0]], [[0.5, 0.2], [0.4, 0.3]], ["Tumor", "Stroma"], query="T_cell"
    ... )
    >>> dict(ds.sizes)
    {'neighbor': 2, 'head': 2, 'cell_type': 3}
    """
    has_query_dim = not isinstance(query, str)
    arrays: dict[str, Any] = {
        "base_attention_score": base_attention_score,
        "position_coefficient": position_coefficient,
        "label": label,
        "query": list(query) if has_query_dim else query,
        "dummy_attention_score": dummy_attention_score,
        "distance_kernel_unit_scale": distance_kernel_unit_scale,
        **others,
    }
    unknown = sorted(set(others) - set(SCHEMA))
    if unknown:
        raise TypeError(f"from_arrays got unknown {listed(unknown)}; known: {listed(SCHEMA)}")
    shape = np.shape(base_attention_score)
    if len(shape) != 2 + has_query_dim:
        raise ValueError(
            f"base_attention_score has shape {shape}; give (neighbor, head) for one query, "
            "(query, neighbor, head) for a sequence of queries"
        )
    arrays["neighbor"] = np.arange(shape[-2]) if neighbor is None else neighbor
    arrays["head"] = np.arange(shape[-1]) if head is None else head
    if has_query_dim and "is_neighbor" not in arrays:
        arrays["is_neighbor"] = ~np.isnan(base_attention_score).all(axis=-1)
    if cell_type is None:
        used = [arrays[name] for name in ("label", "query", "receiver_label") if name in arrays]
        cell_type = sorted({text for names in used for text in _strings(names).flat}, key=str)
    arrays["cell_type"] = cell_type
    rows = [row for row in SCHEMA.values() if row.name in arrays]
    labels = {row.name: unit_label(arrays[row.name]) for row in rows if row.units == "distance"}
    labels = {name: label for name, label in labels.items() if label is not None}
    unit = next(iter(labels.values()), None) if unit is None else unit
    for name in labels:
        arrays[name] = in_unit(name, arrays[name], unit, "the Dataset")
    variables = {row.name: _variable(row, arrays[row.name], has_query_dim) for row in rows}
    _check_sizes(variables)
    ds = xr.Dataset(variables)
    ds = ds.set_coords([row.name for row in rows if row.is_coordinate])
    ds.attrs = provenance("arrays")
    return validate_loaded(describe(ds, unit))


def _variable(row: Variable, values: Any, has_query_dim: bool) -> xr.Variable:
    """Make the variable of one row of the schema, its values cast to the row's kind."""
    dims = row.dims
    if row.dims == ("query",) and not has_query_dim:
        dims = ()
    elif has_query_dim and "query" in row.further_dims:
        dims = ("query", *dims)
    array = cast = _strings(values) if row.kind == "string" else _numbers(values)
    if array.ndim != len(dims):
        raise ValueError(f"{row.name} has shape {array.shape}; its dims are {dims}")
    if row.kind != "string":
        cast = array.astype(row.kind, copy=False)
    if row.kind.startswith("int") and cast is not array and not np.array_equal(cast, array):
        raise ValueError(f"{row.name} holds numbers that are not {row.kind}")
    return xr.Variable(dims, cast)


def _check_sizes(variables: Mapping[str, xr.Variable]) -> None:
    """Refuse arrays that disagree on the length of a dim."""
    first: dict[Hashable, tuple[int, str]] = {}
    for name, variable in variables.items():
        for dim, size in variable.sizes.items():
            first_size, first_name = first.setdefault(dim, (size, name))
            if size != first_size:
                raise ValueError(f"{name} has {size} along {dim}, {first_name} {first_size}")


def _numbers(values: Any) -> Any:
    from dask.base import is_dask_collection  # here, so that importing the package stays cheap

    return values if is_dask_collection(values) else np.asarray(values)


def _strings(values: Any) -> NDArray[Any]:
    array = np.asarray(values, dtype=object)  # NumPy would turn a missing one into the text "nan"
    return array if pd.isna(array).any() else array.astype(str)  # validation names missing ones
