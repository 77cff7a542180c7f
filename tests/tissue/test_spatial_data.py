"""SpatialData: a table with the centroids of its shapes, points or labels, from stores it wrote."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import amici_xr
from amici_xr.tissue.cells import read_tissue

spatialdata = pytest.importorskip("spatialdata")  # an extra
pytestmark = [
    pytest.mark.needs_model,
    pytest.mark.filterwarnings("ignore"),  # of spatialdata and the libraries below it
]
N_CELLS = 400


@pytest.fixture
def tissue(demo):
    return demo[1][:N_CELLS].copy()


def scale(factor):
    return spatialdata.transformations.Scale([factor, factor], axes=("x", "y"))


def squares(positions):
    """Squares around positions, as polygons."""
    from geopandas import GeoDataFrame
    from shapely import box

    half = 0.25
    return GeoDataFrame(
        geometry=[box(x - half, y - half, x + half, y + half) for x, y in positions]
    )


def element(kind, positions, transformations):
    models = spatialdata.models
    if kind == "circles":
        return models.ShapesModel.parse(
            positions, geometry=0, radius=1.0, transformations=transformations
        )
    if kind == "polygons":
        return models.ShapesModel.parse(squares(positions), transformations=transformations)
    return models.PointsModel.parse(positions, transformations=transformations)


def table_of(adata, regions=("cells",), instances=None):
    """Annotate the regions by a table: cells by turns in each, by the number of their instance."""
    cells = adata.copy()
    del cells.obsm["spatial"]
    which = np.arange(cells.n_obs) % len(regions)
    cells.obs["region"] = pd.Categorical(np.array(regions)[which])
    cells.obs["instance"] = np.arange(cells.n_obs) if instances is None else instances
    keys = {"region_key": "region", "instance_key": "instance"}
    return spatialdata.models.TableModel.parse(cells, region=list(regions), **keys)


def container(adata, kind="circles", systems=("global",), tables=("table",)):
    """Make a SpatialData whose elements are twice as large as its coordinate systems."""
    positions = 2 * adata.obsm["spatial"]
    cells = element(kind, positions, {name: scale(0.5) for name in systems})
    shelf = "points" if kind == "points" else "shapes"
    return spatialdata.SpatialData(
        **{shelf: {"cells": cells}}, tables={name: table_of(adata) for name in tables}
    )


@pytest.fixture
def store(tissue, tmp_path):
    container(tissue).write(tmp_path / "tissue.zarr")
    return tmp_path / "tissue.zarr"


def name_unit(store, unit, system="global", place="shapes/cells", axes=("x", "y")):
    """Write a unit into the coordinate system, as its format has it and SpatialData does not."""
    path = next(path for path in (Path(store, place, ".zattrs"), Path(store, place, "zarr.json"))
                if path.exists())  # fmt: skip
    metadata = json.loads(path.read_text())
    attributes = metadata.get("attributes", metadata)
    for transformation in attributes["coordinateTransformations"]:
        if transformation["output"]["name"] != system:
            continue
        for axis in transformation["output"]["axes"]:
            axis["unit"] = unit if axis["name"] in axes else axis["unit"]
    path.write_text(json.dumps(metadata))
    for consolidated in (Path(store, "zarr.json"), Path(store, ".zmetadata")):
        if consolidated.exists():
            root = json.loads(consolidated.read_text())
            root.pop("consolidated_metadata", None)
            consolidated.write_text(json.dumps(root))


@pytest.mark.parametrize("kind", ["circles", "polygons", "points"])
def test_positions_are_centroids_in_the_coordinate_system(tissue, kind, tmp_path):
    sdata = container(tissue, kind)
    adata = amici_xr.from_spatialdata(sdata)
    np.testing.assert_allclose(adata.obsm["spatial"], tissue.obsm["spatial"])
    assert adata.obs_names.tolist() == tissue.obs_names.tolist()
    assert "spatial" not in sdata.tables["table"].obsm
    sdata.write(tmp_path / "a.zarr")
    of_store = amici_xr.from_spatialdata(tmp_path / "a.zarr")
    np.testing.assert_allclose(of_store.obsm["spatial"], tissue.obsm["spatial"])


def test_labels_are_regions_and_cells_may_stand_in_any_order(tissue):
    image = np.zeros((12, 12), np.int64)
    image[2:4, 6:8], image[8:11, 1:4] = 7, 3
    labels = spatialdata.models.Labels2DModel.parse(
        image, dims=("y", "x"), transformations={"global": scale(0.5)}
    )
    table = table_of(tissue[:2], instances=[3, 7])
    sdata = spatialdata.SpatialData(labels={"cells": labels}, tables={"table": table})
    positions = amici_xr.from_spatialdata(sdata).obsm["spatial"]
    expected = [[2.5 / 2, 9.5 / 2], [7 / 2, 3 / 2]]  # centers of pixels are halves
    np.testing.assert_allclose(positions, expected)


def test_cells_of_several_regions_each_take_their_own_shape(tissue):
    xy = tissue.obsm["spatial"]
    shapes = {
        "left": element("circles", 2 * xy, {"global": scale(0.5)}),
        "right": element("polygons", 4 * xy, {"global": scale(0.25)}),
    }
    table = table_of(tissue, tuple(shapes))
    sdata = spatialdata.SpatialData(shapes=shapes, tables={"table": table})
    np.testing.assert_allclose(amici_xr.from_spatialdata(sdata).obsm["spatial"], xy)


def test_instances_that_are_text_are_found(tissue):
    cells = squares(2 * tissue.obsm["spatial"])
    cells.index = [f"cell-{number}" for number in range(N_CELLS)]
    shapes = spatialdata.models.ShapesModel.parse(cells, transformations={"global": scale(0.5)})
    table = table_of(tissue[::-1], instances=cells.index[::-1].to_numpy())
    sdata = spatialdata.SpatialData(shapes={"cells": shapes}, tables={"table": table})
    adata = amici_xr.from_spatialdata(sdata)
    np.testing.assert_allclose(adata.obsm["spatial"], tissue.obsm["spatial"][::-1])


@pytest.mark.parametrize("of_store", [False, True], ids=["object", "store"])
def test_an_extraction_is_that_of_the_anndata_and_goes_back_into_the_table(
    demo, tissue, tmp_path, of_store
):
    model = demo[0]
    sdata = container(tissue)
    sdata.write(tmp_path / "tissue.zarr")
    given = str(tmp_path / "tissue.zarr") if of_store else sdata
    ds = amici_xr.extract(model, "T_cell", given, progress=False)
    expected = amici_xr.extract(model, "T_cell", tissue, progress=False)
    xr.testing.assert_allclose(ds.drop_attrs(), expected.drop_attrs())
    sdata.tables["table"].obsm["spatial"] = 2 * tissue.obsm["spatial"]  # of the instrument
    columns = amici_xr.to_anndata(ds, sdata, threshold=0.1)
    amici_xr.to_anndata(expected, tissue, threshold=0.1)
    written = sdata.tables["table"].obs[columns]
    np.testing.assert_allclose(written, tissue.obs[columns], rtol=1e-5)
    assert written.notna().any().all()
    sdata.delete_element_from_disk("table")
    sdata.write_element("table")
    again = spatialdata.read_zarr(tmp_path / "tissue.zarr").tables["table"]
    np.testing.assert_array_equal(again.obs[columns], written)


def test_expression_of_a_store_is_read_from_the_file(store, tissue):
    read = read_tissue(store, labels_key="cell_type")
    assert read.expression.is_in_file
    batches = np.concatenate(list(read.expression.batches(np.arange(N_CELLS), 150)))
    np.testing.assert_array_equal(batches, tissue.X)


def test_a_response_is_that_of_the_anndata(store, tissue):
    response = amici_xr.distance_response(store, "cell_type", progress=False)
    expected = amici_xr.distance_response(tissue, "cell_type", progress=False)
    xr.testing.assert_allclose(response.drop_attrs(), expected.drop_attrs())


@pytest.mark.needs_training
def test_models_are_trained_and_refitted_on_a_spatialdata(tissue):
    sdata = container(tissue)
    small = {"n_neighbors": 10, "n_heads": 2, "cell_hidden_size": 16, "progress": False}
    runs = amici_xr.train(sdata, "cell_type", max_epochs=1, **small)
    assert runs.extract("T_cell", progress=False).sizes["receiver"] > 0
    refits = amici_xr.leave_out_senders(
        sdata, "cell_type", n_runs=2, max_epochs=1, senders=["Macrophage"], **small
    )
    assert "q_value" in refits


# Units


def test_the_unit_that_a_store_names_is_that_of_every_distance(store, demo):
    name_unit(store, "micrometer")
    for given in (store, spatialdata.read_zarr(store)):
        ds = amici_xr.extract(demo[0], "T_cell", given, progress=False)
        assert ds["neighborhood_distance"].attrs["units"] == "µm"


def test_a_unit_is_that_of_its_coordinate_system_alone(tissue, tmp_path):
    store = tmp_path / "tissue.zarr"
    container(tissue, systems=("global", "aligned")).write(store)
    name_unit(store, "pixel", "global")
    name_unit(store, "micrometer", "aligned")
    for system, unit in (("global", "pixel"), ("aligned", "micrometer")):
        adata = amici_xr.from_spatialdata(store, coordinate_system=system)
        assert adata.uns["spatial_unit"] == unit


def test_a_store_without_units_has_none(store):
    assert "spatial_unit" not in amici_xr.from_spatialdata(store).uns


def test_a_unit_of_the_tables_own_coordinates_is_kept_where_they_are_the_positions(tissue):
    sdata = container(tissue)
    table = sdata.tables["table"]
    table.uns["coord_unit"] = "µm"
    assert amici_xr.from_spatialdata(sdata).uns["coord_unit"] == "µm"
    table.obsm["spatial"] = tissue.obsm["spatial"]
    assert amici_xr.from_spatialdata(sdata).uns["coord_unit"] == "µm"
    table.obsm["spatial"] = 2 * tissue.obsm["spatial"]
    assert "coord_unit" not in amici_xr.from_spatialdata(sdata).uns
    assert table.uns["coord_unit"] == "µm"


def test_the_unit_of_the_store_takes_the_place_of_that_of_the_table(tissue, tmp_path):
    sdata = container(tissue)
    sdata.tables["table"].uns["coord_unit"] = "pixel"
    sdata.write(tmp_path / "a.zarr")
    name_unit(tmp_path / "a.zarr", "millimeter")
    uns = amici_xr.from_spatialdata(tmp_path / "a.zarr").uns
    assert (uns["spatial_unit"], "coord_unit" in uns) == ("millimeter", False)


def test_axes_of_different_units_are_refused(store):
    name_unit(store, "micrometer", axes=("x",))
    name_unit(store, "pixel", axes=("y",))
    message = "axes of the coordinate system 'global' have the units 'micrometer', 'pixel', between"
    with pytest.raises(ValueError, match=message):
        amici_xr.from_spatialdata(store)


# Several tables and coordinate systems


def test_several_tables_are_listed_with_the_call_and_one_can_be_chosen(tissue, tmp_path):
    sdata = container(tissue, tables=("cells_a", "cells_b"))
    sdata.write(tmp_path / "a.zarr")
    message = r"tables 'cells_a', 'cells_b'; choose one, amici_xr\.from_spatialdata\(sdata, table="
    for given in (sdata, tmp_path / "a.zarr"):
        with pytest.raises(ValueError, match=message):
            amici_xr.from_spatialdata(given)
    with pytest.raises(ValueError, match=message):
        read_tissue(sdata, labels_key="x")
    assert amici_xr.from_spatialdata(sdata, "cells_b").n_obs == N_CELLS
    with pytest.raises(amici_xr.NotFoundError, match=r"table='c' is not in this .* has 'cells_a',"):
        amici_xr.from_spatialdata(sdata, "c")
    ds = amici_xr.testing.simulate_dataset()
    with pytest.raises(ValueError, match=r"tables 'cells_a', 'cells_b'; pass one of them, sdata"):
        amici_xr.to_anndata(ds, sdata)


def test_of_several_tables_in_a_store_one_is_chosen_by_its_path(tissue, tmp_path):
    container(tissue, tables=("cells_a", "cells_b")).write(tmp_path / "a.zarr")
    message = (
        r"tables 'cells_a', 'cells_b'; pass the path of one of them, e\.g\. '.*/tables/cells_a'"
    )
    with pytest.raises(ValueError, match=message):
        read_tissue(tmp_path / "a.zarr", labels_key="cell_type")
    chosen = read_tissue(tmp_path / "a.zarr" / "tables" / "cells_b", labels_key="cell_type")
    np.testing.assert_allclose(chosen.positions, tissue.obsm["spatial"])


def test_the_path_of_a_table_with_coordinates_of_its_own_gives_these(tissue, tmp_path):
    sdata = container(tissue)
    sdata.tables["table"].obsm["spatial"] = 3 * tissue.obsm["spatial"]
    sdata.write(tmp_path / "a.zarr")
    of_store, of_table = (
        read_tissue(tmp_path / path, labels_key="cell_type").positions
        for path in ("a.zarr", "a.zarr/tables/table")
    )
    np.testing.assert_allclose(of_store, tissue.obsm["spatial"])
    np.testing.assert_allclose(of_table, 3 * tissue.obsm["spatial"])


def test_several_coordinate_systems_are_listed_with_the_call_and_one_can_be_chosen(tissue):
    sdata = container(tissue, systems=("global", "aligned"))
    spatialdata.transformations.set_transformation(sdata["cells"], scale(5.0), "aligned")
    message = (
        r"regions 'cells' have the coordinate systems 'global', 'aligned'; choose one, "
        r"amici_xr\.from_spatialdata\(sdata, coordinate_system='global'\)"
    )
    for ask in (amici_xr.from_spatialdata, lambda each: read_tissue(each, labels_key="x")):
        with pytest.raises(ValueError, match=message):
            ask(sdata)
    for name, factor in (("global", 1), ("aligned", 10)):
        positions = amici_xr.from_spatialdata(sdata, coordinate_system=name).obsm["spatial"]
        np.testing.assert_allclose(positions, factor * tissue.obsm["spatial"])
    with pytest.raises(amici_xr.NotFoundError, match="coordinate_system='mine' is not one of thos"):
        amici_xr.from_spatialdata(sdata, coordinate_system="mine")


def test_regions_that_share_no_coordinate_system_are_named(tissue):
    xy = tissue.obsm["spatial"]
    shapes = {name: element("circles", xy, {name.upper(): scale(1)}) for name in ("a", "b")}
    sdata = spatialdata.SpatialData(shapes=shapes, tables={"table": table_of(tissue, ("a", "b"))})
    message = "share no coordinate system: 'a' in 'A'; 'b' in 'B'; take one at a time"
    with pytest.raises(ValueError, match=message):
        amici_xr.from_spatialdata(sdata)


# What is refused


def test_a_cell_without_a_shape_is_named(tissue):
    sdata = container(tissue)
    sdata.tables["table"].obs["instance"] += 3
    message = "3 cells of the table are not in its region 'cells', e.g. 400, 401, 402; drop them"
    with pytest.raises(ValueError, match=message):
        amici_xr.from_spatialdata(sdata)


def test_numbers_in_the_table_find_shapes_that_are_numbered_in_text(tissue):
    cells = squares(2 * tissue.obsm["spatial"])
    cells.index = cells.index.astype(str)
    sdata = container(tissue)
    transformations = {"global": scale(0.5)}
    shapes = spatialdata.models.ShapesModel.parse(cells, transformations=transformations)
    sdata.shapes["cells"] = shapes
    adata = amici_xr.from_spatialdata(sdata)
    np.testing.assert_allclose(adata.obsm["spatial"], tissue.obsm["spatial"])


def test_shapes_that_share_an_index_are_named(tissue):
    sdata = container(tissue)
    sdata["cells"].index = [0, 0, *range(2, N_CELLS)]
    with pytest.raises(ValueError, match="region 'cells' holds the instances 0 more than once"):
        amici_xr.from_spatialdata(sdata)


def test_a_region_that_is_missing_is_named(tissue):
    sdata = container(tissue)
    del sdata.shapes["cells"]
    with pytest.raises(amici_xr.NotFoundError, match="annotates 'cells', which this SpatialData"):
        amici_xr.from_spatialdata(sdata)


def test_a_table_that_annotates_nothing_has_the_coordinates_that_it_has(tissue):
    table = spatialdata.models.TableModel.parse(tissue.copy())
    sdata = spatialdata.SpatialData(tables={"table": table})
    adata = amici_xr.from_spatialdata(sdata)
    np.testing.assert_array_equal(adata.obsm["spatial"], tissue.obsm["spatial"])
    with pytest.raises(ValueError, match="coordinate_system='global', but the table 'table' annot"):
        amici_xr.from_spatialdata(sdata, coordinate_system="global")


def test_a_table_alone_names_the_call_that_gives_it_positions(tissue):
    table = container(tissue).tables["table"]
    message = r"no 'spatial'.*gets them from amici_xr\.from_spatialdata\(sdata\)"
    with pytest.raises(amici_xr.NotFoundError, match=message):
        amici_xr.distance_response(table, "cell_type")


def test_what_is_neither_a_spatialdata_nor_a_path_is_refused(tissue, tmp_path):
    with pytest.raises(TypeError, match="sdata must be a SpatialData or a path, not AnnData"):
        amici_xr.from_spatialdata(tissue)
    with pytest.raises(FileNotFoundError, match=r"sdata='.*b\.zarr': there is no such store"):
        amici_xr.from_spatialdata(str(tmp_path / "b.zarr"))
    (tmp_path / "cells.nc").write_bytes(b"no store")
    with pytest.raises(ValueError, match=r"cells\.nc' can't be read as a SpatialData store: "):
        amici_xr.from_spatialdata(tmp_path / "cells.nc")
    with pytest.raises(ValueError, match="SpatialData store without a table"):
        amici_xr.from_spatialdata(spatialdata.SpatialData())
