"""Open Datasets and studies: only what is whole and valid, and can do no harm."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import xarray as xr

from amici_xr.dataset.kinds import has_no_schema, is_response
from amici_xr.dataset.response_structure import check_response
from amici_xr.dataset.structure import check_structure, raise_problems, version_problems
from amici_xr.dataset.study import check_study
from amici_xr.dataset.validation import validate
from amici_xr.errors import RefusedFileError, SchemaError
from amici_xr.io.atomic import recover
from amici_xr.io.formats import format_of, parse_path
from amici_xr.io.streaming import without_threads
from amici_xr.io.study_files import Wanted, change_groups

_NAMES_OF_GROUPS = {"label", "neighbor_sample", "receiver_label", "receiver_sample"}
_SMALL = 2**20  # elements; larger data variables of a lazily opened file are validated when used


def open_dataset(
    path: str | os.PathLike[str], chunks: int | Mapping[Any, Any] | str | None = None
) -> xr.Dataset:
    """Open a Dataset and check that it is whole and valid.

    The checksums that `save` wrote are compared first: those of the whole ``.nc`` before anything
    else is read of it. Files of others that could run code, or make their reader open further
    files, are refused.

    Parameters
    ----------
    path
        What `save` wrote, or ``ds.to_netcdf`` (also as NetCDF 3) or ``ds.to_zarr``. A ``~`` in
        front is the home folder.
    chunks
        None loads the Dataset and closes the file. Chunk sizes, as in ``xarray.open_dataset``,
        leave it lazy ({} takes the file's own); the chunks of a ``.zarr`` or ``.zarr.zip`` are then
        compared with their checksums when they are read. Labels and samples are loaded, so that
        ``groupby`` takes them. Values are validated at once unless a variable has more than a
        million elements. Opening starts no threads, so that a process may be forked afterwards.

    Returns
    -------
    xarray.Dataset
        As it was saved; without the encoding of the file, so that it, and what is computed from
        it, can be written in any other format.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If it can't be read, is damaged, or could do harm.
    SchemaError
        If it is not a Dataset of ours, or one of a newer version.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=50)
    >>> amici_xr.save(ds, "a.nc")
    >>> type(amici_xr.open_dataset("a.nc", chunks={}).base_attention_score.data).__name__
    'Array'
    """
    ds = open_file(path, chunks, "dataset")
    assert isinstance(ds, xr.Dataset)
    return ds


def open_study(
    path: str | os.PathLike[str], chunks: int | Mapping[Any, Any] | str | None = None
) -> xr.DataTree:
    """Open a study: a file with a Dataset in each group; check that it is whole and valid.

    Parameters
    ----------
    path
        What `save` wrote of a DataTree, or ``tree.to_netcdf`` or ``tree.to_zarr``, ending in
        ``.nc``, ``.zarr`` or ``.zarr.zip``. A ``~`` in front is the home folder.
    chunks
        As in `open_dataset`, for every group: None loads them all, {} leaves them lazy.

    Returns
    -------
    xarray.DataTree
        As it was saved. ``study["scores"].to_dataset()`` is one of its Datasets; ``study.cf`` asks
        the scores, with the evidence of the other groups.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If it can't be read, is damaged, could do harm, or is a single Dataset.
    SchemaError
        If a group is not a Dataset of ours, or one of a newer version.

    Examples
    --------
    >>> import amici_xr, xarray as xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=50)
    >>> study = xr.DataTree.from_dict({"scores": ds, "intervals": ds.cf.bootstrap(0.1)})
    >>> amici_xr.save(study, "study.nc")
    >>> opened = amici_xr.open_study("study.nc")
    >>> sorted(opened.children)
    ['intervals', 'scores']
    >>> opened.cf.length_scale(0.1).equals(ds.cf.length_scale(0.1))
    True
    """
    study = open_file(path, chunks, "study")
    assert isinstance(study, xr.DataTree)
    return study


def open_file(
    path: str | os.PathLike[str], chunks: Any = None, wanted: Wanted = None
) -> xr.Dataset | xr.DataTree:
    """Open what a file holds, a Dataset or a study, as `open_dataset` and `open_study` do."""
    target, suffix = parse_path(path)
    recover(target)
    if not target.exists():
        raise FileNotFoundError(f"path={os.fspath(path)!r}: there is no such file")
    try:
        data = format_of(suffix, "reading").read(target, suffix, chunks, wanted)
        data = change_groups(data, _drop_encoding)
        if chunks is not None:  # as xarray asks of a ``groupby``
            change_groups(data, _load_names_of_groups)
    except RefusedFileError as error:
        raise ValueError(f"path={os.fspath(path)!r} {error}") from None
    except Exception as error:
        if isinstance(error, Warning | ModuleNotFoundError):
            raise
        raise ValueError(
            f"path={os.fspath(path)!r} can't be read as {suffix}: {error}; is it complete?"
        ) from error
    try:
        with without_threads():
            if isinstance(data, xr.DataTree):
                check_study(data, partial(_check_opened, chunks))
            else:
                _check_opened(chunks, data)
    except SchemaError as error:
        data.close()
        raise SchemaError(f"path={os.fspath(path)!r} is {error}") from None
    return data


def _check_opened(chunks: Any, ds: xr.Dataset) -> None:
    """Validate what was opened; of what is large and lazy, the structure."""
    is_large = any(array.size > _SMALL for array in ds.data_vars.values())
    if not has_no_schema(ds) and not (is_large and chunks is not None):
        validate(ds)
    else:
        check_group(ds)


def check_group(ds: xr.Dataset) -> None:
    """Check a Dataset by its kind, and leave what is lazy as it is."""
    if has_no_schema(ds):
        raise_problems(list(version_problems(ds)), "answer of this version")
    else:
        check_structure_of_kind(ds)


def check_structure_of_kind(ds: xr.Dataset) -> xr.Dataset:
    """Check the structure by kind, and leave what is lazy as it is."""
    return check_response(ds) if is_response(ds) else check_structure(ds)


def _load_names_of_groups(ds: xr.Dataset) -> xr.Dataset:
    with without_threads():
        for name in _NAMES_OF_GROUPS & set(ds.coords):
            ds[name].load()
    return ds


def _drop_encoding(ds: xr.Dataset) -> xr.Dataset:
    """Forget, in the Dataset itself, how the file stored it, but not where it is."""
    for variable in ds.variables.values():
        variable.encoding = {}
    ds.encoding = {name: value for name, value in ds.encoding.items() if name == "source"}
    return ds
