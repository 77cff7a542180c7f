"""Saving and opening Datasets so that neither a crash nor a flipped bit goes unnoticed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from amici_xr.dataset.schema import SCHEMA_VERSION
from amici_xr.dataset.structure import check_structure
from amici_xr.dataset.validation import validate, validate_loaded
from amici_xr.errors import SchemaError, listed
from amici_xr.io.atomic import recover, replaced
from amici_xr.io.block_reading import open_checked
from amici_xr.io.block_writing import partly_computed
from amici_xr.io.digests import Digests, differing, of_header
from amici_xr.io.formats import check_replaceable, parsed, read, write
from amici_xr.io.storable import check_storable

_NAMES_OF_GROUPS = {"label", "neighbor_sample", "receiver_label", "receiver_sample"}
_SMALL = 2**20  # elements; larger data variables of a lazily opened file are checked when read


def save(ds: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a Dataset so that the file is always whole: the old one or the new one.

    It is written beside the target, with a SHA-256 of every attribute and block of values, read
    back, compared, and only then put in the target's place.

    Lazy scores are written a block at a time, each computed once: memory stays that of a few
    blocks, of 2¹⁵ cells each. Coordinates, and what holds no numbers, are computed first. With
    ``dask.distributed`` the workers write ``.zarr`` and ``.zarr.zip``, in a folder that they share;
    ``.nc`` is computed whole.

    Parameters
    ----------
    ds
        The Dataset; valid by the schema, with attributes that are str, int or float.
    path
        Ends in ``.nc`` (NetCDF 4), ``.zarr`` (a Zarr folder) or ``.zarr.zip``. What is there is
        replaced. All three open with `open_dataset`; the first two with plain
        ``xarray.open_dataset`` too, the last with ``xarray.open_dataset(ZipStore(path),
        engine="zarr")``.

    Raises
    ------
    SchemaError
        If the Dataset is not valid, or holds attributes or values that a file can't.
    ValueError
        If the path has another suffix or is something else than such a file, or if the file does
        not read back as it was written.
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
    target, suffix = parsed(path)
    check_replaceable(target, suffix)
    ds = check_structure(ds).drop_encoding()
    ds = validate_loaded(partly_computed(ds, only_here=suffix == ".nc"))
    check_storable(ds)
    ds = ds.assign_attrs({"schema_version": SCHEMA_VERSION} | ds.attrs)
    try:
        with replaced(target) as beside:
            expected = write(ds, beside, suffix)
            _check_written(beside, suffix, expected, os.fspath(path))
            if any(variable.chunks is not None for variable in ds.variables.values()):
                with open_checked(beside, suffix, {}) as written:
                    validate(
                        ds.assign(
                            {name: written[name] for name in ds if ds[name].chunks is not None}
                        )
                    )
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

    Parameters
    ----------
    path
        What `save` wrote, or ``ds.to_netcdf`` or ``ds.to_zarr``.
    chunks
        None loads the Dataset and closes the file; everything is checked. Chunk sizes, as in
        ``xarray.open_dataset``, leave it lazy ({} takes the file's own): attributes, coordinates
        and variables of up to a million elements are still read and checked at once, and every
        block when it is read; a damaged one raises a ValueError then. Labels and samples are
        loaded, so that ``groupby`` takes them.

    Returns
    -------
    xarray.Dataset
        As it was saved.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If it can't be read, or differs from what was saved.
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
    target, suffix = parsed(path)
    recover(target)
    if not target.exists():
        raise FileNotFoundError(f"path={os.fspath(path)!r}: there is no such file")
    is_lazy = chunks is not None
    try:
        ds, wrong = _opened(target, suffix, is_lazy=is_lazy)
        ds = _grouped(open_checked(target, suffix, chunks)) if is_lazy and not wrong else ds
    except Exception as error:
        if isinstance(error, Warning | ModuleNotFoundError | SchemaError):
            raise
        raise ValueError(
            f"path={os.fspath(path)!r} can't be read as {suffix}: {error}; is it complete?"
        ) from error
    if wrong:
        raise ValueError(
            f"path={os.fspath(path)!r} is damaged: {listed(wrong)} differ from what was saved; "
            "restore the file from a copy, or extract again"
        )
    try:
        return check_structure(ds) if is_lazy and _large(ds) else validate(ds)
    except SchemaError as error:
        ds.close()
        raise SchemaError(f"path={os.fspath(path)!r} is {error}") from None


def _opened(path: Path, suffix: str, *, is_lazy: bool) -> tuple[xr.Dataset, list[str]]:
    """Read what is to be checked at once, and name what differs from its digests, if there are any.

    Of a lazy Dataset, whose larger variables are checked when they are read, the file is closed.
    """
    ds, expected = read(path, suffix)
    with ds:
        later = _large(ds) if is_lazy else set()
        if not is_lazy:
            ds.load()
        now = {name: found for name, found in expected.items() if name not in later}
        wrong = differing(ds.drop_vars(later), now) if expected else []
        wrong += [
            name
            for name in later & set(expected)
            if of_header(ds.variables[name]) != expected[name][0]
        ]
    return ds, wrong


def _grouped(ds: xr.Dataset) -> xr.Dataset:
    """Load the names by which cells are grouped, as xarray asks of a ``groupby``."""
    for name in _NAMES_OF_GROUPS & set(ds.coords):
        ds[name].load()
    return ds


def _check_written(beside: Path, suffix: str, expected: Digests, path: str) -> None:
    written, _ = read(beside, suffix)
    with written:
        wrong = differing(written, expected)
    if wrong:
        raise ValueError(
            f"path={path!r}: {listed(wrong)} did not read back as written, so nothing was "
            "replaced; write to another disk"
        )


def _large(ds: xr.Dataset) -> set[str]:
    return {str(name) for name, array in ds.data_vars.items() if array.size > _SMALL}
