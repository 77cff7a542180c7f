"""Alignment of several training runs on one tissue in one Dataset."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from amici_xr.dataset.ablation import ablation_of, describe_difference, record_ablation
from amici_xr.dataset.schema import (
    EFFECTS,
    MATCHING,
    SCHEMA,
    SCORES,
    SETTINGS,
    describe,
    distance_unit,
    has_neighborhoods,
    neighborhoods,
)
from amici_xr.dataset.selection import with_head_dim
from amici_xr.dataset.structure import check_structure
from amici_xr.dataset.units import check_distance_number
from amici_xr.errors import SchemaError, check_names, check_positive_number
from amici_xr.kernels.groups import edge_distance
from amici_xr.kernels.head_matching import Matching, match_heads, same_heads
from amici_xr.uncertainty.curve_areas import mean_areas
from amici_xr.uncertainty.same_tissue import check_same_tissue


def align_runs(
    datasets: Iterable[xr.Dataset],
    *,
    distance: float | None = None,
    unmatched_cost: float = 0.5,
    reference: int | None = None,
) -> xr.Dataset:
    """Combine several training runs on one tissue along a ``run`` dim, with matched heads.

    Which head learns which interaction is random, so the heads of each run are put in the order of
    those of a reference run. With D the end of the range of distances, the cost of matching two
    heads is the area between their curves of the same neighbor,
    ``(1/D)·∫₀ᴰ |σ(a − p·d/u − δ) − σ(a′ − p′·d/u′ − δ′)| dd``, exactly, averaged over the neighbors
    of a label, then over labels, then over queries. The matching of least total cost solves the
    assignment problem. Heads also merge and split between training runs, so a head may be left
    unmatched, at the cost of `unmatched_cost` times the area below its curves, averaged the same
    way.

    The scores are read once. Lazy scores stay lazy in the result, but are computed here, a chunk of
    neighbors at a time.

    Parameters
    ----------
    datasets
        One Dataset per training run, at least two, with the same tissue (neighbors, labels,
        neighborhoods), queries, unit and number of heads. Their δ and u may differ.
    distance
        D, in the Datasets' unit, or labelled with another by the attribute ``units``, as a
        DataArray is. None takes the median over receivers of the distance of the
        farthest cell in the neighborhood: the models have hardly seen any neighbor farther out.
    unmatched_cost
        Between 0 and 1. With c, two heads are matched where the area between them is at most c
        times the sum of the areas below the two, unless another matching costs less in total. That
        share is 0 for equal heads and 1 for heads that have nothing in common. It is a share and
        not an area, since a head that serves one pair of cell types out of hundreds has a small
        area everywhere else. At 0.5 two heads share half of their attention. In three training
        runs on the demo's tissue the share is 0.05 to 0.33 where two heads have learned the same
        interaction, 0.65 where one has learned an additional, stronger one, and above 0.9 where
        they have learned different ones.
    reference
        The run to whose heads the others are matched, as a position in `datasets`. None takes the
        medoid: the run whose matchings with all others cost least in total, the first of several.

    Returns
    -------
    xarray.Dataset
        Scores with dims (run, neighbor, head), or (run, query, neighbor, head); likewise effects,
        where every run has them;
        ``dummy_attention_score`` and ``distance_kernel_unit_scale`` with dim ``run``; the rest,
        which describes the tissue, as in the reference run. ``head`` is numbered as in the
        reference run. Further coordinates are:

        ``original_head`` (run, head)
            the head's number in its own Dataset. No head is lost: unmatched ones are paired with
            the remaining ones, so that they differ least;
        ``is_matched`` (run, head)
            whether it is matched;
        ``matching_cost`` (run, head)
            area between it and the reference's head, between 0 and 1, for unmatched heads too;
        ``matching_margin`` (run)
            additional total cost of the second-best matching, which has another pair or one more
            or one less unmatched head: near 0 the two are equally good. NaN for the reference
            run.

        The attributes are those of the reference run, with ``n_runs``, ``reference_run``,
        ``matching_distance``, ``unmatched_cost``, and ``run_attributes``: the attributes of every
        run, as a JSON list.

    Raises
    ------
    TypeError
        If `datasets` is not a list of Datasets.
    ValueError
        If there are fewer than two, if their tissues differ, or if an argument
        lies out of its range.
    SchemaError
        If one is not a Dataset of scores, or has no neighborhoods and `distance` is None.
    NotFoundError
        If `reference` is not a position in `datasets`.

    References
    ----------
    Crouse, On implementing 2D rectangular assignment algorithms, IEEE Transactions on Aerospace and
    Electronic Systems 52:1679 (2016): the assignment problem, as SciPy solves it.
    Murty, An algorithm for ranking all the assignments in order of increasing cost, Operations
    Research 16:682 (1968): the margin.

    Examples
    --------
    >>> import amici_xr
    >>> first = amici_xr.testing.simulate_dataset(n_cells=100, n_heads=3)
    >>> second = first.isel(head=[2, 0, 1]).assign_coords(head=[0, 1, 2])
    >>> runs = amici_xr.align_runs([first, second])
    >>> runs.original_head.values.tolist()
    [[0, 1, 2], [1, 2, 0]]
    >>> runs.base_attention_score.dims
    ('run', 'neighbor', 'head')
    """
    unmatched_cost = check_positive_number("unmatched_cost", unmatched_cost)
    if unmatched_cost > 1:
        raise ValueError(f"unmatched_cost={unmatched_cost!r} must be at most 1, a share of an area")
    given = _check_datasets(datasets)
    if reference is not None:
        check_names("reference", [reference], range(len(given)), "run")
    end = _find_end_of_range(given[0], distance)
    pairs = list(itertools.combinations(range(len(given)), 2))
    if reference is not None:
        pairs = [pair for pair in pairs if reference in pair]
    between, below = mean_areas(given, pairs, end)
    areas = dict(zip(pairs, between, strict=True))
    areas |= {(other, run): area.T for (run, other), area in areas.items()}
    alone = unmatched_cost * below

    def match(run: int, other: int) -> Matching:
        return match_heads(areas[run, other], alone[run], alone[other])

    if reference is None:
        totals = np.zeros(len(given))
        for pair in pairs:
            totals[list(pair)] += match(*pair).total
        reference = int(totals.argmin())
    matchings = [
        same_heads(len(alone[run])) if run == reference else match(reference, run)
        for run in range(len(given))
    ]
    return _combine(given, reference, matchings).assign_attrs(
        n_runs=len(given),
        reference_run=reference,
        matching_distance=end,
        unmatched_cost=unmatched_cost,
        run_attributes=json.dumps(
            [ds.attrs for ds in given],
            ensure_ascii=False,
            default=lambda value: value.tolist() if hasattr(value, "tolist") else repr(value),
        ),
    )


def _check_datasets(datasets: Any) -> list[xr.Dataset]:
    """Return the Datasets, each with a ``head`` dim; name the first one that can't be aligned."""
    if isinstance(datasets, xr.Dataset) or not isinstance(datasets, Iterable):
        raise TypeError(
            "datasets must be a list of Datasets, one per training run, as in "
            f"align_runs([first, second]), not {type(datasets).__name__}"
        )
    given: list[xr.Dataset] = []
    for number, ds in enumerate(datasets):
        try:
            check_structure(ds)
        except (TypeError, SchemaError) as error:
            raise type(error)(f"datasets[{number}]: {error}") from None
        if "run" in ds.dims:
            raise ValueError(
                f"datasets[{number}] holds runs already; give the Dataset of each training run by "
                "itself, e.g. ds.isel(run=0)"
            )
        given.append(with_head_dim(ds.drop_vars(["run", *MATCHING], errors="ignore")))
    if len(given) < 2:
        raise ValueError(
            f"datasets has {len(given)} Dataset; runs are matched to each other, so give at least "
            "two"
        )
    mask = given[0].get("is_neighbor", xr.DataArray(True))
    if not given[0][SCORES[0]].size or not mask.any():
        raise ValueError("datasets[0] holds no scores, by which heads could be matched")
    for number, ds in enumerate(given[1:], start=1):
        check_same_tissue(given[0], ds, number)
        if ablation := describe_difference(given[0], ds):
            raise ValueError(f"datasets[{number}] can't be a run beside datasets[0]: {ablation}")
    return given


def _find_end_of_range(ds: xr.Dataset, distance: float | None) -> float:
    if distance is not None:
        return check_distance_number("distance", distance, distance_unit(ds), "the Datasets")
    if not has_neighborhoods(ds):
        raise SchemaError(
            "these Datasets have no neighborhoods, which tell up to which distance curves are to "
            "be compared: pass distance=, e.g. distance=50"
        )
    _, distances, _ = neighborhoods(ds)
    edges = edge_distance(distances)
    edge = float(np.median(edges[edges >= 0])) if (edges >= 0).any() else 0.0
    if not edge:
        raise ValueError(
            "the neighborhoods reach no distance above 0, up to which curves could be compared: "
            "pass distance=, in the Datasets' unit"
        )
    return edge


def _combine(
    given: Sequence[xr.Dataset], reference: int, matchings: Sequence[Matching]
) -> xr.Dataset:
    """Replace scores, effects and heads in the reference run's Dataset by those of every run."""
    first = given[reference]
    of_runs = [name for name in EFFECTS if "run" in SCHEMA[name].further_dims]
    shared = {name for name in of_runs if all(name in ds.variables for ds in given)}
    first = first.drop_vars([name for name in of_runs if name not in shared], errors="ignore")
    scores = {}
    for name in (*SCORES, *sorted(shared)):
        dims = first[name].dims
        arrays = [ds[name].variable.transpose(*dims) for ds in given]
        if "head" in dims:
            pairs = zip(arrays, matchings, strict=True)
            arrays = [array.isel(head=matching.order) for array, matching in pairs]
        scores[name] = xr.concat([xr.DataArray(array) for array in arrays], dim="run")
    settings = {name: ("run", np.array([ds[name].item() for ds in given])) for name in SETTINGS}
    heads = [ds["head"].values[match.order] for ds, match in zip(given, matchings, strict=True)]
    coordinates = {
        "run": ("run", np.arange(len(given))),
        "original_head": (("run", "head"), np.array(heads)),
        "is_matched": (("run", "head"), np.array([match.is_matched for match in matchings])),
        "matching_cost": (("run", "head"), np.array([match.cost for match in matchings])),
        "matching_margin": ("run", np.array([match.margin for match in matchings])),
    }
    described = describe(xr.Dataset(scores | settings, coordinates), distance_unit(first))
    combined = first.assign(described.data_vars).assign_coords(described.coords)
    return record_ablation(combined, ablation_of(first))
