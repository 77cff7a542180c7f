"""The command line: its numbers beside the functions', its files, its help."""

import gzip
import inspect
import io
import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cyclopts import App
from matplotlib import image
from matplotlib import pyplot as plt
from pages import content_of
from recorded_data import data_folder, read_recorded
from responses import simulate_response
from rich.console import Console
from slow_cases import slow

import amici_xr
from amici_xr.accessor import AmiciAccessor, CounterfactualMethods
from amici_xr.cli import commands, main, options
from amici_xr.cli.outputs import aligned

FIGURES = {
    "curve": amici_xr.plot_curve,
    "length-scale": amici_xr.plot_length_scale,
    "atlas": amici_xr.plot_atlas,
    "spatial": amici_xr.plot_spatial,
    "threshold-sweep": amici_xr.plot_threshold_sweep,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files to ask: of one query, of several, of two samples, of two runs, and a table."""
    path = tmp_path_factory.mktemp("files")
    simulate = amici_xr.testing.simulate_dataset
    amici_xr.save(simulate(unit="µm"), path / "one.nc")
    amici_xr.save(simulate(["A", "C", "D"], n_heads=3), path / "several.nc")
    amici_xr.save(simulate(samples=("left", "right"), unit="µm"), path / "samples.nc")
    runs = [simulate(seed=0), simulate(seed=0).pipe(_shifted)]
    amici_xr.save(amici_xr.align_runs(runs), path / "runs.nc")
    amici_xr.to_dataframe(simulate()).to_csv(path / "table.csv")
    return path


def _shifted(ds):
    return ds.assign(base_attention_score=ds.base_attention_score + np.float32(0.5))


def at(result, row, names):
    """The value of a labelled result that belongs to a row of a table."""
    return result.sel({name: row[name] for name in names if name in result.dims}).item()


def assert_column(table, column, expected, dims=("query", "label", "head")):
    """Every row holds what the function gives, to the last bit, and no row is missing."""
    expected = expected.transpose(*(dim for dim in dims if dim in expected.dims))
    for _, row in table.iterrows():
        want = at(expected, row, dims)
        got = row[column]
        assert (pd.isna(got) and pd.isna(want)) or got == want, (column, dict(row))
    return expected


# length-scale


def read(path):
    return read_recorded(path, keep_default_na=True)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ([], {}),
        (["--threshold", "0.1"], {"threshold": 0.1}),
        (["--threshold", 0.1, "--statistic", "median"], {"threshold": 0.1, "statistic": "median"}),
        (["--sample-threshold", "none"], {"sample_threshold": None}),
        (["--sample-threshold", 0.2], {"sample_threshold": 0.2}),
        (["--confidence-level", 0.5], {"confidence_level": 0.5}),
        (
            ["--method", "resample", "--n-resamples", 50, "--random-state", 3],
            {"method": "resample", "n_resamples": 50, "random_state": 3},
        ),
    ],
)
def test_length_scale_writes_what_bootstrap_and_support_give(done, folder, options, arguments):
    done("length-scale", folder / "several.nc", *options, "--out", "reach.csv")
    table = read("reach.csv")
    ds = amici_xr.open_dataset(folder / "several.nc")
    interval = amici_xr.bootstrap(ds, **arguments)
    about = {name: arguments[name] for name in arguments if name.endswith("threshold")}
    support = amici_xr.support(ds, **about)
    assert len(table) == interval.point_estimate.size
    for name in ("point_estimate", "ci_lower", "ci_upper", "n_neighbors"):
        assert_column(table, name, interval[name])
    for name in ("support", "edge_share", "status"):
        assert_column(table, name, support[name])
    assert (table["unit"] == "coordinate units").all()
    assert (table["statistic"] == arguments.get("statistic", "mean")).all()


def test_options_are_read_alike_where_pydantic_has_been_imported(done, folder):
    pytest.importorskip("pydantic")  # cyclopts then compares every value and default with its type
    words = ("length-scale", folder / "one.nc", "--heads", "0,1", "--labels", "B", "--labels", "C")
    done(*words, "--threshold", "0.1,0.5", "--out", "several.csv")
    done(*words, "--out", "default.csv")
    assert set(read("several.csv")["threshold"]) == {0.1, 0.5}
    assert set(read("default.csv")["threshold"]) == {0.5}


def test_length_scale_takes_several_thresholds(done, folder):
    ds = amici_xr.open_dataset(folder / "one.nc")
    expected = amici_xr.bootstrap(ds, [0.1, 0.5]).point_estimate
    for words in (["--threshold", "0.1,0.5"], ["--threshold", "0.1", "--threshold", "0.5"]):
        done("length-scale", folder / "one.nc", *words, "--out", "reach.csv")
        table = read("reach.csv")
        assert len(table) == expected.size
        assert_column(table, "point_estimate", expected, ("label", "head", "threshold"))


def test_length_scale_of_one_query_some_heads_and_some_labels(done, folder):
    words = ["--query", "C", "--heads", "0,2", "--labels", "A", "--labels", "D"]
    done("length-scale", folder / "several.nc", *words, "--out", "reach.csv")
    table = read("reach.csv")
    ds = amici_xr.select(amici_xr.open_dataset(folder / "several.nc"), "C")
    expected = amici_xr.bootstrap(ds).sel(head=[0, 2], label=["A", "D"])
    assert len(table) == 4
    assert_column(table, "ci_upper", expected.ci_upper)
    assert (table["query"] == "C").all()


def test_length_scale_by_sample_and_over_samples(done, folder):
    ds = amici_xr.open_dataset(folder / "samples.nc")
    done("length-scale", folder / "samples.nc", "--by-sample", "--out", "reach.csv")
    expected = amici_xr.bootstrap(ds, by_sample=True)
    table = read("reach.csv")
    assert len(table) == expected.point_estimate.size
    assert_column(table, "point_estimate", expected.point_estimate, ("sample", "label", "head"))
    done("length-scale", folder / "samples.nc", "--resampling-unit", "sample", "-o", "over.csv")
    over = amici_xr.bootstrap(ds, resampling_unit="sample")
    assert_column(read("over.csv"), "ci_lower", over.ci_lower)
    assert_column(read("over.csv"), "n_samples", over.n_samples)


def test_one_sample_of_several_is_asked_by_itself(done, folder):
    done("length-scale", folder / "samples.nc", "--sample", "left", "--out", "t.csv")
    left = amici_xr.select(amici_xr.open_dataset(folder / "samples.nc"), sample="left")
    expected = amici_xr.bootstrap(left).to_dataframe(dim_order=["label", "head"])
    np.testing.assert_array_equal(read("t.csv")["ci_upper"], expected["ci_upper"])
    assert read("t.csv")["n_neighbors"].sum() == left.sizes["neighbor"] * left.sizes["head"]


def test_length_scale_of_runs_and_over_runs(done, folder):
    ds = amici_xr.open_dataset(folder / "runs.nc")
    done("length-scale", folder / "runs.nc", "--out", "reach.csv")
    dims = ("run", "label", "head")
    assert_column(read("reach.csv"), "support", amici_xr.support(ds).support, dims)
    done("length-scale", folder / "runs.nc", "--resampling-unit", "run", "--out", "over.csv")
    table = read("over.csv")
    over = amici_xr.bootstrap(ds, resampling_unit="run")
    assert_column(table, "ci_upper", over.ci_upper)
    assert not {"support", "run"} & set(table.columns)


def test_length_scale_of_each_neighbor(done, folder):
    done("length-scale", folder / "several.nc", "--threshold", 0.1, "--per-neighbor", "-o", "l.csv")
    table = read("l.csv")
    ds = amici_xr.open_dataset(folder / "several.nc")
    expected = amici_xr.length_scale(ds, 0.1)
    assert len(table) == int(expected.notnull().sum())
    assert_column(table.head(300), "length_scale", expected, ("query", "neighbor", "head"))
    assert table["length_scale"].sum() == pytest.approx(expected.sum().item(), rel=1e-12)
    of_cell = dict(zip(ds.neighbor.values, ds.label.values, strict=True))
    assert table["label"].tolist() == [of_cell[cell] for cell in table["neighbor"]]
    names = dict(zip(ds.neighbor.values, ds.neighbor_name.values, strict=True))
    assert table["neighbor_name"].tolist() == [names[cell] for cell in table["neighbor"]]


def test_a_table_of_scores_is_asked_like_any_file(done, call, folder):
    refused = call("length-scale", folder / "table.csv")
    assert refused.status == 1
    assert "pass --sample-threshold none, which leaves" in refused.err
    done("length-scale", folder / "table.csv", "--sample-threshold", "none", "--out", "reach.csv")
    ds = amici_xr.read_csv(folder / "table.csv")
    expected = amici_xr.bootstrap(ds, sample_threshold=None)
    assert_column(read("reach.csv"), "point_estimate", expected.point_estimate)
    assert "status" not in read("reach.csv")


# curve


def test_curve_writes_what_curve_summary_gives(done, folder):
    words = ["--distance", "0:4:0.5", "--quantiles", "0.05,0.95", "--out", "curve.csv"]
    done("curve", folder / "several.nc", *words)
    table = read("curve.csv")
    ds = amici_xr.open_dataset(folder / "several.nc")
    expected = amici_xr.curve_summary(ds, np.arange(0, 4.5, 0.5), quantiles=[0.05, 0.95])
    assert len(table) == int(expected["mean"].notnull().sum())
    dims = ("query", "label", "head", "distance")
    for name in ("mean", "std"):
        assert_column(table, name, expected[name], dims)
    for quantile in (0.05, 0.95):
        column = expected["quantiles"].sel(quantile=quantile)
        assert_column(table, f"quantile_{quantile}", column, dims)


def test_quantiles_alike_in_six_digits_have_a_column_each(done, folder):
    words = ["--distance", "1", "--quantiles", "0.99999991,0.99999992", "--out", "alike.csv"]
    done("curve", folder / "several.nc", *words)
    columns = [name for name in read("alike.csv") if name.startswith("quantile")]
    assert columns == ["quantile_0.99999991", "quantile_0.99999992"]


def test_curve_takes_all_neighbors_as_one_and_each_sample_by_itself(done, folder):
    ds = amici_xr.open_dataset(folder / "samples.nc")
    words = ["--distance", "0,2", "--by", "none", "--by-sample", "--out", "curve.csv"]
    done("curve", folder / "samples.nc", *words)
    expected = amici_xr.curve_summary(ds, [0, 2], None, by_sample=True)
    table = read("curve.csv")
    assert len(table) == expected["mean"].size
    assert_column(table, "mean", expected["mean"], ("sample", "head", "distance"))
    assert "label" not in table


def test_curve_of_each_neighbor(done, folder):
    done("curve", folder / "one.nc", "--distance", "0,2.5", "--per-neighbor", "--out", "curve.csv")
    table = read("curve.csv")
    expected = amici_xr.curve(amici_xr.open_dataset(folder / "one.nc"), [0, 2.5])
    assert len(table) == expected.size
    dims = ("neighbor", "head", "distance")
    assert_column(table.head(300), "counterfactual_attention", expected, dims)


def test_without_distances_a_curve_ends_where_neighborhoods_do(done, folder):
    done("curve", folder / "one.nc", "--out", "curve.csv")
    distance = read("curve.csv")["distance"].unique()
    ds = amici_xr.open_dataset(folder / "one.nc")
    farthest = np.nanmax(ds.neighborhood_distance, axis=1)
    assert distance[0] == 0
    assert len(distance) == 21
    assert np.mean(farthest > distance[-1]) <= 0.05
    assert np.mean(farthest > distance[-1] / 2.5) > 0.05  # the steps are round, but not much more


# Tables


def test_on_the_screen_columns_are_aligned_under_a_line_that_says_what_they_are(done, folder):
    shown = done("length-scale", folder / "one.nc")
    title, empty, header, *rows = shown.out.splitlines()
    assert title == (
        "bootstrap: threshold 0.5, sample_threshold 0.02, statistic mean, confidence_level 0.95, "
        "resampling_unit cell, query A, unit µm"
    )
    assert empty == ""
    assert header.split()[:3] == ["label", "head", "point_estimate"]
    end = header.index("point_estimate") + len("point_estimate")
    expected = amici_xr.bootstrap(amici_xr.open_dataset(folder / "one.nc")).point_estimate
    for row in rows:
        label, head = row.split()[:2]
        value = expected.sel(label=label, head=int(head)).item()
        assert float(row[:end].split()[-1]) == pytest.approx(value, abs=0.0001)
        assert row[end] == " "
    n_absent = int(expected.isnull().sum())
    assert len(rows) == expected.size - n_absent
    assert shown.err == (
        f"… and {n_absent} rows of cell types without neighbors; --out FILE writes all\n"
    )


def test_numbers_of_a_column_have_as_many_decimals_and_wide_letters_their_room():
    rows = pd.DataFrame(
        {
            "label": ["B", "T 細胞", "e"],
            "neighbor": [12345, 1, 2],
            "distance": [0.0, 2.5, 100.0],
            "support": [0.5, np.nan, 0.001],
            "mean": [0.5, 0.25118, np.nan],
        }
    )
    assert aligned(rows).splitlines() == [
        " label  neighbor  distance  support   mean",
        "     B     12345       0.0    0.500 0.5000",
        "T 細胞         1       2.5        – 0.2512",
        "     e         2     100.0    0.001      –",
    ]


@pytest.mark.needs_model
def test_one_number_of_a_query_stands_beside_those_of_its_genes(done, demo):
    model, adata = demo
    ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    amici_xr.save(ds, "tumor.nc")
    done("explained-variance", "tumor.nc", "--out", "t.csv")
    expected = amici_xr.explained_variance(ds)
    table = read("t.csv")
    assert table["gene"].tolist() == ds["gene"].values.tolist()
    assert table["explained_variance"].tolist() == [expected.explained_variance.item()] * len(table)
    by_gene = expected.explained_variance_by_gene
    np.testing.assert_array_equal(table["explained_variance_by_gene"], by_gene)
    assert f"{expected.explained_variance.item():.2f}" in done("explained-variance", "tumor.nc").out


def test_an_answer_of_scalars_is_one_row(done, folder, monkeypatch):
    """As of a public function that gives a number for a whole file."""

    def spread(ds: "xr.Dataset") -> "xr.Dataset":
        """Measure the spread of all scores."""
        scores = ds.base_attention_score
        return xr.Dataset({"std": scores.std(), "mean": scores.mean()}, {"query": ds["query"]})

    monkeypatch.setattr(amici_xr, "spread", spread, raising=False)
    monkeypatch.setitem(main.app._commands, "spread", App("spread"))
    main.app["spread"].default(commands.command_of(spread))
    expected = spread(amici_xr.open_dataset(folder / "one.nc"))
    done("spread", folder / "one.nc", "--out", "s.csv")
    (row,) = read("s.csv").to_dict("records")
    assert row["std"] == pytest.approx(expected["std"].item())
    assert row["query"] == expected["query"].item()
    lines = done("spread", folder / "one.nc").out.splitlines()
    assert lines[-2].split() == ["std", "mean"]
    assert [float(word) for word in lines[-1].split()] == pytest.approx(
        [expected["std"].item(), expected["mean"].item()], rel=1e-3
    )


def test_of_very_many_rows_the_screen_shows_the_first(done, folder):
    shown = done("curve", folder / "one.nc", "--per-neighbor", "--distance", "0:9:1")
    assert len(shown.out.splitlines()) == 1_000 + 3
    ds = amici_xr.open_dataset(folder / "one.nc")
    more = ds.base_attention_score.size * 10 - 1_000
    assert shown.err == f"… and {more:,} more rows; --out FILE writes all\n"


def test_parquet_and_zipped_csv_hold_the_same_as_csv(done, folder):
    pytest.importorskip("pyarrow")  # an extra
    for name in ("t.csv", "t.csv.gz", "t.parquet"):
        done("length-scale", folder / "one.nc", "--out", name)
    expected = read("t.csv")
    pd.testing.assert_frame_equal(read("t.csv.gz"), expected)
    pd.testing.assert_frame_equal(pd.read_parquet("t.parquet"), expected, check_dtype=False)


def test_a_table_that_is_there_is_replaced_and_the_file_named(done, folder, tmp_path):
    done("curve", folder / "one.nc", "--distance", "0,1", "--out", "t.csv")
    result = done("length-scale", folder / "one.nc", "--out", "t.csv")
    assert result.out == ""
    assert result.err == "t.csv\n"
    assert len(read("t.csv")) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


# Distance responses


@pytest.fixture
def response():
    ds = simulate_response(4)
    amici_xr.save(ds, "response.nc")
    return ds


@pytest.mark.parametrize(
    ("words", "draw"),
    [
        (["pairs", "--q", "q_value_strict"], lambda ds: ds.cf.plot_pairs("q_value_strict")),
        (
            ["response", "--query", "type_0", "--label", "type_1", "--n-genes", 3],
            lambda ds: ds.cf.plot_response("type_0", "type_1", n_genes=3),
        ),
    ],
)
def test_a_response_is_drawn_as_by_the_function(done, response, words, draw):
    done("plot", words[0], "response.nc", *words[1:], "--out", "a.png", "--dpi", 60)
    figure = draw(response).figure
    with plt.style.context("amici_xr.figures"):
        figure.savefig("b.png", dpi=60)
    np.testing.assert_array_equal(image.imread("a.png"), image.imread("b.png"))


@pytest.mark.needs_model
def test_a_model_is_compared_with_a_tissue_from_files(done, call):
    pytest.importorskip("anndata")
    model, adata = amici_xr.demo()
    ds = amici_xr.extract(model, adata=adata, effects=True, progress=False)
    response = amici_xr.distance_response(adata, "cell_type", progress=False)
    amici_xr.save(ds, "ds.nc")
    amici_xr.save(response, "tissue.nc")
    words = ["compare-with-tissue", "ds.nc", "--response", "tissue.nc"]
    done(*words, "--query", "Tumor", "--out", "compared.csv")
    table = read("compared.csv").set_index("label")
    expected = ds.cf.compare_with_tissue(response).sel(query="Tumor")
    assert table["verdict"].to_dict() == expected.verdict.to_series().to_dict()
    assert table["slope"].loc["Fibroblast"] == expected.slope.sel(label="Fibroblast").item()
    pair = ["--query", "Tumor", "--label", "Fibroblast"]
    done("plot", "agreement", "ds.nc", "--response", "tissue.nc", *pair, "--out", "a.png")
    evidence = (response[["q_value"]] * 0 + 0.5).drop_attrs()
    amici_xr.save(evidence, "evidence.nc")
    done(*words, "--evidence", "evidence.nc", "--out", "other.csv")
    assert set(read("other.csv")["verdict"]) == {"tissue only", "neither", "not tested"}
    curve = ["--counterfactual-effect", "ds.nc", "--out", "curve.png"]
    done("plot", "response", "tissue.nc", *pair, *curve)
    refused = call(*words, "--out", "tissue.nc")
    assert refused.status == 1
    assert "is read too; choose another name" in refused.err
    missing = call("compare-with-tissue", "ds.nc")
    assert missing.status == 2
    assert "--response" in missing.err


def test_info_of_a_response_names_commands_that_work(done, response):
    shown = done("info", "response.nc").out
    assert "Distance response" in shown
    q = response["q_value"].to_series()
    query, label = q.idxmin()
    command = f"amici-xr plot response response.nc --query {query} --label {label} --out response"
    assert command in shown
    for line in shown.splitlines():
        if line.strip().startswith("amici-xr "):
            done(*line.split()[1:])


@pytest.mark.needs_model
def test_a_response_is_computed_to_a_file_and_shown_by_pair(done, call):
    pytest.importorskip("anndata")
    settings = {"n_cells": 700, "n_types": 3, "n_genes": 9, "n_pairs": 1}
    tissue = amici_xr.testing.simulate_tissue(**settings)
    tissue.write_h5ad("tissue.h5ad")
    words = ["distance-response", "tissue.h5ad", "--labels-key", "cell_type"]
    done(*words, "--out", "response.nc")
    expected = amici_xr.distance_response(tissue, "cell_type", progress=False)
    opened = amici_xr.open_dataset("response.nc")
    xr.testing.assert_equal(opened, expected)
    lines = done(*words).out.splitlines()
    assert lines[2].split()[:2] == ["query", "label"]
    assert len(lines) == 3 + int((expected["status"] == "tested").sum())
    assert lines[3].split()[:2] == list(expected["q_value"].to_series().idxmin())


# Evidence


def refits(**changes):
    """Evidence by hand for two pairs of four types."""
    q = np.where(np.eye(4), np.nan, 0.5)
    q[0, 1] = q[2, 3] = 0.001
    types = ["A", "B", "C", "D"]
    status = np.where(np.isnan(q), "absent", "tested")
    ds = xr.Dataset(
        {"q_value": (("query", "label"), q), "status": (("query", "label"), status)},
        coords={"query": types, "label": types},
        attrs={"dataset_kind": "sender_refits"},
    )
    return ds.assign_attrs(changes)


def test_evidence_is_read_from_files_that_are_given_once_or_several_times(done, folder):
    gains = refits(dataset_kind="prediction_gain")
    gains = gains.assign(status=gains.status.where(gains.status == "absent", "held_out"))
    for name, ds in (("refits.nc", refits()), ("gains.nc", gains)):
        amici_xr.save(ds, name)
    words = ["atlas", folder / "several.nc", "--threshold", 0.1, "--evidence", "refits.nc"]
    done(*words, "--out", "once.nc")
    done(*words, "--evidence", "gains.nc", "--out", "twice.nc")
    ds = amici_xr.open_dataset(folder / "several.nc")
    once, twice = (amici_xr.open_dataset(path).load() for path in ("once.nc", "twice.nc"))
    xr.testing.assert_equal(once, amici_xr.atlas(ds, 0.1, evidence=refits()))
    xr.testing.assert_equal(twice, amici_xr.atlas(ds, 0.1, evidence=[refits(), gains]))
    assert "q_value_held_out_gain" in twice


def test_info_of_evidence_counts_its_pairs_and_names_a_command_that_works(done):
    amici_xr.save(refits(), "refits.nc")
    shown = " ".join(done("info", "refits.nc").out.split())
    assert "Evidence of the kind refits receivers: A, B, C, D senders: A, B, C, D" in shown
    assert "pairs: 4 absent, 12 tested with q < 0.05: 2" in shown
    assert shown.endswith("Ask: amici-xr summary refits.nc amici-xr glossary")
    assert "2 pairs with evidence" in done("summary", "refits.nc").out


def test_info_of_an_answer_lists_what_it_holds(done, folder):
    done("atlas", folder / "several.nc", "--threshold", 0.1, "--out", "atlas.nc")
    shown = done("info", "atlas.nc").out
    assert "median_length_scale (query, label, head)" in shown
    assert "Ask:" not in shown


def test_an_atlas_is_drawn_with_evidence(done, folder):
    amici_xr.save(refits(), "refits.nc")
    words = ["plot", "atlas", folder / "several.nc", "--threshold", 0.1, "--dpi", 60]
    done(*words, "--evidence", "refits.nc", "--out", "a.png")
    ds = amici_xr.open_dataset(folder / "several.nc")
    figure = amici_xr.plot_atlas(ds, 0.1, evidence=refits()).figure
    with plt.style.context("amici_xr.figures"):
        figure.savefig("b.png", dpi=60)
    np.testing.assert_array_equal(image.imread("a.png"), image.imread("b.png"))


def test_chance_is_read_from_a_file(done, call, folder):
    words = [folder / "several.nc", "--threshold", 0.1, "--chance", folder / "runs.nc"]
    ds, chance = (amici_xr.open_dataset(folder / name) for name in ("several.nc", "runs.nc"))
    of_one = ["--query", "A"]
    done("atlas", *words, *of_one, "--out", "atlas.nc")
    expected = amici_xr.atlas(amici_xr.select(ds, "A"), 0.1, chance=chance)
    xr.testing.assert_equal(amici_xr.open_dataset("atlas.nc").load(), expected)
    done("plot", "atlas", *words, *of_one, "--out", "atlas.png", "--dpi", 60)
    over = call("atlas", *words, "--out", folder / "runs.nc")
    assert "is read too; choose another name for the output" in over.err


def test_a_summary_prints_sentences_and_table_or_writes_the_table(done, folder):
    amici_xr.save(refits(), "refits.nc")
    words = ["summary", folder / "several.nc", "--threshold", 0.6, "--evidence", "refits.nc"]
    shown = done(*words).out
    ds = amici_xr.open_dataset(folder / "several.nc")
    expected = amici_xr.summary(ds, refits(), threshold=0.6)
    assert len(expected.sentences) == 2
    assert shown.startswith(f"{expected}\n\n")
    assert shown.rstrip().endswith(aligned(expected.table).splitlines()[-1])
    done(*words, "--out", "findings.csv")
    table = read("findings.csv")
    assert table[["receiver", "sender"]].values.tolist() == [["A", "B"], ["C", "D"]]
    np.testing.assert_array_equal(table["reach"], expected.table["reach"])
    nothing = done("summary", folder / "several.nc", "--significance-level", 0.01).out
    assert "No evidence was given" in nothing
    assert "may_be_spillover" not in nothing  # no table without rows


def test_a_response_alone_is_summed_up(done, response):
    shown = done("summary", "response.nc").out
    assert shown.startswith(str(amici_xr.summary(response)))


def test_evidence_is_not_written_over_and_what_is_not_evidence_is_refused(call, folder):
    amici_xr.save(refits(), "refits.nc")
    words = ("atlas", folder / "several.nc", "--evidence")
    over = call(*words, "refits.nc", "--out", "refits.nc")
    assert over.status == 1
    assert "is read too; choose another name for the output" in over.err
    wrong = call(*words, folder / "one.nc")
    assert wrong.status == 1
    assert "evidence holds a Dataset of the kind 'scores', which is not evidence" in wrong.err


# Every other question


SAMPLES = ("a", "b", "c", "d")
GROUPS = {"a": "x", "b": "x", "c": "y", "d": None}


@pytest.mark.parametrize("suffix", [".nc", slow(".zarr"), slow(".csv")])
@pytest.mark.parametrize(
    ("words", "name", "arguments"),
    [
        (["support", "--threshold", "0.1,0.5"], "several", {"threshold": [0.1, 0.5]}),
        (["bootstrap", "--statistic", "median"], "several", {"statistic": "median"}),
        (["atlas", "--threshold", 0.1], "several", {"threshold": 0.1}),
        (["attention"], "one", {}),
        (["dummy-attention"], "one", {}),
        (["attention-by-distance", "--bins", 4], "several", {"bins": 4}),
        (["attention-by-distance", "--bins", "0:3:1"], "one", {"bins": [0, 1, 2, 3]}),
        (["in-context-length-scale", "--competitors", "all"], "one", {"competitors": "all"}),
        (["reach-across-runs", "--confidence-level", 0.9], "runs", {"confidence_level": 0.9}),
        (["curve-summary", "--distance", "0,2", "--quantiles", 0.5], "one",
         {"distance": [0, 2], "quantiles": [0.5]}),
        (["contrast", "--by", "a=x,b=x", "--by", "c=y,d=none", "--random-state", "none"],
         "four_samples", {"by": GROUPS, "random_state": None}),
        (["select", "--query", "C"], "several", {"query": "C"}),
        (["to-microns", "--microns-per-unit", 0.5], "several", {"microns_per_unit": 0.5}),
        (["validate"], "one", {}),
    ],
)  # fmt: skip
# of contrasts of so few samples, tested beside contrast itself
@pytest.mark.filterwarnings("ignore:no p for")
def test_a_question_is_answered_as_by_the_function(done, folder, words, name, arguments, suffix):
    if suffix == ".zarr":
        pytest.importorskip("zarr")  # an extra
    if name == "four_samples":
        ds = amici_xr.testing.simulate_dataset(samples=SAMPLES, unit="µm")
        amici_xr.save(ds, folder / "four_samples.nc")
    ds = amici_xr.open_dataset(folder / f"{name}.nc")
    expected = getattr(amici_xr, words[0].replace("-", "_"))(ds, **arguments)
    for _ in range(2):  # its own answer is replaced
        done(words[0], folder / f"{name}.nc", *words[1:], "--out", f"answer{suffix}")
    if suffix != ".csv":
        opened = xr.open_dataset(f"answer{suffix}", engine="zarr" if suffix == ".zarr" else None)
        if isinstance(expected, xr.DataArray):
            expected = expected.to_dataset()
        xr.testing.assert_equal(opened.load(), expected)
        opened.close()
        return
    table = read("answer.csv")
    if words[0] in ("select", "to-microns", "validate"):
        pd.testing.assert_frame_equal(
            table.iloc[:, 1:], amici_xr.to_dataframe(expected), check_dtype=False
        )
        return
    expected = expected.to_dataset() if isinstance(expected, xr.DataArray) else expected
    for column, array in expected.data_vars.items():
        if column in table and array.dtype.kind == "f":
            labelled = array.assign_coords({dim: array[dim].values for dim in array.dims})
            assert_column(table.head(200), column, labelled, labelled.dims)


def test_runs_are_aligned_from_their_files(done, folder):
    ds = amici_xr.testing.simulate_dataset(seed=0)
    for name, run in (("first.nc", ds), ("second.nc", _shifted(ds))):
        amici_xr.save(run, name)
    done("align-runs", "first.nc", "second.nc", "--out", "both.nc")
    both, expected = (amici_xr.open_dataset(path) for path in ("both.nc", folder / "runs.nc"))
    xr.testing.assert_equal(both, expected)


def test_scores_without_a_file_to_write_are_described(done, folder):
    shown = done("select", folder / "several.nc", "--query", "C").out
    assert "Counterfactual attention" in shown
    assert re.search(r"receivers: +C\n", shown)


# Figures


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["curve", "--head", 1, "--distance", "0:4:0.1"], {"head": 1}),
        (["length-scale", "--threshold", 0.1, "--ci", "--kind", "violin"],
         {"threshold": 0.1, "ci": True, "kind": "violin"}),
        (["length-scale", "--heads", 1, "--labels", "B", "--sample-threshold", "none"],
         {"heads": [1], "labels": ["B"], "sample_threshold": None}),
        (["atlas", "--threshold", 0.1, "--heads", "0,1"], {"threshold": 0.1, "heads": [0, 1]}),
        (["curve", "--head", "0,1", "--distance", "0:4:0.1"], {"head": [0, 1]}),
        (["threshold-sweep", "--threshold", "0.1,0.3", "--ci"],
         {"threshold": [0.1, 0.3], "ci": True}),
        (["spatial", "--head", 0, "--limits", "none", 3, "--cmap", "magma"],
         {"head": 0, "limits": (None, 3.0), "cmap": "magma"}),
    ],
)  # fmt: skip
def test_a_figure_is_that_of_the_function_to_the_pixel(done, folder, words, arguments):
    done("plot", words[0], folder / "one.nc", *words[1:], "--out", "figure.png", "--dpi", 60)
    if words[0] == "curve":
        arguments = arguments | {"distance": np.arange(41) / 10}
    drawn = FIGURES[words[0]](amici_xr.open_dataset(folder / "one.nc"), **arguments)
    kept = io.BytesIO()
    with plt.style.context("amici_xr.figures"):
        np.ravel(drawn)[0].figure.savefig(kept, format="png", dpi=60)
    kept.seek(0)
    np.testing.assert_array_equal(image.imread("figure.png"), image.imread(kept))


@pytest.mark.parametrize("figure", ["curve", "length-scale", "threshold-sweep"])
def test_a_figure_of_one_sample_is_that_of_its_cells_alone(done, folder, figure):
    left = amici_xr.select(amici_xr.open_dataset(folder / "samples.nc"), sample="left")
    amici_xr.save(left, "left.nc")
    how = ("--distance", "0:4:0.1") if figure == "curve" else ()
    done("plot", figure, folder / "samples.nc", "--sample", "left", *how, "--out", "one.png")
    done("plot", figure, "left.nc", *how, "--out", "other.png")
    np.testing.assert_array_equal(image.imread("one.png"), image.imread("other.png"))


@pytest.mark.parametrize(
    ("name", "start"), [("f.png", b"\x89PNG"), ("f.svg", b"<?xml"), ("f.pdf", b"%PDF")]
)
def test_the_suffix_chooses_the_kind_of_figure(done, folder, tmp_path, name, start):
    result = done("plot", "length-scale", folder / "one.nc", "--out", name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert result.err == f"{name}\n"


# info


def test_info_tells_what_is_there_and_what_can_be_asked(done, folder):
    shown = done("info", folder / "several.nc").out
    ds = amici_xr.open_dataset(folder / "several.nc")
    lines = [line.split() for line in shown.splitlines()]
    assert ["receivers:", "A,", "C,", "D"] in lines
    assert ["heads:", "0,", "1,", "2"] in lines
    counts = zip(*np.unique(ds.label, return_counts=True), strict=True)
    assert f"({', '.join(f'{label} {count}' for label, count in counts)})" in shown
    for query in ("A", "C", "D"):
        one = amici_xr.select(ds, query)
        n_receivers, n_neighbors = (str(one.sizes[dim]) for dim in ("receiver", "neighbor"))
        assert [f"{query}:", n_receivers, "receivers,", n_neighbors, "neighbors"] in lines
    assert "unit of distance:  unknown; extract(..., unit=…)" in shown
    assert ["created:", ds.attrs["created"]] in lines
    assert f"amici-xr plot curve {folder / 'several.nc'} --query A --head 0 --out" in shown


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        slow("several.nc", ["curve", "length-scale", "atlas", "spatial"]),
        slow("samples.nc", ["spatial"]),
        ("runs.nc", ["curve"]),
        ("table.csv", ["length-scale"]),
    ],
)
def test_what_info_says_can_be_asked_can_be(done, folder, name, figures):
    shown = done("info", folder / name).out
    asked = [line.split() for line in shown.partition("\nAsk:\n")[2].strip().splitlines()]
    assert {words[0] for words in asked} == {"amici-xr"}
    assert {"length-scale", "curve", "plot"} <= {words[1] for words in asked}
    assert set(figures) <= {words[2] for words in asked if words[1] == "plot"}
    for _, *words in asked:
        if words[0] != "plot":
            done(*words)
        elif words[1] in figures:
            done(*words, "--dpi", 30)


def test_info_quotes_names_with_spaces(done, tmp_path):
    ds = amici_xr.testing.simulate_dataset(["T cell", "B"], cell_types=["T cell", "B"], n_cells=60)
    amici_xr.save(ds, "my file.nc")
    shown = done("info", "my file.nc").out
    assert "amici-xr plot length-scale 'my file.nc' --query 'T cell' --threshold 0.1" in shown


def test_info_tells_how_an_extraction_was_made(done):
    ds = amici_xr.testing.simulate_dataset()
    settings = {"n_neighbors": {"value": 50, "source": "file"}, "layer": {"value": None}}
    ds.attrs |= {
        "extraction": json.dumps({"model": "m", "heads": [0, 2], "unit": None}),
        "model_settings": json.dumps(settings),
    }
    amici_xr.save(ds, "a.nc")
    lines = [line.split() for line in done("info", "a.nc").out.splitlines()]
    assert ["heads:", "0,", "2"] in lines
    assert ["n_neighbors:", "50", "(file)"] in lines
    assert not [line for line in lines if line[:1] in (["layer:"], ["unit:"])]


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_info_shows_a_file_with_a_provenance_of_someone_elses(done, text):
    ds = amici_xr.testing.simulate_dataset().assign_attrs(extraction=text)
    amici_xr.save(ds, "a.nc")
    assert "Ask:" in done("info", "a.nc").out


# convert


@pytest.mark.parametrize("name", ["scores.csv", "scores.csv.gz"])
def test_convert_takes_a_table_to_a_dataset_and_back(done, folder, name):
    ds = amici_xr.open_dataset(folder / "several.nc")
    result = done("convert", folder / "several.nc", name)
    assert result.err == (
        f"left behind, which a table can't hold: neighborhoods, places of cells\n{name}\n"
    )
    pd.testing.assert_frame_equal(
        read(name).iloc[:, 1:], amici_xr.to_dataframe(ds), check_dtype=False
    )
    done("convert", name, "back.nc", "--unit", "µm")
    back = amici_xr.open_dataset("back.nc")
    xr.testing.assert_equal(back.base_attention_score, amici_xr.read_csv(name).base_attention_score)
    assert back.distance_kernel_unit_scale.attrs["units"] == "µm"


def test_the_rows_of_the_originals_own_file_come_back_to_the_byte(done, tmp_path):
    source = data_folder() / "synthetic" / "recorded" / "receiver_0.scores.csv.gz"
    done("convert", source, "a.nc")
    done("convert", "a.nc", "back.csv")
    theirs = gzip.decompress(source.read_bytes()).decode().splitlines()
    ours = (tmp_path / "back.csv").read_text().splitlines()
    # theirs are in another order, so that the first column, which counts them, is left out
    assert sorted(row.partition(",")[2] for row in ours) == sorted(
        row.partition(",")[2] for row in theirs
    )


def test_convert_takes_one_kind_of_file_to_another(done, folder):
    pytest.importorskip("zarr")  # an extra
    for name in ("a.zarr", "a.zarr.zip"):
        done("convert", folder / "one.nc", name)
        assert amici_xr.open_dataset(name).identical(amici_xr.open_dataset(folder / "one.nc"))


# extract and demo


PACKAGED = files("amici_xr.demo_data")


def packaged(*words):
    return ("extract", PACKAGED / "model", PACKAGED / "tissue.h5ad", *words)


def extracted(*arguments, **options):
    return amici_xr.extract(
        str(PACKAGED / "model"), *arguments, adata=str(PACKAGED / "tissue.h5ad"),
        progress=False, **options,
    )  # fmt: skip


@pytest.mark.needs_model
@pytest.mark.parametrize(
    ("words", "query", "options"),
    [
        (["--query", "T_cell"], "T_cell", {}),
        (["--query", "T_cell", "--query", "Tumor", "--heads", "2,0", "--unit", "µm"],
         ["T_cell", "Tumor"], {"heads": [2, 0], "unit": "µm"}),
        (["--microns-per-unit", 0.5, "--batch-size", 500, "--device", "cpu"],
         None, {"microns_per_unit": 0.5, "batch_size": 500, "device": "cpu"}),
    ],
)  # fmt: skip
def test_extract_writes_what_the_function_gives(done, words, query, options):
    result = done(*packaged(*words, "--out", "a.nc"))
    ds, expected = amici_xr.open_dataset("a.nc"), extracted(query, **options)
    xr.testing.assert_equal(ds, expected)
    ours, theirs = (json.loads(one.attrs["extraction"]) for one in (ds, expected))
    assert ours == theirs
    assert ds.dummy_attention_score.attrs == expected.dummy_attention_score.attrs
    assert result.err == "a.nc\n"
    assert result.out == ""


@pytest.mark.needs_model
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_extract_scores_and_writes_chunks(done, suffix):
    if suffix == ".zarr":
        pytest.importorskip("zarr")  # an extra
    done(*packaged("--query", "T_cell", "--chunks", 1000, "--out", f"a{suffix}"))
    xr.testing.assert_allclose(amici_xr.open_dataset(f"a{suffix}"), extracted("T_cell"))


@pytest.mark.needs_model
def test_a_progress_bar_is_shown_on_request_and_else_on_a_terminal_alone(done, monkeypatch):
    monkeypatch.setattr("amici_xr.iteration.DELAY", 0)
    words = packaged("--query", "T_cell", "--out", "a.nc")
    assert "extract:" not in done(*words).err
    assert "extract:" in done(*words, "--progress").err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "extract:" in done(*words).err
    assert "extract:" not in done(*words, "--no-progress").err


def test_a_page_that_takes_long_shows_its_progress_on_the_same_terms(done, folder, monkeypatch):
    for needed in ("bokeh", "tqdm"):
        pytest.importorskip(needed)  # an extra
    monkeypatch.setattr("amici_xr.iteration.DELAY", 0)
    words = ("report", folder / "several.nc", "--thresholds", "0.1,0.5", "--out", "page.html")
    assert done(*words).err == "page.html\n"
    shown = done(*words, "--progress").err
    assert all(f"report {query}:" in shown for query in "ACD")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "report A:" in done(*words).err
    assert done(*words, "--no-progress").err == "page.html\n"


# Help


BY_HAND = {"extract", "info", "glossary", "convert", "report", "demo"}
NOT_COMMANDS = {"save", "to_dataframe", "to_anndata", "report"}  # convert; needs a tissue in memory
GIVEN = {"ds", "datasets", "response", "history", "ax", "path", "model", "adata"}  # files
GIVEN |= {"indices", "counterfactual_effect", "train_mask", "training"}  # not in words


def methods():
    """The functions behind the methods of ``ds.cf`` and ``ds.amici``, by name."""
    members = {**vars(CounterfactualMethods), **vars(AmiciAccessor)}
    return {name for name, one in members.items() if inspect.isfunction(one) and name[0] != "_"}


def command_words():
    """The words that call each command, with the function of the package where it has one."""
    words = [((word,), word) for word in main.app if word[0] != "-" and word != "plot"]
    words += [(("plot", word), f"plot_{word}") for word in main.plots if word[0] != "-"]
    return {words: name.replace("-", "_") for words, name in words}


COMMANDS = command_words()
OF_FUNCTIONS = [
    words for words, name in COMMANDS.items() if name in amici_xr.__all__ and name != "demo"
]
ALSO = {  # functions that a command asks besides
    ("length-scale",): [amici_xr.bootstrap, amici_xr.support],
    ("curve",): [amici_xr.curve_summary],
    ("convert",): [amici_xr.read_csv],
}


def arguments_of(words):
    parameters = {}
    name = COMMANDS[words]
    own = [] if name in ("demo", "convert", "glossary") else [getattr(amici_xr, name)]
    for function in [*own, *ALSO.get(words, [])]:
        parameters |= inspect.signature(function).parameters
    return {name: one for name, one in parameters.items() if name not in GIVEN}


def test_every_method_of_a_dataset_is_a_command_under_its_name():
    of_several = {"align_runs", "concat_samples"}
    of_a_tissue = {"distance_response", "train", "leave_out_senders"}
    commands = set(COMMANDS.values()) - BY_HAND - of_several - of_a_tissue - {"plot_history"}
    assert commands == methods() - NOT_COMMANDS


def test_a_new_function_is_a_command_without_another_line(done, folder, monkeypatch):
    def widest(ds: "xr.Dataset", factor: "float" = 1.0) -> "xr.DataArray":
        """Multiply all scores.

        Parameters
        ----------
        ds
            The Dataset.
        factor
            By what.
        """
        return ds.base_attention_score * factor

    def of_tissue(adata: "anndata.AnnData | str", by: "str | None" = "x") -> "xr.Dataset":  # noqa: F821  # never evaluated
        """Count something."""
        return xr.Dataset({"n": ("label", [1])}, {"label": [str(adata)]})

    for function in (widest, of_tissue):
        monkeypatch.setattr(amici_xr, function.__name__, function, raising=False)
    monkeypatch.setattr(amici_xr, "__all__", [*amici_xr.__all__, "widest", "of_tissue"])
    added = commands.questions()
    assert {"widest", "of_tissue"} == added.keys() - set(COMMANDS.values())
    for name in ("widest", "of_tissue"):
        monkeypatch.setitem(main.app._commands, name, App(name))
        main.app[name].default(commands.command_of(added[name]))
    assert "--factor FLOAT" in done("widest", "--help").out
    done("widest", folder / "one.nc", "--factor", 2, "--out", "w.csv")
    scores = amici_xr.open_dataset(folder / "one.nc").base_attention_score
    assert read("w.csv")["base_attention_score"].sum() == pytest.approx(2 * scores.sum().item())
    assert "tissue.h5ad" in done("of_tissue", "tissue.h5ad").out


@pytest.mark.parametrize("words", [*OF_FUNCTIONS, ("convert",)], ids=" ".join)
def test_every_argument_of_the_function_is_an_option_with_its_default(done, words, monkeypatch):
    monkeypatch.setattr("amici_xr.cli.main.app._console", Console(width=3000))
    shown = done(*words, "--help").out
    for name, parameter in arguments_of(words).items():
        (line,) = re.findall(rf"^│[* ]+--{name.replace('_', '-')} .*", shown, re.MULTILINE)
        default = parameter.default
        if default not in (None, False, inspect.Parameter.empty, (None, None)) and (
            name != "progress"
        ):
            assert f"[default: {default}]" in line
        assert len(line.rstrip("│ ").split("  ")[-1].split()) > 2  # it is described


@pytest.mark.parametrize("words", [(), ("plot",), *COMMANDS], ids=" ".join)
def test_every_command_explains_itself(done, words):
    shown = done(*words, "-h").out
    assert shown.startswith(" ".join(["Usage: amici-xr", *words]))
    assert "\x1b" not in shown
    assert len(shown.partition("\n\n")[2].split()) > 5
    for heading in (">>>", "References", "Raises", "---"):
        assert heading not in shown


@pytest.mark.parametrize("words", OF_FUNCTIONS, ids=" ".join)
def test_the_help_of_a_command_has_the_words_of_the_docstring(done, words):
    shown = " ".join(re.sub("[│╭╮╰╯─]", " ", done(*words, "--help").out).split())
    function = getattr(amici_xr, COMMANDS[words])
    if words in ALSO:
        function = ALSO[words][0]
    summary = inspect.getdoc(function).partition("\n\n")[0]
    assert " ".join(summary.replace("`", "").split()) in shown


def test_the_version_is_that_of_the_package(done):
    assert done("--version").out == f"amici-xr {amici_xr.__version__}\n"


def test_the_list_of_commands_has_a_whole_sentence_for_each(done, monkeypatch):
    # Not app.console, whose old value would be set, and stay, at the end.
    monkeypatch.setattr("amici_xr.cli.main.app._console", Console(width=300))
    shown = done("--help").out
    for word, *figure in COMMANDS:
        if not figure:
            (line,) = re.findall(rf"│ {word} +(\w.*?) +│", shown)
            assert line.endswith(".")


# Options


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3", [3]),
        ("0,10,20", [0, 10, 20]),
        ("0:50:10", [0, 10, 20, 30, 40, 50]),
        ("0:1:0.1", [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
        ("0:5:2", [0, 2, 4]),
        ("2:2:1", [2]),
        ("1e-3", [0.001]),
    ],
)
def test_numbers_are_written_as_a_list_or_a_range(text, numbers):
    assert options.numbers(float, text) == numbers


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_completion_knows_every_command_and_option(done, shell):
    shown = done("--show-completion", shell).out
    for words in OF_FUNCTIONS:
        assert words[-1] in shown
        assert all(name.replace("_", "-") in shown for name in arguments_of(words))


@pytest.mark.skipif(shutil.which("bash") is None, reason="without bash")
def test_bash_completes_commands_options_and_choices(done, tmp_path):
    (tmp_path / "completion.bash").write_text(done("--show-completion", "bash").out)
    for words, expected in (
        (["amici-xr", "len"], "length-scale"),
        (["amici-xr", "plot", "c"], "curve"),
        (["amici-xr", "length-scale", "--resampling-unit", "sp"], "spatial"),
        (["amici-xr", "curve", "--per"], "--per-neighbor"),
    ):
        script = f"""
            source completion.bash
            COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}
            COMP_LINE="{" ".join(words)}" COMP_POINT=${{#COMP_LINE}}
            $(complete -p amici-xr | sed "s/.*-F \\([^ ]*\\).*/\\1/") amici-xr
            echo "${{COMPREPLY[@]}}"
        """
        asked = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        assert asked.stdout.split() == [expected], asked.stderr


@pytest.mark.parametrize("shell", ["bash", slow("zsh")])
def test_completion_is_installed_once_beside_what_the_shell_reads_already(
    done, shell, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    start = tmp_path / f".{shell}rc"
    start.write_text("alias ll='ls -l'\n")
    for _ in range(2):
        done("--install-completion", "--shell", shell)
    lines = start.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 3  # ours, a word on it, and what was there
    assert "alias ll='ls -l'" in lines
    (script,) = (path for path in tmp_path.rglob("*amici-xr*") if path.is_file())
    assert script.read_text().strip() == done("--show-completion", shell).out.strip()
    assert str(script if shell == "bash" else script.parent) in start.read_text()


def test_completion_for_fish_is_a_file_in_its_folder(done, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    done("--install-completion", "--shell", "fish")
    script = tmp_path / ".config/fish/completions/amici-xr.fish"
    assert script.read_text().strip() == done("--show-completion", "fish").out.strip()


# report


def test_report_writes_the_page_of_the_function(done, folder, tmp_path):
    pytest.importorskip("bokeh")  # an extra
    words = ("--threshold", 0.2, "--thresholds", "0.2,0.4", "--n-points", 50)
    done("report", folder / "one.nc", *words, "--out", "page.html")
    ds = amici_xr.open_dataset(folder / "one.nc")
    amici_xr.report(ds, "expected.html", 0.2, thresholds=[0.2, 0.4], n_points=50)
    page, expected = (content_of(tmp_path / f"{name}.html") for name in ("page", "expected"))
    for content in (page, expected):
        del content["provenance"]["This page"]  # when it was written, and where
    assert page == expected


@pytest.fixture
def foreign(tmp_path):
    """Files of other programs under the names that answers may have."""
    xr.Dataset({"temperature": ("time", [1.0, 2.0])}).to_netcdf(tmp_path / "climate.nc")
    pd.DataFrame({"cell": ["a"], "label": ["T"]}).to_csv(tmp_path / "cells.csv", index=False)
    pd.DataFrame({"cell": ["a"]}).to_csv(tmp_path / "cells.csv.gz", index=False)
    (tmp_path / "notes.csv").write_text("remember the milk")
    (tmp_path / "notes.nc").write_text("remember the milk")
    return tmp_path


def content_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["length-scale", "convert"])
@pytest.mark.parametrize(
    "name", ["climate.nc", "cells.csv", "cells.csv.gz", "notes.csv", "notes.nc"]
)
def test_files_of_other_programs_are_not_replaced(call, folder, foreign, command, name):
    before = content_below(foreign)
    target = [name] if command == "convert" else ["--out", name]
    result = call(command, folder / "one.nc", *target)
    assert result.status == 1
    assert re.match(
        rf"error: {name} .*neither scores of amici_xr, an answer about them nor", result.err
    )
    assert content_below(foreign) == before


def test_a_parquet_of_another_program_is_not_replaced(call, folder, tmp_path):
    pytest.importorskip("pyarrow")  # an extra
    pd.DataFrame({"cell": ["a"]}).to_parquet("cells.parquet")
    before = content_below(tmp_path)
    result = call("length-scale", folder / "one.nc", "--out", "cells.parquet")
    assert "cells.parquet holds 'cell', which is neither scores of amici_xr" in result.err
    assert content_below(tmp_path) == before


@pytest.mark.needs_model
@pytest.mark.filterwarnings("ignore")  # of anndata and zarr, about their formats
def test_a_tissue_is_not_replaced_by_what_is_extracted_from_it(call, demo, tmp_path):
    pytest.importorskip("zarr")  # an extra
    model, adata = demo
    model.save("model")
    for name in ("tissue.zarr", "other.zarr"):
        adata[:200].copy().write_zarr(name)
    before = content_below(tmp_path)
    words = ["extract", "model", "tissue.zarr", "--query", "T_cell", "--out"]
    assert "error: tissue.zarr is read too; choose another" in call(*words, "tissue.zarr").err
    assert re.search(r"error: other\.zarr holds .*'obs'.* neither", call(*words, "other.zarr").err)
    assert content_below(tmp_path) == before


def test_a_table_is_not_replaced_by_an_answer_about_it(call, folder, tmp_path):
    shutil.copy(folder / "table.csv", "table.csv")
    (tmp_path / "link.csv").symlink_to("table.csv")
    before = content_below(tmp_path)
    for out in ("table.csv", "link.csv"):
        result = call("length-scale", "table.csv", "--sample-threshold", "none", "--out", out)
        assert result.status == 1
        assert f"{out} is read too; choose another name for the output" in result.err
    assert content_below(tmp_path) == before


def test_home_is_found_where_the_shell_leaves_it(done, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(folder / "one.nc", tmp_path / "one.nc")
    done("length-scale", "~/one.nc", "--out=~/t.csv")
    done("convert", "~/one.nc", "~/scores.csv")
    assert {"t.csv", "scores.csv"} <= {path.name for path in tmp_path.iterdir()}
    assert "one.nc" in done("info", "~/one.nc").out


OBEYED = ["\x1b]52;c;aGk=\x07B", "\x1b[1A\x1b[2K", "\u202eright to left", "\x9b31m"]


@pytest.fixture
def hostile(tmp_path):
    """A file whose labels a terminal would obey, or a spreadsheet run."""
    labels = ["Q", *OBEYED, "=1+1", "+B", "-C", "@D", "'=E", "plain"]
    ds = amici_xr.testing.simulate_dataset(query="Q", cell_types=labels, n_cells=400)
    amici_xr.save(ds.assign_attrs(note=OBEYED[0]), "hostile.nc")
    return ds


@pytest.mark.parametrize(
    "words", [["info"], ["length-scale"], ["select"], ["length-scale", "--labels", OBEYED[1] + "?"]]
)
def test_a_terminal_shows_labels_and_does_not_obey_them(call, hostile, words):
    result = call(words[0], "hostile.nc", *words[1:])
    shown = (result.out + result.err).replace("\n", "")
    assert "\\x1b" in shown
    assert shown.isprintable()


def test_a_table_has_nothing_that_a_spreadsheet_would_run(done, hostile):
    done("length-scale", "hostile.nc", "--out", "t.csv")
    labels = set(pd.read_csv("t.csv", dtype=str, keep_default_na=False)["label"])
    assert {"'=1+1", "'+B", "'-C", "'@D", "''=E", "plain"} <= labels
    done("convert", "hostile.nc", "scores.csv")
    back = amici_xr.read_csv("scores.csv")
    assert back["label"].values.tolist() == hostile["label"].values.tolist()
