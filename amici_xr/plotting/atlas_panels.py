"""What each panel of the atlas shows: pairs of receiver and sender, with the head drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.length_scales import REACHES
from amici_xr.dataset.structure import is_valid_structure
from amici_xr.errors import check_fraction, check_names, listed
from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.chance_marks import CHANCE
from amici_xr.plotting.shared.evidence_marks import EVIDENCE
from amici_xr.uncertainty.evidence import check_types, join_evidence, read_evidence, types_of
from amici_xr.uncertainty.pair_atlas import (
    atlas,
    strongest_by_attention,
    strongest_by_reach,
)

_DRAWN = {"median_length_scale", "status"}
_COUNTS = {"query": "n_receivers", "label": "n_neighbors"}
_FURTHER = ("attention_at_contact", "neighborhood_edge", *_COUNTS.values(), *EVIDENCE, *CHANCE)
FEW = 10  # fewer cells than these are told beside the name of their type


def pairs_of(
    ds: xr.Dataset,
    threshold: float,
    sample_threshold: float | None,
    evidence: xr.Dataset | Sequence[xr.Dataset] | None,
    significance_level: float,
    chance: xr.Dataset | None,
) -> xr.Dataset:
    """Return what is drawn, dims (query, label, head), from an atlas or a Dataset of scores."""
    is_atlas = isinstance(ds, xr.Dataset) and set(ds.data_vars) >= _DRAWN
    if is_atlas and not is_valid_structure(ds):
        if chance is not None:
            raise ValueError(
                "chance must be summarized with the thresholds of the atlas; give it to the atlas, "
                "plot_atlas(atlas(ds, …, chance=chance))"
            )
        level = check_fraction("significance_level", significance_level)
        kinds = read_evidence(evidence)
        check_types(types_of(ds), kinds)
        bare = ds.drop_vars(EVIDENCE, errors="ignore")
        pairs = join_evidence(bare, kinds, level) if kinds else ds
    else:
        pairs = atlas(
            ds,
            threshold,
            sample_threshold,
            evidence=evidence,
            significance_level=significance_level,
            chance=chance,
        )
    further = sorted(map(str, set(pairs["status"].dims) - {"query", "label", "head"}))
    if further:
        dim = further[0]
        raise ValueError(
            f"the atlas has a {dim} dim ({listed(pairs[dim].values)}); draw one at a time, e.g. "
            f"atlas.isel({dim}=0)"
        )
    pairs = pairs[[name for name in (*_DRAWN, *_FURTHER) if name in pairs]].compute()
    scalar = [dim for dim in ("query", "label", "head") if dim not in pairs.dims]
    pairs = pairs.expand_dims(scalar).transpose("query", "label", "head")
    if not all(pairs.sizes.values()):
        raise ValueError(f"the atlas is empty, with sizes {dict(pairs.sizes)}; nothing to draw")
    return pairs


def panels_of(pairs: xr.Dataset, heads: int | Sequence[int] | None) -> dict[str, xr.Dataset]:
    """Return what each panel shows by its title: dims (query, label), with the head drawn."""
    pairs = pairs.assign(head_drawn=pairs["head"])
    every_head = pairs["head"].values.tolist()
    if heads is None and len(every_head) == 1:
        heads = every_head
    if heads is not None:
        chosen = np.atleast_1d(heads).tolist()
        check_names("heads", chosen, every_head, "head")
        return {f"head {head}": pairs.sel(head=head) for head in chosen}
    strongest = strongest_by_reach(pairs)
    if "attention_at_contact" in pairs:
        strongest = strongest.where(strongest >= 0, strongest_by_attention(pairs))
    panel = pairs.sel(head=strongest.where(strongest >= 0, every_head[0]))
    return {"strongest head": panel}


def names_of(pairs: xr.Dataset, dim: str) -> list[str]:
    """Return the cell types along `dim`, with their number of cells where these are few."""
    names = [marks.shorten_upright(str(name)) for name in pairs[dim].values]
    if _COUNTS[dim] not in pairs:  # an atlas that was put together by hand
        return names
    count = pairs[_COUNTS[dim]]
    numbers = count.max([other for other in count.dims if other != dim]).values
    return [
        f"{name} (n = {number})" if 0 < number < FEW else name
        for name, number in zip(names, np.broadcast_to(numbers, len(names)), strict=True)
    ]


def colored_lengths(panel: xr.Dataset) -> NDArray[np.float64]:
    """Return the length scales that have a color, NaN elsewhere, (query, label)."""
    lengths = panel["median_length_scale"].where(panel["status"] == "reachable")
    return values_of(panel, lengths).astype(np.float64)


def has_reach_of(panel: xr.Dataset) -> NDArray[np.bool_]:
    """Tell which pairs have a reach, within the neighborhoods or beyond, (query, label)."""
    return values_of(panel, panel["status"].isin(REACHES))


def values_of(panel: xr.Dataset, array: xr.DataArray) -> NDArray[Any]:
    """Return the values of a variable of pairs, or of some of their dims, (query, label)."""
    return np.asarray(array.broadcast_like(panel["status"]).transpose("query", "label").values)
