"""Models that this package has trained, in AMICI's own ``load``: the same predictions."""

import numpy as np
import pytest
from recorded_data import data_folder

import amici_xr
from amici_xr.model.saved_model import DEFAULTS, build_settings

pytestmark = [
    pytest.mark.live,
    pytest.mark.needs_model,
    pytest.mark.filterwarnings("ignore"),  # of the packages that amici-st brings
]

SETTINGS = {
    "defaults": ({}, {}),
    "other sizes and settings": (
        {"n_heads": 3, "head_size": 8, "label_size": 6, "query_size": 9, "query_hidden_size": 10,
         "cell_size": 12, "cell_hidden_size": 20, "key_size": 14, "position_hidden_size": 11},
        {"attention_dummy_score": 1.5, "distance_kernel_unit_scale": 7.0, "pos_coef_offset": -1.0},
    ),
    "cell radii": ({"n_heads": 2}, {"cell_radius_key": "radius"}),
}  # fmt: skip


@pytest.mark.parametrize("case", SETTINGS)
def test_amici_loads_what_was_saved_and_predicts_the_same(case, tmp_path):
    import anndata
    import torch
    from amici import AMICI

    from amici_xr.tissue.cells import read_tissue
    from amici_xr.training.network.batches import TrainingTissue
    from amici_xr.training.network.stacked_network import StackedNetwork
    from amici_xr.training.network.weights import initial_weights
    from amici_xr.training.preparation import find_neighborhoods, read_expression
    from amici_xr.training.runs import TrainedModel
    from amici_xr.training.settings import NetworkSizes

    sizes, settings = SETTINGS[case]
    adata = anndata.read_h5ad(data_folder() / "synthetic" / "adata.h5ad")[:1500].copy()
    adata.obs["radius"] = np.random.default_rng(0).uniform(1, 5, adata.n_obs)
    radius = settings.get("cell_radius_key")
    tissue = read_tissue(adata, labels_key="cell_type", cell_radius_key=radius)
    index, distance = find_neighborhoods(tissue, 12)
    expression = torch.from_numpy(read_expression(tissue))
    codes = torch.from_numpy(tissue.codes)
    profiles = torch.stack([expression[codes == code].mean(dim=0) for code in range(5)])
    weights = initial_weights(NetworkSizes(**sizes), adata.n_vars, 5, seed=4)
    given = {"labels_key": "cell_type", "n_neighbors": 12} | settings
    model = TrainedModel(
        {"ct_profiles": profiles, **weights},
        build_settings(DEFAULTS | given, "test", set()),
        tissue.expression.genes,
        tissue.vocabulary,
        is_held_out=np.arange(adata.n_obs) % 4 == 0,
    )
    model.save(tmp_path / "model")

    network = StackedNetwork(
        [weights],
        dummy_score=model.settings.attention_dummy_score,
        distance_unit=model.settings.distance_kernel_unit_scale,
        position_offset=model.settings.pos_coef_offset,
        left_out=[-1],
    )
    arrays = TrainingTissue(expression, profiles, tissue.codes, index, distance)
    cells = np.arange(0, adata.n_obs, 7)
    with torch.no_grad():
        ours = network(arrays.batch(cells)).squared_error[0].numpy()

    live = AMICI.load(tmp_path / "model", adata)
    loader = live._make_data_loader(adata=live.adata, indices=cells, batch_size=cells.size)
    live.module.eval()
    with torch.no_grad():
        _, output = live.module.forward(next(iter(loader)), compute_loss=False)
    theirs = np.square(expression[cells].numpy() - output["prediction"].numpy()).sum(axis=1)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_array_equal(live.train_indices_, np.flatnonzero(~model.is_held_out))


def test_a_recorded_model_saved_again_predicts_what_was_recorded(tmp_path):
    import anndata
    import torch
    from amici import AMICI

    from amici_xr.training.runs import as_trained

    folder = data_folder() / "synthetic"
    as_trained(amici_xr.load_model(folder / "model"), 2).save(tmp_path / "model")
    live = AMICI.load(tmp_path / "model", anndata.read_h5ad(folder / "adata.h5ad"))
    recorded = np.load(folder / "recorded" / "effects.npz")
    cells = recorded["cells"]
    loader = live._make_data_loader(adata=live.adata, indices=cells, batch_size=cells.size)
    live.module.eval()
    with torch.no_grad():
        _, output = live.module.forward(next(iter(loader)), compute_loss=False)
    np.testing.assert_allclose(output["prediction"], recorded["prediction"], rtol=0, atol=1e-5)
