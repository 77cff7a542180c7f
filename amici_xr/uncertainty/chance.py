"""What chance gives: the reach of each pair in models of a permuted tissue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.length_scales import REACHES, support
from amici_xr.dataset.kinds import kind_of
from amici_xr.dataset.reduction import ordered, rechunked
from amici_xr.dataset.schema import distance_attributes, distance_unit
from amici_xr.dataset.selection import samples
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import SchemaError, listed
from amici_xr.uncertainty.evidence import types_of

CHANCE = ("chance_lower", "chance_upper", "within_chance")
_PAIR = ("query", "label")


def check_chance(ds: xr.Dataset, chance: xr.Dataset, *, by_sample: bool = False) -> None:
    """Refuse as `chance` what is not a Dataset of scores, or of another tissue than `ds`."""
    if not isinstance(chance, xr.Dataset):
        raise TypeError(
            f"chance must be an xarray.Dataset, not {type(chance).__name__}; open_dataset reads "
            "one from its file"
        )
    if (kind := kind_of(chance)) != "scores":
        raise SchemaError(
            f"chance is a Dataset of the kind {kind!r}; give scores of a model of the permuted "
            "tissue, extract(train(adata, …, permute='expression'))"
        )
    check_structure(chance)
    units = [distance_unit(each) or "unknown" for each in (ds, chance)]
    if units[0] != units[1]:
        raise ValueError(
            f"the unit of chance is {units[1]!r}, that of ds {units[0]!r}; extract both with the "
            "same unit="
        )
    types = [set(types_of(each)) for each in (ds, chance)]
    if types[0] != types[1]:
        raise ValueError(
            f"chance is of other cell types than ds: it holds {listed(sorted(types[1]))}, and ds "
            f"{listed(sorted(types[0]))}; train both on the same labels of the same tissue"
        )
    _check_holds("query", [np.atleast_1d(each["query"].values) for each in (ds, chance)])
    if by_sample:
        _check_holds("sample", [samples(each) for each in (ds, chance)])


def _check_holds(name: str, values: Sequence[NDArray[np.str_]]) -> None:
    """Refuse chance without some of what `ds` has; it may have more."""
    ours, theirs = (sorted({str(value) for value in each}) for each in values)
    if missing := [value for value in ours if value not in theirs]:
        raise ValueError(
            f"chance lacks the {name} {listed(missing)}: it holds {listed(theirs)}, and ds "
            f"{listed(ours)}; extract it as ds was extracted"
        )


def join_chance(
    pairs: xr.Dataset,
    chance: xr.Dataset,
    threshold: float | Sequence[float],
    sample_threshold: float | None,
    *,
    by_sample: bool = False,
) -> xr.Dataset:
    """Add to an atlas how far each pair reaches in models of the permuted tissue.

    Parameters
    ----------
    pairs
        The atlas, with coordinates ``query`` and ``label``, each a dim or a scalar.
    chance
        Scores that `check_chance` has passed, of one training run or, along ``run``, several.
    threshold, sample_threshold, by_sample
        Those of the atlas.

    Returns
    -------
    xarray.Dataset
        `pairs` with ``chance_lower``, ``chance_upper`` and ``within_chance``.
    """
    reach = strongest_reach(support(chance, threshold, sample_threshold, by_sample=by_sample))
    runs = rechunked(reach, {"run": -1}) if "run" in reach.dims else reach.expand_dims("run")
    ends = xr.Dataset({"chance_lower": runs.min("run"), "chance_upper": runs.max("run")})
    for name, end in (("chance_lower", "smallest"), ("chance_upper", "largest")):
        long_name = f"{end} reach of the pair in models of the permuted tissue"
        ends[name].attrs = distance_attributes(long_name, chance)
    ends = _align(ends, pairs)
    is_within = strongest_reach(pairs) <= ends["chance_upper"]
    is_within.attrs = {"long_name": "reach not above that in models of the permuted tissue"}
    ends["within_chance"] = is_within
    return ordered(pairs.assign({name: ends[name].variable for name in CHANCE}))


def strongest_reach(pairs: xr.Dataset) -> xr.DataArray:
    """Return the reach of the strongest head: 0 where none has a reach, NaN without neighbors."""
    median = pairs["median_length_scale"]
    reach = median.where(pairs["status"].isin(REACHES), 0.0).where(median.notnull())
    if "head" not in reach.dims:
        return reach
    return reach.max("head", skipna=False) if reach.sizes["head"] else reach.sum("head")


def _align(ends: xr.Dataset, pairs: xr.Dataset) -> xr.Dataset:
    """Order the ends of the range by the names of an atlas, with its dims alone."""
    ends = ends.expand_dims([dim for dim in _PAIR if dim not in ends.dims])
    dims = [dim for dim in ("sample", *_PAIR) if dim in ends.dims]
    ends = ends.assign_coords({dim: ends[dim].astype(str) for dim in dims})
    ends = ends.reindex({dim: np.atleast_1d(pairs[dim].values).astype(str) for dim in dims})
    ends = ends.isel({dim: 0 for dim in _PAIR if dim not in pairs.dims})
    return ends.drop_vars([name for name in ends.coords if name not in ends.dims])
