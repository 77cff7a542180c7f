"""The table of variables that make up a Dataset, and the attributes that come with it."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.errors import SchemaError

SCHEMA_VERSION = 1

Kind = Literal["float32", "float64", "int16", "int64", "bool", "string"]


@dataclass(frozen=True)
class Variable:
    """One row of the schema: a data variable or coordinate of the Dataset.

    `units` is "1" for pure numbers, "distance" for quantities in the coordinates' unit, "µm" for
    those in microns, and "" for all others. `further_dims` may stand in front of `dims`: ``run``
    where several training runs differ, ``query`` with several queries. ``run``, ``query`` and
    ``head`` may be scalar coordinates instead.
    """

    name: str
    dims: tuple[str, ...]
    kind: Kind
    units: Literal["1", "distance", "µm", ""]
    doc: str
    is_coordinate: bool = False
    is_required: bool = False
    further_dims: tuple[str, ...] = ()


# fmt: off
# A table reads best with its rows as rows.
_ROWS = (
    Variable("base_attention_score", ("neighbor", "head"), "float32", "1",
             "attention score of the neighbor at distance 0", is_required=True,
             further_dims=("run", "query")),
    Variable("position_coefficient", ("neighbor", "head"), "float32", "1",
             "fall of the score per distance kernel unit; above 0", is_required=True,
             further_dims=("run", "query")),
    Variable("dummy_attention_score", (), "float64", "1",
             "score of the dummy, against which a neighbor competes", is_required=True,
             further_dims=("run",)),
    Variable("distance_kernel_unit_scale", (), "float64", "distance",
             "the distance that counts as one distance kernel unit", is_required=True,
             further_dims=("run",)),
    Variable("neighborhood_index", ("receiver", "rank"), "int64", "",
             "which cell is the rank-th nearest; -1 where there is none"),
    Variable("neighborhood_distance", ("receiver", "rank"), "float64", "distance",
             "how far the rank-th nearest cell is, surface to surface where the model was set up "
             "with a cell radius; NaN where there is none"),
    Variable("neighborhood_label", ("receiver", "rank"), "int16", "",
             "cell type of the rank-th nearest cell, as a position in cell_type; "
             "-1 where there is none"),
    Variable("gene_effect", ("cell_type", "gene"), "float32", "1",
             "mean over the receivers of predicted expression minus that without the sender, in "
             "units of expression", further_dims=("run", "query")),
    Variable("gene_gain", ("cell_type", "gene"), "float32", "1",
             "mean over the receivers of the squared error without the sender minus that with it",
             further_dims=("run", "query")),
    Variable("gene_mean", ("gene",), "float64", "1",
             "mean expression of the receivers", further_dims=("query",)),
    Variable("gene_variance", ("gene",), "float64", "1",
             "variance of expression over the receivers (ddof 0)", further_dims=("query",)),
    Variable("residual_mean", ("gene",), "float64", "1",
             "mean over the receivers of expression minus predicted expression",
             further_dims=("run", "query")),
    Variable("residual_variance", ("gene",), "float64", "1",
             "variance over the receivers of expression minus predicted expression (ddof 0)",
             further_dims=("run", "query")),
    Variable("gene_effect_by_head", ("head", "cell_type", "gene"), "float32", "1",
             "gene_effect with this head alone left on", further_dims=("run", "query")),
    Variable("gene_gain_by_head", ("head", "cell_type", "gene"), "float32", "1",
             "gene_gain with this head alone left on", further_dims=("run", "query")),
    Variable("residual_mean_by_head", ("head", "gene"), "float64", "1",
             "residual_mean with this head alone left on", further_dims=("run", "query")),
    Variable("residual_variance_by_head", ("head", "gene"), "float64", "1",
             "residual_variance with this head alone left on", further_dims=("run", "query")),
    Variable("counterfactual_effect", ("cell_type", "gene", "distance"), "float32", "1",
             "predicted change of expression if one neighbor of this cell type stood alone at that "
             "distance, mean over (a sample of) these neighbors; NaN where there is none",
             further_dims=("run", "query")),
    Variable("counterfactual_noise", ("cell_type", "distance"), "float32", "1",
             "norm over genes that counterfactual_effect would have if the effects of its "
             "neighbors had no direction in common", further_dims=("run", "query")),
    Variable("prediction_gain", ("receiver", "cell_type"), "float32", "1",
             "squared error of the receiver's predicted expression without the sender minus that "
             "with it, summed over genes", further_dims=("run",)),
    Variable("squared_error", ("receiver",), "float64", "1",
             "squared error of the receiver's predicted expression, summed over genes",
             further_dims=("run",)),
    Variable("squared_deviation", ("receiver",), "float64", "1",
             "squared deviation of the receiver's expression from the mean of its cell type, "
             "summed over genes"),
    Variable("is_held_out", ("receiver",), "bool", "",
             "whether training left this receiver out", further_dims=("run",)),
    Variable("is_neighbor", ("query", "neighbor"), "bool", "",
             "whether the cell stands in a neighborhood of the query; "
             "scores are NaN exactly where it does not"),
    Variable("neighbor", ("neighbor",), "int64", "",
             "position of the neighbor in the AnnData", True, True),
    Variable("head", ("head",), "int64", "", "attention head", True, True),
    Variable("label", ("neighbor",), "string", "",
             "cell type of the neighbor (sender)", True, True),
    Variable("query", ("query",), "string", "", "receiving cell type", True, True),
    Variable("gene", ("gene",), "string", "", "gene, in the order of the model", True),
    Variable("distance", ("distance",), "float64", "distance",
             "distance of a neighbor that stands alone", True),
    Variable("run", ("run",), "int64", "", "training run, numbered in the order given", True),
    Variable("original_head", ("head",), "int64", "",
             "number of the head in its run's own Dataset", True, further_dims=("run",)),
    Variable("is_matched", ("head",), "bool", "",
             "whether the head has a counterpart in the reference run", True,
             further_dims=("run",)),
    Variable("matching_cost", ("head",), "float64", "1",
             "mean area between the curves of the head and of that of the reference run", True,
             further_dims=("run",)),
    Variable("matching_margin", (), "float64", "1",
             "additional cost of the second-best matching of the run's heads; "
             "NaN for the reference run", True, further_dims=("run",)),
    Variable("cell_type", ("cell_type",), "string", "", "the model's vocabulary", True),
    Variable("cell_type_color", ("cell_type",), "string", "",
             "color of the cell type in figures, as #rrggbb; empty where none is known", True),
    Variable("receiver", ("receiver",), "int64", "",
             "position of the receiver in the AnnData", True),
    Variable("receiver_label", ("receiver",), "string", "", "cell type of the receiver", True),
    *(
        row
        for cell in ("neighbor", "receiver")
        for row in (
            Variable(f"{cell}_name", (cell,), "string", "", f"name of the {cell}", True),
            *(Variable(f"{cell}_{axis}", (cell,), "float64", "distance",
                       f"{axis} coordinate of the {cell}", True) for axis in "xyz"),
            Variable(f"{cell}_sample", (cell,), "string", "", f"sample of the {cell}", True),
        )
    ),
)
# fmt: on

SCHEMA: Mapping[str, Variable] = {row.name: row for row in _ROWS}
SCORES = ("base_attention_score", "position_coefficient")
SETTINGS = ("dummy_attention_score", "distance_kernel_unit_scale")  # of the model
MATCHING = ("original_head", "is_matched", "matching_cost", "matching_margin")
UNKNOWN_UNIT = "coordinate units"  # how figures call an unknown unit
# What effects=True adds: reduced over receivers or neighbors, and per receiver.
GENE_MOMENTS = ("gene_mean", "gene_variance", "residual_mean", "residual_variance")
REDUCED_EFFECTS = (
    *("gene_effect", "gene_gain", *GENE_MOMENTS, "counterfactual_effect", "counterfactual_noise"),
    *("gene_effect_by_head", "gene_gain_by_head"),
    *("residual_mean_by_head", "residual_variance_by_head"),
)
RECEIVER_EFFECTS = ("prediction_gain", "squared_error", "squared_deviation", "is_held_out")
EFFECTS = (*REDUCED_EFFECTS, *RECEIVER_EFFECTS)
NEIGHBORHOODS = ("neighborhood_index", "neighborhood_distance", "neighborhood_label")


def describe(ds: xr.Dataset, unit: str | None = None) -> xr.Dataset:
    """Set ``long_name``, ``description`` and ``units`` of each variable from the schema."""
    check_unit(unit)
    out = ds.copy()
    for name in set(out.variables) & set(SCHEMA):
        row = SCHEMA[str(name)]
        attributes = {"long_name": row.name.replace("_", " "), "description": row.doc}
        if row.units == "1":
            attributes["units"] = "1"
        elif row.units == "distance" and unit is not None:
            attributes["units"] = unit
        out.variables[name].attrs = attributes
    return out


def check_unit(unit: str | None) -> None:
    """Refuse anything but the name of a unit or None."""
    if unit is not None and not (isinstance(unit, str) and unit):
        raise TypeError(f"unit={unit!r} must be the name of a unit, e.g. unit='µm', or None")


def distance_attributes(long_name: str, ds: xr.Dataset) -> dict[str, Any]:
    """Return the attributes of a distance: its name and, where known, its unit."""
    unit = distance_unit(ds)
    return {"long_name": long_name} | ({} if unit is None else {"units": unit})


def scores(ds: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray, xr.DataArray]:
    """Return the arguments of the formulas: *a*, *p*, *δ* and *u*.

    Scores for which the formulas do not hold are refused: now, or when lazy ones are computed.
    """
    a, p = (
        xr.apply_ufunc(
            _refuse_wrong_scores,
            ds[name],
            kwargs={"name": name},
            dask="parallelized",
            output_dtypes=[ds[name].dtype],
            keep_attrs=True,
        )
        for name in SCORES
    )
    return a, p, *(ds[name] for name in SETTINGS)


def _refuse_wrong_scores(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Refuse infinite scores and position coefficients of 0 or below; NaN means no neighbor."""
    wrong = np.isinf(values)
    if name == "position_coefficient":
        wrong |= values <= 0
    if wrong.any():
        asked = "finite" if name != "position_coefficient" else "finite and above 0"
        raise SchemaError(
            f"{name} holds {values[wrong].flat[0]}; it must be {asked}: extract the scores again"
        )
    return values


def neighborhoods(ds: xr.Dataset) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return index, distance and label of the neighborhoods as arrays, (receiver, rank)."""
    index, distance, label = (
        ds.variables[name].transpose("receiver", "rank").values for name in NEIGHBORHOODS
    )
    return index, distance, label


def distance_unit(ds: xr.Dataset) -> str | None:
    """Return the name of the Dataset's unit of distance, None where it is unknown."""
    unit = ds["distance_kernel_unit_scale"].attrs.get("units")
    return None if unit is None else str(unit)


def has_effects(ds: xr.Dataset) -> bool:
    """Tell whether the Dataset holds effects, those of ``extract(..., effects=True)``."""
    return "gene_effect" in ds.variables


def has_neighborhoods(ds: xr.Dataset) -> bool:
    """Tell whether the Dataset has neighborhoods (one read from a table does not)."""
    return all(name in ds.variables for name in NEIGHBORHOODS)


def provenance(source: str, **details: Any) -> dict[str, str | int]:
    """Return attributes on the origin of a Dataset: str and int only, details as JSON."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    attributes: dict[str, str | int] = {
        "title": "Counterfactual attention of neighboring cells",
        "schema_version": SCHEMA_VERSION,
        "amici_xr_version": importlib.metadata.version("amici-xr"),
        "created": now.replace("+00:00", "Z"),
        "source": source,
    }
    for name, detail in details.items():
        attributes[name] = json.dumps(detail, ensure_ascii=False)
    return attributes


def recorded_details(ds: xr.Dataset, attribute: str) -> dict[str, Any]:
    """Return the details that an attribute holds as JSON, none where it is missing or not ours."""
    try:
        details = json.loads(ds.attrs.get(attribute, "{}"))
    except (TypeError, ValueError):
        return {}
    return details if isinstance(details, dict) else {}


def recorded_value(setting: Any) -> Any:
    """Return the value of a setting, which is recorded beside its source."""
    return setting.get("value") if isinstance(setting, dict) else setting
