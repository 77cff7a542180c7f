"""What ``amici-xr glossary`` prints of the glossary that the documentation shows."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

import amici_xr


def test_a_word_is_explained_as_in_the_documentation_without_its_links(done):
    assert done("glossary", "neighborhood_edge").out == (
        "Neighborhood edge\n"
        "    Where neighborhoods end: the median, over receivers, of the distance to the\n"
        "    farthest neighbor. A reach beyond it is extrapolated.\n"
    )


def test_every_word_of_the_page_is_explained(done):
    page = files("amici_xr.cli").joinpath("glossary.md").read_text("utf-8")
    words = [line for line in page.splitlines() if line and line[0].isalpha()]
    printed = done("glossary").out
    assert [line for line in printed.splitlines() if line and line[0] != " "] == words
    assert not {"{", "}", "[", "]"} & set(printed)
    assert max(map(len, printed.splitlines())) <= 80


def test_a_word_that_stands_in_explanations_alone_leads_to_them(done):
    assert done("glossary", "sender").out.startswith("Label\n")
    assert done("glossary", "receiving cell type").out.startswith("Query\n")


@pytest.mark.parametrize(("word", "near"), [("evidense", "'Evidence'"), ("xyzzy", "'Query', ")])
def test_a_word_that_it_lacks_is_refused_with_those_that_are_near(call, word, near):
    result = call("glossary", word)
    assert result.status == 2
    assert f"WORD '{word}' is not in the glossary; it has {near}" in result.err


def test_every_word_that_a_message_sends_to_is_explained(done):
    folder = Path(amici_xr.__file__).parent
    sources = "".join(path.read_text("utf-8") for path in folder.rglob("*.py"))
    words = set(re.findall(r"amici-xr glossary (\w+) explains the words", sources))
    assert words >= {"patches", "variance", "evidence", "gain"}
    for word in words:
        assert word in done("glossary", word).out.lower().splitlines()[0]
