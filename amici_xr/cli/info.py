"""What ``amici-xr info`` shows of a file."""

from __future__ import annotations

import importlib.util
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from amici_xr.cli.tables import aligned
from amici_xr.dataset.schema import distance_unit, has_neighborhoods
from amici_xr.dataset.selection import samples, select

_INDENT = "    "


def described_file(file: Path, ds: xr.Dataset) -> Iterator[str]:
    """Lines that tell what is in the file, where it comes from, and what can be asked."""
    yield f"{file}: counterfactual attention"
    yield ""
    yield from _columns(_holdings(ds))
    for title, table in _counts(ds).items():
        yield from ("", title)
        yield from (_INDENT + line for line in aligned(table))
    made = _provenance(ds)
    if made:
        yield from ("", "Made")
        yield from (_INDENT + line for line in _columns(made))
    yield from ("", "Ask")
    yield from (f"{_INDENT}amici-xr {call}" for call in _questions(file, ds))


def _columns(rows: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, rows))
    return (f"{name:<{width}}  {value}" for name, value in rows.items())


def _holdings(ds: xr.Dataset) -> dict[str, str]:
    held = {"dims": ", ".join(f"{name} {size:,}" for name, size in ds.sizes.items())}
    for name in ("run", "query", "head"):
        if name in ds.variables:
            held[name] = ", ".join(map(str, np.atleast_1d(ds[name].values)))
    if "neighbor_sample" in ds.variables:
        held["sample"] = ", ".join(map(str, samples(ds)))
    held["unit of distance"] = distance_unit(ds) or "not given (extract --unit)"
    held["neighborhoods"] = (
        f"{ds.sizes['receiver']:,}, of up to {ds.sizes['rank']} cells{_extent(ds)}"
        if has_neighborhoods(ds)
        else "not known: ask with --sample-threshold none"
    )
    has_places = {"neighbor_x", "neighbor_y"} <= set(ds.variables)
    held["places of cells"] = "known" if has_places else "not known"
    return held


def _extent(ds: xr.Dataset) -> str:
    """How far neighborhoods reach: the median of the farthest neighbors."""
    distance = ds["neighborhood_distance"].values
    farthest = distance[np.isfinite(distance).any(axis=1)]
    if not farthest.size:
        return ""
    median = float(np.median(np.nanmax(farthest, axis=1)))
    return f"; median distance of the farthest {median:.3g} {distance_unit(ds) or ''}".rstrip()


def _counts(ds: xr.Dataset) -> dict[str, pd.DataFrame]:
    """Neighbors of each label, and neighbors and receivers of each query where it has several."""
    labels, counts = np.unique(ds["label"].values, return_counts=True)
    tables = {"Neighbors": pd.DataFrame({"label": labels, "cells": counts})}
    if "query" in ds.dims:
        of_each = [select(ds, str(query)) for query in ds["query"].values]
        receivers = {"receivers": [one.sizes["receiver"] for one in of_each]}
        tables["Receivers"] = pd.DataFrame(
            {"query": ds["query"].values}
            | (receivers if has_neighborhoods(ds) else {})
            | {"neighbors": [one.sizes["neighbor"] for one in of_each]}
        )
    return tables


def _provenance(ds: xr.Dataset) -> dict[str, str]:
    attributes = ds.attrs
    made = {
        name: str(attributes[key])
        for name, key in (
            ("created", "created"),
            ("from a", "source"),
            ("by amici_xr", "amici_xr_version"),
            ("schema", "schema_version"),
            ("microns_per_unit", "microns_per_unit"),
        )
        if key in attributes
    }
    for name, value in _detail(attributes.get("extraction")).items():
        if value is not None:
            made[name] = _in_words(value)
    for name, setting in _detail(attributes.get("model_settings")).items():
        if isinstance(setting, dict) and setting.get("value") is not None:
            made[name] = f"{setting['value']} ({setting.get('source')})"
    return made


def _detail(text: Any) -> dict[str, Any]:
    """An attribute that holds JSON; {} where there is none, or it was written by someone else."""
    try:
        detail = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return detail if isinstance(detail, dict) else {}


def _in_words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _questions(file: Path, ds: xr.Dataset) -> Iterator[str]:
    """Calls that work with this file."""
    query = str(np.atleast_1d(ds["query"].values)[0])
    name = shlex.quote(str(file))
    one = f" --query {shlex.quote(query)}" if "query" in ds.dims else ""
    one += f" --run {ds['run'].values[0]}" if "run" in ds.dims else ""
    known = has_neighborhoods(ds)
    uncorrected = "" if known else " --sample-threshold none"
    distance = "" if known else " --distance 0:50:5"
    head = np.atleast_1d(ds["head"].values)[0]
    yield f"length-scale {name} --threshold 0.1{uncorrected}"
    yield f"curve {name}{distance}"
    yield f"plot length-scale {name}{one} --threshold 0.1{uncorrected} --out length_scale.png"
    yield f"plot curve {name}{one} --head {head}{distance} --out curve.png"
    if known and "run" not in ds.dims:
        yield f"plot atlas {name} --threshold 0.1 --out atlas.png"
    if {"neighbor_x", "neighbor_y"} <= set(ds.variables):
        own: Sequence[str] = []
        if "neighbor_sample" in ds.variables:
            own = samples(ds).tolist()
        one += f" --sample {shlex.quote(own[0])}" if len(own) > 1 else ""
        yield f"plot spatial {name}{one} --head {head} --threshold 0.1{uncorrected} --out map.png"
    if "run" not in ds.dims:
        if importlib.util.find_spec("bokeh") is not None:  # an extra
            yield f"report {name} --threshold 0.1{uncorrected} --out report.html"
        yield f"convert {name} scores.csv.gz"
