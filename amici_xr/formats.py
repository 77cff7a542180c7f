"""The three kinds of file: how each is written and read, and where its digest lies."""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from .disk import DeferredErrorFile
from .errors import listed
from .optional import require
from .replacing import remove

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


def write(ds: xr.Dataset, path: Path, suffix: str, digests: Mapping[str, str]) -> None:
    """Write the Dataset with its digests to a path that does not exist yet."""
    if suffix == ".nc":
        _write_netcdf(ds, path, digests)
        return
    require("zarr", "zarr", f"writing {suffix}")
    folder = path if suffix == ".zarr" else path.with_name(path.name + ".folder")
    try:
        # Format 2 has a specification for strings and for consolidated metadata; 3 has neither.
        ds.to_zarr(folder, mode="w-", zarr_format=2, consolidated=True)
        (folder / _DIGEST).write_text(json.dumps(digests))
        if suffix == ".zarr.zip":
            _zip(folder, path)
    finally:
        if folder != path:
            remove(folder)


def read(path: Path, suffix: str, chunks: Any) -> tuple[xr.Dataset, dict[str, str]]:
    """Open the Dataset, lazily, and read its digests; none where plain xarray wrote the file."""
    if suffix == ".nc":
        digests = _read_netcdf_digests(path)
        # h5netcdf, since netCDF4 crashes when several threads read.
        return xr.open_dataset(path, engine="h5netcdf", chunks=chunks), digests
    zarr = require("zarr", "zarr", f"reading {suffix}")
    store = zarr.storage.ZipStore(path, mode="r") if suffix == ".zarr.zip" else path
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated metadata.*")
        warnings.filterwarnings("ignore", message=f".*{_DIGEST} is not recognized.*")
        ds = xr.open_dataset(store, engine="zarr", chunks=chunks)
    return ds, _read_zarr_digests(path, suffix)


def _write_netcdf(ds: xr.Dataset, path: Path, digests: Mapping[str, str]) -> None:
    import h5netcdf

    packed = {"zlib": True, "complevel": 1, "shuffle": True}
    numeric = [n for n, array in ds.variables.items() if array.ndim and array.dtype.kind in "fiu"]
    with DeferredErrorFile(path) as disk:
        with h5netcdf.File(disk, "w") as file:
            ds.dump_to_store(
                xr.backends.H5NetCDFStore(file), encoding=dict.fromkeys(numeric, packed)
            )
            file.create_group(_DIGEST).attrs["sha256"] = json.dumps(digests)
        disk.raise_error()


def _read_netcdf_digests(path: Path) -> dict[str, str]:
    import h5netcdf

    with h5netcdf.File(path, "r") as file:
        return _loaded(file[_DIGEST].attrs["sha256"]) if _DIGEST in file.groups else {}


def _read_zarr_digests(path: Path, suffix: str) -> dict[str, str]:
    if suffix == ".zarr":
        file = path / _DIGEST
        return _loaded(file.read_text()) if file.exists() else {}
    with zipfile.ZipFile(path) as archive:
        return _loaded(archive.read(_DIGEST).decode()) if _DIGEST in archive.namelist() else {}


def _loaded(text: str) -> dict[str, str]:
    digests = json.loads(text)
    if not isinstance(digests, dict) or not digests:
        raise ValueError("its digest is damaged")
    return digests


def _zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())
