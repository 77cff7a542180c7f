"""Save and open Datasets so that neither a crash nor a flipped bit goes unnoticed."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from amici_xr.dataset.kinds import EVIDENCE_OF_PAIRS, is_response, kind_of
from amici_xr.dataset.response_structure import check_response
from amici_xr.dataset.schema import SCHEMA_VERSION
from amici_xr.dataset.structure import check_structure, raise_problems, version_problems
from amici_xr.dataset.validation import validate, validate_loaded
from amici_xr.dependencies import require
from amici_xr.errors import RefusedFileError, SchemaError, listed
from amici_xr.io import netcdf
from amici_xr.io.atomic import recover, replace_atomically
from amici_xr.io.paths import check_replaceable, expand_home
from amici_xr.io.storable import check_storable

SUFFIXES = (".nc", ".zarr", ".zarr.zip")
_NAMES_OF_GROUPS = {"label", "neighbor_sample", "receiver_label", "receiver_sample"}
_SMALL = 2**20  # elements; larger data variables of a lazily opened file are validated when used
_CELLS = 2**15  # neighbors or receivers of a chunk
_CHUNK = 2**20  # elements of a chunk at most
_STREAMED_KINDS = "fiu"  # floating-point numbers, integers, unsigned ones
_STREAMED_DIMS = {"neighbor", "receiver"}


def save(ds: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a Dataset so that the file is always whole: the old one or the new one.

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
    path
        Ends in ``.nc`` (NetCDF 4), ``.zarr`` (a Zarr folder) or ``.zarr.zip``. Scores, or an
        answer about them, that are there are replaced, and keep their permissions; anything else,
        such as a tissue, is left alone. A ``~`` in front is the home folder. All three open with
        `open_dataset`; the first two with plain ``xarray.open_dataset`` too, the last with
        ``xarray.open_dataset(ZipStore(path), engine="zarr")``.

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
    if not (is_answer := _is_answer(ds)):
        _check_structure(ds)
    ds = _compute_unstreamed(ds.drop_encoding(), in_this_process=suffix == ".nc")
    ds = ds if is_answer else validate_loaded(ds)
    check_storable(ds)
    ds = ds.assign_attrs({"schema_version": SCHEMA_VERSION} | ds.attrs)
    chunks = {name: _chunk_shape(array) for name, array in ds.variables.items() if array.ndim}
    try:
        with replace_atomically(target) as beside:
            _format(suffix, "writing").write(ds, beside, suffix, chunks)
            _check_written(ds, beside, suffix, path)
    except OSError as error:
        if error.errno is None:  # it already says what is wrong
            raise
        raise OSError(
            error.errno,
            f"path={os.fspath(path)!r}: {os.strerror(error.errno)}, so nothing was replaced; "
            "free some space or choose another folder",
        ) from error


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
    target, suffix = _parse_path(path)
    recover(target)
    if not target.exists():
        raise FileNotFoundError(f"path={os.fspath(path)!r}: there is no such file")
    try:
        ds = _drop_encoding(_format(suffix, "reading").read(target, suffix, chunks))
        if chunks is not None:  # as xarray asks of a ``groupby``
            with _without_threads():
                for name in _NAMES_OF_GROUPS & set(ds.coords):
                    ds[name].load()
    except RefusedFileError as error:
        raise ValueError(f"path={os.fspath(path)!r} {error}") from None
    except Exception as error:
        if isinstance(error, Warning | ModuleNotFoundError):
            raise
        raise ValueError(
            f"path={os.fspath(path)!r} can't be read as {suffix}: {error}; is it complete?"
        ) from error
    is_large = any(array.size > _SMALL for array in ds.data_vars.values())
    try:
        if _is_answer(ds):
            raise_problems(list(version_problems(ds)), "answer of this version")
            return ds
        with _without_threads():
            return _check_structure(ds) if is_large and chunks is not None else validate(ds)
    except SchemaError as error:
        ds.close()
        raise SchemaError(f"path={os.fspath(path)!r} is {error}") from None


_WITHOUT_SCHEMA = ("answer", *EVIDENCE_OF_PAIRS, "training_history")


def _is_answer(ds: xr.Dataset) -> bool:
    """Tell whether it is a reduction of scores or a history, which has no schema but its names."""
    return isinstance(ds, xr.Dataset) and kind_of(ds) in _WITHOUT_SCHEMA


def _check_structure(ds: xr.Dataset) -> xr.Dataset:
    """Check the structure by kind, and leave what is lazy as it is."""
    return check_response(ds) if is_response(ds) else check_structure(ds)


def _drop_encoding(ds: xr.Dataset) -> xr.Dataset:
    """Forget, in the Dataset itself, how the file stored it, but not where it is."""
    for variable in ds.variables.values():
        variable.encoding = {}
    ds.encoding = {name: value for name, value in ds.encoding.items() if name == "source"}
    return ds


def _without_threads() -> contextlib.AbstractContextManager[Any]:
    """Compute in this thread: a pool of dask's would not survive a fork, and what waits for it."""
    import dask.config

    return dask.config.set(scheduler="synchronous")


def _parse_path(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return the path and which of the three suffixes it has."""
    target = expand_home(path)
    for suffix in reversed(SUFFIXES):
        if target.name.endswith(suffix):
            return target, suffix
    raise ValueError(f"path={os.fspath(path)!r} must end in one of {listed(SUFFIXES)}")


def _compute_unstreamed(ds: xr.Dataset, *, in_this_process: bool) -> xr.Dataset:
    """Leave only those variables lazy that can be streamed, in chunks as they will be stored.

    These are data variables of numbers, one or more for each cell. With `in_this_process` nothing
    is left lazy where other processes compute, which can't write to a file that this one has open.
    """
    lazy = {name: array for name, array in ds.variables.items() if array.chunks is not None}
    streamed = {
        name: array.chunk(dict(zip(array.dims, _chunk_shape(array), strict=True)))
        for name, array in lazy.items()
        if name in ds.data_vars
        and array.dtype.kind in _STREAMED_KINDS
        and _STREAMED_DIMS & set(array.dims)
    }
    if in_this_process and not _computes_in_this_process():
        streamed = {}
    computed = ds[[name for name in lazy if name not in streamed]].compute()
    return ds.assign(computed.variables).assign(streamed)


def _computes_in_this_process() -> bool:
    from dask.base import get_scheduler
    from dask.local import get_sync
    from dask.threaded import get as get_threaded

    return get_scheduler() in (None, get_sync, get_threaded)  # type: ignore[no-untyped-call]  # no types


def _chunk_shape(variable: xr.Variable) -> tuple[int, ...]:
    """How large chunks are.

    So many cells, the same in all variables; one query and run; and of the other dims, the last
    one first, what makes no more than `_CHUNK` elements.
    """
    fixed: dict[Hashable, int]
    fixed = {"neighbor": _CELLS, "receiver": _CELLS, "query": 1, "run": 1}
    shape = [max(1, min(size, fixed.get(dim, 1))) for dim, size in variable.sizes.items()]
    for axis in reversed(range(variable.ndim)):
        if variable.dims[axis] not in fixed:
            shape[axis] = max(1, min(variable.shape[axis], _CHUNK // math.prod(shape)))
    return tuple(shape)


def _format(suffix: str, task: str) -> Any:
    """Import the module that writes and reads files with that suffix."""
    if suffix == ".nc":
        return netcdf
    require("zarr", "zarr", f"{task} {suffix}")
    return importlib.import_module("amici_xr.io.zarr_stores")


def _is_identical(kept: Any, written: Any) -> bool:
    """Compare a chunk of cells at a time: text takes much more room as Python's own strings."""
    if kept.dims != written.dims or kept.shape != written.shape:
        return False
    parts = [slice(start, start + _CELLS) for start in range(0, kept.size, _CELLS)]
    with _without_threads():
        if kept.ndim != 1 or not parts:
            return bool(kept.identical(written))
        return all(kept[part].identical(written[part]) for part in parts)


def _check_written(ds: xr.Dataset, beside: Path, suffix: str, path: str | os.PathLike[str]) -> None:
    """Read back what was written, a chunk at a time, and compare it with what is in memory.

    What was computed while it was written is read against its checksums, and validated.
    """
    streamed = [name for name in ds if ds[name].chunks is not None]
    with _format(suffix, "reading").read(beside, suffix, {}) as written:
        wrong = [] if written.attrs == ds.attrs else ["attributes"]
        for name in {**ds.variables, **written.variables}:
            pair = [one.variables.get(name, xr.Variable((), 0)) for one in (ds, written)]
            if name in streamed:  # all but the values
                pair = [variable.copy(data=np.broadcast_to(0, variable.shape)) for variable in pair]
            if not _is_identical(*pair):
                wrong.append(str(name))
        if wrong:
            raise ValueError(
                f"path={os.fspath(path)!r}: {listed(wrong)} did not read back as written, so "
                "nothing was replaced; write to another disk"
            )
        if streamed:
            written[streamed].count().compute()
            if not _is_answer(ds):
                validate(ds.assign({name: written[name] for name in streamed}))
