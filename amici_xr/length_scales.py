"""Length scales, and how well the tissue supports them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from . import kernels
from .errors import SchemaError, check_fraction, check_sample_threshold
from .grouping import by_query, groups, ordered
from .schema import distance_attributes, has_neighborhoods, scores
from .validation import check_neighborhoods, check_structure


def length_scale(
    ds: xr.Dataset, threshold: float = 0.5, sample_threshold: float | None = 0.02
) -> xr.DataArray:
    """Length scale: the distance at which the weight of a neighbor falls to the threshold.

    ``L = (u/p)·(a − δ − logit t)``, floored at 0. With the artifact correction, all length scales
    of a (label, head) become 0 where too few receivers have a neighbor of that label nearer than
    the median length scale: such a reach is extrapolated, not seen (see `support`). To know which,
    a lazy Dataset is computed.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head).
    threshold
        The weight t, strictly between 0 and 1.
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
    threshold = check_fraction("threshold", threshold)
    sample_threshold = check_sample_threshold(sample_threshold)
    lengths = _uncorrected(ds, threshold)
    if sample_threshold is None:
        return ordered(lengths)
    share = support(ds, threshold, sample_threshold)["support"].sel(label=ds["label"])
    # Without a single receiver the share is NaN, and nothing supports the reach.
    lengths = lengths.where((share >= sample_threshold) | lengths.isnull(), 0.0)
    return ordered(lengths.assign_attrs(reach_attributes(threshold, sample_threshold)))


def support(
    ds: xr.Dataset, threshold: float = 0.5, sample_threshold: float | None = 0.02
) -> xr.Dataset:
    """How well the tissue supports the length scales of each label and head, and why not.

    With M the median length scale of a label in a head, and d the distances in the neighborhood
    of a receiver, the support is the share of receivers with ``min(d of that label) < M``, and the
    edge share that of receivers with ``max(d) < M``.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), with neighborhoods.
    threshold
        The weight t that defines the length scale, strictly between 0 and 1.
    sample_threshold
        Share of the receivers below which the artifact correction of `length_scale` applies.

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
            correction sets all to 0), ``beyond_neighborhood`` (`edge_share` above a half), ``ok``;
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
    threshold = check_fraction("threshold", threshold)
    sample_threshold = check_sample_threshold(sample_threshold)
    if not has_neighborhoods(ds):
        raise SchemaError(
            "this Dataset has no neighborhoods, so it can't tell which length scales the tissue "
            "supports: pass sample_threshold=None to leave the artifact correction out, or use a "
            "Dataset from extract"
        )
    check_neighborhoods(ds)
    result = by_query(lambda one: _support_of_one(one, threshold, sample_threshold), ds)
    return result.assign_attrs(reach_attributes(threshold, sample_threshold))


def reach_attributes(threshold: float, sample_threshold: float | None) -> dict[str, float]:
    """What a reduction of length scales is a reduction of; no `sample_threshold`, no correction."""
    corrected = {} if sample_threshold is None else {"sample_threshold": sample_threshold}
    return {"threshold": threshold} | corrected


def _support_of_one(ds: xr.Dataset, threshold: float, sample_threshold: float | None) -> xr.Dataset:
    lengths = _uncorrected(ds, threshold)
    names, codes = groups(ds, "label")

    def by_label(values: xr.DataArray, reduce: Any, empty: Any) -> xr.DataArray:
        reduced: xr.DataArray = xr.apply_ufunc(
            kernels.group_reduce,
            values,
            input_core_dims=[["neighbor"]],
            output_core_dims=[["label"]],
            kwargs={"codes": codes, "n_groups": names.size, "reduce": reduce, "empty": empty},
            keep_attrs="override",
        )
        return reduced.assign_coords(label=names)

    median = by_label(lengths, np.median, np.nan)
    any_reach = by_label(lengths > 0, np.any, False)
    count = xr.DataArray(np.bincount(codes, minlength=names.size), dims="label")

    distance = ds["neighborhood_distance"].transpose("receiver", "rank").values
    label = ds["neighborhood_label"].transpose("receiver", "rank").values
    nearest = kernels.nearest_distance(distance, label, names.size)
    edge = np.broadcast_to(kernels.edge_distance(distance)[:, np.newaxis], nearest.shape)
    result = xr.Dataset({"median_length_scale": median})
    for name, values in (("support", nearest), ("edge_share", edge)):
        result[name] = xr.apply_ufunc(
            kernels.share_below,
            values,
            median,
            input_core_dims=[["receiver", "label"], ["label"]],
            output_core_dims=[["label"]],
        )
    result["status"] = _status(result, any_reach, count > 0, sample_threshold)
    result["n_neighbors"] = count.broadcast_like(median)
    for variable in result.data_vars.values():
        variable.attrs = {"long_name": str(variable.name).replace("_", " ")}
    result["median_length_scale"].attrs = distance_attributes("median length scale", ds)
    for name in ("support", "edge_share"):
        result[name].attrs["units"] = "1"
    return result


def _status(
    result: xr.Dataset,
    any_reach: xr.DataArray,
    is_present: xr.DataArray,
    sample_threshold: float | None,
) -> xr.DataArray:
    """The first that applies, so the later ones are laid down first."""
    status = xr.full_like(result["support"], "ok", dtype="<U19")
    status = status.where(~(result["edge_share"] > 0.5), "beyond_neighborhood")
    if sample_threshold is not None:
        status = status.where(result["support"] >= sample_threshold, "too_few_receivers")
    status = status.where(result["median_length_scale"] != 0, "median_zero")
    status = status.where(any_reach, "no_reach")
    return status.where(is_present, "absent")


def _uncorrected(ds: xr.Dataset, threshold: float) -> xr.DataArray:
    lengths: xr.DataArray = xr.apply_ufunc(
        kernels.length_scale,
        *scores(ds),
        threshold,
        dask="parallelized",
        output_dtypes=[np.float64],
        keep_attrs="override",
    )
    lengths.attrs = distance_attributes("length scale", ds) | reach_attributes(threshold, None)
    return lengths.rename("length_scale")
