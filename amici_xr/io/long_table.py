"""Datasets from the original's long table, and back to that table."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from amici_xr.dataset.construction import from_arrays
from amici_xr.dataset.schema import provenance, scores
from amici_xr.dataset.selection import one_run, select, with_head_dim
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import SchemaError, listed

# Before 3.1 the default parser loses the last bits; from 3.1 on it is exact, and warns if asked.
_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])
_EXACT_FLOATS: Any = {} if _PANDAS >= (3, 1) else {"float_precision": "round_trip"}

# As the page writes its tables. Apostrophes before it are text, so that one can be removed again.
_BEFORE_FORMULA = re.compile(r"^(?='*[=+\-@\t\r])")
_QUOTED_FORMULA = re.compile(r"^'(?='*[=+\-@\t\r])")
_UNREADABLE = (ValueError, EOFError, zlib.error, gzip.BadGzipFile)  # pandas' own are ValueErrors

TABLE_COLUMNS = (
    "query_label",
    "neighbor_idx",
    "neighbor_label",
    "head_idx",
    "base_attention_score",
    "position_coefficient",
    "dummy_attention_score",
    "distance_kernel_unit_scale",
)
_COLUMNS_OF_COORDS = {
    "query": "query_label",
    "neighbor": "neighbor_idx",
    "label": "neighbor_label",
    "head": "head_idx",
}


def from_dataframe(df: pd.DataFrame, *, unit: str | None = None) -> xr.Dataset:
    """Make a Dataset from the original's long table.

    Parameters
    ----------
    df
        One row per query, neighbor and head, in any order, with the columns ``query_label``,
        ``neighbor_idx``, ``neighbor_label``, ``head_idx``, ``base_attention_score``,
        ``position_coefficient``, ``dummy_attention_score``, ``distance_kernel_unit_scale``.
    unit
        Name of the unit of every distance, e.g. "µm".

    Returns
    -------
    xarray.Dataset
        Dims (neighbor, head), with ``query`` in front where the table holds several. The table
        knows no neighborhoods, so what needs them (the artifact correction) asks for
        ``sample_threshold=None``.

    Raises
    ------
    SchemaError
        If columns or rows are missing, doubled or at odds.
    TypeError
        If `df` is no DataFrame.

    Warns
    -----
    UserWarning
        If the table has further columns, which a Dataset does not keep.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.from_arrays([[2.0]], [[0.5]], ["Tumor"], query="T_cell")
    >>> amici_xr.from_dataframe(amici_xr.to_dataframe(ds)).equals(ds)
    True
    """
    table = _checked_table(df)
    keys = ["query_label", "neighbor_idx", "head_idx"]
    rows = table.set_index(keys)[["base_attention_score", "position_coefficient"]]
    # xarray sorts, and fills with NaN what has no row; queries stay in the order of the table
    dense = rows.to_xarray().sel(query_label=table["query_label"].unique())
    if dense.sizes["query_label"] == 1:
        dense = dense.squeeze("query_label")
    label = table.drop_duplicates("neighbor_idx").set_index("neighbor_idx")["neighbor_label"]
    ds = from_arrays(
        dense["base_attention_score"].values,
        dense["position_coefficient"].values,
        label=label[dense["neighbor_idx"].values].to_numpy(),
        query=dense["query_label"].values.tolist(),
        dummy_attention_score=table["dummy_attention_score"].iloc[0],
        distance_kernel_unit_scale=table["distance_kernel_unit_scale"].iloc[0],
        neighbor=dense["neighbor_idx"].values,
        head=dense["head_idx"].values,
        unit=unit,
    )
    return ds.assign_attrs(provenance("table"))


def read_csv(path: str | os.PathLike[str], *, unit: str | None = None) -> xr.Dataset:
    """Read the CSV that the original's ``save()`` writes, gzipped or not, as `from_dataframe`.

    Parameters
    ----------
    path
        The file, in UTF-8 or UTF-16, with commas, semicolons (as spreadsheets write where the comma
        is decimal), tabs or ``|`` between the columns. The apostrophe is removed that the
        command line writes before a label that a spreadsheet would run, such as ``'=A1``. A ``~``
        in front is the home folder.
    unit
        Name of the unit of every distance, e.g. "µm".

    Returns
    -------
    xarray.Dataset
        As from `from_dataframe`; every float comes back to the last bit.

    Raises
    ------
    SchemaError
        If columns or rows are missing, doubled or at odds.
    ValueError
        If the file can't be read as CSV.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.from_arrays([[2.0]], [[0.5]], ["Tumor"], query="T_cell")
    >>> amici_xr.to_dataframe(ds).to_csv("scores.csv")
    >>> amici_xr.read_csv("scores.csv").equals(ds)
    True
    """
    try:
        encoding, first_column = _read_header(path)
        separator = next((mark for mark in ";\t|" if mark in first_column), ",")
        table = _read_table(path, encoding, separator, ".")
        numbers = table.get("base_attention_score", pd.Series([0.0]))
        if separator != "," and not pd.api.types.is_numeric_dtype(numbers):
            table = _read_table(path, encoding, separator, ",")
    except UnicodeError as error:
        raise ValueError(
            f"path={os.fspath(path)!r} can't be read as CSV: it is neither UTF-8 nor UTF-16 with a "
            "byte order mark; read it with pandas.read_csv(path, encoding=…), and pass the table "
            "to amici_xr.from_dataframe"
        ) from error
    except _UNREADABLE as error:
        raise ValueError(f"path={os.fspath(path)!r} can't be read as CSV: {error}") from error
    if table.shape[1] == 1 and "query_label" in first_column:
        raise ValueError(
            f"path={os.fspath(path)!r} can't be read as CSV: between its columns stand no commas, "
            "semicolons, tabs or '|'; read it with pandas.read_csv(path, sep=…), and pass the "
            "table to amici_xr.from_dataframe"
        )
    unnamed = [name for name in table.columns if str(name).startswith("Unnamed: ")]
    for name in {"query_label", "neighbor_label"} & set(table.columns):
        table[name] = table[name].str.replace(_QUOTED_FORMULA, "", regex=True)
    return from_dataframe(table.drop(columns=unnamed), unit=unit)


def _read_header(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the encoding of a table, and what stands before the first comma of its header."""
    for encoding in ("utf-8", "utf-16"):  # the second begins with a mark that the first never has
        with contextlib.suppress(UnicodeError):
            first, *others = map(str, pd.read_csv(path, nrows=0, encoding=encoding).columns)
            if any("\0" in name for name in (first, *others)):  # kept by pandas 3
                continue
            # pandas 2 ends a name at a NUL, which is every other byte of UTF-16 read as UTF-8
            has_ends = all(name.startswith("Unnamed: ") for name in others)
            if not has_ends or len(first.removeprefix("Unnamed: ")) > 1:
                return encoding, first
    raise UnicodeError


def _read_table(
    path: str | os.PathLike[str], encoding: str, separator: str, decimal: str
) -> pd.DataFrame:
    table: pd.DataFrame = pd.read_csv(
        path,
        encoding=encoding,
        sep=separator,
        decimal=decimal,
        dtype={"query_label": str, "neighbor_label": str},
        keep_default_na=False,  # a cell type may be called "NA" or "None"
        na_values={name: [""] for name in TABLE_COLUMNS if not name.endswith("_label")},
        **_EXACT_FLOATS,
    )
    return table


def quote_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """Put an apostrophe in front of text that a spreadsheet would run; `read_csv` removes it."""
    return change_texts(table, lambda text: _BEFORE_FORMULA.sub("'", text))


def change_texts(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Change every text in a table, and nothing else."""
    columns = table.select_dtypes(exclude=["number", "bool"])
    return table.assign(
        **columns.map(lambda value: change(value) if isinstance(value, str) else value)
    )


def to_dataframe(ds: xr.Dataset) -> pd.DataFrame:
    """Write a Dataset as the original's long table.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head) or (query, neighbor, head).

    Returns
    -------
    pandas.DataFrame
        The columns that `from_dataframe` reads; rows by query, then head, then neighbor, and only
        those of neighbors of the query. Neighborhoods and coordinates have no place in it.

    Raises
    ------
    SchemaError
        If the Dataset is not one of scores.
    ValueError
        If it holds several runs, which the table can't tell apart.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.from_arrays([[2.0]], [[0.5]], ["Tumor"], query="T_cell")
    >>> amici_xr.to_dataframe(ds).loc[0, ["query_label", "neighbor_label"]].tolist()
    ['T_cell', 'Tumor']
    """
    ds = one_run(check_structure(ds), "the original's table has no place for them")
    queries = np.atleast_1d(ds["query"].values)
    return pd.concat([_table_of_query(select(ds, query)) for query in queries], ignore_index=True)


def _table_of_query(ds: xr.Dataset) -> pd.DataFrame:
    ds = with_head_dim(ds)
    columns = {str(array.name): array for array in scores(ds)}
    rows = ds[["label", "query"]].assign(columns).to_dataframe(dim_order=["head", "neighbor"])
    return rows.reset_index().rename(columns=_COLUMNS_OF_COORDS)[list(TABLE_COLUMNS)]


def _checked_table(df: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the original's table, labels as text, or say what is wrong."""
    if not isinstance(df, pd.DataFrame):
        raise TypeError(f"df must be a pandas.DataFrame, not {type(df).__name__}")
    missing = [name for name in TABLE_COLUMNS if list(df.columns).count(name) != 1]
    if missing:
        raise SchemaError(
            f"the table must have each of {listed(missing)} once; it has {listed(df.columns)}; is "
            "it the original's table of scores?"
        )
    extra = [name for name in df.columns if name not in TABLE_COLUMNS]
    if extra:
        warnings.warn(f"the table's columns {listed(extra)} are not kept", stacklevel=3)
    table = df[list(TABLE_COLUMNS)].reset_index(drop=True)
    problems = ["it has no rows"] if table.empty else []
    for name, column in table.items():
        if column.isna().any():
            problems.append(f"missing values in {name!r}")
        elif str(name).endswith("_label"):  # text also where it was a category or a number
            table[name] = np.array([str(value) for value in column], dtype=object)
        else:
            table[name] = pd.to_numeric(column, errors="coerce")
            if table[name].isna().any():
                problems.append(f"{name} holds values that are no numbers")
    problems = problems or [*_disagreements(table)]
    if problems:
        raise SchemaError("not the original's table of scores:\n- " + "\n- ".join(problems))
    return table


def _disagreements(table: pd.DataFrame) -> Iterator[str]:
    if table.duplicated(["query_label", "neighbor_idx", "head_idx"]).any():
        yield "a query, neighbor and head occurs in two rows"
    if (table.groupby("neighbor_idx")["neighbor_label"].nunique() > 1).any():
        yield "a neighbor has two labels"
    for name in ("dummy_attention_score", "distance_kernel_unit_scale"):
        if table[name].nunique() > 1:
            yield f"{name} is not the same in every row: tables of several models?"
    heads = table.groupby(["query_label", "neighbor_idx"])["head_idx"].nunique()
    if (heads != table["head_idx"].nunique()).any():
        yield "a neighbor lacks the row of some head"
