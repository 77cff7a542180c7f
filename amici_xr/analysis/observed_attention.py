"""The model's attention where the neighbors really stand, from the Dataset alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from amici_xr.dataset.reduction import (
    by_query,
    for_each_sample,
    loaded_if_empty,
    ordered,
    read_once,
    reduce_neighbors,
)
from amici_xr.dataset.schema import NEIGHBORHOODS, distance_attributes, has_neighborhoods, scores
from amici_xr.dataset.selection import select
from amici_xr.dataset.structure import check_structure
from amici_xr.dataset.validation import check_neighborhoods
from amici_xr.errors import SchemaError, check_positive_integer, listed
from amici_xr.kernels import competition

_Labelled = TypeVar("_Labelled", xr.Dataset, xr.DataArray)


def attention(ds: xr.Dataset) -> xr.DataArray:
    """Attention of each receiver to each cell of its neighborhood, as the model itself has it.

    The softmax over the neighborhood and the dummy: with ``s_k = a_k − p_k·d_k/u`` at the real
    distances, ``exp(s_j) / (exp(δ) + Σ_k exp(s_k))``.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), with neighborhoods.

    Returns
    -------
    xarray.DataArray
        Attention in [0, 1], float64, dims (receiver, head, rank); NaN where a receiver has no
        neighbor of that rank. With several queries the receivers of all of them, each with the
        scores of its own query. What is missing to 1 over ``rank`` goes to the dummy, see
        `dummy_attention`.

    Raises
    ------
    SchemaError
        If the Dataset has no neighborhoods, or lacks the score of a cell that stands in one.

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
    result = for_receivers(_attention_of_one, ds).rename("attention")
    result.attrs = {"long_name": "attention in place", "units": "1"}  # and nothing of the scores'
    return result


def dummy_attention(ds: xr.Dataset) -> xr.DataArray:
    """Share of each receiver's attention that goes to the dummy: to no neighbor.

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
        If the Dataset has no neighborhoods, or lacks the score of a cell that stands in one.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> amici_xr.dummy_attention(ds).dims
    ('receiver', 'head')
    """
    result = for_receivers(_dummy_of_one, ds).rename("dummy_attention")
    result.attrs = {"long_name": "attention to the dummy", "units": "1"}
    return result


def attention_by_distance(
    ds: xr.Dataset, bins: int | ArrayLike = 10, *, by_sample: bool = False
) -> xr.Dataset:
    """Attention in place by the label of the neighbor and its real distance.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), with neighborhoods.
    bins
        Edges of the bins of distance, ascending, in the Dataset's unit; or their number, for bins
        of one width from 0 to the largest distance. A bin holds its lower edge, the last both.
    by_sample
        Whether to take each sample by itself, which adds a ``sample`` dim.

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
        If `bins` are no ascending edges, or no positive number.
    SchemaError
        If the Dataset has no neighborhoods, or lacks the score of a cell that stands in one.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> amici_xr.attention_by_distance(ds, bins=[0, 1, 2, 4]).mean_attention.dims
    ('label', 'head', 'distance_bin')
    """
    ds = with_places(ds)
    edges = _edges(ds, bins)
    if by_sample:
        return for_each_sample(lambda one: attention_by_distance(one, edges), ds)
    result = ordered(by_query(lambda one: _by_distance_of_one(one, edges), ds))
    middle = (edges[1:] + edges[:-1]) / 2
    places = {"distance_bin": middle, "bin_lower": edges[:-1], "bin_upper": edges[1:]}
    of_places = ("distance", "lower edge of the bin", "upper edge of the bin")
    for (name, values), long_name in zip(places.items(), of_places, strict=True):
        attributes = distance_attributes(long_name, ds)
        result = result.assign_coords({name: ("distance_bin", values, attributes)})
    result["mean_attention"].attrs = {"long_name": "mean attention in place", "units": "1"}
    result["dummy_attention"].attrs = {"long_name": "mean attention to the dummy", "units": "1"}
    result["n_pairs"].attrs = {"long_name": "number of pairs of receiver and neighbor"}
    return result


def _by_distance_of_one(one: xr.Dataset, edges: NDArray[np.float64]) -> xr.Dataset:
    names, n_bins = one["cell_type"].values, edges.size - 1
    distance = neighborhood(one, "distance")
    label = neighborhood(one, "label").astype(np.intp)
    place = np.searchsorted(edges, distance, side="right") - 1
    place[distance == edges[-1]] = n_bins - 1
    is_inside = (label >= 0) & (place >= 0) & (place < n_bins)
    bin_of = np.where(is_inside, label * n_bins + place, -1)
    size = {"label": names.size, "distance_bin": n_bins}
    mean = reduce_neighbors(
        competition.mean_attention,
        *scores(one),
        sizes=size,
        **places_of(one),
        bin_of=bin_of,
        shape=tuple(size.values()),
    )
    count = np.bincount(bin_of[is_inside], minlength=names.size * n_bins)
    return xr.Dataset(
        {
            "mean_attention": mean,
            "n_pairs": (tuple(size), count.reshape(names.size, n_bins)),
            "dummy_attention": _dummy_of_one(one).mean("receiver"),
        },
        coords={"label": names},
    )


def _attention_of_one(one: xr.Dataset) -> xr.DataArray:
    size = {"receiver": one.sizes["receiver"], "rank": one.sizes["rank"]}
    return reduce_neighbors(competition.attention, *scores(one), sizes=size, **places_of(one))


def _dummy_of_one(one: xr.Dataset) -> xr.DataArray:
    size = {"receiver": one.sizes["receiver"]}
    return reduce_neighbors(competition.dummy_attention, *scores(one), sizes=size, **places_of(one))


def for_receivers(of_one: Callable[[xr.Dataset], _Labelled], ds: xr.Dataset) -> _Labelled:
    """Ask the Dataset of each query by itself and put the receivers of all into their order."""
    ds = with_places(ds)
    parts = []
    for query in np.atleast_1d(ds["query"].values):
        one = loaded_if_empty(select(ds, query))
        cells = [name for name, array in one.coords.items() if array.dims == ("receiver",)]
        parts.append(of_one(one).assign_coords(one.coords.to_dataset()[cells].coords))
    if "query" not in ds.dims:
        return ordered(parts[0])
    together = xr.concat([part.drop_vars("query", errors="ignore") for part in parts], "receiver")
    place = together.get_index("receiver").get_indexer(ds.get_index("receiver"))
    return ordered(together.isel(receiver=place[place >= 0]))


def with_places(ds: xr.Dataset) -> xr.Dataset:
    """Read who stands near whom, which has to fit the neighbors and their labels."""
    check_structure(ds)
    if not has_neighborhoods(ds):
        raise SchemaError(
            "this Dataset has no neighborhoods (one read from a table has none), so it can't tell "
            "who stands near whom; use a Dataset from extract"
        )
    ds = read_once(ds, *NEIGHBORHOODS)
    check_neighborhoods(ds)
    return ds


def places_of(one: xr.Dataset) -> dict[str, Any]:
    """Where among the neighbors each cell of a neighborhood is, and how far from its receiver."""
    index = neighborhood(one, "index")
    position = pd.Index(one["neighbor"].values).get_indexer(index.ravel()).reshape(index.shape)
    missing = np.unique(index[(index >= 0) & (position < 0)])
    if missing.size:
        raise SchemaError(
            f"neighborhoods hold {missing.size:,} cells without scores, e.g. {listed(missing, 5)}: "
            "neighbors were selected away; use the whole Dataset, extracted without indices=…, and "
            "select from the result"
        )
    return {"position": position, "distance": neighborhood(one, "distance")}


def neighborhood(one: xr.Dataset, what: str) -> NDArray[Any]:
    """``neighborhood_<what>`` as an array, (receiver, rank)."""
    return np.asarray(one[f"neighborhood_{what}"].transpose("receiver", "rank").values)


def _edges(ds: xr.Dataset, bins: int | ArrayLike) -> NDArray[np.float64]:
    if np.ndim(bins) == 0:
        number = check_positive_integer("bins", bins)
        farthest = np.fmax.reduce(neighborhood(ds, "distance"), axis=None, initial=0.0)
        return np.linspace(0, farthest if farthest > 0 else 1.0, number + 1)
    given = np.asarray(bins)
    edges = given.astype(np.float64) if given.dtype.kind in "fiu" else np.empty(0)
    is_ascending = edges.ndim == 1 and edges.size > 1 and bool((np.diff(edges) > 0).all())
    if not is_ascending or not np.isfinite(edges).all():
        raise ValueError(
            f"bins={bins!r} must be the ascending edges of bins, e.g. bins=[0, 10, 20], or their "
            "number"
        )
    return edges
