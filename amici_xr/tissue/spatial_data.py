"""A SpatialData object or store as an AnnData: a table, with the centroids of its regions."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amici_xr.dependencies import require
from amici_xr.errors import NotFoundError, listed
from amici_xr.tissue.unit_entries import unit_keys

if TYPE_CHECKING:
    import anndata
    import spatialdata

REGIONS = "spatialdata_attrs"  # entry of uns that says which elements a table annotates
POSITIONS = "spatial"  # entry of obsm
ELEMENTS = ("labels", "points", "shapes")  # kinds of regions
_NO_UNIT = "unit"  # what SpatialData writes where no unit is known
_TABLES = "tables"


def from_spatialdata(
    sdata: spatialdata.SpatialData | str | os.PathLike[str],
    table: str | None = None,
    coordinate_system: str | None = None,
) -> anndata.AnnData:
    """Return a table of a SpatialData with the positions of its cells, as an AnnData.

    The position of a cell is the centroid of its shape (circle or polygon), point or label in the
    elements that the table annotates, transformed into the coordinate system. `extract`, `train`,
    `distance_response` and `leave_out_senders` call this themselves, where there is one table and
    one coordinate system.

    Parameters
    ----------
    sdata
        The SpatialData, or the path of its ``.zarr`` store. A ``~`` in front is the home folder.
    table
        Name of the table; None takes the only one.
    coordinate_system
        Name of the coordinate system; None takes the only one that all regions of the table have.

    Returns
    -------
    anndata.AnnData
        The table, with which it shares expression; ``obsm["spatial"]`` holds the positions. Where
        the store names the unit of the coordinate system, ``uns["spatial_unit"]`` does too. Units
        that the table itself names are kept only where its own coordinates are these positions.
        A table that annotates nothing is returned with the coordinates that it has.

    Raises
    ------
    ModuleNotFoundError
        If spatialdata is not installed.
    NotFoundError
        If there is no such table, coordinate system or region.
    ValueError
        If the path can't be read, several tables or coordinate systems could be meant, a cell has
        no shape in its region, or units contradict.
    TypeError
        If `sdata` is neither a SpatialData nor a path.

    Examples
    --------
    >>> import amici_xr, anndata, numpy as np, pandas as pd
    >>> from spatialdata import SpatialData
    >>> from spatialdata.models import ShapesModel, TableModel
    >>> obs = pd.DataFrame({"region": pd.Categorical(["cells"] * 2), "cell": [0, 1]}, ["a", "b"])
    >>> cells = anndata.AnnData(np.ones((2, 1), np.float32), obs)
    >>> keys = {"region": "cells", "region_key": "region", "instance_key": "cell"}
    >>> circles = ShapesModel.parse(np.array([[1.0, 2.0], [3.0, 4.0]]), geometry=0, radius=1.0)
    >>> table = TableModel.parse(cells, **keys)
    >>> sdata = SpatialData(shapes={"cells": circles}, tables={"table": table})
    >>> amici_xr.from_spatialdata(sdata).obsm["spatial"].tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if isinstance(sdata, str | os.PathLike):
        sdata = read_elements(sdata, (*ELEMENTS, _TABLES))
    elif not is_spatialdata(sdata):
        raise TypeError(f"sdata must be a SpatialData or a path, not {type(sdata).__name__}")
    name = choose_table(sdata.tables, table)
    adata = _without_copying(sdata.tables[name])
    if REGIONS not in adata.uns:
        if coordinate_system is not None:
            raise ValueError(
                f"coordinate_system={coordinate_system!r}, but the table {name!r} annotates no "
                "elements, whose positions could be transformed; leave it out"
            )
        return adata
    return place_cells(adata, sdata, coordinate_system)


def is_spatialdata(data: object) -> bool:
    """Tell whether this is a SpatialData, without importing it."""
    return type(data).__name__ == "SpatialData" and hasattr(data, "tables")


def read_elements(path: str | os.PathLike[str], kinds: Collection[str]) -> Any:
    """Read elements of a store; images, which nothing here needs, stay unread."""
    store = Path(path).expanduser()
    if not store.exists():
        raise FileNotFoundError(f"sdata={os.fspath(path)!r}: there is no such store")
    read_zarr = require("spatialdata", "spatialdata", "reading SpatialData").read_zarr
    with warnings.catch_warnings():  # of plans and older formats of the libraries below it
        warnings.simplefilter("ignore")
        try:
            return read_zarr(store, selection=tuple(kinds))
        except Exception as error:  # each version of the libraries below it has its own
            raise ValueError(
                f"sdata={os.fspath(path)!r} can't be read as a SpatialData store: {error}"
            ) from error


def choose_table(
    tables: Iterable[str], table: str | None = None, folder: Path | None = None
) -> str:
    """Return the name of the table, or of the only one; `folder` is where a store keeps them."""
    names = list(tables)
    if table is not None and table not in names:
        raise NotFoundError(
            f"table={table!r} is not in this SpatialData, which has {listed(names)}"
        )
    if not names:
        raise ValueError("it is a SpatialData store without a table of cells")
    if table is None and len(names) > 1:
        if folder is None:
            remedy = (
                f"choose one, amici_xr.from_spatialdata(sdata, table={names[0]!r}), and pass what "
                "that returns"
            )
        else:
            remedy = f"pass the path of one of them, e.g. {str(folder / names[0])!r}"
        raise ValueError(f"it is a SpatialData with the tables {listed(names)}; {remedy}")
    return names[0] if table is None else table


def place_cells(
    adata: anndata.AnnData, sdata: Any, coordinate_system: str | None = None
) -> anndata.AnnData:
    """Put the centroids of the cells, and their unit, into an AnnData that annotates regions."""
    region_key, instance_key = (adata.uns[REGIONS][key] for key in ("region_key", "instance_key"))
    region_of_cell = adata.obs[region_key].astype(str).to_numpy(dtype=object)
    regions = list(dict.fromkeys(region_of_cell))
    if missing := [name for name in regions if name not in sdata]:
        raise NotFoundError(
            f"the table annotates {listed(missing)}, which this SpatialData lacks; it has "
            f"{listed(name for _, name, _ in sdata.gen_elements())}"
        )
    system = _choose_system({name: sdata[name] for name in regions}, coordinate_system)
    centroids = {name: _centroids(sdata[name], name, system) for name in regions}
    n_axes = min(frame.shape[1] for frame in centroids.values())
    positions = np.full((adata.n_obs, n_axes), np.nan)
    for name, frame in centroids.items():
        is_in_region = region_of_cell == name
        row = _find_instances(frame.index, adata.obs.loc[is_in_region, instance_key], name)
        positions[is_in_region] = frame.to_numpy(np.float64)[row, :n_axes]
    unit = _unit_of(sdata, regions, system)
    own = adata.obsm.get(POSITIONS)
    if unit is not None or not (own is None or _is_close(own, positions)):
        for key in unit_keys(POSITIONS):
            adata.uns.pop(key, None)
    if unit is not None:
        adata.uns[unit_keys(POSITIONS)[0]] = unit
    adata.obsm[POSITIONS] = positions
    return adata


def _choose_system(elements: Mapping[str, Any], coordinate_system: str | None) -> str:
    """Return the coordinate system, or the only one that all regions have."""
    from spatialdata.transformations import get_transformation

    systems = {
        name: list(get_transformation(each, get_all=True)) for name, each in elements.items()
    }
    shared = [name for name in next(iter(systems.values()))
              if all(name in of_region for of_region in systems.values())]  # fmt: skip
    if coordinate_system in shared or (coordinate_system is None and len(shared) == 1):
        return shared[0] if coordinate_system is None else coordinate_system
    if not shared:
        parts = (f"{name!r} in {listed(of_region)}" for name, of_region in systems.items())
        raise ValueError(
            f"the regions of the table share no coordinate system: {'; '.join(parts)}; take one "
            "at a time, e.g. sdata.filter_by_coordinate_system(…)"
        )
    if coordinate_system is not None:
        raise NotFoundError(
            f"coordinate_system={coordinate_system!r} is not one of those of the regions "
            f"{listed(elements)}, which have {listed(shared)}"
        )
    raise ValueError(
        f"the regions {listed(elements)} have the coordinate systems {listed(shared)}; choose one, "
        f"amici_xr.from_spatialdata(sdata, coordinate_system={shared[0]!r}), and pass what that "
        "returns"
    )


def _centroids(element: Any, name: str, coordinate_system: str) -> pd.DataFrame:
    """Return the centroids of an element, a column for each axis, by instance."""
    from spatialdata import get_centroids

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame: pd.DataFrame = get_centroids(element, coordinate_system).compute()
    if not frame.index.is_unique:
        repeated = frame.index[frame.index.duplicated()].unique()
        raise ValueError(
            f"the region {name!r} holds the instances {listed(repeated, 5)} more than once, so "
            "that cells can't be told apart; give each an index of its own"
        )
    return frame[[axis for axis in "xyz" if axis in frame]]


def _find_instances(index: pd.Index, instances: pd.Series[Any], name: str) -> NDArray[np.intp]:
    wanted = pd.Index(instances)
    if index.dtype != wanted.dtype:
        index, wanted = index.astype(str), wanted.astype(str)
    row: NDArray[np.intp] = index.get_indexer(wanted)
    if (row < 0).any():
        raise ValueError(
            f"{(row < 0).sum():,} cells of the table are not in its region {name!r}, e.g. "
            f"{listed(wanted[row < 0], 3)}; drop them, e.g. with spatialdata.match_table_to_element"
        )
    return row


def _is_close(own: Any, positions: NDArray[np.float64]) -> bool:
    given = np.asarray(own)
    return given.shape == positions.shape and np.allclose(given, positions)


def _unit_of(sdata: Any, regions: Iterable[str], coordinate_system: str) -> str | None:
    """Return the unit that the store names for a coordinate system; None where it names none.

    SpatialData keeps units in its files alone.
    """
    if sdata.path is None:
        return None
    root = require("zarr", "zarr", "reading .zarr").open_group(sdata.path, mode="r")
    places = {name: f"{kind}/{name}" for kind, name, _ in sdata.gen_elements()}
    units = {
        axis["unit"]
        for name in regions
        if places[name] in root
        for transformation in _transformations(root[places[name]].attrs.asdict())
        if transformation.get("output", {}).get("name") == coordinate_system
        for axis in transformation["output"].get("axes", ())
        if axis.get("unit", _NO_UNIT) != _NO_UNIT
    }
    if len(units) > 1:
        raise ValueError(
            f"the axes of the coordinate system {coordinate_system!r} have the units "
            f"{listed(sorted(units))}, between which no distance can be computed; use another one"
        )
    return next(iter(units), None)


def _transformations(attributes: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the transformations of an element, wherever its version of the format has them."""
    items = (
        attributes.items() if isinstance(attributes, dict) else [("", each) for each in attributes]
    )
    for key, value in items:
        if key == "coordinateTransformations":
            yield from value
        elif isinstance(value, dict | list):
            yield from _transformations(value)


def _without_copying(table: anndata.AnnData) -> anndata.AnnData:
    """Return an AnnData of its own that shares the expression of the table."""
    anndata = require("anndata", "model", "reading a tissue")
    layers = {name: matrix for name, matrix in table.layers.items() if name is not None}
    return anndata.AnnData(
        X=table.X,
        obs=table.obs.copy(),
        var=table.var,
        obsm=dict(table.obsm),
        varm=dict(table.varm),
        uns=dict(table.uns),
        layers=layers,
    )
