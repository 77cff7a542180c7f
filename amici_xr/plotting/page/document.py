"""The page to explore a Dataset: one HTML file for any browser, without a network."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from amici_xr.analysis.curves import check_distance
from amici_xr.dataset.reduction import check_thresholds
from amici_xr.dataset.schema import UNKNOWN_UNIT, distance_unit, has_neighborhoods
from amici_xr.dataset.selection import check_has_head, one_run, select, with_head_dim
from amici_xr.errors import (
    check_fraction,
    check_positive_integer,
    check_sample_threshold,
    check_seed,
)
from amici_xr.findings.supported_pairs import summary
from amici_xr.findings.text import Summary
from amici_xr.io.atomic import replace_atomically
from amici_xr.io.paths import expand_home
from amici_xr.iteration import watched
from amici_xr.plotting.page import figures, pairs, points, summaries
from amici_xr.plotting.page.encoding import Shares, pack, to_json
from amici_xr.plotting.shared.colors import Palette, label_colors
from amici_xr.uncertainty.evidence import check_types, read_evidence, types_of

THRESHOLDS = (0.01, 0.02, *(number / 20 for number in range(1, 20)))  # 0.05, 0.1, … 0.95
_BYTES = 1_400_000  # of single cells, in all queries; a third more as base64
_QUESTION_OF_PAIRS = "Which cell types influence each other?"
_QUESTION_OF_REACH = "How far do neighbors reach?"
_SCRIPTS = ("numbers.js", "figures.js", "table.js", "pairs.js", "controls.js")


def report(
    ds: xr.Dataset,
    path: str | os.PathLike[str],
    threshold: float = 0.5,
    sample_threshold: float | None = 0.02,
    distance: ArrayLike | xr.DataArray | None = None,
    *,
    thresholds: Sequence[float] | None = None,
    n_points: int = 20_000,
    palette: Palette = None,
    random_state: int | None = 42,
    progress: bool = False,
    evidence: xr.Dataset | Sequence[xr.Dataset] | None = None,
    significance_level: float = 0.05,
) -> None:
    """Write an interactive page: one HTML file that opens in any browser, without a network.

    It shows, for each query, head and label, curves with bands, the length scales
    ``L = max(0, (u/p)·(a − δ − logit t))`` and their distribution at a threshold t set with a
    slider, the tissue where coordinates are known, a table to download, definitions of the terms,
    and the provenance of the numbers. With `evidence`, it begins with the findings, as `summary`
    tells them, lists all pairs, the supported ones first, and opens on the strongest.

    Medians, means, boxes, intervals, support and curves come from all neighbors, by `length_scale`,
    `bootstrap`, `support` and `curve_summary`. Single cells, on the tissue and beside the boxes,
    are a sample where there are more than `n_points`; the page says so. Their length scales are
    computed in the page, in float64, from the scores that it holds. A page of one query with
    100,000 neighbors and 8 heads takes about 3 MB, one of 17 queries and labels with 6 heads 5 MB.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), or (query, neighbor, head).
    path
        Where to write, ending in ``.html``; an existing file is replaced. A ``~`` in front is the
        home folder.
    threshold
        Threshold at which the slider starts, strictly between 0 and 1.
    sample_threshold
        As in `length_scale`. Without neighborhoods the correction is left out; the page says so.
    distance
        Distances of the curves, in the Dataset's unit; None takes 241 distances from 0 to about the
        end of the neighborhoods, or 121 or 61 where queries, labels and heads are many.
    thresholds
        The stops of the slider; None takes 0.01, 0.02 and 0.05 to 0.95 in steps of 0.05.
    n_points
        Largest number of neighbors of each query that are shown as single cells, with half as many
        receivers; fewer where there are many heads and queries. The sample is balanced over labels,
        so that only the largest labels lose cells.
    palette
        Colors of the labels, as in `plot_curve`.
    random_state
        Seed of the sample.
    progress
        Whether to show a progress bar for each query where it takes more than a second.
    evidence, significance_level
        As in `atlas`.

    Raises
    ------
    ValueError
        If `path` does not end in ``.html``, `ds` holds several runs, no neighbors or no head, or an
        argument is out of range, or `evidence` is of other cell types.
    SchemaError
        If `ds` is not a Dataset of scores, or its neighborhoods do not fit its labels; or if
        `evidence` is of another kind, or in-sample.
    ModuleNotFoundError
        If Bokeh, which draws the figures, is not installed, or tqdm, which shows progress.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=100, unit="µm")
    >>> amici_xr.report(ds, "a.html", threshold=0.1, thresholds=[0.1, 0.5])
    >>> with open("a.html", encoding="utf-8") as file:
    ...     file.readline().rstrip()
    '<!DOCTYPE html>'
    """
    from matplotlib.colors import to_hex

    check_has_head(ds)
    one_run(ds, "a page shows a single training run")
    target = _html_path(path)
    figures.require_bokeh()
    sample_threshold = check_sample_threshold(sample_threshold)
    stops = check_thresholds(THRESHOLDS if thresholds is None else thresholds, "thresholds")
    stops = sorted({*stops, check_fraction("threshold", threshold)})
    n_points = check_positive_integer("n_points", n_points)
    random_state = check_seed(random_state)
    level = check_fraction("significance_level", significance_level)
    kinds = read_evidence(evidence)
    check_types(types_of(ds), kinds)
    if distance is not None:
        distance = np.sort(np.atleast_1d(check_distance(ds, distance).values))
    queries = np.atleast_1d(ds["query"].values).astype(str)
    datasets = [with_head_dim(select(ds, query)).compute() for query in queries.tolist()]
    labels = _labels_met(datasets)
    colors = label_colors(ds, labels, palette)
    share = sample_threshold if has_neighborhoods(ds) else None  # else nothing can be corrected
    reaches = []
    for query, dataset in zip(queries, datasets, strict=True):
        counted = watched(stops, f"report {query}", "threshold", "report", is_shown=progress)
        reaches.append(summaries.reach(dataset, counted, share))
    distances = summaries.default_distance(datasets, reaches) if distance is None else distance
    size = min(n_points, _affordable_points(datasets))
    unit = distance_unit(ds) or UNKNOWN_UNIT
    findings = _findings(ds, evidence, level, threshold) if kinds else None
    content = {
        "unit": unit,
        "heads": [int(head) for head in datasets[0]["head"].values],
        "labels": labels,
        "colors": [to_hex(colors[label]) for label in labels],
        "statuses": summaries.STATUSES,
        "thresholds": stops,
        "logits": logit(stops).tolist(),
        "start": stops.index(float(threshold)),
        "sample_threshold": share,
        "has_neighborhoods": has_neighborhoods(ds),
        "distance": distances,
        "queries": [
            _query_content(dataset, reach, labels, distances, size, random_state)
            for dataset, reach in zip(datasets, reaches, strict=True)
        ],
        "evidence": {
            "kinds": list(kinds),
            "level": level,
            "pairs": pairs.list_pairs(queries.tolist(), labels, kinds, findings),
            "sentences": findings.sentences if findings is not None else [],
        },
        "provenance": _provenance(ds, target),
    }
    empty_figures = figures.empty_figures(unit, float(distances[-1]) or 1.0)
    with replace_atomically(target) as temporary:
        temporary.write_text(_fill_template(content, empty_figures), encoding="utf-8", newline="\n")


def _findings(
    ds: xr.Dataset,
    evidence: xr.Dataset | Sequence[xr.Dataset] | None,
    level: float,
    threshold: float,
) -> Summary:
    """Sum up the findings, with the reach of the model where there are neighborhoods."""
    model = ds if has_neighborhoods(ds) else None
    return summary(model, evidence, level, threshold)


def _labels_met(datasets: Sequence[xr.Dataset]) -> list[str]:
    """Return the labels of all queries, in the order of the model's vocabulary where known."""
    met = set().union(*(dataset["label"].values.tolist() for dataset in datasets))
    if not met:
        raise ValueError("ds holds no neighbors, so there is nothing to show")
    first = datasets[0]
    names = first["cell_type"].values.tolist() if "cell_type" in first.coords else sorted(met)
    return [str(name) for name in names if name in met]


def _affordable_points(datasets: Sequence[xr.Dataset]) -> int:
    """Return how many neighbors of each query, with half as many receivers, the page can hold.

    For a neighbor a, p, position and label are embedded, for a receiver attention and position.
    """
    n_heads = datasets[0].sizes["head"]
    per_neighbor, per_receiver = 8 * n_heads + 18, 2 * n_heads + 16
    return max(1, int(_BYTES / (len(datasets) * (per_neighbor + per_receiver / 2))))


def _html_path(path: str | os.PathLike[str]) -> Path:
    target = expand_home(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"path={os.fspath(path)!r} must end in '.html'")
    if target.is_dir():
        raise ValueError(f"path={os.fspath(path)!r} is a folder; remove it, or choose another name")
    return target


def _query_content(
    ds: xr.Dataset,
    reach: xr.Dataset,
    labels: list[str],
    distances: NDArray[np.float64],
    size: int,
    random_state: int | None,
) -> dict[str, Any]:
    """Return what the page holds for one query; labels that it never meets have a count of 0."""
    absent = {"n_neighbors": 0, "status": summaries.STATUSES.index("absent")}
    reach = reach.reindex(label=labels, fill_value=absent)
    reach["status"] = reach["status"].astype(np.uint8)
    largest = np.finfo(np.float32).max  # quantiles are only drawn
    reach["quantiles"] = reach["quantiles"].clip(-largest, largest).astype(np.float32)
    curves = summaries.curves(ds, distances).reindex(label=labels)
    receivers, reason = points.receiver_points(ds, size // 2 or 1, random_state)
    return {
        "name": str(ds["query"].item()),
        "delta": float(ds["dummy_attention_score"]),
        "unit_scale": float(ds["distance_kernel_unit_scale"]),
        "n_neighbors": ds.sizes["neighbor"],
        "n_receivers": ds.sizes.get("receiver", 0),
        "counts": reach["n_neighbors"].isel(head=0, threshold=0).values.astype(np.int32),
        "reach": {name: array.values for name, array in reach.items() if name != "n_neighbors"},
        "curves": {name: Shares(array.values) for name, array in curves.items()},
        "points": points.neighbor_points(ds, labels, size, random_state),
        "receivers": receivers,
        "no_attention": reason,
    }


def _provenance(ds: xr.Dataset, path: Path) -> dict[str, dict[str, str]]:
    """Return where the numbers come from, as the page shows it."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    versions = {name: version(name) for name in ("amici-xr", "bokeh", "numpy", "scipy", "xarray")}
    opened = ds.encoding.get("source")
    source = {"file": Path(str(opened)).name} if opened else {}
    return {
        "This page": {"written": now.replace("+00:00", "Z"), "name": path.name} | source,
        "Versions": versions | {"python": platform.python_version()},
        "Attributes of the Dataset": {str(name): str(value) for name, value in ds.attrs.items()},
    }


def _fill_template(content: dict[str, Any], empty_figures: dict[str, Any]) -> str:
    """Return the page: all text reaches it as JSON, never as markup."""
    folder = files("amici_xr.plotting.page").joinpath("template")
    has_evidence = bool(content["evidence"]["kinds"])
    parts = {
        "title": _QUESTION_OF_PAIRS if has_evidence else _QUESTION_OF_REACH,
        "style": folder.joinpath("page.css").read_text("utf-8"),
        "unpack": folder.joinpath("unpack.js").read_text("utf-8"),
        "bokeh": pack(figures.bokeh_script()),
        "script": "\n".join(folder.joinpath(name).read_text("utf-8") for name in _SCRIPTS),
        "content": pack(to_json(content)),
        "figures": to_json(empty_figures),
    }
    template = folder.joinpath("page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)
