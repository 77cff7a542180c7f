"""Rows of numbers for each cell, kept in a temporary file instead of in memory."""

from __future__ import annotations

import tempfile
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ScratchArray:
    """A float32 array in a temporary file that vanishes with it: written once, read in part.

    Each reading maps the file anew, so that pages once read do not pile up in memory.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._file = tempfile.TemporaryFile(prefix="amici_xr_")  # noqa: SIM115  # open as long as self
        weakref.finalize(self, self._file.close)
        self._file.truncate(int(np.prod(shape)) * self.dtype.itemsize)

    def __setitem__(self, rows: slice, values: NDArray[np.float32]) -> None:
        row_size = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        self._file.seek(rows.start * row_size)
        self._file.write(np.ascontiguousarray(values, self.dtype).data)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        if 0 in self.shape:
            return np.asarray(np.empty(self.shape, self.dtype)[key])
        self._file.flush()
        mapped = np.memmap(self._file, self.dtype, "r", shape=self.shape).view(np.ndarray)
        part: NDArray[Any] = mapped[key]
        return part if part.flags.owndata else part.copy()
