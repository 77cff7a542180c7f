"""Help texts, taken from the numpydoc docstrings of the functions."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

from docstring_parser import Docstring, DocstringStyle, parse

import amici_xr

_SAME_AS = re.compile(r"As in `(\w+)`")


def description(function: Callable[..., Any]) -> str:
    """Return the summary and the paragraphs before the first section."""
    return _parsed(function).description or ""


def answer_description(function: Callable[..., Any]) -> str:
    """Return what the section on the returned value says, without its type."""
    returned = _parsed(function).returns
    return (returned and returned.description) or ""


def argument_descriptions(function: Callable[..., Any]) -> dict[str, str]:
    """Return the description of each argument; "As in `function`" is replaced by that text."""
    descriptions = {}
    for argument in _parsed(function).params:
        text = " ".join((argument.description or "").split())
        for name in argument.arg_name.split(", "):
            descriptions[name] = text
            if same := _SAME_AS.search(text):
                there = argument_descriptions(getattr(amici_xr, same[1]))
                descriptions[name] = text.replace(same[0], there[name].rstrip("."), 1)
    return descriptions


@functools.cache
def _parsed(function: Callable[..., Any]) -> Docstring:
    return parse(inspect.getdoc(function) or "", DocstringStyle.NUMPYDOC)
