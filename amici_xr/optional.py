"""Imports of what only some tasks need, with a word on how to install it."""

from __future__ import annotations

import importlib
from typing import Any


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
