"""Attention curves over distance and their summaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from amici_xr.dataset.reduction import (
    by_query,
    for_each_sample,
    groups,
    is_lazy,
    load_if_empty,
    ordered,
    reduce_neighbors,
)
from amici_xr.dataset.schema import distance_attributes, scores
from amici_xr.dataset.structure import check_structure
from amici_xr.dataset.units import in_unit_of
from amici_xr.kernels import attention

LARGEST_EAGER_CURVE = 2e9  # bytes


def curve(ds: xr.Dataset, distance: ArrayLike | xr.DataArray) -> xr.DataArray:
    """Compute counterfactual attention: each neighbor's weight, were it at some other distance.

    ``σ(a − p·d/u − δ)``, the softmax weight of the neighbor against the dummy alone.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head).
    distance
        Distances, in the Dataset's unit of distance: a number, or a sequence in any order. Those of
        a DataArray with another unit as its attribute ``units`` are converted.

    Returns
    -------
    xarray.DataArray
        Attention in [0, 1], float64, dims (neighbor, head, distance), with ``run`` and ``query`` in
        front where `ds` has them; NaN where a cell is not a neighbor of the query. A single number
        adds no dim.

    Raises
    ------
    ValueError
        If a distance is negative or not finite, or labelled with a unit that can't be converted to
        the Dataset's, or if the result would take over 2 GB of memory.

    References
    ----------
    AMICI, doi:10.1101/2025.09.22.677860: counterfactual attention.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.from_arrays([[3.0]], [[0.5]], ["Tumor"], query="T_cell")
    >>> amici_xr.curve(ds, [0, 10]).values.round(4).tolist()
    [[[0.5, 0.0067]]]
    """
    check_structure(ds)
    distances = check_distance(ds, distance)
    ds = load_if_empty(ds)
    n_bytes = ds["base_attention_score"].size * distances.size * 8
    if not is_lazy(ds) and n_bytes > LARGEST_EAGER_CURVE:
        raise ValueError(
            f"distance: the curve at {distances.size} distances would take {n_bytes / 1e9:.1f} GB; "
            "curve_summary gives mean, std and quantiles without holding it, and "
            "ds.chunk(neighbor=10_000) makes it lazy"
        )
    result: xr.DataArray = xr.apply_ufunc(
        attention.counterfactual_attention,
        *scores(ds),
        distances,
        dask="parallelized",
        output_dtypes=[np.float64],
        keep_attrs="override",
    )
    result.attrs = {"long_name": "counterfactual attention", "units": "1"}
    return ordered(result.rename("counterfactual_attention"))


def curve_summary(
    ds: xr.Dataset,
    distance: ArrayLike | xr.DataArray,
    by: str | None = "label",
    quantiles: Sequence[float] | None = None,
    *,
    by_sample: bool = False,
) -> xr.Dataset:
    """Compute mean, standard deviation and quantiles of the curves of each cell type.

    The curves are ``σ(a − p·d/u − δ)`` of the neighbors of a label.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head).
    distance
        Distances, in the Dataset's unit of distance: a number, or a sequence in any order. Those of
        a DataArray with another unit as its attribute ``units`` are converted.
    by
        The coordinate on ``neighbor`` whose groups are summarized; None takes all neighbors as
        one group, without a ``label`` dim.
    quantiles
        Probabilities of the quantiles, in [0, 1]; interpolated linearly.
    by_sample
        Whether to summarize each sample by itself, which adds a ``sample`` dim.

    Returns
    -------
    xarray.Dataset
        ``mean`` and ``std`` (ddof 1), dims (label, head, distance), and, if requested,
        ``quantiles`` with ``quantile`` last. An empty group gives NaN, and so does the std of one
        neighbor. The curve is computed a block at a time and never held as a whole.

    Raises
    ------
    ValueError
        If a distance is negative or not finite, or labelled with a unit that can't be converted to
        the Dataset's, or if a quantile lies outside [0, 1].
    NotFoundError
        If `by` is not a coordinate on ``neighbor``.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.from_arrays([[3.0], [3.0]], [[0.5], [0.5]], ["Tumor"] * 2, query="T_cell")
    >>> amici_xr.curve_summary(ds, [0, 10])["mean"].sel(label="Tumor").values.round(4).tolist()
    [[0.5, 0.0067]]
    """
    check_structure(ds)
    distances = check_distance(ds, distance)
    distances = distances if distances.ndim else distances.expand_dims("distance")
    probabilities = _check_quantiles(quantiles)
    if by_sample:
        return for_each_sample(lambda part: curve_summary(part, distance, by, quantiles), ds)
    group_dim = "all_neighbors" if by is None else by

    def summarize(ds: xr.Dataset) -> xr.Dataset:
        names, codes = groups(ds, by)
        code = xr.DataArray(codes, dims="neighbor")
        sizes = {group_dim: names.size, "distance": distances.size}
        options = {"n_groups": names.size, "distance": distances.values}
        result = _mean_and_std(ds, code, sizes, options)
        if probabilities.size:
            result["quantiles"] = reduce_neighbors(
                attention.curve_quantiles,
                *scores(ds),
                code,
                sizes=sizes | {"quantile": probabilities.size},
                quantiles=probabilities,
                **options,
            ).assign_coords(quantile=probabilities)
        result = result.assign_coords({group_dim: names, "distance": distances})
        return result.isel({group_dim: 0}, drop=True) if by is None else result

    result = by_query(summarize, ds)
    for name, array in result.data_vars.items():
        array.attrs = {"long_name": f"{name} of counterfactual attention", "units": "1"}
    return result if np.ndim(distance) else result.squeeze("distance")


def _mean_and_std(
    ds: xr.Dataset, code: xr.DataArray, sizes: dict[str, int], options: dict[str, Any]
) -> xr.Dataset:
    """Combine the moments of each chunk of neighbors, in one pass and without the whole curves."""
    n_neighbors = ds.sizes["neighbor"]
    chunks = ds["base_attention_score"].variable.chunksizes.get("neighbor", (n_neighbors,))
    moments = [
        reduce_neighbors(
            attention.curve_moments,
            *scores(ds.isel(neighbor=slice(end - size, end))),
            code[end - size : end],
            sizes=sizes | {"moment": 3},
            **options,
        )
        for end, size in zip(np.cumsum(chunks), chunks, strict=True)
    ]
    parts = xr.concat(moments, dim="part")
    both: xr.DataArray = xr.apply_ufunc(
        _combine_parts,
        parts if parts.chunks is None else parts.chunk(part=-1),
        input_core_dims=[["part", "moment"]],
        output_core_dims=[["statistic"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"statistic": 2}},
    )
    return xr.Dataset({"mean": both.isel(statistic=0), "std": both.isel(statistic=1)})


def _combine_parts(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    return attention.mean_and_std(attention.combined_moments(parts))


def check_distance(ds: xr.Dataset, distance: ArrayLike | xr.DataArray) -> xr.DataArray:
    """Return distances as a labelled array, (distance) or a scalar, in the Dataset's unit."""
    if isinstance(distance, xr.DataArray) and not set(distance.dims) <= {"distance"}:
        raise ValueError(
            f"distance has dims {distance.dims}; a curve is taken at the same distances for every "
            "neighbor, so give a number or a sequence"
        )
    values = in_unit_of(ds, "distance", distance)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"distance={distance!r} must be numbers, e.g. distance=[0, 10, 20]")
    if not values.size:
        raise ValueError("distance is empty; give at least one number")
    if values.ndim > 1:
        raise ValueError(f"distance has shape {values.shape}; give a number or a 1-D sequence")
    wrong = values[~(np.isfinite(values) & (values >= 0))]
    if wrong.size:
        raise ValueError(
            f"distance holds {wrong[0]}; distances must be finite and at least 0, in any order"
        )
    dims = ("distance",) * values.ndim
    attributes = distance_attributes("distance", ds)
    labelled = xr.DataArray(values.astype(np.float64), dims=dims, name="distance", attrs=attributes)
    return labelled.assign_coords(distance=labelled)


def _check_quantiles(quantiles: Sequence[float] | None) -> NDArray[np.float64]:
    probabilities = np.asarray([] if quantiles is None else quantiles, dtype=np.float64)
    if probabilities.ndim != 1 or not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError(
            f"quantiles={quantiles!r} must be a sequence of numbers between 0 and 1, "
            "e.g. quantiles=[0.05, 0.95]"
        )
    return probabilities
