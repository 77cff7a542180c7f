"""The K nearest cells of other types, on arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.iteration import for_each
from amici_xr.kernels.groups import group_positions

_MANY = 1_000  # receivers; starting threads for fewer takes longer than the search


@dataclass(frozen=True)
class Neighborhoods:
    """The neighborhoods of some receivers: positions of cells, −1 and NaN where there is none."""

    receiver: NDArray[np.int64]  # (receiver,)
    index: NDArray[np.int64]  # (receiver, rank)
    distance: NDArray[np.float64]  # (receiver, rank)
    is_given: bool = False  # stored in the AnnData, not computed

    def is_neighbor(self, codes: NDArray[np.intp], queries: list[int]) -> NDArray[np.bool_]:
        """Tell which cells stand in a neighborhood of a cell of the query type, (query, cell)."""
        mask = np.zeros((len(queries), codes.size), dtype=bool)
        for row, query in enumerate(queries):
            members = self.index[codes[self.receiver] == query]
            mask[row, members[members >= 0]] = True
        return mask

    def labels(self, codes: NDArray[np.intp]) -> NDArray[np.int16]:
        """Look up the cell types of the neighbors, (receiver, rank), −1 where there is none."""
        # One more at the end, where −1 points to; narrow, since millions of cells have many ranks.
        return np.append(codes, -1).astype(np.int16)[self.index]


def nearest_of_other_types(
    coordinates: NDArray[np.float64],
    codes: NDArray[np.intp],
    queries: list[int],
    n_neighbors: int,
    radius: NDArray[np.float64] | None = None,
    sample: NDArray[np.intp] | None = None,
) -> Neighborhoods:
    """Find the K nearest cells of other types of every cell of the query types, Euclidean.

    Receivers ascend. With cell radii the distance is surface to surface, ``max(0, d − rᵢ − rⱼ)``,
    while the order stays that of the centers. With samples, of the same sample.
    """
    receiver = np.flatnonzero(np.isin(codes, queries))
    index = np.full((receiver.size, n_neighbors), -1)
    distance = np.full(index.shape, np.nan)
    sample = np.zeros(codes.size, dtype=np.intp) if sample is None else sample
    for _, cells in group_positions(sample, int(sample.max(initial=-1)) + 1):

        def find(query: int, cells: NDArray[np.integer[Any]] = cells) -> None:
            is_query = codes[cells] == query
            others, receivers = cells[~is_query], cells[is_query]
            if others.size and receivers.size:
                rows = np.searchsorted(receiver, receivers)
                index[rows], distance[rows] = _nearest(coordinates, others, receivers, n_neighbors)

        for_each(find, queries)
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


def typical_edge(
    coordinates: NDArray[np.float64], n_neighbors: int, sample: NDArray[np.intp] | None = None
) -> float:
    """Compute the median distance to the `n_neighbors`-th nearest cell of any type.

    Over at most 1,000 cells of the largest sample, evenly spaced in their order.
    """
    from scipy.spatial import KDTree

    if sample is not None:
        coordinates = coordinates[sample == np.bincount(sample).argmax()]
    last = min(n_neighbors + 1, len(coordinates))  # the first is the cell itself
    chosen = coordinates[:: -(-len(coordinates) // _MANY)]
    distance, _ = KDTree(coordinates).query(chosen, k=[last])
    return float(np.median(distance))
