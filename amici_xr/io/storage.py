"""Save Datasets so that neither a crash nor a flipped bit goes unnoticed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from amici_xr.dataset.kinds import has_no_schema
from amici_xr.dataset.schema import SCHEMA_VERSION
from amici_xr.dataset.study import STUDY, check_study, folder_attributes, groups_of
from amici_xr.dataset.validation import validate_loaded, validate_streamed
from amici_xr.errors import SchemaError, listed
from amici_xr.io.atomic import replace_atomically
from amici_xr.io.formats import format_of, parse_path
from amici_xr.io.opening import check_group, check_structure_of_kind
from amici_xr.io.paths import check_replaceable
from amici_xr.io.storable import check_storable
from amici_xr.io.streaming import chunk_shape, compute_unstreamed, differences, streamed_variables


def save(ds: xr.Dataset | xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write a Dataset or a study so that the file is always whole: the old one or the new one.

    It is written beside the target, read back, compared, and only then put in the target's place.
    Checksums go with it: in ``.nc`` HDF5's own of each chunk, and a SHA-256 of the whole file after
    its end, where other readers do not look; in ``.zarr`` Zarr's own of each chunk, and a
    ``SHA256SUMS`` of everything else, as ``sha256sum -c`` reads it; in ``.zarr.zip`` ZIP's own too.

    Lazy scores are written a chunk at a time, each computed once: memory stays that of a few
    chunks, of 2¹⁵ cells each. Coordinates, and what holds no numbers, are computed first. With
    ``dask.distributed`` the workers write ``.zarr`` and ``.zarr.zip``, in a folder that they share;
    ``.nc`` is computed whole.

    Parameters
    ----------
    ds
        A Dataset of scores, a result of `distance_response`, both valid by their schema, or an
        answer about scores such as that of `bootstrap`; with attributes that are str, int or float.
        Or a study: a DataTree with one of these in each group, such as
        ``xarray.DataTree.from_dict({"scores": ds, "response": response})``.
    path
        Ends in ``.nc`` (NetCDF 4), ``.zarr`` (a Zarr folder) or ``.zarr.zip``. Scores, an answer
        about them or a study that is there is replaced, and keeps its permissions; anything else,
        such as a tissue, is left alone. A ``~`` in front is the home folder. All three open with
        `open_dataset`; the first two with plain ``xarray.open_dataset`` too, the last with
        ``xarray.open_dataset(ZipStore(path), engine="zarr")``. Studies open with `open_study`, and
        with ``xarray.open_datatree``.

    Raises
    ------
    SchemaError
        If the Dataset is not valid, or holds attributes or values that a file can't.
    ValueError
        If the path has another suffix, if what stands there is neither scores nor an answer about
        them, or if the file does not read back as it was written.
    OSError
        If the disk is full or the folder may not be written to (a ``PermissionError``).

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=50)
    >>> amici_xr.save(ds, "a.nc")
    >>> amici_xr.open_dataset("a.nc").identical(ds)
    True
    """
    target, suffix = parse_path(path)
    check_replaceable(target, suffix)
    is_in_this_process = suffix == ".nc"
    if isinstance(ds, xr.DataTree):
        check_study(ds, check_group)
        data: xr.Dataset | xr.DataTree = _ready_study(ds, is_in_this_process)
    else:
        data = _ready(ds, is_in_this_process)
    try:
        with replace_atomically(target) as beside:
            format_of(suffix, "writing").write(data, beside, suffix, chunk_shape)
            _check_written(data, beside, suffix, path)
    except OSError as error:
        if error.errno is None:  # it already says what is wrong
            raise
        raise OSError(
            error.errno,
            f"path={os.fspath(path)!r}: {os.strerror(error.errno)}, so nothing was replaced; "
            "free some space or choose another folder",
        ) from error


def _ready(ds: xr.Dataset, is_in_this_process: bool) -> xr.Dataset:
    """Return a Dataset as it is written: valid, and lazy only where it can be streamed."""
    if not (is_answer := has_no_schema(ds)):
        check_structure_of_kind(ds)
    ds = compute_unstreamed(ds.drop_encoding(), in_this_process=is_in_this_process)
    ds = ds if is_answer else validate_loaded(ds)
    check_storable(ds)
    return ds.assign_attrs(_with_version(ds.attrs))


def _ready_study(study: xr.DataTree, is_in_this_process: bool) -> xr.DataTree:
    """Return a study as it is written, with the attributes of groups that hold groups alone."""
    root = xr.Dataset(attrs=_with_version(study.attrs) | STUDY)
    check_storable(root)
    groups = {"/": root}
    for node in study.descendants:
        name = node.relative_to(study)
        try:
            if node.dataset.variables:
                groups[name] = _ready(node.to_dataset(), is_in_this_process)
            else:
                groups[name] = xr.Dataset(attrs=node.attrs)
                check_storable(groups[name])
        except SchemaError as error:
            raise SchemaError(f"group {name!r}: {error}") from None
    return xr.DataTree.from_dict(groups)


def _with_version(attributes: Mapping[Any, Any]) -> dict[Any, Any]:
    return {"schema_version": SCHEMA_VERSION} | dict(attributes)


def _check_written(
    data: xr.Dataset | xr.DataTree, beside: Path, suffix: str, path: str | os.PathLike[str]
) -> None:
    """Read back what was written, a chunk at a time, and compare it with what is in memory.

    What was computed while it was written is read against its checksums, and validated.
    """
    with format_of(suffix, "reading").read(beside, suffix, {}) as written:
        kept, read = groups_of(data), groups_of(written)
        wrong = sorted(kept.keys() ^ read.keys())
        wrong += [] if folder_attributes(written) == folder_attributes(data) else ["attributes"]
        for name in kept.keys() & read.keys():
            wrong += differences(kept[name], read[name])
        if wrong:
            raise ValueError(
                f"path={os.fspath(path)!r}: {listed(wrong)} did not read back as written, so "
                "nothing was replaced; write to another disk"
            )
        for name, ds in kept.items():
            if streamed := streamed_variables(ds):
                read[name][streamed].count().compute()
                if not has_no_schema(ds):
                    validate_streamed(ds.assign({each: read[name][each] for each in streamed}))
