"""Samples that were extracted apart, joined in one Dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import xarray as xr

from amici_xr.dataset.ablation import describe_difference
from amici_xr.dataset.joined_effects import join_effects
from amici_xr.dataset.schema import (
    MATCHING,
    REDUCED_EFFECTS,
    SCHEMA,
    distance_unit,
    recorded_details,
    recorded_value,
)
from amici_xr.dataset.selection import samples, with_head_dim
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import SchemaError, check_positive_integer, listed

_CELLS = ("neighbor", "receiver")
_SAMPLES = ("neighbor_sample", "receiver_sample")
_POSITIONS = ("neighbor", "receiver", "neighborhood_index")
_LARGEST_POSITION = 2**63 - 1
_IGNORED = ("cell_type_color",)  # those of the first sample are kept
_OF_ONE_TISSUE = ("n_cells", "n_repeated_names")  # details of an extraction
_REMEDIES = {
    "head": "extract with the same model and the same heads=",
    "query": "extract with the same query=, or take one with amici_xr.select",
    "distance": "leave out what differs with drop_dims('distance')",
    "cell_type": "extract with the same model, whose vocabulary that is",
    "dummy_attention_score": "extract with the same model",
    "distance_kernel_unit_scale": "extract with the same model and unit",
}


def concat_samples(
    datasets: Iterable[xr.Dataset], *, sample: Sequence[str], n_cells: Sequence[int] | None = None
) -> xr.Dataset:
    """Join samples, tissues that were extracted apart with one model, in one Dataset.

    Cells are counted from 0 in each tissue. With nᵢ cells in the i-th one, the positions of the
    k-th are shifted by ``n₀ + … + nₖ₋₁``, so that no two cells share a position. The result has the
    scores of ``extract(model, query, both, sample_key=…)``, up to their last bits, and the same
    reductions ``by_sample=True``.

    Parameters
    ----------
    datasets
        One Dataset per sample, at least two, with the same heads, queries, vocabulary, unit, model
        settings, and number of cells in a neighborhood. Lazy ones stay lazy; only
        ``neighborhood_index`` is read, unless `n_cells` is given.
    sample
        The name of each sample, in the same order.
    n_cells
        The number of cells in the AnnData of each sample, in the same order. With it, positions are
        those in ``anndata.concat([first, second])``. None takes the largest position that a
        Dataset holds plus 1.

    Returns
    -------
    xarray.Dataset
        Dims (neighbor, head), or (query, neighbor, head), with all cells of the first sample before
        those of the second, and the coordinates ``neighbor_sample`` and ``receiver_sample``.
        Effects are those of all receivers together: means weighted by the number of receivers, or
        of neighbors; ``squared_deviation`` stays that from the mean within each sample. The
        attribute ``sample_attributes`` holds the attributes of each Dataset, as a JSON list; those
        that all share stay attributes, except for the number of cells of one tissue.

    Raises
    ------
    TypeError
        If `datasets` is not a list of Datasets, or `sample` not a sequence of names.
    ValueError
        If there are fewer than two Datasets, if names do not fit them, or if the Datasets differ in
        what samples share; the message lists every difference.
    SchemaError
        If one is not a Dataset of scores.

    Examples
    --------
    >>> import amici_xr
    >>> first = amici_xr.testing.simulate_dataset(n_cells=60, seed=0)
    >>> second = amici_xr.testing.simulate_dataset(n_cells=60, seed=1)
    >>> both = amici_xr.concat_samples([first, second], sample=["first", "second"])
    >>> both.sizes["neighbor"] == first.sizes["neighbor"] + second.sizes["neighbor"]
    True
    >>> amici_xr.support(both, by_sample=True).sample.values.tolist()
    ['first', 'second']
    """
    given = _check_datasets(datasets)
    names = _check_names(sample, len(given))
    for number, ds in enumerate(given[1:], start=1):
        _check_fit(given[0], ds, number)
    sizes = _check_sizes(given, n_cells)
    offsets = list(accumulate(sizes, initial=0))
    if offsets[-1] > _LARGEST_POSITION:
        raise ValueError(
            f"the positions of all samples go up to {offsets[-1]:,}, beyond 64 bits; count the "
            "cells of each AnnData from 0"
        )
    parts = [
        _place(ds, offset, name)
        for ds, offset, name in zip(given, offsets[:-1], names, strict=True)
    ]
    joined = {name: _join(name, parts) for name in parts[0].variables}
    joined |= join_effects(parts)
    attributes = json.dumps([ds.attrs for ds in given], ensure_ascii=False, default=_plain)
    n_cells_of_all = None if n_cells is None else offsets[-1]
    result = xr.Dataset(joined, attrs=_shared_attributes(given, n_cells_of_all))
    return result.set_coords(list(parts[0].coords)).assign_attrs(sample_attributes=attributes)


def _join(name: Any, parts: Sequence[xr.Dataset]) -> xr.Variable:
    """Join a variable of all samples along its cells; of one without cells take the first."""
    first = parts[0].variables[name].to_base_variable()
    cell = next((cell for cell in _CELLS if cell in first.dims), None)
    if cell is None:
        return first
    variables = [part.variables[name].to_base_variable().transpose(*first.dims) for part in parts]
    join: Callable[..., xr.Variable] = xr.Variable.concat
    return join(variables, cell, combine_attrs="override")


def _check_datasets(datasets: Any) -> list[xr.Dataset]:
    """Return the Datasets, each with a ``head`` dim; name the first that can't be joined."""
    if isinstance(datasets, xr.Dataset) or not isinstance(datasets, Iterable):
        raise TypeError(
            "datasets must be a list of Datasets, one per sample, as in concat_samples([first, "
            f"second], sample=['first', 'second']), not {type(datasets).__name__}"
        )
    given: list[xr.Dataset] = []
    for number, ds in enumerate(datasets):
        try:
            check_structure(ds)
            present = samples(ds).tolist() if "neighbor_sample" in ds.variables else []
        except (TypeError, SchemaError) as error:
            raise type(error)(f"datasets[{number}]: {error}") from None
        if "run" in ds.dims:
            raise ValueError(
                f"datasets[{number}] holds several runs, whose heads were matched on its tissue "
                "alone; join the samples of each run first, then give the results to align_runs"
            )
        if len(present) > 1:
            raise ValueError(
                f"datasets[{number}] holds the samples {listed(present)}; give each by itself, as "
                "amici_xr.select(ds, sample=…) returns it"
            )
        of_one = ["run", *MATCHING, *_SAMPLES]  # what says nothing of the samples together
        given.append(with_head_dim(ds.drop_vars(of_one, errors="ignore")).drop_encoding())
    if len(given) < 2:
        raise ValueError(f"datasets has {len(given)} Dataset; give at least two samples to join")
    return given


def _check_names(sample: Any, n_datasets: int) -> list[str]:
    if isinstance(sample, str) or not np.iterable(sample):
        raise TypeError(
            f"sample={sample!r} must be a sequence of names, one for each Dataset, e.g. "
            "sample=['first', 'second']"
        )
    names = [str(name) for name in sample]
    if len(names) != n_datasets:
        raise ValueError(
            f"sample={names!r} has {len(names)} names for {n_datasets} Datasets; give one for each"
        )
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(f"sample={names!r} must be names that differ and are not empty")
    return names


def _check_sizes(given: Sequence[xr.Dataset], n_cells: Any) -> list[int]:
    """Return the number of cells of each sample."""
    if n_cells is None:
        return [_largest_position(ds) + 1 for ds in given]
    if np.ndim(n_cells) != 1 or len(n_cells) != len(given):
        raise ValueError(
            f"n_cells={n_cells!r} must be the number of cells of each of {len(given)} AnnData, "
            "e.g. n_cells=[first.n_obs, second.n_obs]"
        )
    sizes = [check_positive_integer("n_cells", number) for number in n_cells]
    for number, (ds, size) in enumerate(zip(given, sizes, strict=True)):
        largest = _largest_position(ds)
        if largest >= size:
            raise ValueError(
                f"n_cells={sizes!r}: datasets[{number}] holds the cell at position {largest:,}, so "
                f"its AnnData has more than {size:,} cells; give adata.n_obs of each"
            )
    return sizes


def _largest_position(ds: xr.Dataset) -> int:
    variables = [ds.variables[name] for name in _POSITIONS if name in ds.variables]
    return max((int(array.max()) for array in variables if array.size), default=-1)


def _check_fit(first: xr.Dataset, other: xr.Dataset, number: int) -> None:
    """Refuse a Dataset, `number` in a list, that differs from the first in what samples share."""
    problems = list(_differences(first, other, number))
    if problems:
        lines = "\n- ".join(problems)
        raise ValueError(
            f"datasets[{number}] can't be a sample beside datasets[0], for it differs in what "
            f"samples share:\n- {lines}"
        )


def _differences(first: xr.Dataset, other: xr.Dataset, number: int) -> Iterator[str]:
    units = [distance_unit(ds) for ds in (first, other)]
    if units[0] != units[1]:
        yield (
            f"its unit is {units[1]!r}, that of datasets[0] {units[0]!r}; extract with one unit=, "
            "or convert with to_microns"
        )
    if ablation := describe_difference(first, other):
        yield ablation
    settings = [recorded_details(ds, "model_settings") for ds in (first, other)]
    for setting in sorted(set(settings[0]) & set(settings[1])):
        values = [recorded_value(details[setting]) for details in settings]
        if values[0] != values[1]:
            yield (
                f"its model has {setting}={values[1]!r}, that of datasets[0] {values[0]!r}; "
                "extract with the same model"
            )
    for owner, one, another in ((0, first, other), (number, other, first)):
        only = sorted(map(str, {*one.variables} - {*another.variables, *_IGNORED}))
        if only:
            yield (
                f"only datasets[{owner}] has {listed(only)}; give all Datasets the same variables, "
                "or leave these out with drop_vars"
            )
    for name in sorted(set(first.variables) & set(other.variables), key=str):
        ours, theirs = first.variables[name], other.variables[name]
        if set(ours.dims) != set(theirs.dims):
            yield f"{name} has dims {theirs.dims}, not {ours.dims}; select the same from all"
        elif set(_CELLS) <= set(ours.dims):
            yield f"{name} has dims {ours.dims}, of pairs of cells; leave it out with drop_vars"
        elif name in (*_IGNORED, *REDUCED_EFFECTS) or set(_CELLS) & set(ours.dims):
            continue
        elif not _is_equal(ours, theirs):
            shown = [listed(np.ravel(array.values), 5) for array in (theirs, ours)]
            remedy = _REMEDIES.get(str(name), "make it the same in all, or leave it out")
            yield f"{name} is {shown[0]}, that of datasets[0] {shown[1]}; {remedy}"
    n_ranks = [ds.sizes.get("rank", 0) for ds in (first, other)]
    if n_ranks[0] != n_ranks[1]:
        yield (
            f"its neighborhoods have {n_ranks[1]} cells, those of datasets[0] {n_ranks[0]}; "
            "extract with models of the same n_neighbors"
        )


def _is_equal(ours: xr.Variable, theirs: xr.Variable) -> bool:
    return bool(ours.equals(theirs))  # type: ignore[no-untyped-call]  # xarray's


def _place(ds: xr.Dataset, offset: int, name: str) -> xr.Dataset:
    """Shift the positions of a sample, and give its cells the name of the sample."""
    shifted: dict[Any, xr.Variable] = {}
    for position in _POSITIONS:
        if position in ds.variables:
            array = ds.variables[position].to_base_variable().astype(np.int64)
            shifted[position] = array + offset * (array >= 0)  # -1, no cell, stays
            shifted[position].attrs = array.attrs
    for cell, sample in zip(_CELLS, _SAMPLES, strict=True):
        if cell in ds.dims:
            attributes = {"long_name": sample.replace("_", " "), "description": SCHEMA[sample].doc}
            shifted[sample] = xr.Variable(cell, np.full(ds.sizes[cell], name), attributes)
    return ds.assign(shifted).set_coords([name for name in _SAMPLES if name in shifted])


def _shared_attributes(given: Sequence[xr.Dataset], n_cells: int | None) -> dict[Any, Any]:
    """Return the attributes that hold for all samples together."""
    shared = {
        name: value
        for name, value in given[0].attrs.items()
        if all(name in ds.attrs and _plain(ds.attrs[name]) == _plain(value) for ds in given)
    }
    extractions = [recorded_details(ds, "extraction") for ds in given]
    if all(extractions):
        details = {
            name: value
            for name, value in extractions[0].items()
            if name not in _OF_ONE_TISSUE and all(e.get(name) == value for e in extractions)
        }
        details |= {} if n_cells is None else {"n_cells": n_cells}
        shared["extraction"] = json.dumps(details, ensure_ascii=False)
    return shared


def _plain(value: Any) -> Any:
    """Return NumPy's numbers and arrays as Python's, to be written as JSON and compared."""
    return value.tolist() if hasattr(value, "tolist") else value
