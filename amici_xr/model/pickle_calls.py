"""The calls that the pickle of a saved model makes, with the arguments it makes them with."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_DTYPE = re.compile(r"[|<>]?(b1|[iu][1248]|f[248]|c8|c16|O8|[SU][0-9]{1,6})")


@dataclass(frozen=True)
class Global:
    """A class or function, by its name."""

    name: str


@dataclass(frozen=True)
class Made:
    """What a call would have made: its kind and its size."""

    kind: str
    size: int = 0
    letter: str = ""  # of a dtype


def is_size(value: Any) -> bool:
    """Whether a value is a whole number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _need(is_so: bool) -> None:
    if not is_so:
        raise TypeError


def inert(*_: Any) -> Made:
    """What stands for any object of pandas or pyarrow."""
    return Made("inert")


def _empty_dict(*_: Any) -> Made:
    return Made("dict")


def _ordered_dict() -> Made:
    return Made("dict")


def _encoded(text: str, encoding: str) -> Made:
    _need(encoding == "latin1")
    return Made("bytes", len(text))


def _no_bytes() -> Made:
    return Made("bytes")


def _byte_array(raw: Made | None = None) -> Made:
    """The buffers of pyarrow, in which pandas 3 keeps text; from a number it would be any size."""
    _need(raw is None or raw.kind == "bytes")
    return raw or Made("bytes")


def _array(kind: Global, shape: tuple[int, ...], letter: Any) -> Made:
    _need(kind.name == "numpy.ndarray")
    _need(shape == (0,))
    return Made("array")


def _dtype(text: str, align: Any, copy: Any) -> Made:
    found = _DTYPE.fullmatch(text)
    _need(found is not None and align is False and copy is True)
    assert found is not None  # for the type checker
    letter, size = found[1][0], int(found[1][1:])
    return Made("dtype", 4 * size if letter == "U" else size, letter)


def _scalar(dtype: Made, raw: Made) -> Made:
    _need(dtype.kind == "dtype")
    _need(raw.kind == "bytes")
    _need(dtype.letter != "O" and raw.size == dtype.size)
    return Made("scalar", raw.size)


def _slice(*bounds: Any) -> Made:
    _need(all(bound is None or isinstance(bound, int) for bound in bounds))
    return Made("slice")


def _tensor(storage: Made, offset: int, shape: Any, strides: Any, *_: Any) -> Made:
    _need(storage.kind == "storage")
    _need(all(is_size(n) for n in (offset, *shape, *strides)))
    _need(math.prod(shape) <= storage.size)  # else it would repeat its numbers
    return Made("tensor")


def _parameter(tensor: Made, *_: Any) -> Made:
    _need(tensor.kind == "tensor")
    return tensor


CALLS: dict[str, Callable[..., Made]] = {
    "_codecs.encode": _encoded,
    "builtins.bytearray": _byte_array,
    "builtins.bytes": _no_bytes,
    "builtins.dict": _empty_dict,
    "builtins.slice": _slice,
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _empty_dict,
    "numpy.core.multiarray._reconstruct": _array,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.dtype": _dtype,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_tensor_v2": _tensor,
}
