"""Commands made from functions: their signature gives the options, their docstring the help."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import amici_xr
from amici_xr.cli.messages import WrongCall, flag, printable
from amici_xr.cli.options import Function, option, options_of, output
from amici_xr.cli.outputs import check_output, deliver, draw
from amici_xr.dataset.schema import has_neighborhoods
from amici_xr.dataset.selection import select, with_head_dim
from amici_xr.dataset.study import groups_of
from amici_xr.errors import NotFoundError, check_names, listed
from amici_xr.findings.study_arguments import FILLED, datasets_for
from amici_xr.io.formats import SUFFIXES
from amici_xr.io.long_table import read_csv
from amici_xr.io.opening import open_file as open_any_file
from amici_xr.io.paths import TABLES, expand_home
from amici_xr.training.runs import is_folder_of_runs

ANSWERS = (*TABLES, ".nc", ".zarr")
FIGURES = (".png", ".svg", ".pdf")
PAGES = (".html", ".htm")
CSV = (".csv", ".csv.gz")
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
    if not inspect.isfunction(function):
        return False
    signature = inspect.signature(function)
    first, answer = next(iter(signature.parameters.values()), None), signature.return_annotation
    answers = answer in ("xr.Dataset", "xr.DataArray", "Summary") or function.__name__.startswith(
        "plot_"
    )
    takes = ("xr.Dataset", "xr.Dataset | None", "Iterable[xr.Dataset]")
    return first is not None and answers and (first.annotation in takes or first.name == "adata")


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
    sums_up = inspect.signature(function).return_annotation == "Summary"
    taken = [*arguments, *(["heads"] if "head" in arguments else [])]
    taken += ["labels"] if sums_up else []
    is_cut = is_of_datasets and first.name not in ("response", "history")
    cuts = list(options_of(cut_down, "ds", *taken)) if is_cut else []

    def command(*inputs: Path, out: Path | None = None, dpi: int = _DPI, **given: Any) -> None:
        files = [expand_home(file) for file in inputs]
        further = {name: paths for name, value in given.items() if (paths := _paths_in(value))}
        if out is not None:
            out = expand_home(out)
            check_output(out, [*files, *(path for paths in further.values() for path in paths)])
        for name, paths in further.items():
            opened = [ds for path in paths for ds in open_option(function, name, path)]
            given[name] = opened if isinstance(given[name], list) else opened[0]
        cut = {each.name: given.pop(each.name) for each in cuts if each.name in given}
        asked = function
        if given.pop("per_neighbor", False) and per_neighbor is not None:
            asked = per_neighbor
            if refused := given.keys() - inspect.signature(asked).parameters.keys():
                flags = ", ".join(map(flag, sorted(refused)))
                raise WrongCall(f"{flags}: not with --per-neighbor, which summarizes nothing")
        data: Any = files[0]
        if first.name == "model" and is_folder_of_runs(data):
            data = amici_xr.load_runs(data)
        if is_of_datasets:
            arguments_of_files = [open_arguments(function, first.name, file) for file in files]
            datasets = [cut_down(held.pop(first.name, None), **cut) for held in arguments_of_files]
            data = datasets if is_of_several else datasets[0]
            given = arguments_of_files[0] | given
            if "response" in required - given.keys() - {first.name}:
                raise WrongCall("--response is missing: the file of a distance response")
        elif len(files) > 1:
            given["adata"] = files[1]
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
            print(printable(str(out)), file=sys.stderr)

    name = "files" if is_of_several else "file" if is_of_datasets else first.name
    files = [inspect.Parameter(name, _SEVERAL if is_of_several else _ONE, annotation=Path)]
    options = [*options_of(function, first.name, *_NOT_OPTIONS), *cuts]
    if per_neighbor is not None:
        options.append(option("per_neighbor", bool, False, help=_PER_NEIGHBOR))
    if draws:
        options.append(option("dpi", int, _DPI, help="Dots per inch, of .png."))
    suffixes = FIGURES if draws else PAGES if writes_page else TABLES if sums_up else ANSWERS
    if first.name == "model":
        files.append(inspect.Parameter("adata", _ONE, default=None, annotation=Path | None))
        suffixes = SUFFIXES
    out = output(suffixes, is_required=suffixes not in (ANSWERS, TABLES))
    command.__signature__ = inspect.Signature([*files, *options, out])  # type: ignore[attr-defined]  # inspect reads it
    command.__annotations__ = {}  # else cyclopts takes these for those of the signature
    return command


def training_command() -> Callable[..., None]:
    """Make the command that trains, whose ``--out`` is a folder."""

    def command(adata: Path, *, out: Path, **given: Any) -> None:
        given.setdefault("progress", sys.stderr.isatty())
        runs = amici_xr.train(expand_home(adata), given.pop("labels_key"), **given)
        print(*map(printable, repr(runs).splitlines()), sep="\n")
        runs.save(out)
        print(printable(str(out)), file=sys.stderr)

    file = inspect.Parameter("adata", _ONE, annotation=Path)
    text = (
        "Folder to write: the model of each run, and history.nc. One of earlier runs is replaced."
    )
    out = option("out", Path, inspect.Parameter.empty, alias="-o", help=text)
    options = [*options_of(amici_xr.train, *_NOT_OPTIONS), out]
    command.__signature__ = inspect.Signature([file, *options])  # type: ignore[attr-defined]  # inspect reads it
    command.__annotations__ = {}  # else cyclopts takes these for those of the signature
    return command


def _paths_in(value: object) -> list[Path]:
    """Return the files that an option names, none where it names something else."""
    values = value if isinstance(value, list) else [value]
    return [expand_home(each) for each in values if isinstance(each, Path)]


def open_arguments(function: Function, first: str, file: Path) -> dict[str, Any]:
    """Read a file, and return its Dataset, or those of a study, by the arguments they are for."""
    data = open_file(file)
    return {first: data} if isinstance(data, xr.Dataset) else datasets_for(function, data)


def open_option(function: Function, name: str, file: Path) -> list[xr.Dataset]:
    """Read the file of an option: a Dataset, or those in a study that are meant by it."""
    data = open_file(file)
    if isinstance(data, xr.Dataset):
        return [data]
    found = datasets_for(function, data, [name] if name in FILLED else []).get(name)
    if found is None:
        raise WrongCall(
            f"{flag(name)}: {str(file)!r} is a study without such a group; it has "
            f"{listed(groups_of(data))}"
        )
    return found if isinstance(found, list) else [found]


def open_file(
    file: Path, *, unit: str | None = None, is_lazy: bool = False
) -> xr.Dataset | xr.DataTree:
    """Read a file that `extract`, `save` or the original wrote."""
    if file.name.endswith(CSV):
        return read_csv(file, unit=unit)
    if unit is not None:
        raise WrongCall("--unit is for a .csv; other files tell their unit themselves")
    return open_any_file(file, chunks={} if is_lazy else None)


def cut_down(
    ds: xr.Dataset | None,
    *,
    run: int | None = None,
    query: str | None = None,
    sample: str | None = None,
    heads: int | Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
) -> xr.Dataset | None:
    """Select from a Dataset what a command was asked about.

    Parameters
    ----------
    ds
        What the file holds; None for a study without scores.
    run
        Training run to take, of a file of several.
    query
        Receiving cell type to take, of a file of several.
    sample
        Sample to take, of a file of several.
    heads
        Attention heads to take, e.g. 0,2.
    labels
        Sending cell type to take; give it again for several.
    """
    if ds is None:
        if any(asked is not None for asked in (run, query, sample, heads, labels)):
            raise WrongCall("the study has no scores from which a part could be taken")
        return None
    if run is not None:
        if "run" not in ds.dims:
            raise NotFoundError(f"run={run}: this file holds a single training run")
        check_names("run", [run], ds["run"].values.tolist(), "run")
        ds = ds.sel(run=run)
    if query is not None or sample is not None:
        ds = select(ds, query, sample=sample)
    if heads is not None:
        ds = with_head_dim(ds)
        check_names("heads", np.atleast_1d(heads).tolist(), ds["head"].values.tolist(), "head")
        ds = ds.sel(head=np.atleast_1d(heads))
    if labels is not None:
        check_names("labels", labels, np.unique(ds["label"].values).tolist(), "label")
        ds = ds.isel(neighbor=np.flatnonzero(ds["label"].isin(list(labels)).values))
    return ds


def distances_to_the_edge(ds: xr.Dataset, n_steps: int) -> list[float]:
    """Return distances in equal steps from 0 to where the neighborhoods end.

    That is the 95th percentile of the receivers' farthest neighbors, up to the next round step.
    """
    from matplotlib.ticker import MaxNLocator

    is_known = has_neighborhoods(ds)
    farthest: Any = ds["neighborhood_distance"].max("rank").dropna("receiver") if is_known else []
    if not len(farthest):
        raise WrongCall(
            "the file has no neighborhoods that tell up to where; add --distance, e.g. 0:50:5"
        )
    end = float(np.quantile(farthest, 0.95)) or 1.0
    ticks = MaxNLocator(nbins=10, steps=[1, 2, 2.5, 5, 10]).tick_values(0, end)
    return [float(f"{distance:.12g}") for distance in np.linspace(0, ticks[-1], n_steps + 1)]
