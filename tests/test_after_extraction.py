"""Everything that is asked of a saved file, where neither torch nor the model need be."""

import contextlib
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
def saved(tmp_path_factory):
    """The demo's receiver T_cell, all its receivers, and three trainings, each in a file.

    Extracted here or, where torch is absent, elsewhere.
    """
    if "AMICI_XR_SAVED" in os.environ:
        return Path(os.environ["AMICI_XR_SAVED"])
    if not HAS_MODEL_PARTS:
        pytest.fail("set AMICI_XR_SAVED to the folder that the demo has written")
    folder = tmp_path_factory.mktemp("saved")
    model, adata = amici_xr.demo()
    for name, query in (("T_cell", "T_cell"), ("tissue", None)):
        ds = amici_xr.extract(model, query, adata, progress=False, effects=query is None)
        amici_xr.save(ds, folder / f"{name}.nc")
    trainings = (
        amici_xr.extract(one, ["T_cell", "Tumor"], adata, progress=False)
        for one, _ in map(amici_xr.demo, range(3))
    )
    amici_xr.save(amici_xr.align_runs(trainings), folder / "runs.nc")
    return folder


@pytest.fixture(params=["netcdf4", "h5netcdf", "ours"])
def open_saved(request, saved):
    """Open one of the files by its name."""
    with contextlib.ExitStack() as stack:

        def opened(name):
            path = saved / f"{name}.nc"
            if request.param == "ours":
                return amici_xr.open_dataset(path)
            return stack.enter_context(xr.open_dataset(path, engine=request.param))

        yield opened


@pytest.fixture
def opened(open_saved):
    return open_saved("T_cell")


def test_a_saved_file_answers_everything(opened):
    distance = np.linspace(0, 30, 16)
    curve = opened.cf.curve(distance)
    assert curve.dims == ("neighbor", "head", "distance")
    summary = opened.cf.curve_summary(distance, quantiles=[0.5])
    assert float(summary["mean"].sel(label="Macrophage", head=2, distance=0)) > 0.9
    assert float(opened.cf.length_scale(threshold=0.1).max()) > 9
    assert opened.cf.support(threshold=0.1).status.sel(label="Macrophage", head=2) == "reachable"
    interval = opened.cf.bootstrap(0.1, statistic="median")
    planted = interval.sel(label="Macrophage", head=2)
    assert float(planted.point_estimate) == pytest.approx(9.84, abs=0.01)
    assert planted.ci_lower <= planted.point_estimate <= planted.ci_upper
    assert len(opened.amici.to_dataframe()) == opened.base_attention_score.size
    assert opened.cf.plot_curve(2, distance).get_title() == "neighbors → T_cell, head 2"
    assert opened.cf.plot_length_scale(0.1).figure.legends


@pytest.mark.slow
def test_the_whole_tissue_is_answered_from_its_file(open_saved):
    tissue = open_saved("tissue")
    atlas = tissue.cf.atlas(0.1)
    strongest = atlas.median_length_scale.to_series().dropna().nlargest(2)
    assert [entry[:2] for entry in strongest.index] == [
        ("Tumor", "Fibroblast"),
        ("T_cell", "Macrophage"),
    ]
    assert tissue.cf.plot_atlas(0.1).get_ylabel() == "receiver"
    attention = tissue.cf.attention()
    total = attention.sum("rank") + tissue.cf.dummy_attention()
    np.testing.assert_allclose(total, 1, rtol=1e-12)
    near, far = (
        tissue.cf.attention_by_distance([0, 10, 40])
        .mean_attention.sel(query="T_cell", label="Macrophage", head=2)
        .values
    )
    assert near > 0.5 > 0.01 > far
    in_context = tissue.cf.in_context_length_scale(0.5, "all").in_context_length_scale.sel(head=1)
    is_pair = (tissue.receiver_label == "Tumor") & (tissue.neighborhood_label == 1)
    assert tissue.cell_type[1] == "Fibroblast"
    assert in_context.where(is_pair).median() == pytest.approx(8.80, abs=0.01)
    t_cell = tissue.cf.select("T_cell").cf
    assert t_cell.plot_spatial(head=2, threshold=0.1).get_aspect() == 1
    spatial = t_cell.bootstrap(0.1, None, resampling_unit="spatial")
    spatial = spatial.sel(label="Macrophage", head=2)
    assert spatial.ci_lower < 9.84 < spatial.ci_upper


def test_effects_are_answered_from_their_file(open_saved):
    tissue = open_saved("tissue")
    for receiver, sender, planted in (("T_cell", "Macrophage", 10), ("Tumor", "Fibroblast", 20)):
        pair = {"query": receiver, "label": sender}
        norms = (tissue.cf.gene_effects().effect ** 2).sum("gene").sel(query=receiver)
        assert norms.idxmax("label") == sender
        reach = tissue.cf.effect_length_scale(0.5).sel(pair)
        assert reach.status == "falls"
        np.testing.assert_allclose(reach.effect_length_scale, planted, rtol=0.2)
        assert tissue.cf.effect_curve().sel(pair)[0] == pytest.approx(reach.contact_effect)
    assert tissue.cf.explained_variance().explained_variance.sel(query="Tumor") > 0.2
    assert tissue.cf.attention_enrichment().enrichment.sel(query="T_cell").max() > 1
    assert tissue.cf.select("Tumor").cf.plot_gene_effects(n_genes=10).get_xlabel() == "gene"


def test_several_trainings_are_answered_from_their_file(open_saved):
    runs = open_saved("runs")
    reach = runs.cf.reach_across_runs(0.1)
    for receiver, sender, planted in (("T_cell", "Macrophage", 10), ("Tumor", "Fibroblast", 20)):
        one = reach.sel(query=receiver, label=sender)
        np.testing.assert_allclose(one.length_scale, planted, rtol=0.11)
        assert one.n_runs == 3
        assert one.ci_lower < one["mean"] < one.ci_upper
        # the spread between trainings is far above what the cells' interval knows of
        by_cell = runs.cf.bootstrap(0.1, statistic="median").sel(query=receiver, label=sender)
        half = ((by_cell.ci_upper - by_cell.ci_lower) / 2).max()
        assert one["std"] > 3 * half
    # in the third training one head carries both interactions: one of the first's has no match
    assert runs.is_matched.values.tolist()[0] == [True] * 4
    assert not runs.is_matched.sel(run=2).all()
    heads = reach.strongest_head.sel(run=2)
    assert heads.sel(query="T_cell", label="Macrophage") == heads.sel(
        query="Tumor", label="Fibroblast"
    )
    over = runs.cf.bootstrap(0.1, resampling_unit="run")
    assert (over.n_runs.sel(label="Macrophage", query="T_cell") == 3).all()


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
