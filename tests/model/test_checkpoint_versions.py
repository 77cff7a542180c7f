"""Checkpoints that other versions of NumPy, pandas and scvi-tools wrote: one model from each.

`benchmarks/record_checkpoints.py` says how the files in `checkpoints` were made.
"""

import gzip
import pickletools
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import amici_xr

torch = pytest.importorskip("torch")  # the core environment deselects what needs the model
pytestmark = pytest.mark.needs_model

MODEL = Path(str(files("amici_xr.demo_data"))) / "model" / "model.pt"
CHECKPOINTS = Path(__file__).parent / "checkpoints"
AMICI = sorted(CHECKPOINTS.glob("amici_*.pkl.gz"))
OTHERS = sorted(CHECKPOINTS.glob("*_scvi_*.pt.gz"))


def unpacked(file):
    return gzip.decompress(file.read_bytes())


@pytest.fixture(params=AMICI, ids=lambda file: file.name.removesuffix(".pkl.gz"))
def recorded(request, tmp_path):
    """What wrote a file, and the file: a recorded pickle beside the packaged model's numbers."""
    with zipfile.ZipFile(MODEL) as packaged, zipfile.ZipFile(tmp_path / "model.pt", "w") as made:
        for name in packaged.namelist():
            is_pickle = name.endswith("/data.pkl")
            made.writestr(name, unpacked(request.param) if is_pickle else packaged.read(name))
    return request.param.name, tmp_path


def test_the_model_is_the_same_whatever_numpy_and_pandas_wrote_it(recorded):
    read, packaged = amici_xr.load_model(recorded[1]), amici_xr.load_model(MODEL)
    assert sorted(read.weights) == sorted(packaged.weights)
    assert all(torch.equal(read.weights[name], packaged.weights[name]) for name in read.weights)
    assert (read.labels, read.gene_names) == (packaged.labels, packaged.gene_names)
    assert read.is_trained
    offset = {"pos_coef_offset": {"value": -2.0, "source": "file"}}  # given when it was recorded
    assert read.settings.with_sources() == packaged.settings.with_sources() | offset


def test_scores_are_the_same_whatever_numpy_and_pandas_wrote_the_model(recorded, demo):
    few = demo[1][:40].copy()
    ds = amici_xr.extract(recorded[1], "T_cell", few, progress=False)
    expected = amici_xr.extract(MODEL, "T_cell", few, progress=False)
    for name in ("base_attention_score", "position_coefficient", "label"):
        np.testing.assert_array_equal(ds[name].values, expected[name].values)


def test_the_recorded_files_name_what_their_versions_do(recorded):
    name, folder = recorded
    with zipfile.ZipFile(folder / "model.pt") as archive:
        opcodes = list(pickletools.genops(archive.read("model/data.pkl")))
    named = {name.replace(" ", ".") for opcode, name, _ in opcodes if opcode.name == "GLOBAL"}
    of_numpy = "numpy.core" if "numpy_1" in name else "numpy._core"
    assert {f"{of_numpy}.multiarray._reconstruct", f"{of_numpy}.multiarray.scalar"} <= named
    assert ("pandas.arrays.StringArray" in named) == ("pandas_3" in name and "pyarrow" not in name)
    assert any(one.startswith("pyarrow.") for one in named) == (
        "pandas_3" in name and "pyarrow" in name
    )


def test_files_of_numpy_1_and_2_and_of_pandas_2_and_3_are_there():
    for numpy in (1, 2):
        for pandas in (2, 3):
            assert list(CHECKPOINTS.glob(f"amici_numpy_{numpy}.*_pandas_{pandas}.*"))


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: file.name.removesuffix(".pt.gz"))
def test_another_model_of_scvi_tools_is_told_to_be_no_amici_model(file, tmp_path):
    (tmp_path / "model.pt").write_bytes(unpacked(file))
    with pytest.raises(ValueError, match=r"model\.pt is not an AMICI model: it lacks 'ct_embed"):
        amici_xr.load_model(tmp_path)


def test_recorded_files_of_other_models_are_there():
    assert {file.name.partition("_")[0] for file in OTHERS} == {"AmortizedLDA", "SCVI"}
