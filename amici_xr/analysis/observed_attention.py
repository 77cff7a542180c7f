"""Attention of the model at the observed distances, from the Dataset alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from amici_xr.dataset.reduction import (
    by_query,
    for_each_sample,
    load_if_empty,
    ordered,
    read_once,
    reduce_neighbors,
    without_nan,
)
from amici_xr.dataset.schema import (
    NEIGHBORHOODS,
    distance_attributes,
    has_neighborhoods,
    neighborhoods,
    scores,
)
from amici_xr.dataset.selection import select
from amici_xr.dataset.structure import check_structure
from amici_xr.dataset.units import in_unit_of
from amici_xr.dataset.validation import check_neighborhoods
from amici_xr.errors import SchemaError, check_positive_integer, listed
from amici_xr.kernels import competition

_Labelled = TypeVar("_Labelled", xr.Dataset, xr.DataArray)


def attention(ds: xr.Dataset) -> xr.DataArray:
    """Compute the observed attention of each receiver to each cell of its neighborhood.

    This is the model's own attention, the softmax over the neighborhood and the dummy: with
    ``s_k = a_k − p_k·d_k/u`` at the observed distances, ``exp(s_j) / (exp(δ) + Σ_k exp(s_k))``.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), with neighborhoods.

    Returns
    -------
    xarray.DataArray
        Attention in [0, 1], float64, dims (receiver, head, rank); NaN where a receiver has no
        neighbor of that rank. With several queries, the receivers of all of them, each with the
        scores of its own query. The sum over ``rank`` and `dummy_attention` is 1.

    Raises
    ------
    SchemaError
        If the Dataset has no neighborhoods, or lacks the score of a cell that stands in one,
        or scores are NaN.

    References
    ----------
    AMICI, doi:10.1101/2025.09.22.677860: the attention layer.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> weight = amici_xr.attention(ds)
    >>> weight.dims
    ('receiver', 'head', 'rank')
    >>> total = weight.sum("rank") + amici_xr.dummy_attention(ds)
    >>> bool(abs(total - 1).max() < 1e-12)
    True
    """
    result = for_receivers(_attention_of_query, ds).rename("attention")
    result.attrs = {"long_name": "observed attention", "units": "1"}
    return result


def dummy_attention(ds: xr.Dataset) -> xr.DataArray:
    """Compute the share of each receiver's attention that goes to the dummy, to no neighbor.

    ``exp(δ) / (exp(δ) + Σ_k exp(s_k))`` over its neighborhood, as in `attention`.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), with neighborhoods.

    Returns
    -------
    xarray.DataArray
        Dims (receiver, head), float64; 1 where a receiver has no neighbor at all.

    Raises
    ------
    SchemaError
        If the Dataset has no neighborhoods, or lacks the score of a cell that stands in one,
        or scores are NaN.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> amici_xr.dummy_attention(ds).dims
    ('receiver', 'head')
    """
    result = for_receivers(_dummy_of_query, ds).rename("dummy_attention")
    result.attrs = {"long_name": "attention to the dummy", "units": "1"}
    return result


def attention_by_distance(
    ds: xr.Dataset, bins: int | ArrayLike = 10, *, by_sample: bool = False
) -> xr.Dataset:
    """Average the observed attention by the neighbor's label and its observed distance.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), with neighborhoods.
    bins
        Edges of the bins of distance, ascending, in the Dataset's unit (those of a DataArray with
        another one as its attribute ``units`` are converted); or their number, for bins of equal
        width from 0 to the largest distance. A bin includes its lower edge, the last one both.
    by_sample
        Whether to treat each sample separately, which adds a ``sample`` dim.

    Returns
    -------
    xarray.Dataset
        ``mean_attention``, dims (label, head, distance_bin), NaN in an empty bin; ``n_pairs`` of
        receiver and neighbor, dims (label, distance_bin); ``dummy_attention``, dims (head), the
        mean share over all receivers that goes to the dummy. ``query`` in front where `ds` has it.
        ``distance_bin`` holds the middles, ``bin_lower`` and ``bin_upper`` the edges.

    Raises
    ------
    ValueError
        If `bins` are neither ascending edges nor a positive number, or labelled with a unit that
        can't be converted to the Dataset's.
    SchemaError
        If the Dataset has no neighborhoods, or lacks the score of a cell that stands in one,
        or scores are NaN.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> amici_xr.attention_by_distance(ds, bins=[0, 1, 2, 4]).mean_attention.dims
    ('label', 'head', 'distance_bin')
    """
    ds = _read_neighborhoods(ds)
    edges = _edges(ds, bins)
    if by_sample:
        return for_each_sample(lambda part: attention_by_distance(part, edges), ds)
    result = ordered(by_query(lambda part: _by_distance_of_query(part, edges), ds))
    for name, values, long_name in (
        ("distance_bin", (edges[1:] + edges[:-1]) / 2, "distance"),
        ("bin_lower", edges[:-1], "lower edge of the bin"),
        ("bin_upper", edges[1:], "upper edge of the bin"),
    ):
        attributes = distance_attributes(long_name, ds)
        result = result.assign_coords({name: ("distance_bin", values, attributes)})
    result["mean_attention"].attrs = {"long_name": "mean observed attention", "units": "1"}
    result["dummy_attention"].attrs = {"long_name": "mean attention to the dummy", "units": "1"}
    result["n_pairs"].attrs = {"long_name": "number of pairs of receiver and neighbor"}
    return result


def _by_distance_of_query(ds: xr.Dataset, edges: NDArray[np.float64]) -> xr.Dataset:
    names, n_bins = ds["cell_type"].values, edges.size - 1
    _, distance, label = neighborhoods(ds)
    distance_bin = np.searchsorted(edges, distance, side="right") - 1
    distance_bin[distance == edges[-1]] = n_bins - 1
    is_inside = (label >= 0) & (distance_bin >= 0) & (distance_bin < n_bins)
    bins = np.where(is_inside, label.astype(np.intp) * n_bins + distance_bin, -1)
    shape = {"label": names.size, "distance_bin": n_bins}
    mean = reduce_neighbors(
        competition.mean_attention,
        *scores(ds),
        sizes=shape,
        neighbors=_observed_neighbors(ds),
        bins=bins,
        shape=tuple(shape.values()),
    )
    count = np.bincount(bins[is_inside], minlength=names.size * n_bins)
    return xr.Dataset(
        {
            "mean_attention": mean,
            "n_pairs": (tuple(shape), count.reshape(names.size, n_bins)),
            "dummy_attention": _dummy_of_query(ds).mean("receiver"),
        },
        coords={"label": names},
    )


def _attention_of_query(ds: xr.Dataset) -> xr.DataArray:
    return reduce_receivers(competition.attention, ds, ("receiver", "rank"))


def _dummy_of_query(ds: xr.Dataset) -> xr.DataArray:
    return reduce_receivers(competition.dummy_attention, ds, ("receiver",))


def reduce_receivers(
    kernel: Callable[..., Any], ds: xr.Dataset, dims: Sequence[str], **options: Any
) -> xr.DataArray:
    """Apply a kernel to the scores and observed neighbors of one query; its result has `dims`."""
    sizes = {dim: ds.sizes[dim] for dim in dims}
    neighbors = _observed_neighbors(ds)
    return reduce_neighbors(kernel, *scores(ds), sizes=sizes, neighbors=neighbors, **options)


def for_receivers(reduce: Callable[[xr.Dataset], _Labelled], ds: xr.Dataset) -> _Labelled:
    """Reduce the Dataset of each query by itself and restore the order of all receivers."""
    ds = _read_neighborhoods(ds)
    results = []
    for query in np.atleast_1d(ds["query"].values):
        part = without_nan(load_if_empty(select(ds, query)))
        cells = [name for name, array in part.coords.items() if array.dims == ("receiver",)]
        results.append(reduce(part).assign_coords(part.coords.to_dataset()[cells].coords))
    if "query" not in ds.dims:
        return ordered(results[0])
    every = xr.concat([part.drop_vars("query", errors="ignore") for part in results], "receiver")
    position = every.get_index("receiver").get_indexer(ds.get_index("receiver"))
    return ordered(every.isel(receiver=position[position >= 0]))


def _read_neighborhoods(ds: xr.Dataset) -> xr.Dataset:
    """Read the neighborhoods, which have to fit the neighbors and their labels."""
    check_structure(ds)
    if not has_neighborhoods(ds):
        raise SchemaError(
            "this Dataset has no neighborhoods (one read from a table has none), so it can't tell "
            "which cells are near which; use a Dataset from extract"
        )
    ds = read_once(ds, *NEIGHBORHOODS)
    check_neighborhoods(ds)
    return ds


def _observed_neighbors(ds: xr.Dataset) -> competition.ObservedNeighbors:
    """Find the position of each cell of a neighborhood among the neighbors."""
    index, distance, label = neighborhoods(ds)
    position = pd.Index(ds["neighbor"].values).get_indexer(index.ravel()).reshape(index.shape)
    missing = np.unique(index[(index >= 0) & (position < 0)])
    if missing.size:
        raise SchemaError(
            f"neighborhoods hold {missing.size:,} cells without scores, e.g. {listed(missing, 5)}: "
            "neighbors were selected away; use the whole Dataset, extracted without indices=…, and "
            "select from the result"
        )
    return competition.ObservedNeighbors(position, distance, label)


def _edges(ds: xr.Dataset, bins: int | ArrayLike) -> NDArray[np.float64]:
    if np.ndim(bins) == 0:
        number = check_positive_integer("bins", bins)
        farthest = np.fmax.reduce(ds["neighborhood_distance"].values, axis=None, initial=0.0)
        return np.linspace(0, farthest if farthest > 0 else 1.0, number + 1)
    numbers = in_unit_of(ds, "bins", bins)
    edges = numbers.astype(np.float64) if numbers.dtype.kind in "fiu" else np.empty(0)
    is_ascending = edges.ndim == 1 and edges.size > 1 and bool((np.diff(edges) > 0).all())
    if not is_ascending or not np.isfinite(edges).all():
        raise ValueError(
            f"bins={bins!r} must be the ascending edges of bins, e.g. bins=[0, 10, 20], or their "
            "number"
        )
    return edges
