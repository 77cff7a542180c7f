"""Completion of the command line in bash, zsh and fish, by Click's own scripts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import get_completion_class

Command = TypeVar("Command", bound=Callable[..., Any])

PROGRAM = "amici-xr"
VARIABLE = "_AMICI_XR_COMPLETE"
_FOLDER = Path(".local/share/amici-xr")
_STARTS = {  # what each shell reads when it starts
    "bash": Path(".bashrc"),
    "zsh": Path(".zshrc"),
    "fish": Path(".config/fish/completions/amici-xr.fish"),
}


def show_completion(ctx: click.Context, param: click.Parameter, shell: str | None) -> None:
    """Print the script for a shell."""
    if shell is not None and not ctx.resilient_parsing:
        click.echo(_script(ctx, shell))
        ctx.exit()


def install_completion(ctx: click.Context, param: click.Parameter, shell: str | None) -> None:
    """Write the script for a shell where it finds it, once."""
    if shell is None or ctx.resilient_parsing:
        return
    script, start = _script(ctx, shell), Path.home() / _STARTS[shell]
    if shell == "fish":  # reads a folder of scripts
        start.parent.mkdir(parents=True, exist_ok=True)
        start.write_text(script + "\n")
    else:
        file = Path.home() / _FOLDER / f"completion.{shell}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(script + "\n")
        line = f'[ -f "{file}" ] && . "{file}"  # {PROGRAM}'
        before = start.read_text() if start.exists() else ""
        if line not in before:
            with start.open("a") as appended:
                appended.write(
                    f"{'' if before.endswith(chr(10)) or not before else chr(10)}{line}\n"
                )
    click.echo(f"{start}: completion for {shell}; it works in shells that are opened from now on")
    ctx.exit()


def own_shell() -> str:
    """The name of the shell that the environment tells; bash where that is none of the three."""
    name = Path(os.environ.get("SHELL", "")).name
    return name if name in _STARTS else "bash"


def completion_option(
    flag: str, callback: Callable[..., None], description: str
) -> Callable[[Command], Command]:
    """An option that may name a shell, and else takes the user's own."""
    return click.option(
        flag,
        is_flag=False,
        flag_value=own_shell(),
        default=None,
        type=click.Choice(tuple(_STARTS)),
        expose_value=False,
        is_eager=True,
        callback=callback,
        metavar="[SHELL]",
        help=description,
    )


def _script(ctx: click.Context, shell: str) -> str:
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"Click has no completion for {shell}.")
    # Not source(): for bash it first asks the bash that is installed for its version.
    one = found(ctx.command, {}, PROGRAM, VARIABLE)
    return str(one.source_template % one.source_vars()).strip()
