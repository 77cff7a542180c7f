"""A seeded simulator of Datasets, for tests and examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from amici_xr.dataset.construction import from_arrays
from amici_xr.errors import check_positive_integer, listed
from amici_xr.kernels.nearest_cells import nearest_of_other_types


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
    """Draw a tissue and scores for it: a valid Dataset without any model.

    Cells lie uniformly in a square with one cell per unit of area, their types uniform. Each
    (query, label, head) has a mean base score of its own, so that some reach far and some nowhere.

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
        those of sections on slides of their own do. None leaves samples out.
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
    labels = np.array(cell_types)
    codes = rng.integers(0, labels.size, n_cells)
    places = rng.uniform(0, np.sqrt(n_cells), (n_cells, 2))
    query_codes = [list(cell_types).index(one) for one in queries]
    sample = None if samples is None else rng.integers(0, len(samples), n_cells)
    found = nearest_of_other_types(places, codes, query_codes, n_neighbors, sample=sample)
    is_neighbor = found.is_neighbor(codes, query_codes)
    neighbor, receiver = np.flatnonzero(is_neighbor.any(axis=0)), found.receiver
    shape = (len(queries), neighbor.size, n_heads)
    mean = rng.normal(dummy_attention_score, 3.0, (len(queries), labels.size, n_heads))
    base = mean[:, codes[neighbor]] + rng.normal(0, 0.5, shape)
    position = rng.gamma(20.0, 0.05, shape)
    mask = is_neighbor[:, neighbor, np.newaxis]
    base, position = np.where(mask, base, np.nan), np.where(mask, position, np.nan)
    one = isinstance(query, str)
    of_samples = {}
    if samples is not None and sample is not None:
        for cell, at in (("neighbor", neighbor), ("receiver", receiver)):
            of_samples[f"{cell}_sample"] = np.array(samples)[sample[at]]
    return from_arrays(
        base[0] if one else base,
        position[0] if one else position,
        labels[codes[neighbor]],
        query=query if one else queries,
        dummy_attention_score=dummy_attention_score,
        distance_kernel_unit_scale=distance_kernel_unit_scale,
        neighbor=neighbor,
        cell_type=labels,
        unit=unit,
        receiver=receiver,
        receiver_label=labels[codes[receiver]],
        neighborhood_index=found.index,
        neighborhood_distance=found.distance,
        neighborhood_label=found.labels(codes),
        neighbor_name=[f"cell_{cell}" for cell in neighbor],
        receiver_name=[f"cell_{cell}" for cell in receiver],
        neighbor_x=places[neighbor, 0],
        neighbor_y=places[neighbor, 1],
        receiver_x=places[receiver, 0],
        receiver_y=places[receiver, 1],
        **of_samples,
    )
