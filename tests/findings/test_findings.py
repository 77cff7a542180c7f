"""Findings as sentences and as a table: what evidence supports, what it does not, what it can't."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import amici_xr
from amici_xr.dataset.kinds import KIND
from amici_xr.dataset.response_schema import describe_response
from amici_xr.findings.sentences import Finding, GeneChange, format_q

needs_model = pytest.mark.needs_model
PAIR = ("query", "label")
TYPES = ["T_cell", "Endothelial", "Tumor"]
GENES = ["Gene1", "Gene3", "Gene7", "Gene8"]


def make_response(**changes):
    """A response by hand: T_cell responds to Endothelial, and Tumor to T_cell by spillover."""
    n_types, n_genes = len(TYPES), len(GENES)
    status = np.array(
        [
            ["same_type", "tested", "tested"],
            ["too_few_receivers", "same_type", "too_few_receivers"],
            ["tested", "no_contrast", "same_type"],
        ]
    )
    is_tested = status == "tested"
    q = np.where(is_tested, 0.5, np.nan)
    q[0, 1], q[2, 0] = 0.0003, 0.02
    strict = np.where(is_tested, 0.9, np.nan)
    strict[0, 1] = 0.01
    niche = np.where(is_tested, 0.01, np.nan)
    gene_q = np.ones((n_types, n_types, n_genes))
    effect = np.zeros_like(gene_q)
    effect[0, 1], gene_q[0, 1] = [1.5, -0.8, 0.9, 3.0], [1e-6, 1e-3, 1e-4, 0.2]
    effect[2, 0], gene_q[2, 0] = [0.0, 0.0, 0.0, 2.0], [1, 1, 1, 0.01]
    leaks = np.zeros(gene_q.shape, dtype=bool)
    leaks[2, 0, 3] = True
    radius = np.where(is_tested, 13.824, np.nan)
    bins = ("query", "label", "distance_bin")
    ds = xr.Dataset(
        {
            "q_value": (PAIR, q),
            "q_value_strict": (PAIR, strict),
            "q_value_beyond_niche": (PAIR, niche),
            "radius": (PAIR, radius),
            "status": (PAIR, status),
            "stands_with": (PAIR, np.full(status.shape, "")),
            "effect": ((*PAIR, "gene"), effect),
            "gene_q_value": ((*PAIR, "gene"), gene_q),
            "may_be_spillover": ((*PAIR, "gene"), leaks),
            "response": ((*bins, "gene"), np.zeros((3, 3, 2, n_genes))),
            "response_se": ((*bins, "gene"), np.zeros((3, 3, 2, n_genes))),
            "mean_distance": (bins, np.zeros((3, 3, 2))),
        },
        coords={
            "query": TYPES,
            "label": TYPES,
            "gene": GENES,
            "bin_start": ("distance_bin", [0.0, 20.0]),
            "bin_end": ("distance_bin", [20.0, np.inf]),
        },
        attrs={KIND: "distance_response"},
    )
    return describe_response(ds.assign(changes))


def make_refits(q):
    q = np.array(q, dtype=np.float64)
    status = np.where(np.isnan(q), "too_few_receivers", "tested")
    return xr.Dataset(
        {"q_value": (PAIR, q), "status": (PAIR, status)},
        coords={"query": TYPES, "label": TYPES},
        attrs={KIND: "sender_refits"},
    )


NAN = np.nan
NO_REFITS = [[NAN, 0.9, 0.9], [0.9, NAN, 0.9], [0.9, 0.9, NAN]]


def test_a_bare_tissue_gives_sentences_that_a_biologist_would_tell_a_colleague():
    found = amici_xr.summary(make_response())
    assert found.sentences == [
        "T_cell cells near Endothelial (within 13.8 µm) express more Gene1 and Gene7 and less "
        "Gene3 (q = 0.0003 from the tissue alone).",
        "Tumor cells near T_cell (within 13.8 µm) express more Gene8 (q = 0.02 from the tissue "
        "alone); transcripts leaking from T_cell could explain this.",
    ]


def test_the_table_holds_a_row_for_each_finding():
    table = amici_xr.summary(make_response()).table
    expected = pd.DataFrame(
        {
            "receiver": ["T_cell", "Tumor"],
            "sender": ["Endothelial", "T_cell"],
            "genes": ["↑Gene1, ↑Gene7, ↓Gene3", "↑Gene8*"],
            "direction": ["both", "up"],
            "radius": [13.824, 13.824],
            "reach": [NAN, NAN],
            "effect_reach": [NAN, NAN],
            "q": [0.0003, 0.02],
            "supported_by": ["tissue", "tissue"],
            "may_be_spillover": pd.array([False, True], dtype="boolean"),
            "may_be_niche": pd.array([False, False], dtype="boolean"),
        }
    )
    pd.testing.assert_frame_equal(table, expected)


def test_what_was_tested_and_not_supported_and_what_was_not_tested_is_listed():
    found = amici_xr.summary(make_response())
    rows = found.not_supported[["receiver", "sender", "q", "is_tested"]].values.tolist()
    assert rows == [["T_cell", "Tumor", 0.5, True]]
    assert found.not_tested.values.tolist() == [
        ["tissue", "no_contrast", 1],
        ["tissue", "too_few_receivers", 2],
    ]
    text = " ".join(str(found).split())
    assert text.startswith("2 pairs with evidence (q < 0.05). 1. T_cell cells near Endothelial")
    assert "Tested, and not supported: 1 pair." in text
    assert "Not tested: 1 no_contrast (tissue), 2 too_few_receivers (tissue)." in text
    assert "niches finer than 30 µm" in text
    assert max(map(len, str(found).splitlines())) <= 100


def test_a_stricter_level_takes_fewer_findings():
    found = amici_xr.summary(make_response(), significance_level=0.01)
    assert found.table["receiver"].tolist() == ["T_cell"]
    nothing = amici_xr.summary(make_response(), significance_level=1e-9)
    assert nothing.sentences == []
    assert len(nothing.table) == 0
    assert len(nothing.not_supported) == 3
    assert str(nothing).startswith("0 pairs with evidence (q < 1e-09).")
    assert "niches finer" not in str(nothing)


def test_two_kinds_of_evidence_are_named_with_the_q_of_each():
    refits = make_refits([[NAN, 0.002, 0.9], [0.01, NAN, NAN], [0.6, 0.9, NAN]])
    found = amici_xr.summary(make_response(), evidence=refits)
    assert found.sentences[0].endswith(
        "(q = 0.0003 from the tissue alone, q = 0.002 from refits without the sender)."
    )
    assert found.sentences[1] == (
        "Endothelial cells near T_cell are predicted better by models that see them (q = 0.01 "
        "from refits without the sender)."
    )
    assert found.table["supported_by"].tolist() == ["tissue,refits", "refits", "tissue"]
    assert found.table["may_be_spillover"].isna().tolist() == [False, True, False]
    assert ["refits", "too_few_receivers", 1] in found.not_tested.values.tolist()
    alone = amici_xr.summary(evidence=[make_response(), refits])
    assert alone.sentences == found.sentences


def test_a_pair_that_vanishes_at_the_same_niche_or_shares_its_cells_says_so():
    response = make_response()
    niche, others = response.q_value_beyond_niche.copy(), response.stands_with.astype(object)
    niche[0, 1], others[0, 1] = 0.3, "Tumor; Stroma"
    response = response.assign(q_value_beyond_niche=niche, stands_with=others.astype(str))
    found = amici_xr.summary(response)
    assert (
        "; it is not significant at the same composition of the niche; mostly the same cells "
        "stand near Tumor and Stroma: one finding, not several." in found.sentences[0]
    )
    assert found.table["may_be_niche"].tolist() == [True, False]


def test_a_response_without_the_columns_that_qualify_it_leaves_them_unknown():
    bare = make_response().drop_vars(
        ["q_value_strict", "q_value_beyond_niche", "stands_with", "radius"]
    )
    found = amici_xr.summary(bare)
    assert found.sentences[1] == (
        "Tumor cells near T_cell express more Gene8 (q = 0.02 from the tissue alone)."
    )
    assert found.table[["may_be_spillover", "may_be_niche"]].isna().all(axis=None)
    assert found.table["radius"].isna().all()


def test_a_pair_without_a_gene_of_its_own_is_told_so():
    found = amici_xr.summary(make_response(gene_q_value=make_response().gene_q_value * 0 + 1))
    assert "differ in expression from those farther away, in no single gene (q" in str(
        found.sentences[0]
    )
    assert found.table["genes"].tolist() == ["", ""]
    assert found.table["direction"].tolist() == ["", ""]


@pytest.mark.parametrize(
    ("genes", "direction", "words"),
    [
        ([GeneChange("a", 1.0)], "up", "express more a, with 1 more gene"),
        ([GeneChange("a", -1.0)], "down", "express less a, with 1 more gene"),
        ([GeneChange("a", -1.0), GeneChange("b", 2.0)], "both", "express more b and less a (q"),
    ],
)
def test_directions_are_those_of_the_genes(genes, direction, words):
    finding = Finding("Pericytes", "B", genes, 2, False, {"tissue": 1e-30})
    assert finding.direction == direction
    assert f"Pericytes near B {words}" in finding.sentence()
    assert "(q < 1e-10 from the tissue alone)" in finding.sentence()


def test_a_q_has_as_many_digits_as_mean_something():
    assert [format_q(q) for q in (0.04999, 3e-4, 1e-11)] == ["q = 0.05", "q = 0.0003", "q < 1e-10"]


def test_markup_in_a_name_is_text_in_a_notebook():
    name = "<script>alert(1)</script>"
    response = make_response().assign_coords(label=["T_cell", name, "Tumor"])
    response = response.assign_coords(query=["T_cell", name, "Tumor"], gene=["<b>", *GENES[1:]])
    shown = amici_xr.summary(response)._repr_html_()
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 2
    assert "<table" in shown


def test_a_summary_can_not_be_changed():
    found = amici_xr.summary(make_response())
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.sentences = []


# With a model


@pytest.fixture(scope="module")
def of_demo():
    """Scores with effects, and the response of the packaged tissue."""
    pytest.importorskip("anndata")
    model, adata = amici_xr.demo()
    ds = amici_xr.extract(model, None, adata, effects=True, unit="µm", progress=False)
    response = amici_xr.distance_response(adata, "cell_type", microns_per_unit=1.0, progress=False)
    return ds, response, adata.uns["interactions"]


@needs_model
def test_the_demo_has_the_planted_findings_with_their_genes_and_distances(of_demo):
    ds, response, planted = of_demo
    found = amici_xr.summary(ds, response, threshold=0.1)
    table = found.table.set_index(["receiver", "sender"])
    assert len(table) == len(planted) == 2
    for row in planted.itertuples():
        finding = table.loc[row.receiver, row.sender]
        for name in ("radius", "reach", "effect_reach"):
            assert finding[name] == pytest.approx(row.length_scale, rel=0.15)
        assert finding["direction"] == "up"
        assert finding["q"] < 1e-6
        assert not finding["may_be_spillover"]
        sentence = next(s for s in found.sentences if s.startswith(f"{row.receiver} cells near"))
        assert f"the model's effect halves by {finding['effect_reach']:.3g} µm." in sentence
        assert "with 5 more genes" in sentence  # ten were planted
    reached = found.not_supported.dropna(subset="reach")
    atlas = ds.cf.atlas(0.1)
    is_reached = (atlas.status == "reachable").any("head").to_series()
    expected = set(is_reached.index[is_reached]) - set(table.index)
    assert set(zip(reached["receiver"], reached["sender"], strict=True)) == expected
    assert expected


@needs_model
def test_genes_are_the_models_where_only_a_refit_supports_the_pair(of_demo):
    ds, response, _ = of_demo
    types = response["query"].values
    q = np.where(np.eye(types.size), NAN, 0.9)
    refits = xr.Dataset(
        {"q_value": (PAIR, q), "status": (PAIR, np.where(np.isnan(q), "same_type", "tested"))},
        coords={"query": types, "label": types},
        attrs={KIND: "sender_refits"},
    )
    q[types == "Tumor", types == "Fibroblast"] = 0.001
    found = amici_xr.summary(ds, refits)
    (sentence,) = found.sentences
    assert sentence.startswith("Tumor cells near Fibroblast are predicted to express more gene_4")
    assert ", with 5 more genes (q = 0.001 from refits without the sender)" in sentence
    (genes,) = found.table["genes"]
    of_tissue = response.sel(query="Tumor", label="Fibroblast")
    planted_genes = of_tissue.gene.values[of_tissue.effect.values > 1]
    assert {gene.removeprefix("↑") for gene in genes.split(", ")} <= set(planted_genes)
    assert found.table["radius"].isna().all()
    leaking = response.assign(
        may_be_spillover=xr.ones_like(response.may_be_spillover),
        q_value=response.q_value * 0 + 0.9,
    )
    starred = amici_xr.summary(ds, [refits, leaking]).table
    assert starred["may_be_spillover"].tolist() == [True]
    assert starred["genes"].str.count(r"\*").tolist() == [5]


@needs_model
def test_refits_name_the_genes_that_they_predict_better_and_the_model_their_direction(of_demo):
    ds, response, _ = of_demo
    types, genes = response["query"].values, response["gene"].values
    q = np.where(np.eye(types.size), NAN, 0.9)
    q[types == "Tumor", types == "Fibroblast"] = 0.001
    gene_q = np.full((*q.shape, genes.size), 0.9)
    gene_q[types == "Tumor", types == "Fibroblast", :] = np.where(
        np.isin(genes, ["gene_41", "gene_47"]), 0.01, 0.9
    )
    refits = xr.Dataset(
        {
            "q_value": (PAIR, q),
            "status": (PAIR, np.where(np.isnan(q), "same_type", "tested")),
            "gene_q_value": ((*PAIR, "gene"), gene_q),
            "gene_gain": ((*PAIR, "gene"), 1 - gene_q),
        },
        coords={"query": types, "label": types, "gene": genes},
        attrs={KIND: "sender_refits"},
    )
    alone, with_model = amici_xr.summary(refits), amici_xr.summary(ds, refits)
    assert alone.sentences[0].startswith(
        "Tumor cells near Fibroblast are predicted better in gene_41 and gene_47 by models that see"
    )
    assert alone.table[["genes", "direction"]].values.tolist() == [["gene_41, gene_47", ""]]
    assert "are predicted to express more gene_41 and gene_47" in with_model.sentences[0]
    assert with_model.table["genes"].tolist() == ["↑gene_41, ↑gene_47"]


@needs_model
def test_a_summary_of_one_receiver_holds_its_pairs_alone(of_demo):
    ds, response, _ = of_demo
    found = amici_xr.summary(amici_xr.select(ds, "Tumor"), response)
    assert found.table[["receiver", "sender"]].values.tolist() == [["Tumor", "Fibroblast"]]
    assert set(found.not_supported["receiver"]) == {"Tumor"}
    without_effects = ds.drop_vars("counterfactual_effect").drop_dims(["gene"])
    alone = amici_xr.summary(amici_xr.select(without_effects, "Tumor"), response)
    assert alone.table["effect_reach"].isna().all()
    assert f"the model's attention reaches {alone.table['reach'].item():.3g} µm." in str(
        alone.sentences
    )


def test_a_reach_without_evidence_is_no_finding(several):
    found = amici_xr.summary(several, threshold=0.6)
    assert found.sentences == []
    assert not found.not_supported["is_tested"].any()
    atlas = amici_xr.atlas(several, 0.6)
    expected = (atlas.status == "reachable").any("head").sum()
    assert len(found.not_supported) == expected > 0
    text = " ".join(str(found).split())
    assert "No evidence was given: distance_response(adata, …) tests pairs." in text
    assert "Reached by the model, and not tested: " in text
    assert found.not_tested.values.tolist() == [["", "no_evidence", 9]]  # 3 receivers, 4 types
    one_head = amici_xr.summary(several.isel(head=0), threshold=0.6)
    assert len(one_head.not_supported) <= expected


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda ds: amici_xr.summary(), ValueError, "neither a model nor evidence to sum up"),
        (lambda ds: amici_xr.summary(evidence=[]), ValueError, "neither a model nor evidence"),
        (lambda ds: amici_xr.summary(ds, make_refits(NO_REFITS)), ValueError,
         "'refits' is of other cell types than ds"),
        (lambda ds: amici_xr.summary(make_response(), make_response()), ValueError,
         "two Datasets of the kind 'tissue'"),
        (lambda ds: amici_xr.summary(amici_xr.align_runs([ds, ds])), ValueError,
         "a summary is of one model"),
        (lambda ds: amici_xr.summary(ds, threshold=0), ValueError, "threshold=0 must lie strictly"),
        (lambda ds: amici_xr.summary(ds, significance_level=2), ValueError,
         "significance_level=2 must lie strictly"),
        (lambda ds: amici_xr.summary("ds.nc"), TypeError, "must be an xarray.Dataset, not str"),
        (lambda ds: amici_xr.summary(ds, ds), amici_xr.SchemaError, "'scores', which is not evid"),
    ],
)  # fmt: skip
def test_what_can_not_be_summed_up_is_named(several, call, error, message):
    with pytest.raises(error, match=message):
        call(several)
