"""Datasets of a study, taken for the arguments of functions."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import xarray as xr

from amici_xr.dataset.kinds import EVIDENCE_OF_PAIRS, kind_of
from amici_xr.dataset.study import groups_of
from amici_xr.errors import listed
from amici_xr.uncertainty.evidence import is_evidence

# Arguments that the groups of a study fill.
FILLED = ("ds", "datasets", "response", "history", "evidence", "chance")
_SCORES, _RUNS, _CHANCE = "scores", "runs", "chance"  # names of groups, all of scores
_OF_RUNS = ("reach_across_runs",)
_KINDS = {"response": "distance_response", "history": "training_history"}


def datasets_for(
    function: Callable[..., Any], study: xr.DataTree, names: Sequence[str] = FILLED
) -> dict[str, Any]:
    """Take the Datasets that a function asks for from the groups of a study.

    ``ds`` are the scores: the group ``scores``, or else the only group of scores that is not
    called ``runs`` or ``chance``; for a function of several training runs the group ``runs``.
    ``evidence`` are all groups of evidence, ``chance`` is the group of that name. Other arguments
    are found by the kind of Dataset. What the study lacks is left out.

    Raises
    ------
    ValueError
        If two groups could be meant, or none holds what the function needs.
    """
    parameters = inspect.signature(function).parameters
    taken: dict[str, Any] = {}
    for name in names:
        if name not in parameters:
            continue
        dataset = _dataset_for(name, function, groups_of(study))
        if dataset is not None:
            taken[name] = dataset
        elif parameters[name].default is inspect.Parameter.empty:
            raise ValueError(
                f"{name}: the study has no group of the kind "
                f"{_KINDS.get(name, 'scores')!r}, which {function.__name__} needs; it has "
                f"{listed(groups_of(study))}"
            )
    return taken


def asked_groups(study: xr.DataTree) -> list[xr.Dataset]:
    """Return evidence, response, history and scores of a study, each where it is unambiguous."""
    groups = groups_of(study)
    asked: list[xr.Dataset | None] = [*_evidence(groups).values()]
    for find in (partial(_only, groups, "history", "training_history"), partial(_scores, groups)):
        with contextlib.suppress(ValueError):
            asked.append(find())
    return [ds for ds in asked if ds is not None]


def _dataset_for(
    name: str, function: Callable[..., Any], groups: Mapping[str, xr.Dataset]
) -> xr.Dataset | list[xr.Dataset] | None:
    if name in ("ds", "datasets"):
        return _scores(groups, prefer_runs=function.__name__ in _OF_RUNS)
    if name == "evidence":
        evidence = _evidence(groups)
        if "response" not in inspect.signature(function).parameters:
            return list(evidence.values()) or None
        of_models = (_only(evidence, name, kind) for kind in reversed(EVIDENCE_OF_PAIRS))
        return next((ds for ds in of_models if ds is not None), None)  # refits, or else gains
    return groups.get(_CHANCE) if name == "chance" else _only(groups, name, _KINDS[name])


def _scores(groups: Mapping[str, xr.Dataset], *, prefer_runs: bool = False) -> xr.Dataset | None:
    for name in (_RUNS, _SCORES) if prefer_runs else (_SCORES,):
        if name in groups:
            return groups[name]
    others = {name: ds for name, ds in groups.items() if name not in (_RUNS, _CHANCE)}
    scores = _only(others, "ds", "scores")
    return groups.get(_RUNS) if scores is None else scores


def _only(groups: Mapping[str, xr.Dataset], argument: str, kind: str) -> xr.Dataset | None:
    """Return the only Dataset of a kind; None where there is none."""
    names = [name for name, ds in groups.items() if kind_of(ds) == kind]
    if len(names) > 1:
        remedy = f"name one of them {_SCORES!r}" if argument == "ds" else f"give {argument}="
        raise ValueError(
            f"{argument}: the study holds several groups of the kind {kind!r}: {listed(names)}; "
            f"{remedy}, or ask one of them, study[{names[0]!r}].ds.cf"
        )
    return groups[names[0]] if names else None


def _evidence(groups: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Return all evidence by group, without gains on the cells of the training, which are none."""
    return {
        name: ds
        for name, ds in groups.items()
        if is_evidence(ds) and not ("status" in ds and (ds["status"] == "in_sample").any())
    }
