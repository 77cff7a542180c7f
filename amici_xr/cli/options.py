"""Options of the command line: each is an argument of a function, with its name and default."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import numpy as np

from amici_xr.io.storage import SUFFIXES

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # no generic before Click 8.5

Command = TypeVar("Command", bound=Callable[..., Any])

_LARGEST_RANGE = 100_000  # numbers that START:STOP:STEP may stand for


class Numbers(ParamType):
    """``0,10,20``, or ``0:50:2.5`` from, to and including, in steps of; several options add up."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Read the numbers of one option."""
        if not isinstance(value, str):
            return tuple(np.atleast_1d(value).tolist())
        try:
            if ":" in value:
                return self._range(*(float(part) for part in value.split(":")))
            return tuple(float(part) for part in value.split(","))
        except (ValueError, TypeError):
            self.fail(
                f"{value!r} is none of a number, numbers such as 0,10,20 and a range "
                "START:STOP:STEP such as 0:50:2.5",
                param,
                ctx,
            )

    @staticmethod
    def _range(start: float, stop: float, step: float) -> tuple[float, ...]:
        if not (step > 0 and 0 <= (stop - start) / step < _LARGEST_RANGE):
            raise ValueError
        steps = np.arange(int(np.floor((stop - start) / step * (1 + 1e-12) + 1e-12)) + 1)
        # Rounded, so that 0:1:0.1 holds 0.3 and not 0.30000000000000004.
        return tuple(float(f"{at:.12g}") for at in start + step * steps)


class WholeNumbers(ParamType):
    """``0`` or ``0,2``; several options add up."""

    name = "integers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read the numbers of one option."""
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no whole number, nor several such as 0,2", param, ctx)


class OrWord(ParamType):
    """A number, or the one word that stands for something else."""

    def __init__(self, number: type[Any], word: str, meaning: Any) -> None:
        self.number, self.word, self.meaning = number, word, meaning
        self.name = "number"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """What stands for the value in the help."""
        kind = {int: "INTEGER", float: "NUMBER"}.get(self.number, "NAME")
        return f"{kind}|{self.word}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number or the word."""
        if value == self.word:
            return self.meaning
        try:
            return self.number(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor {self.word!r}", param, ctx)


NUMBER_OR_NONE = OrWord(float, "none", None)


def default_of(function: Callable[..., Any], name: str) -> Any:
    """The default of an argument; ``inspect.Parameter.empty`` where it has none."""
    return inspect.signature(function).parameters[name].default


def option(
    function: Callable[..., Any],
    name: str,
    description: str,
    *,
    when_none: str | None = None,
    **changes: Any,
) -> Callable[[Command], Command]:
    """Make an option of an argument of `function`.

    Parameters
    ----------
    function, name
        Whose argument it is; the option has its name in kebab case and its default.
    description
        The help.
    when_none
        What the default None stands for, in words; without them it is not mentioned.
    changes
        Further arguments of ``click.option``.
    """
    default = default_of(function, name)
    flag = f"--{name.replace('_', '-')}"
    settings: dict[str, Any] = {"help": description}
    if default is inspect.Parameter.empty:
        settings["required"] = True
    elif default is False:
        settings |= {"is_flag": True, "default": False}
    elif default is True:
        flag = f"{flag}/--no-{flag[2:]}"
        settings |= {"default": True, "show_default": True}
    elif default is not None:
        settings |= {"default": default, "show_default": True}
    elif when_none is not None:
        settings["show_default"] = when_none
    if isinstance(changes.get("type"), Numbers | WholeNumbers) or changes.get("multiple"):
        settings |= {"multiple": True}
        if settings.get("default") is not None:
            settings["default"] = [default]
        if not isinstance(changes.get("type"), click.ParamType):
            settings["callback"] = _listed
        else:
            settings["callback"] = _joined
    return click.option(flag, name, **(settings | changes))


def _joined(ctx: click.Context, param: click.Parameter, value: Any) -> list[Any] | None:
    """All numbers of an option that was given once or several times; None without any."""
    return [number for numbers in value or () for number in numbers] or None


def _listed(ctx: click.Context, param: click.Parameter, value: Any) -> list[Any] | None:
    return list(value or ()) or None


def one_or_several(values: Sequence[Any] | None) -> Any:
    """One value by itself, which adds no dim; None where there is none."""
    return values[0] if values is not None and len(values) == 1 else values


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in this order."""

    def decorate(command: Command) -> Command:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


def output(
    suffixes: Sequence[str], description: str, *, required: bool
) -> Callable[[Command], Command]:
    """``--out``, which must end in one of the suffixes and be no folder, but for stores of Zarr."""

    def check(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
        if value is None:
            return None
        if not value.name.endswith(tuple(suffixes)):
            raise click.BadParameter(f"{str(value)!r} must end in {_alternatives(suffixes)}")
        if value.is_dir() and not value.name.endswith(".zarr"):
            raise click.BadParameter(f"{str(value)!r} is a folder; choose another name")
        if not value.absolute().parent.is_dir():
            raise click.BadParameter(f"there is no folder {str(value.parent)!r}; make it first")
        return value

    return click.option(
        "--out",
        "-o",
        required=required,
        callback=check,
        type=click.Path(path_type=Path),
        help=f"{description}: {_alternatives(suffixes)}.",
    )


def _alternatives(suffixes: Sequence[str]) -> str:
    *others, last = suffixes
    return f"{', '.join(others)} or {last}" if others else last


FILE = click.argument("file", type=click.Path(path_type=Path))
OUT_DATASET = output(SUFFIXES, "Where to write", required=True)
