"""A small trained model with its simulated tissue, in which two interactions are planted."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoint import SavedModel, load_model
from ..optional import require

if TYPE_CHECKING:
    import anndata


def demo() -> tuple[SavedModel, anndata.AnnData]:
    """Load the packaged model and its tissue, 6,000 cells with two known interactions.

    Macrophage switches ten genes on in T_cell within a distance of 10, Fibroblast ten others in
    Tumor within 20; ``adata.uns["interactions"]`` says so too.

    Returns
    -------
    model : SavedModel
        4 heads, 50 genes, 5 cell types.
    adata : anndata.AnnData
        The tissue that it was trained on.

    Raises
    ------
    ModuleNotFoundError
        If torch or AnnData is not installed; the message says how to.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> adata.uns["interactions"][["sender", "receiver", "length_scale"]].values.tolist()
    [['Macrophage', 'T_cell', 10.0], ['Fibroblast', 'Tumor', 20.0]]
    """
    folder = Path(str(files(__name__)))
    anndata = require("anndata", "model", "reading the demo's tissue")
    return load_model(folder / "model"), anndata.read_h5ad(folder / "tissue.h5ad")
