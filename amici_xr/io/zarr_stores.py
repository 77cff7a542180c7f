"""Zarr stores whose chunks carry checksums, with a SHA256SUMS of everything else."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Collection, Hashable, Iterator
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import xarray as xr
import zarr

from amici_xr.errors import RefusedFileError, listed
from amici_xr.io.atomic import read_version, remove
from amici_xr.io.study_files import (
    Opener,
    ShapeOfChunks,
    Wanted,
    change_groups,
    encoding_of,
    opener_of,
)

_SUMS = "SHA256SUMS"
# Codecs that compute and do nothing else; "pickle" runs what a file says.
_CODECS = {
    *("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"),
    *("adler32", "crc32", "crc32c", "fletcher32", "jenkins_lookup3"),
    *("bitround", "delta", "fixedscaleoffset", "packbits", "quantize", "shuffle"),
    *("bytes", "sharding_indexed", "transpose", "vlen-bytes", "vlen-utf8"),
}
_PLACES_OF_CODECS = {"filters", "compressor", "codecs", "index_codecs"}
_ATTEMPTS = 20


def write(
    data: xr.Dataset | xr.DataTree, path: Path, suffix: str, chunk_shape: ShapeOfChunks
) -> None:
    """Write a Dataset or a study to a path that does not exist yet, as a folder or zipped."""
    encoding = encoding_of(data, functools.partial(_encoding_of_variables, chunk_shape))
    folder = path if suffix == ".zarr" else path.with_name(path.name + ".folder")
    # Format 2 has a specification for strings and for consolidated metadata; 3 has neither.
    # Every chunk is written, so that one that is missing is known to be lost.
    options: dict[str, Any] = {"zarr_format": 2, "consolidated": True, "write_empty_chunks": True}
    try:
        data.to_zarr(folder, mode="w-", encoding=encoding, **options)
        files = _files_in(folder)
        (folder / _SUMS).write_bytes(_sums(files, lambda name: files[name].read_bytes()))
        if suffix == ".zarr.zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name, file in _files_in(folder).items():
                    archive.write(file, name)
    finally:
        if folder != path:
            remove(folder)


def _encoding_of_variables(
    chunk_shape: ShapeOfChunks, ds: xr.Dataset
) -> dict[Hashable, dict[str, Any]]:
    encoding: dict[Hashable, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        as_bytes = [numcodecs.VLenUTF8()] if variable.dtype.kind == "O" else []
        encoding[name] = {"filters": [*as_bytes, numcodecs.CRC32C()]}
        encoding[name] |= {"chunks": chunk_shape(variable)} if variable.ndim else {}
    return encoding


def read(path: Path, suffix: str, chunks: Any, wanted: Wanted = None) -> xr.Dataset | xr.DataTree:
    """Open a store, lazily or loaded, after its metadata have been checked.

    It is read again where another process replaces it meanwhile.
    """
    for _ in range(_ATTEMPTS):
        version = read_version(path)
        try:
            open_store = opener_of(_check_store(path, suffix), wanted)
            data = _open(open_store, path, suffix, chunks)
        except Exception:
            if read_version(path) == version:
                raise
        else:
            if read_version(path) == version:
                if suffix == ".zarr":
                    watch = functools.partial(_watch, path=path, version=version)
                    data = change_groups(data, watch)
                return data
    raise ValueError("other processes replace it again and again")


def _open(open_store: Opener, path: Path, suffix: str, chunks: Any) -> xr.Dataset | xr.DataTree:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated metadata.*")
        warnings.filterwarnings("ignore", message=f".*{_SUMS} is not recognized.*")
        store: Any = HeldZip(path) if suffix == ".zarr.zip" else path
        data = open_store(store, engine="zarr", cache=False, chunks=chunks)
    if chunks is None:
        with data:
            change_groups(data, xr.Dataset.load)
    return change_groups(data, _with_text_of_fixed_width)


def _with_text_of_fixed_width(ds: xr.Dataset) -> xr.Dataset:
    """Turn Zarr 3's text of any width, which few libraries take, into what NetCDF gives back."""
    texts = {
        name: variable.copy(data=np.asarray(variable.values, dtype=object).astype(str))
        for name, variable in ds.variables.items()
        if variable.dtype.kind == "T"
    }
    return ds.assign(texts)


class HeldZip(zarr.storage.ZipStore):
    """A zipped store that another process opens again only if it is still the same file."""

    def __init__(self, path: str | Path, version: Any = None) -> None:
        super().__init__(os.path.abspath(path), mode="r")
        getattr(self, "_sync_open", lambda: None)()  # Zarr 3 would open it when it is first read
        self._version = version or read_version(path)
        _pass_unreplaced(None, self.path, self._version)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self._version)


def _watch(ds: xr.Dataset, path: Path, version: Any) -> xr.Dataset:
    """Let every block that is read later tell whether the folder has been replaced since."""
    for name, variable in ds.variables.items():
        if variable.chunks is not None:
            kind = {"dtype": variable.dtype, "meta": variable.data._meta}
            checked = variable.data.map_blocks(_pass_unreplaced, path.absolute(), version, **kind)
            ds = ds.assign({name: variable.copy(data=checked)})
    return ds


def _pass_unreplaced(block: Any, path: str | Path, version: Any) -> Any:
    """Return the block if what lies at its path is still what was opened."""
    if read_version(path) != version:
        raise ValueError(f"path={str(path)!r} was replaced while it was open; open it again")
    return block


def _check_store(path: Path, suffix: str) -> list[str]:
    """Refuse a store that differs from its SHA256SUMS, lacks chunks, or could do harm.

    Returns the groups of a store whose root holds no arrays.
    """
    if suffix == ".zarr.zip":
        with zipfile.ZipFile(path) as archive:
            _check_files(archive.namelist(), archive.read)
            return _groups_at_root(archive.namelist(), archive.read)
    files = _files_in(path)
    if links := [name for name, file in files.items() if file.is_symlink()]:
        raise RefusedFileError(
            f"is refused: its {listed(links, 5)} are symbolic links, by which a store can make its "
            "reader open other files; copy it with what they point to (cp -rL)"
        )
    _check_files(files, lambda name: files[name].read_bytes())
    return _groups_at_root(files, lambda name: files[name].read_bytes())


def _groups_at_root(names: Collection[str], read_file: Callable[[str], bytes]) -> list[str]:
    kinds = {}
    for name in names:
        entry, _, file = name.partition("/")
        if file in (".zgroup", ".zarray"):
            kinds[entry] = file.removeprefix(".z")
        elif file == "zarr.json":
            kinds[entry] = json.loads(read_file(name)).get("node_type")
    if {"obs", "var"} <= kinds.keys() or "tables" in kinds:
        raise RefusedFileError(
            "is a tissue, an AnnData or SpatialData, and holds no scores; "
            "amici_xr.distance_response(path, labels_key) tests its pairs of cell types, and "
            "amici_xr.extract(model, adata=path) makes scores of it"
        )
    return sorted(kinds) if set(kinds.values()) == {"group"} else []


def _check_files(names: Collection[str], read_file: Callable[[str], bytes]) -> None:
    if _SUMS in names:
        lines = set(_sums(names, read_file).splitlines()) ^ set(read_file(_SUMS).splitlines())
        wrong = {line[66:].decode(errors="replace") for line in lines} or _missing(names, read_file)
        if wrong:
            raise RefusedFileError(
                f"is damaged: {listed(sorted(wrong), 5)} are missing or differ from what was "
                f"saved; restore it from a copy, or extract again; if you changed it yourself, "
                f"remove its {_SUMS}"
            )
    for name in names:
        if name.endswith((".zarray", ".zmetadata", "zarr.json")):
            codecs = set(_codec_names(json.loads(read_file(name)))) - _CODECS
            if codecs:
                raise RefusedFileError(
                    f"is refused: its {name!r} names the codec {listed(sorted(codecs))}, and some "
                    "codecs run what a file says; ask its author for one with Zarr's own codecs"
                )


def _files_in(folder: Path) -> dict[str, Path]:
    files = sorted(file for file in folder.rglob("*") if file.is_symlink() or not file.is_dir())
    return {file.relative_to(folder).as_posix(): file for file in files}


def _sums(names: Collection[str], read_file: Callable[[str], bytes]) -> bytes:
    """Write what ``sha256sum -c`` reads, of all files but chunks."""
    hashed = sorted(name for name in names if name.rpartition("/")[2].startswith(".z"))
    lines = (f"{hashlib.sha256(read_file(name)).hexdigest()}  {name}\n" for name in hashed)
    return "".join(lines).encode()


def _missing(names: Collection[str], read_file: Callable[[str], bytes]) -> set[str]:
    """Name the chunks that are not there; Zarr would take them for fill values."""
    expected = set()
    for name in names:
        if name.endswith("/.zarray"):
            array = json.loads(read_file(name))
            counts = -(-np.array(array["shape"], int) // np.array(array["chunks"], int))
            for position in np.ndindex(*counts):
                expected.add(name.removesuffix(".zarray") + (".".join(map(str, position)) or "0"))
    return expected - set(names)


def _codec_names(metadata: Any) -> Iterator[str]:
    """Name all codecs in metadata of Zarr's formats 2 and 3, wherever they stand."""
    items = metadata.items() if isinstance(metadata, dict) else [("", part) for part in metadata]
    for key, value in items:
        if key in _PLACES_OF_CODECS:
            for codec in filter(None, value if isinstance(value, list) else [value]):
                is_described = isinstance(codec, dict)
                name = codec.get("id", codec.get("name")) if is_described else codec
                yield str(name).removeprefix("numcodecs.")
        if isinstance(value, dict | list):
            yield from _codec_names(value)
