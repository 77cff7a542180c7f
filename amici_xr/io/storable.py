"""What a file gives back as it was: names, attributes and kinds of values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from amici_xr.errors import SchemaError

_NAMES = "names must be text without '/' and NUL"
# With these, files and their readers say how values are stored; as attributes they change values,
# or are lost, or stop the writing half-way.
_USED_BY_FILES = {
    *("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "dtype"),
    *("coordinates", "_ARRAY_DIMENSIONS", "CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"),
    *("_NCProperties", "_Netcdf4Dimid", "_Netcdf4Coordinates", "_nc3_strict"),
}


def check_storable(ds: xr.Dataset) -> None:
    """Refuse attributes and kinds of values that would not come back from a file as they were."""
    problems = []
    for owner, attributes in [("", ds.attrs), *((name, ds[name].attrs) for name in ds.variables)]:
        where = f"{owner}.attrs" if owner else "attrs"
        for name, value in attributes.items():
            problems += [f"{where}{problem}" for problem in _attribute_problems(name, value)]
    for name, variable in ds.variables.items():
        if not _is_storable_name(name):
            problems.append(f"a variable has the name {name!r}; {_NAMES}")
        problems += [f"{name} {problem}" for problem in _variable_problems(variable)]
    if problems:
        raise SchemaError("what a file can't hold:\n- " + "\n- ".join(problems))


def _attribute_problems(name: Any, value: Any) -> Iterator[str]:
    if not _is_storable_name(name):
        yield f" has the name {name!r}; {_NAMES}"
    elif name in _USED_BY_FILES:
        yield f" has the name {name!r}, which files use themselves; rename it"
    if not _is_storable_value(value):
        yield (
            f"[{name!r}] is {value!r}, a {type(value).__name__}; attributes must be "
            "str without NUL, int of 64 bits or float of 32 or 64; json.dumps() makes a str of "
            "others"
        )
    elif name == "units" and isinstance(value, str) and "since" in value:
        yield (
            f"['units'] is {value!r}, by which files mark dates, so that numbers would come back "
            "as dates; rename it, or make the numbers datetime64"
        )


def _variable_problems(variable: xr.Variable) -> Iterator[str]:
    if not isinstance(variable.dtype, np.dtype) or variable.dtype.kind not in "biufcmMUTO":
        yield f"has dtype {variable.dtype}; cast it, e.g. with astype(str)"
    elif variable.dtype.kind in "fc" and variable.dtype.name not in ("float32", "float64"):
        yield f"has dtype {variable.dtype}, which NetCDF lacks; cast it with astype('float32')"
    elif variable.dtype.kind in "UTO":
        values = variable.values.ravel()
        if variable.dtype.kind == "O" and not all(isinstance(value, str) for value in values):
            yield "holds objects that are no strings; cast it with astype(str)"
            return
        if variable.dtype.kind == "U":
            values = values[_may_be_strange(values)]
        strange = next((value for value in values if not _is_storable_text(value)), None)
        if strange is not None:
            yield f"holds {str(strange)!r}, which has NUL or half a character in it; replace that"


def _may_be_strange(texts: np.ndarray) -> np.ndarray:
    """Say of each text whether NUL stands in it, or half a character: of millions, all at once."""
    width = texts.dtype.itemsize // 4
    codes = texts.astype(f"=U{width}").view(np.uint32).reshape(texts.size, width)
    is_strange = (codes >= 0xD800) & (codes <= 0xDFFF)
    is_strange[:, :-1] |= (codes[:, :-1] == 0) & (codes[:, 1:] != 0)  # NUL, and text after it
    return np.asarray(is_strange.any(axis=1))


def _is_storable_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name) and "/" not in name and _is_storable_text(name)


def _is_storable_value(value: Any) -> bool:
    if isinstance(value, str):
        return _is_storable_text(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return -(2**63) <= int(value) < 2**63
    return isinstance(value, float | np.float32)  # NetCDF lacks those of other widths


def _is_storable_text(text: str) -> bool:
    return "\0" not in text and text.encode(errors="ignore").decode() == text
