"""A tour of the demo: ``amici-xr demo [FOLDER]``."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import textwrap
from collections.abc import Iterator
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

import amici_xr
from amici_xr.cli.outputs import aligned, draw, long_table
from amici_xr.demo_data import FOLDERS
from amici_xr.findings.sentences import format_q

if TYPE_CHECKING:
    from anndata import AnnData

THRESHOLD = 0.1
MICRONS_PER_UNIT = 1.0  # of the demo's coordinates
_COLUMNS = [
    *("sender", "receiver", "planted", "evidence", "reach", "ci_lower", "ci_upper", "head"),
    *("effect", "effect_reach"),
]


def guide(folder: Path) -> None:
    """Ask the tissue, put a model beside it, compare both with what was planted, and save all."""
    folder.mkdir(parents=True, exist_ok=True)
    model, adata = amici_xr.demo()
    planted = adata.uns["interactions"].rename(columns={"length_scale": "planted"})
    response = _ask_tissue(adata, planted)
    saved = _ask_models(model, adata, planted["receiver"].tolist())

    reaches = aligned(_reaches(saved["tissue"], response, planted))
    lines = _across_runs(saved["runs"], planted)
    written = [
        str(path.relative_to(folder)) for path in _written(folder, saved | {"response": response})
    ]
    beside = Path(sys.executable).with_name("amici-xr")  # whose folder may not be searched
    words = {
        "model": model, "threshold": THRESHOLD, "reaches": reaches, "runs": "\n".join(lines),
        "written": _wrapped(written), "folder": folder,
        "response": str(folder / "response.nc"), "tissue": str(folder / "tissue.nc"),
        "program": "amici-xr" if shutil.which("amici-xr") else beside, "python": sys.executable,
    }  # fmt: skip
    print(_text("tour_model.txt", words), end="")


def _wrapped(names: list[str]) -> str:
    """Set names in lines, indented."""
    margin = " " * 4
    return textwrap.fill(
        ", ".join(names), 98, initial_indent=margin, subsequent_indent=margin,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _text(name: str, words: dict[str, Any]) -> str:
    """Fill in one of the texts beside this module."""
    return (files("amici_xr.cli") / name).read_text("utf-8").format_map(words)


def _ask_tissue(adata: AnnData, planted: pd.DataFrame) -> xr.Dataset:
    """Test which pairs the tissue alone supports, and print the findings."""
    pairs = (
        f"{sender} → {receiver} within {radius:g} µm"
        for sender, receiver, radius in planted[["sender", "receiver", "planted"]].values
    )
    words = {"n_cells": adata.n_obs, "n_genes": adata.n_vars, "planted": " and ".join(pairs)}
    print(_text("tour_tissue.txt", words))
    response = amici_xr.distance_response(
        adata, "cell_type", microns_per_unit=MICRONS_PER_UNIT, progress=sys.stderr.isatty()
    )
    print(amici_xr.summary(response), end="\n\n", flush=True)
    return response


def _ask_models(model: Any, adata: AnnData, receivers: list[str]) -> dict[str, xr.Dataset]:
    """Extract all receivers, with effects, and the planted ones of three training runs."""
    extract = partial(amici_xr.extract, unit="µm", progress=sys.stderr.isatty())
    runs = amici_xr.align_runs(
        extract(model, receivers, adata) for model, adata in map(amici_xr.demo, FOLDERS)
    )
    saved = {receiver: extract(model, receiver, adata) for receiver in receivers}
    return saved | {"tissue": extract(model, None, adata, effects=True), "runs": runs}


def _across_runs(runs: xr.Dataset, planted: pd.DataFrame) -> Iterator[str]:
    """Yield the reach of each planted pair in each run, and over all of them."""
    reach = runs.cf.reach_across_runs(THRESHOLD)
    for sender, receiver in planted[["sender", "receiver"]].itertuples(index=False):
        pair = reach.sel(query=receiver, label=sender)
        lengths = ", ".join(f"{length:.2f}" for length in pair.length_scale.values)
        interval = f"[{pair.ci_lower:.1f}, {pair.ci_upper:.1f}]"
        yield f"    {sender} → {receiver}: {lengths}; interval of their mean {interval}"


def _reaches(ds: xr.Dataset, response: xr.Dataset, planted: pd.DataFrame) -> pd.DataFrame:
    """Return the longest reach of each pair beside what was planted, pairs with evidence first."""
    rows = long_table(ds.cf.atlas(THRESHOLD, evidence=response)).query("status == 'reachable'")
    names = {
        "label": "sender", "query": "receiver", "median_length_scale": "reach",
        "q_value_tissue": "q",
    }  # fmt: skip
    pairs = ["sender", "receiver"]
    rows = rows.rename(columns=names).sort_values("reach").drop_duplicates(pairs, keep="last")
    rows = rows.merge(planted, "left", pairs)
    rows = rows.merge(_effects(ds).rename(columns=names), "left", pairs)
    rows = rows.sort_values(["q", "sender"])
    rows["evidence"] = rows["evidence"].str.replace("_", " ") + ", " + rows["q"].map(format_q)
    return rows[_COLUMNS]


def _effects(ds: xr.Dataset) -> pd.DataFrame:
    """Return the norm over genes of the effect of each pair, and how far it reaches."""
    effect = (ds.cf.gene_effects().effect ** 2).sum("gene") ** 0.5
    reach = ds.cf.effect_length_scale().effect_length_scale
    return long_table(xr.Dataset({"effect": effect, "effect_reach": reach}))


def _written(folder: Path, saved: dict[str, xr.Dataset]) -> Iterator[Path]:
    """Write the Datasets, their figures, a page, the model and its tissue; yield the paths."""
    for name, ds in saved.items():
        ds.cf.save(folder / f"{name}.nc")
        yield folder / f"{name}.nc"
    groups = {"scores": saved["tissue"], "tissue": saved["response"], "runs": saved["runs"]}
    amici_xr.save(xr.DataTree.from_dict(groups), folder / "study.nc")
    yield folder / "study.nc"
    plots = _plots(saved)
    for path in (folder / f"{name}{suffix}" for name in plots for suffix in (".png", ".svg")):
        draw(plots[path.stem], path, 150)
        yield path
    if importlib.util.find_spec("bokeh") is not None:  # an extra
        saved["tissue"].cf.report(folder / "tissue.html", THRESHOLD, evidence=saved["response"])
        yield folder / "tissue.html"
    (folder / "model").mkdir(exist_ok=True)
    with as_file(files("amici_xr.demo_data")) as packaged:  # to extract from, as from one's own
        yield shutil.copyfile(packaged / FOLDERS[0] / "model.pt", folder / "model" / "model.pt")
        yield shutil.copyfile(packaged / "tissue.h5ad", folder / "tissue.h5ad")


def _plots(saved: dict[str, xr.Dataset]) -> dict[str, partial[Any]]:
    """Return what draws each figure, by its name."""
    response, tissue = saved["response"], saved["tissue"]
    plots: dict[str, partial[Any]] = {
        "pairs": partial(response.cf.plot_pairs),
        "atlas": partial(tissue.cf.plot_atlas, THRESHOLD, evidence=response),
    }
    for receiver in (name for name in saved if name in tissue["query"]):
        supported = response["q_value"].sel(query=receiver)
        sender = supported["label"].values[int(supported.argmin("label"))]
        methods = saved[receiver].cf
        medians = methods.support(THRESHOLD).median_length_scale.max("label")
        head = int(medians.idxmax("head"))  # that of the longest reach
        plots |= {
            f"{receiver}_response": partial(response.cf.plot_response, receiver, sender),
            f"{receiver}_curve": partial(methods.plot_curve, head, np.linspace(0, 40, 161)),
            f"{receiver}_length_scale": partial(methods.plot_length_scale, THRESHOLD, ci=True),
        }
    return plots
