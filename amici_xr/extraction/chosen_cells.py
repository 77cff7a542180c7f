"""The cells of an extraction: where an AnnData has them, and which of them are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amici_xr.errors import NotFoundError, listed
from amici_xr.tissue.cells import Tissue

if TYPE_CHECKING:
    from amici_xr.model.saved_model import ModelSettings


def tissue_keys(settings: ModelSettings) -> dict[str, Any]:
    """Where the model finds what it needs in an AnnData, as arguments of `read_tissue`."""
    return {
        "labels_key": settings.labels_key,
        "coord_key": settings.coord_obsm_key,
        "layer": settings.layer,
        "cell_radius_key": settings.cell_radius_key,
        "neighbor_keys": (settings.nn_idx_key, settings.nn_dist_key),
    }


def queries_with_cells(queries: list[int] | None, tissue: Tissue) -> list[int]:
    """Check that the tissue has cells of each query type; None takes every type that it has."""
    present: list[int] = np.unique(tissue.codes).tolist()
    if queries is None:
        return present
    absent = [tissue.vocabulary[code] for code in queries if code not in present]
    if absent:
        raise NotFoundError(
            f"query: adata has no cells of type {listed(absent)}; it has cells of "
            f"{listed(tissue.vocabulary[code] for code in present)}"
        )
    return queries


def select_indices(
    is_neighbor: NDArray[np.bool_], indices: ArrayLike | None, sample_key: str | None
) -> NDArray[np.bool_]:
    """Leave only the cells at `indices`."""
    if not is_neighbor.any():
        where = "adata" if sample_key is None else f"its sample, of sample_key={sample_key!r}"
        raise ValueError(
            f"no cell of the query type has a neighbor of another type in {where}, so there is "
            "nothing to score"
        )
    if indices is None:
        return is_neighbor
    n_cells = is_neighbor.shape[1]
    given = np.asarray(indices)
    if given.dtype == bool and given.shape == (n_cells,):
        given = np.flatnonzero(given)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise TypeError(
            f"indices must be a sequence of integers or a boolean mask over all {n_cells} cells, "
            f"not an array of dtype {given.dtype} and shape {given.shape}"
        )
    outside = given[(given < 0) | (given >= n_cells)]
    if outside.size:
        raise NotFoundError(
            f"indices holds {listed(outside, 5)}; adata has cells 0 to {n_cells - 1}"
        )
    kept = np.zeros_like(is_neighbor)
    kept[:, given.astype(np.intp)] = is_neighbor[:, given.astype(np.intp)]
    if not kept.any():
        raise ValueError(
            f"indices: none of the {given.size} cells is a neighbor of a cell of the query type"
        )
    return kept
