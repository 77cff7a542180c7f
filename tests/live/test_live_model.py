"""Against amici-st itself: a live model, its saved folder, and the scores it computes."""

import numpy as np
import pytest
import xarray as xr
from recorded_data import data_folder

import amici_xr

pytestmark = [
    pytest.mark.live,
    pytest.mark.needs_model,
    pytest.mark.filterwarnings("ignore"),  # of the packages that amici-st brings
]

LABELS = {
    "T_cell": "CD8⁺ T/αβ",
    "Tumor": "Tumor ∅",
    "Fibroblast": "1",
    "Macrophage": "NA",
    "Endothelial": "b c",
}
# name of the case: arguments of setup_anndata, arguments of AMICI
CASES = {
    "defaults": ({}, {}),
    "layer": ({"layer": "normalized"}, {}),
    "cell radius": ({"cell_radius_key": "radius"}, {}),
    "own keys": ({"nn_idx_key": "idx", "nn_dist_key": "dist"}, {}),
    "other settings": (
        {},
        {
            "attention_dummy_score": 1.5,
            "distance_kernel_unit_scale": 7.0,
            "pos_coef_offset": -1.0,
            "n_heads": 3,
            "n_head_size": 8,
        },
    ),
    "input and output of one size": (
        {},
        {"n_nn_embed": 4, "n_heads": 8, "n_label_embed": 4, "n_kv_dim": 4, "n_query_dim": 4},
    ),
}


@pytest.fixture(scope="module", params=CASES, ids=str)
def trained(request, tmp_path_factory):
    """A model trained for an epoch, the AnnData before it was set up, and the saved folder."""
    import anndata
    import torch
    from amici import AMICI
    from scipy import sparse

    setup, settings = CASES[request.param]
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    whole = anndata.read_h5ad(data_folder() / "synthetic" / "adata.h5ad")
    bare = whole[np.sort(rng.choice(whole.n_obs, 700, replace=False))].copy()
    bare.obs["cell_type"] = bare.obs["cell_type"].map(LABELS).astype("category")
    bare.obs["radius"] = rng.uniform(1, 15, bare.n_obs)
    bare.layers["normalized"] = sparse.csr_matrix(bare.X * 0.5)
    adata = bare.copy()
    AMICI.setup_anndata(
        adata, labels_key="cell_type", coord_obsm_key="spatial", n_neighbors=12, **setup
    )
    model = AMICI(adata, **settings)
    model.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False, logger=False)
    folder = tmp_path_factory.mktemp("model")
    model.save(folder, overwrite=True)
    return model, bare, folder


@pytest.fixture(scope="module")
def ds(trained):
    return amici_xr.extract(trained[0], "CD8⁺ T/αβ", progress=False)


def test_the_model_says_that_it_was_trained(trained):
    assert trained[0].is_trained_
    assert amici_xr.load_model(trained[2]).is_trained


def test_the_saved_folder_equals_the_live_model(trained, ds):
    model, _, folder = trained
    saved = amici_xr.extract(folder, "CD8⁺ T/αβ", model.adata, progress=False)
    xr.testing.assert_equal(saved, ds)


def test_neighborhoods_computed_from_the_settings_are_those_of_setup_anndata(trained, ds):
    _, bare, folder = trained
    computed = amici_xr.extract(folder, "CD8⁺ T/αβ", bare, progress=False)
    xr.testing.assert_allclose(computed, ds, rtol=1e-12)
    np.testing.assert_array_equal(computed.neighborhood_index, ds.neighborhood_index)


def test_scores_agree_with_those_that_amici_st_computes(trained, ds):
    module = trained[0].get_counterfactual_attention_patterns("CD8⁺ T/αβ")
    table = module._counterfactual_attention_df
    table = table.rename(columns={"pos_coef": "position_coefficient"})
    theirs = table.set_index(["neighbor_idx", "head_idx"])[
        ["base_attention_score", "position_coefficient"]
    ].to_xarray()
    theirs = theirs.sel(neighbor_idx=ds.neighbor.values, head_idx=ds["head"].values)
    for name in theirs.data_vars:
        np.testing.assert_allclose(ds[name], theirs[name], rtol=1e-5, atol=1e-5)
    assert float(ds.dummy_attention_score) == table["dummy_attention_score"].iloc[0]
    assert float(ds.distance_kernel_unit_scale) == table["distance_kernel_unit_scale"].iloc[0]


def test_every_query_and_what_follows_runs(trained):
    several = amici_xr.extract(trained[0], progress=False)
    assert set(several["query"].values.tolist()) == set(LABELS.values())
    amici_xr.save(several, "all.nc")
    opened = amici_xr.open_dataset("all.nc")
    xr.testing.assert_identical(opened, several)
    assert opened.cf.bootstrap(0.1, n_resamples=20).sizes["query"] == 5
