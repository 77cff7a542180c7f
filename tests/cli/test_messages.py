"""The command line where something is wrong: one line, its status, and the words of its options."""

import os
import shutil
import subprocess
import sys
import warnings
from importlib.resources import files

import pytest

import amici_xr
from amici_xr.cli import main
from amici_xr.cli.messages import describe, in_options

PACKAGED = files("amici_xr.demo_data")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with a file of one query, of two, of two runs, a table and what is none of them."""
    folder = tmp_path_factory.mktemp("files")
    ds = amici_xr.testing.simulate_dataset(n_cells=200)
    amici_xr.save(ds, folder / "one.nc")
    amici_xr.save(amici_xr.testing.simulate_dataset(["A", "B"], n_cells=60), folder / "two.nc")
    amici_xr.save(amici_xr.align_runs([ds, ds]), folder / "runs.nc")
    amici_xr.to_dataframe(ds).to_csv(folder / "table.csv")
    (folder / "text.nc").write_text("text")
    (folder / "text.csv").write_text("a,b\n1,2\n")
    return folder


@pytest.fixture
def one(written, tmp_path):
    """Those files in the folder of the test; the Dataset of one query."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return amici_xr.open_dataset("one.nc")


def run(*words, python=sys.executable, **options):
    """Run the command line in a process of its own, where stderr is no terminal."""
    command = [python, "-m", "amici_xr.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


# What is asked can't be answered: status 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["info", "none.nc"], "none.nc: there is no such file"),
        (["curve", "scores.h5"], "scores.h5 must end in one of '.nc', '.zarr', '.zarr.zip'"),
        (["curve", "text.nc"], "text.nc can't be read as .nc: "),
        (["curve", "none.csv"], "none.csv: No such file or directory"),
        (["curve", "text.csv"], "the table must have each of 'query_label', "),
        (["curve", "one.nc", "--distance", "-1"], "distance holds -1.0; distances must be finite"),
        (["curve", "one.nc", "--by", "celltype"], "--by 'celltype' "),
        (["curve", "one.nc", "--quantiles", "2"], "--quantiles 2.0 must be a sequence of numbers"),
        (["curve", "one.nc", "--by-sample"], "this Dataset has no samples (neighbor_sample)"),
        (["length-scale", "one.nc", "--threshold", "1.5"],
         "--threshold 1.5 must lie strictly between 0 and 1, e.g. --threshold 0.5"),
        (["length-scale", "one.nc", "--threshold", "0.1,0.1"],
         "--threshold 0.1,0.1 names a threshold twice; name each once"),
        (["length-scale", "one.nc", "--sample-threshold", "2"],
         "--sample-threshold 2.0 must lie between 0 and 1"),
        (["length-scale", "one.nc", "--query", "Z"],
         "--query 'Z' is not in this Dataset, which holds 'A'"),
        (["length-scale", "one.nc", "--heads", "0,7"], "--heads: unknown head 7; known: 0, 1"),
        (["length-scale", "one.nc", "--labels", "Z"], "--labels: unknown label 'Z'; known: 'B', "),
        (["length-scale", "one.nc", "--method", "exact", "--resampling-unit", "spatial"],
         "--method 'exact' is for cells; leave it out with --resampling-unit 'spatial'"),
        (["plot", "curve", "one.nc", "--head", "7", "-o", "f.png"],
         "--head: unknown head 7; known: 0, 1"),
        (["plot", "curve", "one.nc", "--head", "0", "--run", "1", "-o", "f.png"],
         "--run 1: this file holds a single training"),
        (["plot", "length-scale", "one.nc", "--palette", "none", "-o", "f.png"],
         "--palette 'none' is not a matplotlib colormap, e.g. 'tab20'"),
        (["plot", "spatial", "one.nc", "-o", "f.png"], "quantity has the heads 0, 1; name one"),
        (["plot", "spatial", "one.nc", "--head", "0", "--limits", "3", "1", "-o", "f.png"],
         "--limits 3.0 1.0 must be the values of the two ends of the colors"),
        (["plot", "curve", "two.nc", "--head", "0", "-o", "f.png"],
         "ds holds the queries 'A', 'B'; draw one at a time, e.g. --query"),
        (["plot", "atlas", "runs.nc", "-o", "f.png"],
         "the atlas has a run dim (0, 1); draw one at a time, e.g. --run"),
        (["info", "a.h5ad"], "a.h5ad must end in one of '.nc', '.zarr', '.zarr.zip'"),
        (["convert", "text.csv", "a.nc"], "the table must have each of 'query_label', "),
        (["convert", "none.nc", "a.csv"], "none.nc: there is no such file"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_in_the_words_of_the_options(call, one, tmp_path, words, expected):
    before = sorted(path.name for path in tmp_path.iterdir())
    result = call(*words)
    assert result.status == 1
    assert result.err.startswith(f"error: {expected}")
    assert result.err.count("\n") == 1
    assert result.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.needs_model
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model", "tissue.h5ad", "--query", "Z"],
         "--query: unknown cell type 'Z'; known: 'Endothelial', "),
        (["model", "tissue.h5ad", "--query", "T_cell,Tumor"],
         "'Macrophage', 'T_cell', 'Tumor'; name each by itself, not in one text"),
        (["model", "none.h5ad"], "none.h5ad: there is no such file"),
        (["none", "tissue.h5ad"], "none: "),
        (["model"],
         "this saved model has no AnnData of its own; pass the tissue, e.g. extract(mod"),
        (["tissue.h5ad", "model"], "tissue.h5ad can't be read as a model"),
        (["model", "tissue.h5ad", "--heads", "9"], "--heads: unknown head 9; known: 0, 1, 2, 3"),
        (["model", "tissue.h5ad", "--device", "tpu9"], "--device 'tpu9' can't be used here: "),
        (["model", "tissue.h5ad", "--batch-size", "0"], "--batch-size 0 must be at least 1"),
        (["model", "tissue.h5ad", "--sample-key", "slide"],
         "--sample-key 'slide' is no column of adata.obs, which has 'cell_type'"),
        (["model", "tissue.h5ad", "--query", "Tumor", "--sample-key", "cell_type"],
         "has a neighbor of another type in its sample, of --sample-key 'cell_type', so there"),
        (["model", "tissue.h5ad", "--unit", "µm", "--microns-per-unit", "2"],
         "--microns-per-unit 2.0, but the unit is 'µm' already; leave one of them out"),
    ],
)  # fmt: skip
def test_an_error_of_an_extraction_is_one_line_too(call, tmp_path, words, expected):
    for name in ("model", "tissue.h5ad"):
        (tmp_path / name).symlink_to(str(PACKAGED / name))
    result = call("extract", *words, "--out", "a.nc")
    assert result.status == 1
    assert expected in result.err
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert not (tmp_path / "a.nc").exists()


def test_what_is_not_installed_is_named_with_its_extra(call, one, monkeypatch):
    for module in ("torch", "anndata", "zarr", "pyarrow", "bokeh"):
        monkeypatch.setitem(sys.modules, module, None)
    for words, extra in (
        (["extract", PACKAGED / "model", PACKAGED / "tissue.h5ad", "--out", "a.nc"], "model"),
        (["demo", "folder"], "model"),
        (["extract", PACKAGED / "model", PACKAGED / "tissue.h5ad", "--out", "a.zarr"], "zarr"),
        (["convert", "one.nc", "a.zarr.zip"], "zarr"),
        (["curve", "one.nc", "--out", "a.parquet"], "parquet"),
        (["report", "one.nc", "--out", "a.html"], "report"),
    ):
        result = call(*words)
        assert result.status == 1
        assert result.err.startswith("error: ")
        assert result.err.endswith(f": pip install 'amici-xr[{extra}]'\n")


def test_every_problem_of_a_file_stands_in_the_one_line(call, one):
    one.drop_vars(["position_coefficient", "label"]).to_netcdf("broken.nc")
    result = call("info", "broken.nc")
    assert result.status == 1
    assert result.err.count("\n") == 1
    assert "position_coefficient" in result.err
    assert "label" in result.err


def test_a_disk_that_may_not_be_written_to_is_named(call, one, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "a.nc")

    monkeypatch.setattr("amici_xr.cli.outputs.save", refuse)
    result = call("convert", "one.nc", "a.nc")
    assert (result.status, result.err) == (1, "error: a.nc: Permission denied\n")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("a is\n  wrong"), "a is wrong"),
        (ValueError("not so:\n- a\n- b=None"), "not so: a; b=None"),
        (OSError("full"), "full"),
        (amici_xr.NotFoundError("heads: unknown head 7"), "--heads: unknown head 7"),
        (MemoryError(), "MemoryError: no message; --debug shows where"),
        (IndexError("list index"), "IndexError: list index; --debug shows where"),
    ],
)
def test_an_error_is_described_in_one_line(error, expected):
    assert describe(error, frozenset({"heads"})) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("threshold=1.5 must", "--threshold 1.5 must"),
        ("pass sample_threshold=None, or", "pass --sample-threshold none, or"),
        ("heads=[0, 2] name", "--heads 0,2 name"),
        ("leave out by_sample=True", "leave out --by-sample"),
        ("with progress=False.", "with --no-progress."),
        ("query='T cell' is", "--query 'T cell' is"),
        ("path='a b.nc': there", "a b.nc: there"),
        ("other=3 is", "other=3 is"),
        ("threshold: it is", "--threshold: it is"),
        ("e.g. threshold=0.5)", "e.g. --threshold 0.5)"),
        ("e.g. amici_xr.select(ds, query)", "e.g. --query"),
        ("take one, e.g. ds.isel(run=0)", "take one, e.g. --run"),
        ("e.g. ds.isel(head=0)", "e.g. ds.isel(head=0)"),
    ],
)
def test_arguments_are_written_as_options_where_there_are_such(text, expected):
    known = {"threshold", "sample_threshold", "heads", "by_sample", "progress", "query", "run"}
    assert in_options(text, frozenset(known)) == expected


# The call itself is wrong: status 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--bogus"], 'Unknown command "--bogus"'),
        (["curves"], 'Unknown command "curves". Did you mean "curve'),
        (["curve"],
         'Command "curve" parameter FILE requires an argument; see amici-xr curve --help'),
        (["curve", "one.nc", "--distance", "a"],
         "--distance: 'a' is none of a number, several such as 0,10,20 and"),
        (["curve", "one.nc", "--distance", "0:1:0"], "'0:1:0' is none of a number"),
        (["curve", "one.nc", "--distance", "0:1"], "'0:1' is none of a number"),
        (["curve", "one.nc", "--distance", "0:1e9:1"], "'0:1e9:1' is none of a number"),
        (["curve", "one.nc", "--heads", "a"],
         "--heads: 'a' is none of a whole number, several such as 0,"),
        (["curve", "one.nc", "--out", "a.xlsx"],
         "--out. It must end in .csv, .csv.gz, .parquet, .nc or .zarr"),
        (["curve", "one.nc", "--out", "there.csv"], "--out. It is a folder; choose another name"),
        (["curve", "one.nc", "--out", "no/a.csv"], "--out. There is no folder 'no'; make it first"),
        (["curve", "one.nc", "--per-neighbor", "--by", "label", "--quantiles", "0.5"],
         "--by, --quantiles: not with --per-neighbor, which summarizes nothing"),
        (["length-scale", "one.nc", "--per-neighbor", "--statistic", "mean"],
         "--statistic: not with --per-neighbor, which summarizes nothing"),
        (["length-scale", "one.nc", "--sample-threshold", "no"],
         '--sample-threshold: unable to convert "no" into float'),
        (["length-scale", "one.nc", "--statistic", "mode"],
         '"mode" for --statistic. Choose from: "mean", "median"'),
        (["curve", "table.csv"],
         "the file has no neighborhoods that tell up to where; add --distance, e.g. 0:50:5"),
        (["plot", "curve", "one.nc", "--head", "0"], "parameter --out requires an argument"),
        (["plot", "atlas", "one.nc", "--out", "f.jpg"], "--out. It must end in .png, .svg or .pdf"),
        (["convert", "one.nc", "a.txt"],
         "TARGET 'a.txt' must end in one of .csv, .csv.gz, .parquet, "),
        (["convert", "one.nc", "a.nc", "--unit", "µm"],
         "--unit is for a .csv; other files tell their unit themselves"),
        (["extract", ".", "a.h5ad"], "parameter --out requires an argument"),
        (["curve", "one.nc", "two.nc"], "Unused Tokens: ['two.nc']"),
        (["--show-completion", "tcsh"], 'Choose from: "bash", "zsh", "fish"'),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_line_and_where_to_look(call, one, tmp_path, words, expected):
    (tmp_path / "there.csv").mkdir()
    result = call(*words)
    assert result.status == 2
    assert result.err.startswith("error: ")
    assert expected in result.err
    assert result.err.endswith(" --help\n")
    assert result.err.count("\n") == 1
    assert result.out == ""


@pytest.mark.parametrize("words", [(), ("plot",)])
def test_a_call_without_a_command_shows_the_help(call, words):
    result = call(*words)
    assert result.status == 0
    assert "Usage: amici-xr" in result.out
    assert result.err == ""


# Warnings, debugging, other terminals


def test_a_warning_is_one_line(call, one):
    amici_xr.to_dataframe(one).assign(note="x").to_csv("noted.csv")
    warnings.simplefilter("always")
    result = call("convert", "noted.csv", "a.nc")
    assert result.status == 0
    assert result.err == "warning: the table's columns 'note' are not kept\na.nc\n"


@pytest.mark.parametrize("words", [["--debug", "info", "none.nc"], ["info", "none.nc", "--debug"]])
def test_with_debug_the_error_itself_comes_through(words):
    with pytest.raises(FileNotFoundError, match=r"path='none\.nc': there is no such file"):
        main.main(words)


def test_behind_two_dashes_debug_is_the_name_of_a_file(call):
    result = call("info", "--", "--debug")
    assert result.status == 1
    assert result.err.startswith("error: --debug must end in one of")


def test_a_process_ends_with_one_line_or_with_debug_a_traceback_and_its_status():
    failed = run("info", "none.nc")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "error: none.nc: there is no such file\n"
    failed = run("info", "none.nc", "--debug")
    assert failed.returncode == 1
    assert failed.stderr.startswith("Traceback (most recent call last):")


def test_a_terminal_that_knows_no_arrow_shows_a_question_mark(one):
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    shown = run("length-scale", "one.nc", env=environment, encoding="latin-1")
    assert shown.returncode == 0
    assert "? and " in shown.stderr


def test_a_reader_that_has_seen_enough_ends_it_quietly(one):
    command = f"{sys.executable} -m amici_xr.cli curve one.nc --per-neighbor --distance 0:9:0.1"
    piped = subprocess.run(
        f"{command} | head -n 1", shell=True, capture_output=True, text=True, check=True
    )
    assert piped.stdout.startswith("curve: ")
    assert "Traceback" not in piped.stderr
    assert "error" not in piped.stderr


def test_an_interruption_ends_it_in_one_line(call, one, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("amici_xr.cli.main.open_file", interrupt)
    result = call("info", "one.nc")
    assert (result.status, result.out, result.err) == (130, "", "interrupted\n")
