"""Read a ``model.pt`` without running anything that it names.

A ``model.pt`` is a zip archive: a pickle, and beside it the numbers of each tensor. `pickletools`
takes the pickle apart, and `_Reader` follows those opcodes and those few calls that occur in the
pickle of a model; a name in the file is compared with theirs and never looked up.
``pickle.Unpickler`` would do more: it hashes every key that a file gives to a dict, and a small
file of tuples within tuples keeps it busy forever or overflows its stack.
"""

from __future__ import annotations

import math
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from amici_xr.dependencies import require

_KNOWN_NAMES = re.compile(
    r"_codecs\.encode|builtins\.(bytearray|bytes|dict)|collections\.(defaultdict|OrderedDict)"
    r"|numpy\.(dtype|ndarray|_?core\.multiarray\.(_reconstruct|scalar))"
    r"|torch\._utils\._rebuild_(parameter|tensor_v2)"
    r"|torch\.(BFloat16|Bool|Byte|Char|Double|Float|Half|Int|Long|Short)Storage"
    # No score depends on tables, nor on the constraints that Pyro keeps beside its parameters.
    r"|(?P<inert>pandas\..+|pyarrow\..+|builtins\.slice|torch\.distributions\.constraints\._Real)"
)
_TUPLES = ("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE")
_LITERAL = re.compile("(SHORT_)?BIN(INT[12]?|FLOAT|UNICODE|BYTES|STRING)|LONG1")
_NUMPY_DTYPE = re.compile(r"[|<>]?(b1|[iu][1248]|f[248]|c8|c16|O8|[SU][1-9][0-9]{0,5})")


def read_safely(file: Path) -> Any:
    """Read a file of ``torch.save`` as dicts, lists, tuples, arrays and tensors.

    Time and memory are proportional to the size of the file.

    Raises
    ------
    ValueError
        If the file is damaged, or names or asks for anything that a saved model does not.
    ModuleNotFoundError
        If torch is not installed.
    """
    require("torch", "model", "reading a trained model")
    try:
        return _Reader(_read_members(file)).read()
    except Exception as error:  # a damaged file makes zipfile raise errors of many kinds
        reason = (
            "a part is missing" if isinstance(error, LookupError) else str(error) or repr(error)
        )
        hint = "ask its author for a file from model.save()"
        raise ValueError(f"{file} can't be read as a model: {reason}; {hint}") from error


def _read_members(file: Path) -> dict[str, bytes]:
    """Read each member, by its name in the one folder that torch puts all of them into."""
    if not zipfile.is_zipfile(file):
        raise ValueError("it is not a whole zip archive: damaged, or saved by torch before 1.6")
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        folders, _, names = zip(*(entry.filename.partition("/") for entry in entries), strict=True)
        if len({*folders}) != 1 or len({*names}) < len(names) or "data.pkl" not in names:
            raise ValueError("it is a zip, but not one that torch.save wrote")
        packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
        if packed or sum(entry.file_size for entry in entries) > file.stat().st_size:
            raise ValueError("its members say that they are larger than the file, or are packed")
        members = {name: archive.read(entry) for name, entry in zip(names, entries, strict=True)}
    if members.setdefault("byteorder", b"little") not in (b"little", b"big"):
        raise ValueError(f"its byteorder is {members['byteorder'][:20]!r}")
    return members


class _Name(NamedTuple):
    """A class or function, by its name; "inert" stands for every one of which nothing is kept."""

    name: str


class _Storage(NamedTuple):
    """The numbers of a member, a tensor of one dimension."""

    numbers: Any


class _Inert:
    """Stand for any object of pandas, pyarrow or Pyro."""


class _Reader:
    """Follow a pickle on a stack, as the format describes it."""

    def __init__(self, members: dict[str, bytes]) -> None:
        self._members = members
        self._bytes_left = 2**20 + 4 * sum(map(len, members.values()))  # that it may ask for
        self._memo: dict[int, Any] = {}
        self._storages: dict[tuple[str, str], _Storage] = {}
        # What an opcode puts on the stack, made of its argument and of what it takes from there.
        self._opcodes: dict[str, Any] = {
            "NONE": lambda _: None,
            "NEWTRUE": lambda _: True,
            "NEWFALSE": lambda _: False,
            "EMPTY_LIST": lambda _: [],
            "EMPTY_DICT": lambda _: {},
            **dict.fromkeys(_TUPLES, lambda _, *items: items),
            **dict.fromkeys(("BINGET", "LONG_BINGET"), self._memo.__getitem__),
            **dict.fromkeys(("APPEND", "APPENDS"), lambda _, *items: _fill(list, *items)),
            **dict.fromkeys(("SETITEM", "SETITEMS"), lambda _, *items: _fill(dict, *items)),
            **dict.fromkeys(("REDUCE", "NEWOBJ"), self._call),
            "BUILD": self._set_state,
            "BINPERSID": self._read_storage,
            "GLOBAL": lambda name: _known_name(None, *name.split(" ", 1)),
            "STACK_GLOBAL": _known_name,
        }

    def read(self) -> Any:
        stacks: list[list[Any]] = [[]]  # one more for each mark
        for opcode, argument, _ in pickletools.genops(self._members["data.pkl"]):
            if opcode.name == "MARK":
                stacks.append([])
            elif opcode.name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
                self._memo[len(self._memo) if argument is None else argument] = stacks[-1][-1]
            elif opcode.name in self._opcodes:
                taken, items = opcode.stack_before, []
                if pickletools.markobject in taken:
                    taken, items = taken[: taken.index(pickletools.markobject)], stacks.pop()
                items = [stacks[-1].pop() for _ in taken][::-1] + items
                stacks[-1].append(self._opcodes[opcode.name](argument, *items))
            elif _LITERAL.fullmatch(opcode.name):
                stacks[-1].append(argument)
            elif opcode.name not in ("PROTO", "FRAME", "STOP"):
                raise ValueError(f"its pickle holds {opcode.name}, which torch does not write")
        return stacks[-1].pop()

    def _call(self, _: None, function: Any, arguments: Any) -> Any:
        """Do what a call in the pickle of a model does; any other is refused."""
        name = function.name if isinstance(function, _Name) else "what is not a function"
        match name.rpartition(".")[2], arguments:
            case "inert", _:
                return _Inert()
            case "dict" | "OrderedDict" | "defaultdict", () | (_Name("builtins.dict"),):
                return {}
            case "bytes" | "bytearray", () | (bytes(),):
                return self._charge(sum(map(len, arguments)), b"".join(arguments))
            case "encode", (str(text), str("latin1")):
                return self._charge(len(text), text.encode("latin1"))
            case "_reconstruct", (_Name("numpy.ndarray"), (int(0),), _):
                return np.empty(0)
            case "dtype", (str(code), False, True) if _NUMPY_DTYPE.fullmatch(code):
                return np.dtype(code, False, True)
            case "scalar", (np.dtype() as dtype, bytes(content)) if len(content) == dtype.itemsize:
                return self._charge(len(content), np.frombuffer(content, dtype)[0])
            case "_rebuild_tensor_v2", (_Storage(numbers), start, tuple(shape), tuple(steps), *_):
                if _lies_within(len(numbers), start, shape, steps):
                    tensor = numbers.as_strided(shape, steps, start)
                    return self._charge(tensor.nbytes, tensor)
            case "_rebuild_parameter", (tensor, *_) if hasattr(tensor, "as_strided"):
                return tensor
        raise ValueError(f"its pickle calls {name} as no model does")

    def _set_state(self, _: None, target: Any, state: Any) -> Any:
        is_written_so = False
        match target, state:
            case np.ndarray(), (int(1), tuple(), np.dtype(), bool(), bytes() | list()):
                self._charge(len(state[4]) * (8 if state[2].hasobject else 1))
                is_written_so = _is_whole(state[1], state[2], state[4])
            case np.dtype(), (int(3), str("<" | ">" | "|"), None, None, None, int(), int(), int()):
                written: Any = target.newbyteorder(state[1]).__reduce__()[2]
                is_written_so = state[:-1] == written[:-1] and state[-1] in (written[-1], 0, 8)
                state = written  # the flags, too, which say where pointers lie
            case (_Inert(), _) | (dict(), dict()):  # the latter are the versions of a state dict
                return target
        if not is_written_so:
            raise ValueError("its pickle has an array, a dtype or a state that no model has")
        target.__setstate__(state)
        return target

    def _read_storage(self, _: None, reference: Any) -> _Storage:
        """Read the numbers that lie beside the pickle, once."""
        import torch

        match reference:
            case (str("storage"), _Name(kind), str(key), _, int(n_numbers)) if "Storage" in kind:
                name = kind[len("torch.") : -len("Storage")].lower()
                dtype = getattr(torch, {"byte": "uint8", "char": "int8"}.get(name, name))
            case _:
                raise ValueError("its pickle has numbers of an unknown kind")
        size, content = dtype.itemsize, self._members[f"data/{key}"]
        if n_numbers * size != len(content):
            raise ValueError(f"data/{key} does not hold {n_numbers} numbers of {size} bytes")
        if (key, kind) not in self._storages:
            order = "<" if self._members["byteorder"] == b"little" else ">"
            bits = np.frombuffer(content, f"{order}i{size}").astype(f"i{size}", copy=False)
            self._storages[key, kind] = _Storage(torch.tensor(bits).view(dtype))
        return self._storages[key, kind]

    def _charge(self, n_bytes: int, made: Any = None) -> Any:
        """Return what was made, unless the file has asked for too much by now."""
        self._bytes_left -= n_bytes
        if self._bytes_left < 0:
            raise ValueError("its pickle asks for more memory than its content needs")
        return made


def _known_name(_: None, module: Any, name: Any) -> _Name:
    full_name = f"{'builtins' if module == '__builtin__' else module}.{name}"
    known = _KNOWN_NAMES.fullmatch(full_name)
    if known is None:
        raise ValueError(f"it names {full_name!r}, which no model needs and which could run code")
    return _Name("inert" if known["inert"] else full_name)


def _fill(kind: type, target: Any, *items: Any) -> Any:
    if not isinstance(target, kind | _Inert) or not (kind is list or all(map(_is_key, items[::2]))):
        raise ValueError("its pickle fills what can't be filled, or with keys that are not names")
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, dict):
        target.update((items[n], items[n + 1]) for n in range(0, len(items), 2))
    return target


def _is_key(key: Any) -> bool:
    """Say whether a key is hashed fast, to a number that it shares with few others."""
    is_small = isinstance(key, int) and key.bit_length() <= 64
    return is_small or isinstance(key, str | bytes | float | None)


def _is_whole(shape: Any, dtype: np.dtype[Any], content: bytes | list[Any]) -> bool:
    """Say whether an array has its numbers or objects, and no array among them."""
    n_items = math.prod(shape) if _are_sizes(shape) else -1
    if isinstance(content, bytes):
        return not dtype.hasobject and len(content) == n_items * dtype.itemsize
    # An array in an array in an array would overflow the stack when it is deleted.
    has_arrays = any(isinstance(item, np.ndarray) for item in content)
    return dtype.hasobject and len(content) == n_items and not has_arrays


def _are_sizes(numbers: Any) -> bool:
    return len(numbers) <= 64 and all(type(n) is int and 0 <= n < 2**63 for n in numbers)


def _lies_within(n_numbers: int, start: Any, shape: Any, steps: Any) -> bool:
    """Say whether a storage holds every number of a tensor, and the tensor none of them twice."""
    if not _are_sizes((start, *shape, *steps)) or len(shape) != len(steps):
        return False
    last = start + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    return math.prod(shape) <= n_numbers and (0 in shape or last < n_numbers)
