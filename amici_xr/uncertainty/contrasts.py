"""Length scales compared between conditions, with biological samples as the independent units."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.reduction import STATISTICS, Statistic, ordered
from amici_xr.dataset.schema import distance_attributes
from amici_xr.dataset.selection import check_has_head
from amici_xr.errors import check_choice, check_fraction, check_positive_integer, check_seed
from amici_xr.kernels import permutation
from amici_xr.kernels.permutation import FEWEST_UNITS
from amici_xr.kernels.student_t import welch_p
from amici_xr.uncertainty.sample_summaries import average_units, summarize_samples
from amici_xr.uncertainty.study_design import StudyDesign, read_design, status_of_comparison

HeadSummary = Literal["each", "max"]
Method = Literal["welch", "permutation"]


def contrast(
    ds: xr.Dataset,
    by: str | Mapping[str, str | None],
    *,
    biological_sample: str | Mapping[str, str] | None = None,
    threshold: float = 0.5,
    statistic: Statistic = "mean",
    head_summary: HeadSummary | None = None,
    method: Method = "welch",
    n_resamples: int = 9_999,
    random_state: int | None = 42,
) -> xr.Dataset:
    """Test whether length scales differ between groups of samples.

    Cells are not replicates: those of one sample share its animal, its section and the model's fit.
    So the length scales of each (sample, query, label, head) are first reduced to one number, those
    of runs and of sections of the same biological sample are averaged, and only these units are
    compared: ``t = (mean₂ − mean₁) / √(s₁²/n₁ + s₂²/n₂)``.

    The number of cells in a sample must not move its number. Therefore length scales are *signed*
    here, ``L = (u/p)·(a − δ − logit t)`` without the floor at 0 and without the artifact
    correction: negative where the weight of a neighbor in contact is below the threshold. Their
    mean has the same expectation however many cells there are. That of a median, or of the largest
    of several heads, depends on the number; so it is averaged over random subsets of the neighbors
    of each sample, all of the size of the sample that has the fewest (rarefaction).

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
        "mean" (default) or "median" over the neighbors of a label in a sample. The median is that
        of subsets: a sample with a single neighbor of a label turns it into a mean.
    head_summary
        "each" compares every head by itself; "max" the largest of the heads' summaries, which needs
        no matching of heads between runs and leaves no ``head`` dim. None is "max" where the scores
        have a ``run`` dim, and "each" elsewhere; "each" with runs leaves unmatched heads out.
    method
        "welch" (default) compares t with Student's distribution, which takes the units of each
        group for normal and lets the groups vary differently, as they do where one has fewer cells.
        Degrees of freedom after Satterthwaite (1946); after Welch (1947), at most n₁ + n₂ − 2, in
        groups of equal size. "permutation" takes the share of the labelings of the units whose
        ``|t|`` is at least the observed one: exact for any distribution if the units are
        exchangeable, which needs samples with similar numbers of cells, but 3 against 3 cannot
        reach p < 0.1.
    n_resamples
        For "permutation": all labelings are enumerated where these are at most so many; else so
        many are drawn, with ``p = (1 + b)/(1 + R)``.
    random_state
        Seed of the random subsets, and of the labelings that are drawn.

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
            the least p that so many units can give, whatever their values: 0 for "welch", for
            "permutation" 2/C(10, 5) = 0.008 for 5 against 5. No q lies below it times `n_tests`
            over the number of tests found at that q;
        ``is_enumerated``
            whether p counts all labelings; always False for "welch";
        ``mean_1``, ``mean_2``, ``n_units_1``, ``n_units_2``
            mean signed length scale and number of the units of each group in which the label
            occurs;
        ``fewest_neighbors``
            neighbors of the label in the sample that has the fewest, dims (label): the size of the
            subsets for a median or the largest head;
        ``status``
            the first that applies of ``absent`` (a group without the label), ``too_few_units``
            (fewer than 2 in a group), ``no_reach`` (no neighbor of the label has a positive length
            scale in either group, so there is no reach to compare), ``constant`` (neither group
            varies, for "permutation" nor do they differ: nothing can be tested), ``tested``. Only
            the last has a p. No status is needed for unequal numbers of cells;
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
        If a mapping lacks a sample, or a name is not a coordinate on ``neighbor``.
    SchemaError
        If the Dataset has no ``neighbor_sample``.

    Notes
    -----
    Of true nulls with normal samples, 3 to 12 a group, "welch" rejects 4 to 6% at p ≤ 0.05, with 10
    cells a sample in one group and 300 in the other as with equal numbers, near the floor and away
    from it, with 1 head or the largest of 8 (``benchmarks/contrast_rates.py``). It rejects up to 8%
    with 3 a group where samples differ in nothing but few and skewed cells, up to 7.3% with 3
    against 12, and up to 11% with 2 against 6.

    References
    ----------
    Welch, Biometrika 34, 28 (1947); Satterthwaite, Biometrics Bulletin 2, 110 (1946).
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
    >>> result.difference.item(), round(result.p_value.item(), 4)
    (4.0, 0.008)
    >>> amici_xr.contrast(ds, group, method="permutation").p_value.sel(label="Tumor").item()
    0.1
    """
    check_has_head(ds)
    threshold = check_fraction("threshold", threshold)
    check_choice("statistic", statistic, tuple(STATISTICS))
    if head_summary is None:
        head_summary = "max" if "run" in ds["base_attention_score"].dims else "each"
    check_choice("head_summary", head_summary, get_args(HeadSummary))
    check_choice("method", method, get_args(Method))
    n_resamples = check_positive_integer("n_resamples", n_resamples)
    random_state = check_seed(random_state)
    design = read_design(ds, by, biological_sample)
    summaries = summarize_samples(ds, design, threshold, statistic, head_summary, random_state)
    pairs = list(itertools.combinations(design.groups, 2))
    units = average_units(summaries, design)
    options: dict[str, Any] = {"n_resamples": n_resamples, "random_state": random_state}
    result = xr.concat(
        [_compared(units, design, pair, method, **options) for pair in pairs], dim="comparison"
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
    result["fewest_neighbors"] = summaries["fewest_neighbors"]
    result["n_tests"] = result["p_value"].count()
    result = _described(ordered(result).transpose(..., "comparison"), ds)
    result.attrs = {
        "threshold": threshold,
        "statistic": statistic,
        "head_summary": head_summary,
        "method": method,
        "n_resamples": n_resamples,
        "groups": json.dumps(design.group_of_sample, ensure_ascii=False),
        "biological_samples": json.dumps(design.unit_of_sample, ensure_ascii=False),
    } | ({} if random_state is None else {"random_state": random_state})
    if any(notes):
        warnings.warn("; ".join(filter(None, notes)), stacklevel=2)
    return result


def _compared(
    units: xr.Dataset, design: StudyDesign, pair: tuple[str, str], method: str, **options: Any
) -> xr.Dataset:
    """All of one comparison that does not depend on the others."""
    of_pair = [units.isel(unit=design.units_of(group)) for group in pair]
    both = [group["length_scale"] for group in of_pair]
    n_units = [group.count("unit") for group in both]
    result = xr.Dataset(
        {
            "difference": both[1].mean("unit") - both[0].mean("unit"),
            "studentized_difference": _of_both(permutation.studentized_difference, both),
        }
    )
    for number, group, count in zip((1, 2), both, n_units, strict=True):
        result[f"mean_{number}"] = group.mean("unit")
        result[f"n_units_{number}"] = count
    if method == "welch":
        result = result.assign(_by_welch(result, both))
        is_constant = _is_constant(both[0]) & _is_constant(both[1])
    else:
        result = result.assign(_by_permutation(both, n_units, **options))
        is_constant = _is_constant(xr.concat(both, dim="unit"))
    farthest = xr.concat([group["farthest"] for group in of_pair], dim="unit").max("unit")
    result["status"] = xr.apply_ufunc(status_of_comparison, *n_units, farthest > 0, is_constant)
    result["p_value"] = result["p_value"].where(result["status"] == "tested")
    return result


def _by_welch(result: xr.Dataset, both: list[xr.DataArray]) -> dict[str, xr.DataArray]:
    """Take p from Student's distribution; no p is too small to be attained."""
    moments = []
    for number, group in zip((1, 2), both, strict=True):
        moments += [group.var("unit", ddof=1), result[f"n_units_{number}"]]
    has_variance = (result["n_units_1"] >= FEWEST_UNITS) & (result["n_units_2"] >= FEWEST_UNITS)
    return {
        "p_value": xr.apply_ufunc(welch_p, result["studentized_difference"], *moments),
        "min_attainable_p": xr.zeros_like(has_variance, dtype=float).where(has_variance),
        "is_enumerated": xr.zeros_like(has_variance),
    }


def _by_permutation(
    both: list[xr.DataArray], n_units: list[xr.DataArray], *, n_resamples: int, **options: Any
) -> dict[str, xr.DataArray]:
    """Take p from the labelings of the units, all of them or some that are drawn."""
    options["n_resamples"] = n_resamples
    tested = {"p_value": _of_both(permutation.permutation_p, both, **options)}
    for name in ("min_attainable_p", "is_enumerated"):
        tested[name] = xr.apply_ufunc(
            getattr(permutation, name), *n_units, kwargs={"n_resamples": n_resamples}
        )
    return tested


def _is_constant(units: xr.DataArray) -> xr.DataArray:
    return units.max("unit") == units.min("unit")


def _of_both(
    kernel: Callable[..., NDArray[np.float64]], both: list[xr.DataArray], **options: Any
) -> xr.DataArray:
    """Apply a kernel that reduces the units of two groups."""
    reduced: xr.DataArray = xr.apply_ufunc(
        kernel,
        *both,
        input_core_dims=[["unit"]] * 2,
        exclude_dims={"unit"},  # of another size in each group
        kwargs=options,
    )
    return reduced


def _described(result: xr.Dataset, ds: xr.Dataset) -> xr.Dataset:
    for variable in result.data_vars.values():
        variable.attrs = {"long_name": str(variable.name).replace("_", " ")}
    for name, long_name in (
        ("difference", "difference of mean signed length scales"),
        ("mean_1", "mean signed length scale of group 1"),
        ("mean_2", "mean signed length scale of group 2"),
    ):
        result[name].attrs = distance_attributes(long_name, ds)
    for name in ("studentized_difference", "p_value", "q_value", "min_attainable_p"):
        result[name].attrs["units"] = "1"
    return result
