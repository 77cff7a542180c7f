"""Reading a ``model.pt`` without running anything that it names."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from amici_xr.dependencies import require
from amici_xr.errors import listed
from amici_xr.model.pickle_calls import CALLS
from amici_xr.model.pickle_rehearsal import INERT, globals_named, rehearse


class _Inert:
    """Stands in for every object of pandas, pyarrow and Pyro; no score depends on any."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Inert:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Take any state and keep none of it."""


def _plain_dict(*_: Any) -> dict[Any, Any]:
    """Stand in for dict, and for collections.defaultdict, which torch refuses to fill."""
    return {}


def _no_bytes() -> bytes:
    """Stand in for bytes, called without arguments where an array is empty."""
    return b""


_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]  # NumPy's own; its module differs by version
_SCALAR: Any = np.float64(0).__reduce__()[0]
_STAND_INS: dict[str, Any] = {
    "numpy.core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy.core.multiarray.scalar": _SCALAR,
    "numpy._core.multiarray.scalar": _SCALAR,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "builtins.dict": _plain_dict,
    "builtins.slice": slice,  # stands inside pandas objects
    "builtins.bytes": _no_bytes,
    "collections.defaultdict": _plain_dict,
}


def read_safely(file: Path) -> Any:
    """Unpickle with an allow-list: a file from a stranger must not run code, nor fill the memory.

    torch does not get the file itself but one written anew, of the members whose checksums held.
    """
    torch = require("torch", "model", "reading a trained model")
    try:
        members = _members(file)
        names = globals_named(members["data.pkl"])
    except Exception as error:  # zipfile has many for a damaged file
        raise _unreadable(file, error) from error
    sizes = _element_sizes()
    known = {*CALLS, *sizes, "numpy.ndarray"}
    refused = sorted(name for name in names if name not in known and not name.startswith(INERT))
    if refused:
        raise ValueError(
            f"{file} names {listed(refused)}, which no AMICI model needs and which could run code; "
            "it was not read. Ask its author for a file from model.save()"
        )
    stored = {
        name.removeprefix("data/"): len(content)
        for name, content in members.items()
        if name.startswith("data/")
    }
    try:
        rehearse(members["data.pkl"], sizes, stored)
    except ValueError as error:
        raise _unreadable(file, error) from error
    dtypes = [getattr(np.dtypes, name) for name in dir(np.dtypes) if name.endswith("DType")]
    stand_ins = {name: _Inert for name in names if name.startswith(INERT)} | _STAND_INS
    allowed = [*dtypes, *((stand_in, name) for name, stand_in in stand_ins.items())]
    with torch.serialization.safe_globals(allowed):
        try:
            return torch.load(_rewritten(members), map_location="cpu", weights_only=True)
        except Exception as error:
            # torch's own message goes on to recommend reading the file unsafely.
            reason = str(error).split("WeightsUnpickler error:")[-1].strip().partition("\n")[0]
            raise _unreadable(file, reason) from None


def _unreadable(file: Path, reason: Any) -> ValueError:
    return ValueError(f"{file} is not a model.pt that torch can read: {reason}")


def _members(file: Path) -> dict[str, bytes]:
    """Content of each member, by its name in the one folder that torch puts all into."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = [entry.filename.partition("/")[2] for entry in entries]
        folders = {entry.filename.partition("/")[0] for entry in entries}
        if len(folders) != 1 or len(set(names)) < len(names) or "data.pkl" not in names:
            raise ValueError("it is a zip, but not one that torch.save wrote")
        packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
        if packed or sum(entry.file_size for entry in entries) > file.stat().st_size:
            raise ValueError("its members say that they are larger than the file, or are packed")
        members = {name: archive.read(entry) for name, entry in zip(names, entries, strict=True)}
    if members.get("byteorder", b"little") not in (b"little", b"big"):
        raise ValueError(f"its byteorder is {members['byteorder'][:20]!r}")
    return members


def _rewritten(members: dict[str, bytes]) -> io.BytesIO:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in {"version": b"3\n", **members}.items():
            if name in ("data.pkl", "byteorder", "version") or name.startswith("data/"):
                archive.writestr(f"model/{name}", b"3\n" if name == "version" else content)
    written.seek(0)
    return written


def _element_sizes() -> dict[str, int]:
    """Bytes of an element of each kind of storage."""
    kinds = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
    sizes = (4, 8, 2, 2, 8, 4, 2, 1, 1, 1)
    return {f"torch.{kind}Storage": size for kind, size in zip(kinds, sizes, strict=True)}
