"""What the command line says when something is wrong: one line, in the words of its options."""

from __future__ import annotations

import errno
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

import click

from amici_xr.errors import NotFoundError, SchemaError

_EXPECTED = (ValueError, TypeError, OSError, ModuleNotFoundError, NotFoundError, SchemaError)
_POSITIONAL = ("path", "model", "adata")
# name=value as messages write it; text in quotes and lists are one value
_ARGUMENT = re.compile(
    r"\b([a-z]\w*)=('[^']*'|\"[^\"]*\"|\[[^\]]*\]|\([^)]*\)|[^\s,;:()\[\]'\"]*[^\s,;:.()])"
)


class InOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return list(self.commands)


class OneLineErrors(InOrder):
    """A group of commands whose errors and warnings are one line each, without a traceback.

    ``--debug``, wherever it stands, shows the traceback.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find ``--debug`` also behind the command, where it is added when something failed."""
        own = args[: args.index("--")] if "--" in args else args
        if "--debug" in own:
            args = ["--debug", *(word for word in own if word != "--debug"), *args[len(own) :]]
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise _ended_by(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        if ctx.params.get("debug"):
            return super().invoke(ctx)
        options = frozenset(_option_names(self))
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning(options)
            try:
                return super().invoke(ctx)
            except click.UsageError as error:
                raise _ended_by(error) from error
            except (click.ClickException, click.exceptions.Exit, click.Abort):
                raise
            except Exception as error:
                if isinstance(error, OSError) and error.errno == errno.EPIPE:
                    raise  # the reader, e.g. head, has seen enough
                click.echo(f"error: {described(error, options)}", err=True)
                raise click.exceptions.Exit(1) from error


def _ended_by(error: click.UsageError) -> Exception:
    """What ends a wrong call: one line and the status 2, or the help where nothing was asked."""
    if type(error).__name__ == "NoArgsIsHelpError":  # Click has it from 8.2 on
        return error
    where = f"; see {error.ctx.command_path} --help" if error.ctx is not None else ""
    click.echo(f"error: {_in_one_line(error.format_message()).removesuffix('.')}{where}", err=True)
    return click.exceptions.Exit(error.exit_code)


def described(error: Exception, options: frozenset[str]) -> str:
    """The error in one line, arguments of functions written as options."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    line = in_options(_in_one_line(text), options)
    if isinstance(error, _EXPECTED) and line:
        return line
    return f"{type(error).__name__}: {line or 'no message'}; --debug shows where"


def in_options(text: str, options: frozenset[str]) -> str:
    """Write ``sample_threshold=None`` as ``--sample-threshold none``, where there is such one."""

    def as_option(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name in _POSITIONAL and value[:1] in "'\"":
            return value[1:-1]
        if name not in options:
            return found.group()
        flag = f"--{name.replace('_', '-')}"
        if value in ("True", "False"):
            return flag if value == "True" else f"--no-{flag[2:]}"
        if value[0] in "[(":
            value = re.sub(r",\s+", "," if value[0] == "[" else " ", value[1:-1])
        return f"{flag} {'none' if value == 'None' else value}".rstrip()

    head, colon, rest = text.partition(": ")  # "labels: unknown label …"
    if colon and head in options:
        text = f"--{head.replace('_', '-')}: {rest}"
    return _ARGUMENT.sub(as_option, text)


def _in_one_line(text: str) -> str:
    listed = text.replace(":\n- ", ": ").replace("\n- ", "; ")
    return " ".join(listed.split())


def _option_names(group: click.Group) -> Iterator[str]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from _option_names(command)
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name is not None:
                yield parameter.name


def _show_warning(options: frozenset[str]) -> Any:
    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = in_options(_in_one_line(str(message)), options)
        print(f"warning: {text}", file=file or sys.stderr)

    return show
