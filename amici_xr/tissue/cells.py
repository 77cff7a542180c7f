"""A tissue as arrays: what is known of each cell, and its expression when it is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.errors import NotFoundError, listed
from amici_xr.tissue.columns import (
    find_possible_samples,
    read_colors,
    read_labels,
    read_positions,
    read_radii,
    read_samples,
)
from amici_xr.tissue.expression import Expression
from amici_xr.tissue.opening import open_anndata
from amici_xr.tissue.spatial_data import REGIONS
from amici_xr.tissue.unit_entries import unit_keys


@dataclass(frozen=True)
class CarriedNeighbors:
    """Neighbors that an AnnData carries since it was set up for a model, as they lie in it."""

    index_key: str
    distance_key: str
    index: NDArray[Any]  # (cell, rank)
    distance: NDArray[np.float64]  # (cell, rank)


@dataclass(frozen=True)
class Tissue:
    """A tissue as arrays, one entry for each cell unless it says otherwise."""

    names: NDArray[np.object_]
    vocabulary: tuple[str, ...]  # the cell types
    codes: NDArray[np.intp]  # cell type, as its position in the vocabulary
    coord_key: str
    cell_radius_key: str | None
    positions: NDArray[np.float64] | None  # (cell, axis)
    radii: NDArray[np.float64] | None
    samples: NDArray[np.str_] | None
    colors: NDArray[np.str_] | None  # of each cell type
    carried_neighbors: CarriedNeighbors | None
    possible_samples: dict[str, NDArray[np.intp]]  # columns that may hold samples, as numbers
    unit_entries: dict[str, Any]  # of uns, that name the unit of the coordinates
    expression: Expression

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.codes.size

    @property
    def sample_codes(self) -> NDArray[np.intp] | None:
        """Sample of each cell as a number; None where no samples are known."""
        if self.samples is None:
            return None
        codes: NDArray[np.intp] = np.unique(self.samples, return_inverse=True)[1]
        return codes

    def describe(self, **cells: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """Return names and, where known, samples and coordinates of cells in each role.

        ``describe(neighbor=positions)`` gives ``neighbor_name``, ``neighbor_x`` and so on.
        """
        description: dict[str, NDArray[Any]] = {}
        for role, position in cells.items():
            description[f"{role}_name"] = self.names[position]
            if self.samples is not None:
                description[f"{role}_sample"] = self.samples[position]
            if self.positions is not None:
                for axis, values in zip("xyz", self.positions.T, strict=False):
                    description[f"{role}_{axis}"] = values[position]
        return description


def read_tissue(
    adata: Any,
    *,
    labels_key: str,
    coord_key: str = "spatial",
    layer: str | None = None,
    cell_radius_key: str | None = None,
    sample_key: str | None = None,
    neighbor_keys: tuple[str, str] | None = None,
    vocabulary: Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
) -> Tissue:
    """Read an AnnData, or the path of one, as a `Tissue`; its expression is read when asked for.

    `neighbor_keys` are the entries of ``obsm`` with the positions and distances of neighbors that
    the AnnData may carry. Where it does, coordinates and radii may be absent. `vocabulary` and
    `genes` are those of a model; None takes what the AnnData has.
    """
    obsm_keys = {coord_key, *(neighbor_keys or ())}
    possible_units = unit_keys(coord_key)
    uns_keys = {f"{labels_key}_colors", *possible_units}
    adata, path = open_anndata(adata, obsm_keys, uns_keys, layer)
    if not adata.n_obs:
        raise ValueError("adata has no cells")
    _warn_of_repeated_names(adata)
    labels, codes = read_labels(adata, labels_key, vocabulary)
    expression = Expression(adata, path, layer, genes)
    samples = read_samples(adata, sample_key)
    carried = _read_carried_neighbors(adata, neighbor_keys)
    positions = read_positions(adata, coord_key)
    if positions is None and carried is None:
        hint = ""
        if REGIONS in adata.uns:
            hint = "; this table of a SpatialData gets them from amici_xr.from_spatialdata(sdata)"
        raise NotFoundError(
            f"adata.obsm has no {coord_key!r}, where the coordinates of the cells are expected; "
            f"it has {listed(adata.obsm.keys())}{hint}"
        )
    has_radii = carried is None or cell_radius_key in adata.obs
    return Tissue(
        names=adata.obs_names.to_numpy(dtype=object),
        vocabulary=labels,
        codes=codes,
        coord_key=coord_key,
        cell_radius_key=cell_radius_key,
        positions=positions,
        radii=read_radii(adata, cell_radius_key) if has_radii else None,
        samples=samples,
        colors=read_colors(adata, labels_key, labels),
        carried_neighbors=carried,
        possible_samples=find_possible_samples(adata.obs),
        unit_entries={key: adata.uns[key] for key in possible_units if key in adata.uns},
        expression=expression,
    )


def _warn_of_repeated_names(adata: Any) -> None:
    n_repeated = int(adata.obs_names.duplicated().sum())
    if n_repeated:
        warnings.warn(
            f"adata.obs_names repeats {n_repeated:,} names, so that cells can't be told apart by "
            "name later; call adata.obs_names_make_unique() and then extract again",
            UserWarning,
            stacklevel=4,
        )


def _read_carried_neighbors(
    adata: Any, neighbor_keys: tuple[str, str] | None
) -> CarriedNeighbors | None:
    if neighbor_keys is None or not {*neighbor_keys} <= {*adata.obsm.keys()}:
        return None
    index, distance = (np.asarray(adata.obsm[key]) for key in neighbor_keys)
    if index.shape != distance.shape or index.ndim != 2:
        raise ValueError(
            f"adata.obsm[{neighbor_keys[0]!r}] and its distances differ in shape: {index.shape}, "
            f"{distance.shape}"
        )
    return CarriedNeighbors(*neighbor_keys, index, distance.astype(np.float64, copy=False))
