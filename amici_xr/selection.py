"""One query out of several."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .errors import NotFoundError, listed
from .schema import SCORES
from .validation import check_structure


def select(ds: xr.Dataset, query: str) -> xr.Dataset:
    """Take the Dataset of one query, without the cells that are not its own.

    Equal to ``extract(model, query)``, but for attributes and the last bits of the scores. Plain
    ``ds.sel(query=...)`` gives the same answers, but keeps the neighbors and receivers of all
    queries.

    Parameters
    ----------
    ds
        Dataset with a ``query`` dim, or with a scalar ``query``.
    query
        The receiving cell type.

    Returns
    -------
    xarray.Dataset
        With scalar ``query``; scores with dims (neighbor, head); no ``is_neighbor``.

    Raises
    ------
    NotFoundError
        If the Dataset does not hold this query; the message lists those it holds.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(query=["A", "B"], n_cells=50)
    >>> amici_xr.select(ds, "B").base_attention_score.dims
    ('neighbor', 'head')
    """
    check_structure(ds)
    known = np.atleast_1d(ds["query"].values).tolist()
    if query not in known:
        raise NotFoundError(f"query={query!r} is not in this Dataset, which holds {listed(known)}")
    one = ds.sel(query=query) if "query" in ds.dims else ds
    if "is_neighbor" in one.variables:
        one = one.isel(neighbor=np.flatnonzero(one["is_neighbor"].values)).drop_vars("is_neighbor")
    if "receiver_label" in one.variables:
        one = one.isel(receiver=np.flatnonzero(one["receiver_label"].values == query))
    return one


def with_head_dim(ds: xr.Dataset) -> xr.Dataset:
    """Give the ``head`` dim back to a Dataset from which ``sel`` picked one head."""
    if "head" in ds.dims:
        return ds
    scores = {name: ds[name].expand_dims("head", axis=-1) for name in SCORES}
    return ds.drop_vars("head").assign(scores)
