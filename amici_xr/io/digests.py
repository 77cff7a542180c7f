"""Digests of every variable, block by block, by which a damaged file is told from a whole one."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Digests = dict[str, list[str]]

_ATTRIBUTES = ""  # stands for the Dataset's own attributes among the names of variables
# By these files are read, so they go with the schema.
_CELLS = 2**15  # neighbors or receivers of a block
_BLOCK = 2**20  # elements of a block at most


def digests(ds: xr.Dataset) -> Digests:
    """SHA-256 of each variable: of dims, shape, kind and attributes, then of each block of values.

    The Dataset's own attributes come first, under the name "". Equal values have equal digests
    whatever file they came from. Of what is not loaded, one block at a time is.
    """
    found = {_ATTRIBUTES: [_hashed(_text(ds.attrs))]}
    for name, variable in ds.variables.items():
        blocks = (of_block(variable[at].values) for at in blocks_of(variable.dims, variable.shape))
        found[str(name)] = [of_header(variable), *blocks]
    return found


def differing(ds: xr.Dataset, expected: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of the variables that are not as `expected`, and "attributes" if these are not."""
    found = digests(ds)
    names = [name for name in {**found, **expected} if found.get(name) != expected.get(name)]
    return [name or "attributes" for name in names]


def of_header(variable: xr.Variable) -> str:
    """Digest of all that a variable has beside its values."""
    kind = "string" if _is_text(variable.dtype) else variable.dtype.newbyteorder("<").str
    return _hashed(_text([variable.dims, variable.shape, kind, variable.attrs]))


def of_block(values: NDArray[Any]) -> str:
    """Digest of the values of a block."""
    values = np.asarray(values)
    if _is_text(values.dtype):
        return _hashed(_text(values.ravel().tolist()))
    little = values.astype(values.dtype.newbyteorder("<"), order="C", copy=False)
    return _hashed(little.tobytes())


def block_shape(dims: Sequence[Hashable], shape: Sequence[int]) -> tuple[int, ...]:
    """How large blocks are.

    So many cells, alike in all variables; one query and run; and of the other dims, the last one
    first, what makes no more than `_BLOCK` elements.
    """
    fixed: dict[Hashable, int]
    fixed = {"neighbor": _CELLS, "receiver": _CELLS, "query": 1, "run": 1}
    lengths = [max(1, min(n, fixed.get(dim, n))) for dim, n in zip(dims, shape, strict=True)]
    others = [place for place, dim in enumerate(dims) if dim not in fixed]
    left = _BLOCK // math.prod(n for place, n in enumerate(lengths) if place not in others)
    for place in reversed(others):
        lengths[place] = max(1, min(lengths[place], left))
        left //= lengths[place]
    return tuple(lengths)


def blocks_of(dims: Sequence[Hashable], shape: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Where the blocks of an array lie, the last dim's first."""
    lengths = block_shape(dims, shape)
    counts = [math.ceil(size / length) for size, length in zip(shape, lengths, strict=True)]
    for position in np.ndindex(*counts):
        yield tuple(
            slice(at * length, min((at + 1) * length, size))
            for at, length, size in zip(position, lengths, shape, strict=True)
        )


def _is_text(dtype: Any) -> bool:
    return bool(dtype.kind in "UOT")


def _hashed(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _text(value: Any) -> bytes:
    return json.dumps(value, default=_plain, sort_keys=True).encode()


def _plain(value: Any) -> Hashable:
    """Turn NumPy's numbers and arrays into what JSON knows."""
    return value.tolist() if hasattr(value, "tolist") else repr(value)
