"""A simulated tissue with two planted interactions, and three small models trained on it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from amici_xr.dependencies import require
from amici_xr.errors import check_names
from amici_xr.model.loading import load_model
from amici_xr.model.saved_model import SavedModel

if TYPE_CHECKING:
    import anndata

FOLDERS = {0: "model", 1: "model_1", 2: "model_2"}  # of each run; benchmarks/train_demo.py


def demo(run: int = 0) -> tuple[SavedModel, anndata.AnnData]:
    """Load a packaged model and its tissue, 6,000 cells with two known interactions.

    Macrophage switches ten genes on in T_cell within a distance of 10, Fibroblast ten others in
    Tumor within 20; ``adata.uns["interactions"]`` says so too.
    Three models of one architecture were trained on it, from different random starts; their heads
    come in no common order.

    Parameters
    ----------
    run
        Which training: 0, 1 or 2.

    Returns
    -------
    model : SavedModel
        4 heads, 50 genes, 5 cell types.
    adata : anndata.AnnData
        The tissue that it was trained on, the same in every run.

    Raises
    ------
    NotFoundError
        If there is no such run.
    ModuleNotFoundError
        If torch or AnnData is not installed; the message says how to.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> adata.uns["interactions"][["sender", "receiver", "length_scale"]].values.tolist()
    [['Macrophage', 'T_cell', 10.0], ['Fibroblast', 'Tumor', 20.0]]
    """
    check_names("run", [run], list(FOLDERS), "run")
    folder = Path(str(files(__name__)))
    anndata = require("anndata", "model", "reading the demo's tissue")
    return load_model(folder / FOLDERS[run]), anndata.read_h5ad(folder / "tissue.h5ad")
