"""Quantities of cells in the columns of an AnnData, where the cells are the same."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import amici_xr
from amici_xr.analysis.column_names import distinguish

pytestmark = pytest.mark.needs_model  # for anndata, which comes with what models need


@pytest.fixture
def adata():
    anndata = pytest.importorskip("anndata")  # the core environment deselects these
    names = [f"cell_{cell}" for cell in range(500)]
    return anndata.AnnData(obs=pd.DataFrame(index=names))


def test_the_default_is_length_scale_and_attention_at_contact(several, adata):
    written = amici_xr.to_anndata(several, adata, threshold=0.1)
    assert written == [
        f"{name}_{query}_head{head}"
        for name in ("length_scale", "attention_at_contact")
        for query in ("A", "C", "D")
        for head in range(3)
    ]
    assert adata.obs.columns.tolist() == written
    lengths = amici_xr.length_scale(several, 0.1).sel(query="C", head=2)
    column = adata.obs["length_scale_C_head2"]
    np.testing.assert_array_equal(column.iloc[several.neighbor.values], lengths)
    assert column.drop(several.neighbor_name.values).isna().all()


def test_cells_are_found_by_name_in_another_order(ds, adata):
    shuffled = adata[np.random.default_rng(0).permutation(500)[:300]].copy()
    amici_xr.to_anndata(ds, shuffled)
    amici_xr.to_anndata(ds, adata)
    pd.testing.assert_frame_equal(shuffled.obs, adata.obs.loc[shuffled.obs_names])


def test_without_names_cells_are_found_by_position(ds, adata):
    amici_xr.to_anndata(ds, adata)
    other = adata.copy()
    other.obs = pd.DataFrame(index=adata.obs_names[::-1])
    amici_xr.to_anndata(ds.drop_vars(["neighbor_name", "receiver_name"]), other)
    np.testing.assert_array_equal(other.obs, adata.obs)


def test_columns_are_named_by_query_and_dims(ds, several, adata):
    chosen = {
        "attention": amici_xr.curve(several, [0.0, 2.5]).sel(head=1),
        "dummy": amici_xr.dummy_attention(several).sel(head=0),
        "type": ds.label,
    }
    written = amici_xr.to_anndata(several, adata, chosen)
    assert written[:3] == [
        "attention_A_head1_distance0",
        "attention_A_head1_distance2.5",
        "attention_C_head1_distance0",
    ]
    assert written[-2:] == ["dummy_head0", "type_A"]
    np.testing.assert_array_equal(adata.obs["dummy_head0"].iloc[several.receiver], chosen["dummy"])
    assert isinstance(adata.obs["type_A"].dtype, pd.CategoricalDtype)
    assert adata.obs["type_A"].iloc[ds.neighbor.values].tolist() == ds.label.values.tolist()


def test_what_can_not_be_written_is_named(ds, adata):
    with pytest.raises(TypeError, match="adata must be an AnnData, not DataFrame"):
        amici_xr.to_anndata(ds, adata.obs)
    with pytest.raises(TypeError, match="quantities: 'one' must be a DataArray, not int"):
        amici_xr.to_anndata(ds, adata, {"one": 1})
    with pytest.raises(ValueError, match=r"'delta' has dims .*; it needs either neighbor or"):
        amici_xr.to_anndata(ds, adata, {"delta": ds.dummy_attention_score})
    with pytest.raises(TypeError, match="quantities must map names to DataArrays, not list"):
        amici_xr.to_anndata(ds, adata, [ds.label])
    with pytest.raises(ValueError, match="'one' has no coordinate neighbor, which names its cells"):
        amici_xr.to_anndata(ds, adata, {"one": xr.DataArray([1.0], dims="neighbor")})
    other = xr.DataArray([1.0], coords={"neighbor": [99_999]})
    with pytest.raises(amici_xr.NotFoundError, match="the cells 99999 are not in this Dataset"):
        amici_xr.to_anndata(ds, adata, {"one": other})
    strange = adata.copy()
    strange.obs_names = [f"other_{cell}" for cell in range(500)]
    with pytest.raises(amici_xr.NotFoundError, match="adata has none of the cells of this"):
        amici_xr.to_anndata(ds, strange)
    strange.obs_names = ["same"] * 500
    with pytest.raises(ValueError, match="names of cells are repeated"):
        amici_xr.to_anndata(ds, strange)
    assert list(adata.obs.columns) == []


# The same cells, or none


def tissue_with(names, part=slice(None)):
    """The packaged tissue under other names, and what was extracted from it for T cells."""
    model, tissue = amici_xr.demo()
    tissue = tissue[part].copy()
    tissue.obs_names = list(names(tissue.n_obs))
    return amici_xr.extract(model, "T_cell", tissue, heads=2, progress=False), tissue


@pytest.fixture(scope="module")
def numbered():
    """Cells named by the number of their row, as text."""
    return tissue_with(lambda n: map(str, range(n)))


@pytest.fixture(scope="module")
def repeated():
    """Cells that share their name with the next, as sections do that were concatenated."""
    with pytest.warns(UserWarning, match="repeats 450 names"):
        return tissue_with(lambda n: [f"c{row // 2}" for row in range(n)], slice(900))


def expected_column(ds, n_cells):
    """Length scales by position in the AnnData that was extracted from."""
    column = np.full(n_cells, np.nan)
    column[ds["neighbor"].values] = amici_xr.length_scale(ds, 0.1).isel(head=0)
    return column


def length_scales_in(ds, adata, **keys):
    return adata.obs[amici_xr.to_anndata(ds, adata, threshold=0.1, **keys)[0]].to_numpy()


def assert_refused(ds, adata, message, error=ValueError, **keys):
    """Nothing is written, not even the columns of cells that agree."""
    before = adata.obs.copy()
    with pytest.raises(error, match=message):
        amici_xr.to_anndata(ds, adata, threshold=0.1, **keys)
    pd.testing.assert_frame_equal(adata.obs, before)


def without(adata, *, coordinates=False, cell_types=False):
    adata = adata.copy()
    if coordinates:
        del adata.obsm["spatial"]
    if cell_types:
        del adata.obs["cell_type"]
    return adata


def test_the_extracted_cells_get_their_values(numbered):
    ds, tissue = numbered
    column = length_scales_in(ds, tissue.copy())
    np.testing.assert_array_equal(column, expected_column(ds, tissue.n_obs))


@pytest.mark.parametrize("number", [np.int64, np.uint32, float])
def test_names_that_are_numbers_are_compared_as_text(number):
    model, tissue = amici_xr.demo()
    ids = pd.Index((7 * np.arange(tissue.n_obs) + 40_000).astype(number), name="id")
    shuffled = np.random.default_rng(0).permutation(tissue.n_obs)[:1000]
    as_text = tissue[shuffled].copy()
    as_text.obs_names = ids[shuffled].astype(str)
    tissue.obs.index = ids  # AnnData itself would make it text
    ds = amici_xr.extract(model, "T_cell", tissue, heads=2, progress=False)
    expected = expected_column(ds, tissue.n_obs)
    np.testing.assert_array_equal(length_scales_in(ds, tissue), expected)
    np.testing.assert_array_equal(length_scales_in(ds, as_text), expected[shuffled])


def test_numbers_given_as_names_match_an_index_of_numbers(adata):
    ds = amici_xr.from_arrays(
        [[1.0], [2.0]], [[0.5], [0.5]], ["B", "B"], query="A", neighbor_name=[30, 20]
    )
    adata = adata[:2].copy()
    adata.obs.index = pd.Index([20, 30])
    amici_xr.to_anndata(ds, adata, {"base": ds["base_attention_score"]})
    assert adata.obs["base_A_head0"].tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            {},
            r"[\d,]+ of [\d,]+ neighbors .* lie elsewhere in adata.obsm\['spatial'\]",
        ),
        ({"cell_types": True}, "lie elsewhere .* nothing was written: pass the AnnData"),
        ({"coordinates": True}, r"are of another cell type in adata.obs\['cell_type'\]"),
        (
            {"coordinates": True, "cell_types": True},
            "obs_names only number the rows, perhaps given",
        ),
    ],
)
def test_cells_that_were_filtered_and_numbered_anew_are_refused(numbered, missing, message):
    ds, tissue = numbered
    kept = without(tissue[tissue.obs["cell_type"] != "Endothelial"], **missing)
    kept.obs_names = [str(row) for row in range(kept.n_obs)]
    assert_refused(ds, kept, message)


@pytest.mark.parametrize("name", ["cell_{}", "{}-1", "{:04d}"])
@pytest.mark.parametrize("start", [0, 1])
def test_names_that_only_number_the_rows_identify_nobody(name, start):
    ds, tissue = tissue_with(lambda n: [name.format(row + start) for row in range(n)])
    tissue = without(tissue, coordinates=True, cell_types=True)
    expected = expected_column(ds, tissue.n_obs)
    np.testing.assert_array_equal(length_scales_in(ds, tissue.copy()), expected)
    later = tissue[1000:].copy()
    np.testing.assert_array_equal(length_scales_in(ds, later.copy()), expected[1000:])
    later.obs_names = [name.format(row + start) for row in range(later.n_obs)]
    assert_refused(ds, later, "obs_names only number the rows, perhaps given anew after extract")


def test_cells_that_were_filtered_keep_their_values_where_names_stay(numbered):
    ds, tissue = numbered
    is_kept = (tissue.obs["cell_type"] != "Endothelial").to_numpy()
    expected = expected_column(ds, tissue.n_obs)[is_kept]
    for kept in (tissue[is_kept].copy(), without(tissue[is_kept], coordinates=True)):
        np.testing.assert_array_equal(length_scales_in(ds, kept), expected)


def test_the_message_counts_the_cells_that_differ(numbered):
    ds, tissue = numbered
    moved = tissue.copy()
    moved.obsm["spatial"][ds["neighbor"].values[:7]] += 5.0
    assert_refused(ds, moved, f"^7 of {ds.sizes['neighbor']:,} neighbors of this Dataset lie else")
    renamed = tissue.copy()
    first = ds["neighbor"].values[:3]
    renamed.obs["cell_type"] = renamed.obs["cell_type"].astype(str)
    renamed.obs.iloc[first, renamed.obs.columns.get_loc("cell_type")] = "another"
    assert_refused(ds, renamed, f"^3 of {ds.sizes['neighbor']:,} neighbors .* another cell type")


def test_receivers_are_checked_as_neighbors_are(numbered):
    ds, tissue = numbered
    moved = tissue.copy()
    moved.obsm["spatial"][ds["receiver"].values[:2]] += 5.0
    with pytest.raises(ValueError, match=r"^2 of .* receivers of this Dataset lie elsewhere"):
        amici_xr.to_anndata(ds, moved, {"dummy": amici_xr.dummy_attention(ds)})


def test_keys_name_other_coordinates_and_cell_types(numbered):
    ds, tissue = numbered
    moved = tissue.copy()
    moved.obsm["before"] = moved.obsm["spatial"].copy()
    moved.obsm["spatial"] += 5.0
    moved.obs["old_type"] = moved.obs["cell_type"]
    moved.obs["cell_type"] = "cell"
    keys = {"coord_key": "before", "labels_key": "old_type"}
    expected = expected_column(ds, tissue.n_obs)
    np.testing.assert_array_equal(length_scales_in(ds, moved.copy(), **keys), expected)
    assert_refused(ds, moved, "name their old coordinates.*coord_key=", labels_key="old_type")
    assert_refused(ds, moved, "a column with the old ones.*labels_key=", coord_key="before")
    absent = amici_xr.NotFoundError
    assert_refused(ds, moved, "'nowhere' is not in adata.obsm", absent, coord_key="nowhere")
    assert_refused(ds, moved, "'none' is not a column of", absent, **keys | {"labels_key": "none"})
    moved.obsm["text"] = np.full((moved.n_obs, 2), "left")
    assert_refused(ds, moved, "coordinates that are not numbers", coord_key="text")


def test_coordinates_agree_in_either_unit(numbered):
    ds, tissue = numbered
    in_microns = amici_xr.to_microns(ds, 0.2125)
    expected = expected_column(in_microns, tissue.n_obs)
    converted = tissue.copy()
    converted.obsm["spatial"] = (0.2125 * converted.obsm["spatial"]).astype(np.float32)
    for same_cells in (tissue.copy(), converted):
        np.testing.assert_array_equal(length_scales_in(in_microns, same_cells), expected)


@pytest.mark.filterwarnings("ignore:Observation names are not unique")  # of AnnData
def test_repeated_names_are_matched_by_position_in_the_extracted_tissue_alone(repeated):
    ds, tissue = repeated
    column = length_scales_in(ds, tissue.copy())
    np.testing.assert_array_equal(column, expected_column(ds, tissue.n_obs))
    made_unique = tissue.copy()
    made_unique.obs_names_make_unique()
    in_another_order, fewer = tissue[::-1].copy(), tissue[:-1].copy()
    one_section = tissue[::2].copy()  # its names are unique
    for other in (made_unique, in_another_order, fewer, one_section):
        for adata in (other, without(other, coordinates=True, cell_types=True)):
            assert_refused(ds, adata, "names of cells are repeated.*extract again")


@pytest.mark.filterwarnings("ignore:Observation names are not unique")  # of AnnData
def test_names_repeated_outside_of_the_dataset_are_remembered(repeated):
    ds, tissue = repeated
    named_once = ds.isel(neighbor=~pd.Index(ds["neighbor_name"].values).duplicated())
    named_once = named_once.drop_dims("receiver")
    made_unique = without(tissue, coordinates=True, cell_types=True)
    made_unique.obs_names_make_unique()
    with pytest.raises(ValueError, match="names of cells are repeated"):
        amici_xr.to_anndata(named_once, made_unique, {"label": named_once["label"]})


def test_without_names_fewer_cells_are_refused(ds, adata):
    nameless = ds.drop_vars(["neighbor_name", "receiver_name"])
    assert_refused(nameless, adata[:99].copy(), "adata has 99 cells, not those of this Dataset")


def test_provenance_that_can_not_be_read_is_passed_over(ds, adata):
    for attributes in ("{", "[]", '{"n_cells": "many"}', 3):
        ds.attrs["extraction"] = ds.attrs["model_settings"] = attributes
        assert amici_xr.to_anndata(ds, adata.copy())


def test_quantities_of_other_cells_are_refused(ds, adata):
    doubled = ds["label"].isel(neighbor=[0, 1, 1])
    with pytest.raises(ValueError, match=r"'label' holds a neighbor more than once.*drop_dupl"):
        amici_xr.to_anndata(ds, adata, {"label": doubled})
    renamed = ds["label"].assign_coords(
        neighbor_name=("neighbor", np.char.add("other_", ds["neighbor_name"].values))
    )
    with pytest.raises(ValueError, match=r"[\d,]+ neighbors of 'label' have other names"):
        amici_xr.to_anndata(ds, adata, {"label": renamed})
    assert list(adata.obs.columns) == []


# Names of columns


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.0, 2.5, 10.0], ["0", "2.5", "10"]),
        ([1 / 3], ["0.333333"]),
        ([1_000_001.0], ["1000001"]),
        ([1_000_001.0, 1_000_002.0], ["1000001", "1000002"]),
        ([0.99999991, 0.99999992], ["0.99999991", "0.99999992"]),
        ([1.0, np.nextafter(1.0, 2)], ["1", "1.0000000000000002"]),
        ([np.nan, np.inf], ["nan", "inf"]),
    ],
)
def test_numbers_have_as_many_digits_as_tell_them_apart(values, texts):
    assert distinguish(values) == texts


def test_each_of_several_distances_has_a_column(ds, adata):
    distances = [1.0, 1.0 + 1e-9, 1.0 + 2e-9]
    attention = amici_xr.curve(ds, distances)
    written = amici_xr.to_anndata(ds, adata, {"attention": attention})
    assert len(set(written)) == len(written) == attention.sizes["head"] * 3
    assert written == list(adata.obs.columns)


def test_columns_that_would_share_a_name_are_refused_before_any_is_written(ds, adata):
    twice = amici_xr.curve(ds, 1.0).drop_vars("distance").expand_dims(distance=[5.0, 5.0])
    slashed = {"a/b": ds["label"], "a_b": ds["label"]}
    for quantities, name in (({"first": ds["label"], "x": twice}, "x_"), (slashed, "a_b_A")):
        with pytest.raises(ValueError, match=f"two columns would have the name '{name}"):
            amici_xr.to_anndata(ds, adata, quantities)
    assert list(adata.obs.columns) == []


@pytest.mark.parametrize("name", ["T/NK", "T\\NK", "/", "a/b/c"])
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.filterwarnings("default")
def test_columns_can_be_saved_whatever_the_cell_types_are_called(name, suffix, adata, tmp_path):
    import anndata

    ds = amici_xr.testing.simulate_dataset([name], cell_types=[name, "B"])
    written = amici_xr.to_anndata(ds, adata)
    path = tmp_path / f"tissue.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    saved = getattr(anndata, f"read_{suffix}")(path)
    assert saved.obs.columns.tolist() == written
    assert not any(slash in column for column in written for slash in "/\\")


def test_a_replaced_slash_does_not_give_the_name_of_another_cell_type(adata):
    both = amici_xr.testing.simulate_dataset(["T/NK", "T_NK"], cell_types=["T/NK", "T_NK", "B"])
    written = amici_xr.to_anndata(
        both, adata, {"type": both["label"].expand_dims(query=both["query"])}
    )
    assert written == ["type_T_NK_", "type_T_NK"]


@pytest.mark.parametrize("name", ["", "..", "_index", "nul\0l", "barcode"])
def test_names_that_can_not_be_saved_are_refused(name, ds, adata):
    adata.obs.index.name = "barcode"
    with pytest.raises(ValueError, match=r"the column .* can't be saved in an AnnData"):
        amici_xr.to_anndata(ds, adata, {name: ds["label"].drop_vars("query")})
    assert list(adata.obs.columns) == []


def test_a_head_chosen_for_each_cell_is_not_part_of_the_name(ds, adata):
    strongest = ds["base_attention_score"].argmax("head")
    chosen = ds["base_attention_score"].isel(head=strongest)
    assert amici_xr.to_anndata(ds, adata, {"strongest": chosen}) == ["strongest_A"]
    np.testing.assert_array_equal(
        adata.obs["strongest_A"].iloc[ds["neighbor"].values],
        ds["base_attention_score"].max("head"),
    )
