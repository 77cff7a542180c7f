"""A file to which HDF5 may write when the disk is full, and which tells only in the end."""

from __future__ import annotations

import io
import os
from typing import Any


class DeferredErrorFile(io.RawIOBase):
    """A new file whose failed writes are kept in memory until they are raised.

    HDF5 ends the whole process where a write fails half-way (a disk that is full, a quota), and all
    that was computed with it. So a write never fails here: what the disk does not take is kept, so
    that it can be read again, until `raise_error`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self._position = 0
        self._size = 0
        self._kept: list[tuple[int, bytes]] = []
        self._error: OSError | None = None

    def raise_error(self) -> None:
        """Raise the first error that the disk gave."""
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        """Write all of `data` at the position."""
        rest = memoryview(data).cast("B")
        length = len(rest)
        start = self._position
        while self._error is None and len(rest):
            try:
                written = os.pwrite(self._descriptor, rest, start + length - len(rest))
                rest = rest[written:]
            except OSError as error:
                self._error = error
        if len(rest):
            self._kept.append((start + length - len(rest), bytes(rest)))
        self._position += length
        self._size = max(self._size, self._position)
        return length

    def readinto(self, buffer: Any) -> int:
        """Read from the position what was written there, on the disk or not."""
        into = memoryview(buffer).cast("B")
        start = self._position
        count = max(0, min(len(into), self._size - start))
        found = os.pread(self._descriptor, count, start)
        into[:count] = found.ljust(count, b"\0")
        for place, data in self._kept:
            low, high = max(place, start), min(place + len(data), start + count)
            if low < high:
                into[low - start : high - start] = data[low - place : high - place]
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        self._position = origin[whence] + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Give the file a size."""
        self._size = self._position if size is None else size
        if self._error is None:
            try:
                os.ftruncate(self._descriptor, self._size)
            except OSError as error:
                self._error = error
        return self._size

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def writable(self) -> bool:
        """Whether it can be written: yes."""
        return True

    def seekable(self) -> bool:
        """Whether the position can be moved: yes."""
        return True

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()
