"""A tour of the demo: ``amici-xr demo [FOLDER]``."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import amici_xr
from amici_xr.cli.outputs import aligned, draw, long_table
from amici_xr.demo_data import FOLDERS

THRESHOLD = 0.1
_COLUMNS = [
    *("sender", "receiver", "planted", "recovered", "ci_lower", "ci_upper", "head", "support"),
    *("effect", "effect_reach"),
]


def guide(folder: Path) -> None:
    """Extract both planted receivers, compare planted with recovered reach, draw and save."""
    folder.mkdir(parents=True, exist_ok=True)
    extract = partial(amici_xr.extract, progress=sys.stderr.isatty())
    model, adata = amici_xr.demo()
    planted = adata.uns["interactions"].rename(columns={"length_scale": "planted"})
    receivers = planted["receiver"].tolist()
    runs = amici_xr.align_runs(
        extract(model, receivers, adata) for model, adata in map(amici_xr.demo, FOLDERS)
    )
    saved = {receiver: extract(model, receiver, adata) for receiver in receivers}
    saved |= {"tissue": extract(model, None, adata, effects=True), "runs": runs}

    recovered = aligned(_recovered(saved["tissue"], planted))
    lines = _reach(runs, planted)
    written = (f"    {path}" for path in _written(folder, saved, receivers))
    beside = Path(sys.executable).with_name("amici-xr")  # whose folder may not be searched
    words = {
        "n_cells": adata.n_obs, "n_genes": adata.n_vars, "model": model, "threshold": THRESHOLD,
        "recovered": recovered, "runs": "\n".join(lines), "written": "\n".join(written),
        "file": str(folder / "T_cell.nc"), "tissue": str(folder / "tissue.nc"), "folder": folder,
        "program": "amici-xr" if shutil.which("amici-xr") else beside, "python": sys.executable,
    }  # fmt: skip
    print((files("amici_xr.cli") / "tour.txt").read_text("utf-8").format_map(words), end="")


def _reach(runs: xr.Dataset, planted: pd.DataFrame) -> Iterator[str]:
    """Yield the reach of each planted pair in each run, and over all of them."""
    reach = runs.cf.reach_across_runs(THRESHOLD)
    for sender, receiver in planted[["sender", "receiver"]].itertuples(index=False):
        pair = reach.sel(query=receiver, label=sender)
        lengths = ", ".join(f"{length:.2f}" for length in pair.length_scale.values)
        interval = f"[{pair.ci_lower:.1f}, {pair.ci_upper:.1f}]"
        yield f"    {sender} → {receiver}: {lengths}; interval of their mean {interval}"


def _recovered(ds: xr.Dataset, planted: pd.DataFrame) -> pd.DataFrame:
    """Return the length scales that the tissue supports, beside those that were planted."""
    rows = long_table(ds.cf.atlas(THRESHOLD)).query("status == 'reachable'")
    names = {"label": "sender", "query": "receiver", "median_length_scale": "recovered"}
    pairs = ["sender", "receiver"]
    rows = rows.rename(columns=names).merge(planted, "left", pairs)
    return rows.merge(_effects(ds).rename(columns=names), "left", pairs)[_COLUMNS]


def _effects(ds: xr.Dataset) -> pd.DataFrame:
    """Return the norm over genes of the effect of each pair, and how far it reaches."""
    effect = (ds.cf.gene_effects().effect ** 2).sum("gene") ** 0.5
    reach = ds.cf.effect_length_scale().effect_length_scale
    return long_table(xr.Dataset({"effect": effect, "effect_reach": reach}))


def _written(folder: Path, saved: dict[str, xr.Dataset], receivers: list[str]) -> Iterator[Path]:
    """Write the Datasets, their figures, a page, the model and its tissue; yield the paths."""
    for name, ds in saved.items():
        ds.cf.save(folder / f"{name}.nc")
        yield folder / f"{name}.nc"
    plots: dict[str, partial[Any]] = {"atlas": partial(saved["tissue"].cf.plot_atlas, THRESHOLD)}
    for name in receivers:
        methods = saved[name].cf
        medians = methods.support(THRESHOLD).median_length_scale.max("label")
        head = int(medians.idxmax("head"))  # that of the longest reach
        plots[f"{name}_curve"] = partial(methods.plot_curve, head, np.linspace(0, 40, 161))
        plots[f"{name}_length_scale"] = partial(methods.plot_length_scale, THRESHOLD, ci=True)
    for path in (folder / f"{name}{suffix}" for name in plots for suffix in (".png", ".svg")):
        draw(plots[path.stem], path, 150)
        yield path
    if importlib.util.find_spec("bokeh") is not None:  # an extra
        saved["tissue"].cf.report(folder / "tissue.html", THRESHOLD)
        yield folder / "tissue.html"
    (folder / "model").mkdir(exist_ok=True)
    with as_file(files("amici_xr.demo_data")) as packaged:  # to extract from, as from one's own
        yield shutil.copyfile(packaged / FOLDERS[0] / "model.pt", folder / "model" / "model.pt")
        yield shutil.copyfile(packaged / "tissue.h5ad", folder / "tissue.h5ad")
