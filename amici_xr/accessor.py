"""``ds.cf`` and ``ds.amici``: the functions of this package as methods of a Dataset."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import warnings
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import xarray as xr

from amici_xr.analysis import (
    cell_columns,
    curves,
    length_scales,
    length_scales_in_context,
    observed_attention,
)
from amici_xr.dataset import selection, structure, units, validation
from amici_xr.dataset.schema import distance_unit, has_neighborhoods
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import SchemaError
from amici_xr.io import long_table, storage
from amici_xr.plotting import (
    atlas_figure,
    curve_figure,
    length_scale_figure,
    threshold_figure,
    tissue_map,
)
from amici_xr.plotting.page import document
from amici_xr.uncertainty import contrasts, length_scale_intervals, pair_atlas, run_intervals

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _method(
    function: Callable[Concatenate[xr.Dataset, _Arguments], _Result],
) -> Callable[Concatenate[Any, _Arguments], _Result]:
    """Make a method of a function that takes the Dataset first, signature and docstring kept."""

    @functools.wraps(function)
    def method(self: Any, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        return function(self._obj, *args, **kwargs)

    return method


class CounterfactualMethods:
    """What both accessors offer; none of the names is one that cf_xarray's accessor has."""

    _obj: xr.Dataset

    curve = _method(curves.curve)
    curve_summary = _method(curves.curve_summary)
    length_scale = _method(length_scales.length_scale)
    support = _method(length_scales.support)
    bootstrap = _method(length_scale_intervals.bootstrap)
    atlas = _method(pair_atlas.atlas)
    attention = _method(observed_attention.attention)
    attention_by_distance = _method(observed_attention.attention_by_distance)
    dummy_attention = _method(observed_attention.dummy_attention)
    in_context_length_scale = _method(length_scales_in_context.in_context_length_scale)
    reach_across_runs = _method(run_intervals.reach_across_runs)
    contrast = _method(contrasts.contrast)
    select = _method(selection.select)
    to_microns = _method(units.to_microns)
    validate = _method(validation.validate)
    report = _method(document.report)
    save = _method(storage.save)
    to_anndata = _method(cell_columns.to_anndata)
    plot_atlas = _method(atlas_figure.plot_atlas)
    plot_curve = _method(curve_figure.plot_curve)
    plot_length_scale = _method(length_scale_figure.plot_length_scale)
    plot_spatial = _method(tissue_map.plot_spatial)
    plot_threshold_sweep = _method(threshold_figure.plot_threshold_sweep)


class AmiciAccessor(CounterfactualMethods):
    """``ds.amici``: under a name that no other package takes."""

    to_dataframe = _method(long_table.to_dataframe)

    def __init__(self, ds: xr.Dataset) -> None:
        self._obj = ds

    def __repr__(self) -> str:
        """Show what the Dataset holds and what can be asked of it."""
        return overview(self._obj, "amici", CounterfactualMethods)


if importlib.util.find_spec("cf_xarray") is None:

    class CfAccessor(CounterfactualMethods):
        """``ds.cf``, where cf_xarray, which has an accessor of that name, is not installed."""

        def __init__(self, ds: xr.Dataset) -> None:
            self._obj = ds

        def __repr__(self) -> str:
            """Show what the Dataset holds and what can be asked of it."""
            return overview(self._obj, "cf", CounterfactualMethods)

else:
    # Imported first, so that theirs is registered before ours, in whichever order users import.
    from cf_xarray.accessor import CFDatasetAccessor

    class CfAccessor(CounterfactualMethods, CFDatasetAccessor):  # type: ignore[no-redef]  # one of two
        """``ds.cf``: cf_xarray's accessor, with our methods beside its own."""

        def __repr__(self) -> str:
            """Show what can be asked where the Dataset is ours, then what cf_xarray shows."""
            shown_by_cf_xarray: Callable[[], str] = super().__repr__  # which has no types
            theirs = shown_by_cf_xarray()
            if not structure.is_valid_structure(self._obj):
                return str(theirs)
            return f"{overview(self._obj, 'cf', CounterfactualMethods)}\n\n{theirs}"


def register() -> None:
    """Register both accessors on ``xarray.Dataset``."""
    on_dataset: Callable[[str], Any] = xr.register_dataset_accessor
    on_dataset("amici")(AmiciAccessor)
    with warnings.catch_warnings():
        # That one warning: cf_xarray's accessor is replaced, by a subclass of it.
        warnings.filterwarnings("ignore", message=".*CfAccessor.* under name 'cf'.*overriding")
        on_dataset("cf")(CfAccessor)


def overview(ds: xr.Dataset, name: str, methods: type) -> str:
    """Describe a Dataset in a few lines, and list the `methods` under ``ds.<name>``."""
    try:
        check_structure(ds)
    except SchemaError as error:
        return f"<ds.{name}: {error}>"
    lines = [f"<ds.{name}: counterfactual attention>", *holdings(ds), "Ask:"]
    offered = {
        f"{method}(…)": (inspect.getdoc(function) or "").partition("\n")[0]
        for method, function in vars(methods).items()
        if callable(function) and not method.startswith("_")
    }
    width = max(map(len, offered))
    lines += [f"    ds.{name}.{call:<{width}}  {first}" for call, first in offered.items()]
    return "\n".join(lines)


def holdings(ds: xr.Dataset) -> list[str]:
    """List what a Dataset holds, a line each."""
    labels, counts = np.unique(ds["label"].values, return_counts=True)
    queries = ", ".join(str(query) for query in np.atleast_1d(ds["query"].values))
    several = {}
    if "run" in ds.dims:
        several["runs"] = ", ".join(map(str, ds["run"].values))
    if "neighbor_sample" in ds.variables:
        several["samples"] = ", ".join(map(str, np.unique(ds["neighbor_sample"].values)))
    held = {
        "receivers": queries,
        "heads": ", ".join(str(head) for head in np.atleast_1d(ds["head"].values)),
        "neighbors": f"{ds.sizes['neighbor']:,} ("
        + ", ".join(f"{label} {count:,}" for label, count in zip(labels, counts, strict=True))
        + ")",
        "neighborhoods": f"{ds.sizes['receiver']:,}, of up to {ds.sizes['rank']} cells"
        if has_neighborhoods(ds)
        else "not known; pass sample_threshold=None",
        "unit of distance": distance_unit(ds) or "not given; extract(..., unit=…)",
    }
    return [f"    {what + ':':<18} {value}" for what, value in (several | held).items()]
