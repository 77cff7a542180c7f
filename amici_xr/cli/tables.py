"""Tables of the command line: aligned on the screen, CSV or Parquet in a file."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import xarray as xr

from amici_xr.dependencies import require
from amici_xr.io.atomic import replace_atomically

SUFFIXES = (".csv", ".csv.gz", ".parquet")
SHARES = ("support", "edge_share")  # percent on the screen
MOST_ROWS = 1_000  # on the screen
_DIGITS = 4  # of the largest number of a column, on the screen
_NAMES = ("head", "neighbor", "run")  # whole numbers that count nothing
_AS_ASKED = ("threshold", "distance")
_ALIKE = (("point_estimate", "ci_lower", "ci_upper"), ("mean", "std"))


@dataclass(frozen=True)
class Table:
    """Rows, and what is the same in all of them.

    Attributes
    ----------
    rows
        The columns that differ from row to row.
    title
        What the numbers are, with their unit: the first line on the screen.
    same
        What is the same in every row: columns of a file, so that it can be read by itself.
    """

    rows: pd.DataFrame
    title: str
    same: dict[str, Any] = field(default_factory=dict)

    def whole(self) -> pd.DataFrame:
        """All columns, as in a file."""
        return self.rows.assign(**self.same)


def long_table(result: xr.Dataset, dims: Sequence[str]) -> pd.DataFrame:
    """One row for each position along `dims`, of those that are there, in this order.

    What has a further dim, such as quantiles, becomes one column for each position along it.
    """
    present = [dim for dim in dims if dim in result.dims]
    columns: dict[str, xr.DataArray] = {}
    for name, array in result.data_vars.items():
        further = [dim for dim in array.dims if dim not in present]
        if not further:
            columns[str(name)] = array
            continue
        (dim,) = further
        for value in array[dim].values:
            columns[f"{dim}_{value:g}"] = array.sel({dim: value}, drop=True)
    whole = xr.Dataset(columns).reset_coords(drop=True)
    return whole.to_dataframe(dim_order=present).reset_index()


def deliver(table: Table, out: Path | None) -> None:
    """Write the table to the file, or show it on the screen."""
    if out is None:
        show(table)
        return
    write(table.whole(), out)
    click.echo(f"{out}: {len(table.rows):,} rows", err=True)


def check_writable(out: Path | None) -> None:
    """Say before any work what is missing to write the file."""
    if out is not None and out.name.endswith(".parquet"):
        require("pyarrow", "parquet", "writing .parquet")


def write(table: pd.DataFrame, path: Path, *, index: bool = False) -> None:
    """Write a file, floats to the last bit; the old one stays if that fails."""
    with replace_atomically(path) as beside:
        if path.name.endswith(".parquet"):
            table.to_parquet(beside, engine="pyarrow", index=index)
        else:
            compression: Any = "gzip" if path.name.endswith(".gz") else None
            table.to_csv(beside, index=index, compression=compression)


def show(table: Table) -> None:
    """Print the title and the rows, of very many the first; not those of absent cell types."""
    rows = table.rows
    is_absent = rows["status"] == "absent" if "status" in rows else np.zeros(len(rows), bool)
    present = rows[~is_absent]
    shown = present.head(MOST_ROWS)
    click.echo(f"{table.title}\n")
    for line in aligned(shown):
        click.echo(line)
    left_out = {
        "more rows": len(present) - len(shown),
        "rows of cell types without neighbors": len(rows) - len(present),
    }
    for what, number in left_out.items():
        if number:
            click.echo(f"… and {number:,} {what}; --out FILE writes all", err=True)


def aligned(rows: pd.DataFrame) -> list[str]:
    """Lines of columns, text to the left and numbers to the right, under their names."""
    columns = [_aligned(str(name), rows) for name in rows.columns]
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]


def _aligned(name: str, rows: pd.DataFrame) -> list[str]:
    is_number = rows[name].dtype.kind in "iuf"
    cells = [name, *(_numbers(name, rows) if is_number else map(str, rows[name]))]
    width = max(map(_width, cells))
    pads = [" " * (width - _width(cell)) for cell in cells]
    return [pad + cell if is_number else cell + pad for cell, pad in zip(cells, pads, strict=True)]


def _numbers(name: str, rows: pd.DataFrame) -> list[str]:
    """Numbers as text: all of a column with as many decimals."""
    numbers = rows[name].to_numpy()
    if numbers.dtype.kind in "iu":
        return [str(number) if name in _NAMES else f"{number:,}" for number in numbers]
    if name in _AS_ASKED:
        return [f"{number:g}" for number in numbers]
    form = ".1%" if name in SHARES else f",.{_decimals(name, rows)}f"
    return ["–" if np.isnan(number) else f"{number:{form}}" for number in numbers]


def _decimals(name: str, rows: pd.DataFrame) -> int:
    """So many that the largest number of the column, and of those like it, has four digits."""
    alike = next((names for names in _ALIKE if name in names), (name,))
    values = np.abs(rows[[one for one in alike if one in rows]].to_numpy())
    largest = values[np.isfinite(values)].max(initial=0.0)
    digits = _DIGITS - 1 - int(np.floor(np.log10(largest))) if largest > 0 else 0
    return min(max(digits, 0), 8)


def _width(text: str) -> int:
    """Columns of a terminal that the text takes: two for a wide letter, none for an accent."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(bool(unicodedata.combining(letter)) for letter in text)
