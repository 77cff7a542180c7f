"""Length scales among the competitors of an observed neighborhood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import xarray as xr

from amici_xr.analysis.length_scales import reach_attributes
from amici_xr.analysis.observed_attention import for_receivers, reduce_receivers
from amici_xr.dataset.reduction import for_each_threshold
from amici_xr.dataset.schema import distance_attributes, neighborhoods
from amici_xr.errors import check_choice
from amici_xr.kernels import competition
from amici_xr.kernels.groups import edge_distance

Competitors = Literal["other_labels", "all"]


def in_context_length_scale(
    ds: xr.Dataset,
    threshold: float | Sequence[float] = 0.5,
    competitors: Competitors = "other_labels",
) -> xr.Dataset:
    """Compute the length scale of each neighbor among its competitors for attention.

    `length_scale` lets a neighbor compete with the dummy alone. In the tissue, others compete too,
    and raise the bar from δ to ``δ* = logsumexp(δ, s_k)`` over the competitors k, each at its
    observed distance, ``s_k = a_k − p_k·d_k/u``. So ``L* = max(0, (u/p_j)·(a_j − δ* − logit t))``:
    how far away neighbor j could stand and still have the weight t against the dummy and its
    competitors. ``L* ≤ L``, and without competitors ``L* = L``.

    This is a distance of attention, not of an effect. A model's scores are known up to a constant
    that a and δ share, and a factor that p and u share: only ``a − δ`` and ``p/u`` are
    identified, and L and L* depend on nothing else.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), with neighborhoods.
    threshold
        The weight t, strictly between 0 and 1; several add a ``threshold`` dim, last.
    competitors
        Who competes with neighbor j: "other_labels", the neighbors of the same receiver whose cell
        type is not j's; or "all" its other neighbors. Cells of one type share the attention to
        the type, so with "all" a type seems to reach less far the more of its cells are there.

    Returns
    -------
    xarray.Dataset
        Dims (receiver, head, rank): ``in_context_length_scale``, float64, in the Dataset's unit of
        distance, NaN where there is no neighbor; and ``is_beyond_neighborhood``, whether it is
        larger than the distance of the receiver's farthest neighbor, and so extrapolated. With
        several queries, the receivers of all of them. The artifact correction is not applied.

    Raises
    ------
    ValueError
        If an argument lies out of its range.
    SchemaError
        If the Dataset has no neighborhoods, or lacks the score of a cell that stands in one,
        or scores are NaN.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> in_context = amici_xr.in_context_length_scale(ds, threshold=0.1)
    >>> in_context.in_context_length_scale.dims
    ('receiver', 'head', 'rank')
    """
    check_choice("competitors", competitors, get_args(Competitors))
    return for_each_threshold(lambda value: _at_threshold(ds, value, competitors), threshold)


def _at_threshold(ds: xr.Dataset, threshold: float, competitors: str) -> xr.Dataset:
    def of_query(ds: xr.Dataset) -> xr.Dataset:
        lengths = reduce_receivers(
            competition.in_context_length_scale,
            ds,
            ("receiver", "rank"),
            threshold=threshold,
            among_same_label=competitors == "all",
        )
        _, distance, _ = neighborhoods(ds)
        edge = xr.DataArray(edge_distance(distance), dims="receiver")
        return xr.Dataset(
            {"in_context_length_scale": lengths, "is_beyond_neighborhood": lengths > edge}
        )

    result = for_receivers(of_query, ds)
    length_attributes = distance_attributes("in-context length scale", ds)
    result["in_context_length_scale"].attrs = length_attributes
    result["is_beyond_neighborhood"].attrs = {
        "long_name": "whether the length scale is larger than the farthest neighbor's distance"
    }
    return result.assign_attrs(reach_attributes(threshold, None) | {"competitors": competitors})
