"""Tissues that were extracted apart, joined as samples of one Dataset."""

import json

import numpy as np
import pytest
import xarray as xr

import amici_xr

needs_model = pytest.mark.needs_model
QUERIES = ["T_cell", "Tumor"]


@pytest.fixture
def pair():
    return [simulated(0), simulated(1)]


def simulated(seed, query="A", **options):
    return amici_xr.testing.simulate_dataset(
        query, n_cells=120 + seed, seed=seed, **{"unit": "µm"} | options
    )


@pytest.fixture(scope="module")
def halves(demo):
    """The demo's tissue, cut in two that were measured apart."""
    left, right = demo[1][:3500].copy(), demo[1][3500:].copy()
    both = demo[1].copy()
    both.obs["slide"] = np.where(np.arange(both.n_obs) < left.n_obs, "left", "right")
    return left, right, both


@needs_model
@pytest.mark.parametrize("query", ["T_cell", QUERIES])
def test_the_join_is_what_an_extraction_of_both_gives(demo, halves, query):
    left, right, both = halves
    expected = amici_xr.extract(demo[0], query, both, sample_key="slide", progress=False)
    apart = [amici_xr.extract(demo[0], query, half, progress=False) for half in (left, right)]
    joined = amici_xr.concat_samples(
        apart, sample=["left", "right"], n_cells=[left.n_obs, right.n_obs]
    )
    assert set(joined.variables) == set(expected.variables)
    assert set(joined.coords) == set(expected.coords)
    xr.testing.assert_allclose(joined, expected, rtol=1e-5, atol=1e-5)
    for name in ("neighbor", "receiver", "neighborhood_index", "neighborhood_label"):
        xr.testing.assert_equal(joined[name].variable, expected[name].variable)
    for reduce in (amici_xr.support, amici_xr.bootstrap, amici_xr.atlas):
        xr.testing.assert_allclose(
            reduce(joined, 0.1, by_sample=True).drop_vars("status", errors="ignore"),
            reduce(expected, 0.1, by_sample=True).drop_vars("status", errors="ignore"),
            rtol=1e-3,
        )


@pytest.mark.parametrize("query", ["A", ["A", "B"]])
@pytest.mark.parametrize("chunks", [None, 20])
def test_each_sample_of_the_join_is_the_dataset_that_was_given(query, chunks):
    apart = [simulated(seed, query) for seed in range(3)]
    given = apart if chunks is None else [ds.chunk(neighbor=chunks) for ds in apart]
    joined = amici_xr.concat_samples(given, sample=["a", "b", "c"])
    assert (joined.base_attention_score.chunks is None) == (chunks is None)
    amici_xr.validate(joined)
    shift = 0
    for name, ds in zip("abc", apart, strict=True):
        one = amici_xr.select(joined, sample=name)
        np.testing.assert_array_equal(one.neighbor, ds.neighbor + shift)
        np.testing.assert_array_equal(one.receiver, ds.receiver + shift)
        index = ds.neighborhood_index.values
        np.testing.assert_array_equal(
            one.neighborhood_index, np.where(index < 0, -1, index + shift)
        )
        for variable in set(ds.variables) - {"neighbor", "receiver", "neighborhood_index"}:
            np.testing.assert_array_equal(one[variable], ds[variable])
            assert one[variable].attrs == ds[variable].attrs
        xr.testing.assert_equal(amici_xr.support(one, 0.1), amici_xr.support(ds, 0.1))
        shift += 1 + max(int(ds[cell].max()) for cell in ("neighbor", "receiver"))
    by_sample = amici_xr.curve_summary(joined, [0, 3], by_sample=True)
    assert by_sample.sample.values.tolist() == ["a", "b", "c"]


def test_cells_that_only_a_neighborhood_holds_share_no_position_with_the_next_tissue(pair):
    """Such as those without scores, of an extraction with indices=…."""
    first = pair[0].isel(neighbor=slice(0, 5), receiver=slice(0, 5))
    joined = amici_xr.concat_samples([first, pair[1]], sample=["a", "b"])
    of_first = joined.neighborhood_index.values[:5].max()
    assert of_first < joined.neighbor.values[5:].min()


def test_datasets_of_tables_have_no_neighborhoods_to_join(pair):
    tables = [amici_xr.from_dataframe(amici_xr.to_dataframe(ds)) for ds in pair]
    joined = amici_xr.concat_samples(tables, sample=["a", "b"])
    assert joined.sizes["neighbor"] == sum(ds.sizes["neighbor"] for ds in tables)
    assert "receiver_sample" not in joined
    assert amici_xr.length_scale(joined, 0.1, None).notnull().all()


def test_attributes_of_each_sample_are_kept(pair):
    given = [
        ds.assign_attrs(slide=slide, stain="H&E") for ds, slide in zip(pair, "xy", strict=True)
    ]
    joined = amici_xr.concat_samples(given, sample=["a", "b"])
    assert [each["slide"] for each in json.loads(joined.attrs["sample_attributes"])] == ["x", "y"]
    assert joined.attrs["stain"] == "H&E"
    assert "slide" not in joined.attrs


def with_details(ds, n_neighbors=30, **extraction):
    settings = {"n_neighbors": {"value": n_neighbors, "source": "model"}}
    details = {"n_cells": 200, "n_repeated_names": 0, "chunks": None} | extraction
    return ds.assign_attrs(model_settings=json.dumps(settings), extraction=json.dumps(details))


@pytest.mark.parametrize(("n_cells", "expected"), [(None, {}), ([200, 200], {"n_cells": 400})])
def test_details_of_one_tissue_are_not_those_of_the_join(pair, n_cells, expected):
    joined = amici_xr.concat_samples(
        [with_details(ds) for ds in pair], sample=["a", "b"], n_cells=n_cells
    )
    assert json.loads(joined.attrs["extraction"]) == {"chunks": None} | expected
    assert json.loads(joined.attrs["model_settings"])["n_neighbors"]["value"] == 30
    apart = json.loads(joined.attrs["sample_attributes"])
    assert [json.loads(each["extraction"])["n_cells"] for each in apart] == [200, 200]


def test_samples_of_models_with_other_settings_are_not_joined(pair):
    given = [with_details(pair[0]), with_details(pair[1], n_neighbors=50)]
    with pytest.raises(
        ValueError, match=r"its model has n_neighbors=50, that of datasets\[0\] 30; "
    ):
        amici_xr.concat_samples(given, sample=["a", "b"])


@pytest.mark.parametrize("attribute", ["not JSON", "[1]", 3])
def test_attributes_of_other_origin_do_not_matter(pair, attribute):
    given = [ds.assign_attrs(model_settings=attribute, extraction=attribute) for ds in pair]
    joined = amici_xr.concat_samples(given, sample=["a", "b"])
    assert joined.attrs["extraction"] == attribute


@needs_model
# AnnData's own, of the names that this test repeats
@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_columns_of_a_join_go_to_the_concatenated_tissue(demo):
    anndata = pytest.importorskip("anndata")
    parts = [demo[1][:800].copy(), demo[1][800:1600].copy()]  # equally many cells, the same names
    for part in parts:
        part.obs_names = [f"cell{number}" for number in range(part.n_obs)]
    apart = [amici_xr.extract(demo[0], "T_cell", part, progress=False) for part in parts]
    sizes = [part.n_obs for part in parts]
    joined = amici_xr.concat_samples(apart, sample=["a", "b"], n_cells=sizes)
    both = anndata.concat(parts)
    column = joined.cf.to_anndata(both, threshold=0.1, sample_threshold=None)[0]
    expected = np.full(both.n_obs, np.nan)
    expected[joined.neighbor] = joined.cf.length_scale(0.1, None).isel(head=0)
    np.testing.assert_array_equal(both.obs[column], expected)


def test_a_join_is_saved_and_one_sample_of_it_joins_again(pair, tmp_path):
    joined = amici_xr.concat_samples(pair, sample=[1, 2])
    amici_xr.save(joined, tmp_path / "both.nc")
    xr.testing.assert_identical(amici_xr.open_dataset(tmp_path / "both.nc"), joined)
    again = amici_xr.concat_samples(
        [amici_xr.select(joined, sample="2"), simulated(2)], sample=["b", "c"]
    )
    assert sorted(set(again.neighbor_sample.values)) == ["b", "c"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda ds: ds.isel(head=[0]), r"head is 0, that of datasets\[0\] 0, 1; extract with the"),
        (
            lambda ds: ds.assign(dummy_attention_score=2.0),
            r"dummy_attention_score is 2\.0, that of datasets\[0\] 3\.0; extract with the same mod",
        ),
        (
            lambda ds: ds.assign(distance_kernel_unit_scale=ds.distance_kernel_unit_scale * 2),
            r"distance_kernel_unit_scale is 2\.0.*the same model and unit",
        ),
        (lambda ds: simulated(1, "B"), r"query is 'B', that of datasets\[0\] 'A'; extract with"),
        (lambda ds: simulated(1, ["A", "B"]), r"only datasets\[1\] has 'is_neighbor'"),
        (lambda ds: simulated(1, unit="px"), r"its unit is 'px', that of datasets\[0\] 'µm'"),
        (lambda ds: ds.isel(rank=slice(3)), r"its neighborhoods have 3 cells.*n_neighbors"),
        (lambda ds: ds.drop_vars("neighbor_x"), r"only datasets\[0\] has 'neighbor_x'; give all"),
        (lambda ds: ds.rename_vars(neighbor_x="my_x"), r"only datasets\[1\] has 'my_x'"),
        (
            lambda ds: simulated(1, cell_types=["A", "B", "C", "D", "E"]),
            r"cell_type is 'A', 'B', 'C', 'D', 'E', that of datasets\[0\]",
        ),
    ],
)
def test_what_differs_between_samples_is_named(pair, spoil, message):
    with pytest.raises(ValueError, match=message):
        amici_xr.concat_samples([pair[0], spoil(pair[1])], sample=["a", "b"])


@pytest.mark.parametrize(
    ("datasets", "options", "error", "message"),
    [
        (lambda p: p[0], {}, TypeError, "datasets must be a list of Datasets, one per sample"),
        (lambda p: [p[0], 3], {}, TypeError, r"datasets\[1\]: ds must be an xarray\.Dataset"),
        (lambda p: p[:1], {"sample": ["a"]}, ValueError, "datasets has 1 Dataset; give at least"),
        (lambda p: p, {"sample": "ab"}, TypeError, "sample='ab' must be a sequence of names"),
        (lambda p: p, {"sample": ["a"]}, ValueError, "has 1 names for 2 Datasets"),
        (lambda p: p, {"sample": ["a", "a"]}, ValueError, "must be names that differ"),
        (lambda p: p, {"n_cells": [200]}, ValueError, r"n_cells=\[200\] must be the number of"),
        (lambda p: p, {"n_cells": [5, 200]}, ValueError, r"datasets\[0\] holds the cell at pos"),
        (
            lambda p: [p[0], amici_xr.align_runs([p[1], p[1]])],
            {},
            ValueError,
            r"datasets\[1\] holds several runs.*join the samples of each run first",
        ),
        (
            lambda p: [p[0], simulated(1, samples=["x", "y"])],
            {},
            ValueError,
            r"datasets\[1\] holds the samples 'x', 'y'; give each by itself",
        ),
        (
            lambda p: [p[0], simulated(1, samples=["x"]).drop_vars("receiver_sample")],
            {},
            amici_xr.SchemaError,
            r"datasets\[1\]: this Dataset has neighbor_sample but no receiver_sample",
        ),
        (
            lambda p: [at_the_end_of_64_bits(p[0]), p[1]],
            {},
            ValueError,
            "the positions of all samples go up to 9,223,.*beyond 64 bits",
        ),
        (
            lambda p: [ds.assign(pairs=(("neighbor", "receiver"), of_pairs(ds))) for ds in p],
            {},
            ValueError,
            r"pairs has dims \('neighbor', 'receiver'\), of pairs of cells; leave it out",
        ),
        (
            lambda p: [p[0].assign(more=0), p[1].assign(more=("rank", [0] * p[1].sizes["rank"]))],
            {},
            ValueError,
            r"more has dims \('rank',\), not \(\); select the same from all",
        ),
    ],
)
def test_bad_arguments_are_named(pair, datasets, options, error, message):
    with pytest.raises(error, match=message):
        amici_xr.concat_samples(datasets(pair), **{"sample": ["a", "b"]} | options)


def at_the_end_of_64_bits(ds):
    return ds.assign_coords(neighbor=np.r_[ds.neighbor.values[:-1], 2**63 - 1])


def of_pairs(ds):
    return np.zeros((ds.sizes["neighbor"], ds.sizes["receiver"]))


@pytest.mark.parametrize("cell", ["neighbor", "receiver"])
def test_cells_of_two_tissues_under_one_position_are_to_be_joined_not_dropped(pair, cell):
    plain = {"data_vars": "minimal", "coords": "minimal", "compat": "override", "join": "left"}
    both = xr.concat(pair, dim=cell, **plain)
    with pytest.raises(amici_xr.SchemaError, match=f"{cell} holds .* more than once; two tissues"):
        amici_xr.length_scale(both, 0.1)
    with pytest.raises(amici_xr.SchemaError, match=r"concat_samples.*sample_key") as told:
        amici_xr.validate(both)
    assert "drop_duplicates" not in str(told.value)


def test_repeated_names_other_than_cells_are_told_how_to_differ(pair):
    with pytest.raises(amici_xr.SchemaError, match="head holds 0 more than once; number the heads"):
        amici_xr.validate(pair[0].isel(head=[0, 0]))
    with pytest.raises(
        amici_xr.SchemaError, match="cell_type holds 'A' more than once; keep the v"
    ):
        amici_xr.validate(pair[0].isel(cell_type=[0, 0, 1, 2, 3]))


@pytest.mark.parametrize("value", [np.longdouble(1), np.float16(1)])
def test_an_attribute_of_a_width_that_files_lack_is_named(pair, value, tmp_path):
    with pytest.raises(amici_xr.SchemaError, match=r"attributes must be str without NUL.*32 or 64"):
        amici_xr.save(pair[0].assign_attrs(a=value), tmp_path / "a.nc")
