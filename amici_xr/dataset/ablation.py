"""How a sender was ablated, as it is recorded with the effects."""

from __future__ import annotations

import xarray as xr

ABLATED = (
    *("gene_effect", "gene_gain", "gene_effect_by_head", "gene_gain_by_head"),
    "prediction_gain",
)
ZEROED = "weights set to 0 after the softmax"
MASKED = "masked before the softmax"
_ATTRIBUTE = "ablation"


def ablation_of(ds: xr.Dataset) -> str | None:
    """Return how senders were ablated; None where the Dataset holds no effects of ablation."""
    recorded = [ds[name].attrs.get(_ATTRIBUTE, ZEROED) for name in ABLATED if name in ds.variables]
    return str(recorded[0]) if recorded else None


def describe_difference(first: xr.Dataset, other: xr.Dataset) -> str | None:
    """Say how the other Dataset differs from datasets[0] in its ablation, None where it does not.

    A Dataset without effects of ablation differs from none.
    """
    ours, theirs = ablation_of(first), ablation_of(other)
    if ours is None or theirs is None or ours == theirs:
        return None
    return (
        f"its senders are {theirs} ({_ATTRIBUTE}), those of datasets[0] {ours}; extract both with "
        "the same renormalize="
    )


def record_ablation(ds: xr.Dataset, ablation: str | None) -> xr.Dataset:
    """Record in the attributes of effects how senders were ablated; None records nothing."""
    if ablation is None:
        return ds
    changed = {name: ds[name].copy(deep=False) for name in ABLATED if name in ds.data_vars}
    for array in changed.values():
        array.attrs = array.attrs | {_ATTRIBUTE: ablation}
    return ds.assign(changed)
