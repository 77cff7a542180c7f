"""Saving and opening Datasets so that neither a crash nor a flipped bit goes unnoticed."""

from __future__ import annotations

import json
import os
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from .digest import DIGEST, differing, digests
from .errors import SchemaError, listed
from .optional import require
from .replacing import recover, replaced
from .schema import SCHEMA_VERSION
from .validation import check_structure, validate

_SUFFIXES = (".nc", ".zarr", ".zarr.zip")
_CHECKED_AT_ONCE = 2**20  # elements; larger variables of a lazily opened file are not read


def save(ds: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a Dataset so that the file is always whole: the old one or the new one.

    It is written beside the target, with a SHA-256 of every variable and attribute, read back,
    compared, and only then put in the target's place. Lazy variables are computed first.

    Parameters
    ----------
    ds
        The Dataset; valid by the schema, with attributes that are str, int or float.
    path
        Ends in ``.nc`` (NetCDF 4), ``.zarr`` (a Zarr folder) or ``.zarr.zip``. What is there is
        replaced. All three open with `open_dataset`, and with plain ``xarray.open_dataset``.

    Raises
    ------
    SchemaError
        If the Dataset is not valid, or holds attributes that a file can't.
    ValueError
        If the path has another suffix, or the file does not read back as it was written.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=50)
    >>> amici_xr.save(ds, "a.nc")
    >>> amici_xr.open_dataset("a.nc").identical(ds)
    True
    """
    target, suffix = _target(path)
    validate(ds)
    _check_attributes(ds)
    whole = ds.compute().drop_encoding()
    whole.attrs = {"schema_version": SCHEMA_VERSION} | whole.attrs
    expected = digests(whole)
    whole.attrs[DIGEST] = json.dumps(expected)
    with replaced(target) as beside:
        _write(whole, beside, suffix)
        with _open(beside, suffix, None) as written:
            wrong = differing(written, expected)
        if wrong:
            raise ValueError(
                f"path={os.fspath(path)!r}: {listed(wrong)} did not read back as written, so "
                "nothing was replaced; is the disk full, or does an attribute have a name that "
                "files use themselves, such as _FillValue?"
            )


def open_dataset(
    path: str | os.PathLike[str], chunks: int | Mapping[Any, Any] | str | None = None
) -> xr.Dataset:
    """Open a Dataset and check that it is whole.

    Parameters
    ----------
    path
        What `save` wrote, or ``ds.to_netcdf`` or ``ds.to_zarr``.
    chunks
        None loads the Dataset and closes the file; everything is checked. Chunk sizes, as in
        ``xarray.open_dataset``, leave it lazy: then attributes and all variables of up to a
        million elements are checked at once, and the larger ones are not.

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
    target, suffix = _target(path)
    recover(target)
    if not target.exists():
        raise FileNotFoundError(f"path={os.fspath(path)!r}: there is no such file")
    try:
        ds = _open(target, suffix, chunks)
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"path={os.fspath(path)!r} can't be read as {suffix}: {error}; is it complete?"
        ) from error
    try:
        return _checked(ds, path, is_lazy=chunks is not None)
    except BaseException:
        ds.close()
        raise


def _checked(ds: xr.Dataset, path: str | os.PathLike[str], *, is_lazy: bool) -> xr.Dataset:
    try:
        check_structure(ds)
    except SchemaError as error:
        raise SchemaError(f"path={os.fspath(path)!r} is {error}") from None
    if not is_lazy:
        with ds:
            ds = ds.load()
    expected = json.loads(ds.attrs.pop(DIGEST, "{}"))
    if is_lazy:
        small = [name for name, array in ds.variables.items() if array.size <= _CHECKED_AT_ONCE]
        at_once = ds[small]
        expected = {name: value for name, value in expected.items() if name in ("", *small)}
    else:
        at_once = ds
    wrong = differing(at_once, expected) if expected else []
    if wrong:
        raise ValueError(
            f"path={os.fspath(path)!r} is damaged: {listed(wrong)} differ from what was saved; "
            "restore the file from a copy, or extract again"
        )
    return ds if is_lazy else validate(ds)


def _target(path: str | os.PathLike[str]) -> tuple[Path, str]:
    target = Path(path)
    for suffix in reversed(_SUFFIXES):
        if target.name.endswith(suffix):
            return target, suffix
    raise ValueError(f"path={os.fspath(path)!r} must end in one of {listed(_SUFFIXES)}")


def _check_attributes(ds: xr.Dataset) -> None:
    problems = []
    for owner, attributes in [("", ds.attrs), *((name, ds[name].attrs) for name in ds.variables)]:
        for name, value in attributes.items():
            if isinstance(value, bool) or not isinstance(value, str | int | float | np.number):
                where = f"{owner}.attrs" if owner else "attrs"
                problems.append(f"{where}[{name!r}] is {value!r}, a {type(value).__name__}")
    if problems:
        raise SchemaError(
            "attributes must be str, int or float to come back from a file as they were; "
            "json.dumps() makes a string of anything else:\n- " + "\n- ".join(problems)
        )


def _write(ds: xr.Dataset, path: Path, suffix: str) -> None:
    if suffix == ".nc":
        packed = {"zlib": True, "complevel": 1, "shuffle": True}
        numeric = [
            n for n, array in ds.variables.items() if array.ndim and array.dtype.kind in "fiu"
        ]
        ds.to_netcdf(path, engine="h5netcdf", encoding=dict.fromkeys(numeric, packed))
        return
    require("zarr", "zarr", f"writing {suffix}")
    folder = path if suffix == ".zarr" else path.with_name(path.name + ".folder")
    try:
        # Format 2 has a specification for strings and for consolidated metadata; 3 has neither.
        ds.to_zarr(folder, mode="w-", zarr_format=2, consolidated=True)
        if suffix == ".zarr.zip":
            _zip(folder, path)
    finally:
        if folder != path and folder.exists():
            shutil.rmtree(folder)


def _zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())


def _open(path: Path, suffix: str, chunks: Any) -> xr.Dataset:
    if suffix == ".nc":
        # h5netcdf, since netCDF4 crashes when several threads read.
        return xr.open_dataset(path, engine="h5netcdf", chunks=chunks)
    zarr = require("zarr", "zarr", f"reading {suffix}")
    store = zarr.storage.ZipStore(path, mode="r") if suffix == ".zarr.zip" else path
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated metadata.*")
        return xr.open_dataset(store, engine="zarr", chunks=chunks)
