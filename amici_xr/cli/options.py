"""Options of the command line: the arguments of functions, as signature and docstring tell."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial, reduce
from operator import or_
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import xarray as xr
from cyclopts import Parameter, Token
from docstring_parser import Docstring, DocstringStyle, parse

import amici_xr
from amici_xr.dependencies import require
from amici_xr.io.paths import expand_home

Function = Callable[..., Any]
_WORDS = (bool, float, int, str, NoneType, Literal, tuple)  # whose values cyclopts reads
_EXTRAS = {".parquet": ("pyarrow", "parquet"), ".zarr": ("zarr", "zarr")}  # module, extra
_NUMBER = {float: "a number", int: "a whole number"}
_METAVARS = {float: "NUMBERS", int: "INTEGERS", xr.Dataset: "FILE"}
_OR = re.compile(r" \| (?![^\[]*\])")  # outside of brackets
_SAME_AS = re.compile(r"As in `(\w+)`")
# Given once or several times; Any, since what the converter returns is compared with the type too.
_LIST = list[str] | Any
_LARGEST_RANGE = 100_000  # numbers that START:STOP:STEP may stand for


def options_of(function: Function, *left_out: str) -> Iterator[inspect.Parameter]:
    """Yield an option for each argument of the function whose value can be written as words.

    Parameters
    ----------
    function
        Its signature and docstring tell the names, types, defaults and descriptions.
    left_out
        Arguments that are not options.
    """
    texts = argument_descriptions(function)
    for name, argument in inspect.signature(function).parameters.items():
        hint, settings = _hint(_kinds(function, str(argument.annotation)), argument.default)
        if name in left_out or hint is None:
            continue
        default = argument.default
        is_required = default is argument.empty
        if (name in ("distance", "head", "response") and is_required) or name == "progress":
            default = None  # the command fills it in
        text = texts.get(name, "")
        if default is not None:
            text = re.sub(r"\bNone\b", "none", text)  # as it is written on the command line
        yield option(name, hint, default, help=text, **settings)


def option(name: str, hint: Any, default: Any, **settings: Any) -> inspect.Parameter:
    """Make an option from its type, its default and the arguments of cyclopts' ``Parameter``."""
    if default in (None, False, (None, None)):
        settings["show_default"] = False
    if default is None:
        hint = hint | None  # compared with the default wherever pydantic has been imported
    if default is False:
        settings["negative"] = ()
    kind, annotation = inspect.Parameter.KEYWORD_ONLY, Annotated[hint, Parameter(**settings)]
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def output(suffixes: Sequence[str], *, is_required: bool) -> inspect.Parameter:
    """Make ``--out``, which must end in one of the suffixes."""
    endings = f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"
    text = f"{'File to write' if is_required else 'File instead of the screen'}: {endings}."
    default = inspect.Parameter.empty if is_required else None
    check = partial(_check_output, endings)
    return option("out", Path, default, alias="-o", help=text, validator=check)


def _check_output(endings: str, hint: Any, out: Path | None) -> None:
    """Say before any work why the file can't be written."""
    if out is None:
        return
    out = expand_home(out)
    if not out.name.endswith(tuple(re.split(r", | or ", endings))):
        raise ValueError(f"It must end in {endings}.")
    if out.is_dir() and out.suffix != ".zarr":
        raise ValueError("It is a folder; choose another name.")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"There is no folder {str(out.parent)!r}; make it first.")
    for suffix in _EXTRAS.keys() & set(out.suffixes):
        require(*_EXTRAS[suffix], f"writing {suffix}")


def _kinds(function: Function, annotation: str) -> Iterator[Any]:
    """Yield the types of a union, without those that are imported for type checkers alone."""
    names = inspect.unwrap(function).__globals__ | {"ArrayLike": Sequence[float]}
    for part in _OR.split(annotation):
        try:
            kind = eval(part, names) or NoneType
        except (AttributeError, NameError):
            continue
        yield from get_args(kind) if get_origin(kind) in (Union, UnionType) else [kind]


def _hint(kinds: Iterator[Any], default: Any) -> tuple[Any, dict[str, Any]]:
    """Return the type by which cyclopts reads the words, with what it is to be told besides."""
    every = list(kinds)
    scalars = [kind for kind in every if (get_origin(kind) or kind) in _WORDS]
    items = [get_args(kind)[0] for kind in every if get_origin(kind) in (Sequence, list)]
    if xr.Dataset in every and not items:
        return Path, {"metavar": "FILE"}
    if str in scalars and any(get_origin(kind) is Mapping for kind in every):
        return _LIST, {"converter": _names_or_mapping, "metavar": "NAME|KEY=VALUE"}
    if items:
        metavar = _METAVARS.get(items[0], "NAME")
        read = partial(_sequence, items[0], [kind for kind in scalars if kind in (int, float, str)])
        return _LIST, {"converter": read, "metavar": metavar}
    if scalars == [str, NoneType] and default is not None:
        return NoneType | str, {"metavar": "NAME|none"}  # in this order "none" is no name
    return reduce(or_, scalars) if scalars and scalars != [NoneType] else None, {}


def _sequence(kind: type, alone: Sequence[type], hint: Any, tokens: Sequence[Token]) -> Any:
    """Read all values of an option that was given once or several times."""
    whole: Callable[[str], Any] = Path if kind is xr.Dataset else str
    read = partial(numbers, kind) if kind in _NUMBER else lambda word: [whole(word)]
    values = [value for token in tokens for value in read(token.value)]
    if len(values) > 1 or not alone:
        return values
    return next((one for type_ in alone if (one := type_(values[0])) == values[0]), values[0])


def _names_or_mapping(hint: Any, tokens: Sequence[Token]) -> Any:
    """Read names, or a mapping written as ``key=value``."""
    if "=" not in tokens[0].value:
        return _sequence(str, [str], hint, tokens)
    pairs = (pair.partition("=") for token in tokens for pair in token.value.split(","))
    return {key: None if value == "none" else value for key, _, value in pairs}


def numbers(kind: type, word: str) -> list[float]:
    """Read ``0,10,20``, or ``0:50:2.5``: from, to and including, in steps of."""
    try:
        if ":" not in word:
            return [kind(part) for part in word.split(",")]
        start, stop, step = (kind(part) for part in word.split(":"))
        if not (step > 0 and 0 <= (stop - start) / step < _LARGEST_RANGE):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{word!r} is none of {_NUMBER[kind]}, several such as 0,10,20 and a range "
            "START:STOP:STEP such as 0:50:10"
        ) from None
    steps = np.arange(int(np.floor((stop - start) / step * (1 + 1e-12) + 1e-12)) + 1)
    # Rounded, so that 0:1:0.1 holds 0.3 and not 0.30000000000000004.
    return [kind(f"{number:.12g}") for number in start + step * steps]


def description(function: Function) -> str:
    """Return the summary and the paragraphs before the first section."""
    return _parsed(function).description or ""


def answer_description(function: Function) -> str:
    """Return what the section on the returned value says, without its type."""
    returned = _parsed(function).returns
    return (returned and returned.description) or ""


def argument_descriptions(function: Function) -> dict[str, str]:
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


@cache
def _parsed(function: Function) -> Docstring:
    return parse(inspect.getdoc(function) or "", DocstringStyle.NUMPYDOC)
