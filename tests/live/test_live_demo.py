"""The packaged models in amici-st itself: how they are trained, and that it agrees with them."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from recorded_data import ROOT
from scipy.special import logsumexp

import amici_xr
from amici_xr.demo_data import FOLDERS

pytestmark = [
    pytest.mark.live,
    pytest.mark.needs_model,
    pytest.mark.filterwarnings("ignore"),  # of the packages that amici-st brings
]
QUERIES = ("T_cell", "Tumor")


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda run: f"run {run}")
def live(request):
    """The number of the run, and the model as amici-st loads it."""
    from amici import AMICI

    adata = amici_xr.demo()[1]
    AMICI.setup_anndata(adata, labels_key="cell_type", coord_obsm_key="spatial", n_neighbors=30)
    folder = Path(str(files("amici_xr.demo_data"))) / FOLDERS[request.param]
    return request.param, AMICI.load(str(folder), adata)


@pytest.fixture(scope="module", params=QUERIES, ids=str)
def ds(request, live):
    """What the library makes of the packaged folder and the bare tissue."""
    return amici_xr.extract(amici_xr.demo(live[0])[0], request.param, live[1].adata, progress=False)


def test_scores_are_those_of_amici_st(live, ds):
    scored = live[1].get_counterfactual_attention_patterns(ds["query"].item())
    table = scored._counterfactual_attention_df
    theirs = table.rename(columns={"pos_coef": "position_coefficient"})
    theirs = theirs.set_index(["neighbor_idx", "head_idx"]).to_xarray()
    theirs = theirs.sel(neighbor_idx=ds.neighbor.values, head_idx=ds["head"].values)
    for name in ("base_attention_score", "position_coefficient"):
        np.testing.assert_allclose(ds[name], theirs[name], rtol=1e-5, atol=1e-5)


def test_attention_in_place_is_that_of_amici_st(live, ds):
    table = live[1].get_attention_patterns(indices=ds.receiver.values)._attention_patterns_df
    ranks = [f"neighbor_{rank}" for rank in ds["rank"].values]
    table = table.set_index(["cell_idx", "head"])[ranks].astype(float)
    ours = attention_in_place(ds)
    assert len(table) == ours.shape[0] * ours.shape[1]
    for number, head in enumerate(ds["head"].values):
        theirs = table.xs(head, level="head").loc[ds.receiver_name.values]
        np.testing.assert_allclose(ours[:, number], theirs, atol=1e-5)


def attention_in_place(ds):
    """Softmax over each real neighborhood and the dummy, (receiver, head, rank)."""
    position = np.searchsorted(ds.neighbor, ds.neighborhood_index)  # all are neighbors here
    distance = ds.neighborhood_distance.values[..., None] / float(ds.distance_kernel_unit_scale)
    base = ds.base_attention_score.values[position].astype(float)
    scores = base - ds.position_coefficient.values[position] * distance
    dummy = np.full_like(scores[:, :1], float(ds.dummy_attention_score))
    total = logsumexp(np.concatenate([scores, dummy], axis=1), axis=1, keepdims=True)
    return np.exp(scores - total).transpose(0, 2, 1)


def test_the_script_trains_such_a_model_the_same_again_with_the_same_seed(monkeypatch, tmp_path):
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("the benchmarks are not beside the tests")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import train_demo

    for name, seed in {"one": 1, "again": 1, "other": 2}.items():
        train_demo.main(seed, tmp_path / name, n_epochs=1)
    one, again, other = (amici_xr.load_model(tmp_path / name) for name in ("one", "again", "other"))
    packaged = amici_xr.demo(1)[0]
    assert one.settings == packaged.settings
    assert (one.gene_names, one.labels) == (packaged.gene_names, packaged.labels)
    assert one.weights.keys() == packaged.weights.keys()
    for name, weight in one.weights.items():
        assert weight.shape == packaged.weights[name].shape
        np.testing.assert_array_equal(weight, again.weights[name])
    assert np.abs(one.weights["ct_embed.weight"] - other.weights["ct_embed.weight"]).max() > 0.1
