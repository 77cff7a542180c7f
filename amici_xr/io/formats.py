"""The three formats of a file, each told by its suffix."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from amici_xr.dependencies import require
from amici_xr.errors import listed
from amici_xr.io import netcdf
from amici_xr.io.paths import expand_home

SUFFIXES = (".nc", ".zarr", ".zarr.zip")


def parse_path(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return the path and which of the three suffixes it has."""
    target = expand_home(path)
    for suffix in reversed(SUFFIXES):
        if target.name.endswith(suffix):
            return target, suffix
    raise ValueError(f"path={os.fspath(path)!r} must end in one of {listed(SUFFIXES)}")


def format_of(suffix: str, task: str) -> Any:
    """Import the module that writes and reads files with that suffix."""
    if suffix == ".nc":
        return netcdf
    require("zarr", "zarr", f"{task} {suffix}")
    return importlib.import_module("amici_xr.io.zarr_stores")
