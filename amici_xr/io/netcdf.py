"""NetCDF files that carry a SHA-256 of themselves, checked before HDF5 reads a byte."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import xarray as xr

from amici_xr.errors import RefusedFileError
from amici_xr.io.atomic import read_version
from amici_xr.io.study_files import ShapeOfChunks, Wanted, change_groups, encoding_of, opener_of

# HDF5 ignores what follows its end. There stands a record: this word and the SHA-256 of all bytes
# before it; and once more, so far behind that one damaged page of a disk does not take both.
_MAGIC = b"\x93amici_xr sha256"
_DISTANCE = 8192
_RECORDS = _DISTANCE + len(_MAGIC) + 32  # bytes from the first record to the end of the second
_BUFFER = 2**20
_PROBE = 2**24  # bytes; more than a chunk


def write(
    data: xr.Dataset | xr.DataTree, path: Path, suffix: str, chunk_shape: ShapeOfChunks
) -> None:
    """Write a Dataset or a study to a path that does not exist yet, and the record after its end.

    The engine is netCDF4: where the disk is full, h5py ends the whole process.
    """
    encoding = encoding_of(data, functools.partial(_encoding_of_variables, chunk_shape))
    try:
        with _no_chunk_cache():
            data.to_netcdf(path, engine="netcdf4", encoding=encoding)
    except (OSError, RuntimeError):  # was it the disk? Then it refuses other bytes too, and why
        try:
            with path.open("ab") as file:
                file.write(bytes(_PROBE))
        finally:  # netCDF4 holds on to the file; its space is free at least
            path.write_bytes(b"")
        raise
    with path.open("rb+", buffering=0) as file:
        digest = _hash_until(file, path.stat().st_size)
        file.write(_records(digest))


@contextlib.contextmanager
def _no_chunk_cache() -> Iterator[None]:
    """Let netCDF4 keep no chunks, 64 MB of a variable by default: each is written once, whole."""
    before = netCDF4.get_chunk_cache()
    netCDF4.set_chunk_cache(0)
    try:
        yield
    finally:
        netCDF4.set_chunk_cache(*before)


def _encoding_of_variables(
    chunk_shape: ShapeOfChunks, ds: xr.Dataset
) -> dict[Hashable, dict[str, Any]]:
    encoding: dict[Hashable, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        if not variable.ndim:
            continue
        kind = variable.dtype.kind
        # HDF5 has no checksum for text of variable length; the record covers that too.
        encoding[name] = {"chunksizes": chunk_shape(variable), "fletcher32": kind not in "OUT"}
        if kind in "fiu":
            encoding[name] |= {"zlib": True, "complevel": 1, "shuffle": True}
    return encoding


def read(path: Path, suffix: str, chunks: Any, wanted: Wanted = None) -> xr.Dataset | xr.DataTree:
    """Open a file, lazily or loaded, after its record and its links have been checked.

    All is read from one open handle, so that what was checked is what is read, also where another
    process replaces the file. h5netcdf reads it, since netCDF4 crashes when several threads read.
    """
    file = HeldFile(path)
    start = file.read(4)
    if start[:3] == b"CDF":
        opener_of([], wanted)
        return _read_netcdf3(file, start, chunks)
    _check_record(file)
    with h5py.File(file, "r") as root:
        links: list[tuple[str, Any]] = []
        root.visititems_links(lambda *link: links.append(link))  # where h5py loses what is raised
        for name, link in links:
            _check_link(root, name, link)
        has_variables = any(isinstance(entry, h5py.Dataset) for entry in root.values())
        open_file = opener_of([] if has_variables else list(root), wanted)
    file.seek(0)
    data = open_file(file, engine="h5netcdf", cache=False, chunks=chunks)
    if chunks is None:
        with file, data:
            change_groups(data, xr.Dataset.load)
    return data


def _read_netcdf3(file: io.FileIO, start: bytes, chunks: Any) -> xr.Dataset:
    """Load a file of the older format, which is not compressed and knows no links."""
    if start[3:] not in (b"\1", b"\2"):
        raise RefusedFileError(
            "is a NetCDF 3 file with 64-bit data (CDF-5); open it with xarray.open_dataset(path, "
            "engine='netcdf4'), and save that with amici_xr.save"
        )
    file.seek(0)
    with file, xr.open_dataset(file, engine="scipy", cache=False) as ds:
        ds.load()
    return ds if chunks is None else ds.chunk(chunks)


class HeldFile(io.FileIO):
    """A file that is read from one open handle.

    Another process opens it again, if it is still the file that was opened here.
    """

    def __init__(self, path: str | os.PathLike[str], version: Any = None) -> None:
        super().__init__(path)
        self.path = os.path.abspath(path)
        self.version = read_version(self.fileno())
        if version not in (None, self.version):
            raise ValueError(f"path={self.path!r} was replaced while it was open; open it again")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.version)

    def __del__(self) -> None:
        """Close the file, without a warning where nobody did; a lazy Dataset has no end."""
        self.close()


def has_record(path: Path) -> bool:
    """Say whether `save` wrote the file, whole or damaged since."""
    with path.open("rb", buffering=0) as file:
        return _MAGIC in _end_of(file)[1]


def _end_of(file: io.FileIO) -> tuple[int, bytes]:
    """Return where the records begin, if there are any, and the bytes from there."""
    end = max(0, file.seek(0, os.SEEK_END) - _RECORDS)
    file.seek(end)
    return end, file.read()


def _check_record(file: io.FileIO) -> None:
    """Refuse a file that differs from its record. A file of plain xarray has none."""
    end, records = _end_of(file)
    if _MAGIC not in records:
        return
    if not any(records[at:].startswith(_MAGIC) for at in (0, _DISTANCE)):
        raise ValueError("its end is missing")
    if records != _records(_hash_until(file, end)):
        raise RefusedFileError(
            "is damaged: its SHA-256 is not that of the file that was saved; restore the file from "
            "a copy, or extract again"
        )


def _records(digest: bytes) -> bytes:
    return (_MAGIC + digest).ljust(_DISTANCE, b"\0") + _MAGIC + digest


def _hash_until(file: io.FileIO, end: int) -> bytes:
    """Compute the SHA-256 of the bytes of a file before `end`, and leave the position there."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_BUFFER))
    file.seek(0)
    while left := end - file.tell():
        digest.update(buffer[: file.readinto(buffer[:left])])
    return digest.digest()


def _check_link(root: h5py.File, name: str, link: Any) -> None:
    """Refuse a variable whose values lie in another file, or elsewhere in this one."""
    if not isinstance(link, h5py.HardLink):
        kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
    elif not isinstance(variable := root[name], h5py.Dataset):
        return
    else:
        kind = "a virtual dataset" if variable.is_virtual else "kept in external storage"
        if not (variable.is_virtual or variable.external):
            return
    raise RefusedFileError(
        f"is refused: its {name!r} is {kind}, by which a file can make its reader open others; ask "
        "its author for a file that holds its own values"
    )
