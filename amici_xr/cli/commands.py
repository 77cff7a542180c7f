"""Commands made from functions: their signature gives the options, their docstring the help."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import amici_xr
from amici_xr.cli.inputs import cut_down, distances_to_the_edge, open_file
from amici_xr.cli.messages import WrongCall, flag
from amici_xr.cli.options import option, options_of, output
from amici_xr.cli.outputs import TABLES, deliver, draw
from amici_xr.io.formats import SUFFIXES

Function = Callable[..., Any]

FIGURES = (".png", ".svg", ".pdf")
PAGES = (".html", ".htm")
_DPI = 150
_ONE, _SEVERAL = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL
_PER_NEIGHBOR = "One row for each neighbor instead of a summary."
_NOT_OPTIONS = ("path", "ax", "indices", "adata")


def questions() -> dict[str, Function]:
    """Return every public function that becomes a command, by its name.

    Those are the functions that take a Dataset, several or an AnnData first, and answer with a
    Dataset or DataArray or draw.
    """
    functions = {name: getattr(amici_xr, name) for name in amici_xr.__all__}
    return {name: each for name, each in functions.items() if _is_question(each)}


def _is_question(function: Any) -> bool:
    signature = inspect.signature(function) if inspect.isfunction(function) else None
    if signature is None or not signature.parameters:
        return False
    first = next(iter(signature.parameters.values()))
    takes_data = first.annotation in ("xr.Dataset", "Iterable[xr.Dataset]") or first.name == "adata"
    answers = signature.return_annotation in ("xr.Dataset", "xr.DataArray")
    return takes_data and (answers or function.__name__.startswith("plot_"))


def command_of(function: Function, per_neighbor: Function | None = None) -> Callable[..., None]:
    """Make a command: a function of files and options, which cyclopts reads from its signature.

    Parameters
    ----------
    function
        One of `questions`, or one with an argument `path`, which becomes ``--out``, or one of a
        model and a tissue.
    per_neighbor
        What ``--per-neighbor`` asks instead, where there is such an option.
    """
    arguments = inspect.signature(function).parameters
    first = next(iter(arguments.values()))
    required = {name for name, argument in arguments.items() if argument.default is argument.empty}
    is_of_datasets = first.name not in ("adata", "model")
    is_of_several = first.annotation.startswith("Iterable")
    draws, writes_page = function.__name__.startswith("plot_"), "path" in arguments
    taken = [*arguments, *(["heads"] if "head" in arguments else [])]
    cuts = list(options_of(cut_down, "ds", *taken)) if is_of_datasets else []

    def command(*inputs: Path, out: Path | None = None, dpi: int = _DPI, **given: Any) -> None:
        cut = {each.name: given.pop(each.name) for each in cuts if each.name in given}
        asked = function
        if given.pop("per_neighbor", False) and per_neighbor is not None:
            asked = per_neighbor
            if refused := given.keys() - inspect.signature(asked).parameters.keys():
                flags = ", ".join(map(flag, sorted(refused)))
                raise WrongCall(f"{flags}: not with --per-neighbor, which summarizes nothing")
        data: Any = inputs[0]
        if is_of_datasets:
            datasets = [cut_down(open_file(file), **cut) for file in inputs]
            data = datasets if is_of_several else datasets[0]
        elif len(inputs) > 1:
            given["adata"] = inputs[1]
        if "head" in required:
            given.setdefault("head", None)
        if "distance" in required - given.keys():
            given["distance"] = distances_to_the_edge(data, 200 if draws else 20)
        if "progress" in arguments:
            given.setdefault("progress", sys.stderr.isatty())
        if draws and out is not None:
            draw(partial(asked, data, **given), out, dpi)
        elif writes_page:
            asked(data, out, **given)
        else:
            deliver(partial(asked, data, **given), out, cut.get("labels"))
        if out is not None:
            print(out, file=sys.stderr)

    paths = (
        {"files": _SEVERAL} if is_of_several else {"file" if is_of_datasets else first.name: _ONE}
    )
    files = [inspect.Parameter(name, kind, annotation=Path) for name, kind in paths.items()]
    if first.name == "model":
        files.append(inspect.Parameter("adata", _ONE, default=None, annotation=Path | None))
    options = [*options_of(function, first.name, *_NOT_OPTIONS), *cuts]
    if per_neighbor is not None:
        options.append(option("per_neighbor", bool, False, help=_PER_NEIGHBOR))
    if draws:
        options.append(option("dpi", int, _DPI, help="Dots per inch, of .png."))
    suffixes = FIGURES if draws else PAGES if writes_page else (*TABLES, ".nc", ".zarr")
    if first.name == "model":
        suffixes = SUFFIXES
    out = output(suffixes, is_required=draws or writes_page or first.name == "model")
    command.__signature__ = inspect.Signature([*files, *options, out])  # type: ignore[attr-defined]
    command.__annotations__ = {}  # else cyclopts takes these for those of the signature
    return command
