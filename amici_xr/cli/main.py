"""The command line, ``amici-xr``: what the functions do, from files to files."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amici_xr.cli.completion import PROGRAM, completion_option, install_completion, show_completion
from amici_xr.cli.inputs import CSV, opened
from amici_xr.cli.messages import OneLineErrors
from amici_xr.cli.options import (
    FILE,
    NUMBER_OR_NONE,
    OUT_DATASET,
    Numbers,
    OrWord,
    WholeNumbers,
    one_or_several,
    option,
    output,
)
from amici_xr.cli.plot_commands import PALETTE, RUN, SAMPLE_THRESHOLD, plot_group
from amici_xr.cli.table_commands import curve_command, length_scale_command
from amici_xr.dataset.schema import has_neighborhoods
from amici_xr.dependencies import require
from amici_xr.extraction.pipeline import extract
from amici_xr.io.long_table import read_csv, to_dataframe
from amici_xr.io.storage import SUFFIXES, open_dataset, save
from amici_xr.plotting.page.document import report

if TYPE_CHECKING:
    import xarray as xr

DEMO_FOLDER = "demo_output"
PROGRESS = click.option("--progress/--no-progress", default=None, show_default="on a terminal",
                        help="Show a progress bar.")  # fmt: skip


@click.group(
    cls=OneLineErrors,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"{PROGRAM} COMMAND --help tells more of each. Start with: {PROGRAM} demo",
)
@click.version_option(package_name="amici-xr", prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@completion_option("--show-completion", show_completion, "Print completion for a shell, and exit.")
@completion_option(
    "--install-completion", install_completion, "Install completion for a shell, and exit."
)
def command_line(debug: bool) -> None:
    """How far one cell type reaches another: counterfactual attention of AMICI models."""


@command_line.command("extract")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("adata", type=click.Path(path_type=Path), required=False)
@option(extract, "query", "Receiving cell type; give it again for several.", multiple=True,
        when_none="every type that ADATA has cells of")  # fmt: skip
@option(extract, "heads", "Attention heads to keep, e.g. 0,2.", when_none="all",
        type=WholeNumbers())  # fmt: skip
@option(extract, "batch_size", "Cells scored at a time.", type=int,
        when_none="1024 on a CPU, 16384 elsewhere")  # fmt: skip
@option(
    extract, "device", "A torch device, such as cpu or cuda.", when_none="a GPU if there is one"
)
@option(extract, "chunks", "Neighbors scored and written at a time, or auto: for tissues that "
        "memory does not hold.", when_none="all at once",
        type=OrWord(int, "auto", "auto"))  # fmt: skip
@option(extract, "sample_key", "Column of obs with the sample of each cell, which neighborhoods "
        "never cross.")  # fmt: skip
@option(extract, "unit", "Name of the unit of the coordinates, e.g. µm.")
@option(extract, "microns_per_unit", "Microns in a unit of the coordinates: every distance "
        "is then in µm. The model must have been trained on these coordinates.",
        type=float)  # fmt: skip
@PROGRESS
@OUT_DATASET
def extract_command(
    model: Path,
    adata: Path | None,
    query: list[str] | None,
    progress: bool | None,
    chunks: Any,
    out: Path,
    **arguments: Any,
) -> None:
    """Score the neighbors of receiving cell types.

    What is written answers everything else, without the model. MODEL is the folder of a saved
    model, ADATA the tissue, an .h5ad or .zarr; without ADATA the adata.h5ad in the model's folder.
    """
    if model.suffix == ".h5ad":
        raise click.UsageError(f"MODEL {str(model)!r} is a tissue; the order is MODEL ADATA")
    beside = (model if model.is_dir() else model.parent) / "adata.h5ad"
    if adata is None and model.exists() and not beside.exists():
        raise click.UsageError(f"ADATA, the tissue, is missing: there is no {beside} either")
    if out.suffix != ".nc":
        require("zarr", "zarr", f"writing {out}")
    shown = sys.stderr.isatty() if progress is None else progress
    ds = extract(model, one_or_several(query), adata, chunks=chunks, progress=shown, **arguments)
    with _progress_of_dask() if shown and chunks is not None else contextlib.nullcontext():
        save(ds, out)
    receivers = "every type" if query is None else ", ".join(query)
    click.echo(
        f"{out}: {ds.sizes['neighbor']:,} neighbors of {receivers}, {ds.sizes['head']} heads",
        err=True,
    )


@command_line.command("info")
@FILE
def info_command(file: Path) -> None:
    """What a file holds, and what can be asked of it."""
    from amici_xr.cli.info import described_file

    for line in described_file(file, opened(file, is_lazy=True)):
        click.echo(line)


command_line.add_command(length_scale_command)
command_line.add_command(curve_command)
command_line.add_command(plot_group)


@command_line.command("report")
@FILE
@option(report, "threshold", "Where the slider stands first.", type=float)
@option(report, "sample_threshold", SAMPLE_THRESHOLD, type=NUMBER_OR_NONE)
@option(report, "distance", "Where the curves are drawn: 0:50:0.5.", type=Numbers(),
        when_none="0 to where neighborhoods end")  # fmt: skip
@option(report, "thresholds", "Stops of the slider: 0.1:0.9:0.1.", type=Numbers(),
        when_none="0.01 to 0.95")  # fmt: skip
@option(report, "n_points", "Single neighbors in the page, at most.", type=int)
@option(report, "palette", "Name of a matplotlib colormap.", **PALETTE)
@option(report, "random_state", "Seed of the choice of neighbors.", type=int)
@PROGRESS
@RUN
@output((".html", ".htm"), "Where to write", required=True)
def report_command(
    file: Path, run: int | None, progress: bool | None, out: Path, **arguments: Any
) -> None:
    """A page to explore in a browser, in one file.

    It opens without a network.
    """
    shown = sys.stderr.isatty() if progress is None else progress
    report(opened(file, run=run), out, progress=shown, **arguments)
    click.echo(f"{out}", err=True)


@command_line.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@option(read_csv, "unit", "Name of the unit of distance, e.g. µm, which a .csv does not tell.")
def convert_command(source: Path, target: Path, unit: str | None) -> None:
    """The original's table of scores to .nc, or back.

    From and to .csv, .csv.gz, .nc, .zarr and .zarr.zip, by the suffix. A table holds scores alone:
    neighborhoods, places of cells and the unit stay behind.
    """
    if not target.name.endswith((*CSV, *SUFFIXES)):
        known = ", ".join((*CSV, *SUFFIXES))
        raise click.UsageError(f"TARGET {str(target)!r} must end in one of {known}")
    if unit is not None and not source.name.endswith(CSV):
        raise click.UsageError("--unit is for a .csv; other files tell their unit themselves")
    ds = read_csv(source, unit=unit) if source.name.endswith(CSV) else open_dataset(source)
    if target.name.endswith(CSV):
        _write_table(ds, target)
    else:
        save(ds, target)
    click.echo(f"{target}", err=True)


@command_line.command("demo")
@click.argument("folder", type=click.Path(path_type=Path), default=DEMO_FOLDER)
def demo_command(folder: Path) -> None:
    """A small example, and files to try the rest on.

    Compares two interactions that were planted in a simulated tissue with what a model trained on
    it recovers, and writes the model, the tissue, what is extracted from them and figures to
    FOLDER, by default demo_output.
    """
    from amici_xr.demo_data.__main__ import main as tour

    tour(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends with ``SystemExit``: 0, 1 after an error, 2 after a wrong call."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows no µ shows a ? instead
            stream.reconfigure(errors="replace")
    command_line.main(arguments, prog_name=PROGRAM)


def _progress_of_dask() -> Any:
    from dask.diagnostics.progress import ProgressBar

    return ProgressBar(minimum=1.0, out=sys.stderr)  # type: ignore[no-untyped-call]  # no types


def _write_table(ds: xr.Dataset, target: Path) -> None:
    from amici_xr.cli.tables import write

    left_behind = [what for what, is_there in (
        ("neighborhoods", has_neighborhoods(ds)),
        ("places of cells", "neighbor_x" in ds.variables),
    ) if is_there]  # fmt: skip
    write(to_dataframe(ds), target, index=True)  # as the original writes it
    if left_behind:
        click.echo(f"left behind, which a table can't hold: {', '.join(left_behind)}", err=True)


if __name__ == "__main__":
    main()
