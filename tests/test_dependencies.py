"""Each dependency that is no part of the core, absent once: what goes on, and what says how."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import amici_xr
from amici_xr.dependencies import require

pytestmark = pytest.mark.once

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
START = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
import amici_xr

def ask(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except ModuleNotFoundError as error:
        print(error)

ds = amici_xr.testing.simulate_dataset()
amici_xr.save(ds, "scores.nc")
opened = amici_xr.open_dataset("scores.nc")
assert opened.cf.length_scale(0.1).equals(ds.amici.length_scale(0.1))
assert opened.chunk(neighbor=5).cf.curve([0.0, 5.0]).compute().equals(ds.cf.curve([0.0, 5.0]))
opened.cf.plot_curve(0, [0, 5])
"""
MODEL = """
from importlib.resources import files
folder = files("amici_xr.demo_data")
model = amici_xr.load_model(f"{folder}/model")
"""
TISSUE = """
import anndata
adata = anndata.read_h5ad(f"{folder}/tissue.h5ad")[:100].copy()
"""

# what goes on without each and what needs it, and in which words
WITHOUT_PARTS_OF_THE_MODEL = {
    "torch": (
        "ask(amici_xr.demo); ask(amici_xr.load_model, 'shared')",
        ["reading a trained model needs torch", "reading a shared model needs torch"],
    ),
    "anndata": (
        MODEL
        + "model.save('again'); ask(amici_xr.demo)\n"
        + "ask(amici_xr.extract, model, 'T_cell', f'{folder}/tissue.h5ad')",
        ["reading the demo's tissue needs anndata", "reading a tissue needs anndata"],
    ),
    "safetensors": (
        MODEL
        + TISSUE
        + "amici_xr.extract(model, 'T_cell', adata, progress=False)\n"
        + "ask(model.save, 'again'); ask(amici_xr.load_model, 'shared')",
        ["saving a model needs safetensors", "reading a shared model needs safetensors"],
    ),
    "tqdm": (
        MODEL
        + TISSUE
        + "amici_xr.extract(model, 'T_cell', adata, progress=False)\n"
        + "amici_xr.extract(model, 'T_cell', adata, chunks=50).compute()\n"
        + "ask(amici_xr.extract, model, 'T_cell', adata)",
        ["showing progress (progress=False goes without) needs tqdm"],
    ),
}
WITHOUT_OTHERS = {
    "zarr": (
        "ask(amici_xr.save, ds, 'a.zarr'); ask(amici_xr.open_dataset, 'there.zarr.zip')",
        ["writing .zarr needs zarr", "reading .zarr.zip needs zarr"],
    ),
    "hypothesis": ("ask(amici_xr.testing.datasets)", ["drawing Datasets needs hypothesis"]),
    # nothing that is public asks for these
    "distributed": ("", []),
    "cf_xarray": ("", []),
    "scvi": ("", []),
    "amici": ("", []),
}


def printed(absent, program, folder):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", START + program, absent],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.needs_model
@pytest.mark.parametrize("absent", WITHOUT_PARTS_OF_THE_MODEL)
def test_without_a_part_of_the_model_the_rest_goes_on_and_the_extra_is_named(
    absent, demo, tmp_path
):
    demo[0].save(tmp_path / "shared")
    program, told = WITHOUT_PARTS_OF_THE_MODEL[absent]
    expected = [f"{one}: pip install 'amici-xr[model]'" for one in told]
    assert printed(absent, program, tmp_path) == expected


@pytest.mark.slow
@pytest.mark.parametrize("absent", WITHOUT_OTHERS)
def test_without_it_the_core_goes_on_and_the_extra_is_named(absent, tmp_path):
    (tmp_path / "there.zarr.zip").touch()
    program, told = WITHOUT_OTHERS[absent]
    extra = "zarr" if absent == "zarr" else "test"
    expected = [f"{one}: pip install 'amici-xr[{extra}]'" for one in told]
    assert printed(absent, program, tmp_path) == expected


def test_a_package_that_lacks_something_itself_is_not_told_to_be_absent(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import what_it_needs_itself")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'what_it_needs_itself'$"):
        require("half_installed", "model", "testing")
    with pytest.raises(ModuleNotFoundError, match=r"^testing needs nowhere: pip install 'amici-xr"):
        require("nowhere.inside", "model", "testing")


def test_every_package_of_the_extras_for_users_was_absent_once():
    extras = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    named = {re.split(r"[<>=\[]", one)[0] for one in (*extras["model"], *extras["zarr"])}
    assert named == {*WITHOUT_PARTS_OF_THE_MODEL, "zarr", "numcodecs"}


@pytest.mark.needs_model
def test_a_tissue_in_zarr_without_it_names_the_extra(demo, tmp_path, monkeypatch):
    (store := tmp_path / "tissue.zarr").mkdir()
    (store / ".zgroup").write_text('{"zarr_format": 2}')
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ModuleNotFoundError, match=r"reading \.zarr needs zarr: pip install 'amici"):
        amici_xr.extract(demo[0], "T_cell", store)
