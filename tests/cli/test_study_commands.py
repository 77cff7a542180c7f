"""The command line on the file of a study: evidence comes from its groups."""

import shlex
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pages import content_of
from responses import simulate_response

import amici_xr


@pytest.fixture(scope="module")
def groups():
    scores = amici_xr.testing.simulate_dataset(["A", "B"], n_cells=150, unit="µm")
    response = simulate_response(4).assign_coords(query=list("ABCD"), label=list("ABCD"))
    intervals = scores.cf.bootstrap(0.1)
    return {"scores": scores, "tissue": response, "intervals": intervals}


@pytest.fixture(scope="module")
def written(groups, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    amici_xr.save(xr.DataTree.from_dict(groups), folder / "study.nc")
    amici_xr.save(groups["scores"], folder / "scores.nc")
    amici_xr.save(groups["tissue"], folder / "tissue.nc")
    return folder


@pytest.fixture(autouse=True)
def _files(written, _own_folder):
    shutil.copytree(written, ".", dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("words", "of_files"),
    [
        (["summary"], ["--evidence", "tissue.nc"]),
        (["atlas", "--threshold", "0.1"], ["--evidence", "tissue.nc"]),
        (["length-scale", "--query", "A"], []),
        (["curve", "--labels", "B", "--distance", "0,5"], []),
    ],
)
def test_a_study_answers_as_its_files_do_with_the_evidence_named(done, words, of_files):
    assert done(*words, "study.nc").out == done(*words, "scores.nc", *of_files).out


def test_figures_and_the_page_of_a_study_have_its_evidence(done):
    pytest.importorskip("bokeh")  # an extra
    for words, suffix in ((["plot", "atlas"], "png"), (["report"], "html")):
        words = [*words, "--threshold", "0.1"]
        done(*words, "study.nc", "--out", f"study.{suffix}")
        done(*words, "scores.nc", "--evidence", "tissue.nc", "--out", f"scores.{suffix}")
    with open("study.png", "rb") as study, open("scores.png", "rb") as scores:
        assert study.read() == scores.read()
    sentences = content_of("study.html")["evidence"]["sentences"]
    assert sentences
    assert all("from the tissue alone" in sentence for sentence in sentences)


def test_evidence_is_taken_from_a_study_beside_scores(done):
    expected = done("summary", "scores.nc", "--evidence", "tissue.nc").out
    assert done("summary", "scores.nc", "--evidence", "study.nc").out == expected


def test_a_study_without_scores_is_summed_up_and_has_no_part(done, call, groups):
    amici_xr.save(xr.DataTree.from_dict({"tissue": groups["tissue"]}), "tissues.nc")
    assert done("summary", "tissues.nc").out == done("summary", "tissue.nc").out
    refused = call("summary", "tissues.nc", "--query", "A")
    assert refused.status == 2
    assert "the study has no scores from which a part could be taken" in refused.err


def test_info_lists_every_group_and_commands_that_work(done):
    shown = done("info", "study.nc").out
    assert "Study of 3 groups" in shown
    for words in ("scores:\n    Counterfactual attention", "tissue:\n    Distance response"):
        assert words in shown
    assert "intervals:\n    Answer to a question about scores" in shown
    asked = shown.partition("Ask:\n")[2].splitlines()
    assert len(asked) == len(set(asked)) > 8
    for line in asked:
        if "spatial" not in line and "report" not in line:  # slow, or an extra
            done(*shlex.split(line)[1:])


def test_info_puts_evidence_first_and_says_where_there_is_none(done):
    shown = done("info", "study.nc").out
    assert shown.index("\ntissue:") < shown.index("\nscores:")
    words = "amici-xr distance-response asks the tissue which pairs are real"
    assert words not in shown
    assert words in done("info", "scores.nc").out


def test_info_leaves_out_questions_that_two_groups_could_answer(done, groups):
    two = {"first": groups["scores"], "second": groups["scores"], "tissue": groups["tissue"]}
    amici_xr.save(xr.DataTree.from_dict(two), "two.nc")
    asked = done("info", "two.nc").out.partition("Ask:\n")[2]
    assert "plot pairs two.nc" in asked
    assert "length-scale" not in asked


def test_a_study_is_converted_whole_or_its_scores_to_a_table(done, groups):
    pytest.importorskip("zarr")  # an extra
    done("convert", "study.nc", "study.zarr")
    converted = amici_xr.open_study("study.zarr")
    xr.testing.assert_equal(converted["tissue"].to_dataset(), groups["tissue"])
    done("convert", "study.nc", "scores.csv")
    table = pd.read_csv("scores.csv", index_col=0)
    assert len(table) == int(groups["scores"]["is_neighbor"].sum()) * 2


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (
            ["plot", "history", "study.nc", "--out", "a.png"],
            1,
            "the study has no group of the kind 'training_history', which plot_history needs",
        ),
        (
            ["atlas", "scores.nc", "--chance", "study.nc"],
            2,
            "--chance: 'study.nc' is a study without such a group; it has 'scores', 'tissue', 'int",
        ),
        (["compare-with-tissue", "scores.nc"], 2, "--response is missing: the file of a distance"),
        (["compare-with-tissue", "study.nc"], 1, "this Dataset has no effects"),
    ],
)
def test_what_a_study_lacks_is_named(call, words, status, message):
    refused = call(*words)
    assert (refused.status, refused.out) == (status, "")
    assert message in refused.err


def test_several_studies_give_their_scores_to_a_command_of_several(done, groups):
    done("align-runs", "study.nc", "scores.nc", "--out", "runs.nc")
    runs = amici_xr.open_dataset("runs.nc")
    np.testing.assert_array_equal(
        runs["base_attention_score"].isel(run=0), groups["scores"]["base_attention_score"]
    )
