"""The table of faults in docs/faults.md names tests that exist, and all of them."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FAULTS = TESTS.parent / "docs" / "faults.md"


def names_in(*names):
    return {
        test
        for name in names
        for test in re.findall(r"^def (test_\w+)", (TESTS / name).read_text("utf-8"), re.MULTILINE)
    }


@pytest.fixture
def named():
    rows = re.findall(r"^\|.*\| `(test_\w+)` \|$", FAULTS.read_text("utf-8"), re.MULTILINE)
    assert rows
    return rows


def test_every_test_that_the_table_names_exists_and_is_named_once(named):
    assert set(named) <= names_in(*TESTS.rglob("test_*.py"))
    assert len(set(named)) == len(named)


def test_every_fault_that_is_tried_on_writing_is_in_the_table(named):
    assert names_in("io/test_file_faults.py") <= set(named)
