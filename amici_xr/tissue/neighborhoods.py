"""Who stands near whom: the K nearest cells of other types, given with an AnnData or computed."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from amici_xr.errors import NotFoundError, listed
from amici_xr.kernels.nearest_cells import Neighborhoods, nearest_of_other_types
from amici_xr.tissue.cells import find_coordinates, find_radius

if TYPE_CHECKING:
    import anndata

    from amici_xr.model.saved_model import ModelSettings


def find_neighborhoods(
    adata: anndata.AnnData,
    settings: ModelSettings,
    codes: NDArray[np.intp],
    queries: list[int],
    sample: NDArray[np.intp] | None = None,
) -> Neighborhoods:
    """Neighborhoods of all cells of the query types, receivers ascending.

    Those that the AnnData carries since it was set up for the model, else computed from the
    settings saved with the model. `codes` and `queries` are positions in the model's vocabulary.
    With the sample of each cell, as a number, no neighborhood crosses samples.
    """
    is_set_up = {settings.nn_idx_key, settings.nn_dist_key} <= set(adata.obsm.keys())
    if is_set_up:
        receiver = np.flatnonzero(np.isin(codes, queries))
        given = _given(adata, settings, codes, receiver)
        if sample is None or not given.crosses(sample):
            return given
        warnings.warn(
            f"the neighborhoods in adata.obsm[{settings.nn_idx_key!r}] cross samples, so they are "
            "computed anew within each; the model was trained on the crossing ones",
            UserWarning,
            stacklevel=3,
        )
    coordinates = find_coordinates(adata, settings.coord_obsm_key)
    if coordinates is None:
        raise NotFoundError(
            f"adata.obsm has no {settings.coord_obsm_key!r}, where the model expects the "
            f"coordinates of the cells; it has {listed(adata.obsm.keys())}"
        )
    radius = find_radius(adata, settings.cell_radius_key)
    return nearest_of_other_types(coordinates, codes, queries, settings.n_neighbors, radius, sample)


def _given(
    adata: anndata.AnnData,
    settings: ModelSettings,
    codes: NDArray[np.intp],
    receiver: NDArray[np.intp],
) -> Neighborhoods:
    where = f"adata.obsm[{settings.nn_idx_key!r}]"
    mend = (
        f"was adata subset or reordered after setup_anndata? Set it up again, or delete {where} "
        "to have the neighborhoods computed"
    )
    index = np.asarray(adata.obsm[settings.nn_idx_key])[receiver]
    distance = np.asarray(adata.obsm[settings.nn_dist_key], dtype=np.float64)[receiver]
    if index.shape != distance.shape or index.ndim != 2:
        raise ValueError(
            f"{where} and its distances differ in shape: {index.shape}, {distance.shape}"
        )
    exists = (index >= 0) & np.isfinite(distance)
    index = np.where(exists, index, -1).astype(np.int64)
    if index.max(initial=-1) >= adata.n_obs:
        raise ValueError(f"{where} points at cell {index.max()} of {adata.n_obs}; {mend}")
    same = exists & (codes[index] == codes[receiver, np.newaxis])
    if same.any():
        raise ValueError(f"{where} has neighbors of the receiver's own type; {mend}")
    neighborhoods = Neighborhoods(receiver, index, np.where(exists, distance, np.nan), True)
    _warn_if_moved(adata, settings, neighborhoods, mend)
    return neighborhoods


def _warn_if_moved(
    adata: anndata.AnnData, settings: ModelSettings, found: Neighborhoods, mend: str
) -> None:
    """Compare given distances with the coordinates that lie beside them."""
    coordinates = find_coordinates(adata, settings.coord_obsm_key)
    has_radius = settings.cell_radius_key is None or settings.cell_radius_key in adata.obs
    if coordinates is None or not has_radius:
        return
    radius = find_radius(adata, settings.cell_radius_key)
    offset = coordinates[found.index] - coordinates[found.receiver, np.newaxis]
    distance = np.linalg.norm(offset, axis=-1)
    if radius is not None:
        distance -= radius[found.receiver, np.newaxis] + radius[found.index]
    exists = found.index >= 0
    if not np.allclose(np.maximum(distance, 0)[exists], found.distance[exists], rtol=1e-3):
        warnings.warn(
            f"the distances in adata.obsm[{settings.nn_dist_key!r}] are not those between the "
            f"coordinates in adata.obsm[{settings.coord_obsm_key!r}]; {mend}",
            UserWarning,
            stacklevel=2,
        )
