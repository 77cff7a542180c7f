"""A tissue read from what people have: other containers, tables of coordinates, repeated names."""

import gzip
import importlib.util
import warnings

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import amici_xr
from amici_xr.tissue.cells import read_tissue

HAS_SPATIALDATA = importlib.util.find_spec("spatialdata") is not None
anndata = pytest.importorskip("anndata")  # the core environment deselects what needs the model
pytestmark = pytest.mark.needs_model


@pytest.fixture
def adata(demo):
    return demo[1][:400].copy()


def read(adata, **options):
    return read_tissue(adata, labels_key="cell_type", **options)


def written_as_mudata(path, *modalities, adata):
    with h5py.File(path, "w") as root:
        root.attrs["encoding-type"], root.attrs["encoding-version"] = "MuData", "0.1.0"
        for name in modalities:
            anndata.io.write_elem(root.require_group("mod"), name, adata)
        anndata.io.write_elem(root, "obs", adata.obs)
        anndata.io.write_elem(root, "var", adata.var)
    return path


def written_as_spatialdata(path, *tables, adata):
    zarr = pytest.importorskip("zarr")
    store = zarr.open_group(path, mode="w")
    for name in ("images", "labels", "points", "shapes", "tables"):
        store.create_group(name)
    with warnings.catch_warnings():  # of zarr's plans for its next release
        warnings.simplefilter("ignore")
        for name in tables:
            anndata.io.write_elem(store["tables"], name, adata)
    return path


def test_a_tissue_has_its_cells_types_and_positions(adata):
    tissue = read(adata)
    assert tissue.n_cells == 400
    assert tissue.vocabulary == tuple(sorted(adata.obs["cell_type"].unique()))
    np.testing.assert_array_equal(
        np.array(tissue.vocabulary)[tissue.codes], adata.obs["cell_type"].astype(str)
    )
    np.testing.assert_array_equal(tissue.positions, adata.obsm["spatial"])
    batches = tissue.expression.batches(np.arange(400), 150)
    np.testing.assert_array_equal(np.concatenate(list(batches)), adata.X)


class TestContainers:
    @pytest.mark.parametrize("names", [("rna",), ("rna", "protein")])
    def test_a_mudata_file_names_its_modalities_and_the_call(self, adata, tmp_path, names):
        path = written_as_mudata(tmp_path / "a.h5mu", *names, adata=adata)
        with pytest.raises(ValueError, match=r"MuData file with the modalities .*mudata.read\("):
            read(path)

    def test_the_only_table_of_a_spatialdata_store_is_read(self, adata, tmp_path):
        path = written_as_spatialdata(tmp_path / "a.zarr", "table", adata=adata)
        tissue = read(path)
        np.testing.assert_array_equal(tissue.positions, adata.obsm["spatial"])
        expression = np.concatenate(list(tissue.expression.batches(np.arange(400), 400)))
        np.testing.assert_array_equal(expression, adata.X)

    def test_several_tables_of_a_spatialdata_store_are_named(self, adata, tmp_path):
        path = written_as_spatialdata(tmp_path / "a.zarr", "cells", "nuclei", adata=adata)
        with pytest.raises(ValueError, match=r"tables '\w+', '\w+'; pass the path of one of them"):
            read(path)

    def test_a_spatialdata_store_without_tables_is_named(self, adata, tmp_path):
        path = written_as_spatialdata(tmp_path / "a.zarr", adata=adata)
        with pytest.raises(ValueError, match="SpatialData store without a table"):
            read(path)

    def test_a_10x_matrix_names_the_call_that_reads_it(self, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as root:
            root.create_group("matrix")["barcodes"] = [b"AAAC-1"]
        with pytest.raises(ValueError, match=r"10x matrix .*scanpy.read_10x_h5\("):
            read(tmp_path / "a.h5")

    def test_a_compressed_file_says_how_to_unpack_it(self, adata, tmp_path):
        adata.write_h5ad(tmp_path / "a.h5ad")
        (tmp_path / "b.gz").write_bytes(gzip.compress((tmp_path / "a.h5ad").read_bytes()))
        with pytest.raises(ValueError, match=r"compressed with gzip; unpack it first: gunzip b.gz"):
            read(tmp_path / "b.gz")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.zip", b"PK\3\4", r"it is a zip archive; unpack it first: unzip a.zip"),
            ("a.h5ad", b"cell,x", r"it is not an HDF5 file; a tissue is the \.h5ad or \.zarr that"),
            ("a.h5ad", b"", r"it is empty; a tissue is the \.h5ad or \.zarr that AnnData has"),
            (
                "a/notes.txt",
                b"x",
                r"it is a folder that holds 'notes\.txt'; a tissue is the \.h5ad",
            ),
            ("a/b.h5ad", b"x", r"folder that holds 'b\.h5ad'; pass one .*adata='.*b\.h5ad'"),
            ("a/b.zarr/x", b"x", r"folder that holds 'b\.zarr'; pass one .*adata='.*b\.zarr'"),
            (
                "a/cells.parquet",
                b"x",
                r"holds 'cells\.parquet'; read these files with scanpy or sp",
            ),
            ("a.zarr/x", b"x", r"it is a folder that holds 'x'; a tissue is the"),
        ],
    )
    def test_what_is_no_store_says_what_to_pass(self, tmp_path, name, content, message):
        pytest.importorskip("zarr")
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        given = tmp_path / path.relative_to(tmp_path).parts[0]
        for ask in (read, lambda given: amici_xr.distance_response(given, "cell_type")):
            with pytest.raises(ValueError, match=rf"adata='.*' can't be read: .*{message}"):
                ask(given)

    def test_an_empty_folder_says_so(self, tmp_path):
        with pytest.raises(ValueError, match="it is a folder that holds none; a tissue is the"):
            read(tmp_path)

    def test_another_hdf5_file_says_what_it_lacks(self, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as root:
            root["obs"] = 1
        with pytest.raises(ValueError, match="can't be read"):
            read(tmp_path / "a.h5")
        with h5py.File(tmp_path / "b.h5", "w") as root:
            root["values"] = 1
        with pytest.raises(ValueError, match="it is not an AnnData: it has no 'obs', 'var'"):
            read(tmp_path / "b.h5")

    def test_a_lazy_anndata_names_what_to_pass(self, adata, tmp_path):
        experimental = pytest.importorskip("anndata.experimental")
        if not hasattr(experimental, "read_lazy"):
            pytest.skip("this AnnData has no read_lazy")
        adata.write_h5ad(tmp_path / "a.h5ad")
        with pytest.raises(TypeError, match=r"read lazily.*adata.to_memory\(\)"):
            read(experimental.read_lazy(tmp_path / "a.h5ad"))

    def test_a_mudata_names_its_modalities_and_the_call(self, adata):
        container = type("MuData", (), {"mod": {"rna": adata}})()
        with pytest.raises(TypeError, match=r"adata is a MuData with the .*mdata\['rna'\]"):
            read(container)

    @pytest.mark.skipif(HAS_SPATIALDATA, reason="spatialdata is installed")
    def test_a_store_whose_table_annotates_shapes_names_the_extra(self, adata, tmp_path):
        keys = {"region": "cells", "region_key": "region", "instance_key": "cell"}
        adata.uns["spatialdata_attrs"] = keys
        path = written_as_spatialdata(tmp_path / "a.zarr", "table", adata=adata)
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'amici-xr\[spatialdata\]'"):
            read(path)

    def test_a_path_in_the_home_folder_is_expanded(self, adata, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        adata.write_h5ad(tmp_path / "a.h5ad")
        assert read("~/a.h5ad").n_cells == 400


class TestCoordinates:
    @pytest.mark.parametrize(
        "change",
        [
            lambda xy: xy[:, :1],
            lambda xy: xy[:, :0],
            lambda xy: xy[:, :, np.newaxis],
            lambda xy: xy[:, 0],
            lambda xy: np.hstack([xy, xy]),
            lambda xy: sparse.csr_matrix(xy),
        ],
        ids=["one column", "no column", "three axes", "one axis", "four columns", "sparse"],
    )
    def test_what_is_not_two_or_three_columns_is_named(self, adata, change):
        uns = adata.obsm["spatial"]
        broken = adata.copy()
        stand_in = type("Adata", (), {"obs": broken.obs, "var_names": broken.var_names})()
        stand_in.obsm, stand_in.layers = {"spatial": change(uns)}, {}
        stand_in.var, stand_in.uns, stand_in.X = broken.var, {}, broken.X
        stand_in.obs_names, stand_in.n_obs, stand_in.is_view = broken.obs_names, 400, False
        with pytest.raises(ValueError, match=r"adata.obsm\['spatial'\] must hold 2 or 3 columns"):
            read(stand_in)

    def test_a_column_of_text_is_named_with_its_columns(self, adata):
        xy = pd.DataFrame(adata.obsm["spatial"], index=adata.obs_names, columns=["x", "y"])
        adata.obsm["spatial"] = xy.assign(fov="a")
        with pytest.raises(ValueError, match=r"the columns 'x', 'y', 'fov', not all of numbers"):
            read(adata)

    def test_a_missing_number_of_any_kind_is_counted(self, adata):
        xy = pd.DataFrame(adata.obsm["spatial"], index=adata.obs_names, columns=["x", "y"])
        missing = xy.convert_dtypes()
        missing.iloc[3, 0] = pd.NA
        adata.obsm["spatial"] = missing
        with pytest.raises(ValueError, match="no finite coordinates for 1 cells"):
            read(adata)

    @pytest.mark.parametrize("names", [["x", "y", "fov"], ["area", "perimeter"]])
    def test_columns_with_other_names_warn(self, adata, names):
        values = np.hstack([adata.obsm["spatial"], np.ones((400, 1))])[:, : len(names)]
        adata.obsm["spatial"] = pd.DataFrame(values, index=adata.obs_names, columns=names)
        with pytest.warns(UserWarning, match=r"which are taken for x, y\(, z\) in this order"):
            read(adata)

    def test_columns_that_name_their_axis_do_not_warn(self, adata):
        columns = ["x_centroid", "y_centroid"]
        adata.obsm["spatial"] = pd.DataFrame(adata.obsm["spatial"], adata.obs_names, columns)
        assert read(adata).positions.shape == (400, 2)

    def test_coordinates_too_large_for_distances_are_named(self, adata):
        adata.obsm["spatial"] = adata.obsm["spatial"] * 1e200
        with pytest.raises(ValueError, match=r"coordinates beyond 1e\+100"):
            read(adata)


class TestNames:
    def test_repeated_names_of_cells_warn(self, adata):
        adata.obs_names = [f"cell {number // 2}" for number in range(400)]
        with pytest.warns(UserWarning, match="repeats 200 names.*obs_names_make_unique"):
            read(adata)

    def test_genes_in_another_column_are_pointed_at(self, adata):
        genes = list(adata.var_names)
        adata.var["symbol"] = genes
        adata.var_names = [f"ENSG{number:011d}" for number in range(adata.n_vars)]
        with pytest.raises(amici_xr.NotFoundError, match=r"it has 'ENSG.*adata.var\['symbol'\]"):
            read(adata, genes=genes)

    def test_genes_in_another_case_are_pointed_at(self, adata):
        genes = list(adata.var_names)
        adata.var_names = adata.var_names.str.upper()
        with pytest.raises(amici_xr.NotFoundError, match="differ only in upper and lower case"):
            read(adata, genes=genes)
