"""How content is put into the page: as JSON that holds arrays, compressed."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEPS = 65_534  # of a share, in uint16
_MISSING = 65_535


@dataclass(frozen=True)
class Shares:
    """Values from 0 to 1, or NaN, that a page shows: kept to 1/131,068, in two bytes each."""

    values: NDArray[np.floating[Any]]


def pack(text: str) -> str:
    """Compress text, in letters that can stand in a script element."""
    return base64.b64encode(gzip.compress(text.encode("utf-8"), mtime=0)).decode("ascii")


def to_json(content: Any) -> str:
    """Return JSON that can stand in a script element, which nothing ends without a ``<``."""
    return json.dumps(content, default=_encode).replace("<", "\\u003c")


def _encode(value: Any) -> dict[str, Any]:
    if not isinstance(value, Shares):
        return _encode_array(value)
    steps = np.nan_to_num(np.rint(value.values * _STEPS), nan=_MISSING)
    return _encode_array(steps.astype(np.uint16)) | {"dtype": "share"}


def _encode_array(array: Any) -> dict[str, Any]:
    """Encode an array to the last bit; its strings as positions in their sorted list."""
    if array.dtype.kind in "UO":
        names, codes = np.unique(array.astype(str), return_inverse=True)
        return {"names": names.tolist(), "codes": _encode_array(codes.astype(np.int32))}
    ordered = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(ordered.tobytes()).decode("ascii"),
    }
