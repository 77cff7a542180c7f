"""Replace a file or folder by a finished one, all at once."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def replace_atomically(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; at the end it takes the target's place.

    If the body raises, what it wrote is removed and the target stays as it was. Permissions are
    those of what is replaced.
    """
    target = Path(os.path.realpath(target))  # a link goes on pointing to the same place
    recover(target)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path: there is no folder {target.parent}; make it first")
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        yield beside
        _flush(beside)
        if target.is_dir():
            _copy_modes(target, beside)
            _exchange(beside, target)
        else:
            if target.exists():
                shutil.copymode(target, beside)
            os.replace(beside, target)
        _flush_entry(target.parent)
        remove(_aside(target))  # of a replacement that was cut off in its last step
    finally:
        remove(beside)  # what was not finished, or the old folder after an exchange


def _copy_modes(old: Path, new: Path) -> None:
    """Give a folder, and the files in it, the permissions of those that they replace."""
    for entry in [*(old / file.relative_to(new) for file in new.rglob("*")), old]:
        if entry.exists():
            shutil.copymode(entry, new / entry.relative_to(old))


def read_version(path: str | os.PathLike[str] | int) -> tuple[int, int] | None:
    """Return what tells the file at a path, or of an open handle, from one that replaced it."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def recover(target: Path) -> None:
    """Put back the old folder if a replacement in two steps was cut off between them."""
    target = Path(os.path.realpath(target))
    if not target.exists() and _aside(target).exists():
        os.rename(_aside(target), target)


def _aside(target: Path) -> Path:
    """Name the folder that keeps the old one while the new one takes its place in two steps."""
    return target.with_name(f".{target.name}.old")


def _exchange(new: Path, old: Path) -> None:
    """Exchange two folders in one step, or in two where the system has no such call."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None:
        names = os.fsencode(new), os.fsencode(old)
        if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
            return
    _exchange_in_two_steps(new, old)


def _exchange_in_two_steps(new: Path, old: Path) -> None:
    aside = _aside(old)
    remove(aside)
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except BaseException:
        os.rename(aside, old)
        raise
    os.rename(aside, new)


def _flush(path: Path) -> None:
    """Write a file, or a folder with all in it, through to the disk."""
    for entry in (*path.rglob("*"), path):
        _flush_entry(entry)


def _flush_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    for pause in (0.05, 0.2, 1.0):
        if path.is_dir():  # Zarr's threads still write what they had begun when one of them failed
            shutil.rmtree(path, ignore_errors=True)
            time.sleep(pause * path.is_dir())
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
