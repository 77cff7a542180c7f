"""What the command line says when something is wrong: one line, in the words of its options."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Collection
from typing import Any

from amici_xr.errors import NotFoundError, SchemaError

_EXPECTED = (ValueError, TypeError, OSError, ModuleNotFoundError, NotFoundError, SchemaError)
_OBEYED = {"Cc", "Cf", "Zl", "Zp"}  # control, format (e.g. right to left), ends of lines
_POSITIONAL = ("path", "model", "adata")
# name=value as messages write it; text in quotes and lists are one value
_ARGUMENT = re.compile(
    r"\b([a-z]\w*)=('[^']*'|\"[^\"]*\"|\[[^\]]*\]|\([^)]*\)|[^\s,;:()\[\]'\"]*[^\s,;:.()])"
)
_CALL = re.compile(r"\b(?:amici_xr|atlas|ds)\.\w+\((?:ds, )?(\w+)(?:=\w+)?\)")  # as messages advise


class WrongCall(Exception):  # noqa: N818  # its message is of the call, not of an error in it
    """A command that can't be run as it was called."""


def describe(error: Exception, options: Collection[str]) -> str:
    """Describe the error in one line, arguments of functions written as options."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    line = in_options(one_line(text), options)
    if isinstance(error, _EXPECTED) and line:
        return line
    return f"{type(error).__name__}: {line or 'no message'}; --debug shows where"


def in_options(text: str, options: Collection[str]) -> str:
    """Write ``sample_threshold=None`` as ``--sample-threshold none``, where there is such one."""

    def as_option(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name in _POSITIONAL and value[:1] in "'\"":
            return value[1:-1]
        if name not in options:
            return match.group()
        if value in ("True", "False"):
            return flag(name) if value == "True" else f"--no-{flag(name)[2:]}"
        if value[0] in "[(":
            value = re.sub(r",\s+", "," if value[0] == "[" else " ", value[1:-1])
        return f"{flag(name)} {'none' if value == 'None' else value}".rstrip()

    head, colon, rest = text.partition(": ")  # "labels: unknown label …"
    if colon and head in options:
        text = f"{flag(head)}: {rest}"
    text = _CALL.sub(lambda call: flag(call[1]) if call[1] in options else call[0], text)
    return _ARGUMENT.sub(as_option, text)


def one_line(text: str) -> str:
    """Write a message of several lines, or with a list, in one."""
    listed = text.replace(":\n- ", ": ").replace("\n- ", "; ")
    return printable(" ".join(listed.split()))


def printable(text: str) -> str:
    """Write characters that a terminal would obey, not show, as Python does, escaped."""
    return "".join(
        repr(character)[1:-1] if unicodedata.category(character) in _OBEYED else character
        for character in text
    )


def show_warning(options: Collection[str], message: Warning | str, *_: Any) -> None:
    """Print a warning in one line: what stands in for ``warnings.showwarning``."""
    print(f"warning: {in_options(one_line(str(message)), options)}", file=sys.stderr)


def flag(name: str) -> str:
    """Write the name of an argument as an option."""
    return f"--{name.replace('_', '-')}"
