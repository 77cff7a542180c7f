"""The command line, ``amici-xr``: what the functions do, from files to files."""

from __future__ import annotations

import functools
import inspect
import io
import os
import sys
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import xarray as xr
from cyclopts import App, CycloptsError, Parameter

import amici_xr
from amici_xr.cli.commands import command_of, open_file, questions, training_command
from amici_xr.cli.glossary import explanations
from amici_xr.cli.info import description_of, questions_to
from amici_xr.cli.messages import WrongCall, describe, one_line, printable, show_warning
from amici_xr.cli.options import Function, answer_description, description
from amici_xr.cli.outputs import check_output, write_dataset
from amici_xr.dataset.schema import has_neighborhoods
from amici_xr.findings.study_arguments import datasets_for
from amici_xr.io.formats import SUFFIXES
from amici_xr.io.paths import TABLES, expand_home

PROGRAM = "amici-xr"


@functools.wraps(amici_xr.bootstrap)
def length_scale(ds: xr.Dataset, **arguments: Any) -> xr.Dataset:
    """Return the intervals of `bootstrap`, and their `support` where neighborhoods are known."""
    intervals = amici_xr.bootstrap(ds, **arguments)
    # Intervals over runs are one for all, support is of each.
    if not has_neighborhoods(ds) or ("run" in ds.dims and "run" not in intervals.dims):
        return intervals
    names = inspect.signature(amici_xr.support).parameters.keys() & arguments.keys()
    held = amici_xr.support(ds, **{name: arguments[name] for name in names})
    return intervals.assign({name: held[name] for name in ("support", "edge_share", "status")})


app = App(
    name=PROGRAM,
    help="Which cell types influence each other, which genes respond, over what distance, and how "
    "sure that is: from the tissue alone, and from AMICI models.",
    help_epilogue=f"{PROGRAM} COMMAND --help tells more of each. Behind any of them, --debug shows "
    f"the traceback of an error. {PROGRAM} glossary explains the words. Start with: {PROGRAM} demo",
    help_format="plaintext",
    version=f"{PROGRAM} {amici_xr.__version__}",
    group_parameters="Options",
    default_parameter=Parameter(negative_iterable=(), negative_none=()),
)
plots = App(name="plot", help="Draw a figure, as PNG, SVG or PDF.")
app.command(plots)
app.register_install_completion_command(help="Install completion for a shell.")
SUMMARIES: dict[str, Function] = {"length_scale": length_scale, "curve": amici_xr.curve_summary}
asked: dict[str, Any] = {"extract": amici_xr.extract, "report": amici_xr.report} | questions()
for name, function in asked.items():
    is_figure = name.startswith("plot_")
    summary = SUMMARIES.get(name, function)  # what is answered without --per-neighbor
    explained: list[Function] = (
        [summary, amici_xr.support] if summary is length_scale else [summary]
    )
    (plots if is_figure else app).command(
        command_of(summary, function if name in SUMMARIES else None),
        name=name.removeprefix("plot_").replace("_", "-"),
        help=description(summary),
        help_epilogue="" if is_figure else "\n\n".join(map(answer_description, explained)),
        help_format="rst",
        group="Figures" if is_figure else "Questions",
    )


app.command(
    training_command(),
    name="train",
    help=description(amici_xr.train),
    help_epilogue=answer_description(amici_xr.train),
    help_format="rst",
    group="Questions",
)


@app.command
def info(file: Path, /) -> None:
    """Show what a file holds, and what can be asked of it."""
    data = open_file(expand_home(file), is_lazy=True)
    asking = [f"    {PROGRAM} {question}" for question in questions_to(file, data)]
    asking = ["", "Ask:", *asking, f"    {PROGRAM} glossary"] if asking else []
    print(*map(printable, (f"{file}:", *description_of(data), *asking)), sep="\n")


@app.command
def glossary(word: str | None = None, /) -> None:
    """Explain the words of messages, files and figures.

    Parameters
    ----------
    word
        A word or a part of one, such as reach or edge; without it all are explained.
    """
    print(explanations(word))


@app.command
def convert(source: Path, target: Path, /, *, unit: str | None = None) -> None:
    """Convert the original's table of scores to .nc, or back.

    From and to .csv, .csv.gz, .nc, .zarr and .zarr.zip, by the suffix. A table holds scores alone:
    neighborhoods, places of cells, the unit and other groups of a study stay behind.

    Parameters
    ----------
    unit
        Name of the unit of distance, e.g. µm, which a .csv does not tell.
    """
    if not target.name.endswith((*TABLES, *SUFFIXES)):
        known = ", ".join((*TABLES, *SUFFIXES))
        raise WrongCall(f"TARGET {str(target)!r} must end in one of {known}")
    source, target = expand_home(source), expand_home(target)
    check_output(target, [source])
    data = open_file(source, unit=unit)
    if isinstance(data, xr.DataTree) and target.name.endswith(TABLES):
        data = datasets_for(amici_xr.to_dataframe, data)["ds"]
    write_dataset(data, target)
    print(printable(str(target)), file=sys.stderr)


@app.command
def demo(folder: Path = Path("demo_output"), /) -> None:
    """Try the package on a small example.

    Compares two interactions that were planted in a simulated tissue with what a model trained on
    it recovers, and writes the model, the tissue, what is extracted from them and figures to
    FOLDER.
    """
    from amici_xr.cli.tour import guide

    guide(expand_home(folder))


@app.command(name="--show-completion")
def show_completion(shell: Literal["bash", "zsh", "fish"] | None = None, /) -> None:
    """Print completion for a shell."""
    print(app.generate_completion(prog_name=PROGRAM, shell=shell))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends with ``SystemExit``: 0, 1 after an error, 2 after a wrong call."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows no µ shows a ? instead
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    before_dashes = words[: words.index("--")] if "--" in words else words
    kept = [word for word in before_dashes if word != "--debug"]
    sys.exit(_run([*kept, *words[len(before_dashes) :]], len(kept) < len(before_dashes)))


def _run(words: Sequence[str], is_debugged: bool) -> int:
    """Run a command and return the exit status; with `is_debugged`, its errors come through."""
    options: Collection[str] = ()
    try:
        silent: dict[str, Any] = {"print_error": False, "exit_on_error": False, "verbose": False}
        command, bound, _ = app.parse_args(words, **silent)
        options = inspect.signature(command).parameters
        with warnings.catch_warnings():
            if not is_debugged:
                warnings.showwarning = functools.partial(show_warning, options)
            command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, e.g. head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (CycloptsError, WrongCall) as error:
        called = " ".join([PROGRAM, *app.parse_commands(words)[0]])
        said = one_line(str(error)).removesuffix(".")
        print(f"error: {said}; see {called} --help", file=sys.stderr)
        return 2
    except Exception as error:
        if is_debugged:
            raise
        print(f"error: {describe(error, options)}", file=sys.stderr)
        return 1
    return 0
