"""Questions to a study: which groups answer them, and what they say beside the functions."""

import inspect

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from pages import content_of
from responses import simulate_response

import amici_xr
from amici_xr.accessor import CounterfactualMethods, StudyMethods


@pytest.fixture(scope="module")
def scores():
    return amici_xr.testing.simulate_dataset(["A", "B", "C"], n_cells=200, unit="µm")


@pytest.fixture(scope="module")
def response():
    return simulate_response(4).assign_coords(query=list("ABCD"), label=list("ABCD"))


def evidence_of(kind, response, status="tested"):
    states = ("query", "label"), np.full((4, 4), status)
    ds = xr.Dataset({"q_value": response["q_value"] / 2, "status": states})
    return ds.assign_attrs(dataset_kind=kind)


@pytest.fixture(scope="module")
def refits(response):
    return evidence_of("sender_refits", response)


@pytest.fixture(scope="module")
def study(scores, response, refits):
    groups = {"scores": scores, "tissue": response, "evidence/refits": refits}
    return xr.DataTree.from_dict({**groups, "intervals": scores.cf.bootstrap(0.1)})


def test_a_summary_takes_scores_and_all_evidence(study, scores, response, refits):
    found, expected = study.cf.summary(), amici_xr.summary(scores, [response, refits])
    assert str(found) == str(expected)
    assert "refits without the sender" in str(found)


def test_both_names_of_the_accessor_answer_and_arguments_follow_in_their_order(study, scores):
    xr.testing.assert_identical(study.amici.curve([0, 5]), scores.cf.curve([0, 5]))
    xr.testing.assert_identical(study.cf.support(0.1, 0.5), scores.cf.support(0.1, 0.5))


def test_a_group_of_a_study_is_asked_without_being_made_a_dataset(study, scores, response):
    xr.testing.assert_identical(study["scores"].cf.curve([0, 5]), scores.cf.curve([0, 5]))
    assert str(study["tissue"].cf.summary()) == str(amici_xr.summary(evidence=response))
    assert "a study of 1 groups" not in repr(study["scores"].cf)


def test_an_atlas_has_the_evidence_and_the_chance_of_the_study(study, scores, response, refits):
    chance = scores.assign(base_attention_score=scores["base_attention_score"] - 1)
    with_chance = study.copy()
    with_chance["chance"] = xr.DataTree(chance)
    expected = amici_xr.atlas(scores, 0.1, evidence=[response, refits], chance=chance)
    xr.testing.assert_identical(with_chance.cf.atlas(0.1), expected)


def test_evidence_that_is_given_takes_the_place_of_the_evidence_in_the_study(study, scores, refits):
    expected = amici_xr.atlas(scores, 0.1, evidence=refits)
    xr.testing.assert_identical(study.cf.atlas(0.1, evidence=refits), expected)


def test_gains_on_cells_of_the_training_are_kept_but_are_no_evidence(study, response):
    gains = evidence_of("prediction_gain", response, "in_sample")
    with_gains = study.copy()
    with_gains["gains"] = xr.DataTree(gains)
    assert str(with_gains.cf.summary()) == str(study.cf.summary())
    held_out = evidence_of("prediction_gain", response, "held_out")
    with_gains["gains"] = xr.DataTree(held_out)
    assert "q_value_held_out_gain" in with_gains.cf.atlas(0.1)


def test_a_study_without_a_model_is_summed_up(study, response, refits):
    of_tissue = xr.DataTree.from_dict({"tissue": response, "refits": refits})
    assert str(of_tissue.cf.summary()) == str(amici_xr.summary(None, [response, refits]))


def test_figures_of_a_response_take_the_response(study, response):
    ax = study.cf.plot_response("A", "B", n_genes=2)
    assert [text.get_text() for text in ax.texts] == [
        text.get_text() for text in amici_xr.plot_response(response, "A", "B", n_genes=2).texts
    ]
    plt.close("all")
    assert study.cf.plot_pairs() is not None


def test_a_page_begins_with_the_findings_of_the_study(study):
    pytest.importorskip("bokeh")  # an extra
    study.cf.report("page.html", 0.1, thresholds=[0.1])
    sentences = content_of("page.html")["evidence"]["sentences"]
    assert sentences == study.cf.summary(threshold=0.1).sentences


def test_runs_are_asked_across_runs_and_the_model_otherwise(study, scores):
    runs = amici_xr.align_runs([scores, scores])
    with_runs = study.copy()
    with_runs["runs"] = xr.DataTree(runs)
    expected = amici_xr.reach_across_runs(runs, 0.1)
    xr.testing.assert_identical(with_runs.cf.reach_across_runs(0.1), expected)
    assert "run" not in with_runs.cf.length_scale(0.1).dims
    alone = xr.DataTree.from_dict({"runs": runs})
    assert "run" in alone.cf.length_scale(0.1).dims


def test_scores_of_any_name_are_asked_where_there_is_one_such_group(scores):
    study = xr.DataTree.from_dict({"model": scores, "chance": scores})
    xr.testing.assert_identical(study.cf.length_scale(0.1), scores.cf.length_scale(0.1))


@pytest.mark.parametrize(
    ("groups", "ask", "message"),
    [
        (
            {"first": "scores", "second": "scores"},
            lambda study: study.cf.curve([0, 5]),
            "ds: the study holds several groups of the kind 'scores': 'first', 'second'; name one "
            r"of them 'scores', or ask one of them, study\['first'\]\.ds\.cf",
        ),
        (
            {"a": "response", "b": "response"},
            lambda study: study.cf.plot_pairs(),
            "response: the study holds several groups of the kind 'distance_response': 'a', 'b'; "
            "give response=, or",
        ),
        (
            {"tissue": "response"},
            lambda study: study.cf.length_scale(),
            "ds: the study has no group of the kind 'scores', which length_scale needs; it has "
            "'tissue'",
        ),
        (
            {"scores": "scores"},
            lambda study: study.cf.compare_with_tissue(),
            "response: the study has no group of the kind 'distance_response', which "
            "compare_with_tissue needs",
        ),
    ],
)
def test_a_question_that_groups_can_not_answer_names_them(scores, response, groups, ask, message):
    datasets = {"scores": scores, "response": response}
    study = xr.DataTree.from_dict({name: datasets[kind] for name, kind in groups.items()})
    with pytest.raises(ValueError, match=message):
        ask(study)


def test_a_method_of_a_study_refuses_more_arguments_than_it_has(study):
    with pytest.raises(TypeError, match="length_scale takes at most 2 arguments, not 3"):
        study.cf.length_scale(0.1, 0.02, 3)


def test_every_question_to_a_dataset_is_one_to_a_study():
    def questions(methods):
        return {name for name, each in vars(methods).items() if inspect.isfunction(each)}

    missing = questions(CounterfactualMethods) - questions(StudyMethods)
    assert missing == {"select", "to_microns", "validate"}


def test_the_repr_lists_groups_and_questions(study):
    shown = repr(study.cf).splitlines()
    assert shown[0] == "<study.cf: a study of 4 groups>"
    assert shown[1:5] == [
        "    scores:            counterfactual attention",
        "    tissue:            evidence, tissue",
        "    intervals:         answer about scores",
        "    evidence/refits:   evidence, refits",
    ]
    assert any(line.startswith("    study.cf.summary(…) ") for line in shown)


def test_a_study_is_saved_by_its_method(study):
    study.cf.save("study.nc")
    assert set(amici_xr.open_study("study.nc").children) == set(study.children)


@pytest.mark.needs_model
def test_a_model_is_compared_with_the_tissue_of_the_study(effects_of_demo, response_of_demo):
    scores = effects_of_demo[0]
    groups = {"scores": scores, "tissue": response_of_demo}
    compared = xr.DataTree.from_dict(groups).cf.compare_with_tissue(significance_level=0.01)
    expected = amici_xr.compare_with_tissue(scores, response_of_demo, significance_level=0.01)
    xr.testing.assert_identical(compared, expected)
    # evidence of models decides instead: refits, or else gains
    status = response_of_demo["status"]
    refits = xr.Dataset({"q_value": response_of_demo["q_value"], "status": status})
    refits.attrs["dataset_kind"] = "sender_refits"
    groups["gains"] = refits.assign(q_value=refits["q_value"] * 0 + 0.5).assign_attrs(
        dataset_kind="prediction_gain"
    )
    groups["refits"] = refits
    compared = xr.DataTree.from_dict(groups).cf.compare_with_tissue()
    expected = amici_xr.compare_with_tissue(scores, response_of_demo, evidence=refits)
    xr.testing.assert_identical(compared, expected)
