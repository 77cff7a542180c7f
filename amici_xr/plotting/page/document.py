"""One file to explore a Dataset in any browser, without a network."""

from __future__ import annotations

import base64
import datetime
import json
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
from amici_xr.dataset.selection import one_run, select, with_head_dim
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import (
    check_fraction,
    check_positive_integer,
    check_sample_threshold,
    check_seed,
)
from amici_xr.io.atomic import replace_atomically
from amici_xr.iteration import watched
from amici_xr.plotting.colors import Palette, label_colors
from amici_xr.plotting.page import figures, points, summaries

THRESHOLDS = (0.01, 0.02, *(number / 20 for number in range(1, 20)))  # 0.05, 0.1, … 0.95
_BYTES = 6_000_000  # of single cells, in all queries; a third more as base64
_SCRIPTS = ("numbers.js", "figures.js", "table.js", "controls.js")


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
) -> None:
    """Write a page to explore: one HTML file that opens in any browser, without a network.

    It shows, for each query, head and label, curves with bands, the length scales
    ``L = max(0, (u/p)·(a − δ − logit t))`` and their distribution at a threshold t that a slider
    moves, the tissue where coordinates are known, a table to download, what the words mean, and
    where the numbers come from.

    Medians, means, boxes, intervals, support and curves are those of all neighbors, from
    `length_scale`, `bootstrap`, `support` and `curve_summary`. Single cells, on the tissue and
    beside the boxes, are a sample where there are more than `n_points`; the page says so. Their
    length scales are computed in the page, in float64, from the scores that it holds. A page of one
    query with 100,000 neighbors and 8 heads takes about 5 MB.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), or (query, neighbor, head).
    path
        Where to write, ending in ``.html``; what is there is replaced.
    threshold
        Where the slider starts, strictly between 0 and 1.
    sample_threshold
        As in `length_scale`. Without neighborhoods the correction is left out; the page says so.
    distance
        Where curves are taken, in the Dataset's unit; None takes 241 distances from 0 to about the
        end of the neighborhoods, or 121 or 61 where queries, labels and heads are many.
    thresholds
        The stops of the slider; None takes 0.01, 0.02 and 0.05 to 0.95 in steps of 0.05.
    n_points
        Number of neighbors of each query that are shown as single cells, at most, with half as many
        receivers; fewer where there are many heads and queries. As many of each label as fit are
        taken, so that only the largest labels are cut.
    palette
        Colors of the labels, as in `plot_curve`.
    random_state
        Seed of the sample.
    progress
        Whether to show a progress bar for each query where it takes more than a second.

    Raises
    ------
    ValueError
        If `path` does not end in ``.html``, `ds` holds several runs or no neighbors, or an
        argument is out of range.
    SchemaError
        If `ds` is not a Dataset of scores, or its neighborhoods do not fit its labels.
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
    check_structure(ds)
    one_run(ds, "a page shows a single training")
    target = _html(path)
    figures.require_bokeh()
    sample_threshold = check_sample_threshold(sample_threshold)
    stops = check_thresholds(THRESHOLDS if thresholds is None else thresholds, "thresholds")
    stops = sorted({*stops, check_fraction("threshold", threshold)})
    n_points = check_positive_integer("n_points", n_points)
    random_state = check_seed(random_state)
    at = None if distance is None else np.sort(np.atleast_1d(check_distance(ds, distance).values))
    queries = [str(query) for query in np.atleast_1d(ds["query"].values)]
    datasets = [with_head_dim(select(ds, query)).compute() for query in queries]
    met = set().union(*(one["label"].values.tolist() for one in datasets))
    if not met:
        raise ValueError("ds holds no neighbors, so there is nothing to show")
    known = ds["cell_type"].values.tolist() if "cell_type" in ds.coords else sorted(met)
    labels = [str(label) for label in known if label in met]
    colors = _hexadecimal(label_colors(ds, labels, palette))
    share = sample_threshold if has_neighborhoods(ds) else None  # nothing else to correct by
    reaches = [
        summaries.reach(
            one, watched(stops, f"report {query}", "threshold", "report", is_shown=progress), share
        )
        for query, one in zip(queries, datasets, strict=True)
    ]
    if at is None:
        at = summaries.default_distance(datasets, reaches)
    size = min(n_points, _affordable(datasets))
    content = {
        "unit": distance_unit(ds) or UNKNOWN_UNIT,
        "heads": [int(head) for head in datasets[0]["head"].values],
        "labels": labels,
        "colors": [colors[label] for label in labels],
        "statuses": summaries.STATUSES,
        "thresholds": stops,
        "logits": [float(logit(value)) for value in stops],
        "start": stops.index(float(threshold)),
        "sample_threshold": share,
        "has_neighborhoods": has_neighborhoods(ds),
        "distance": at,
        "queries": [
            _of_query(one, found, labels, at, size, random_state)
            for one, found in zip(datasets, reaches, strict=True)
        ],
        "provenance": _provenance(ds, target),
    }
    drawn = figures.figures(distance_unit(ds) or UNKNOWN_UNIT, float(at[-1]) or 1.0)
    with replace_atomically(target) as beside:
        beside.write_text(_html_of(content, drawn), encoding="utf-8", newline="\n")


def _affordable(datasets: Sequence[xr.Dataset]) -> int:
    """How many neighbors of each query may be shown as single cells, with half as many receivers.

    Of a neighbor a, p, place and label are embedded, of a receiver attention and place.
    """
    n_heads = datasets[0].sizes["head"]
    of_neighbor, of_receiver = 8 * n_heads + 18, 8 * n_heads + 16
    return max(1, int(_BYTES / (len(datasets) * (of_neighbor + of_receiver / 2))))


def _html(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"path={os.fspath(path)!r} must end in '.html'")
    if target.is_dir():
        raise ValueError(f"path={os.fspath(path)!r} is a folder; remove it, or choose another name")
    return target


def _hexadecimal(colors: dict[str, Any]) -> dict[str, str]:
    from matplotlib.colors import to_hex

    return {label: to_hex(color) for label, color in colors.items()}


def _of_query(
    one: xr.Dataset,
    found: xr.Dataset,
    labels: list[str],
    at: NDArray[np.float64],
    size: int,
    random_state: int | None,
) -> dict[str, Any]:
    """All that the page holds of one query; a label that it never meets has a count of 0."""
    absent = {"n_neighbors": 0, "status": summaries.STATUSES.index("absent")}
    every = found.reindex(label=labels, fill_value=absent)
    curves = summaries.curves(one, at).reindex(label=labels)
    receivers, why = points.receiver_points(one, size // 2 or 1, random_state)
    return {
        "name": str(one["query"].item()),
        "delta": float(one["dummy_attention_score"]),
        "unit_scale": float(one["distance_kernel_unit_scale"]),
        "n_neighbors": one.sizes["neighbor"],
        "n_receivers": one.sizes.get("receiver", 0),
        "counts": every["n_neighbors"].isel(head=0, threshold=0).values.astype(np.int32),
        "reach": {
            name: array.values for name, array in every.data_vars.items() if name != "n_neighbors"
        }
        | {"status": every["status"].values.astype(np.uint8)},
        "curves": {name: array.values for name, array in curves.data_vars.items()},
        "points": points.neighbor_points(one, labels, size, random_state),
        "receivers": receivers,
        "no_attention": why,
    }


def _provenance(ds: xr.Dataset, path: Path) -> dict[str, dict[str, str]]:
    """Where the numbers come from, as they are shown."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    versions = {name: version(name) for name in ("amici-xr", "bokeh", "numpy", "scipy", "xarray")}
    opened = ds.encoding.get("source")
    source = {"file": Path(str(opened)).name} if opened else {}
    return {
        "This page": {"written": now.replace("+00:00", "Z"), "name": path.name} | source,
        "Versions": versions | {"python": platform.python_version()},
        "Attributes of the Dataset": {str(name): str(value) for name, value in ds.attrs.items()},
    }


def _html_of(content: dict[str, Any], drawn: dict[str, Any]) -> str:
    """The template with all in it: text reaches the page as JSON alone, never as markup."""
    folder = files("amici_xr.plotting.page").joinpath("template")
    parts = {
        "style": folder.joinpath("page.css").read_text("utf-8"),
        "bokeh": figures.library(),
        "script": "\n".join(folder.joinpath(name).read_text("utf-8") for name in _SCRIPTS),
        "content": _json(content),
        "figures": _json(drawn),
    }
    template = folder.joinpath("page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _json(content: Any) -> str:
    """JSON that can stand in a script element, which nothing ends without a ``<``."""
    return json.dumps(content, default=_encoded).replace("<", "\\u003c")


def _encoded(array: Any) -> dict[str, Any]:
    """An array to the last bit; its strings as positions in their sorted list."""
    if array.dtype.kind in "UO":
        names, codes = np.unique(array.astype(str), return_inverse=True)
        return {"names": names.tolist(), "codes": _encoded(codes.astype(np.int32))}
    ordered = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(ordered.tobytes()).decode("ascii"),
    }
