"""Every public argument that is a distance, with the call that takes it and what it changes."""

import functools
import json

import numpy as np
import pytest
import xarray as xr
from pages import content_of

import amici_xr
from amici_xr.testing import plant_steps, simulate_dataset, simulate_tissue


@functools.cache
def scores():
    return simulate_dataset("A", n_cells=80, samples=["a", "b"], unit="µm")


@functools.cache
def second_run():
    return scores().assign(base_attention_score=scores().base_attention_score + 1)


@functools.cache
def one_sample():
    return simulate_dataset("A", n_cells=80, unit="µm")


@functools.cache
def tissue():
    return simulate_tissue(n_cells=900, n_types=3, n_genes=9, n_pairs=1)


@functools.cache
def response():
    return amici_xr.distance_response(tissue(), "cell_type", progress=False)


def respond(**options):
    few = {"queries": "type_0", "senders": "type_1", "genes": "gene_0", "progress": False}
    found = amici_xr.distance_response(tissue(), "cell_type", **few, **options)
    return np.array([found[name].item() for name in ("p_value", "p_value_beyond_niche", "radius")])


def refit(smooth_scale):
    pytest.importorskip("scvi")  # an extra
    tiny = {"n_neighbors": 5, "n_runs": 2, "max_epochs": 1, "n_heads": 1, "cell_hidden_size": 4}
    ds = amici_xr.leave_out_senders(
        tissue(), "cell_type", senders="type_1", smooth_scale=smooth_scale, progress=False, **tiny
    )
    return ds.explained_variance


def simulate(**options):
    small = {"n_cells": 200, "n_types": 3, "n_genes": 8, "n_pairs": 1, "arrangement": "clumps"}
    made = simulate_tissue(**small, **options)
    return np.r_[made.X.ravel(), made.obsm["spatial"].ravel()]


def with_steps(reaches):
    options = {"effect": 1.0, "reaches": reaches, "genes_per_pair": 2, "least_receivers": 50}
    return plant_steps(tissue(), "cell_type", **options).X


def curve_of_model(distance):
    """Draw a model's effect at labelled distances; return where its line is."""
    genes = response().gene.values
    effect = xr.DataArray(
        np.ones((3, genes.size, 3)) * [3.0, 2.0, 1.0],
        {"cell_type": response().label.values, "gene": genes, "distance": distance},
        ("cell_type", "gene", "distance"),
    )
    effect["distance"].attrs = getattr(distance, "attrs", {})
    pair = ("type_0", "type_1")
    ax = amici_xr.plot_response(response(), *pair, genes="gene_0", counterfactual_effect=effect)
    return next(line for line in ax.lines if len(line.get_xdata()) == 3).get_xdata()


def page(distance):
    amici_xr.report(one_sample(), "page.html", thresholds=[0.5], distance=distance)
    return json.dumps(content_of("page.html")["queries"])


def colors(ax):
    parts = [part for part in ax.collections + ax.images if part.get_array() is not None]
    return parts[-1].get_clim()


def arrays(**options):
    made = {
        "receiver": [0, 1],
        "receiver_label": ["A", "A"],
        "neighborhood_index": [[2], [2]],
        "neighborhood_label": [[1], [1]],
        "neighborhood_distance": [[4.0], [5.0]],
    } | options
    ds = amici_xr.from_arrays(
        [[2.0]], [[0.5]], ["B"], query="A", neighbor=[2], unit="µm", cell_type=["A", "B"], **made
    )
    return np.array([ds.distance_kernel_unit_scale, *ds.neighborhood_distance.values.ravel()])


# (function, argument): the numbers in µm, and what comes of them.
DISTANCES = {
    ("curve", "distance"): ([0.0, 2.0], lambda it: amici_xr.curve(scores(), it).values),
    ("curve_summary", "distance"): (
        [0.0, 2.0],
        lambda it: amici_xr.curve_summary(scores(), it).to_array().values,
    ),
    ("attention_by_distance", "bins"): (
        [0.0, 2.0, 5.0],
        lambda it: amici_xr.attention_by_distance(scores(), it).mean_attention.values,
    ),
    ("align_runs", "distance"): (
        3.0,
        lambda it: amici_xr.align_runs([scores(), second_run()], distance=it).matching_cost.values,
    ),
    ("plot_curve", "distance"): (
        [0.0, 2.0],
        lambda it: amici_xr.plot_curve(scores(), 0, it, n_traces=0).lines[0].get_xydata(),
    ),
    ("plot_length_scale", "max_length_scale"): (
        2.0,
        lambda it: amici_xr.plot_length_scale(scores(), 0.1, max_length_scale=it).get_ylim(),
    ),
    ("plot_atlas", "max_length_scale"): (
        2.0,
        lambda it: colors(amici_xr.plot_atlas(scores(), 0.1, max_length_scale=it)),
    ),
    ("plot_spatial", "limits"): (
        [1.0, 2.0],
        lambda it: colors(
            amici_xr.plot_spatial(one_sample(), head=0, threshold=0.1, limits=as_limits(it))
        ),
    ),
    ("plot_response", "counterfactual_effect"): ([0.0, 2.0, 9.0], curve_of_model),
    ("report", "distance"): ([0.0, 2.0], page),
    ("distance_response", "radii"): ([10.0, 20.0], lambda it: respond(radii=it)),
    ("distance_response", "trend_scale"): (100.0, lambda it: respond(trend_scale=it)),
    ("distance_response", "niche_scale"): (25.0, lambda it: respond(niche_scale=it)),
    ("leave_out_senders", "smooth_scale"): (100.0, refit),
    ("from_arrays", "distance_kernel_unit_scale"): (
        2.0,
        lambda it: arrays(distance_kernel_unit_scale=it),
    ),
    ("from_arrays", "neighborhood_distance"): (
        [[1.0], [2.0]],
        lambda it: arrays(neighborhood_distance=it),
    ),
    ("simulate_tissue", "reaches"): ([9.0, 14.0], lambda it: simulate(reaches=it)),
    ("simulate_tissue", "clump_scale"): (30.0, lambda it: simulate(clump_scale=it)),
    ("simulate_tissue", "field_scale"): (30.0, lambda it: simulate(field_scale=it)),
    ("simulate_tissue", "spacing"): (12.0, lambda it: simulate(spacing=it)),
    ("plant_steps", "reaches"): ([9.0, 14.0], with_steps),
}


def as_limits(given):
    return tuple(given) if isinstance(given, list) else given
