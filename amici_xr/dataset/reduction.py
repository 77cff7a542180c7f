"""Reductions over queries, samples, thresholds and groups of neighbors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.schema import NEIGHBORHOODS, SCORES, has_neighborhoods
from amici_xr.dataset.selection import samples, select
from amici_xr.dataset.validation import check_neighborhoods
from amici_xr.errors import NotFoundError, SchemaError, check_fraction, listed
from amici_xr.kernels.groups import find_groups, group_reduce

_Labelled = TypeVar("_Labelled", xr.Dataset, xr.DataArray)
_USED_OFTEN = (*SCORES, "is_neighbor", "label", "receiver_label", "cell_type")
_LAST = ("head", "rank", "distance", "distance_bin", "quantile", "threshold")


def by_query(reduce: Callable[[xr.Dataset], xr.Dataset], ds: xr.Dataset) -> xr.Dataset:
    """Reduce the Dataset of each query by itself and put the results along ``query``.

    Thus no reduction ever sees a masked entry, and with several queries each result is that of
    the query alone.
    """
    queries = np.atleast_1d(ds["query"].values)
    ds = read_once(ds)
    results = [reduce(without_nan(load_if_empty(select(ds, query)))) for query in queries]
    return ordered(_concatenate(results, "query") if "query" in ds.dims else results[0])


def _concatenate(results: Sequence[xr.Dataset], dim: str) -> xr.Dataset:
    """Put reductions along a new dim; a group missing from one has NaN and a count of 0 there.

    Without a vocabulary each query has the labels of its own neighbors, and groups of other
    coordinates need not occur in each sample.
    """
    return xr.concat(
        results,
        dim=dim,
        data_vars="all",
        coords="minimal",
        compat="override",
        join="outer",
        fill_value={
            "n_neighbors": 0,
            "n_samples": 0,
            "status": "absent",
            "interval_status": "absent",
        },
    )


def load_if_empty(ds: xr.Dataset) -> xr.Dataset:
    """Load a Dataset without any score: dask makes no chunks of empty arrays."""
    return ds if ds[SCORES[0]].size else ds.compute()


def is_lazy(ds: xr.Dataset) -> bool:
    """Tell whether the scores are dask arrays."""
    return any(ds[name].chunks is not None for name in SCORES)


def reduce_neighbors(
    kernel: Callable[..., Any],
    *arrays: xr.DataArray,
    sizes: Mapping[str, int],
    dtype: Any = np.float64,
    **options: Any,
) -> xr.DataArray:
    """Apply a kernel that reduces ``neighbor``, which lies last, and adds the dims of `sizes`.

    Lazy arrays stay lazy, with all neighbors of a head in one chunk.
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
    reduced.attrs = {}  # not those of the scores
    return reduced


def read_once(ds: xr.Dataset, *further: str) -> xr.Dataset:
    """Read scores, labels and `further` variables from a file once for all steps.

    Scores that are dask arrays stay lazy.
    """
    read = ds.copy()  # with variables of its own, so that those of `ds` stay unread
    for name in (*_USED_OFTEN, *further):
        variable = read.variables.get(name)
        if variable is not None and not (name in SCORES and variable.chunks is not None):
            variable.load()
    return read


def rechunked(array: xr.DataArray, sizes: Mapping[Any, Any]) -> xr.DataArray:
    """Rechunk a lazy array along some dims; return one in memory as it is.

    Only the data: ``DataArray.chunk`` makes coordinates lazy too, which are then computed to be
    compared with those of other arrays.
    """
    if array.chunks is None:
        return array
    return array.copy(data=array.variable.chunk(sizes).data)


def without_nan(ds: xr.Dataset) -> xr.Dataset:
    """Refuse NaN among the scores of one query: now, or when lazy scores are computed."""
    query, checked = ds["query"].item(), {}
    for name in SCORES:
        if ds[name].chunks is None:
            _refuse_nan(ds[name].values, query)
        else:
            data = ds[name].data.map_blocks(_refuse_nan, query, dtype=ds[name].dtype)
            checked[name] = ds[name].copy(data=data)
    return ds.assign(checked) if checked else ds


def _refuse_nan(scores: NDArray[Any], query: str) -> NDArray[Any]:
    if np.isnan(scores).any():
        raise SchemaError(
            f"scores of query {query!r} are NaN although is_neighbor does not say so; "
            "keep is_neighbor, or select the query with amici_xr.select"
        )
    return scores


def groups(
    labelled: xr.Dataset | xr.DataArray, by: str | None, dim: str = "neighbor"
) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the names of the groups and the position of each element's group along `dim`.

    Labels are grouped by the model's whole vocabulary where it is known, so that every result has
    the same labels whatever was selected; other coordinates by the values that occur.
    """
    if by is None:
        return np.array(["all"]), np.zeros(labelled.sizes[dim], dtype=np.intp)
    if not isinstance(by, str) or by not in labelled.coords or labelled[by].dims != (dim,):
        present = [name for name, value in labelled.coords.items() if value.dims == (dim,)]
        raise NotFoundError(f"by={by!r} is not a coordinate on {dim}; there are {listed(present)}")
    values = labelled[by].values
    if by == "label" and "cell_type" in labelled.coords:
        names = labelled["cell_type"].values
        codes = find_groups(values, names)
        if (codes < 0).any():
            raise SchemaError(
                f"label holds {listed(np.unique(values[codes < 0]))}, not in cell_type "
                f"({listed(names)}); keep label as it was, and name groups of your own in another "
                "coordinate on neighbor, and pass it as by=…"
            )
        return names, codes
    names, codes = np.unique(values, return_inverse=True)
    return names, codes


def ordered(result: _Labelled) -> _Labelled:
    """Bring dims into the order (run, query, sample, neighbor or label, head), new ones last."""
    return result.transpose("run", "query", "sample", ..., *_LAST, missing_dims="ignore")


def for_each_sample(reduce: Callable[[xr.Dataset], xr.Dataset], ds: xr.Dataset) -> xr.Dataset:
    """Reduce the neighbors and receivers of each sample by themselves, along a ``sample`` dim."""
    names = samples(ds)
    if not names.size:
        raise SchemaError("this Dataset holds no cell, and so no sample; leave out by_sample=True")
    ds = read_once(ds, *NEIGHBORHOODS, "neighbor_sample", "receiver_sample")
    if has_neighborhoods(ds):
        check_neighborhoods(ds)  # before selection, after which crossings are lost
    results = [reduce(select(ds, sample=str(name))) for name in names]
    return ordered(_concatenate(results, "sample").assign_coords(sample=names))


def for_each_threshold(
    reduce: Callable[[float], _Labelled], threshold: float | Sequence[float]
) -> _Labelled:
    """Reduce at one threshold, or at each of several, which adds ``threshold`` as the last dim."""
    if np.ndim(threshold) == 0:
        return reduce(check_fraction("threshold", threshold))  # type: ignore[arg-type]  # no sequence
    values = check_thresholds(threshold)  # type: ignore[arg-type]  # a sequence
    results = [reduce(value) for value in values]
    stacked: _Labelled = xr.concat(
        results,
        dim="threshold",
        data_vars="all",
        coords="minimal",
        compat="override",
        combine_attrs="drop_conflicts",  # such as the threshold of each
    )
    result = stacked.assign_coords(threshold=("threshold", values, {"units": "1"}))
    if isinstance(result, xr.Dataset) and "n_neighbors" in result:
        result["n_neighbors"] = results[0]["n_neighbors"]  # the same at every threshold
    return ordered(result)


def check_thresholds(threshold: Sequence[float], name: str = "threshold") -> list[float]:
    """Return several thresholds as floats, each strictly between 0 and 1, none twice."""
    if np.ndim(threshold) != 1 or not len(threshold):
        raise ValueError(f"{name}={threshold!r} must be a number or a sequence of numbers")
    values = [check_fraction(name, value) for value in np.asarray(threshold).tolist()]
    if len(set(values)) < len(values):
        raise ValueError(f"{name}={threshold!r} names a threshold twice; name each once")
    return values


Statistic = Literal["mean", "median"]
STATISTICS: dict[str, Callable[..., Any]] = {"mean": np.mean, "median": np.median}


def summary_of_labels(ds: xr.Dataset, values: xr.DataArray, statistic: str) -> xr.DataArray:
    """Reduce values of the neighbors, (query, neighbor, head), to (query, label, head)."""

    def summarize(ds: xr.Dataset) -> xr.Dataset:
        names, codes = groups(ds, "label")
        reduced = reduce_neighbors(
            group_reduce,
            ds["_values"],
            sizes={"label": names.size},
            codes=codes,
            n_groups=names.size,
            reduce=STATISTICS[statistic],
        )
        return xr.Dataset({"summary": reduced}, coords={"label": names})

    return by_query(summarize, ds.assign(_values=values))["summary"]
