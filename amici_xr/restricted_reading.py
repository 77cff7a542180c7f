"""Reading a ``model.pt`` without running anything that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .errors import listed
from .optional import require


class _Inert:
    """Stands in for every pandas and pyarrow object, none of which a score depends on."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Inert:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Take any state and keep none of it."""


def _plain_dict(*_: Any) -> dict[Any, Any]:
    """Stand in for collections.defaultdict, which torch refuses to fill."""
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
    "builtins.dict": dict,
    "builtins.slice": slice,  # stands inside pandas objects
    "builtins.bytes": _no_bytes,
    "collections.defaultdict": _plain_dict,
}


def _stand_in(name: str) -> Any:
    """Look up what a global of a checkpoint becomes; None is a refusal."""
    return _Inert if name.startswith(("pandas.", "pyarrow.")) else _STAND_INS.get(name)


def read_safely(file: Path) -> Any:
    """Unpickle with an allow-list: a file from a stranger must not run code."""
    serialization = require("torch", "model", "reading a trained model").serialization
    try:
        names = serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception as error:
        raise ValueError(f"{file} is not a model.pt that torch can read: {error}") from error
    stand_ins = {name: _stand_in(name) for name in names}
    refused = sorted(name for name, stand_in in stand_ins.items() if stand_in is None)
    if refused:
        raise ValueError(
            f"{file} names {listed(refused)}, which no AMICI model needs and which could run code; "
            "it was not read. Ask its author for a file from model.save()"
        )
    dtypes = [getattr(np.dtypes, name) for name in dir(np.dtypes) if name.endswith("DType")]
    allowed = [*dtypes, *((stand_in, name) for name, stand_in in stand_ins.items())]
    with serialization.safe_globals(allowed):
        try:
            return serialization.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            # torch's own message goes on to recommend reading the file unsafely.
            reason = str(error).split("WeightsUnpickler error:")[-1].strip().partition("\n")[0]
            raise ValueError(f"{file} is not a model.pt that torch can read: {reason}") from None
