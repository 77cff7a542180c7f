"""What of a lazy Dataset is written a chunk at a time, and compared with what was written."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

_CELLS = 2**15  # neighbors or receivers of a chunk
_CHUNK = 2**20  # elements of a chunk at most
_STREAMED_KINDS = "fiu"  # floating-point numbers, integers, unsigned ones
_STREAMED_DIMS = {"neighbor", "receiver"}


def without_threads() -> contextlib.AbstractContextManager[Any]:
    """Compute in this thread: a pool of dask's would not survive a fork, and what waits for it."""
    import dask.config

    return dask.config.set(scheduler="synchronous")


def compute_unstreamed(ds: xr.Dataset, *, in_this_process: bool) -> xr.Dataset:
    """Leave only those variables lazy that can be streamed, in chunks as they will be stored.

    These are data variables of numbers, one or more for each cell. Queries that
    are computed together stay in one block: dask would keep those that wait to be written.
    With `in_this_process` nothing is left lazy where other processes compute, which can't write to
    a file that this one has open.
    """
    lazy = {name: array for name, array in ds.variables.items() if array.chunks is not None}
    streamed = {
        name: array.chunk(_sizes_to_stream(array))
        for name, array in lazy.items()
        if name in ds.data_vars
        and array.dtype.kind in _STREAMED_KINDS
        and _STREAMED_DIMS & set(array.dims)
    }
    if in_this_process and not _computes_in_this_process():
        streamed = {}
    computed = ds[[name for name in lazy if name not in streamed]].compute()
    return ds.assign(computed.variables).assign(streamed)


def _sizes_to_stream(variable: xr.Variable) -> dict[Hashable, int]:
    sizes = zip(variable.dims, chunk_shape(variable), strict=True)
    return {dim: size for dim, size in sizes if dim != "query"}


def _computes_in_this_process() -> bool:
    from dask.base import get_scheduler
    from dask.local import get_sync
    from dask.threaded import get as get_threaded

    return get_scheduler() in (None, get_sync, get_threaded)  # type: ignore[no-untyped-call]  # no types


def chunk_shape(variable: xr.Variable) -> tuple[int, ...]:
    """Return how large chunks are.

    So many cells, the same in all variables; one query and run; and of the other dims, the last
    one first, what makes no more than `_CHUNK` elements.
    """
    fixed: dict[Hashable, int]
    fixed = {"neighbor": _CELLS, "receiver": _CELLS, "query": 1, "run": 1}
    shape = [max(1, min(size, fixed.get(dim, 1))) for dim, size in variable.sizes.items()]
    for axis in reversed(range(variable.ndim)):
        if variable.dims[axis] not in fixed:
            shape[axis] = max(1, min(variable.shape[axis], _CHUNK // math.prod(shape)))
    return tuple(shape)


def streamed_variables(ds: xr.Dataset) -> list[Hashable]:
    """Name the variables that are lazy, so that they are computed as they are written."""
    return [name for name in ds if ds[name].chunks is not None]


def differences(ds: xr.Dataset, written: xr.Dataset) -> list[str]:
    """Name what did not read back as it was, without the values that were streamed."""
    wrong = [] if written.attrs == ds.attrs else ["attributes"]
    streamed = streamed_variables(ds)
    for name in {**ds.variables, **written.variables}:
        pair = [each.variables.get(name, xr.Variable((), 0)) for each in (ds, written)]
        if name in streamed:  # all but the values
            pair = [variable.copy(data=np.broadcast_to(0, variable.shape)) for variable in pair]
        if not _is_identical(*pair):
            wrong.append(str(name))
    return wrong


def _is_identical(kept: Any, written: Any) -> bool:
    """Compare a chunk of cells at a time: text takes much more room as Python's own strings."""
    if kept.dims != written.dims or kept.shape != written.shape:
        return False
    n_rows = max(1, min(_CELLS, _CHUNK // max(1, math.prod(kept.shape[1:]))))
    with without_threads():
        if not kept.ndim:
            return bool(kept.identical(written))
        starts = range(0, kept.shape[0], n_rows)
        parts = [slice(0), *(slice(start, start + n_rows) for start in starts)]
        return all(kept[part].identical(written[part].compute()) for part in parts)
