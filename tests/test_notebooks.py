"""Every notebook runs from top to bottom, and is stored without its outputs."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.needs_model
nbformat = pytest.importorskip("nbformat")  # environments for the core and for AMICI have none
nbclient = pytest.importorskip("nbclient")  # likewise
pytest.importorskip("distributed")  # of cluster.ipynb; likewise

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def files_beside_the_code():
    """Files and folders of the checkout where a notebook could leave something by mistake."""
    folders = (ROOT, ROOT / "notebooks", *(ROOT / "amici_xr" / "demo_data").glob("**"))
    found = {path for folder in folders for path in folder.iterdir()}
    return {path for path in found if not path.name.startswith((".", "__pycache__"))}


# of the kernel and its sockets, not of the notebook's code
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@every_notebook
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    # a worker that a busy machine stops late is no fault of the notebook
    monkeypatch.setenv("DASK_LOGGING__DISTRIBUTED", "error")
    before = files_beside_the_code()
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
        # dask's word on a graph above 10 MB, which the notebook explains
        if "Sending large graph" not in output.text
    ]
    assert not printed
    figures = str(done).count("image/png")
    assert figures >= 3
    assert files_beside_the_code() == before


@every_notebook
def test_a_notebook_is_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


@every_notebook
def test_a_notebook_is_stored_the_same_wherever_it_was_edited(path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "notebooks")
    from strip import stripped

    text = path.read_text("utf-8")
    assert text == stripped(text), "run python notebooks/strip.py"


def test_stripping_leaves_nothing_of_the_machine_and_all_that_was_written(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "notebooks")
    from strip import stripped

    written = nbformat.v4.new_notebook(
        metadata={"language_info": {"name": "python", "version": "3.11.7"}}
    )
    written.cells = [
        nbformat.v4.new_markdown_cell("# Title ∅"),
        nbformat.v4.new_code_cell("1 + 1", execution_count=7, metadata={"collapsed": True}),
    ]
    written.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
    text = stripped(nbformat.writes(written))
    kept = nbformat.reads(text, as_version=4)
    nbformat.validate(kept)
    assert [cell.source for cell in kept.cells] == ["# Title ∅", "1 + 1"]
    assert not kept.cells[1].outputs
    assert not any(left in text for left in ("3.11.7", "collapsed", "7", "\\u2205"))


@every_notebook
def test_a_notebook_has_one_title_and_then_sections(path):
    headings = [
        line
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown"
        for line in outside_of_code(cell.source)
        if line.startswith("#")
    ]
    levels = [heading.partition(" ")[0] for heading in headings]
    assert levels[0] == "#"
    assert set(levels[1:]) <= {"##", "###"}
    assert headings[-1] == "## Where to go on"


def outside_of_code(source):
    """Lines of markdown that stand in no fenced block."""
    return [line for part in source.split("```")[::2] for line in part.splitlines()]


@every_notebook
def test_a_notebook_stands_in_the_readme_and_names_only_notebooks_that_exist(path):
    assert f"notebooks/{path.name}" in (ROOT / "README.md").read_text("utf-8")
    text = path.read_text("utf-8")
    named = {name for name in text.replace("`", " ").split() if name.endswith(".ipynb")}
    assert named <= {other.name for other in NOTEBOOKS}
