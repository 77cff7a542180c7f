"""``ds.cf`` and ``ds.amici``: the functions of this package as methods of a Dataset or a study."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import warnings
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import xarray as xr

from amici_xr import analysis, dataset, findings, io, plotting, uncertainty
from amici_xr.dataset.kinds import EVIDENCE_OF_PAIRS, is_response, kind_of
from amici_xr.dataset.response_structure import check_response
from amici_xr.dataset.schema import distance_unit, has_effects, has_neighborhoods
from amici_xr.dataset.structure import check_structure, is_valid_structure
from amici_xr.dataset.study import groups_of
from amici_xr.errors import SchemaError
from amici_xr.findings.study_arguments import FILLED, datasets_for
from amici_xr.plotting import page
from amici_xr.uncertainty.evidence import WORDS, is_evidence

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _method(
    function: Callable[Concatenate[xr.Dataset, _Arguments], _Result],
) -> Callable[Concatenate[Any, _Arguments], _Result]:
    """Make a method of a function that takes the Dataset first, with its docstring."""

    @functools.wraps(function)
    def method(self: Any, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        return function(self._obj, *args, **kwargs)

    return method


def _method_of_study(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Make a method of a function that takes its Datasets from the groups of a study.

    A Dataset of the user's own is given by keyword.
    """
    parameters = list(inspect.signature(function).parameters.values())
    further = [parameter.name for parameter in parameters if parameter.name not in FILLED]

    @functools.wraps(function)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> _Result:
        if len(args) > len(further):
            raise TypeError(
                f"{function.__name__} takes at most {len(further)} arguments, not {len(args)}; "
                "Datasets are given by name"
            )
        given = dict(zip(further, args, strict=False)) | kwargs
        return function(**datasets_for(function, self._obj) | given)

    return method


_OF_RESPONSES = {"plot_pairs", "plot_response"}
_OF_BOTH = {"save", "summary", "validate"}
_OF_ONE_GROUP = {"save", "select", "to_microns", "validate"}  # give a Dataset back, or take all


class CounterfactualMethods:
    """Methods of both accessors; none shares its name with one of cf_xarray's accessor."""

    _obj: xr.Dataset

    curve = _method(analysis.curve)
    curve_summary = _method(analysis.curve_summary)
    length_scale = _method(analysis.length_scale)
    support = _method(analysis.support)
    bootstrap = _method(uncertainty.bootstrap)
    atlas = _method(uncertainty.atlas)
    attention = _method(analysis.attention)
    attention_by_distance = _method(analysis.attention_by_distance)
    dummy_attention = _method(analysis.dummy_attention)
    in_context_length_scale = _method(analysis.in_context_length_scale)
    reach_across_runs = _method(uncertainty.reach_across_runs)
    contrast = _method(uncertainty.contrast)
    compare_with_tissue = _method(findings.compare_with_tissue)
    gene_effects = _method(analysis.gene_effects)
    prediction_gain = _method(uncertainty.prediction_gain)
    explained_variance = _method(analysis.explained_variance)
    effect_curve = _method(analysis.effect_curve)
    effect_length_scale = _method(analysis.effect_length_scale)
    attention_enrichment = _method(analysis.attention_enrichment)
    select = _method(dataset.select)
    summary = _method(findings.summary)
    to_microns = _method(dataset.to_microns)
    validate = _method(dataset.validate)
    report = _method(page.report)
    save = _method(io.save)
    to_anndata = _method(analysis.to_anndata)
    plot_agreement = _method(plotting.plot_agreement)
    plot_atlas = _method(plotting.plot_atlas)
    plot_curve = _method(plotting.plot_curve)
    plot_effect_curve = _method(plotting.plot_effect_curve)
    plot_gene_effects = _method(plotting.plot_gene_effects)
    plot_length_scale = _method(plotting.plot_length_scale)
    plot_pairs = _method(plotting.plot_pairs)
    plot_response = _method(plotting.plot_response)
    plot_spatial = _method(plotting.plot_spatial)
    plot_threshold_sweep = _method(plotting.plot_threshold_sweep)


class AmiciAccessor(CounterfactualMethods):
    """``ds.amici``, a name that no other package takes."""

    to_dataframe = _method(io.to_dataframe)

    def __init__(self, ds: xr.Dataset) -> None:
        self._obj = ds

    def __repr__(self) -> str:
        """Show the contents of the Dataset and the methods for it."""
        return overview(self._obj, "amici", CounterfactualMethods)


if importlib.util.find_spec("cf_xarray") is None:

    class CfAccessor(CounterfactualMethods):
        """``ds.cf``, where cf_xarray, which owns that name, is not installed."""

        def __init__(self, ds: xr.Dataset) -> None:
            self._obj = ds

        def __repr__(self) -> str:
            """Show the contents of the Dataset and the methods for it."""
            return overview(self._obj, "cf", CounterfactualMethods)

else:
    # Imported first, so that its accessor is registered before ours in any order of imports.
    from cf_xarray.accessor import CFDatasetAccessor

    class CfAccessor(CounterfactualMethods, CFDatasetAccessor):  # type: ignore[no-redef]  # one of two
        """``ds.cf``: cf_xarray's accessor, with our methods beside its own."""

        def __repr__(self) -> str:
            """Show our overview where the Dataset is valid, then that of cf_xarray."""
            theirs = str(super().__repr__())  # type: ignore[no-untyped-call]  # cf_xarray's
            has_overview = is_response(self._obj) or kind_of(self._obj) in EVIDENCE_OF_PAIRS
            if not has_overview and not is_valid_structure(self._obj):
                return theirs
            return f"{overview(self._obj, 'cf', CounterfactualMethods)}\n\n{theirs}"


class StudyMethods:
    """Methods of ``tree.cf`` and ``tree.amici``: questions to a study, a DataTree of Datasets."""

    save = _method(io.save)

    def __init__(self, study: xr.DataTree) -> None:
        self._obj = study

    def __repr__(self) -> str:
        """Show the groups, and the methods."""
        methods = _list_methods("study.cf", StudyMethods, set(vars(StudyMethods)))
        groups = list_groups(self._obj)
        n_groups = f"{len(groups)} group" + ("s" if len(groups) != 1 else "")
        title = f"<study.cf: a study of {n_groups}>"
        return "\n".join([title, *groups, "Ask:", *methods])


for _name, _function in vars(CounterfactualMethods).items():
    if inspect.isfunction(_function) and _name not in _OF_ONE_GROUP:
        setattr(StudyMethods, _name, _method_of_study(inspect.unwrap(_function)))


def register() -> None:
    """Register the accessors on ``xarray.Dataset`` and on ``xarray.DataTree``."""
    on_dataset: Callable[[str], Any] = xr.register_dataset_accessor
    on_dataset("amici")(AmiciAccessor)
    with warnings.catch_warnings():
        # only the warning that cf_xarray's accessor is replaced, by a subclass of it
        warnings.filterwarnings("ignore", message=".*CfAccessor.* under name 'cf'.*overriding")
        on_dataset("cf")(CfAccessor)
    on_tree: Callable[[str], Any] = xr.register_datatree_accessor
    for name in ("amici", "cf"):
        on_tree(name)(StudyMethods)


def overview(ds: xr.Dataset, name: str, methods: type) -> str:
    """Describe a Dataset in a few lines, and list the `methods` under ``ds.<name>``."""
    public = {method for method in vars(methods) if not method.startswith("_")}
    try:
        if is_response(ds):
            check_response(ds)
            held, contents = "distance response", list_response(ds)
            listed_methods = _OF_BOTH | _OF_RESPONSES
        elif kind_of(ds) in EVIDENCE_OF_PAIRS:
            held, contents = f"evidence, {WORDS[kind_of(ds)]}", list_evidence(ds)
            listed_methods = _OF_BOTH - {"validate"}
        else:
            check_structure(ds)
            held, contents = "counterfactual attention", list_contents(ds)
            listed_methods = public - _OF_RESPONSES
    except SchemaError as error:
        return f"<ds.{name}: {error}>"
    lines = [f"<ds.{name}: {held}>", *contents, "Ask:"]
    return "\n".join([*lines, *_list_methods(f"ds.{name}", methods, listed_methods)])


def _list_methods(accessor: str, methods: type, names: set[str]) -> list[str]:
    """List the methods of these names with the first line of their docstring."""
    summaries = {
        f"{method}(…)": (inspect.getdoc(function) or "").partition("\n")[0]
        for method, function in vars(methods).items()
        if callable(function) and method in names and not method.startswith("_")
    }
    width = max(map(len, summaries))
    return [f"    {accessor}.{call:<{width}}  {first}" for call, first in summaries.items()]


def list_groups(study: xr.DataTree) -> list[str]:
    """List the groups of a study with the kind of each, a line each."""
    return [f"    {name + ':':<18} {describe_kind(ds)}" for name, ds in groups_of(study).items()]


def describe_kind(ds: xr.Dataset) -> str:
    """Name the kind of a Dataset in words."""
    kind = kind_of(ds)
    if is_evidence(ds):
        return f"evidence, {WORDS[kind]}"
    return {"scores": "counterfactual attention", "answer": "answer about scores"}.get(
        kind, kind.replace("_", " ")
    )


def list_response(ds: xr.Dataset) -> list[str]:
    """List what a distance response holds, a line each."""
    is_tested = ds["status"] == "tested"
    is_called = ds["q_value"] < 0.05
    queries, labels = (np.atleast_1d(ds[dim].values) for dim in ("query", "label"))
    contents = {
        "receivers": ", ".join(map(str, queries)),
        "senders": ", ".join(map(str, labels)),
        "genes": f"{ds['gene'].size:,}",
        "pairs tested": f"{int(is_tested.sum()):,}; {int(is_called.sum()):,} with q < 0.05",
    }
    return [f"    {name + ':':<18} {value}" for name, value in contents.items()]


def list_evidence(ds: xr.Dataset) -> list[str]:
    """List what evidence of pairs holds, a line each."""
    states, counts = np.unique(ds["status"].values.astype(str), return_counts=True)
    contents = {
        "receivers": ", ".join(map(str, np.atleast_1d(ds["query"].values))),
        "senders": ", ".join(map(str, np.atleast_1d(ds["label"].values))),
        "pairs": ", ".join(f"{count} {state}" for state, count in zip(states, counts, strict=True)),
    }
    if "q_value" in ds:
        contents["with q < 0.05"] = str(int((ds["q_value"] < 0.05).sum()))
    return [f"    {name + ':':<18} {value}" for name, value in contents.items()]


def _describe_effects(ds: xr.Dataset) -> str:
    if not has_effects(ds):
        return "none; extract(..., effects=True)"
    return f"of {ds.sizes['gene']:,} genes" + (", by head" if "gene_effect_by_head" in ds else "")


def list_contents(ds: xr.Dataset) -> list[str]:
    """List what a Dataset holds, a line each."""
    labels, counts = np.unique(ds["label"].values.astype(str), return_counts=True)
    queries = ", ".join(str(query) for query in np.atleast_1d(ds["query"].values))
    rows = {}
    if "run" in ds.dims:
        rows["runs"] = ", ".join(map(str, ds["run"].values))
    if "neighbor_sample" in ds.variables:
        rows["samples"] = ", ".join(map(str, np.unique(ds["neighbor_sample"].values.astype(str))))
    contents = {
        "receivers": queries,
        "heads": ", ".join(str(head) for head in np.atleast_1d(ds["head"].values)),
        "neighbors": f"{ds.sizes['neighbor']:,} ("
        + ", ".join(f"{label} {count:,}" for label, count in zip(labels, counts, strict=True))
        + ")",
        "neighborhoods": f"{ds.sizes['receiver']:,}, of up to {ds.sizes['rank']} cells"
        if has_neighborhoods(ds)
        else "unknown; pass sample_threshold=None",
        "effects": _describe_effects(ds),
        "unit of distance": distance_unit(ds) or "unknown; extract(..., unit=…)",
    }
    return [f"    {name + ':':<18} {value}" for name, value in (rows | contents).items()]
