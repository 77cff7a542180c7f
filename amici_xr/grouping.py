"""How reductions go through queries and groups of neighbors, and how their results are laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from .errors import NotFoundError, SchemaError, listed
from .schema import SCORES
from .selection import select

_Labelled = TypeVar("_Labelled", xr.Dataset, xr.DataArray)

_ASKED_OFTEN = (*SCORES, "is_neighbor", "label", "receiver_label", "cell_type")
_LAST = ("head", "rank", "distance", "distance_bin", "quantile", "threshold")


def by_query(reduce: Callable[[xr.Dataset], xr.Dataset], ds: xr.Dataset) -> xr.Dataset:
    """Reduce the Dataset of each query by itself and put the results along ``query``.

    So no reduction ever sees a masked entry, and with several queries each answer is that of the
    query alone.
    """
    queries = np.atleast_1d(ds["query"].values)
    ds = read_once(ds)
    results = [reduce(_without_nan(loaded_if_empty(select(ds, query)))) for query in queries]
    if "query" in ds.dims:
        result = joined(results, "query")
    else:
        (result,) = results
    return ordered(result)


def joined(results: Sequence[xr.Dataset], dim: str) -> xr.Dataset:
    """Put reductions along a new dim; what one of them lacks has NaN and a count of 0 there.

    Without a vocabulary each query has the labels that it meets, and groups of other coordinates
    need not be in each sample.
    """
    return xr.concat(
        results,
        dim=dim,
        data_vars="all",
        coords="minimal",
        compat="override",
        join="outer",
        fill_value={"n_neighbors": 0, "status": "absent"},
    )


def loaded_if_empty(ds: xr.Dataset) -> xr.Dataset:
    """Load a Dataset without a single score: dask makes no chunks of nothing."""
    return ds if ds[SCORES[0]].size else ds.compute()


def is_lazy(ds: xr.Dataset) -> bool:
    """Whether the scores are computed only when asked for."""
    return any(ds[name].chunks is not None for name in SCORES)


def reduce_neighbors(
    kernel: Callable[..., Any],
    *arrays: xr.DataArray,
    sizes: Mapping[str, int],
    dtype: Any = np.float64,
    **options: Any,
) -> xr.DataArray:
    """Apply a kernel that reduces ``neighbor``, which lies last, and adds the dims of `sizes`.

    What is lazy stays so, with all neighbors of a head in one chunk.
    """
    whole = {"neighbor": -1, "head": 1}
    chunked = [
        rechunked(array, {dim: size for dim, size in whole.items() if dim in array.dims})
        for array in arrays
    ]
    reduced: xr.DataArray = xr.apply_ufunc(
        kernel,
        *chunked,
        input_core_dims=[["neighbor"] if "neighbor" in array.dims else [] for array in chunked],
        output_core_dims=[list(sizes)],
        kwargs=options,
        dask="parallelized",
        output_dtypes=[dtype],
        dask_gufunc_kwargs={"output_sizes": dict(sizes)},
        keep_attrs="override",
    )
    reduced.attrs = {}  # the result is no score any more
    return reduced


def read_once(ds: xr.Dataset, *further: str) -> xr.Dataset:
    """Read scores and labels that lie in a file, and what else is named, once for all steps.

    Scores that are dask arrays stay lazy.
    """
    read = ds.copy()  # variables of its own: those of `ds` stay unread
    for name in (*_ASKED_OFTEN, *further):
        variable = read.variables.get(name)
        if variable is not None and not (name in SCORES and variable.chunks is not None):
            variable.load()
    return read


def rechunked(array: xr.DataArray, sizes: Mapping[str, int]) -> xr.DataArray:
    """Chunk a lazy array, and nothing of one in memory, along some dims.

    The array alone: ``DataArray.chunk`` makes coordinates lazy too, which are then computed to be
    compared with those of other arrays.
    """
    if array.chunks is None:
        return array
    return array.copy(data=array.variable.chunk(sizes).data)


def _without_nan(one: xr.Dataset) -> xr.Dataset:
    query = one["query"].item()
    checked = {}
    for name in SCORES:
        if one.variables[name].chunks is None:
            _refuse_nan(one.variables[name].values, query)
        else:  # checked when it is computed
            checked[name] = xr.apply_ufunc(
                _refuse_nan,
                one[name],
                kwargs={"query": query},
                dask="parallelized",
                output_dtypes=[one[name].dtype],
                keep_attrs=True,
            )
    return one.assign(checked) if checked else one


def _refuse_nan(scores: NDArray[Any], query: str) -> NDArray[Any]:
    if np.isnan(scores).any():
        raise SchemaError(
            f"scores of query {query!r} are NaN where is_neighbor does not say so; "
            "keep is_neighbor, or take the query with amici_xr.select"
        )
    return scores


def groups(
    labelled: xr.Dataset | xr.DataArray, by: str | None, dim: str = "neighbor"
) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Names of the groups and, for each element along `dim`, the position of its group.

    Labels are grouped by the model's whole vocabulary where it is known, so that every result has
    the same labels whatever was selected; other coordinates by the values that occur.
    """
    if by is None:
        return np.array(["all"]), np.zeros(labelled.sizes[dim], dtype=np.intp)
    if not isinstance(by, str) or by not in labelled.coords or labelled[by].dims != (dim,):
        known = [name for name, value in labelled.coords.items() if value.dims == (dim,)]
        raise NotFoundError(f"by={by!r} is no coordinate on {dim}; there are {listed(known)}")
    values = labelled[by].values
    if by == "label" and "cell_type" in labelled.coords:
        names = labelled["cell_type"].values
        codes = pd.Index(names).get_indexer(pd.Index(values))
        if (codes < 0).any():
            raise SchemaError(
                f"label holds {listed(np.unique(values[codes < 0]))}, not in cell_type "
                f"({listed(names)}); keep label as it was, and name groups of your own in another "
                "coordinate on neighbor, to be asked for with by=…"
            )
        return names, codes
    names, codes = np.unique(values, return_inverse=True)
    return names, codes


def ordered(result: _Labelled) -> _Labelled:
    """Bring dims into the order (run, query, sample, neighbor or label, head), new ones last."""
    first = [name for name in ("run", "query", "sample") if name in result.dims]
    last = [name for name in _LAST if name in result.dims]
    return result.transpose(*first, ..., *last)
