"""Writing lazy arrays block by block, each computed once and its digest taken on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.io.digests import Digests, block_shape, blocks_of, of_block, of_header

_STREAMED_KINDS = "fiu"  # floating-point numbers, integers, unsigned ones


def partly_computed(ds: xr.Dataset, *, only_here: bool) -> xr.Dataset:
    """A Dataset of which only those lazy variables are left lazy that can be streamed.

    These are data variables of numbers, in blocks as digests take them. With `only_here` nothing
    is left lazy where other processes compute, which can't write to a file that this one has open.
    """
    lazy = [name for name, variable in ds.variables.items() if variable.chunks is not None]
    if not lazy:
        return ds
    streamed = [
        name for name in lazy if name in ds.data_vars and ds[name].dtype.kind in _STREAMED_KINDS
    ]
    if only_here and not _computes_in_this_process():
        streamed = []
    computed = ds[[name for name in lazy if name not in streamed]].compute()
    blocks = {}
    for name in streamed:
        variable = ds.variables[name]
        sizes = dict(zip(variable.dims, block_shape(variable.dims, variable.shape), strict=True))
        blocks[name] = variable.chunk(sizes)
    return ds.assign(computed.variables).assign(blocks)


def write_blocks(
    variables: Mapping[str, xr.Variable], targets: Mapping[str, Any], lock: Any
) -> Digests:
    """Compute lazy variables and write each block to its place in the target of that name.

    All of them go through one graph, left as it is: what they share is computed once, which dask's
    optimization does not promise. Returns their digests, of the very blocks that were written.
    """
    from dask.base import compute
    from dask.delayed import delayed

    write = delayed(_write, pure=False)
    tasks = []
    for name, variable in variables.items():
        blocks = variable.data.to_delayed(optimize_graph=False).ravel()
        places = zip(blocks, blocks_of(variable.dims, variable.shape), strict=True)
        tasks.append([write(block, targets[name], at, lock) for block, at in places])
    (written,) = compute(tasks)  # type: ignore[no-untyped-call]  # no types
    return {
        name: [of_header(variable), *found]
        for (name, variable), found in zip(variables.items(), written, strict=True)
    }


def _write(block: NDArray[Any], target: Any, at: tuple[slice, ...], lock: Any) -> str:
    block = np.asarray(block)
    with lock or contextlib.nullcontext():
        target[at] = block
    return of_block(block)


def _computes_in_this_process() -> bool:
    from dask.base import get_scheduler
    from dask.local import get_sync
    from dask.threaded import get as get_threaded

    return get_scheduler() in (None, get_sync, get_threaded)  # type: ignore[no-untyped-call]  # no types
