"""The packaged demo, as a newcomer runs it, and its three trainings."""

import importlib.util
import pickletools
import subprocess
import sys
import zipfile
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest
import xarray as xr

import amici_xr
from amici_xr.demo_data import FOLDERS

HAS_BOKEH = importlib.util.find_spec("bokeh") is not None
pytestmark = pytest.mark.needs_model


@pytest.mark.slow
def test_the_tour_prints_findings_and_reach_beside_what_was_planted_and_writes_all(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "amici_xr.cli", "demo", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\n2 pairs with evidence (q < 0.05).\n" in done.stdout
    words = {tuple(line.split()[:2]): line.split()[2:] for line in done.stdout.splitlines()}
    for pair, tolerance in ((("Macrophage", "T_cell"), 1), (("Fibroblast", "Tumor"), 3)):
        assert words[pair][1:5] == ["supported,", "q", "<", "1e-10"]
        numbers = [float(word) for word in (words[pair][0], *words[pair][-6:])]
        planted, reach, lower, upper, _, effect, effect_reach = numbers
        assert abs(reach - planted) < tolerance
        assert lower <= reach <= upper
        assert effect_reach == pytest.approx(planted, rel=0.2)
        assert effect > 6 * float(words["T_cell", "Tumor"][-2])
    assert words["T_cell", "Tumor"][:3] == ["–", "not", "supported,"]
    written = {path.name for path in tmp_path.iterdir()}
    assert {"response.nc", "tissue.nc", "study.nc", "runs.nc", "pairs.png", "atlas.svg"} <= written
    assert ("tissue.html" in written) == HAS_BOKEH
    for sender, receiver, planted in (("Macrophage", "T_cell", 10), ("Fibroblast", "Tumor", 20)):
        (further,) = (
            line for line in done.stdout.splitlines() if f"{sender} → {receiver}: " in line
        )
        reaches = [float(reach) for reach in further.split(": ")[1].split(";")[0].split(", ")]
        assert len(reaches) == 3
        np.testing.assert_allclose(reaches, planted, rtol=0.15)
    for receiver in ("T_cell", "Tumor"):
        for what in ("response", "curve", "length_scale"):
            assert {f"{receiver}_{what}.png", f"{receiver}_{what}.svg"} <= written
        with xr.open_dataset(tmp_path / f"{receiver}.nc") as ds:
            assert ds["query"].item() == receiver
    model, tissue = tmp_path / "model", tmp_path / "tissue.h5ad"
    assert amici_xr.load_model(model).settings == amici_xr.demo()[0].settings
    assert tissue.read_bytes() == (files("amici_xr.demo_data") / "tissue.h5ad").read_bytes()
    assert done.stderr == ""


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda run: f"run {run}")
def run(request):
    return request.param


def test_every_run_recovers_what_was_planted(run):
    model, adata = amici_xr.demo(run)
    for sender, receiver, planted in adata.uns["interactions"].iloc[:, :3].to_numpy():
        ds = amici_xr.extract(model, receiver, adata, progress=False)
        median = ds.cf.support(0.1).median_length_scale.max("head")
        assert float(median.sel(label=sender)) == pytest.approx(planted, rel=0.15)
        assert median.idxmax("label") == sender


def test_runs_are_alike_but_for_their_weights():
    models = [amici_xr.demo(run)[0] for run in FOLDERS]
    for one, other in combinations(models, 2):
        assert one.settings == other.settings
        assert (one.gene_names, one.labels) == (other.gene_names, other.labels)
        assert one.weights.keys() == other.weights.keys()
        for name in ("ct_embed.weight", "attention_layer.W_Q", "attention_layer.W_K"):
            assert one.weights[name].shape == other.weights[name].shape
            assert np.abs(one.weights[name].numpy() - other.weights[name].numpy()).max() > 0.01


@pytest.mark.parametrize("run", [3, -1, "1", None, [0]])
def test_a_run_that_is_not_there_is_named(run):
    with pytest.raises(amici_xr.NotFoundError, match=r"run: unknown run .*; known: 0, 1, 2"):
        amici_xr.demo(run)


def test_a_packaged_model_names_no_path_of_the_machine_that_trained_it(run):
    file = files("amici_xr.demo_data") / FOLDERS[run] / "model.pt"
    with zipfile.ZipFile(str(file)) as archive:
        content = pickletools.genops(archive.read("model/data.pkl"))
        words = [argument for _, argument, _ in content if isinstance(argument, str)]
    assert "registry_" in words
    assert not [word for word in words if "/" in word or "\\" in word]
