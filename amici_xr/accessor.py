"""``ds.cf`` and ``ds.amici``: the functions of this package as methods of a Dataset."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import xarray as xr

from . import (
    annotation,
    atlas_figure,
    contrasts,
    convert,
    curves,
    in_context,
    in_place,
    length_scale_figure,
    length_scale_intervals,
    length_scales,
    maps,
    page,
    plots,
    run_spread,
    selection,
    storage,
    structure,
    sweep_figure,
    units,
    validation,
    whole_tissue,
)
from .overview import overview

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
    atlas = _method(whole_tissue.atlas)
    attention = _method(in_place.attention)
    attention_by_distance = _method(in_place.attention_by_distance)
    dummy_attention = _method(in_place.dummy_attention)
    in_context_length_scale = _method(in_context.in_context_length_scale)
    reach_across_runs = _method(run_spread.reach_across_runs)
    contrast = _method(contrasts.contrast)
    select = _method(selection.select)
    to_microns = _method(units.to_microns)
    validate = _method(validation.validate)
    report = _method(page.report)
    save = _method(storage.save)
    to_anndata = _method(annotation.to_anndata)
    plot_atlas = _method(atlas_figure.plot_atlas)
    plot_curve = _method(plots.plot_curve)
    plot_length_scale = _method(length_scale_figure.plot_length_scale)
    plot_spatial = _method(maps.plot_spatial)
    plot_threshold_sweep = _method(sweep_figure.plot_threshold_sweep)


class AmiciAccessor(CounterfactualMethods):
    """``ds.amici``: under a name that no other package takes."""

    to_dataframe = _method(convert.to_dataframe)

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
