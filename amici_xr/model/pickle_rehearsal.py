"""What a pickle would do, found out without doing it: names, and how much memory."""

from __future__ import annotations

import math
import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amici_xr.model.pickle_calls import CALLS, Global, Made, inert, is_size

_DEEPEST = 5  # tuples in tuples
_SLACK = 2**20  # bytes and elements that may be made beside those that the file itself holds
# Nothing of these is made: tables, and the constraint that Pyro keeps beside each of its parameters
# (scvi-tools' other models), so that a file with them is read, or told to be no AMICI model.
INERT = ("pandas.", "pyarrow.", "torch.distributions.constraints._Real")


def globals_named(pickled: bytes) -> set[str]:
    """Every class and function that a pickle names, in whichever way.

    Raises
    ------
    ValueError
        If the bytes are no pickle.
    """
    names, texts = set(), ["", ""]
    for opcode, argument, _ in pickletools.genops(pickled):
        if isinstance(argument, str) and "UNICODE" in opcode.name:
            texts = [texts[-1], argument]
        if opcode.name in ("GLOBAL", "INST"):
            names.add(_full_name(str(argument)))
        elif opcode.name == "STACK_GLOBAL":
            names.add(".".join(texts))
    return names


def rehearse(pickled: bytes, element_sizes: Mapping[str, int], stored: Mapping[str, int]) -> None:
    """Go through a pickle without making anything that it asks for, and refuse what no model does.

    What torch itself would let through can still take all memory or never end: a small file may
    ask for an array of any size, or copy what it holds again and again. So each call has to be
    one that a saved model makes, and all of them together may not make more than some times what
    the pickle itself holds.

    Parameters
    ----------
    pickled
        The pickle.
    element_sizes
        Bytes of an element of each kind of storage, by the name of its class.
    stored
        Bytes of the numbers that lie beside the pickle, by their key.

    Raises
    ------
    ValueError
        If it asks for anything that a saved model does not.
    """
    _Rehearsal(4 * len(pickled) + _SLACK, element_sizes, stored).run(pickled)


def _full_name(argument: str) -> str:
    module, _, name = argument.partition(" ")
    return f"{'builtins' if module == '__builtin__' else module}.{name}"


class _Tuple(tuple[Any, ...]):
    """A tuple that knows how deep it is."""

    depth = 1


@dataclass
class _Container:
    """A list or dict, of which only the length is known."""

    length: int = 0


_MADE_EMPTY = {"EMPTY_LIST": _Container, "EMPTY_DICT": _Container, "EMPTY_TUPLE": _Tuple}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING")
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Rehearsal:
    def __init__(
        self, budget: int, element_sizes: Mapping[str, int], stored: Mapping[str, int]
    ) -> None:
        self._left, self._element_sizes, self._stored = budget, element_sizes, stored
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # what was on the stack at each mark
        self._memo: dict[int, Any] = {}

    def run(self, pickled: bytes) -> None:
        try:
            for opcode, argument, _ in pickletools.genops(pickled):
                self._step(opcode.name, argument)
        except (IndexError, KeyError, TypeError) as error:
            raise ValueError(f"its pickle is not whole ({error})") from error

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _MADE_EMPTY:
            stack.append(_MADE_EMPTY[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "GLOBAL":
            stack.append(Global(_full_name(argument)))
        elif name == "MARK":
            self._below.append(stack)
            self._stack = []
        elif name in _TUPLES:
            n = _TUPLES[name]
            if len(stack) < n:
                raise ValueError("its pickle is not whole")
            stack[-n:] = [self._tuple(stack[-n:])]
        elif name == "TUPLE":
            items = self._from_mark()
            self._stack.append(self._tuple(items))
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            self._fill(name)
        elif name in ("REDUCE", "NEWOBJ", "BUILD", "BINPERSID"):
            self._make(name)
        elif name not in ("PROTO", "STOP"):
            raise ValueError(f"its pickle holds {name}, which torch does not write")

    def _from_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _tuple(self, items: list[Any]) -> _Tuple:
        """A tuple, of bounded depth: one that holds another twice, and so on, is never done."""
        made = _Tuple(items)
        made.depth = 1 + max((item.depth for item in items if isinstance(item, _Tuple)), default=0)
        if made.depth > _DEEPEST:
            raise ValueError("its pickle nests tuples deeper than a model does")
        self._charge(len(items))
        return made

    def _fill(self, name: str) -> None:
        items = self._from_mark() if name.endswith("S") else None
        is_dict = name.startswith("SETITEM")
        if items is None:
            n = 2 if is_dict else 1
            items = self._stack[-n:]
            del self._stack[-n:]
        target = self._stack[-1]
        if is_dict and not all(_is_plain(key) for key in items[::2]):
            raise ValueError("its pickle has keys that are no names")
        if isinstance(target, _Container):
            target.length += len(items)
        elif not is_dict or getattr(target, "kind", None) not in ("dict", "inert"):
            raise ValueError("its pickle fills what can't be filled")

    def _make(self, name: str) -> None:
        argument = self._stack.pop()
        if name == "BINPERSID":
            self._stack.append(self._storage(argument))
            return
        target = self._stack[-1]
        if name == "BUILD":
            self._build(target, argument)
            return
        if not isinstance(target, Global) or not isinstance(argument, tuple):
            raise ValueError("its pickle calls what is no function")
        makes = inert if target.name.startswith(INERT) else CALLS.get(target.name)
        if makes is None or (name == "NEWOBJ" and makes is not inert):
            raise ValueError(f"its pickle calls {target.name} as no model does")
        try:
            made = makes(*argument)
        except (TypeError, AttributeError):
            raise ValueError(f"its pickle calls {target.name} as no model does") from None
        self._charge(made.size if made.kind == "bytes" else 1)
        self._stack[-1] = made

    def _storage(self, pid: Any) -> Made:
        kind, storage, key, _, n_elements = pid
        size = self._element_sizes.get(storage.name) if isinstance(storage, Global) else None
        if kind != "storage" or not isinstance(key, str) or size is None:
            raise ValueError("its pickle has numbers that are of no known kind")
        if not is_size(n_elements) or n_elements * size != self._stored.get(key):
            raise ValueError(
                f"it says that data/{key} holds {n_elements!r} numbers of {size} bytes, and that "
                f"has {self._stored.get(key, 'no')} bytes"
            )
        return Made("storage", n_elements)

    def _build(self, target: Any, state: Any) -> None:
        kind = getattr(target, "kind", None)
        if kind == "array":
            version, shape, dtype, _, raw = state
            n_elements = math.prod(shape) if all(map(is_size, shape)) else -1
            of_objects = dtype.letter == "O"
            size = raw.length if isinstance(raw, _Container) else raw.size
            is_whole = size == n_elements * (1 if of_objects else dtype.size)
            if version != 1 or not is_whole or isinstance(raw, _Container) != of_objects:
                raise ValueError("its pickle has an array that NumPy did not write")
            self._charge(size)
        elif kind == "dtype":
            version, order, *rest = state
            if version != 3 or order not in ("<", ">", "|") or tuple(rest) not in _endings(target):
                raise ValueError("its pickle has a dtype that is no number's or text's")
        elif kind == "dict" and isinstance(state, _Container):
            self._charge(state.length)
        elif kind != "inert":
            raise ValueError("its pickle changes what can't be changed")

    def _charge(self, amount: int) -> None:
        self._left -= amount
        if self._left < 0:
            raise ValueError("its pickle asks for more memory than its content needs")


def _is_plain(key: Any) -> bool:
    return key is None or isinstance(key, str | bytes | int | float)


def _endings(dtype: Made) -> list[tuple[Any, ...]]:
    """What follows the byte order in the state of a dtype as NumPy writes it.

    Sizes and flags say where pointers lie, so others than these must not come from a file.
    """
    plain = (None, None, None)
    if dtype.letter == "O":
        return [(*plain, -1, -1, 63)]
    if dtype.letter == "U":
        return [(*plain, dtype.size, 4, flags) for flags in (0, 8)]
    if dtype.letter == "S":
        return [(*plain, dtype.size, 1, 0)]
    return [(*plain, -1, -1, 0)]
