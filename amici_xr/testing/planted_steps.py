"""Steps planted in the expression of a real tissue, within a reach of each sender."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amici_xr.dataset.units import MICRON, in_unit

if TYPE_CHECKING:
    import anndata

REACHES = (12.0, 16.0, 22.0)  # µm within which a planted step acts


def plant_steps(
    adata: anndata.AnnData,
    labels_key: str,
    *,
    effect: float,
    coord_key: str = "spatial",
    n_pairs: int = 4,
    genes_per_pair: int = 8,
    reaches: Sequence[float] = REACHES,
    least_receivers: int = 200,
    seed: int = 0,
) -> anndata.AnnData:
    """Add steps to the expression of a real tissue: the receivers within a reach of a sender.

    Pairs are drawn among those with receivers enough on both sides of the reach; genes among
    those that vary. `effect` is in standard deviations of the gene within the receivers.

    Returns
    -------
    anndata.AnnData
        A copy with dense X and ``uns["planted"]``, as of `simulate_tissue`; further its column
        ``oracle_z = effect·√(n·p·(1 − p))`` with the share p of the n receivers within the reach.

    Examples
    --------
    >>> from amici_xr.testing import plant_steps, simulate_tissue
    >>> with_steps = plant_steps(simulate_tissue(n_pairs=0), "cell_type", effect=0.5)
    >>> with_steps.uns["planted"]["query"].nunique() <= 4
    True
    """
    from scipy.spatial import cKDTree  # here, since importing the package should cost little

    rng = np.random.default_rng(seed)
    reaches = in_microns("reaches", reaches).tolist()
    tissue = adata.copy()
    matrix = tissue.X.toarray() if hasattr(tissue.X, "toarray") else np.array(tissue.X)
    values = matrix.astype(np.float64)
    labels = tissue.obs[labels_key].astype(str).to_numpy()
    positions = np.asarray(tissue.obsm[coord_key], dtype=np.float64)
    names = np.unique(labels)
    rows: list[dict[str, Any]] = []
    for draw in rng.permutation(names.size**2):
        query, label = names[draw // names.size], names[draw % names.size]
        receivers = np.flatnonzero(labels == query)
        if query == label or receivers.size < least_receivers or (labels == label).sum() < 20:
            continue
        reach = rng.choice(reaches)
        distance = cKDTree(positions[labels == label]).query(positions[receivers])[0]
        is_within = distance < reach
        if not 0.05 <= is_within.mean() <= 0.95:
            continue
        spread = values[receivers].std(axis=0)
        is_expressed = (values[receivers] > 0).mean(axis=0) >= 0.1
        candidates = np.flatnonzero((spread > 0) & is_expressed)
        genes = rng.choice(candidates, genes_per_pair, replace=False)
        values[np.ix_(receivers[is_within], genes)] += effect * spread[genes]
        oracle = effect * np.sqrt(receivers.size * is_within.mean() * (1 - is_within.mean()))
        rows += [
            {"query": query, "label": label, "gene": str(tissue.var_names[gene]), "reach": reach,
             "effect": effect * spread[gene], "oracle_z": oracle}
            for gene in genes
        ]  # fmt: skip
        if len(rows) == n_pairs * genes_per_pair:
            break
    tissue.X = values.astype(np.float32)
    tissue.uns["planted"] = pd.DataFrame(rows)
    return tissue


def in_microns(argument: str, given: Any) -> NDArray[Any]:
    """Return numbers in µm, of which those labelled with another unit are converted."""
    return in_unit(argument, given, MICRON, "a simulated tissue")
