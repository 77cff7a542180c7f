"""Answers: tables on the screen; CSV, Parquet, NetCDF or Zarr in a file; figures."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from amici_xr.analysis.column_names import distinguish
from amici_xr.cli.info import description_of
from amici_xr.cli.messages import printable
from amici_xr.dataset.kinds import is_response
from amici_xr.dataset.schema import UNKNOWN_UNIT, distance_unit, has_neighborhoods
from amici_xr.dataset.structure import is_valid_structure
from amici_xr.findings.text import Summary
from amici_xr.io.atomic import replace_atomically
from amici_xr.io.formats import SUFFIXES
from amici_xr.io.long_table import change_texts, quote_formulas, to_dataframe
from amici_xr.io.paths import TABLES, check_replaceable
from amici_xr.io.storage import save
from amici_xr.plotting.shared.style import STYLE

MOST_ROWS = 1_000  # on the screen
_DIMS = ("run", "sample", "query", "label", "neighbor", "receiver", "head", "threshold", "distance")


def check_output(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse to write over an input, or over what no command of ours wrote, before any work."""
    if any(out.exists() and file.exists() and out.samefile(file) for file in inputs):
        raise FileExistsError(f"path={str(out)!r} is read too; choose another name for the output")
    for suffix in (".zarr.zip", ".csv.gz", *SUFFIXES, *TABLES):
        if out.name.endswith(suffix):
            check_replaceable(out, suffix)
            return


def deliver(ask: partial[Any], out: Path | None, labels: Sequence[str] | None) -> None:
    """Write the answer to the file, or show it: Datasets of scores as `info` does."""
    answer = ask()
    if isinstance(answer, Summary):
        if out is not None:
            write_table(answer.table, out)
        else:
            print(*map(printable, [*str(answer).splitlines(), "", *_lines_of(answer)]), sep="\n")
        return
    ds = answer.to_dataset() if isinstance(answer, xr.DataArray) else answer
    if is_valid_structure(ds) and out is None:
        print(*map(printable, description_of(ds)), sep="\n")
    elif out is not None and (is_valid_structure(ds) or not out.name.endswith(TABLES)):
        write_dataset(ds, out)
    else:
        rows = table_of_pairs(ds) if is_response(ds) else long_table(ds)
        if labels is not None and "label" in rows:
            rows = rows[rows["label"].isin(labels)]
        constants = {name: value for name, value in _constants(ask, ds).items() if name not in rows}
        if out is not None:
            write_table(rows.assign(**constants), out)
        else:
            settings = ", ".join(map(_text, constants, constants.values()))
            show(rows, f"{ask.func.__name__}: {settings}")


def _lines_of(findings: Summary) -> list[str]:
    return aligned(findings.table).splitlines() if len(findings.table) else []


def draw(plot: partial[Any], out: Path, dpi: int) -> None:
    """Write the figure of one axes or several; the old one stays if that fails."""
    import matplotlib as mpl

    mpl.use("agg")  # opens no window
    from matplotlib import pyplot as plt

    figure = np.ravel(plot())[0].figure
    with replace_atomically(out) as beside, plt.style.context(STYLE):
        figure.savefig(beside, format=out.suffix[1:], dpi=dpi)
    plt.close(figure)


def long_table(answer: xr.Dataset) -> pd.DataFrame:
    """Return one row for each position along the dims, without rows that hold no value.

    Quantiles become columns. A variable without dims has its value in every row, and variables
    without dims alone make one row; such coordinates are left out.
    """
    if "quantile" in answer.dims:
        quantiles = answer["quantiles"].to_dataset("quantile")
        levels = answer["quantile"].values
        texts = zip(levels.tolist(), distinguish(levels), strict=True)
        names = {level: f"quantile_{text}" for level, text in texts}
        answer = answer.drop_dims("quantile").assign(quantiles.rename(names))
    table = answer.drop_vars([name for name in answer.coords if not answer[name].ndim])
    if not table.dims:
        return pd.DataFrame({name: [array.item()] for name, array in table.data_vars.items()})
    dims = sorted(table.dims, key=lambda dim: _DIMS.index(dim) if dim in _DIMS else len(_DIMS))
    about = [name for name in table.coords if name not in dims]
    rows = table.to_dataframe(dim_order=dims).reset_index()[[*dims, *about, *table.data_vars]]
    varying = [name for name, array in table.data_vars.items() if array.ndim]
    return rows.dropna(how="all", subset=varying, ignore_index=True)


def table_of_pairs(response: xr.Dataset) -> pd.DataFrame:
    """Return one row for each tested pair of a distance response, the smallest q first."""
    pairs = response.drop_dims({"gene", "distance_bin", "sample"} & set(response.dims))
    pairs = pairs[[name for name in pairs.data_vars if set(pairs[name].dims) >= {"query", "label"}]]
    rows = pairs.to_dataframe().reset_index()
    rows = rows[rows["status"] == "tested"].drop(columns="status")
    return rows.sort_values("q_value", kind="stable", ignore_index=True)


def write_dataset(ds: xr.Dataset | xr.DataTree, out: Path) -> None:
    """Write a Dataset or a study by `save`, or scores as the original's table."""
    if isinstance(ds, xr.DataTree):
        save(ds, out)
    elif not out.name.endswith(TABLES):
        with _progress_of_dask() if ds.chunks and sys.stderr.isatty() else contextlib.nullcontext():
            save(ds, out)
    else:
        write_table(to_dataframe(ds), out, index=True)  # as the original writes it
        known = {"neighborhoods": has_neighborhoods(ds), "places of cells": "neighbor_x" in ds}
        if lost := ", ".join(name for name, is_known in known.items() if is_known):
            print(f"left behind, which a table can't hold: {lost}", file=sys.stderr)


def write_table(table: pd.DataFrame, out: Path, *, index: bool = False) -> None:
    """Write a file, floats to the last bit; the old one stays if that fails.

    In CSV, what a spreadsheet would run as a formula gets an apostrophe in front.
    """
    with replace_atomically(out) as beside:
        if out.suffix == ".parquet":
            table.to_parquet(beside, engine="pyarrow", index=index)
        else:
            compression: Any = "gzip" if out.suffix == ".gz" else None
            quote_formulas(table).to_csv(beside, index=index, compression=compression)


def show(rows: pd.DataFrame, title: str) -> None:
    """Print the title and the rows, of very many the first; not those of absent cell types."""
    present = rows[rows["n_neighbors"] > 0] if "n_neighbors" in rows else rows
    print(printable(title), "", aligned(present.head(MOST_ROWS)), sep="\n")
    left_out = {
        "more rows": len(present) - MOST_ROWS,
        "rows of cell types without neighbors": len(rows) - len(present),
    }
    for reason, number in left_out.items():
        if number > 0:
            print(f"… and {number:,} {reason}; --out FILE writes all", file=sys.stderr)


def aligned(rows: pd.DataFrame) -> str:
    """Return lines of columns, each under its name and with as many decimals as it needs."""
    rows = change_texts(rows, printable)
    with pd.option_context("display.precision", 4, "display.unicode.east_asian_width", True):
        return rows.to_string(index=False, na_rep="–")


def _constants(ask: partial[Any], answer: xr.Dataset) -> Mapping[str, Any]:
    """Return what is the same in all rows: the settings of the function, query, run and unit."""
    arguments = inspect.signature(ask.func).parameters.values()
    settings = {argument.name: argument.default for argument in arguments} | ask.keywords
    constants = {name: value for name, value in settings.items() if isinstance(value, str | float)}
    asked = [ds for ds in (*ask.args, answer) if isinstance(ds, xr.Dataset)]
    coords = {str(name): coord for ds in asked for name, coord in ds.coords.items()}
    constants |= {name: coord.item() for name, coord in coords.items() if not coord.ndim}
    unit = {"unit": distance_unit(asked[0]) or UNKNOWN_UNIT} if len(asked) > 1 else {}
    return constants | unit


def _text(name: str, value: Any) -> str:
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def _progress_of_dask() -> Any:
    from dask.diagnostics.progress import ProgressBar

    return ProgressBar(minimum=1.0, out=sys.stderr)  # type: ignore[no-untyped-call]  # no types
