"""The K nearest cells of other types of each receiver, carried by the tissue or computed."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from amici_xr.errors import NotFoundError
from amici_xr.kernels.nearest_cells import Neighborhoods, nearest_of_other_types
from amici_xr.tissue.cells import CarriedNeighbors, Tissue


def find_neighborhoods(tissue: Tissue, queries: list[int], n_neighbors: int) -> Neighborhoods:
    """Return the neighborhoods of all cells of the query types, receivers ascending.

    Those that the tissue carries since it was set up for a model, else the `n_neighbors` nearest
    cells of other types. `queries` are positions in the vocabulary. Where the tissue has samples,
    no neighborhood crosses them.
    """
    carried, samples = tissue.carried_neighbors, tissue.sample_codes
    if carried is not None:
        if samples is None or not _crosses_samples(carried, samples):
            _warn_of_another_size(carried, n_neighbors)
            return _take_carried(tissue, carried, queries)
        warnings.warn(
            f"the neighborhoods in adata.obsm[{carried.index_key!r}] cross samples, so they are "
            "computed anew within each; the model was trained on the crossing ones",
            UserWarning,
            stacklevel=3,
        )
    if tissue.positions is None:
        raise NotFoundError(
            f"adata.obsm has no {tissue.coord_key!r}, where the coordinates of the cells are "
            "expected; without them no neighborhoods can be computed within samples"
        )
    return nearest_of_other_types(
        tissue.positions, tissue.codes, queries, n_neighbors, tissue.radii, samples
    )


def _warn_of_another_size(carried: CarriedNeighbors, n_neighbors: int) -> None:
    size = carried.index.shape[1]
    if size != n_neighbors:
        where = f"adata.obsm[{carried.index_key!r}]"
        warnings.warn(
            f"{where} has neighborhoods of {size} cells, while the model was set up with "
            f"n_neighbors={n_neighbors}; delete {where} to have those computed",
            UserWarning,
            stacklevel=4,
        )


def _crosses_samples(carried: CarriedNeighbors, samples: NDArray[np.intp]) -> bool:
    """Whether a carried neighbor is of another sample than its receiver."""
    exists = (carried.index >= 0) & (carried.index < samples.size)
    neighbor_sample = samples[np.where(exists, carried.index, 0).astype(np.intp)]
    return bool((exists & (neighbor_sample != samples[:, np.newaxis])).any())


def _take_carried(tissue: Tissue, carried: CarriedNeighbors, queries: list[int]) -> Neighborhoods:
    where = f"adata.obsm[{carried.index_key!r}]"
    remedy = (
        f"was adata subset or reordered after setup_anndata? Set it up again, or delete {where} "
        "to have the neighborhoods computed"
    )
    receiver = np.flatnonzero(np.isin(tissue.codes, queries))
    index, distance = carried.index[receiver], carried.distance[receiver]
    exists = (index >= 0) & np.isfinite(distance)
    index = np.where(exists, index, -1).astype(np.int64)
    if index.max(initial=-1) >= tissue.n_cells:
        raise ValueError(f"{where} points at cell {index.max()} of {tissue.n_cells}; {remedy}")
    if (exists & (tissue.codes[index] == tissue.codes[receiver, np.newaxis])).any():
        raise ValueError(f"{where} has neighbors of the receiver's own type; {remedy}")
    neighborhoods = Neighborhoods(receiver, index, np.where(exists, distance, np.nan), True)
    if _disagree_with_positions(neighborhoods, tissue):
        warnings.warn(
            f"the distances in adata.obsm[{carried.distance_key!r}] are not those between the "
            f"coordinates in adata.obsm[{tissue.coord_key!r}]; {remedy}",
            UserWarning,
            stacklevel=4,
        )
    return neighborhoods


def _disagree_with_positions(neighborhoods: Neighborhoods, tissue: Tissue) -> bool:
    """Whether carried distances differ from those between the coordinates beside them."""
    positions, radii = tissue.positions, tissue.radii
    if positions is None or (radii is None and tissue.cell_radius_key is not None):
        return False
    receiver, index = neighborhoods.receiver[:, np.newaxis], neighborhoods.index
    distance = np.linalg.norm(positions[index] - positions[receiver], axis=-1)
    if radii is not None:
        distance -= radii[receiver] + radii[index]
    exists = index >= 0
    expected = np.maximum(distance, 0)[exists]
    return not np.allclose(expected, neighborhoods.distance[exists], rtol=1e-3)
