"""Several samples in one Dataset, and distances in microns."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import amici_xr

needs_model = pytest.mark.needs_model
SAMPLES = ["left", "middle", "right"]


@pytest.fixture
def ds():
    return amici_xr.testing.simulate_dataset(["A", "B"], n_cells=400, samples=SAMPLES, unit="px")


@pytest.fixture
def tissue(demo):
    """The demo's tissue in three samples, as numbers, whose coordinates overlap."""
    tissue = demo[1].copy()
    tissue.obs["slide"] = np.random.default_rng(0).integers(1, 4, tissue.n_obs)
    return tissue


@needs_model
def test_neighborhoods_never_cross_samples_and_are_those_of_each_sample_alone(demo, tissue):
    ds = amici_xr.extract(demo[0], ["T_cell", "Tumor"], tissue, sample_key="slide", progress=False)
    slide = tissue.obs["slide"].to_numpy().astype(str)
    np.testing.assert_array_equal(ds.neighbor_sample, slide[ds.neighbor])
    np.testing.assert_array_equal(ds.receiver_sample, slide[ds.receiver])
    for name in "123":
        cells = np.flatnonzero(slide == name)
        alone = amici_xr.extract(demo[0], ["T_cell", "Tumor"], tissue[cells], progress=False)
        one = amici_xr.select(ds, sample=name)
        np.testing.assert_array_equal(one.neighbor, cells[alone.neighbor])
        np.testing.assert_array_equal(one.receiver, cells[alone.receiver])
        np.testing.assert_array_equal(one.neighborhood_distance, alone.neighborhood_distance)
        exists = alone.neighborhood_index.values >= 0
        np.testing.assert_array_equal(
            one.neighborhood_index.values[exists],
            cells[alone.neighborhood_index.values[exists]],
        )
        np.testing.assert_allclose(one.base_attention_score, alone.base_attention_score, atol=1e-5)


@needs_model
def test_given_neighborhoods_that_cross_samples_are_computed_anew(demo, tissue):
    settings = demo[0].settings
    with pytest.warns(UserWarning, match="the coordinates of these groups overlap"):
        whole = amici_xr.extract(demo[0], None, tissue, progress=False)
    crossing = tissue.copy()
    crossing.obsm[settings.nn_idx_key] = whole.neighborhood_index.values
    crossing.obsm[settings.nn_dist_key] = whole.neighborhood_distance.values
    with pytest.warns(UserWarning, match="cross samples, so they are computed anew within each"):
        ds = amici_xr.extract(demo[0], "T_cell", crossing, sample_key="slide", progress=False)
    expected = amici_xr.extract(demo[0], "T_cell", tissue, sample_key="slide", progress=False)
    xr.testing.assert_equal(ds, expected)


@needs_model
def test_given_neighborhoods_within_samples_are_used(demo, tissue):
    settings = demo[0].settings
    expected = amici_xr.extract(demo[0], None, tissue, sample_key="slide", progress=False)
    tissue.obsm[settings.nn_idx_key] = expected.neighborhood_index.values
    tissue.obsm[settings.nn_dist_key] = expected.neighborhood_distance.values
    ds = amici_xr.extract(demo[0], None, tissue, sample_key="slide", progress=False)
    xr.testing.assert_equal(ds, expected)
    assert '"neighborhoods": "given"' in ds.attrs["extraction"]


@needs_model
def test_a_bad_sample_key_is_named(demo, tissue):
    with pytest.raises(amici_xr.NotFoundError, match="sample_key='section' is no column of adata"):
        amici_xr.extract(demo[0], "T_cell", tissue, sample_key="section", progress=False)
    tissue.obs["slide"] = tissue.obs["slide"].where(tissue.obs["slide"] != 1)
    with pytest.raises(ValueError, match=r"sample_key='slide': [\d,]+ cells have no sample"):
        amici_xr.extract(demo[0], "T_cell", tissue, sample_key="slide", progress=False)


BY_SAMPLE = {
    "curve_summary": lambda ds, **by: amici_xr.curve_summary(ds, [0, 3], **by),
    "support": lambda ds, **by: amici_xr.support(ds, [0.1, 0.5], **by),
    "bootstrap": lambda ds, **by: amici_xr.bootstrap(ds, 0.1, **by),
    "attention_by_distance": lambda ds, **by: amici_xr.attention_by_distance(ds, [0, 2, 9], **by),
    "atlas": lambda ds, **by: amici_xr.atlas(ds, 0.1, **by),
}


@pytest.mark.parametrize("name", BY_SAMPLE)
@pytest.mark.parametrize("chunks", [None, 50])
def test_a_reduction_by_sample_is_that_of_each_sample_alone(ds, name, chunks):
    given = ds if chunks is None else ds.chunk(neighbor=chunks)
    result = BY_SAMPLE[name](given, by_sample=True).compute()
    assert result.sample.values.tolist() == SAMPLES
    for sample in SAMPLES:
        alone = BY_SAMPLE[name](amici_xr.select(ds, sample=sample))
        one = result.sel(sample=sample, drop=True)
        xr.testing.assert_allclose(one, alone, rtol=1e-12)
        for variable in alone.data_vars:
            assert one[variable].attrs == alone[variable].attrs


def test_by_a_coordinate_of_ones_own_groups_may_differ_between_samples(ds):
    own = ds.assign_coords(niche=ds.neighbor_sample.str.cat(ds.label))
    result = amici_xr.curve_summary(own, [0], by="niche", by_sample=True)
    assert np.isfinite(result["mean"].sel(sample="left", niche="leftC")).all()
    assert np.isnan(result["mean"].sel(sample="left", niche="rightC")).all()


def test_selecting_a_sample_keeps_only_its_cells(ds):
    one = amici_xr.select(ds, "A", sample="left")
    assert set(one.neighbor_sample.values) == set(one.receiver_sample.values) == {"left"}
    assert set(one.receiver_label.values) == {"A"}
    xr.testing.assert_identical(one, amici_xr.select(amici_xr.select(ds, sample="left"), "A"))


def test_what_the_samples_lack_is_named(ds):
    with pytest.raises(amici_xr.NotFoundError, match="sample='up' is not in this Dataset, which"):
        amici_xr.select(ds, sample="up")
    without = ds.drop_vars(["neighbor_sample", "receiver_sample"])
    with pytest.raises(amici_xr.SchemaError, match=r"has no samples.*sample_key=…"):
        amici_xr.support(without, by_sample=True)
    with pytest.raises(amici_xr.SchemaError, match="neighbor_sample but no receiver_sample"):
        amici_xr.select(ds.drop_vars("receiver_sample"), sample="left")


def test_neighborhoods_that_cross_samples_are_named(ds):
    crossing = ds.assign_coords(receiver_sample=ds.receiver_sample[::-1].variable)
    with pytest.raises(amici_xr.SchemaError, match="cells of another sample than its receiver's"):
        amici_xr.validate(crossing)


@pytest.mark.parametrize("name", BY_SAMPLE)
def test_no_reduction_by_sample_takes_neighborhoods_that_cross(name):
    """Such as those of a Dataset to which samples were assigned later."""
    ds = amici_xr.testing.simulate_dataset(["A", "B"], n_cells=200)
    of = {cell: np.where(ds[cell] % 2 == 0, "even", "odd") for cell in ("neighbor", "receiver")}
    crossing = ds.assign_coords(
        neighbor_sample=("neighbor", of["neighbor"]), receiver_sample=("receiver", of["receiver"])
    )
    with pytest.raises(amici_xr.SchemaError, match="cells of another sample than its receiver's"):
        amici_xr.select(crossing, sample="even")
    for given in (crossing, crossing.chunk(neighbor=50, receiver=50)):
        if name == "curve_summary" and given is not crossing:
            continue
        with pytest.raises(amici_xr.SchemaError, match="cells of another sample than its rec"):
            BY_SAMPLE[name](given, by_sample=True)


def test_samples_may_be_numbers_in_an_object_array(ds):
    of = {cell: ds[f"{cell}_sample"].values for cell in ("neighbor", "receiver")}
    number = {name: at for at, name in enumerate(SAMPLES)}
    numbered = ds.assign_coords(
        {
            f"{cell}_sample": (cell, np.array([number[name] for name in names], dtype=object))
            for cell, names in of.items()
        }
    )
    result = amici_xr.support(numbered, 0.1, by_sample=True)
    assert result.sample.values.tolist() == ["0", "1", "2"]
    expected = amici_xr.support(ds, 0.1, by_sample=True).assign_coords(sample=["0", "1", "2"])
    xr.testing.assert_equal(result, expected)


def test_in_microns_every_distance_is_converted_and_no_score(ds):
    in_microns = amici_xr.to_microns(ds, 0.2125)
    for name, array in ds.variables.items():
        if array.attrs.get("units") == "px":
            np.testing.assert_allclose(in_microns[name], array * 0.2125, rtol=1e-15)
            assert in_microns[name].attrs == array.attrs | {"units": "µm"}
        else:
            xr.testing.assert_identical(in_microns[name].variable, array)
    assert {"neighbor_x", "neighborhood_distance", "distance_kernel_unit_scale"} <= {
        str(name) for name, array in in_microns.variables.items()
        if array.attrs.get("units") == "µm"
    }  # fmt: skip
    lengths = amici_xr.length_scale(in_microns, 0.1)
    assert lengths.attrs["units"] == "µm"
    np.testing.assert_allclose(lengths, amici_xr.length_scale(ds, 0.1) * 0.2125, rtol=1e-12)
    curve = amici_xr.curve(in_microns, 0.2125 * 8.0)
    np.testing.assert_allclose(curve, amici_xr.curve(ds, 8.0), rtol=1e-12)
    attention = amici_xr.attention(in_microns)
    np.testing.assert_allclose(attention, amici_xr.attention(ds), rtol=1e-12)
    amici_xr.validate(in_microns)
    one = amici_xr.select(in_microns, "A")
    assert amici_xr.plot_length_scale(one, 0.1).get_ylabel().endswith("(µm)")


@needs_model
def test_an_extraction_in_microns_is_the_converted_one(demo):
    options = {"unit": "px", "progress": False}
    ds = amici_xr.extract(demo[0], "T_cell", demo[1], microns_per_unit=0.5, **options)
    expected = amici_xr.to_microns(amici_xr.extract(demo[0], "T_cell", demo[1], **options), 0.5)
    xr.testing.assert_equal(ds, expected)
    assert ds.attrs["microns_per_unit"] == 0.5
    assert '"microns_per_unit": 0.5' in ds.attrs["extraction"]
    options["microns_per_unit"] = np.float32(0.5)
    xr.testing.assert_equal(amici_xr.extract(demo[0], "T_cell", demo[1], **options), expected)
    assert ds.neighborhood_distance.attrs["units"] == "µm"


@needs_model
@pytest.mark.parametrize(
    ("word", "unit"), [("micrometre", "µm"), ("Microns", "µm"), ("millimeter", "mm"), ("px", "px")]
)
def test_an_extraction_has_the_unit_that_the_tissue_names(demo, tmp_path, word, unit):
    adata = demo[1].copy()
    adata.uns["coord_unit"] = word
    adata.write_h5ad(tmp_path / "tissue.h5ad")
    for tissue in (adata, tmp_path / "tissue.h5ad"):
        ds = amici_xr.extract(demo[0], "T_cell", tissue, progress=False)
        assert ds.neighborhood_distance.attrs["units"] == unit
    given = amici_xr.extract(demo[0], "T_cell", adata, unit="pixel", progress=False)
    assert given.neighborhood_distance.attrs["units"] == "pixel"
    adata.uns["coord_unit"] = 3
    amici_xr.extract(demo[0], "T_cell", adata, microns_per_unit=1, progress=False)
    with pytest.raises(ValueError, match=r"uns\['coord_unit'\] = 3 is not the name of a unit"):
        amici_xr.extract(demo[0], "T_cell", adata, progress=False)


@pytest.mark.parametrize("factor", [0, -1, np.nan, np.inf])
def test_a_factor_that_is_no_length_is_named(ds, factor):
    with pytest.raises(ValueError, match=r"microns_per_unit=.* must be a finite number above 0"):
        amici_xr.to_microns(ds, factor)


def test_microns_are_not_converted_again(ds):
    in_microns = amici_xr.to_microns(ds, 0.5)
    with pytest.raises(ValueError, match=r"microns_per_unit=0.5, but the unit is 'µm' already"):
        amici_xr.to_microns(in_microns, 0.5)
    assert amici_xr.to_microns(in_microns, 1).attrs["microns_per_unit"] == 0.5
    capital = amici_xr.testing.simulate_dataset(unit="Micrometres")
    with pytest.raises(ValueError, match=r"the unit is 'Micrometres' already"):
        amici_xr.to_microns(capital, 0.5)
    with pytest.raises(TypeError, match=r"microns_per_unit='0.5' must be a number"):
        amici_xr.to_microns(ds, "0.5")


def test_of_no_cell_there_is_no_sample_to_take_by_itself(ds):
    nothing = ds.isel(neighbor=[], receiver=[])
    for reduce in (amici_xr.support, amici_xr.atlas, amici_xr.bootstrap):
        with pytest.raises(amici_xr.SchemaError, match="no cell, and so no sample"):
            reduce(nothing, by_sample=True)


def test_a_sample_may_be_named_by_its_number():
    ds = amici_xr.testing.simulate_dataset(n_cells=200, samples=["1", "2", "3", "4"])
    xr.testing.assert_identical(amici_xr.select(ds, sample=2), amici_xr.select(ds, sample="2"))
    by = {1: "x", 2: "x", np.int64(3): "y", "4": "y"}
    expected = ds.cf.contrast(by={str(sample): group for sample, group in by.items()})
    xr.testing.assert_identical(ds.cf.contrast(by=by), expected)
    xr.testing.assert_identical(ds.cf.contrast(by=pd.Series(by)), expected)
    animal = {1: "m1", 2: "m2", 3: "m3", 4: "m4"}
    xr.testing.assert_equal(ds.cf.contrast(by=by, biological_sample=animal), expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda ds: ds.cf.contrast(by={"left": "x", "middle": "y", "right": "y"}),
        lambda ds: ds.cf.support(0.1, None, by_sample=True),
        lambda ds: ds.cf.select(sample="left"),
    ],
)
def test_cells_without_a_sample_are_counted_in_an_error(call):
    ds = amici_xr.testing.simulate_dataset(n_cells=100, samples=SAMPLES).drop_dims("receiver")
    names = ds.neighbor_sample.values.astype(object)
    names[:3] = np.nan
    missing = ds.assign_coords(neighbor_sample=("neighbor", names))
    assert "left" in repr(missing.amici)
    with pytest.raises(amici_xr.SchemaError, match="neighbor_sample is missing for 3 neighbors"):
        call(missing)
