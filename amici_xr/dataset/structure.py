"""Structure of a Dataset: names, dims and kinds, checked without computing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

from amici_xr.dataset.kinds import KIND, kind_of
from amici_xr.dataset.schema import (
    EFFECTS,
    NEIGHBORHOODS,
    RECEIVER_EFFECTS,
    SCHEMA,
    SCHEMA_VERSION,
    SCORES,
    SETTINGS,
    Variable,
)
from amici_xr.errors import SchemaError, listed

_DTYPE_KINDS = {
    "float32": "f",
    "float64": "f",
    "int16": "iu",
    "int64": "iu",
    "bool": "b",
    "string": "UOT",
}
_NEEDED_COORDINATES = ("label", "query", "receiver_label", "neighbor_sample", "receiver_sample")
_TWO_TISSUES = (
    "two tissues? join them with amici_xr.concat_samples([first, second], sample=[…]), or extract "
    "them together with sample_key=…"
)
_REPEATED = {  # what to do about a name that occurs more than once
    "neighbor": _TWO_TISSUES,
    "receiver": _TWO_TISSUES,
    "head": "number the heads anew, e.g. with assign_coords(head=range(ds.sizes['head']))",
    "query": "keep one of each, e.g. ds.isel(query=…), or join tissues with concat_samples",
    "run": "number the runs anew, e.g. with assign_coords(run=range(ds.sizes['run']))",
    "gene": "give each gene a name of its own, e.g. with var_names_make_unique",
    "cell_type": "keep the vocabulary as the model has it",
}


def check_structure(ds: xr.Dataset) -> xr.Dataset:
    """Check names, dims, kinds, positions and settings of the model, and return the Dataset."""
    check_form(ds)
    raise_problems(list(number_problems(ds)))
    return ds


def check_form(ds: xr.Dataset) -> None:
    """Check names, dims and kinds alone, without which no number can be checked."""
    if not isinstance(ds, xr.Dataset):
        raise TypeError(f"ds must be an xarray.Dataset, not {type(ds).__name__}")
    kind = kind_of(ds)
    if kind == "unknown":
        raise SchemaError(
            f"{KIND} is {ds.attrs[KIND]!r}, while this version of amici_xr knows "
            "'scores' and 'distance_response'; pip install --upgrade amici-xr, or remove the "
            "attribute"
        )
    if kind == "distance_response":
        raise SchemaError(
            "ds is a distance response, which holds no counterfactual attention; plot_pairs and "
            "plot_response draw it, and extract gives the scores of a model"
        )
    raise_problems(list(_form_problems(ds)))


def is_valid_structure(ds: xr.Dataset) -> bool:
    """Tell whether `check_structure` would pass."""
    if ds.attrs.get(KIND, "scores") != "scores":
        return False
    return not any(_form_problems(ds)) and not any(number_problems(ds))


def raise_problems(
    problems: Sequence[str], title: str = "Dataset of counterfactual attention scores"
) -> None:
    """Raise one error that lists all problems, if there are any."""
    if problems:
        lines = "\n- ".join(problems)
        raise SchemaError(f"not a {title}:\n- {lines}")


def version_problems(ds: xr.Dataset) -> Iterator[str]:
    """Check that this version of the package knows the Dataset's version of the schema."""
    version = ds.attrs.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int | np.integer):
        yield f"schema_version {version!r} is not an integer; remove the attribute"
    elif version > SCHEMA_VERSION:
        yield (
            f"schema_version {version} is newer than {SCHEMA_VERSION}, which this version of "
            "amici_xr knows; pip install --upgrade amici-xr"
        )


def _form_problems(ds: xr.Dataset) -> Iterator[str]:
    problems = list(version_problems(ds))
    yield from problems
    if any("newer" in problem for problem in problems):
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
            yield from shape_problems(ds.variables[row.name], row, scalar)
    for name in _REPEATED:
        if name in ds.dims and name in ds.coords:
            yield from _index_problems(ds, name)
    demoted = [name for name in _NEEDED_COORDINATES if name in ds.data_vars]
    if demoted and "label" not in ds.dims:
        yield f"{listed(demoted)}: not coordinates; ds.set_coords({demoted!r}) makes them so"
    if ds.sizes.get("query") == 0:
        yield "query is empty; keep at least one query"
    if "run" in ds.dims:
        yield from _run_problems(ds)
    if "query" in ds.dims and "is_neighbor" not in ds.variables:
        yield "is_neighbor is missing: with several queries it tells whose neighbor a cell is"
    yield from _effect_problems(ds)
    if any(name in ds.variables for name in NEIGHBORHOODS):
        needed = (*NEIGHBORHOODS, "receiver", "receiver_label", "cell_type")
        missing = [name for name in needed if name not in ds.variables]
        if missing:
            yield f"neighborhoods without {listed(missing)}; keep all of {listed(needed)}, or none"


def _effect_problems(ds: xr.Dataset) -> Iterator[str]:
    present = [name for name in EFFECTS if name in ds.variables]
    needed = {dim for name in present for dim in SCHEMA[name].dims} & {"gene", "distance"}
    if any("cell_type" in SCHEMA[name].dims for name in present):
        needed.add("cell_type")
    if any(name in RECEIVER_EFFECTS for name in present):
        needed |= {"receiver", "receiver_label"}
    missing = [name for name in sorted(needed) if name not in ds.variables]
    if missing:
        yield f"effects without {listed(missing)}; keep these coordinates, or drop the effects"
    if "query" not in ds.dims:
        return
    without = [
        name
        for name in present
        if "query" in SCHEMA[name].further_dims and "query" not in ds[name].dims
    ]
    if without:
        yield f"query is a dim, but not of {listed(without)}; extract the effects of all queries"


def _index_problems(ds: xr.Dataset, name: str) -> Iterator[str]:
    if name not in ds.indexes:
        yield f"{name} has no index, by which its cells are found; ds.set_xindex({name!r}) makes it"
        return
    index = ds.indexes[name]
    if not index.is_unique:
        repeated = index[index.duplicated()].unique()
        yield f"{name} holds {listed(repeated, 5)} more than once; {_REPEATED[name]}"


def number_problems(ds: xr.Dataset) -> Iterator[str]:
    """Check positions of cells and the model's settings, unless they are lazy."""
    for name in ("neighbor", "receiver"):
        if name in ds.indexes and (ds.indexes[name] < 0).any():
            yield f"{name} holds negative positions; count cells from 0"
    delta, u = (
        ds[name].values if name in ds.variables and ds[name].chunks is None else 1.0
        for name in SETTINGS
    )
    if not np.isfinite(delta).all():
        yield "dummy_attention_score is not finite; take it from the model's settings"
    if not (np.isfinite(u) & (u > 0)).all():
        yield "distance_kernel_unit_scale is not a positive number; take it from the model"


def _run_problems(ds: xr.Dataset) -> Iterator[str]:
    if not ds.sizes["run"]:
        yield "run is empty; keep at least one run"
    if "run" not in ds.coords:
        yield "run is a dim without its coordinate; combine runs with align_runs"
    without = [name for name in SCORES if name in ds and "run" not in ds[name].dims]
    if without:
        yield f"run is a dim, but not of {listed(without)}; combine runs with align_runs"


def shape_problems(array: xr.Variable, row: Variable, scalar: set[str]) -> Iterator[str]:
    """Check dims and dtype of a variable against its row; scalar coordinates take no dim."""
    needed = set(row.dims) - scalar
    if not needed <= set(array.dims) <= needed | set(row.further_dims):
        is_of_runs = set(array.dims) - needed == {"run"}
        remedy = "combine runs with align_runs" if is_of_runs else "rename or select"
        yield f"{row.name} has dims {tuple(array.dims)}, not {row.dims}; {remedy}"
    if array.dtype.kind not in _DTYPE_KINDS[row.kind]:
        cast = f"astype({row.kind!r})" if row.kind != "string" else "astype(str)"
        if row.kind == "bool":
            cast = "fillna(False).astype('bool')"
        elif row.name in NEIGHBORHOODS and row.kind.startswith("int"):
            cast = f"fillna(-1).astype({row.kind!r})"  # some tools write -1 as missing
        yield f"{row.name} has dtype {array.dtype}, not {row.kind}; cast it with {cast}"
