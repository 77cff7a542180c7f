"""Shares of the attention beside shares of the neighborhood."""

from __future__ import annotations

import xarray as xr

from amici_xr.analysis.observed_attention import attention_by_distance
from amici_xr.dataset.reduction import ordered


def attention_enrichment(ds: xr.Dataset, *, by_sample: bool = False) -> xr.Dataset:
    """Compare the attention that each sender gets with how many of the neighbors it makes up.

    Its share of all attention to neighbors (without the dummy) over its share of all neighbors in
    the neighborhoods: above 1 the model looks there more than composition explains.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), with neighborhoods. It needs no effects.
    by_sample
        Whether to treat each sample separately, which adds a ``sample`` dim.

    Returns
    -------
    xarray.Dataset
        ``enrichment`` and ``attention_share``, dims (label, head), ``neighborhood_share`` and
        ``n_pairs`` of receiver and neighbor, dims (label); ``query`` in front where `ds` has it.
        NaN for a label that stands in no neighborhood.

    Raises
    ------
    SchemaError
        If the Dataset has no neighborhoods, or lacks the score of a cell that stands in one.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> enriched = amici_xr.attention_enrichment(ds)
    >>> enriched.enrichment.dims
    ('label', 'head')
    >>> bool(abs((enriched.enrichment * enriched.neighborhood_share).sum("label") - 1).max() < 1e-9)
    True
    """
    observed = attention_by_distance(ds, bins=1, by_sample=by_sample).isel(
        distance_bin=0, drop=True
    )
    n_pairs = observed["n_pairs"]
    received = (observed["mean_attention"] * n_pairs).fillna(0)
    neighborhood_share = n_pairs / n_pairs.sum("label").where(n_pairs.sum("label") > 0)
    attention_share = (received / received.sum("label")).where(n_pairs > 0)
    result = xr.Dataset(
        {
            "enrichment": attention_share / neighborhood_share,
            "attention_share": attention_share,
            "neighborhood_share": neighborhood_share,
            "n_pairs": n_pairs,
        }
    ).drop_vars(["bin_lower", "bin_upper"], errors="ignore")
    long_names = {
        "enrichment": "attention share over neighborhood share",
        "attention_share": "share of the attention to neighbors",
        "neighborhood_share": "share of the neighbors",
        "n_pairs": "number of pairs of receiver and neighbor",
    }
    for name, long_name in long_names.items():
        result[name].attrs = {"long_name": long_name, "units": "1"}
    return ordered(result)
