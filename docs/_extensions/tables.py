"""What is made from the package itself, so that it can't fall behind: tables in Markdown, help."""

import inspect
import io
from collections.abc import Iterable, Iterator
from typing import Any

from amici_xr.accessor import AmiciAccessor, CounterfactualMethods
from amici_xr.dataset.response_schema import RESPONSE_SCHEMA
from amici_xr.dataset.schema import SCHEMA, Variable

UNITS = {"1": "none (a pure number)", "distance": "that of the coordinates", "µm": "µm", "": ""}


def schema_table(is_coordinate: bool) -> str:
    """Rows of the schema, data variables or coordinates, as a Markdown table."""
    return _rows_of([row for row in SCHEMA.values() if row.is_coordinate is is_coordinate])


def response_table() -> str:
    """Rows of the schema of a distance response, as a Markdown table."""
    return _rows_of(RESPONSE_SCHEMA.values())


def _rows_of(rows: Iterable[Variable]) -> str:
    return _table(
        ["name", "dims", "kind", "unit", "there", "meaning"],
        [
            [
                f"`{row.name}`",
                _dims(row),
                row.kind,
                UNITS[row.units],
                "always" if row.is_required else "where known",
                row.doc,
            ]
            for row in rows
        ],
    )


def method_table() -> str:
    """Every method of ``ds.cf`` with the function that it is, as a Markdown table."""
    rows = []
    for accessor, methods in (("cf", CounterfactualMethods), ("amici", AmiciAccessor)):
        for name, function in vars(methods).items():
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            first = (inspect.getdoc(function) or "").partition("\n")[0]
            call = f"{{py:func}}`ds.{accessor}.{name}(…) <amici_xr.{name}>`"
            rows.append([call, first])
    return _table(["method", "what it gives"], rows)


def command_help() -> list[tuple[str, str]]:
    """``amici-xr`` and each of its commands, with what ``--help`` prints."""
    from amici_xr.cli.main import app

    return list(help_of(app))


def help_of(app: Any, *words: str) -> Iterator[tuple[str, str]]:
    """Path and help of a cyclopts command and of those below it."""
    from rich.console import Console

    page = io.StringIO()
    app.help_print(list(words), console=Console(file=page, width=88))
    yield " ".join([*app.name, *words]), page.getvalue()
    command = app
    for word in words:
        command = command[word]
    for below in command:
        if not below.startswith("-"):
            yield from help_of(app, *words, below)


def _dims(row: Variable) -> str:
    further = "".join(f"[{dim}] " for dim in row.further_dims)
    return (further + ", ".join(row.dims)) or "–"


def _table(head: list[str], rows: list[list[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *escaped]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
