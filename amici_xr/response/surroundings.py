"""What surrounds receivers: the nearest cell of each type, and the types within a niche."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

NICHE_CUT = 2.5  # niche scales beyond which a cell has no weight
_MOST_PAIRS = 2_000_000  # pairs of cells held at a time

if TYPE_CHECKING:
    from scipy.spatial import cKDTree


class Surroundings:
    """Search trees over all cells of a tissue, in µm, sample by sample.

    `types` are those whose cells are searched for.
    """

    def __init__(
        self, positions: Floats, codes: Integers, samples: Integers, types: Integers, n_types: int
    ) -> None:
        from scipy.spatial import cKDTree  # here, since importing the package should cost little

        self._positions, self._codes, self._samples = positions, codes, samples
        self._n_types = n_types
        self._members = [np.flatnonzero(samples == sample) for sample in np.unique(samples)]
        self._trees = [cKDTree(positions[members]) for members in self._members]
        self._trees_of_types = {
            (sample, kind): cKDTree(positions[members[codes[members] == kind]])
            for sample, members in enumerate(self._members)
            for kind in types
            if (codes[members] == kind).any()
        }

    def nearest_distance(self, receivers: Integers, query: int) -> Floats:
        """Return the distance to the nearest cell of each type, (receiver, type).

        Of the receiver itself no distance is taken; infinite where a sample has no such cell.
        """
        distance = np.full((receivers.size, self._n_types), np.inf)
        for (sample, kind), tree in self._trees_of_types.items():
            here = np.flatnonzero(
                self._samples[receivers] == self._samples[self._members[sample][0]]
            )
            if kind != query:
                distance[here, kind] = tree.query(self._positions[receivers[here]])[0]
            elif tree.n > 1:
                distance[here, kind] = tree.query(self._positions[receivers[here]], k=[2])[0][:, 0]
        return distance

    def niche_weight(self, receivers: Integers, scale: float) -> Floats:
        """Return the summed Gaussian weight of the cells of each type, (receiver, type)."""
        from scipy.spatial import cKDTree  # here, since importing the package should cost little

        weight = np.zeros((receivers.size, self._n_types))
        for members, tree in zip(self._members, self._trees, strict=True):
            here = np.flatnonzero(self._samples[receivers] == self._samples[members[0]])
            for chunk in self._chunks(here, receivers, tree, NICHE_CUT * scale):
                cells = receivers[chunk]
                pairs = cKDTree(self._positions[cells]).sparse_distance_matrix(
                    tree, NICHE_CUT * scale, output_type="ndarray"
                )
                near = members[pairs["j"]]
                is_other = near != cells[pairs["i"]]
                value = np.exp(-0.5 * (pairs["v"] / scale) ** 2) * is_other
                cell_and_type = pairs["i"] * self._n_types + self._codes[near]
                total = np.bincount(cell_and_type, value, chunk.size * self._n_types)
                weight[chunk] = total.reshape(chunk.size, self._n_types)
        return weight

    def _chunks(
        self, here: Integers, receivers: Integers, tree: cKDTree, radius: float
    ) -> list[Integers]:
        """Receivers in parts that have so many pairs that memory holds them."""
        if not here.size:
            return []
        n_near = tree.query_ball_point(self._positions[receivers[here]], radius, return_length=True)
        part = np.cumsum(n_near) // _MOST_PAIRS
        return np.split(here, np.flatnonzero(np.diff(part)) + 1)


def median_nearest_distance(positions: Floats, samples: Integers) -> float:
    """Return the median distance from a cell to the nearest other cell of its sample."""
    from scipy.spatial import cKDTree  # here, since importing the package should cost little

    nearest = [
        cKDTree(positions[samples == sample]).query(positions[samples == sample], k=[2])[0][:, 0]
        for sample in np.unique(samples)
    ]
    distance = np.concatenate(nearest)
    distance = distance[np.isfinite(distance)]
    return float(np.median(distance)) if distance.size else float("nan")
