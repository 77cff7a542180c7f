"""Datasets from the original's long table, and back to that table."""

from __future__ import annotations

import gzip
import os
import re
import warnings
import zlib
from collections.abc import Iterator
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
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_QUOTED_FORMULA = re.compile(r"^'(?='*[=+\-@\t\r])")

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
    queries = table["query_label"].unique().tolist()
    index = {name: pd.Index(np.sort(table[name].unique())) for name in ("neighbor_idx", "head_idx")}
    cell = (
        pd.Index(queries).get_indexer(pd.Index(table["query_label"])),
        index["neighbor_idx"].get_indexer(pd.Index(table["neighbor_idx"])),
        index["head_idx"].get_indexer(pd.Index(table["head_idx"])),
    )
    arrays = {}
    for name in ("base_attention_score", "position_coefficient"):
        arrays[name] = np.full((len(queries), *(len(values) for values in index.values())), np.nan)
        arrays[name][cell] = table[name]
    label = table.drop_duplicates("neighbor_idx").sort_values("neighbor_idx")["neighbor_label"]
    base, position = arrays.values()
    one = len(queries) == 1
    ds = from_arrays(
        base[0] if one else base,
        position[0] if one else position,
        label=label.to_numpy(),
        query=queries[0] if one else queries,
        dummy_attention_score=table["dummy_attention_score"].iloc[0],
        distance_kernel_unit_scale=table["distance_kernel_unit_scale"].iloc[0],
        neighbor=index["neighbor_idx"],
        head=index["head_idx"],
        unit=unit,
    )
    return ds.assign_attrs(provenance("table"))


def read_csv(path: str | os.PathLike[str], *, unit: str | None = None) -> xr.Dataset:
    """Read the CSV that the original's ``save()`` writes, gzipped or not, as `from_dataframe`.

    Parameters
    ----------
    path
        The file, with commas, semicolons (as spreadsheets write where the comma is decimal) or
        tabs between the columns. The apostrophe is removed that the command line writes before a
        label that a spreadsheet would run, such as ``'=A1``. A ``~`` in front is the home folder.
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
        header = pd.read_csv(path, nrows=0).columns
        separator = next((mark for mark in ";\t" if mark in header[0]), ",")
        table = _read_table(path, separator, ".")
        numbers = table.get("base_attention_score", pd.Series([0.0]))
        if separator != "," and not pd.api.types.is_numeric_dtype(numbers):
            table = _read_table(path, separator, ",")
    except (
        ValueError,
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
    ) as error:  # pandas' own are ValueErrors
        raise ValueError(f"path={os.fspath(path)!r} can't be read as CSV: {error}") from error
    unnamed = [name for name in table.columns if str(name).startswith("Unnamed: ")]
    for name in {"query_label", "neighbor_label"} & set(table.columns):
        table[name] = table[name].str.replace(_QUOTED_FORMULA, "", regex=True)
    return from_dataframe(table.drop(columns=unnamed), unit=unit)


def _read_table(path: str | os.PathLike[str], separator: str, decimal: str) -> pd.DataFrame:
    table: pd.DataFrame = pd.read_csv(
        path,
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
    texts = table.select_dtypes(exclude=["number", "bool"])
    quoted = {name: column.map(_quote_formula) for name, column in texts.items()}
    return table.assign(**{str(name): column for name, column in quoted.items()})


def _quote_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


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
    return pd.concat([_table_of_one(select(ds, query)) for query in queries], ignore_index=True)


def _table_of_one(ds: xr.Dataset) -> pd.DataFrame:
    ds = with_head_dim(ds)
    a, p, delta, u = scores(ds)
    n_heads, n_neighbors = ds.sizes["head"], ds.sizes["neighbor"]
    columns = (
        ds["query"].item(),
        np.tile(ds["neighbor"].values, n_heads),
        np.tile(ds["label"].values, n_heads),
        np.repeat(ds["head"].values, n_neighbors),
        a.transpose("head", "neighbor").values.ravel(),
        p.transpose("head", "neighbor").values.ravel(),
        delta.item(),
        u.item(),
    )
    return pd.DataFrame(dict(zip(TABLE_COLUMNS, columns, strict=True)))


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
    _raise([*_missing_values(table)])
    for name in TABLE_COLUMNS:
        if name.endswith("_label"):  # text also where it was a category or a number
            table[name] = np.array([str(value) for value in table[name]], dtype=object)
        else:
            table[name] = pd.to_numeric(table[name])
    _raise([*_disagreements(table)])
    return table


def _missing_values(table: pd.DataFrame) -> Iterator[str]:
    if table.empty:
        yield "it has no rows"
    for name in TABLE_COLUMNS:
        if table[name].isna().any():
            yield f"missing values in {name!r}"
        elif name.endswith("_label"):
            continue
        elif pd.to_numeric(table[name], errors="coerce").isna().any():
            yield f"{name} holds values that are no numbers"


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


def _raise(problems: list[str]) -> None:
    if problems:
        raise SchemaError("not the original's table of scores:\n- " + "\n- ".join(problems))
