"""Whether neighborhoods belong to the labels and samples of the cells that stand in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.schema import NEIGHBORHOODS

_UNKNOWN = -2  # a cell that is not among the neighbors, or no cell
_RECEIVERS = 100_000  # compared at a time


def neighborhood_problems(ds: xr.Dataset) -> Iterator[str]:
    """What is wrong with the neighborhoods of a Dataset that has them."""
    index, distance, label = (ds.variables[name] for name in NEIGHBORHOODS)
    absent = index < 0
    if not (absent == np.isnan(distance)).all() or not (absent == (label < 0)).all():
        yield (
            "neighborhood_index, _distance and _label disagree on where there is no neighbor; "
            "use -1, NaN and -1 in the same places"
        )
    if (distance < 0).any() or np.isinf(distance).any():
        yield "neighborhood_distance holds negative or infinite distances; extract again"
    yield from sample_problems(ds)
    if (label >= ds.sizes["cell_type"]).any():
        yield "neighborhood_label points past the end of cell_type; keep cell_type whole"
    elif is_reordered(ds):
        yield (
            "neighborhood_label disagrees with label: cell_type was reordered, labels renamed or "
            "neighbors renumbered; keep them as they were, and name groups of your own in another "
            "coordinate"
        )


def sample_problems(ds: xr.Dataset) -> Iterator[str]:
    """Whether a neighborhood crosses samples, as a problem."""
    if crosses_samples(ds):
        yield (
            "a neighborhood holds cells of another sample than its receiver's; extract it with "
            "sample_key=…, so that no neighborhood crosses samples"
        )


def is_reordered(ds: xr.Dataset) -> bool:
    """Whether neighbors have other labels than their neighborhoods give them."""
    names, labels = (pd.Index(ds.variables[name].values) for name in ("cell_type", "label"))
    expected = ds.variables["neighborhood_label"].transpose("receiver", "rank")
    return _differ(ds, names.get_indexer(labels), expected)


def crosses_samples(ds: xr.Dataset) -> bool:
    """Whether a neighborhood holds a neighbor of another sample than its receiver's."""
    if not {"neighbor_sample", "receiver_sample"} <= set(ds.variables):
        return False
    names = pd.Index(np.unique(ds.variables["neighbor_sample"].values))
    code = names.get_indexer(pd.Index(ds.variables["neighbor_sample"].values))
    receiver = names.get_indexer(pd.Index(ds.variables["receiver_sample"].values))
    return _differ(ds, code, receiver[:, np.newaxis])


def _differ(ds: xr.Dataset, code: NDArray[np.intp], expected: Any) -> bool:
    """Whether a neighbor has another code than is expected of it, (receiver, rank), somewhere."""
    index = ds.variables["neighborhood_index"].transpose("receiver", "rank")
    neighbor = ds.variables["neighbor"].values
    nobody = neighbor.max(initial=-1) + 1
    own = np.full(nobody + 1, _UNKNOWN)  # the last for −1 too, where there is no neighbor
    own[neighbor] = code
    for start in range(0, len(index), _RECEIVERS):  # what is compared takes little memory
        block = slice(start, start + _RECEIVERS)
        found = own[np.minimum(index[block].values, nobody)]
        if ((found != _UNKNOWN) & (found != np.asarray(expected[block]))).any():
            return True
    return False
