"""A digest of every variable and attribute, by which a damaged file is told from a whole one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

_ATTRIBUTES = ""  # stands for the Dataset's own attributes among the names of variables


def digests(ds: xr.Dataset) -> dict[str, str]:
    """SHA-256 of each variable (dims, values, attributes) and of the Dataset's attributes.

    Computes lazy variables. Equal values have equal digests whatever file they came from.
    """
    found = {_ATTRIBUTES: hashlib.sha256(_text(ds.attrs)).hexdigest()}
    for name, variable in ds.variables.items():
        found[str(name)] = _of_variable(variable)
    return found


def differing(ds: xr.Dataset, expected: Mapping[str, str]) -> list[str]:
    """Names of the variables that are not as `expected`, and "attributes" if these are not."""
    found = digests(ds)
    names = [name for name in {**found, **expected} if found.get(name) != expected.get(name)]
    return [name or "attributes" for name in names]


def _of_variable(variable: xr.Variable) -> str:
    values = np.asarray(variable.values)
    is_text = values.dtype.kind in "UOT"
    kind = "string" if is_text else values.dtype.newbyteorder("<").str
    digest = hashlib.sha256(_text([variable.dims, values.shape, kind, variable.attrs]))
    if is_text:
        digest.update(_text(values.ravel().tolist()))
    else:
        digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _text(value: Any) -> bytes:
    return json.dumps(value, default=_plain, sort_keys=True).encode()


def _plain(value: Any) -> Hashable:
    """Turn NumPy's numbers and arrays into what JSON knows."""
    return value.tolist() if hasattr(value, "tolist") else repr(value)
