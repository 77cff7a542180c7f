"""Atlas of all pairs of receiver and sender."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from amici_xr.analysis.curves import curve_summary
from amici_xr.analysis.length_scales import REACHES, length_scale, support
from amici_xr.dataset.reduction import (
    STATISTICS,
    Statistic,
    for_each_sample,
    for_each_threshold,
    ordered,
    read_once,
    rechunked,
    summary_of_labels,
)
from amici_xr.dataset.schema import NEIGHBORHOODS, distance_attributes
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import check_choice, check_fraction
from amici_xr.kernels.groups import edge_distance
from amici_xr.uncertainty.chance import check_chance, join_chance
from amici_xr.uncertainty.evidence import check_types, join_evidence, read_evidence, types_of
from amici_xr.uncertainty.intervals import check_resampling_unit
from amici_xr.uncertainty.length_scale_intervals import bootstrap

OF_INTERVALS = ("ci_lower", "ci_upper", "effective_patches", "n_samples", "interval_status")


def atlas(
    ds: xr.Dataset,
    threshold: float | Sequence[float] = 0.5,
    sample_threshold: float | None = 0.02,
    statistic: Statistic = "median",
    confidence_level: float = 0.95,
    resampling_unit: Literal["cell", "spatial", "sample"] = "cell",
    *,
    by_sample: bool = False,
    evidence: xr.Dataset | Sequence[xr.Dataset] | None = None,
    significance_level: float = 0.05,
    chance: xr.Dataset | None = None,
) -> xr.Dataset:
    """Summarize each pair of receiver and sender in each head, with the evidence for it.

    The length scales ``L = max(0, (u/p)·(a − δ − logit t))`` are summarized *before* the artifact
    correction; `status` says where it would set them to 0, and why. A reach says how far the model
    looks, and nothing of whether the pair interacts: that is what `evidence` is for.

    Parameters
    ----------
    ds
        The Dataset, dims (query, neighbor, head), or of one query, with neighborhoods.
    threshold
        The weight t, strictly between 0 and 1; several add a ``threshold`` dim, last.
    sample_threshold
        Share of the receivers below which the artifact correction would apply, for `status`.
    statistic
        Statistic whose confidence interval is computed, "median" or "mean".
    confidence_level
        Coverage of the interval, strictly between 0 and 1.
    resampling_unit
        "cell", "spatial" or "sample", as in `bootstrap`.
    by_sample
        Whether to treat each sample separately, which adds a ``sample`` dim.
    evidence
        Which pairs interact: the result of `distance_response` (called "tissue"), of
        `prediction_gain` on held-out cells ("held_out_gain"), of refits without each sender
        ("refits"), or several of them. Pairs are aligned by names.
    significance_level
        Value of q below which a kind of evidence supports a pair, strictly between 0 and 1.
    chance
        Scores of one or, along ``run``, several models that were trained on the permuted tissue,
        ``extract(train(adata, …, permute="expression"))``, trained and extracted as `ds` was:
        how far a pair reaches where no cell responds to another. It may hold further queries.

    Returns
    -------
    xarray.Dataset
        Dims (query, label, head), without ``query`` if `ds` has none:

        ``median_length_scale``, ``mean_length_scale``
            over the neighbors of the label;
        ``ci_lower``, ``ci_upper``
            the confidence interval of the `statistic`; see `bootstrap` for its assumptions;
        ``effective_patches`` or ``n_samples``, ``interval_status``
            with another `resampling_unit` than cells, as from `bootstrap`;
        ``support``, ``edge_share``, ``status``
            as from `support`;
        ``attention_at_contact``
            mean weight ``σ(a − δ)`` at distance 0;
        ``n_neighbors``, ``n_receivers``
            number of cells of the label, and of the query;
        ``neighborhood_edge``
            dims (query): where neighborhoods end, the median over receivers of the distance to the
            farthest neighbor;
        ``strongest_by_reach``, ``strongest_by_attention``
            dims (query, label): the head with the largest median length scale among those whose
            status is "reachable" or "beyond_neighborhood", and that with the largest attention at
            contact; −1 if there is none;
        ``q_value_tissue``, ``q_value_held_out_gain``, ``q_value_refits``
            dims (query, label): q of each kind of `evidence` that was given, NaN where it did not
            test the pair;
        ``q_value_strict_tissue``
            with a distance response: q of the genes that spillover can't explain;
        ``evidence``
            ``supported``, ``not_supported`` or ``not_tested`` (by any kind). Each kind supports a
            pair by itself, with one exception: where refits tested a pair, they outrank gains on
            held-out cells, since within one model senders stand in for each other, and a pair that
            only masking supports is often that of another sender;
        ``supported_by``
            the kinds that support the pair, joined by commas;
        ``chance_lower``, ``chance_upper``
            dims (query, label), with `chance`: the smallest and the largest reach of the pair among
            the runs of chance. The reach is that of the strongest head by reach: the largest median
            length scale over heads whose status is "reachable" or "beyond_neighborhood", 0 where
            there is none, and NaN where the query has no such neighbor;
        ``within_chance``
            with `chance`: whether the pair's own reach, by the same definition, is at most
            ``chance_upper``; False where either is NaN. It describes, and tests nothing: runs are
            few, and each pair has a range of its own.

    Raises
    ------
    ValueError
        If an argument lies out of its range, `evidence` or `chance` is of other cell types, or
        `chance` is in another unit or lacks a query or, with `by_sample`, a sample.
    SchemaError
        If the Dataset has no neighborhoods, or they do not fit its labels; if `evidence` is of
        another kind, or in-sample; or if `chance` is not a Dataset of scores.

    References
    ----------
    AMICI, doi:10.1101/2025.09.22.677860: length scales and the artifact correction.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(["A", "B"], n_cells=200)
    >>> pairs = amici_xr.atlas(ds, threshold=0.1)
    >>> pairs.median_length_scale.dims
    ('query', 'label', 'head')
    >>> pairs.strongest_by_reach.dims
    ('query', 'label')
    """
    check_structure(ds)
    significance_level = check_fraction("significance_level", significance_level)
    kinds = read_evidence(evidence)
    check_types(types_of(ds), kinds)
    if chance is not None:
        check_chance(ds, chance, by_sample=by_sample)
    pairs = _summarize_pairs(
        ds, threshold, sample_threshold, statistic, confidence_level, resampling_unit, by_sample
    )
    pairs = join_evidence(pairs, kinds, significance_level)
    if chance is None:
        return pairs
    return join_chance(pairs, chance, threshold, sample_threshold, by_sample=by_sample)


def _summarize_pairs(
    ds: xr.Dataset,
    threshold: float | Sequence[float],
    sample_threshold: float | None,
    statistic: Statistic,
    confidence_level: float,
    resampling_unit: Literal["cell", "spatial", "sample"],
    by_sample: bool,
) -> xr.Dataset:
    """Return the atlas without evidence."""
    check_choice("statistic", statistic, tuple(STATISTICS))
    check_resampling_unit(resampling_unit, ("cell", "spatial", "sample"), None)
    if by_sample and resampling_unit == "sample":
        raise ValueError(
            "resampling_unit='sample' is over the samples and by_sample=True takes each by itself; "
            "choose one"
        )
    if by_sample:
        return for_each_sample(
            lambda part: _summarize_pairs(
                part,
                threshold,
                sample_threshold,
                statistic,
                confidence_level,
                resampling_unit,
                by_sample=False,
            ),
            ds,
        )
    ds = read_once(ds, *NEIGHBORHOODS)

    def summarize(value: float) -> xr.Dataset:
        interval = bootstrap(
            ds, value, None, statistic, confidence_level, resampling_unit=resampling_unit
        )
        return _reach(ds, value, sample_threshold, interval)

    result = for_each_threshold(summarize, threshold)
    contact = curve_summary(ds, 0.0)["mean"].drop_vars("distance")
    result["attention_at_contact"] = contact.assign_attrs(
        long_name="mean attention at contact", units="1"
    )
    result["strongest_by_attention"] = strongest_by_attention(result)
    result["n_receivers"] = _n_receivers(ds)
    result["neighborhood_edge"] = _neighborhood_edge(ds)
    return ordered(result)


def _reach(
    ds: xr.Dataset,
    threshold: float,
    sample_threshold: float | None,
    interval: xr.Dataset,
) -> xr.Dataset:
    result = support(ds, threshold, sample_threshold)
    mean = summary_of_labels(ds, length_scale(ds, threshold, None), "mean")
    result["mean_length_scale"] = mean
    result["mean_length_scale"].attrs = distance_attributes("mean length scale", ds)
    result = result.assign({name: interval[name] for name in OF_INTERVALS if name in interval})
    result["strongest_by_reach"] = strongest_by_reach(result)
    return result.assign_attrs(
        {name: interval.attrs[name] for name in ("statistic", "confidence_level")}
    )


def strongest_by_reach(pairs: xr.Dataset) -> xr.DataArray:
    """Name the head of the largest median length scale with support, −1 if there is none."""
    median = pairs["median_length_scale"]
    is_supported = pairs["status"].isin(REACHES) & (median > 0)
    return _name_strongest(median.where(is_supported), "median length scale")


def strongest_by_attention(pairs: xr.Dataset) -> xr.DataArray:
    """Name the head of the largest attention at contact, −1 if there is no such neighbor."""
    return _name_strongest(pairs["attention_at_contact"], "attention at contact")


def _name_strongest(values: xr.DataArray, quantity: str) -> xr.DataArray:
    """Name the head of the largest value, −1 where all are NaN."""
    if "head" not in values.dims:
        values = values.expand_dims("head", axis=-1)
    if values.sizes["head"]:
        strongest = rechunked(values, {"head": -1}).idxmax("head", fill_value=-1)
    else:
        strongest = xr.full_like(values.sum("head"), -1, dtype=np.int64)
    strongest.attrs = {"long_name": f"head of the largest {quantity}"}
    return strongest


def _n_receivers(ds: xr.Dataset) -> xr.DataArray:
    label = ds["receiver_label"].values
    query = ds["query"]
    count = [int((label == name).sum()) for name in np.atleast_1d(query.values)]
    attributes = {"long_name": "number of receivers"}
    return xr.DataArray(np.reshape(count, query.shape), dims=query.dims, attrs=attributes)


def _neighborhood_edge(ds: xr.Dataset) -> xr.DataArray:
    """Return the median over each query's receivers of the distance to the farthest neighbor."""
    edge = edge_distance(ds["neighborhood_distance"].transpose("receiver", "rank").values)
    label = ds["receiver_label"].values
    query = ds["query"]
    is_known = np.isfinite(edge)
    edges = [edge[is_known & (label == name)] for name in np.atleast_1d(query.values)]
    medians = [np.median(values) if values.size else np.nan for values in edges]
    attributes = distance_attributes("median distance to the farthest neighbor", ds)
    return xr.DataArray(np.reshape(medians, query.shape), dims=query.dims, attrs=attributes)
