"""Layouts, selections and calls of which every combination is tried; see the test of this name."""

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import amici_xr
from amici_xr.testing import simulate_dataset

PACKAGE = str(Path(amici_xr.__file__).parent)
CELLS = {"n_cells": 70, "n_neighbors": 4, "samples": ["a1", "a2", "b1", "b2"], "unit": "px"}
GROUP_OF_SAMPLE = {"a1": "one", "a2": "one", "b1": "two", "b2": "two"}


def simulate_runs():
    """Simulate three training runs on one tissue."""
    one = simulate_dataset(["A", "B"], **CELLS)
    score = one.base_attention_score
    return amici_xr.align_runs([one.assign(base_attention_score=score + i / 8) for i in range(3)])


LAYOUTS = {
    "a query": lambda: simulate_dataset("A", **CELLS),
    "several queries": lambda: simulate_dataset(["A", "B", "C"], **CELLS),
    "several runs": simulate_runs,
}


def _first(ds, dim):
    return ds.isel({dim: 0})


def _where(ds, **options):
    return ds.where(ds.neighbor % 2 == 0, **options)


def _with_names(ds):
    names = {
        f"{cell}_name": (cell, [f"c{at}" for at in ds[cell].values])
        for cell in ("neighbor", "receiver")
    }
    return ds.assign_coords(names)


def _another(ds):
    """Return another tissue with the same heads, queries and runs."""
    scores = ds.base_attention_score
    return ds.assign(base_attention_score=scores - 1)


# What only changes how a Dataset is held: every result stays as it was.
HELD_OTHERWISE = {
    "copy(deep=True)": lambda ds: ds.copy(deep=True),
    "pickle": lambda ds: pickle.loads(pickle.dumps(ds)),
    "load": lambda ds: ds.load(),
    "chunk": lambda ds: ds.chunk(),
    "chunk(neighbor=7)": lambda ds: ds.chunk(neighbor=7),
    "chunk(receiver=5, head=1)": lambda ds: ds.chunk(receiver=5, head=1),
    "transpose": lambda ds: ds.transpose(*reversed(list(ds.dims))),
    "astype(float64)": lambda ds: ds.assign(
        {
            name: ds[name].astype("float64")
            for name in ("base_attention_score", "position_coefficient")
        }
    ),
    "sortby(label)": lambda ds: ds.sortby("label"),
    "sortby(neighbor, descending)": lambda ds: ds.sortby("neighbor", ascending=False),
    "isel(neighbor=reversed)": lambda ds: ds.isel(neighbor=slice(None, None, -1)),
    "isel(receiver=reversed)": lambda ds: ds.isel(receiver=slice(None, None, -1)),
    "reset_coords(neighbor_x)": lambda ds: ds.reset_coords(["neighbor_x", "neighbor_y"]),
    "object strings": lambda ds: ds.assign_coords(label=ds.label.astype(object)),
    "attributes dropped": lambda ds: ds.drop_attrs(deep=False),
    "concat of halves": lambda ds: xr.concat(
        [ds.isel(neighbor=slice(20)), ds.isel(neighbor=slice(20, None))],
        "neighbor",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
    ),
    "squeeze": lambda ds: ds.squeeze(),
    "int32 positions": lambda ds: ds.assign_coords(neighbor=ds.neighbor.astype("int32")),
    "names given": _with_names,
}
# What takes some heads, queries or runs: the same of every result.
ALONG_AN_AXIS = {
    "isel(head=0)": lambda ds: _first(ds, "head"),
    "isel(head=[1])": lambda ds: ds.isel(head=[1]),
    "isel(head=reversed)": lambda ds: ds.isel(head=slice(None, None, -1)),
    "sel(head=1)": lambda ds: ds.sel(head=1),
    "isel(head=boolean)": lambda ds: ds.isel(head=np.array([True, False])),
    "isel(query=0)": lambda ds: _first(ds, "query"),
    "isel(query=[1])": lambda ds: ds.isel(query=[1]),
    "isel(query=reversed)": lambda ds: ds.isel(query=slice(None, None, -1)),
    "sel(query='B')": lambda ds: ds.sel(query="B"),
    "isel(run=0)": lambda ds: _first(ds, "run"),
    "isel(run=[2, 0, 1])": lambda ds: ds.isel(run=[2, 0, 1]),
    "isel(run=[0])": lambda ds: ds.isel(run=[0]),
}
# What takes some cells, or takes something away: a result of what is left, or an error of ours.
OTHER_CELLS = {
    "reset_coords": lambda ds: ds.reset_coords(),
    "reset_coords(label)": lambda ds: ds.reset_coords("label"),
    "isel(neighbor=0)": lambda ds: _first(ds, "neighbor"),
    "isel(neighbor=[0])": lambda ds: ds.isel(neighbor=[0]),
    "isel(neighbor=slice)": lambda ds: ds.isel(neighbor=slice(3, 30)),
    "isel(neighbor=boolean)": lambda ds: ds.isel(neighbor=(ds.label == "D").values),
    "isel(neighbor=empty)": lambda ds: ds.isel(neighbor=[]),
    "isel(neighbor=repeated)": lambda ds: ds.isel(neighbor=[0, 0, 1]),
    "sel(neighbor=list)": lambda ds: ds.sel(neighbor=ds.neighbor.values[::3]),
    "isel(receiver=0)": lambda ds: _first(ds, "receiver"),
    "isel(receiver=[0])": lambda ds: ds.isel(receiver=[0]),
    "isel(receiver=boolean)": lambda ds: ds.isel(receiver=np.arange(ds.sizes["receiver"]) % 2 == 0),
    "isel(receiver=empty)": lambda ds: ds.isel(receiver=[]),
    "isel(receiver=repeated)": lambda ds: ds.isel(receiver=[0, 0]),
    "isel(rank=0)": lambda ds: _first(ds, "rank"),
    "isel(rank=[0])": lambda ds: ds.isel(rank=[0]),
    "isel(rank=slice)": lambda ds: ds.isel(rank=slice(2)),
    "isel(rank=reversed)": lambda ds: ds.isel(rank=slice(None, None, -1)),
    "isel(rank=empty)": lambda ds: ds.isel(rank=[]),
    "isel(rank=repeated)": lambda ds: ds.isel(rank=[0, 0]),
    "isel(head=empty)": lambda ds: ds.isel(head=[]),
    "isel(head=repeated)": lambda ds: ds.isel(head=[0, 0]),
    "isel(query=empty)": lambda ds: ds.isel(query=[]),
    "isel(run=empty)": lambda ds: ds.isel(run=[]),
    "isel(cell_type=reversed)": lambda ds: ds.isel(cell_type=slice(None, None, -1)),
    "isel(cell_type=[0])": lambda ds: ds.isel(cell_type=[0]),
    "isel(cell_type=0)": lambda ds: _first(ds, "cell_type"),
    "where": _where,
    "where(drop=True)": lambda ds: _where(ds, drop=True),
    "where(…, 0)": lambda ds: _where(ds, other=0),
    "where(head)": lambda ds: ds.where(ds.head == 0),
    "where(query, drop=True)": lambda ds: ds.where(ds.query == "A", drop=True),
    "dropna": lambda ds: _where(ds).dropna("neighbor", how="all"),
    "drop_vars(neighbor)": lambda ds: ds.drop_vars("neighbor"),
    "drop_vars(receiver)": lambda ds: ds.drop_vars("receiver"),
    "drop_vars(head)": lambda ds: ds.drop_vars("head"),
    "drop_vars(query)": lambda ds: ds.drop_vars("query"),
    "drop_vars(run)": lambda ds: ds.drop_vars("run"),
    "drop_vars(cell_type)": lambda ds: ds.drop_vars("cell_type"),
    "drop_vars(is_neighbor)": lambda ds: ds.drop_vars("is_neighbor"),
    "drop_vars(places)": lambda ds: ds.drop_vars(["neighbor_x", "receiver_y"]),
    "drop_vars(receiver_sample)": lambda ds: ds.drop_vars("receiver_sample"),
    "drop_vars(samples)": lambda ds: ds.drop_vars(["neighbor_sample", "receiver_sample"]),
    "drop_dims(receiver)": lambda ds: ds.drop_dims("receiver"),
    "drop_dims(rank)": lambda ds: ds.drop_dims("rank"),
    "drop_indexes(neighbor)": lambda ds: ds.drop_indexes("neighbor"),
    "drop_indexes(receiver)": lambda ds: ds.drop_indexes("receiver"),
    "drop_indexes(query)": lambda ds: ds.drop_indexes("query"),
    "drop_indexes(cell_type)": lambda ds: ds.drop_indexes("cell_type"),
    "reset_index(neighbor)": lambda ds: ds.reset_index("neighbor"),
    "set_index(neighbor=label)": lambda ds: ds.set_index(neighbor="label"),
    "swap_dims(neighbor=label)": lambda ds: ds.swap_dims(neighbor="label"),
    "stack": lambda ds: ds.stack(pair=["neighbor", "head"]),
    "rename(neighbor)": lambda ds: ds.rename(neighbor="cell"),
    "rename(label)": lambda ds: ds.rename(label="type"),
    "rename_dims(neighbor)": lambda ds: ds.rename_dims(neighbor="cell"),
    "rename_vars(neighbor)": lambda ds: ds.rename_vars(neighbor="cell"),
    "expand_dims(run)": lambda ds: ds.expand_dims("run"),
    "expand_dims(run=[0])": lambda ds: ds.expand_dims(run=[0]),
    "expand_dims(replicate)": lambda ds: ds.expand_dims("replicate"),
    "expand_dims(query)": lambda ds: ds.expand_dims("query"),
    "concat of two tissues": lambda ds: xr.concat([ds, _another(ds)], "neighbor"),
    "concat of two tissues, minimal": lambda ds: xr.concat(
        [ds, _another(ds)], "neighbor", data_vars="minimal", coords="minimal", compat="override"
    ),
    "concat of the same tissue": lambda ds: xr.concat([ds, ds], "receiver"),
    "concat along a new dim": lambda ds: xr.concat([ds, _another(ds)], "tissue"),
    "merge of shifted": lambda ds: xr.merge(
        [ds, ds.assign_coords(neighbor=ds.neighbor + 100)], compat="override", join="outer"
    ),
    "reindex": lambda ds: ds.reindex(neighbor=range(70)),
    "shift": lambda ds: ds.shift(neighbor=1),
    "roll": lambda ds: ds.roll(neighbor=1),
    "groupby(label).mean": lambda ds: ds[["base_attention_score"]].groupby("label").mean(),
    "astype(float)": lambda ds: ds.assign(neighborhood_index=ds.neighborhood_index.astype(float)),
    "labels as numbers": lambda ds: ds.assign_coords(
        label=("neighbor", pd.factorize(ds.label.values)[0])
    ),
    "labels as bytes": lambda ds: ds.assign_coords(label=ds.label.astype("S")),
    "labels missing": lambda ds: ds.assign_coords(
        label=("neighbor", np.r_[[None], ds.label.values[1:].astype(object)])
    ),
    "samples as numbers": lambda ds: ds.assign_coords(
        {
            f"{cell}_sample": (cell, np.arange(ds.sizes[cell]) % 2)
            for cell in ("neighbor", "receiver")
        }
    ),
    "NaN places": lambda ds: ds.assign_coords(neighbor_x=ds.neighbor_x * np.nan),
    "places as text": lambda ds: ds.assign_coords(neighbor_x=ds.neighbor_x.astype(str)),
    "complex scores": lambda ds: ds.assign(
        base_attention_score=ds.base_attention_score.astype(complex)
    ),
    "float16 scores": lambda ds: ds.assign(
        base_attention_score=ds.base_attention_score.astype("float16")
    ),
    "reset_coords(neighbor, drop)": lambda ds: ds.reset_index("neighbor", drop=True),
}


def _drawn(axes):
    """Return the numbers and words of a figure."""
    import matplotlib.pyplot as plt

    parts = {}
    for at, ax in enumerate(np.atleast_1d(np.asarray(axes, dtype=object)).ravel()):
        lines = [np.ravel(np.asarray(line.get_xydata(), float)) for line in ax.lines]
        parts[f"lines{at}"] = ("line", np.concatenate([np.zeros(1), *lines]))
        ax.figure.canvas.draw()
        values = [
            np.ma.filled(np.ma.asarray(part.get_array(), float), np.nan).ravel()
            for part in ax.collections
            if part.get_array() is not None
        ]
        parts[f"values{at}"] = (f"value{at}", np.concatenate([np.zeros(1), *values]))
        parts[f"lines{at}"] = (f"line{at}", parts[f"lines{at}"][1])
        parts[f"title{at}"] = ((), f"{ax.get_title()}|{ax.get_xlabel()}|{ax.get_ylabel()}")
    plt.close("all")
    return xr.Dataset(parts)


def _saved(ds, suffix):
    path = Path(f"saved{suffix}")
    ds.cf.save(path)
    return amici_xr.open_dataset(path)


def _columns(ds):
    import anndata

    adata = anndata.AnnData(obs=pd.DataFrame(index=[f"c{at}" for at in range(70)]))
    ds.cf.to_anndata(adata, threshold=0.1, sample_threshold=None)
    return adata.obs.to_xarray()


def _table(ds):
    return ds.amici.to_dataframe().reset_index(drop=True).to_xarray()


def _page(ds):
    ds.cf.report("page.html", thresholds=[0.1])
    return xr.Dataset()


CALLS = {
    "curve, a number": lambda ds: ds.cf.curve(2.0),
    "curve": lambda ds: ds.cf.curve([0, 2]),
    "curve_summary": lambda ds: ds.cf.curve_summary([0, 2], quantiles=[0.5]),
    "curve_summary, by=None": lambda ds: ds.cf.curve_summary(1.0, by=None),
    "curve_summary, by_sample": lambda ds: ds.cf.curve_summary([1.0], by_sample=True),
    "length_scale": lambda ds: ds.cf.length_scale(0.1),
    "length_scale, uncorrected": lambda ds: ds.cf.length_scale([0.1, 0.5], None),
    "support": lambda ds: ds.cf.support(0.1),
    "support, by_sample": lambda ds: ds.cf.support([0.1, 0.3], by_sample=True),
    "bootstrap, cells": lambda ds: ds.cf.bootstrap(0.1, None),
    "bootstrap, resamples": lambda ds: ds.cf.bootstrap(
        0.1, None, "median", method="resample", n_resamples=20
    ),
    "bootstrap, spatial": lambda ds: ds.cf.bootstrap(0.1, None, resampling_unit="spatial"),
    "bootstrap, samples": lambda ds: ds.cf.bootstrap(0.1, resampling_unit="sample"),
    "bootstrap, runs": lambda ds: ds.cf.bootstrap(0.1, resampling_unit="run"),
    "atlas": lambda ds: ds.cf.atlas(0.1),
    "atlas, by_sample": lambda ds: ds.cf.atlas([0.1], by_sample=True),
    "attention": lambda ds: ds.cf.attention(),
    "dummy_attention": lambda ds: ds.cf.dummy_attention(),
    "attention_by_distance": lambda ds: ds.cf.attention_by_distance([0, 1, 2, 8]),
    "attention_by_distance, by_sample": lambda ds: ds.cf.attention_by_distance(3, by_sample=True),
    "in_context_length_scale": lambda ds: ds.cf.in_context_length_scale(0.1),
    "reach_across_runs": lambda ds: ds.cf.reach_across_runs(0.1),
    "contrast": lambda ds: ds.cf.contrast(by=GROUP_OF_SAMPLE, threshold=0.1),
    "select a query": lambda ds: ds.cf.select("A"),
    "select a sample": lambda ds: ds.cf.select(sample="a1"),
    "to_microns": lambda ds: ds.cf.to_microns(0.5),
    "validate": lambda ds: ds.cf.validate(),
    "save as .nc": lambda ds: _saved(ds, ".nc"),
    "save as .zarr": lambda ds: _saved(ds, ".zarr"),
    "to_dataframe": _table,
    "to_anndata": _columns,
    "repr": lambda ds: xr.Dataset({"repr": ((), repr(ds.amici))}),
    "plot_atlas": lambda ds: _drawn(ds.cf.plot_atlas(0.1)),
    "plot_curve": lambda ds: _drawn(ds.cf.plot_curve(None, [0, 2], n_traces=0)),
    "plot_length_scale": lambda ds: _drawn(ds.cf.plot_length_scale(0.1, ci=True)),
    "plot_spatial": lambda ds: _drawn(ds.cf.plot_spatial(head=0, threshold=0.1, sample="a1")),
    "plot_threshold_sweep": lambda ds: _drawn(ds.cf.plot_threshold_sweep([0.1, 0.5])),
    "report": _page,
}
if importlib.util.find_spec("anndata") is None:  # which its call begins with
    del CALLS["to_anndata"]
SELECTIONS = HELD_OTHERWISE | ALONG_AN_AXIS | OTHER_CELLS
