"""Selection of one query, one sample or one head."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.schema import REDUCED_EFFECTS, SCHEMA, has_neighborhoods
from amici_xr.dataset.structure import check_structure
from amici_xr.dataset.validation import check_samples
from amici_xr.errors import NotFoundError, SchemaError, listed


def select(ds: xr.Dataset, query: str | None = None, *, sample: str | None = None) -> xr.Dataset:
    """Select one query or one sample, and only the cells that belong to it.

    The selection of a query equals ``extract(model, query)``, except for attributes and the last
    bits of the scores. Plain ``ds.sel(query=...)`` gives the same answers, but keeps the neighbors
    and receivers of all queries.

    Parameters
    ----------
    ds
        Dataset with a ``query`` dim, or with a scalar ``query``.
    query
        The receiving cell type; None keeps all.
    sample
        The sample, of a Dataset extracted with ``sample_key=…``; None keeps all.

    Returns
    -------
    xarray.Dataset
        With a query: scalar ``query``; scores with dims (neighbor, head); no ``is_neighbor``. With
        a sample: only its neighbors and receivers. Effects that are means over all samples are left
        out then, and those of each receiver kept.

    Raises
    ------
    NotFoundError
        If the Dataset does not hold this query or sample; the message lists those it holds.
    SchemaError
        If `sample` is given and the Dataset has no samples, or its neighborhoods cross samples.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(query=["A", "B"], n_cells=50)
    >>> amici_xr.select(ds, "B").base_attention_score.dims
    ('neighbor', 'head')
    """
    check_structure(ds)
    if query is not None:
        ds = _select_query(ds, query)
    return ds if sample is None else _select_sample(ds, sample)


def _select_query(ds: xr.Dataset, query: str) -> xr.Dataset:
    _check_is_there("query", query, np.atleast_1d(ds["query"].values))
    if "query" in ds.dims:
        ds = ds.sel(query=query)
    if "is_neighbor" in ds.variables:
        ds = ds.isel(neighbor=np.flatnonzero(ds["is_neighbor"].values)).drop_vars("is_neighbor")
    if "receiver_label" in ds.variables:
        ds = ds.isel(receiver=np.flatnonzero(ds["receiver_label"].values == query))
    return ds


def _select_sample(ds: xr.Dataset, sample: str) -> xr.Dataset:
    sample = str(sample)  # names of samples are text, also where they are numbers
    _check_is_there("sample", sample, samples(ds))
    if has_neighborhoods(ds) and ds["neighborhood_index"].chunks is None:
        check_samples(ds)
    if samples(ds).size > 1:
        ds = ds.drop_vars([*REDUCED_EFFECTS, "distance", "gene"], errors="ignore")
    for cell, names in read_sample_names(ds).items():
        ds = ds.isel({cell: np.flatnonzero(names == sample)})
    return ds


def _check_is_there(argument: str, name: str, present: NDArray[np.str_]) -> None:
    if name not in present.tolist():
        raise NotFoundError(
            f"{argument}={name!r} is not in this Dataset, which holds {listed(present)}"
        )


def read_sample_names(ds: xr.Dataset) -> dict[str, NDArray[np.str_]]:
    """Return the sample of each neighbor and receiver, where the Dataset tells it."""
    names = {
        cell: ds[f"{cell}_sample"].values
        for cell in ("neighbor", "receiver")
        if f"{cell}_sample" in ds.variables
    }
    for cell, values in names.items():
        if values.dtype.kind == "O" and pd.isna(values).any():
            raise SchemaError(
                f"{cell}_sample is missing for {int(pd.isna(values).sum()):,} {cell}s (a join or "
                f"reindex of tissues?); give each {cell} its sample"
            )
    return {cell: values.astype(str) for cell, values in names.items()}


def samples(ds: xr.Dataset) -> NDArray[np.str_]:
    """Return the names of the samples, sorted."""
    check_structure(ds)
    if "neighbor_sample" not in ds.variables:
        raise SchemaError(
            "this Dataset has no samples (neighbor_sample); extract it with sample_key=…, or give "
            "it the coordinates neighbor_sample and receiver_sample"
        )
    if has_neighborhoods(ds) and "receiver_sample" not in ds.variables:
        raise SchemaError(
            "this Dataset has neighbor_sample but no receiver_sample; assign both, so that each "
            "sample keeps its own receivers"
        )
    return np.unique(np.concatenate(list(read_sample_names(ds).values())))


def with_head_dim(ds: xr.Dataset) -> xr.Dataset:
    """Restore the ``head`` dim of a Dataset from which ``sel`` picked one head."""
    if "head" in ds.dims:
        return ds
    restored = {
        row.name: ds[row.name].expand_dims("head", axis=-1)
        for row in SCHEMA.values()
        if "head" in row.dims and row.name != "head" and row.name in ds.variables
    }
    return ds.drop_vars("head").assign(restored)  # coordinates stay coordinates


def one_run(ds: xr.Dataset, why: str) -> xr.Dataset:
    """Return a Dataset of a single training run as it is; refuse several."""
    if "run" in ds.dims:
        raise ValueError(
            f"ds holds the runs {listed(ds['run'].values)}; {why}: take one, e.g. ds.isel(run=0)"
        )
    return ds


def check_has_head(ds: xr.Dataset) -> None:
    """Refuse a Dataset without any head, where a quantity is taken over its heads."""
    check_structure(ds)
    if ds.sizes.get("head") == 0:
        raise ValueError("ds holds no attention head; keep at least one, e.g. ds.isel(head=[0])")
