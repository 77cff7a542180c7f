"""Paths as people write them, and what may be replaced at one."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Collection
from pathlib import Path

import h5py
import pandas as pd

from amici_xr.dataset.kinds import BESIDE_QUERY, KIND, QUERY_NAMES
from amici_xr.dataset.study import STUDY
from amici_xr.dependencies import require
from amici_xr.errors import listed
from amici_xr.io.netcdf import has_record

TABLES = (".csv", ".csv.gz", ".parquet")
_METADATA_OF_ZARR = {".zgroup", ".zattrs", ".zmetadata", "zarr.json"}


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Return the path, with the user's home folder in the place of a ``~`` that it starts with."""
    return Path(os.path.expanduser(path))


def check_replaceable(target: Path, suffix: str) -> None:
    """Refuse to replace what is neither scores nor an answer about them; an empty file may go."""
    if suffix != ".zarr" and target.is_dir():
        raise ValueError(f"path={str(target)!r} is a folder; remove it, or choose another name")
    if not target.exists() or (target.is_file() and not target.stat().st_size):
        return
    if suffix == ".nc" and has_record(target):  # also where the rest is damaged
        return
    names = _names_in(target, suffix)
    if suffix == ".zarr" and names and not names & _METADATA_OF_ZARR:
        raise ValueError(
            f"path={str(target)!r} is not a Zarr store; remove it, or choose another name"
        )
    if _is_study(target, suffix):
        return
    names -= _METADATA_OF_ZARR
    if names and not (names & QUERY_NAMES and names & BESIDE_QUERY):
        holds = f"holds {listed(sorted(names), 5)}, which is"
        raise ValueError(
            f"path={str(target)!r} {holds if any(names) else 'is'} neither scores of amici_xr, "
            "an answer about them nor a study that it saved, so it is not replaced; remove it, or "
            "choose another name"
        )


def _is_study(path: Path, suffix: str) -> bool:
    """Tell whether a file without a record of `save` says that it is a study."""
    try:
        if suffix == ".nc":
            with h5py.File(path, "r") as root:
                kind = root.attrs.get(KIND, b"")  # netCDF4 writes bytes
                return (kind.decode() if isinstance(kind, bytes) else kind) == STUDY[KIND]
        folder = path if suffix == ".zarr" else zipfile.Path(path)
        attributes = json.loads((folder / ".zattrs").read_text("utf-8"))
        return bool(attributes.get(KIND) == STUDY[KIND])
    except (OSError, KeyError, ValueError, AttributeError, zipfile.BadZipFile):
        return False


def refuse_folder(path: str | os.PathLike[str], present: Collection[str]) -> None:
    """Refuse to write a folder where there is a file, or one that holds what stands there."""
    kind = f"a folder that holds {listed(present, 5)}" if present else "a file"
    raise FileExistsError(
        f"path={os.fspath(path)!r} is {kind}; give a folder that is empty, or not there yet"
    )


def _names_in(path: Path, suffix: str) -> set[str]:
    """Return the variables or columns of a file; one without a name where it can't be read."""
    try:
        if suffix == ".nc":
            with h5py.File(path, "r") as root:
                return set(root)
        if suffix == ".parquet":
            parquet = require("pyarrow.parquet", "parquet", "reading .parquet")
            return set(parquet.read_schema(path).names)
        if suffix in (".csv", ".csv.gz"):
            return {str(name) for name in pd.read_csv(path, nrows=0).columns}
        folder = path if suffix == ".zarr" else zipfile.Path(path)
        return {entry.name for entry in folder.iterdir()}
    except ModuleNotFoundError:
        raise
    except Exception:  # each library has errors of its own for a file that is none of its kind
        return {""}
