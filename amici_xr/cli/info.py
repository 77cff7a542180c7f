"""What ``amici-xr info`` shows of a file."""

from __future__ import annotations

import importlib.util
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from amici_xr.accessor import list_contents, list_evidence, list_response
from amici_xr.dataset.kinds import EVIDENCE_OF_PAIRS, is_response, kind_of
from amici_xr.dataset.schema import has_neighborhoods
from amici_xr.dataset.selection import samples, select
from amici_xr.dataset.study import groups_of
from amici_xr.findings.study_arguments import asked_groups
from amici_xr.uncertainty.evidence import WORDS

_NO_EVIDENCE = "a reach is none; amici-xr distance-response asks the tissue which pairs are real"
_LONGEST = 120  # characters of an attribute


def description_of(ds: xr.Dataset | xr.DataTree, *, is_alone: bool = True) -> Iterator[str]:
    """Yield lines that tell what a Dataset or a study holds and where it comes from.

    `is_alone` says that no evidence stands beside it.
    """
    if isinstance(ds, xr.DataTree):
        groups = groups_of(ds)
        is_bare = not any(map(_is_evidence, groups.values()))
        yield f"Study of {len(groups)} group" + ("s" if len(groups) != 1 else "")
        for name in sorted(groups, key=lambda name: not _is_evidence(groups[name])):
            group = groups[name]
            yield from ("", f"{name}:")
            yield from (f"    {line}".rstrip() for line in description_of(group, is_alone=is_bare))
        return
    if kind_of(ds) == "training_history":
        yield from _description_of_history(ds)
        return
    if kind_of(ds) in EVIDENCE_OF_PAIRS:
        yield from (f"Evidence of the kind {WORDS[kind_of(ds)]}", *list_evidence(ds))
        return
    if kind_of(ds) == "answer":
        yield "Answer to a question about scores, which plain xarray opens"
        yield from (f"    {name} ({', '.join(map(str, ds[name].dims))})" for name in ds.data_vars)
        return
    if is_response(ds):
        yield from ("Distance response", *list_response(ds))
    else:
        yield from ("Counterfactual attention", *list_contents(ds))
    if "query" in ds.dims and not is_response(ds):
        for query in ds["query"].values:
            sizes = select(ds, str(query)).sizes
            counts = (f"{sizes[dim]:,} {dim}s" for dim in ("receiver", "neighbor") if dim in sizes)
            yield f"    {query}: {', '.join(counts)}"
    if is_alone and not is_response(ds):
        yield f"    {'evidence:':<18} {_NO_EVIDENCE}"
    yield from ("", "Made:")
    for name, value in ds.attrs.items():
        for key, detail in (_json(value) or {name: value}).items():
            if isinstance(detail, dict):  # a setting of the model, and where it comes from
                detail = detail["value"] and f"{detail['value']} ({detail.get('source')})"
            if detail is not None:
                words = ", ".join(map(str, np.atleast_1d(detail)))
                yield f"    {key + ':':<26} {_shortened(words)}"


def _is_evidence(ds: xr.Dataset) -> bool:
    """Tell whether a group of a study says which pairs are real: these come first."""
    return is_response(ds) or kind_of(ds) in EVIDENCE_OF_PAIRS


def _shortened(words: str) -> str:
    """Cut off what would fill the screen."""
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]} … ({len(words):,} characters)"


def _description_of_history(ds: xr.Dataset) -> Iterator[str]:
    yield f"History of a training of {ds.sizes['run']} runs"
    ds = ds.compute()
    for run in ds["run"].values:
        of_run = ds.sel(run=run)
        n_epochs = int(of_run["loss"].notnull().sum())
        line = f"    run {run}: {of_run['status'].item()} after {n_epochs} epochs"
        best = int(of_run["best_epoch"])
        if best >= 0 and "explained_variance" in ds:
            explained = float(of_run["explained_variance"].sel(epoch=best))
            line += f", held-out explained variance {explained:.3f} (epoch {best})"
        yield line


def _json(text: Any) -> dict[str, Any]:
    """Read an attribute that holds several values; {} where it is a single one."""
    try:
        content = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def questions_to(file: Path, ds: xr.Dataset | xr.DataTree) -> Iterator[str]:
    """Yield commands that work with this file."""
    if isinstance(ds, xr.DataTree):
        yield from dict.fromkeys(
            question for group in asked_groups(ds) for question in questions_to(file, group)
        )
        return
    if kind_of(ds) == "training_history":
        yield f"plot history {shlex.quote(str(file))} --out history.png"
    elif kind_of(ds) in EVIDENCE_OF_PAIRS:
        yield f"summary {shlex.quote(str(file))}"
    elif is_response(ds):
        yield from questions_to_response(shlex.quote(str(file)), ds)
    elif kind_of(ds) != "answer":
        yield from questions_to_scores(file, ds)


def questions_to_response(name: str, ds: xr.Dataset) -> Iterator[str]:
    """Yield commands that work with the file of a distance response."""
    yield f"summary {name}"
    yield f"plot pairs {name} --out pairs.png"
    if {"query", "label"} <= set(ds.dims) and bool((ds["status"] == "tested").any()):
        q = ds["q_value"].compute()
        query, label = (
            shlex.quote(str(ds[dim].values[int(number)])) for dim, number in q.argmin(...).items()
        )
        yield f"plot response {name} --query {query} --label {label} --out response.png"


def questions_to_scores(file: Path, ds: xr.Dataset) -> Iterator[str]:
    """Yield commands that work with a file of scores."""
    is_known, has_places = has_neighborhoods(ds), "neighbor_x" in ds.variables
    name = shlex.quote(str(file))
    query, head = (np.atleast_1d(ds[dim].values)[0] for dim in ("query", "head"))
    one = f"{name} --query {shlex.quote(str(query))}" if "query" in ds.dims else name
    one += f" --run {ds['run'].values[0]}" if "run" in ds.dims else ""
    threshold = "--threshold 0.1" if is_known else "--threshold 0.1 --sample-threshold none"
    distance = "" if is_known else " --distance 0:50:5"
    several_samples = "neighbor_sample" in ds.variables and len(samples(ds)) > 1
    sample = f" --sample {shlex.quote(samples(ds)[0])}" if several_samples else ""
    has_bokeh = importlib.util.find_spec("bokeh") is not None  # an extra
    answerable = {
        f"length-scale {name} {threshold}": True,
        f"curve {name}{distance}": True,
        f"plot length-scale {one} {threshold} --out length_scale.png": True,
        f"plot curve {one} --head {head}{distance} --out curve.png": True,
        f"plot atlas {name} --threshold 0.1 --out atlas.png": is_known and "run" not in ds.dims,
        f"plot spatial {one}{sample} --head {head} {threshold} --out map.png": has_places,
        f"report {name} {threshold} --out report.html": has_bokeh and "run" not in ds.dims,
        f"convert {name} scores.csv.gz": "run" not in ds.dims,
    }
    return (command for command, is_answerable in answerable.items() if is_answerable)
