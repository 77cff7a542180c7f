"""Import optional dependencies, with an installation hint."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import sys
from typing import Any, TextIO

from packaging.requirements import Requirement


def require(module: str, extra: str, task: str) -> Any:
    """Import `module`, or raise an error that names the extra and the task that needs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name not in (module, package):  # a dependency of the module is missing
            raise
        raise ModuleNotFoundError(
            f"{task} needs {package}: pip install 'amici-xr[{extra}]'", name=error.name
        ) from error


def show_versions(file: TextIO | None = None) -> None:
    """Print the versions of Python, this package and its dependencies, for bug reports.

    Nothing is imported: an installed package that can't be imported is listed with its version.

    Parameters
    ----------
    file
        Where to print; None prints to the screen.

    Examples
    --------
    >>> import amici_xr
    >>> amici_xr.show_versions()
    amici_xr:     ...
    python:       3...
    """
    out = sys.stdout if file is None else file
    rows = {
        "amici_xr": _version("amici-xr"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine() or "unknown",
    }
    rows |= {name: _version(name) for name in _list_dependencies()}
    width = max(map(len, rows)) + 1
    for name, version in rows.items():
        print(f"{name + ':':<{width}} {version}", file=out)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _list_dependencies() -> list[str]:
    """List the dependencies of this package and of its extras for users, in their order."""
    every_extra = importlib.metadata.metadata("amici-xr").get_all("Provides-Extra") or []
    extras = {"", *every_extra} - _EXTRAS_FOR_DEVELOPERS
    names = [
        requirement.name
        for requirement in map(Requirement, importlib.metadata.requires("amici-xr") or ())
        if requirement.marker is None
        or any(requirement.marker.evaluate({"extra": extra}) for extra in extras)
    ]
    return list(dict.fromkeys([*names, *_OFTEN_BESIDE]))


_EXTRAS_FOR_DEVELOPERS = {"test", "dev", "docs"}
_OFTEN_BESIDE = ("amici-st", "scvi-tools", "cf_xarray", "distributed")  # optional companions
