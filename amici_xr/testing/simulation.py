"""A seeded simulator of Datasets, for tests and examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.construction import from_arrays
from amici_xr.errors import check_positive_integer, listed
from amici_xr.kernels.nearest_cells import Neighborhoods, nearest_of_other_types


def simulate_dataset(
    query: str | Sequence[str] = "A",
    *,
    n_cells: int = 500,
    n_heads: int = 2,
    n_neighbors: int = 8,
    cell_types: Sequence[str] = ("A", "B", "C", "D"),
    dummy_attention_score: float = 3.0,
    distance_kernel_unit_scale: float = 1.0,
    unit: str | None = None,
    samples: Sequence[str] | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Simulate a tissue and its scores: a valid Dataset without any model.

    Cells lie uniformly in a square with one cell per unit of area, and their types are uniform.
    Each (query, label, head) has a mean base score of its own, so that some reach far and some do
    not reach at all.

    Parameters
    ----------
    query
        One receiving cell type, or several, which gives a ``query`` dim.
    n_cells, n_heads, n_neighbors
        Sizes; `n_neighbors` is the number of ranks of a neighborhood.
    cell_types
        The vocabulary.
    dummy_attention_score, distance_kernel_unit_scale, unit
        As in `amici_xr.from_arrays`.
    samples
        Names of samples among which the cells are divided at random; their coordinates overlap, as
        do those of sections on separate slides. None leaves samples out.
    seed
        The same seed gives the same Dataset.

    Returns
    -------
    xarray.Dataset
        As from `extract`, with neighborhoods and coordinates.

    Raises
    ------
    ValueError
        If `query` is not among `cell_types`, or a size is below 1.

    Examples
    --------
    >>> from amici_xr.testing import simulate_dataset
    >>> simulate_dataset(n_cells=100, n_heads=3).sizes["head"]
    3
    """
    for name, size in (("n_cells", n_cells), ("n_heads", n_heads), ("n_neighbors", n_neighbors)):
        check_positive_integer(name, size)
    queries = [query] if isinstance(query, str) else list(query)
    if not set(queries) <= set(cell_types):
        raise ValueError(f"query={query!r} must be among cell_types: {listed(cell_types)}")
    rng = np.random.default_rng(seed)
    cells = Cells(
        cell_type=np.array(cell_types),
        codes=rng.integers(0, len(cell_types), n_cells),
        coordinates=rng.uniform(0, np.sqrt(n_cells), (n_cells, 2)),
        samples=None if samples is None else np.array(samples),
        sample_codes=None if samples is None else rng.integers(0, len(samples), n_cells),
    )
    tissue = SimulatedTissue(cells, query, cells.neighborhoods(queries, n_neighbors))
    codes = cells.codes[tissue.neighbor]
    shape = (*tissue.is_neighbor.shape, n_heads)
    mean = rng.normal(dummy_attention_score, 3.0, (len(queries), len(cell_types), n_heads))
    return from_arrays(
        tissue.mask(mean[:, codes] + rng.normal(0, 0.5, shape)),
        tissue.mask(rng.gamma(20.0, 0.05, shape)),
        dummy_attention_score=dummy_attention_score,
        distance_kernel_unit_scale=distance_kernel_unit_scale,
        unit=unit,
        **tissue.arrays(),
    )


@dataclass(frozen=True)
class Cells:
    """Simulated cells with their types, coordinates and samples."""

    cell_type: NDArray[np.str_]  # the vocabulary
    codes: NDArray[np.intp]  # type of each cell
    coordinates: NDArray[np.float64]
    samples: NDArray[np.str_] | None
    sample_codes: NDArray[np.intp] | None  # sample of each cell

    def query_codes(self, queries: Sequence[str]) -> list[int]:
        """Look up the queries in the vocabulary."""
        return [self.cell_type.tolist().index(query) for query in queries]

    def neighborhoods(
        self, queries: Sequence[str], n_neighbors: int, radius: NDArray[np.float64] | None = None
    ) -> Neighborhoods:
        """Find the neighborhoods of all cells of the query types."""
        codes = self.query_codes(queries)
        return nearest_of_other_types(
            self.coordinates, self.codes, codes, n_neighbors, radius, self.sample_codes
        )


@dataclass(frozen=True)
class SimulatedTissue:
    """Cells and the neighborhoods of those of the query types, as `from_arrays` takes them."""

    cells: Cells
    query: str | Sequence[str]
    neighborhoods: Neighborhoods

    @cached_property
    def _is_neighbor_of_cells(self) -> NDArray[np.bool_]:
        queries = [self.query] if isinstance(self.query, str) else self.query
        codes = self.cells.query_codes(queries)
        return self.neighborhoods.is_neighbor(self.cells.codes, codes)

    @cached_property
    def neighbor(self) -> NDArray[np.intp]:
        """Positions of the neighbors."""
        return np.flatnonzero(self._is_neighbor_of_cells.any(axis=0))

    @property
    def is_neighbor(self) -> NDArray[np.bool_]:
        """Which cell is a neighbor of which query, (query, neighbor)."""
        return self._is_neighbor_of_cells[:, self.neighbor]

    def mask(self, scores: NDArray[Any]) -> NDArray[Any]:
        """Set scores, (query, neighbor, head), to NaN where a cell is not a neighbor of the query.

        With one query its dim is dropped.
        """
        nan = scores.dtype.type(np.nan)
        masked = np.where(self.is_neighbor[..., np.newaxis], scores, nan)
        return masked[0] if isinstance(self.query, str) else masked

    def arrays(
        self, has_neighborhoods: bool = True, has_coordinates: bool = True
    ) -> dict[str, Any]:
        """Return the arguments of `from_arrays` that describe the tissue."""
        labels = self.cells.cell_type[self.cells.codes]
        positions = {"neighbor": self.neighbor}
        arrays: dict[str, Any] = {
            "label": labels[self.neighbor],
            "query": self.query,
            "cell_type": self.cells.cell_type,
        }
        if not isinstance(self.query, str):
            arrays["is_neighbor"] = self.is_neighbor
        if has_neighborhoods:
            positions["receiver"] = self.neighborhoods.receiver
            arrays |= {
                "receiver_label": labels[self.neighborhoods.receiver],
                "neighborhood_index": self.neighborhoods.index,
                "neighborhood_distance": self.neighborhoods.distance,
                "neighborhood_label": self.neighborhoods.labels(self.cells.codes),
            }
        for cell, position in positions.items():
            arrays[cell] = position
            if has_coordinates:
                arrays[f"{cell}_x"], arrays[f"{cell}_y"] = self.cells.coordinates[position].T
                arrays[f"{cell}_name"] = [f"cell_{number}" for number in position]
            if self.cells.samples is not None and self.cells.sample_codes is not None:
                arrays[f"{cell}_sample"] = self.cells.samples[self.cells.sample_codes[position]]
        return arrays
