"""Every notebook runs from top to bottom, and is stored without its outputs."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.needs_model
nbformat = pytest.importorskip("nbformat")  # environments for the core and for AMICI have none
nbclient = pytest.importorskip("nbclient")  # likewise

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))


# of the kernel and its sockets, not of the notebook's code
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    done = nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    printed = [
        output
        for cell in done.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
        # but for the progress bar, and the blanks that wipe it, on a machine that is busy
        if output.text.strip() and "extract:" not in output.text
    ]
    assert not printed
    figures = str(done).count("image/png")
    assert figures >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
