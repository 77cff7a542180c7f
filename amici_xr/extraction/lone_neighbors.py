"""Effects of a neighbor that stands alone, for each pair of types and each distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.extraction.prediction import Predictor
from amici_xr.kernels.groups import Floats
from amici_xr.kernels.lone_neighbor import lone_neighbor_effect, prepare_senders
from amici_xr.kernels.nearest_cells import typical_edge
from amici_xr.model.network import LAYER_NORM_EPSILON
from amici_xr.tissue.cells import Tissue

N_DISTANCES = 33
LARGEST_SAMPLE = 2_000  # neighbors of a type over which a counterfactual effect is averaged
_SEED = 0

Integers = NDArray[np.intp]


def distance_grid(tissue: Tissue, n_neighbors: int) -> Floats:
    """Distances at which a neighbor stands alone, dense near contact, up to a round number.

    That is at least three times the typical distance to the `n_neighbors`-th nearest cell. It
    depends on the tissue alone, so that it is the same for every query, and mostly for tissues
    that are equally dense.
    """
    if tissue.positions is not None:
        edge = typical_edge(tissue.positions, n_neighbors, tissue.sample_codes)
    else:
        assert tissue.carried_neighbors is not None
        farthest = tissue.carried_neighbors.distance.max(axis=1)
        edge = float(np.median(farthest[np.isfinite(farthest)]))
    least = 3 * edge if edge > 0 else 1.0
    power = 10.0 ** np.floor(np.log10(least))
    end = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)
    return np.asarray(end * (np.arange(N_DISTANCES) / (N_DISTANCES - 1)) ** 2)


def counterfactual_effects(
    predictor: Predictor,
    is_neighbor: NDArray[np.bool_],
    codes: Integers,
    queries: list[int],
    n_labels: int,
    distances: Floats,
) -> dict[str, NDArray[Any]]:
    """Compute the effect of a neighbor that stands alone, averaged over those of each type.

    Of more than 2,000 neighbors of a type, a seeded sample is taken. `is_neighbor` is (query, cell)
    over the AnnData and `codes` the cell type of each cell; every neighbor is among the features.
    """
    layers = predictor.layers
    w_o, q, norm_weight, linear_head = (
        tensor.cpu().numpy()
        for tensor in (layers.w_o, layers.q, layers.norm_weight, layers.linear_head)
    )
    shape = (len(queries), n_labels, distances.size)
    noise = np.full(shape, np.nan, np.float32)
    effect = np.full((*shape[:2], len(linear_head), shape[2]), np.nan, np.float32)
    # Each cell has its place in the queue, so that a pair's sample does not depend on other pairs.
    queue = np.random.default_rng(_SEED).permutation(codes.size)
    for label in np.unique(codes[is_neighbor.any(axis=0)]):
        samples = [_sample(np.flatnonzero(row & (codes == label)), queue) for row in is_neighbor]
        cells = np.unique(np.concatenate(samples))
        at = np.searchsorted(predictor.features.cells, cells)
        values = predictor.features.values[at]
        senders = prepare_senders(values, w_o, norm_weight, linear_head)
        for row, sample in enumerate(samples):
            if sample.size:
                chosen = np.searchsorted(cells, sample)
                weight = predictor.lone_attention(row, at[chosen], distances)
                of_genes, noise[row, label] = lone_neighbor_effect(
                    senders, chosen, weight, q[row], LAYER_NORM_EPSILON
                )
                effect[row, label] = of_genes.T
    return {"counterfactual_effect": effect, "counterfactual_noise": noise}


def _sample(cells: Integers, queue: Integers) -> Integers:
    """Take the first 2,000 cells in the queue."""
    if cells.size <= LARGEST_SAMPLE:
        return cells
    return np.sort(cells[np.argsort(queue[cells])[:LARGEST_SAMPLE]])
