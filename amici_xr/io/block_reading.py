"""Lazy reading that compares every block with its digest when it is read."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.core import indexing

from amici_xr.io.digests import block_shape, of_block
from amici_xr.io.formats import read


def open_checked(path: Path, suffix: str, chunks: Any) -> xr.Dataset:
    """Open a file lazily, so that each block is compared with its digest when it is read."""
    return xr.open_dataset(path, engine=_CheckedFiles, chunks=chunks, suffix=suffix)


class _CheckedFiles(xr.backends.BackendEntrypoint):
    """How xarray opens a file whose variables check themselves."""

    def open_dataset(
        self, filename_or_obj: Any, *, drop_variables: Any = None, suffix: str = ""
    ) -> xr.Dataset:
        """Put the check between xarray and the file; files without digests have none."""
        path = Path(filename_or_obj)
        ds, expected = read(path, suffix)
        checked = {}
        for name, variable in ds.variables.items():
            if str(name) in expected:
                what = f"path={str(path)!r}: {name}"
                values = CheckedArray(variable, expected[str(name)][1:], what)
                sizes = dict(zip(variable.dims, values.block_shape, strict=True))
                checked[name] = xr.Variable(
                    variable.dims,
                    indexing.LazilyIndexedArray(values),
                    variable.attrs,
                    variable.encoding | {"preferred_chunks": sizes},
                    fastpath=True,
                )
        result = ds.drop_indexes(ds.indexes).assign(checked)
        result.set_close(ds.close)
        return result


class CheckedArray(xr.backends.BackendArray):
    """The values of a variable in a file, of which no damaged block is ever returned."""

    def __init__(self, variable: xr.Variable, digests: list[str], what: str) -> None:
        self.shape = variable.shape
        self.block_shape = block_shape(variable.dims, variable.shape)
        self.dtype = variable.dtype
        self._variable = variable
        self._digests = digests
        self._what = what

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what xarray asks for."""
        basic = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, basic, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read the blocks that integers and slices touch, and return what they ask for."""
        lengths = self.block_shape
        asked = [
            np.atleast_1d(np.array(range(size)[one], dtype=np.intp))
            for one, size in zip(key, self.shape, strict=True)
        ]
        numbers = [places // length for places, length in zip(asked, lengths, strict=True)]
        found = np.empty([places.size for places in asked], self.dtype)
        for block in itertools.product(*map(np.unique, numbers)):
            own = [np.flatnonzero(one == at) for one, at in zip(numbers, block, strict=True)]
            within = [
                places[one] - at * length
                for places, one, at, length in zip(asked, own, block, lengths, strict=True)
            ]
            found[np.ix_(*own)] = self._checked(block)[np.ix_(*within)]
        return found[tuple(slice(None) if isinstance(one, slice) else 0 for one in key)]

    def _checked(self, block: tuple[int, ...]) -> NDArray[Any]:
        """Values of one block, once they are known to be those that were saved."""
        lengths = self.block_shape
        counts = [math.ceil(n / length) for n, length in zip(self.shape, lengths, strict=True)]
        at = tuple(  # no further than the array: older h5netcdf fills up what is asked beyond it
            slice(number * length, min((number + 1) * length, size))
            for number, length, size in zip(block, lengths, self.shape, strict=True)
        )
        values = self._variable[at].values
        number = int(np.ravel_multi_index(block, counts)) if block else 0
        if of_block(values) != self._digests[number]:
            raise ValueError(
                f"{self._what} differs from what was saved, or was replaced while it was open; "
                "open it again, or restore it from a copy"
            )
        return values
