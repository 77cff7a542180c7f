"""Length scales compared between conditions, with biological samples as the independent units."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.length_scales import length_scale
from amici_xr.dataset.reduction import (
    STATISTICS,
    Statistic,
    by_query,
    groups,
    ordered,
    reduce_neighbors,
)
from amici_xr.dataset.schema import distance_attributes
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import check_choice, check_fraction, check_positive_integer, check_seed
from amici_xr.kernels import permutation
from amici_xr.kernels.groups import group_reduce
from amici_xr.kernels.permutation import FEWEST_UNITS
from amici_xr.uncertainty.study_design import StudyDesign, study_design

HeadSummary = Literal["each", "max"]


def contrast(
    ds: xr.Dataset,
    by: str | Mapping[str, str | None],
    *,
    biological_sample: str | Mapping[str, str] | None = None,
    threshold: float = 0.5,
    statistic: Statistic = "median",
    head_summary: HeadSummary | None = None,
    n_resamples: int = 9_999,
    random_state: int | None = 42,
) -> xr.Dataset:
    """Difference in length scale between groups of samples, with a permutation test of each.

    Cells are no replicates: those of one sample share its animal, its section and the model's fit.
    So the uncorrected length scales of each (sample, query, label, head) are first reduced to one
    number, those of runs and of sections of the same biological sample are averaged, and only these
    units are compared: ``t = (mean₂ − mean₁) / √(s₁²/n₁ + s₂²/n₂)``, where p is the share of the
    labelings of the units whose ``|t|`` is at least the observed one. Under exchangeable units that
    is exact for any statistic; Welch's t makes it asymptotically valid too where groups of unequal
    size and spread have equal means.

    Everything is computed at once, also of a chunked Dataset.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), with the coordinate ``neighbor_sample``.
    by
        The group of each sample: a mapping from every sample of the Dataset, None for those to be
        left out (samples that the Dataset lacks do not matter); or the name of a coordinate on
        ``neighbor`` that is constant within each sample, missing where it is to be left out. A
        difference is that of a later group minus an earlier one, in the order in which a mapping
        names them, sorted for a coordinate.
    biological_sample
        The independent unit (animal, donor) of each sample, a mapping or coordinate likewise, where
        several sections come from one of them. None takes each sample as a unit of its own.
    threshold
        The weight t that defines the length scale, strictly between 0 and 1.
    statistic
        "median" or "mean" over the neighbors of a label in a sample.
    head_summary
        "each" compares every head by itself; "max" the largest of the heads' summaries, which needs
        no matching of heads between runs and leaves no ``head`` dim. None is "max" where the scores
        have a ``run`` dim, and "each" elsewhere; "each" with runs leaves unmatched heads out.
    n_resamples
        All labelings are enumerated where these are at most so many; else so many are drawn, with
        ``p = (1 + b)/(1 + R)``.
    random_state
        Seed of the labelings that are drawn.

    Returns
    -------
    xarray.Dataset
        Dims (label, head, comparison), every two groups being a ``comparison`` with the coordinates
        ``group_1``, ``group_2`` and ``note``, which says why a comparison has no p:

        ``difference``
            ``mean_2 − mean_1``, in the Dataset's unit of distance;
        ``studentized_difference``
            t; infinite where neither group varies;
        ``p_value``, ``q_value``
            p, and p adjusted by Benjamini and Hochberg over all tests of the result, `n_tests`;
        ``min_attainable_p``
            the least p that so many units can give, whatever their values: 2/C(10, 5) = 0.008 for
            5 against 5. No q lies below it times `n_tests` over the number of tests found at
            that q;
        ``is_enumerated``
            whether p counts all labelings;
        ``mean_1``, ``mean_2``, ``n_units_1``, ``n_units_2``
            mean and number of the units of each group in which the label occurs;
        ``status``
            the first that applies of ``absent`` (a group without the label), ``too_few_units``
            (fewer than 2 in a group), ``constant`` (all units are equal, mostly 0: no labeling
            differs from another, so nothing is tested), ``ok``. Only the last has a p;
        ``n_tests``
            the number of p, a scalar.

    Warns
    -----
    UserWarning
        If a group has fewer than 2 units; its comparisons have no p.

    Raises
    ------
    ValueError
        If an argument lies out of its range, there are fewer than two groups, a coordinate varies
        within a sample, or a biological sample has sections in several groups.
    NotFoundError
        If a mapping lacks a sample, or a name is no coordinate on ``neighbor``.
    SchemaError
        If the Dataset has no ``neighbor_sample``.

    References
    ----------
    Janssen, Statistics & Probability Letters 36, 9 (1997): studentized permutation tests.
    Phipson & Smyth, Stat. Appl. Genet. Mol. Biol. 9, 39 (2010): p of random labelings.
    Benjamini & Hochberg, J. R. Stat. Soc. B 57, 289 (1995).

    Examples
    --------
    >>> import amici_xr
    >>> samples = ["a", "b", "c", "d", "e", "f"]
    >>> ds = amici_xr.from_arrays(
    ...     [[4.0], [4.5], [5.0], [6.0], [6.5], [7.0]], [[0.5]] * 6, ["Tumor"] * 6,
    ...     query="T_cell", neighbor_sample=samples,
    ... )
    >>> group = dict.fromkeys("abc", "control") | dict.fromkeys("def", "treated")
    >>> result = amici_xr.contrast(ds, group).sel(label="Tumor", head=0)
    >>> result.difference.item(), result.p_value.item()
    (4.0, 0.1)
    """
    check_structure(ds)
    threshold = check_fraction("threshold", threshold)
    check_choice("statistic", statistic, tuple(STATISTICS))
    if head_summary is None:
        head_summary = "max" if "run" in ds["base_attention_score"].dims else "each"
    check_choice("head_summary", head_summary, get_args(HeadSummary))
    n_resamples = check_positive_integer("n_resamples", n_resamples)
    random_state = check_seed(random_state)
    design = study_design(ds, by, biological_sample)
    units = _units(_by_sample(ds, design, threshold, statistic), design, head_summary)
    pairs = list(itertools.combinations(design.groups, 2))
    result = xr.concat(
        [_compared(units, design, pair, n_resamples, random_state) for pair in pairs],
        dim="comparison",
    )
    notes = [design.note(*pair) for pair in pairs]
    result = result.assign_coords(
        comparison=[f"{second} - {first}" for first, second in pairs],
        group_1=("comparison", [first for first, _ in pairs]),
        group_2=("comparison", [second for _, second in pairs]),
        note=("comparison", notes),
    )
    result["q_value"] = result["p_value"].copy(
        data=permutation.benjamini_hochberg(result["p_value"].values)
    )
    result["n_tests"] = result["p_value"].count()
    result = _described(ordered(result).transpose(..., "comparison"), ds)
    result.attrs = {
        "threshold": threshold,
        "statistic": statistic,
        "head_summary": head_summary,
        "n_resamples": n_resamples,
        "groups": json.dumps(design.group_of_sample, ensure_ascii=False),
        "biological_samples": json.dumps(design.unit_of_sample, ensure_ascii=False),
    } | ({} if random_state is None else {"random_state": random_state})
    if any(notes):
        warnings.warn("; ".join(filter(None, notes)), stacklevel=2)
    return result


def _by_sample(
    ds: xr.Dataset, design: StudyDesign, threshold: float, statistic: str
) -> xr.DataArray:
    """Uncorrected length scale of each sample, (…, sample, label, head), NaN without neighbors."""
    samples = pd.Index(design.unit_of_sample)
    takes_part = np.isin(ds["neighbor_sample"].values, samples)
    ds = ds.isel(neighbor=np.flatnonzero(takes_part))

    def of_one(one: xr.Dataset) -> xr.Dataset:
        names, label_code = groups(one, "label")
        sample_code = samples.get_indexer(pd.Index(one["neighbor_sample"].values))
        summary = reduce_neighbors(
            group_reduce,
            one["length_scale"],
            sizes={"_group": samples.size * names.size},
            codes=sample_code * names.size + label_code,
            n_groups=samples.size * names.size,
            reduce=STATISTICS[statistic],
        )
        both = summary.coarsen(_group=names.size).construct(_group=("sample", "label"))
        return both.assign_coords(label=names).to_dataset(name="length_scale")

    lengths = length_scale(ds, threshold, sample_threshold=None)
    # Computed here, once for all queries: what follows asks for every value several times.
    return by_query(of_one, ds.assign(length_scale=lengths))["length_scale"].compute()


def _units(summaries: xr.DataArray, design: StudyDesign, head_summary: str) -> xr.DataArray:
    """Average runs and the samples of each unit: (…, label, head, unit)."""
    if head_summary == "max":
        summaries = summaries.max([dim for dim in ("head",) if dim in summaries.dims])
        summaries = summaries.drop_vars("head", errors="ignore")
    elif "is_matched" in summaries.coords:
        summaries = summaries.where(summaries["is_matched"])  # others share no more than a number
    if "run" in summaries.dims:
        summaries = summaries.mean("run")
    means = [
        summaries.isel(sample=design.samples_of(unit)).mean("sample")
        for unit in design.group_of_unit
    ]
    return xr.concat(means, dim="unit").transpose(..., "unit")


def _compared(
    units: xr.DataArray,
    design: StudyDesign,
    pair: tuple[str, str],
    n_resamples: int,
    random_state: int | None,
) -> xr.Dataset:
    """All of one comparison that does not depend on the others."""
    both = [units.isel(unit=design.units_of(group)) for group in pair]
    n_units = [group.count("unit") for group in both]
    result = xr.Dataset(
        {
            "difference": both[1].mean("unit") - both[0].mean("unit"),
            "studentized_difference": _of_both(permutation.studentized_difference, both),
            "p_value": _of_both(
                permutation.permutation_p, both, n_resamples=n_resamples, random_state=random_state
            ),
        }
    )
    for name in ("min_attainable_p", "is_enumerated"):
        result[name] = xr.apply_ufunc(
            getattr(permutation, name), *n_units, kwargs={"n_resamples": n_resamples}
        )
    for number, group, count in zip((1, 2), both, n_units, strict=True):
        result[f"mean_{number}"] = group.mean("unit")
        result[f"n_units_{number}"] = count
    of_pair = xr.concat(both, dim="unit")
    result["status"] = xr.apply_ufunc(_status, *n_units, of_pair.max("unit") == of_pair.min("unit"))
    result["p_value"] = result["p_value"].where(result["status"] == "ok")
    return result


def _of_both(
    kernel: Callable[..., NDArray[np.float64]], both: list[xr.DataArray], **options: Any
) -> xr.DataArray:
    """Apply a kernel that reduces the units of two groups."""
    of_both: xr.DataArray = xr.apply_ufunc(
        kernel,
        *both,
        input_core_dims=[["unit"]] * 2,
        exclude_dims={"unit"},  # of another size in each group
        kwargs=options,
    )
    return of_both


def _status(
    n_first: NDArray[np.integer[Any]],
    n_second: NDArray[np.integer[Any]],
    is_constant: NDArray[np.bool_],
) -> NDArray[np.str_]:
    """The first that applies."""
    fewest = np.minimum(n_first, n_second)
    status = {
        "absent": fewest == 0,
        "too_few_units": fewest < FEWEST_UNITS,
        "constant": is_constant,
    }
    return np.select(list(status.values()), list(status), "ok").astype("<U13")


def _described(result: xr.Dataset, ds: xr.Dataset) -> xr.Dataset:
    for variable in result.data_vars.values():
        variable.attrs = {"long_name": str(variable.name).replace("_", " ")}
    for name, what in (
        ("difference", "difference of mean length scales"),
        ("mean_1", "mean length scale of group 1"),
        ("mean_2", "mean length scale of group 2"),
    ):
        result[name].attrs = distance_attributes(what, ds)
    for name in ("studentized_difference", "p_value", "q_value", "min_attainable_p"):
        result[name].attrs["units"] = "1"
    return result
