"""Saving and opening Datasets so that neither a crash nor a flipped bit goes unnoticed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import xarray as xr

from .digest import differing, digests
from .errors import SchemaError, listed
from .formats import check_replaceable, parsed, read, write
from .replacing import recover, replaced
from .schema import SCHEMA_VERSION
from .storable import check_storable
from .validation import check_structure, validate

_SMALL = 2**20  # elements; larger data variables of a lazily opened file are not checked


def save(ds: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a Dataset so that the file is always whole: the old one or the new one.

    It is written beside the target, with a SHA-256 of every variable and attribute, read back,
    compared, and only then put in the target's place. Lazy variables are computed first, once.

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
    whole = validate(check_structure(ds).compute().drop_encoding())
    check_storable(whole)
    whole = whole.assign_attrs({"schema_version": SCHEMA_VERSION} | whole.attrs)
    expected = digests(whole)
    try:
        with replaced(target) as beside:
            write(whole, beside, suffix, expected)
            written, _ = read(beside, suffix, None)
            with written:
                wrong = differing(written, expected)
            if wrong:
                raise ValueError(
                    f"path={os.fspath(path)!r}: {listed(wrong)} did not read back as written, so "
                    "nothing was replaced; write to another disk"
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
        ``xarray.open_dataset``, leave it lazy: attributes, coordinates and variables of up to a
        million elements are still read and checked at once; larger variables are not checked.

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
    try:
        ds, expected = read(target, suffix, chunks)
        try:
            wrong = _damage(ds, expected, is_lazy=chunks is not None)
        finally:
            if chunks is None:
                ds.close()
    except Exception as error:
        if isinstance(error, Warning | ModuleNotFoundError | SchemaError):
            raise
        raise ValueError(
            f"path={os.fspath(path)!r} can't be read as {suffix}: {error}; is it complete?"
        ) from error
    if wrong:
        ds.close()
        raise ValueError(
            f"path={os.fspath(path)!r} is damaged: {listed(wrong)} differ from what was saved; "
            "restore the file from a copy, or extract again"
        )
    try:
        is_checkable = chunks is None or not _large(ds)
        return validate(ds) if is_checkable else check_structure(ds)
    except SchemaError as error:
        ds.close()
        raise SchemaError(f"path={os.fspath(path)!r} is {error}") from None


def _damage(ds: xr.Dataset, expected: Mapping[str, str], *, is_lazy: bool) -> list[str]:
    """Load what is to be checked, and compare it with its digests; [] where there are none."""
    skipped = _large(ds) if is_lazy else set()
    if not is_lazy:
        ds.load()
    if not expected:
        return []
    expected = {name: value for name, value in expected.items() if name not in skipped}
    return differing(ds.drop_vars(skipped), expected)


def _large(ds: xr.Dataset) -> set[str]:
    return {str(name) for name, array in ds.data_vars.items() if array.size > _SMALL}
