"""The three kinds of file: how each is written and read, and where its digest lies."""

from __future__ import annotations

import json
import os
import threading
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from amici_xr.dependencies import require
from amici_xr.errors import listed
from amici_xr.io.atomic import remove
from amici_xr.io.block_writing import write_blocks
from amici_xr.io.digests import Digests, block_shape, digests
from amici_xr.io.hdf5_file import DeferredErrorFile

SUFFIXES = (".nc", ".zarr", ".zarr.zip")
# Beside the data, where xarray does not look: as an attribute it would go on, unnoticed and untrue,
# into every file that is made of the Dataset later.
_DIGEST = "_amici_xr_digest"


def parsed(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """The path and which of the three suffixes it has."""
    target = Path(path)
    for suffix in reversed(SUFFIXES):
        if target.name.endswith(suffix):
            return target, suffix
    raise ValueError(f"path={os.fspath(path)!r} must end in one of {listed(SUFFIXES)}")


def check_replaceable(target: Path, suffix: str) -> None:
    """Refuse to put a file in the place of a folder, or a store in the place of something else."""
    if suffix != ".zarr" and target.is_dir():
        raise ValueError(f"path={str(target)!r} is a folder; remove it, or choose another name")
    if suffix == ".zarr" and target.exists():
        parts = {entry.name for entry in target.iterdir()} if target.is_dir() else {""}
        if parts and not parts & {".zgroup", "zarr.json"}:
            raise ValueError(
                f"path={str(target)!r} is no Zarr store; remove it, or choose another name"
            )


def write(ds: xr.Dataset, path: Path, suffix: str) -> Digests:
    """Write the Dataset to a path that does not exist yet; lazy numbers block by block.

    Returns the digests of what was written, which lie in the file too.
    """
    lazy = {str(n): v for n, v in ds.variables.items() if v.chunks is not None}
    found = digests(ds.drop_vars(lazy))
    if suffix == ".nc":
        _write_netcdf(ds, lazy, path, found)
        return found
    require("zarr", "zarr", f"writing {suffix}")
    folder = path if suffix == ".zarr" else path.with_name(path.name + ".folder")
    try:
        _write_zarr(ds, lazy, folder, found)
        if suffix == ".zarr.zip":
            _zip(folder, path)
    finally:
        if folder != path:
            remove(folder)
    return found


def read(path: Path, suffix: str) -> tuple[xr.Dataset, Digests]:
    """Open the Dataset, lazily, and read its digests; none where plain xarray wrote the file."""
    if suffix == ".nc":
        # h5netcdf, since netCDF4 crashes when several threads read.
        return xr.open_dataset(path, engine="h5netcdf", cache=False), _read_netcdf_digests(path)
    zarr = require("zarr", "zarr", f"reading {suffix}")
    store = zarr.storage.ZipStore(path, mode="r") if suffix == ".zarr.zip" else path
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated metadata.*")
        warnings.filterwarnings("ignore", message=f".*{_DIGEST} is not recognized.*")
        ds = xr.open_dataset(store, engine="zarr", chunks=None, cache=False)
    return ds, _read_zarr_digests(path, suffix)


def _write_netcdf(
    ds: xr.Dataset, lazy: Mapping[str, xr.Variable], path: Path, found: Digests
) -> None:
    import h5netcdf
    import h5py

    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    eager = {name: array for name, array in ds.drop_vars(lazy).variables.items() if array.ndim}
    encoding = {
        name: {"chunksizes": block_shape(array.dims, array.shape)}
        | (packed if array.dtype.kind in "fiu" else {})
        for name, array in eager.items()
    }
    with DeferredErrorFile(path) as disk:
        with h5netcdf.File(disk, "w") as file:
            ds.drop_vars(lazy).dump_to_store(
                xr.backends.H5NetCDFStore(file),
                encoding=encoding,
            )
            targets = {
                name: _netcdf_variable(file, name, variable, packed)
                for name, variable in lazy.items()
            }
            found.update(write_blocks(lazy, targets, threading.Lock()))
            text = file.create_group(_DIGEST).create_variable("sha256", (), h5py.string_dtype())
            text[()] = json.dumps(found)
        disk.raise_error()


def _netcdf_variable(file: Any, name: str, variable: xr.Variable, packed: dict[str, Any]) -> Any:
    """Make a variable that holds nothing yet."""
    for dim, size in variable.sizes.items():
        if dim not in file.dimensions:
            file.dimensions[dim] = size
    layout = (
        {"chunks": block_shape(variable.dims, variable.shape)} | packed if variable.ndim else {}
    )
    made = file.create_variable(name, variable.dims, variable.dtype, **layout)
    made.attrs.update(variable.attrs)
    return made


def _write_zarr(
    ds: xr.Dataset, lazy: Mapping[str, xr.Variable], folder: Path, found: Digests
) -> None:
    import zarr

    chunks = {
        n: {"chunks": block_shape(array.dims, array.shape)} for n, array in ds.variables.items()
    }
    encoding = {name: one for name, one in chunks.items() if one["chunks"]}
    # Format 2 has a specification for strings and for consolidated metadata; 3 has neither.
    ds.to_zarr(
        folder, mode="w-", zarr_format=2, consolidated=True, compute=False, encoding=encoding
    )
    group = zarr.open_group(folder, mode="r+")
    found.update(write_blocks(lazy, {name: group[name] for name in lazy}, None))
    (folder / _DIGEST).write_text(json.dumps(found))


def _read_netcdf_digests(path: Path) -> Digests:
    import h5netcdf

    with h5netcdf.File(path, "r") as file:
        if _DIGEST not in file.groups:
            return {}
        text = file[_DIGEST].variables["sha256"][()]
        return _loaded(text.decode() if isinstance(text, bytes) else text)


def _read_zarr_digests(path: Path, suffix: str) -> Digests:
    if suffix == ".zarr":
        file = path / _DIGEST
        return _loaded(file.read_text()) if file.exists() else {}
    with zipfile.ZipFile(path) as archive:
        return _loaded(archive.read(_DIGEST).decode()) if _DIGEST in archive.namelist() else {}


def _loaded(text: str) -> Digests:
    found = json.loads(text)
    if not isinstance(found, dict) or not found:
        raise ValueError("its digest is damaged")
    return found


def _zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())
