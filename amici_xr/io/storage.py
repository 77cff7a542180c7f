"""Save and open Datasets so that neither a crash nor a flipped bit goes unnoticed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from amici_xr.dataset.kinds import has_no_schema, is_response
from amici_xr.dataset.response_structure import check_response
from amici_xr.dataset.schema import SCHEMA_VERSION
from amici_xr.dataset.structure import check_structure, raise_problems, version_problems
from amici_xr.dataset.study import STUDY, check_study, folder_attributes, groups_of
from amici_xr.dataset.validation import validate, validate_loaded, validate_streamed
from amici_xr.dependencies import require
from amici_xr.errors import RefusedFileError, SchemaError, listed
from amici_xr.io import netcdf
from amici_xr.io.atomic import recover, replace_atomically
from amici_xr.io.paths import check_replaceable, expand_home
from amici_xr.io.storable import check_storable
from amici_xr.io.streaming import (
    chunk_shape,
    compute_unstreamed,
    differences,
    streamed_variables,
    without_threads,
)
from amici_xr.io.study_files import Wanted, change_groups

SUFFIXES = (".nc", ".zarr", ".zarr.zip")
_NAMES_OF_GROUPS = {"label", "neighbor_sample", "receiver_label", "receiver_sample"}
_SMALL = 2**20  # elements; larger data variables of a lazily opened file are validated when used


def save(ds: xr.Dataset | xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write a Dataset or a study so that the file is always whole: the old one or the new one.

    It is written beside the target, read back, compared, and only then put in the target's place.
    Checksums go with it: in ``.nc`` HDF5's own of each chunk, and a SHA-256 of the whole file after
    its end, where other readers do not look; in ``.zarr`` Zarr's own of each chunk, and a
    ``SHA256SUMS`` of everything else, as ``sha256sum -c`` reads it; in ``.zarr.zip`` ZIP's own too.

    Lazy scores are written a chunk at a time, each computed once: memory stays that of a few
    chunks, of 2¹⁵ cells each. Coordinates, and what holds no numbers, are computed first. With
    ``dask.distributed`` the workers write ``.zarr`` and ``.zarr.zip``, in a folder that they share;
    ``.nc`` is computed whole.

    Parameters
    ----------
    ds
        A Dataset of scores, a result of `distance_response`, both valid by their schema, or an
        answer about scores such as that of `bootstrap`; with attributes that are str, int or float.
        Or a study: a DataTree with one of these in each group, such as
        ``xarray.DataTree.from_dict({"scores": ds, "response": response})``.
    path
        Ends in ``.nc`` (NetCDF 4), ``.zarr`` (a Zarr folder) or ``.zarr.zip``. Scores, an answer
        about them or a study that is there is replaced, and keeps its permissions; anything else,
        such as a tissue, is left alone. A ``~`` in front is the home folder. All three open with
        `open_dataset`; the first two with plain ``xarray.open_dataset`` too, the last with
        ``xarray.open_dataset(ZipStore(path), engine="zarr")``. Studies open with `open_study`, and
        with ``xarray.open_datatree``.

    Raises
    ------
    SchemaError
        If the Dataset is not valid, or holds attributes or values that a file can't.
    ValueError
        If the path has another suffix, if what stands there is neither scores nor an answer about
        them, or if the file does not read back as it was written.
    OSError
        If the disk is full or the folder may not be written to (a ``PermissionError``).

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=50)
    >>> amici_xr.save(ds, "a.nc")
    >>> amici_xr.open_dataset("a.nc").identical(ds)
    True
    """
    target, suffix = _parse_path(path)
    check_replaceable(target, suffix)
    is_in_this_process = suffix == ".nc"
    if isinstance(ds, xr.DataTree):
        check_study(ds, _check_group)
        data: xr.Dataset | xr.DataTree = _ready_study(ds, is_in_this_process)
    else:
        data = _ready(ds, is_in_this_process)
    try:
        with replace_atomically(target) as beside:
            _format(suffix, "writing").write(data, beside, suffix, chunk_shape)
            _check_written(data, beside, suffix, path)
    except OSError as error:
        if error.errno is None:  # it already says what is wrong
            raise
        raise OSError(
            error.errno,
            f"path={os.fspath(path)!r}: {os.strerror(error.errno)}, so nothing was replaced; "
            "free some space or choose another folder",
        ) from error


def _ready(ds: xr.Dataset, is_in_this_process: bool) -> xr.Dataset:
    """Return a Dataset as it is written: valid, and lazy only where it can be streamed."""
    if not (is_answer := has_no_schema(ds)):
        _check_structure(ds)
    ds = compute_unstreamed(ds.drop_encoding(), in_this_process=is_in_this_process)
    ds = ds if is_answer else validate_loaded(ds)
    check_storable(ds)
    return ds.assign_attrs(_with_version(ds.attrs))


def _ready_study(study: xr.DataTree, is_in_this_process: bool) -> xr.DataTree:
    """Return a study as it is written, with the attributes of groups that hold groups alone."""
    root = xr.Dataset(attrs=_with_version(study.attrs) | STUDY)
    check_storable(root)
    groups = {"/": root}
    for node in study.descendants:
        name = node.relative_to(study)
        try:
            if node.dataset.variables:
                groups[name] = _ready(node.to_dataset(), is_in_this_process)
            else:
                groups[name] = xr.Dataset(attrs=node.attrs)
                check_storable(groups[name])
        except SchemaError as error:
            raise SchemaError(f"group {name!r}: {error}") from None
    return xr.DataTree.from_dict(groups)


def _with_version(attributes: Mapping[Any, Any]) -> dict[Any, Any]:
    return {"schema_version": SCHEMA_VERSION} | dict(attributes)


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
    target, suffix = _parse_path(path)
    recover(target)
    if not target.exists():
        raise FileNotFoundError(f"path={os.fspath(path)!r}: there is no such file")
    try:
        data = _format(suffix, "reading").read(target, suffix, chunks, wanted)
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
        _check_group(ds)


def _check_group(ds: xr.Dataset) -> None:
    """Check a Dataset by its kind, and leave what is lazy as it is."""
    if has_no_schema(ds):
        raise_problems(list(version_problems(ds)), "answer of this version")
    else:
        _check_structure(ds)


def _load_names_of_groups(ds: xr.Dataset) -> xr.Dataset:
    with without_threads():
        for name in _NAMES_OF_GROUPS & set(ds.coords):
            ds[name].load()
    return ds


def _check_structure(ds: xr.Dataset) -> xr.Dataset:
    """Check the structure by kind, and leave what is lazy as it is."""
    return check_response(ds) if is_response(ds) else check_structure(ds)


def _drop_encoding(ds: xr.Dataset) -> xr.Dataset:
    """Forget, in the Dataset itself, how the file stored it, but not where it is."""
    for variable in ds.variables.values():
        variable.encoding = {}
    ds.encoding = {name: value for name, value in ds.encoding.items() if name == "source"}
    return ds


def _parse_path(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return the path and which of the three suffixes it has."""
    target = expand_home(path)
    for suffix in reversed(SUFFIXES):
        if target.name.endswith(suffix):
            return target, suffix
    raise ValueError(f"path={os.fspath(path)!r} must end in one of {listed(SUFFIXES)}")


def _format(suffix: str, task: str) -> Any:
    """Import the module that writes and reads files with that suffix."""
    if suffix == ".nc":
        return netcdf
    require("zarr", "zarr", f"{task} {suffix}")
    return importlib.import_module("amici_xr.io.zarr_stores")


def _check_written(
    data: xr.Dataset | xr.DataTree, beside: Path, suffix: str, path: str | os.PathLike[str]
) -> None:
    """Read back what was written, a chunk at a time, and compare it with what is in memory.

    What was computed while it was written is read against its checksums, and validated.
    """
    with _format(suffix, "reading").read(beside, suffix, {}) as written:
        kept, read = groups_of(data), groups_of(written)
        wrong = sorted(kept.keys() ^ read.keys())
        wrong += [] if folder_attributes(written) == folder_attributes(data) else ["attributes"]
        for name in kept.keys() & read.keys():
            wrong += differences(kept[name], read[name])
        if wrong:
            raise ValueError(
                f"path={os.fspath(path)!r}: {listed(wrong)} did not read back as written, so "
                "nothing was replaced; write to another disk"
            )
        for name, ds in kept.items():
            if streamed := streamed_variables(ds):
                read[name][streamed].count().compute()
                if not has_no_schema(ds):
                    validate_streamed(ds.assign({each: read[name][each] for each in streamed}))
