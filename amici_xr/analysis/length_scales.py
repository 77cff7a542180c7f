"""Length scales and their support in the tissue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.reduction import (
    by_query,
    for_each_sample,
    for_each_threshold,
    groups,
    load_if_empty,
    ordered,
    read_once,
    rechunked,
    reduce_neighbors,
)
from amici_xr.dataset.schema import (
    NEIGHBORHOODS,
    distance_attributes,
    has_neighborhoods,
    neighborhoods,
    scores,
)
from amici_xr.dataset.structure import check_structure
from amici_xr.dataset.validation import check_neighborhoods
from amici_xr.errors import SchemaError, check_sample_threshold
from amici_xr.kernels import attention
from amici_xr.kernels.groups import (
    edge_distance,
    find_groups,
    group_reduce,
    nearest_distance,
    share_below,
    zero_unsupported,
)

REACHES = ("reachable", "beyond_neighborhood")  # status of pairs whose length scales are kept


def length_scale(
    ds: xr.Dataset,
    threshold: float | Sequence[float] = 0.5,
    sample_threshold: float | None = 0.02,
) -> xr.DataArray:
    """Compute length scales: the distance where a neighbor's weight falls to the threshold.

    ``L = (u/p)·(a − δ − logit t)``, floored at 0. With the artifact correction, all length scales
    of a (label, head) become 0 where too few receivers have a neighbor of that label nearer than
    the median length scale: such a reach is extrapolated, not observed (see `support`).

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head).
    threshold
        The weight t, strictly between 0 and 1; several add a ``threshold`` dim, last.
    sample_threshold
        Share of the receivers below which the correction applies; None leaves it out.

    Returns
    -------
    xarray.DataArray
        Length scale, float64, dims (neighbor, head), in the Dataset's unit of distance; NaN where
        a cell is not a neighbor of the query.

    Raises
    ------
    ValueError
        If a threshold lies out of its range.
    SchemaError
        If the Dataset has no neighborhoods (one read from a table) and `sample_threshold` is given.

    References
    ----------
    AMICI, doi:10.1101/2025.09.22.677860: length scales.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.from_arrays([[5.0]], [[0.5]], ["Tumor"], query="T_cell")
    >>> amici_xr.length_scale(ds, threshold=0.5, sample_threshold=None).item()
    4.0
    """
    check_structure(ds)
    share = check_sample_threshold(sample_threshold)
    loaded = load_if_empty(ds)

    def at_threshold(value: float) -> xr.DataArray:
        lengths = _uncorrected(loaded, value)
        if share is None:
            return ordered(lengths)
        return correct_length_scales(
            loaded, lengths, support(loaded, value, share)["support"], share
        )

    return for_each_threshold(at_threshold, threshold)


def correct_length_scales(
    ds: xr.Dataset, lengths: xr.DataArray, share: xr.DataArray, sample_threshold: float
) -> xr.DataArray:
    """Set the length scales of each (label, head) with too small a share of receivers to 0."""
    sizes = lengths.variable.chunksizes.items()
    share = rechunked(share, {"label": -1} | {dim: n for dim, n in sizes if dim in share.dims})
    code = find_groups(ds["label"].values, share["label"].values)
    result: xr.DataArray = xr.apply_ufunc(
        zero_unsupported,
        lengths,
        xr.DataArray(code, dims="neighbor"),
        # NaN without any receiver: nothing supports the reach
        (share >= sample_threshold).drop_vars("label").rename(label="_label"),
        input_core_dims=[[], [], ["_label"]],
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    result.attrs = lengths.attrs | {"sample_threshold": sample_threshold}
    return ordered(result)


def support(
    ds: xr.Dataset,
    threshold: float | Sequence[float] = 0.5,
    sample_threshold: float | None = 0.02,
    *,
    by_sample: bool = False,
) -> xr.Dataset:
    """Measure how well the tissue supports the length scales of each label and head.

    With M the median length scale of a label in a head, and d the distances in the neighborhood
    of a receiver, the support is the share of receivers with ``min(d of that label) < M``, and the
    edge share that of receivers with ``max(d) < M``.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), with neighborhoods.
    threshold
        The weight t that defines the length scale, strictly between 0 and 1; several add a
        ``threshold`` dim, last.
    sample_threshold
        Share of the receivers below which the artifact correction of `length_scale` applies.
    by_sample
        Whether to treat each sample separately, which adds a ``sample`` dim.

    Returns
    -------
    xarray.Dataset
        Dims (label, head):

        ``median_length_scale``
            before the correction;
        ``support``
            share of the receivers with a neighbor of the label strictly nearer than that median.
            Neighborhoods are cut at K cells, so this is a lower bound;
        ``edge_share``
            share of the receivers whose whole neighborhood lies strictly nearer than that median,
            which is therefore extrapolated for them;
        ``status``
            the first that applies of ``absent`` (no neighbor of that label), ``no_reach`` (every
            length scale is 0), ``median_zero`` (some reach, but the median is 0, so the correction
            sets all to 0 for any `sample_threshold` above 0), ``too_few_receivers`` (the
            correction sets all to 0), ``beyond_neighborhood`` (`edge_share` above a half),
            ``reachable`` (the tissue holds cells within the reach, which says nothing more);
        ``n_neighbors``
            number of neighbors of the label.

        An absent label has NaN and a count of 0.

    Raises
    ------
    ValueError
        If a threshold lies out of its range.
    SchemaError
        If the Dataset has no neighborhoods, or they do not fit its labels.

    References
    ----------
    AMICI, doi:10.1101/2025.09.22.677860: the artifact correction.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> sorted(amici_xr.support(ds).data_vars)
    ['edge_share', 'median_length_scale', 'n_neighbors', 'status', 'support']
    """
    check_structure(ds)
    share = check_sample_threshold(sample_threshold)
    if by_sample:
        return for_each_sample(lambda part: support(part, threshold, share), ds)
    if not has_neighborhoods(ds):
        raise SchemaError(
            "this Dataset has no neighborhoods, so the support of length scales in the tissue is "
            "unknown: to length_scale, bootstrap and the figures of a query pass "
            "sample_threshold=None, which leaves the artifact correction out; support and atlas "
            "need a Dataset from extract"
        )
    ds = read_once(ds, *NEIGHBORHOODS)

    def at_threshold(value: float) -> xr.Dataset:
        result = by_query(lambda part: _support_of_query(part, value, share), ds)
        return result.assign_attrs(reach_attributes(value, share))

    return for_each_threshold(at_threshold, threshold)


def reach_attributes(threshold: float, sample_threshold: float | None) -> dict[str, float]:
    """Return the attributes of a reduction of length scales; None: without the correction."""
    corrected = {} if sample_threshold is None else {"sample_threshold": sample_threshold}
    return {"threshold": threshold} | corrected


def _support_of_query(
    ds: xr.Dataset, threshold: float, sample_threshold: float | None
) -> xr.Dataset:
    check_neighborhoods(ds)
    lengths = _uncorrected(ds, threshold)
    names, codes = groups(ds, "label")
    by_label: dict[str, Any] = {
        "sizes": {"label": names.size},
        "codes": codes,
        "n_groups": names.size,
    }
    median = reduce_neighbors(group_reduce, lengths, reduce=np.median, **by_label)
    any_reach = reduce_neighbors(
        group_reduce, lengths > 0, dtype=bool, reduce=np.any, empty=False, **by_label
    )
    _, distance, label = neighborhoods(ds)
    nearest = nearest_distance(distance, label, names.size)
    edge = np.broadcast_to(edge_distance(distance)[:, np.newaxis], nearest.shape)
    result = {"median_length_scale": median}
    for name, values in (("support", nearest), ("edge_share", edge)):
        result[name] = xr.apply_ufunc(
            share_below,
            median,
            input_core_dims=[["label"]],
            output_core_dims=[["label"]],
            kwargs={"values": values},
            dask="parallelized",
            output_dtypes=[np.float64],
        )
    count = xr.DataArray(np.bincount(codes, minlength=names.size), dims="label")
    result["status"] = xr.apply_ufunc(
        _status,
        count > 0,
        any_reach,
        *(result[name] for name in ("median_length_scale", "support", "edge_share")),
        kwargs={"sample_threshold": sample_threshold},
        dask="parallelized",
        output_dtypes=[np.dtype("<U19")],
    )
    result["n_neighbors"] = count.broadcast_like(median)
    for name, array in result.items():
        array.attrs = {"long_name": name.replace("_", " ")}
    result["median_length_scale"].attrs = distance_attributes("median length scale", ds)
    for name in ("support", "edge_share"):
        result[name].attrs["units"] = "1"
    return xr.Dataset(result).assign_coords(label=names)


def _status(
    is_present: NDArray[np.bool_],
    any_reach: NDArray[np.bool_],
    median: NDArray[np.float64],
    support: NDArray[np.float64],
    edge_share: NDArray[np.float64],
    sample_threshold: float | None,
) -> NDArray[np.str_]:
    """Return the first status that applies."""
    too_few = np.zeros(support.shape, bool)
    if sample_threshold is not None:
        too_few = ~(support >= sample_threshold)  # also where there is no receiver at all
    status = {
        "absent": ~is_present,
        "no_reach": ~any_reach,
        "median_zero": median == 0,
        "too_few_receivers": too_few,
        "beyond_neighborhood": edge_share > 0.5,
    }
    conditions = np.broadcast_arrays(*status.values())
    return np.select(conditions, list(status), "reachable").astype("<U19")


def _uncorrected(ds: xr.Dataset, threshold: float) -> xr.DataArray:
    lengths: xr.DataArray = xr.apply_ufunc(
        attention.length_scale,
        *scores(ds),
        threshold,
        dask="parallelized",
        output_dtypes=[np.float64],
        keep_attrs="override",
    )
    lengths.attrs = distance_attributes("length scale", ds) | reach_attributes(threshold, None)
    return lengths.rename("length_scale")
