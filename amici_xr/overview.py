"""What ``repr(ds.cf)`` shows: what is there and what can be asked."""

from __future__ import annotations

import inspect

import numpy as np
import xarray as xr

from .errors import SchemaError
from .schema import distance_unit, has_neighborhoods
from .structure import check_structure


def overview(ds: xr.Dataset, name: str, methods: type) -> str:
    """Describe a Dataset in a few lines, and list the `methods` under ``ds.<name>``."""
    try:
        check_structure(ds)
    except SchemaError as error:
        return f"<ds.{name}: {error}>"
    lines = [f"<ds.{name}: counterfactual attention>", *_holdings(ds), "Ask:"]
    offered = {
        f"{method}(…)": (inspect.getdoc(function) or "").partition("\n")[0]
        for method, function in vars(methods).items()
        if callable(function) and not method.startswith("_")
    }
    width = max(map(len, offered))
    lines += [f"    ds.{name}.{call:<{width}}  {first}" for call, first in offered.items()]
    return "\n".join(lines)


def _holdings(ds: xr.Dataset) -> list[str]:
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
