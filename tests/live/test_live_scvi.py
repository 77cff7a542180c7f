"""Models of scvi-tools that are not AMICI's, as it saves them: told apart, not stumbled over."""

import numpy as np
import pytest

import amici_xr

pytestmark = [
    pytest.mark.live,
    pytest.mark.needs_model,
    pytest.mark.filterwarnings("default"),  # of scvi-tools and what it imports
]

BATCHES = {"batch_key": "batch"}
TYPES = {"labels_key": "type"}
SETUP = {
    "SCVI": BATCHES,
    "LinearSCVI": BATCHES,
    "PEAKVI": BATCHES,
    "SCANVI": {**BATCHES, **TYPES, "unlabeled_category": "c"},
    "CondSCVI": TYPES,
    "AUTOZI": BATCHES,
    "AmortizedLDA": {},  # whose parameters Pyro keeps
}


@pytest.mark.parametrize("kind", SETUP)
def test_another_model_of_scvi_tools_is_told_to_be_no_amici_model(kind, tmp_path):
    import anndata
    import scvi

    counts = np.random.default_rng(0).poisson(1.0, (60, 12)).astype("float32")
    adata = anndata.AnnData(counts)
    adata.obs["batch"] = ["a", "b"] * 30
    adata.obs["type"] = ["a", "b", "c"] * 20
    model_class = getattr(scvi.model, kind)
    model_class.setup_anndata(adata, **SETUP[kind])
    model = model_class(adata, n_hidden=8)
    # with a history of its training, whose tables are of pandas
    model.train(1, accelerator="cpu", enable_progress_bar=False, default_root_dir=tmp_path)
    model.save(tmp_path / "model", save_anndata=True)
    with pytest.raises(ValueError, match="is not an AMICI model: it lacks 'ct_embed") as error:
        amici_xr.load_model(tmp_path / "model")
    assert str(tmp_path / "model" / "model.pt") in str(error.value)
