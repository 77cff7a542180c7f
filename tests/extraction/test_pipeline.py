"""From model and tissue to the Dataset: every way in, and every way that goes wrong."""

import dataclasses
import json
import shutil

import dask.array
import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import sparse

import amici_xr
from amici_xr.iteration import ahead

anndata = pytest.importorskip("anndata")  # the core environment deselects what needs the model
pytestmark = pytest.mark.needs_model


@pytest.fixture
def tissue(demo):
    return demo[1].copy()


@pytest.fixture
def model(demo):
    return demo[0]


@pytest.fixture(scope="module")
def expected(demo):
    return amici_xr.extract(demo[0], "T_cell", demo[1], progress=False)


def extract(*args, **options):
    return amici_xr.extract(*args, progress=False, **options)


def assert_same(ds, expected):
    """Equal in all but attributes; scores may differ by the order of float32 sums."""
    scores = ["base_attention_score", "position_coefficient"]
    xr.testing.assert_equal(ds.drop_vars(scores), expected.drop_vars(scores))
    for name in scores:
        np.testing.assert_allclose(ds[name], expected[name], rtol=0, atol=1e-5)


def test_the_dataset_has_the_dims_kinds_and_units_of_the_schema(model, tissue):
    ds = extract(model, "T_cell", tissue, unit="µm")
    assert ds.base_attention_score.dims == ("neighbor", "head")
    kinds = {
        "base_attention_score": "float32",
        "position_coefficient": "float32",
        "dummy_attention_score": "float64",
        "distance_kernel_unit_scale": "float64",
        "neighborhood_index": "int64",
        "neighborhood_distance": "float64",
        "neighborhood_label": "int16",
        "neighbor": "int64",
        "head": "int64",
        "receiver": "int64",
    }
    assert {name: str(ds[name].dtype) for name in kinds} == kinds
    assert ds["query"].item() == "T_cell"
    assert ds.cell_type.values.tolist() == list(model.labels)
    for name in ("neighborhood_distance", "neighbor_x", "distance_kernel_unit_scale"):
        assert ds[name].attrs["units"] == "µm"
    assert ds.neighbor_name.values.tolist() == tissue.obs_names[ds.neighbor.values].tolist()
    np.testing.assert_array_equal(ds.neighbor_y, tissue.obsm["spatial"][ds.neighbor.values, 1])


def test_attributes_tell_settings_their_source_and_the_arguments(model, tissue):
    attrs = extract(model, ["Tumor"], tissue, heads=[1], unit="µm").attrs
    assert all(type(value) in (str, int) for value in attrs.values())
    settings = json.loads(attrs["model_settings"])
    assert settings["n_neighbors"] == {"value": 30, "source": "file"}
    assert settings["attention_dummy_score"] == {"value": 3.0, "source": "AMICI default"}
    arguments = json.loads(attrs["extraction"])
    assert arguments["query"] == ["Tumor"]
    assert arguments["heads"] == [1]
    assert attrs["schema_version"] == 1
    assert attrs["created"].endswith("Z")


def test_neighborhoods_equal_brute_force(expected, tissue):
    places, labels = tissue.obsm["spatial"], tissue.obs["cell_type"].to_numpy()
    others = np.flatnonzero(labels != "T_cell")
    for row in range(0, expected.sizes["receiver"], 97):
        receiver = expected.receiver.values[row]
        distance = np.linalg.norm(places[others] - places[receiver], axis=1)
        nearest = others[np.argsort(distance)[:30]]
        np.testing.assert_array_equal(expected.neighborhood_index[row], nearest)
        np.testing.assert_allclose(expected.neighborhood_distance[row], np.sort(distance)[:30])
        types = expected.cell_type.values[expected.neighborhood_label[row]]
        assert types.tolist() == labels[nearest].tolist()


def test_neighbors_are_the_union_of_neighborhoods_in_ascending_order(expected):
    union = np.unique(expected.neighborhood_index)
    np.testing.assert_array_equal(expected.neighbor, union)
    assert "T_cell" not in expected.label.values


def test_several_queries_one_selected_equal_that_query_alone(model, tissue, expected):
    several = extract(model, ["Tumor", "T_cell", "Macrophage"], tissue)
    assert several["query"].values.tolist() == ["Tumor", "T_cell", "Macrophage"]
    assert several.base_attention_score.dims == ("query", "neighbor", "head")
    assert_same(several.cf.select("T_cell"), expected)
    for name in ("length_scale", "support"):
        together = getattr(several.cf, name)(0.1).sel(query="T_cell")
        alone = getattr(expected.cf, name)(0.1)
        if name == "length_scale":
            xr.testing.assert_allclose(together.sel(neighbor=alone.neighbor), alone, atol=1e-4)
        else:
            xr.testing.assert_allclose(together, alone, atol=1e-4)
            assert together.status.equals(alone.status)


def test_scores_are_nan_exactly_where_a_cell_is_not_a_neighbor(model, tissue):
    ds = extract(model, None, tissue)
    assert ds["query"].values.tolist() == list(model.labels)
    for name in ("base_attention_score", "position_coefficient"):
        known = ds[name].notnull()
        assert bool((known.all("head") == ds.is_neighbor).all())
        assert bool((known.any("head") == ds.is_neighbor).all())
    assert not bool((ds.is_neighbor & (ds.label == ds["query"])).any())


def test_no_query_takes_the_types_that_the_tissue_has(model, tissue):
    few = tissue[tissue.obs["cell_type"].isin(["T_cell", "Tumor"])]
    ds = extract(model, None, few)
    assert ds["query"].values.tolist() == ["T_cell", "Tumor"]
    assert ds.cell_type.size == 5


def test_a_list_of_one_query_keeps_the_dim(model, tissue, expected):
    ds = extract(model, ["T_cell"], tissue)
    assert ds.sizes["query"] == 1
    assert_same(ds.cf.select("T_cell"), expected)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("layer", [None, "normalized"])
def test_expression_may_be_dense_csr_or_csc_and_in_a_layer(model, tissue, expected, kind, layer):
    from dataclasses import replace

    if layer is None:
        tissue.X = kind(tissue.X)
    else:
        tissue.layers[layer] = kind(tissue.X)
        tissue.X = np.zeros_like(tissue.X)
    settings = replace(model.settings, layer=layer)
    assert_same(extract(replace(model, settings=settings), "T_cell", tissue), expected)


def test_genes_are_matched_by_name(model, tissue, expected):
    extra = anndata.AnnData(
        np.full((tissue.n_obs, 3), 99, dtype="float32"), obs=tissue.obs[[]].copy()
    )
    extra.var_names = ["x", "y", "z"]
    wider = anndata.concat([extra, tissue], axis=1, merge="first")
    wider.obs, wider.obsm = tissue.obs, tissue.obsm
    order = np.random.default_rng(0).permutation(wider.n_vars)
    assert_same(extract(model, "T_cell", wider[:, order].copy()), expected)


def test_coordinates_may_be_a_dataframe(model, tissue, expected):
    tissue.obsm["spatial"] = pd.DataFrame(
        tissue.obsm["spatial"], index=tissue.obs_names, columns=["x", "y"]
    )
    assert_same(extract(model, "T_cell", tissue), expected)


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
# zarr's and AnnData's own, about their formats
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning:zarr|anndata")
def test_tissue_and_model_may_be_paths(model, tissue, expected, tmp_path, demo, suffix):
    from importlib.resources import files

    path = tmp_path / f"tissue.{suffix}"
    getattr(tissue, f"write_{suffix}")(path)
    folder = files("amici_xr.demo_data") / "model"
    import torch

    assert_same(extract(folder, "T_cell", str(path), device=torch.device("cpu")), expected)
    for model_path in (folder, str(folder), folder / "model.pt"):
        assert_same(extract(model_path, "T_cell", str(path)), expected)


def colored(tissue):
    """As scanpy keeps colors: one for each category, in their order, here not the model's."""
    labels = tissue.obs["cell_type"].astype("category")
    tissue.obs["cell_type"] = labels.cat.reorder_categories(labels.cat.categories[::-1])
    categories = tissue.obs["cell_type"].cat.categories
    tissue.uns["cell_type_colors"] = [f"#{number}{number}0000" for number in range(len(categories))]
    return {name: f"#{number}{number}0000" for number, name in enumerate(categories)}


@pytest.mark.parametrize("where", ["memory", "h5ad", "zarr"])
# zarr's and AnnData's own, about their formats
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning:zarr|anndata")
def test_colors_in_which_scanpy_draws_the_types_are_kept(model, tissue, where):
    colors = colored(tissue)
    if where != "memory":
        getattr(tissue, f"write_{where}")(f"tissue.{where}")
    ds = extract(model, "T_cell", tissue if where == "memory" else f"tissue.{where}")
    assert dict(zip(ds.cell_type.values, ds.cell_type_color.values, strict=True)) == colors
    ax = ds.cf.plot_curve(2, [0, 10])
    drawn = {line.get_label(): line.get_color() for line in ax.get_legend().get_lines()[:4]}
    assert drawn == {label: colors[label] for label in drawn}


def test_a_type_without_cells_has_no_color(model, tissue):
    some = tissue[tissue.obs["cell_type"] != "Endothelial"].copy()
    colors = colored(some)
    ds = extract(model, "T_cell", some)
    found = dict(zip(ds.cell_type.values, ds.cell_type_color.values, strict=True))
    assert found == colors | {"Endothelial": ""}


def test_colors_that_do_not_fit_the_types_are_left_out(model, tissue, expected):
    colored(tissue)
    tissue.uns["cell_type_colors"] = tissue.uns["cell_type_colors"][:-1]
    assert "cell_type_color" not in extract(model, "T_cell", tissue).coords
    tissue.uns["cell_type_colors"] = ["mud", "red", "red", "red", "red"]
    with pytest.warns(UserWarning, match=r"_colors'\] holds 'mud', which matplotlib does not know"):
        assert "cell_type_color" not in extract(model, "T_cell", tissue).coords
    colored(tissue)
    tissue.obs["cell_type"] = tissue.obs["cell_type"].astype(str)
    assert "cell_type_color" not in extract(model, "T_cell", tissue).coords


def test_a_folder_that_was_saved_with_its_tissue_needs_no_other(tissue, expected, tmp_path):
    from importlib.resources import files

    folder = shutil.copytree(str(files("amici_xr.demo_data") / "model"), tmp_path / "model")
    tissue.write_h5ad(folder / "adata.h5ad")
    for path in (folder, folder / "model.pt"):
        assert_same(extract(path, "T_cell"), expected)


def test_a_backed_tissue_gives_the_same(model, tissue, expected, tmp_path):
    tissue.X = sparse.csr_matrix(tissue.X)
    tissue.write_h5ad(tmp_path / "tissue.h5ad")
    backed = anndata.read_h5ad(tmp_path / "tissue.h5ad", backed="r")
    assert_same(extract(model, "T_cell", backed), expected)
    backed.file.close()


def test_given_neighborhoods_are_used(model, tissue, expected):
    index = np.zeros((tissue.n_obs, 3), dtype=int)
    distance = np.zeros((tissue.n_obs, 3))
    index[expected.receiver] = expected.neighborhood_index[:, :3]
    distance[expected.receiver] = expected.neighborhood_distance[:, :3]
    tissue.obsm["_nn_idx"], tissue.obsm["_nn_dist"] = index, distance
    another_size = "neighborhoods of 3 cells, while the model was set up with n_neighbors="
    with pytest.warns(UserWarning, match=another_size):
        ds = extract(model, "T_cell", tissue)
    assert ds.sizes["rank"] == 3
    np.testing.assert_array_equal(ds.neighbor, np.unique(index[expected.receiver]))
    del tissue.obsm["spatial"]  # not needed then
    with pytest.warns(UserWarning, match=another_size):
        assert "neighbor_x" not in extract(model, "T_cell", tissue)


def test_heads_and_batch_size(model, tissue, expected):
    ds = extract(model, "T_cell", tissue, heads=[2, 0], batch_size=100)
    assert ds["head"].values.tolist() == [2, 0]
    assert_same(ds, expected.sel(head=[2, 0]))
    assert extract(model, "T_cell", tissue, heads=3)["head"].values.tolist() == [3]


def test_indices_cut_the_neighbors_down_but_not_the_neighborhoods(model, tissue, expected):
    chosen = expected.neighbor.values[5:50]
    own_type = expected.receiver.values[:5]
    ds = extract(model, "T_cell", tissue, indices=np.concatenate([chosen, own_type]))
    assert_same(ds, expected.sel(neighbor=chosen))
    mask = np.zeros(tissue.n_obs, dtype=bool)
    mask[chosen] = True
    assert_same(extract(model, "T_cell", tissue, indices=mask), expected.sel(neighbor=chosen))


def test_settings_of_the_model_reach_the_dataset(model, tissue, expected):
    from dataclasses import replace

    settings = replace(
        model.settings,
        attention_dummy_score=1.5,
        distance_kernel_unit_scale=7.0,
        pos_coef_offset=model.settings.pos_coef_offset + 1,
    )
    ds = extract(replace(model, settings=settings), "T_cell", tissue)
    assert float(ds.dummy_attention_score) == 1.5
    assert float(ds.distance_kernel_unit_scale) == 7.0
    before, after = (
        np.log(np.expm1(one.position_coefficient.astype(float))) for one in (expected, ds)
    )
    np.testing.assert_allclose(after - before, 1.0, atol=1e-3)
    np.testing.assert_array_equal(ds.base_attention_score, expected.base_attention_score)


def test_a_query_may_come_as_an_array_or_an_iterator(model, tissue, expected):
    assert_same(extract(model, np.array("T_cell"), tissue), expected)
    for query in (np.array(["T_cell"]), pd.Index(["T_cell"]), iter(["T_cell"])):
        assert extract(model, query, tissue).sizes["query"] == 1


def test_attributes_tell_whether_neighborhoods_were_given(model, tissue):
    def told(ds):
        return json.loads(ds.attrs["extraction"])["neighborhoods"]

    ds = extract(model, None, tissue)
    assert told(ds) == "computed"
    tissue.obsm["_nn_idx"] = ds.neighborhood_index.values
    tissue.obsm["_nn_dist"] = ds.neighborhood_distance.values
    assert told(extract(model, None, tissue)) == "given"
    tissue.obsm["_nn_dist"] = np.full_like(tissue.obsm["_nn_dist"], np.nan)
    with pytest.raises(ValueError, match="no cell of the query type has a neighbor"):
        extract(model, "T_cell", tissue)


def test_a_set_up_tissue_with_cell_radii_does_not_warn(model, tissue):
    from dataclasses import replace

    tissue.obs["radius"] = np.random.default_rng(0).uniform(1, 9, tissue.n_obs)
    model = replace(model, settings=replace(model.settings, cell_radius_key="radius"))
    ds = extract(model, None, tissue)
    tissue.obsm["_nn_idx"] = ds.neighborhood_index.values
    tissue.obsm["_nn_dist"] = ds.neighborhood_distance.values
    xr.testing.assert_equal(extract(model, None, tissue), ds)  # warnings are errors here
    tissue.obs["radius"] *= 1.5
    with pytest.warns(UserWarning, match="are not those between the coordinates"):
        extract(model, None, tissue)


@pytest.mark.parametrize("name", ["table.csv", "tissue.h5ad"])
def test_a_file_that_is_no_tissue_is_named(model, tmp_path, name):
    (tmp_path / name).write_text("cell,x")
    with pytest.raises(ValueError, match=rf"adata='.*{name}' can't be read"):
        extract(model, "T_cell", tmp_path / name)


def test_with_cell_radii_distance_is_surface_to_surface_in_the_order_of_centers(model, tissue):
    from dataclasses import replace

    radius = np.random.default_rng(0).uniform(1, 9, tissue.n_obs)
    tissue.obs["radius"] = radius
    plain = extract(model, "T_cell", tissue)
    with_radius = replace(model, settings=replace(model.settings, cell_radius_key="radius"))
    ds = extract(with_radius, "T_cell", tissue)
    xr.testing.assert_equal(ds.neighborhood_index, plain.neighborhood_index)
    both = radius[ds.receiver.values][:, None] + radius[ds.neighborhood_index.values]
    expected = np.maximum(plain.neighborhood_distance - both, 0)
    np.testing.assert_allclose(ds.neighborhood_distance, expected)
    assert bool((ds.neighborhood_distance.diff("rank") < 0).any())


def test_fewer_cells_than_k_leave_ranks_empty(model, tissue):
    labels = tissue.obs["cell_type"].to_numpy()
    few = np.concatenate(
        [np.flatnonzero(labels == "T_cell")[:40], np.flatnonzero(labels == "Tumor")[:7]]
    )
    ds = extract(model, "T_cell", tissue[few].copy())
    assert ds.sizes["rank"] == 30
    assert ds.sizes["neighbor"] == 7
    is_empty = np.broadcast_to(np.arange(30) >= 7, ds.neighborhood_index.shape)
    np.testing.assert_array_equal(ds.neighborhood_index < 0, is_empty)
    np.testing.assert_array_equal(ds.neighborhood_label < 0, is_empty)
    np.testing.assert_array_equal(ds.neighborhood_distance.isnull(), is_empty)
    distance = ds.neighborhood_distance.isel(rank=slice(7))
    median = ds.cf.support(0.5).sel(label="Tumor").median_length_scale
    expected = (distance < median).any("rank").mean("receiver")
    np.testing.assert_allclose(ds.cf.support(0.5).sel(label="Tumor").support, expected)


def test_progress_is_shown_only_if_asked_for(model, tissue, capfd, monkeypatch):
    monkeypatch.setattr("amici_xr.iteration.DELAY", 0)
    for progress in (True, False):
        amici_xr.extract(model, "T_cell", tissue, progress=progress)
        assert ("extract:" in capfd.readouterr().err) == progress


# What goes wrong


def test_an_unknown_query_is_named_before_any_work(model):
    with pytest.raises(KeyError, match=r"unknown cell type 'B cell'; known: 'Endothelial'"):
        extract(model, "B cell", "there-is-no-such-tissue.h5ad")
    with pytest.raises(ValueError, match=r"query: unknown cell type 'B', 'C'"):
        extract(model, ["B", "T_cell", "C"], "there-is-no-such-tissue.h5ad")


def test_a_query_named_twice_or_no_query_is_named(model, tissue):
    with pytest.raises(ValueError, match=r"query=\['Tumor', 'Tumor'\] names a cell type twice"):
        extract(model, ["Tumor", "Tumor"], tissue)
    with pytest.raises(ValueError, match=r"query=\[\] names no cell type"):
        extract(model, [], tissue)


def test_a_query_without_cells_is_named(model, tissue):
    few = tissue[tissue.obs["cell_type"] != "Tumor"]
    with pytest.raises(KeyError, match=r"no cells of type 'Tumor'; it has cells of 'Endothelial'"):
        extract(model, "Tumor", few)


def test_an_empty_tissue_is_named(model, tissue):
    with pytest.raises(ValueError, match="adata has no cells"):
        extract(model, "T_cell", tissue[:0].copy())


def test_a_tissue_of_one_type_has_no_neighbors(model, tissue):
    alone = tissue[tissue.obs["cell_type"] == "Tumor"].copy()
    with pytest.raises(
        ValueError, match="no cell of the query type has a neighbor of another type"
    ):
        extract(model, "Tumor", alone)


def test_missing_genes_are_listed(model, tissue):
    with pytest.raises(KeyError, match=r"lacks 2 of the model's 50 genes: 'gene_07', 'gene_31'"):
        extract(model, "T_cell", tissue[:, ~tissue.var_names.isin(["gene_07", "gene_31"])])


def test_doubled_genes_are_listed(model, tissue):
    names = tissue.var_names.to_list()
    names[3] = "gene_07"
    tissue.var_names = names
    with pytest.raises(ValueError, match=r"var_names holds 'gene_07' more than once"):
        extract(model, "T_cell", tissue)


def test_unknown_labels_list_both_vocabularies(model, tissue):
    labels = tissue.obs["cell_type"].astype(str)
    labels.iloc[4] = "B_cell"
    tissue.obs["cell_type"] = labels
    with pytest.raises(KeyError, match=r"'B_cell', which the model was not.*'Tumor'.*adata has"):
        extract(model, "T_cell", tissue)


def test_cells_without_a_label_are_counted(model, tissue):
    tissue.obs.iloc[:3, tissue.obs.columns.get_loc("cell_type")] = None
    with pytest.raises(ValueError, match="no cell type for 3 cells"):
        extract(model, "T_cell", tissue)


def test_what_the_tissue_lacks_is_named_with_what_it_has(model, tissue):
    from dataclasses import replace

    def asking(**settings):
        return replace(model, settings=replace(model.settings, **settings))

    with pytest.raises(KeyError, match=r"obs has no 'leiden'.*it has 'cell_type'"):
        extract(asking(labels_key="leiden"), "T_cell", tissue)
    with pytest.raises(KeyError, match=r"layers has no 'counts'.*it has none"):
        extract(asking(layer="counts"), "T_cell", tissue)
    with pytest.raises(KeyError, match=r"obs has no 'radius'.*it has 'cell_type'"):
        extract(asking(cell_radius_key="radius"), "T_cell", tissue)
    tissue.obs["radius"] = -1.0
    with pytest.raises(ValueError, match=r"obs\['radius'\] holds radii that are missing, negative"):
        extract(asking(cell_radius_key="radius"), "T_cell", tissue)
    del tissue.obsm["spatial"]
    with pytest.raises(KeyError, match=r"obsm has no 'spatial'.*it has none"):
        extract(model, "T_cell", tissue)
    tissue.X = None
    with pytest.raises(ValueError, match=r"adata\.X is empty"):
        extract(model, "T_cell", tissue)


def test_coordinates_that_are_missing_are_counted(model, tissue):
    tissue.obsm["spatial"][[3, 5]] = np.nan
    with pytest.raises(ValueError, match=r"obsm\['spatial'\] holds no finite coordinates for 2"):
        extract(model, "T_cell", tissue)


def test_expression_that_is_missing_is_named_by_cell(model, tissue, expected):
    cell = expected.neighbor.values[7]
    tissue.X[cell] = np.nan
    with pytest.raises(ValueError, match=f"1 cells have scores .* first at position {cell} "):
        extract(model, "T_cell", tissue)


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([0, 6000], KeyError, r"indices holds 6000; adata has cells 0 to 5999"),
        ([-1], KeyError, r"indices holds -1; adata has cells"),
        ([0.5], TypeError, r"indices must be a sequence of integers"),
        ([True, False], TypeError, r"or a boolean mask over all 6000 cells"),
        ([], ValueError, r"none of the 0 cells is a neighbor"),
        ([0, 1, 2], ValueError, r"none of the 3 cells is a neighbor"),
    ],
)
def test_bad_indices_are_named(model, tissue, indices, error, message):
    with pytest.raises(error, match=message):  # the first three cells are T cells themselves
        extract(model, "T_cell", tissue, indices=indices)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"heads": [4]}, KeyError, r"heads: unknown head 4; known: 0, 1, 2, 3"),
        ({"heads": [0, 0]}, ValueError, r"heads=\[0, 0\] names a head twice"),
        ({"heads": [0.5]}, TypeError, r"heads=\[0.5\] must be integers"),
        ({"heads": []}, TypeError, r"heads=\[\] must be integers"),
        ({"batch_size": 0}, ValueError, r"batch_size=0 must be at least 1"),
        ({"batch_size": 1.5}, TypeError, r"batch_size=1.5 must be an integer"),
        ({"device": "abacus"}, ValueError, r"device='abacus' can't be used here.*try device='cpu'"),
    ],
)
def test_bad_options_are_named(model, tissue, options, error, message):
    with pytest.raises(error, match=message):
        extract(model, "T_cell", tissue, **options)


def test_a_model_or_tissue_of_another_kind_is_named(model, tissue):
    with pytest.raises(TypeError, match=r"model must be a trained AMICI model.*not dict"):
        extract({}, "T_cell", tissue)
    with pytest.raises(TypeError, match=r"adata=None, but this saved model has no AnnData"):
        extract(model, "T_cell")
    with pytest.raises(FileNotFoundError, match=r"adata='none\.h5ad': there is no such file"):
        extract(model, "T_cell", "none.h5ad")
    with pytest.raises(TypeError, match=r"query must be a cell type.* not AnnData; the order is"):
        extract(model, tissue, "T_cell")
    with pytest.raises(TypeError, match=r"unit=3 must be the name of a unit"):
        extract(model, "T_cell", tissue, unit=3)
    with pytest.raises(TypeError, match=r"adata must be an AnnData or a path, not ndarray"):
        extract(model, "T_cell", np.zeros(3))


def test_an_untrained_model_warns(model, tissue):
    from dataclasses import replace

    with pytest.warns(UserWarning, match="the model was not trained"):
        extract(replace(model, is_trained=False), "T_cell", tissue)


class TestNeighborhoodsThatDoNotFit:
    """An AnnData that was subset after it was set up carries positions of other cells."""

    @pytest.fixture
    def set_up(self, tissue, model):
        ds = extract(model, None, tissue)
        order = np.argsort(ds.receiver.values)
        tissue.obsm["_nn_idx"] = ds.neighborhood_index.values[order]
        tissue.obsm["_nn_dist"] = ds.neighborhood_distance.values[order]
        return tissue

    def test_the_set_up_tissue_gives_the_same(self, model, set_up, expected):
        assert_same(extract(model, "T_cell", set_up), expected)

    def test_positions_past_the_end_are_named(self, model, set_up):
        with pytest.raises(ValueError, match=r"points at cell \d+ of 100; was adata subset"):
            extract(model, "T_cell", set_up[:100].copy())

    def test_neighbors_of_the_own_type_are_named(self, model, set_up):
        turned = set_up[::-1].copy()
        with pytest.raises(ValueError, match="neighbors of the receiver's own type; was adata"):
            extract(model, "T_cell", turned)

    def test_distances_that_are_not_those_of_the_coordinates_warn(self, model, set_up):
        set_up.obsm["spatial"] *= 2
        with pytest.warns(UserWarning, match=r"are not those between the coordinates"):
            extract(model, "T_cell", set_up)

    def test_shapes_that_differ_are_named(self, model, set_up):
        set_up.obsm["_nn_dist"] = set_up.obsm["_nn_dist"][:, :5]
        with pytest.raises(ValueError, match="differ in shape"):
            extract(model, "T_cell", set_up)


FORMATS = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}


@pytest.mark.filterwarnings("ignore:Writing zarr v2")  # AnnData's own
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("suffix", ["h5ad", "zarr", "backed"])
def test_expression_in_a_file_is_read_where_it_lies(
    model, tissue, expected, tmp_path, monkeypatch, kind, suffix
):
    if suffix == "zarr":
        pytest.importorskip("zarr")  # an extra
    monkeypatch.setattr("amici_xr.tissue.expression.SPAN", 50)
    tissue.X = FORMATS[kind](tissue.X)
    turned = tissue[:, ::-1].copy()  # and its genes are put into the model's order
    for stored in (tissue, turned):
        path = tmp_path / f"tissue{stored.var_names[0]}.{suffix.replace('backed', 'h5ad')}"
        (stored.write_zarr if suffix == "zarr" else stored.write_h5ad)(path)
        given = anndata.read_h5ad(path, backed="r") if suffix == "backed" else path
        assert_same(extract(model, "T_cell", given, batch_size=333), expected)
        lazy = extract(model, "T_cell", given, batch_size=100, chunks=777)
        assert_same(lazy.compute(), expected)


@pytest.mark.parametrize("kind", FORMATS)
def test_expression_that_is_a_dask_array_is_computed_by_batches(model, tissue, expected, kind):
    tissue.X = dask.array.from_array(tissue.X, chunks=(500, -1)).map_blocks(FORMATS[kind])
    assert_same(extract(model, "T_cell", tissue), expected)


def test_a_layer_in_a_file_is_read_and_a_missing_one_is_named(model, tissue, expected, tmp_path):
    layered = tissue.copy()
    layered.layers["counts"] = sparse.csr_matrix(layered.X)
    layered.X = None
    layered.write_h5ad(tmp_path / "tissue.h5ad")
    settings = dataclasses.replace(model.settings, layer="counts")
    of_layer = dataclasses.replace(model, settings=settings)
    assert_same(extract(of_layer, "T_cell", tmp_path / "tissue.h5ad"), expected)
    backed = anndata.read_h5ad(tmp_path / "tissue.h5ad", backed="r")
    assert_same(extract(of_layer, "T_cell", backed), expected)
    settings = dataclasses.replace(model.settings, layer="other")
    with pytest.raises(amici_xr.NotFoundError, match=r"adata.layers has no 'other'.*'counts'"):
        extract(dataclasses.replace(model, settings=settings), "T_cell", tmp_path / "tissue.h5ad")
    with pytest.raises(ValueError, match=r"adata\.X is empty"):
        extract(model, "T_cell", tmp_path / "tissue.h5ad")


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2")  # AnnData's own
def test_a_file_that_changed_before_lazy_scores_are_computed_is_named(
    model, tissue, tmp_path, suffix
):
    path = tmp_path / f"tissue.{suffix}"
    write = {"h5ad": lambda adata: adata.write_h5ad(path)}
    if suffix == "zarr":
        pytest.importorskip("zarr")  # an extra
        write["zarr"] = lambda adata: adata.write_zarr(path)
    write[suffix](tissue)
    lazy = extract(model, "T_cell", path, chunks=1000)
    if path.is_dir():
        shutil.rmtree(path)
    write[suffix](tissue[::-1].copy())
    with pytest.raises(ValueError, match=r"adata=.*was changed since extract was called"):
        lazy.compute()


def test_a_file_is_closed_when_scoring_it_fails(model, tissue, tmp_path, monkeypatch):
    def fail(self, *_):
        raise RuntimeError("out of memory, say")

    path = tmp_path / "tissue.h5ad"
    tissue.write_h5ad(path)
    lazy = extract(model, "T_cell", path, chunks=1000, batch_size=100)
    monkeypatch.setattr("amici_xr.model.network.ScoringNetwork.scores", fail)
    for compute in (lambda: lazy.compute(scheduler="sync"), lambda: extract(model, None, path)):
        with pytest.raises(RuntimeError, match="out of memory") as caught:
            compute()
        tissue.write_h5ad(path)  # can't be written while it is open
        assert caught.traceback  # which keeps alive what the frames hold


def test_a_damaged_file_is_named(model, tissue, tmp_path):
    for name in ("obs", "var"):
        path = tmp_path / f"{name}.h5ad"
        tissue.write_h5ad(path)
        with h5py.File(path, "a") as file:
            del file[name]
        with pytest.raises(ValueError, match=rf"not an AnnData: it has no '{name}'"):
            extract(model, "T_cell", path)
    tissue.write_h5ad(path)
    with h5py.File(path, "a") as file:
        file["obs/cell_type"].attrs["encoding-version"] = "9.9.9"
    with pytest.raises(ValueError, match=r"adata=.*can't be read"):
        extract(model, "T_cell", path)


def test_a_file_is_read_without_what_extraction_has_no_use_for(model, tissue, expected, tmp_path):
    tissue.obsm["X_pca"] = np.zeros((tissue.n_obs, 3))
    tissue.layers["spare"] = tissue.X.copy()
    tissue.write_h5ad(tmp_path / "tissue.h5ad")
    with h5py.File(tmp_path / "tissue.h5ad", "a") as file:
        for name in ("obsm/X_pca", "layers/spare"):
            del file[name]
            file[name] = "damaged"
    assert_same(extract(model, "T_cell", tmp_path / "tissue.h5ad"), expected)


def test_a_file_of_an_older_anndata_is_read_as_a_whole(model, tissue, expected, tmp_path):
    tissue.write_h5ad(tmp_path / "tissue.h5ad")
    with h5py.File(tmp_path / "tissue.h5ad", "a") as file:
        del file.attrs["encoding-type"], file.attrs["encoding-version"]
    assert_same(extract(model, "T_cell", tmp_path / "tissue.h5ad"), expected)


def test_reading_ahead_keeps_the_order_and_passes_errors_on():
    def items():
        yield from range(5)
        raise RuntimeError("from the thread")

    coming = ahead(items())
    assert [next(coming) for _ in range(5)] == list(range(5))
    with pytest.raises(RuntimeError, match="from the thread"):
        next(coming)


class TestSurroundings:
    """What a user has set in torch does not change the scores."""

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_scores_under_autocast_are_the_same(self, model, tissue, expected, dtype):
        import torch

        with torch.autocast("cpu", dtype=getattr(torch, dtype)):
            ds = extract(model, "T_cell", tissue)
        np.testing.assert_array_equal(ds.base_attention_score, expected.base_attention_score)

    def test_scores_with_another_default_device_are_the_same(self, model, tissue, expected):
        import torch

        torch.set_default_device("meta")
        try:
            ds = extract(model, "T_cell", tissue)
        finally:
            torch.set_default_device(None)
        np.testing.assert_array_equal(ds.base_attention_score, expected.base_attention_score)

    def test_a_device_that_holds_no_numbers_is_named(self, model, tissue):
        with pytest.raises(ValueError, match="device='meta' holds no numbers"):
            extract(model, "T_cell", tissue, device="meta")


def test_a_query_of_bytes_is_told_to_be_text(demo):
    with pytest.raises(TypeError, match="query must be a cell type or a list of them, not bytes"):
        amici_xr.extract(demo[0], b"T_cell", demo[1], progress=False)


def test_a_path_in_the_place_of_the_query_is_told_where_it_belongs(demo, tmp_path):
    with pytest.raises(amici_xr.NotFoundError, match=r"a path; the order .* give it as adata='.*'"):
        amici_xr.extract(demo[0], str(tmp_path), progress=False)


def test_a_file_that_is_not_one_of_anndata_is_told_which_are(demo, tmp_path):
    (tmp_path / "cells.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"cells\.csv' can't be read.*the \.h5ad or \.zarr that"):
        amici_xr.extract(demo[0], "T_cell", tmp_path / "cells.csv", progress=False)


def test_carried_neighborhoods_of_another_size_than_the_model_s_are_told(demo):
    tissue, settings = demo[1][:600].copy(), demo[0].settings
    whole = amici_xr.extract(demo[0], None, tissue, progress=False)
    tissue.obsm[settings.nn_idx_key] = whole.neighborhood_index.values[:, :10]
    tissue.obsm[settings.nn_dist_key] = whole.neighborhood_distance.values[:, :10]
    message = (
        "has neighborhoods of 10 cells, while the model was set up with n_neighbors=30; delete"
    )
    with pytest.warns(UserWarning, match=message):
        ds = amici_xr.extract(demo[0], "T_cell", tissue, progress=False)
    assert ds.sizes["rank"] == 10
