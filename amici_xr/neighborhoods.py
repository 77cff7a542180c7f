"""Who stands near whom: the K nearest cells of other types, given with an AnnData or computed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import NotFoundError, listed
from .kernels import group_positions
from .tissue import find_coordinates, find_radius

if TYPE_CHECKING:
    import anndata

    from .saved_model import ModelSettings

_MANY = 1_000  # receivers; to start threads for fewer takes longer than the search


@dataclass(frozen=True)
class Neighborhoods:
    """The neighborhoods of some receivers: positions of cells, −1 and NaN where there is none."""

    receiver: NDArray[np.int64]  # (receiver,)
    index: NDArray[np.int64]  # (receiver, rank)
    distance: NDArray[np.float64]  # (receiver, rank)
    is_given: bool = False  # by the AnnData, not computed

    def is_neighbor(self, codes: NDArray[np.intp], queries: list[int]) -> NDArray[np.bool_]:
        """Whether a cell stands in a neighborhood of a cell of the query type, (query, cell)."""
        mask = np.zeros((len(queries), codes.size), dtype=bool)
        for row, query in enumerate(queries):
            members = self.index[codes[self.receiver] == query]
            mask[row, members[members >= 0]] = True
        return mask

    def crosses(self, sample: NDArray[np.intp]) -> bool:
        """Whether a neighbor is of another sample than its receiver."""
        own = sample[self.receiver, np.newaxis]
        return bool(((self.index >= 0) & (sample[self.index] != own)).any())

    def labels(self, codes: NDArray[np.intp]) -> NDArray[np.int16]:
        """Cell types of the neighbors, (receiver, rank), −1 where there is none."""
        # One more at the end, where −1 points to; narrow, since millions of cells have many ranks.
        return np.append(codes, -1).astype(np.int16)[self.index]


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


def nearest_of_other_types(
    coordinates: NDArray[np.float64],
    codes: NDArray[np.intp],
    queries: list[int],
    n_neighbors: int,
    radius: NDArray[np.float64] | None = None,
    sample: NDArray[np.intp] | None = None,
) -> Neighborhoods:
    """K nearest cells of other types of every cell of the query types, by Euclidean distance.

    Receivers ascend. With cell radii the distance is surface to surface, ``max(0, d − rᵢ − rⱼ)``,
    while the order stays that of the centers. With samples, of the same sample.
    """
    receiver = np.flatnonzero(np.isin(codes, queries))
    index = np.full((receiver.size, n_neighbors), -1)
    distance = np.full(index.shape, np.nan)
    sample = np.zeros(codes.size, dtype=np.intp) if sample is None else sample
    for _, cells in group_positions(sample, int(sample.max(initial=-1)) + 1):
        for query in queries:
            others, own = cells[codes[cells] != query], cells[codes[cells] == query]
            if others.size and own.size:
                rows = np.searchsorted(receiver, own)
                found = _nearest(coordinates, others, own, n_neighbors)
                index[rows], distance[rows] = found
    if radius is not None:  # NaN stays NaN where there is no neighbor
        distance = np.maximum(distance - radius[receiver, np.newaxis] - radius[index], 0.0)
    return Neighborhoods(receiver, index, distance)


def _nearest(
    coordinates: NDArray[np.float64],
    others: NDArray[np.intp],
    receiver: NDArray[np.intp],
    n_neighbors: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    from scipy.spatial import KDTree  # here, since importing the package should cost little

    ranks = np.arange(1, n_neighbors + 1)
    tree = KDTree(coordinates[others])
    workers = -1 if receiver.size >= _MANY else 1
    distance, position = tree.query(coordinates[receiver], k=ranks, workers=workers)
    exists = np.isfinite(distance)
    index = np.where(exists, others[np.where(exists, position, 0)], -1)
    return index, np.where(exists, distance, np.nan)


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
