"""A folder holds at most 15 modules, and a module one thought: at most 300 lines."""

from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "amici_xr"
FOLDERS = sorted({path.parent for path in PACKAGE.rglob("*.py")})
MOST_MODULES, MOST_AT_THE_TOP, MOST_LINES = 15, 6, 300


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_holds_few_modules_of_few_lines(folder):
    modules = list(folder.glob("*.py"))
    assert len(modules) <= (MOST_AT_THE_TOP if folder == PACKAGE else MOST_MODULES)
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in modules}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}
