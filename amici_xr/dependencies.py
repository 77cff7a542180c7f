"""Imports of what only some tasks need, with a word on how to install it."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import re
import sys
from typing import Any, TextIO


def require(module: str, extra: str, task: str) -> Any:
    """Import `module`, or say which extra brings it and what it is needed for."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name not in (module, package):  # there, but something that it needs itself is not
            raise
        raise ModuleNotFoundError(
            f"{task} needs {package}: pip install 'amici-xr[{extra}]'", name=error.name
        ) from error


def show_versions(file: TextIO | None = None) -> None:
    """Print the versions of Python, this package and all that it may use.

    Put what it prints into the report of a fault. Nothing is imported for it: an installed package
    that can't be imported is listed with its version all the same.

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
        "machine": platform.machine() or "not known",
    }
    rows |= {name: _version(name) for name in _dependencies()}
    width = max(map(len, rows)) + 1
    for name, version in rows.items():
        print(f"{name + ':':<{width}} {version}", file=out)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _dependencies() -> list[str]:
    """Names of what this package needs, and of what its extras bring for users, in their order."""
    names = []
    for line in importlib.metadata.requires("amici-xr") or ():
        requirement, _, marker = line.partition(";")
        name = re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0]
        extra = re.search(r"""extra\s*==\s*["']([\w-]+)["']""", marker)
        if extra is None or extra[1] not in _OF_DEVELOPERS:
            names.append(name)
    return list(dict.fromkeys([*names, *_BESIDE]))


_OF_DEVELOPERS = ("test", "dev", "docs")
_BESIDE = ("amici-st", "scvi-tools", "cf_xarray", "distributed")  # not needed, but they meet ours
