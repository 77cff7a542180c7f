"""Everything that is asked of a saved file, where neither torch nor the model need be."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import amici_xr

HAS_MODEL_PARTS = importlib.util.find_spec("torch") is not None


@pytest.fixture(scope="module")
def saved_file(tmp_path_factory):
    """The demo's receiver T_cell, extracted here or, where torch is absent, elsewhere."""
    if "AMICI_XR_SAVED" in os.environ:
        return Path(os.environ["AMICI_XR_SAVED"]) / "T_cell.nc"
    if not HAS_MODEL_PARTS:
        pytest.fail("set AMICI_XR_SAVED to the folder that the demo has written")
    model, adata = amici_xr.demo()
    path = tmp_path_factory.mktemp("saved") / "T_cell.nc"
    amici_xr.save(amici_xr.extract(model, "T_cell", adata, progress=False), path)
    return path


@pytest.fixture(params=["netcdf4", "h5netcdf", "ours"])
def opened(request, saved_file):
    if request.param == "ours":
        yield amici_xr.open_dataset(saved_file)
    else:
        with xr.open_dataset(saved_file, engine=request.param) as ds:
            yield ds


def test_a_saved_file_answers_everything(opened):
    distance = np.linspace(0, 30, 16)
    curve = opened.cf.curve(distance)
    assert curve.dims == ("neighbor", "head", "distance")
    summary = opened.cf.curve_summary(distance, quantiles=[0.5])
    assert float(summary["mean"].sel(label="Macrophage", head=2, distance=0)) > 0.9
    assert float(opened.cf.length_scale(threshold=0.1).max()) > 9
    assert opened.cf.support(threshold=0.1).status.sel(label="Macrophage", head=2) == "ok"
    interval = opened.cf.bootstrap(0.1, statistic="median")
    planted = interval.sel(label="Macrophage", head=2)
    assert float(planted.point_estimate) == pytest.approx(9.84, abs=0.01)
    assert planted.ci_lower <= planted.point_estimate <= planted.ci_upper
    assert len(opened.amici.to_dataframe()) == opened.base_attention_score.size
    assert opened.cf.plot_curve(2, distance).get_title() == "neighbors → T_cell, head 2"
    assert opened.cf.plot_length_scale(0.1).get_legend() is not None


def test_a_saved_file_can_be_saved_again(opened):
    amici_xr.save(opened, "again.nc")
    with xr.open_dataset("again.nc") as again:
        xr.testing.assert_equal(again, opened)


@pytest.mark.skipif(HAS_MODEL_PARTS, reason="torch is installed here")
def test_without_torch_extraction_says_what_to_install():
    assert "torch" not in sys.modules
    for ask in (amici_xr.demo, lambda: amici_xr.load_model(saved_model_folder())):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'amici-xr\[model\]'"):
            ask()


def saved_model_folder():
    from importlib.resources import files

    return Path(str(files("amici_xr.demo_data"))) / "model"


@pytest.mark.skipif(importlib.util.find_spec("zarr") is not None, reason="zarr is installed here")
def test_without_zarr_saving_says_what_to_install(ds):
    with pytest.raises(ModuleNotFoundError, match=r"needs zarr: pip install 'amici-xr\[zarr\]'"):
        amici_xr.save(ds, "a.zarr")
