"""One query out of several, one sample out of several."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.schema import SCHEMA, has_neighborhoods
from amici_xr.dataset.structure import check_structure
from amici_xr.dataset.validation import check_samples
from amici_xr.errors import NotFoundError, SchemaError, listed


def select(ds: xr.Dataset, query: str | None = None, *, sample: str | None = None) -> xr.Dataset:
    """Take the Dataset of one query, or of one sample, without the cells that are not its own.

    With a query equal to ``extract(model, query)``, but for attributes and the last bits of the
    scores. Plain ``ds.sel(query=...)`` gives the same answers, but keeps the neighbors and
    receivers of all queries.

    Parameters
    ----------
    ds
        Dataset with a ``query`` dim, or with a scalar ``query``.
    query
        The receiving cell type; None keeps those that are there.
    sample
        The sample, of a Dataset extracted with ``sample_key=…``; None keeps all.

    Returns
    -------
    xarray.Dataset
        With a query: scalar ``query``; scores with dims (neighbor, head); no ``is_neighbor``. With
        a sample: its neighbors and receivers alone.

    Raises
    ------
    NotFoundError
        If the Dataset does not hold this query or sample; the message lists those it holds.
    SchemaError
        If a sample is asked of a Dataset that knows none, or whose neighborhoods cross samples.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(query=["A", "B"], n_cells=50)
    >>> amici_xr.select(ds, "B").base_attention_score.dims
    ('neighbor', 'head')
    """
    check_structure(ds)
    one = ds if query is None else _one_query(ds, query)
    return one if sample is None else _one_sample(one, sample)


def _one_query(ds: xr.Dataset, query: str) -> xr.Dataset:
    known = np.atleast_1d(ds["query"].values).tolist()
    if query not in known:
        raise NotFoundError(f"query={query!r} is not in this Dataset, which holds {listed(known)}")
    one = ds.sel(query=query) if "query" in ds.dims else ds
    if "is_neighbor" in one.variables:
        one = one.isel(neighbor=np.flatnonzero(one["is_neighbor"].values)).drop_vars("is_neighbor")
    if "receiver_label" in one.variables:
        one = one.isel(receiver=np.flatnonzero(one["receiver_label"].values == query))
    return one


def _one_sample(ds: xr.Dataset, sample: str) -> xr.Dataset:
    known = samples(ds)
    if sample not in known:
        raise NotFoundError(
            f"sample={sample!r} is not in this Dataset, which holds {listed(known)}"
        )
    is_in_memory = has_neighborhoods(ds) and ds["neighborhood_index"].chunks is None
    if is_in_memory:
        check_samples(ds)
    for cell in ("neighbor", "receiver"):
        if f"{cell}_sample" in ds.variables:
            is_own = ds[f"{cell}_sample"].values.astype(str) == sample
            ds = ds.isel({cell: np.flatnonzero(is_own)})
    return ds


def samples(ds: xr.Dataset) -> NDArray[np.str_]:
    """Names of the samples, sorted."""
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
    known = (ds[f"{cell}_sample"].values for cell in ("neighbor", "receiver")
             if f"{cell}_sample" in ds.variables)  # fmt: skip
    return np.unique(np.concatenate([values.astype(str) for values in known]))


def with_head_dim(ds: xr.Dataset) -> xr.Dataset:
    """Give the ``head`` dim back to a Dataset from which ``sel`` picked one head."""
    if "head" in ds.dims:
        return ds
    of_heads = [
        name
        for name, row in SCHEMA.items()
        if "head" in row.dims and name != "head" and name in ds.variables
    ]
    given_back = {name: ds[name].expand_dims("head", axis=-1) for name in of_heads}
    coordinates = {name: given_back.pop(name) for name in of_heads if name in ds.coords}
    return ds.drop_vars("head").assign(given_back).assign_coords(coordinates)


def one_run(ds: xr.Dataset, why: str) -> xr.Dataset:
    """Return a Dataset of a single training as it is; refuse several."""
    if "run" in ds.dims:
        raise ValueError(
            f"ds holds the runs {listed(ds['run'].values)}; {why}: take one, e.g. ds.isel(run=0)"
        )
    return ds
