"""Models of scvi-tools that are not AMICI's, as it saves them: told apart, not stumbled over."""

import numpy as np
import pytest

import amici_xr

anndata = pytest.importorskip("anndata")  # neither is in the environments that deselect this
scvi = pytest.importorskip("scvi")  # likewise
pytestmark = [
    pytest.mark.live,
    pytest.mark.needs_model,
    pytest.mark.filterwarnings("default"),  # of scvi-tools and what it imports
]


@pytest.mark.parametrize("kind", ["SCVI", "LinearSCVI", "PEAKVI"])
def test_another_model_of_scvi_tools_is_told_to_be_no_amici_model(kind, tmp_path):
    counts = np.random.default_rng(0).poisson(1.0, (60, 12)).astype("float32")
    adata = anndata.AnnData(counts)
    adata.obs["batch"] = ["a", "b"] * 30
    model_class = getattr(scvi.model, kind)
    model_class.setup_anndata(adata, batch_key="batch")
    model = model_class(adata, n_hidden=8, n_latent=2)
    model.train(1, accelerator="cpu", enable_progress_bar=False, logger=False)
    model.save(tmp_path / "model", save_anndata=True)
    with pytest.raises(ValueError, match="is not an AMICI model: it lacks 'ct_embed") as error:
        amici_xr.load_model(tmp_path / "model")
    assert str(tmp_path / "model" / "model.pt") in str(error.value)
