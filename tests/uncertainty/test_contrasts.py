"""Length scales contrasted between conditions: biological samples are the units."""

import json
import warnings

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.special import logit

import amici_xr

DUMMY, UNIT_SCALE = 3.0, 2.0
CONTROLS = [f"c{number}" for number in range(5)]
TREATED = [f"t{number}" for number in range(5)]
GROUPS = dict.fromkeys(CONTROLS, "control") | dict.fromkeys(TREATED, "treated")


def tissue(lengths, samples, *, threshold=0.5, spread=1.0, seed=0, query="R", unit="µm"):
    """Three cells of each (sample, label) whose length scales have the planted mean and median.

    `lengths`: (sample, label) or (sample, label, head); NaN where a sample lacks the label.
    """
    lengths = np.asarray(lengths, dtype=float)
    lengths = lengths if lengths.ndim == 3 else lengths[..., np.newaxis]
    at, label = np.nonzero(np.isfinite(lengths).all(axis=-1))
    of_cells = np.stack([lengths[at, label] + shift for shift in (-spread, 0, spread)], axis=1)
    of_cells = np.maximum(of_cells.reshape(-1, lengths.shape[-1]), 0)
    rng = np.random.default_rng(seed)
    position = rng.uniform(0.5, 2.0, of_cells.shape)
    return amici_xr.from_arrays(
        DUMMY + logit(threshold) + of_cells * position / UNIT_SCALE,
        position,
        [f"S{number}" for number in np.repeat(label, 3)],
        query=query,
        dummy_attention_score=DUMMY,
        distance_kernel_unit_scale=UNIT_SCALE,
        unit=unit,
        cell_type=["R", *(f"S{number}" for number in range(lengths.shape[1]))],
        neighbor_sample=np.array(samples)[np.repeat(at, 3)],
    )


def planted(n_labels, shift=0.0, seed=0, n=(5, 5), n_heads=1):
    """Length scales of mean 40 and SD 5 between samples, `shift` more in the second group."""
    lengths = np.random.default_rng(seed).normal(40, 5, (sum(n), n_labels, n_heads))
    lengths[n[0] :] += shift
    return lengths


@pytest.fixture
def ten():
    """Five samples against five, six labels, two heads; the first label differs by 40."""
    lengths = planted(6, n_heads=2)
    lengths[5:, 0] += 40
    return tissue(lengths, [*CONTROLS, *TREATED])


def test_the_contrast_is_the_difference_of_the_groups_of_samples():
    lengths = planted(4, shift=7.0, seed=3, n=(4, 5))
    samples = [*CONTROLS[:4], *TREATED]
    group = {name: GROUPS[name] for name in samples}
    result, permuted = (
        amici_xr.contrast(tissue(lengths, samples), group, method=method)
        .isel(head=0, comparison=0)
        .sel(label=["S0", "S1", "S2", "S3"])
        for method in ("welch", "permutation")
    )
    control, treated = lengths[:4, :, 0], lengths[4:, :, 0]
    expected = treated.mean(axis=0) - control.mean(axis=0)
    np.testing.assert_allclose(result.difference, expected, rtol=1e-5)
    np.testing.assert_allclose(result.mean_1, control.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(result.mean_2, treated.mean(axis=0), rtol=1e-5)
    assert result.n_units_1.values.tolist() == [4] * 4
    assert result.n_units_2.values.tolist() == [5] * 4

    def statistic(x, y, axis):
        return np.abs(stats.ttest_ind(x, y, axis=axis, equal_var=False).statistic)

    welch = stats.ttest_ind(treated, control, equal_var=False)
    np.testing.assert_allclose(result.studentized_difference, welch.statistic, rtol=1e-4)
    np.testing.assert_allclose(result.p_value, welch.pvalue, rtol=1e-4)
    theirs = stats.permutation_test(
        (treated, control), statistic, vectorized=True, n_resamples=np.inf, alternative="greater"
    )
    np.testing.assert_allclose(permuted.p_value, theirs.pvalue, rtol=1e-9)
    for tested in (result, permuted):
        adjusted = stats.false_discovery_control(tested.p_value)
        np.testing.assert_allclose(tested.q_value, adjusted, rtol=1e-9)
        assert tested.n_tests == 4
    np.testing.assert_array_equal(result.min_attainable_p, 0)
    np.testing.assert_allclose(permuted.min_attainable_p, 1 / 126)


def test_dims_units_and_attributes(ten):
    result = ten.cf.contrast(GROUPS, threshold=0.1, statistic="median", n_resamples=300)
    assert result.difference.dims == ("label", "head", "comparison")
    assert result.sizes == {"label": 7, "head": 2, "comparison": 1}
    assert result.difference.attrs["units"] == "µm"
    assert result.p_value.attrs["units"] == "1"
    assert result["comparison"].item() == "treated - control"
    assert (result.group_1.item(), result.group_2.item()) == ("control", "treated")
    assert result.note.item() == ""
    assert result.attrs == {
        "threshold": 0.1,
        "statistic": "median",
        "head_summary": "each",
        "method": "welch",
        "n_resamples": 300,
        "random_state": 42,
        "groups": json.dumps(GROUPS),
        "biological_samples": json.dumps({name: name for name in GROUPS}),
    }
    assert result.fewest_neighbors.dims == ("label",)
    assert result.fewest_neighbors.values.tolist() == [0, *[3] * 6]
    assert not bool(result.is_enumerated.any())
    enumerated = ten.cf.contrast(GROUPS, method="permutation", n_resamples=300).is_enumerated
    assert bool(enumerated.all())


def test_the_result_survives_a_file(ten, tmp_path):
    result = ten.cf.contrast(GROUPS)
    result.to_netcdf(tmp_path / "contrast.nc")
    with xr.open_dataset(tmp_path / "contrast.nc") as opened:
        xr.testing.assert_identical(opened.load(), result)


def test_the_planted_label_is_found_and_no_other(ten):
    result = ten.cf.contrast(GROUPS)
    is_found = (result.q_value <= 0.05).any(["head", "comparison"])
    assert result.label[is_found].values.tolist() == ["S0"]
    assert result.n_tests == 12


@pytest.mark.parametrize("threshold", [0.1, 0.5])
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_a_sample_counts_with_the_statistic_of_its_cells(statistic, threshold):
    """One far cell moves the mean of its sample, not the median."""
    lengths = planted(1, seed=4)
    ds = tissue(lengths, [*CONTROLS, *TREATED], threshold=threshold)
    far = ds.base_attention_score.copy()
    far[2] += 15 * ds.position_coefficient[2] / UNIT_SCALE
    result = ds.assign(base_attention_score=far).cf.contrast(
        GROUPS, threshold=threshold, statistic=statistic
    )
    expected = lengths[:5].mean() + (15 / 3 / 5 if statistic == "mean" else 0)
    assert result.mean_1.sel(label="S0").item() == pytest.approx(expected, rel=1e-5)


def test_more_than_two_groups_are_compared_pairwise_and_adjusted_together():
    samples = [f"s{number}" for number in range(12)]
    group = dict(zip(samples, np.repeat(["wild", "knockout", "rescue"], 4).tolist(), strict=True))
    lengths = planted(3, seed=6, n=(4, 8))
    result = tissue(lengths, samples).cf.contrast(group)
    assert result["comparison"].values.tolist() == [
        "knockout - wild",
        "rescue - wild",
        "rescue - knockout",
    ]
    assert result.n_tests == 9
    own = result.sel(label=["S0", "S1", "S2"])
    adjusted = stats.false_discovery_control(own.p_value, axis=None)
    np.testing.assert_allclose(own.q_value.values.ravel(), adjusted.ravel(), rtol=1e-12)
    alone = tissue(lengths, samples).cf.contrast(group | dict.fromkeys(samples[:4]))
    assert alone["comparison"].values.tolist() == ["rescue - knockout"]
    for name in ("difference", "p_value"):
        np.testing.assert_array_equal(alone[name][..., 0], result[name][..., 2])


def test_a_coordinate_says_the_same_as_a_mapping(ten):
    names = [GROUPS[sample] for sample in ten.neighbor_sample.values]
    by_coordinate = ten.assign_coords(condition=("neighbor", names)).cf.contrast("condition")
    xr.testing.assert_identical(by_coordinate, ten.cf.contrast(GROUPS))


def test_numbers_are_groups_in_their_order(ten):
    age = np.where(ten.neighbor_sample.isin(CONTROLS), 3, 24)
    result = ten.assign_coords(age=("neighbor", age)).cf.contrast("age")
    assert result["comparison"].values.tolist() == ["24 - 3"]
    by_mapping = ten.cf.contrast({name: 24 if name in TREATED else 3 for name in GROUPS})
    xr.testing.assert_identical(by_mapping, result)


def test_samples_without_a_group_are_left_out(ten):
    some = GROUPS | {"c0": None, "t4": None}
    kept = ten.isel(neighbor=np.flatnonzero(~ten.neighbor_sample.isin(["c0", "t4"])))
    expected = kept.cf.contrast({name: group for name, group in some.items() if group})
    xr.testing.assert_identical(ten.cf.contrast(some), expected)
    xr.testing.assert_identical(kept.cf.contrast(GROUPS), expected)  # what is not there is no harm
    names = [some[sample] for sample in ten.neighbor_sample.values]
    missing = np.array([np.nan if name is None else name for name in names], dtype=object)
    for given in (np.array(names, dtype=object), missing):
        by_coordinate = ten.assign_coords(condition=("neighbor", given)).cf.contrast("condition")
        xr.testing.assert_identical(by_coordinate, expected)


class TestSections:
    """Sections of an animal are no independent units."""

    @pytest.fixture
    def doubled(self):
        """Two sections of each of four animals a group, which agree but for 0.1."""
        lengths = np.random.default_rng(2).normal(40, 5, (8, 5))
        lengths[4:] += 5
        sections = np.repeat(lengths, 2, axis=0) + np.tile([-0.1, 0.1], 8)[:, np.newaxis]
        animals = [f"{name}{number}" for name in "ct" for number in range(4)]
        names = [f"{animal}-{section}" for animal in animals for section in "ab"]
        group = {name: "control" if name[0] == "c" else "treated" for name in names}
        return lengths, animals, tissue(sections, names), group, {name: name[:2] for name in names}

    def test_they_are_averaged_so_that_more_of_them_lower_no_p(self, doubled):
        lengths, animals, ds, group, animal = doubled
        of_animals = {name: "control" if name[0] == "c" else "treated" for name in animals}
        for method in ("welch", "permutation"):
            options = {"method": method, "n_resamples": 20_000}
            result = ds.cf.contrast(group, biological_sample=animal, **options)
            single = tissue(lengths, animals).cf.contrast(of_animals, **options)
            for name in ("min_attainable_p", "n_units_1", "status"):
                np.testing.assert_array_equal(result[name], single[name])
            for name in ("difference", "p_value", "q_value"):
                xr.testing.assert_allclose(result[name], single[name], rtol=1e-4)
            taken_for_units = ds.cf.contrast(group, **options)
            assert float(taken_for_units.p_value.min()) < 0.1 * float(result.p_value.min())
        assert float(result.min_attainable_p.max()) == pytest.approx(2 / 70)

    def test_a_coordinate_may_name_the_animal(self, doubled):
        _, _, ds, group, animal = doubled
        names = [animal[section] for section in ds.neighbor_sample.values]
        by_coordinate = ds.assign_coords(animal=("neighbor", names)).cf.contrast(
            group, biological_sample="animal"
        )
        xr.testing.assert_identical(by_coordinate, ds.cf.contrast(group, biological_sample=animal))

    def test_the_design_is_written_down(self, doubled):
        _, _, ds, group, animal = doubled
        attributes = ds.cf.contrast(group, biological_sample=animal).attrs
        assert json.loads(attributes["groups"]) == group
        assert json.loads(attributes["biological_samples"]) == animal

    def test_each_section_counts_alike_within_its_animal(self):
        """However many cells it has, and where it has none of the label it does not count."""
        samples = ["a1", "a2", "a3", "b1", "c1", "d1"]
        lengths = [[10.0], [20.0], [np.nan], [30.0], [50.0], [60.0]]
        animal = {name: name[0] for name in samples}
        group = {"a1": "x", "a2": "x", "a3": "x", "b1": "x", "c1": "y", "d1": "y"}
        ds = tissue(lengths, samples)
        more = xr.concat([ds.isel(neighbor=[1] * 30), ds], "neighbor", data_vars="minimal")
        more = more.assign_coords(neighbor=np.arange(more.sizes["neighbor"]))
        result = more.cf.contrast(group, biological_sample=animal).sel(label="S0")
        assert result.mean_1.item() == pytest.approx((15 + 30) / 2, rel=1e-5)
        assert result.n_units_1.item() == 2

    def test_an_animal_in_two_groups_is_named(self, doubled):
        _, _, ds, group, animal = doubled
        with pytest.raises(ValueError, match=r"biological_sample: 'c0' has samples in .*'control'"):
            ds.cf.contrast(group | {"c0-a": "treated"}, biological_sample=animal)

    def test_a_section_without_an_animal_is_named(self, doubled):
        _, _, ds, group, animal = doubled
        with pytest.raises(ValueError, match="biological_sample gives none for 'c0-a'; name the"):
            ds.cf.contrast(group, biological_sample=animal | {"c0-a": None})
        del animal["c0-a"]
        with pytest.raises(amici_xr.NotFoundError, match="does not name the samples 'c0-a'; give"):
            ds.cf.contrast(group, biological_sample=animal)
        result = ds.cf.contrast(group | {"c0-a": None}, biological_sample=animal)
        assert int(result.n_units_1.max()) == 4


def test_without_replicates_there_is_no_p_and_it_says_why():
    ds = tissue(planted(2, n=(1, 3)), ["c0", "t0", "t1", "t2"])
    with pytest.warns(UserWarning, match="no p for 'treated' against 'control': 'control' has 1"):
        result = ds.cf.contrast({name: GROUPS[name] for name in ("c0", "t0", "t1", "t2")})
    assert "'control' has 1 biological sample of the 2 needed" in result.note.item()
    assert "cells are not replicates" in result.note.item()
    for name in ("p_value", "q_value", "min_attainable_p", "studentized_difference"):
        assert bool(result[name].isnull().all())
    assert result.n_tests == 0
    assert bool(result.difference.sel(label=["S0", "S1"]).notnull().all())
    assert result.status.sel(label="S0").item() == "too_few_units"


def test_it_warns_once_and_the_other_comparisons_have_their_p():
    samples = ["a0", "b0", "c0", "c1", "c2", "d0", "d1"]
    ds = tissue(planted(2, n=(3, 4)), samples)
    with pytest.warns(UserWarning, match="'a' and 'b' have each 1") as caught:
        result = ds.cf.contrast({name: name[0] for name in samples})
    assert len(caught) == 1
    has_note = result.note != ""
    assert result["comparison"][~has_note].values.tolist() == ["d - c"]
    assert bool((result.p_value.sel(label="S0").isel(head=0).isnull() == has_note).all())
    assert result.n_tests == 2


def test_sections_of_one_animal_are_no_replicates():
    ds = tissue(planted(1, n=(2, 2)), ["a1", "a2", "b1", "b2"])
    with pytest.warns(UserWarning, match="have each 1 biological sample"):
        result = ds.cf.contrast(
            {"a1": "x", "a2": "x", "b1": "y", "b2": "y"},
            biological_sample={name: name[0] for name in ("a1", "a2", "b1", "b2")},
        )
    assert bool(result.p_value.isnull().all())


def test_a_sample_without_the_label_is_left_out_for_that_label():
    lengths = planted(4, shift=5.0, seed=8)[..., 0]
    lengths[[0, 1, 7], 0] = np.nan  # three against four
    lengths[1:5, 1] = np.nan  # one against five
    lengths[5:, 2] = np.nan  # five against none
    ds = tissue(lengths, [*CONTROLS, *TREATED])
    result = ds.cf.contrast(GROUPS).isel(head=0, comparison=0)
    assert result.status.values.tolist() == [
        "absent",
        "tested",
        "too_few_units",
        "absent",
        "tested",
    ]
    assert result.n_units_1.values.tolist() == [0, 3, 1, 5, 5]
    assert result.n_units_2.values.tolist() == [0, 4, 5, 0, 5]
    assert result.p_value.isnull().values.tolist() == [True, False, True, True, False]
    np.testing.assert_array_equal(result.min_attainable_p, [np.nan, 0, np.nan, np.nan, 0])
    permuted = ds.cf.contrast(GROUPS, method="permutation").isel(head=0, comparison=0)
    np.testing.assert_allclose(
        permuted.min_attainable_p, [np.nan, 1 / 35, np.nan, np.nan, 2 / 252], rtol=1e-12
    )
    welch = stats.ttest_ind(lengths[[5, 6, 8, 9], 0], lengths[2:5, 0], equal_var=False)
    assert result.studentized_difference.values[1] == pytest.approx(welch.statistic, rel=1e-4)
    assert result.p_value.values[1] == pytest.approx(welch.pvalue, rel=1e-4)
    assert result.n_tests == 2


def signed_tissue(lengths, samples):
    """Cells of each (sample, label, head, cell), whose signed length scales are as given."""
    lengths = [np.asarray(of_sample, dtype=float) for of_sample in lengths]
    columns = [np.moveaxis(each, 1, -1).reshape(-1, each.shape[1]) for each in lengths]
    labels = [np.repeat(np.arange(each.shape[0]), each.shape[2]) for each in lengths]
    score = DUMMY + np.concatenate(columns)
    return amici_xr.from_arrays(
        score,
        np.ones_like(score),
        [f"S{number}" for number in np.concatenate(labels)],
        query="R",
        dummy_attention_score=DUMMY,
        neighbor_sample=np.repeat(samples, [len(each) for each in labels]),
    )


@pytest.mark.parametrize("method", ["welch", "permutation"])
def test_a_label_that_reaches_nowhere_in_any_sample_is_not_tested(method):
    lengths = np.random.default_rng(1).normal(8, 2, (10, 3, 1, 4))
    lengths[:, 1] -= 50
    lengths[:5, 2] -= 50  # reaches in one of the groups
    ds = signed_tissue(lengths, [*CONTROLS, *TREATED])
    result = ds.cf.contrast(GROUPS, method=method).isel(head=0, comparison=0)
    assert result.status.values.tolist() == ["absent", "tested", "no_reach", "tested"]
    assert result.p_value.isnull().values.tolist() == [True, False, True, False]
    assert result.difference.sel(label="S1").item() == pytest.approx(
        lengths[5:, 1].mean() - lengths[:5, 1].mean(), rel=1e-5
    )
    assert result.n_tests == 2


def test_groups_that_do_not_vary_but_differ_have_an_infinite_t_and_a_p_by_permutation_alone():
    lengths = np.repeat([2.0, 8.0], 5).reshape(10, 1, 1, 1)
    ds = signed_tissue(lengths, [*CONTROLS, *TREATED])
    permuted, welch = (
        ds.cf.contrast(GROUPS, method=method).sel(label="S0").isel(head=0, comparison=0)
        for method in ("permutation", "welch")
    )
    assert permuted.studentized_difference.item() == np.inf
    assert permuted.p_value.item() == pytest.approx(2 / 252)
    assert welch.status.item() == "constant"
    assert np.isnan(welch.p_value.item())


@pytest.mark.parametrize("method", ["welch", "permutation"])
def test_samples_that_are_all_equal_are_not_tested(method):
    ds = signed_tissue(np.full((10, 1, 1, 2), 8.0), [*CONTROLS, *TREATED])
    result = ds.cf.contrast(GROUPS, method=method)
    assert result.status.sel(label="S0").item() == "constant"
    assert result.n_tests == 0


def test_lengths_below_zero_count_in_full():
    """A floor at 0 would give 0.5 and 4."""
    ds = signed_tissue(np.reshape([-9.0, -1, 1, 0, 4, 4], (6, 1, 1, 1)), list("abcdef"))
    group = dict.fromkeys("abc", "x") | dict.fromkeys("def", "y")
    result = ds.cf.contrast(group).sel(label="S0")
    assert (result.mean_1.item(), result.mean_2.item()) == (-3, pytest.approx(8 / 3))


N_STUDIES = 400


@pytest.fixture(scope="module", params=["normal", "skewed"])
def unequal(request):
    """Each label is a study of six against six samples, of 5 and 100 cells, with four heads."""
    rng = np.random.default_rng(4)
    samples = [*(f"few{number}" for number in range(6)), *(f"many{n}" for n in range(6))]
    lengths = []
    for name in samples:
        shape = (N_STUDIES, 4, 5 if name.startswith("few") else 100)
        of_cells = {"normal": rng.normal(size=shape), "skewed": rng.exponential(size=shape) - 1}
        lengths.append(rng.normal(0, 1, (*shape[:2], 1)) + 8 * of_cells[request.param])
    return lengths, signed_tissue(lengths, samples), {n: n[:3] for n in samples}


class TestUnequalNumbersOfCells:
    """Samples with few cells are compared with samples that have many, and nothing differs."""

    def share(self, p):
        return stats.binomtest(int((p <= 0.05).sum()), p.size).proportion_ci(0.999)

    @pytest.mark.parametrize("statistic", ["mean", "median"])
    @pytest.mark.parametrize("head_summary", ["each", "max"])
    def test_true_nulls_are_rejected_as_often_as_said(self, unequal, statistic, head_summary):
        _, ds, group = unequal
        result = ds.cf.contrast(group, statistic=statistic, head_summary=head_summary)
        result = result.sel(label=result.label != "R")
        assert bool((result.status == "tested").all())
        assert (result.fewest_neighbors == 5).all()
        rejected = self.share(result.p_value.values)
        assert rejected.low < 0.06
        assert rejected.high > 0.04

    def test_the_largest_median_of_floored_lengths_would_reject_many_more(self, unequal):
        lengths, _, _ = unequal
        units = [np.maximum(np.median(each, axis=-1), 0).max(axis=-1) for each in lengths]
        p = stats.ttest_ind(units[:6], units[6:], equal_var=False).pvalue
        assert self.share(p).low > 0.2

    def test_the_mean_over_all_cells_of_each_head_is_compared(self, unequal):
        lengths, ds, group = unequal
        means = np.stack([each.mean(axis=-1) for each in lengths])
        result = ds.cf.contrast(group).sel(label=[f"S{n}" for n in range(N_STUDIES)])
        expected = means[6:].mean(axis=0) - means[:6].mean(axis=0)
        np.testing.assert_allclose(result.difference[..., 0], expected, atol=1e-4)


def test_the_largest_head_needs_no_matching_of_heads():
    """Heads that swap places from sample to sample change nothing."""
    lengths = planted(3, shift=8.0, seed=5, n_heads=3)
    swapped = lengths.copy()
    for at, turn in enumerate(np.random.default_rng(0).integers(0, 3, 10)):
        swapped[at] = np.roll(swapped[at], turn, axis=-1)
    first, second = (
        tissue(values, [*CONTROLS, *TREATED]).cf.contrast(GROUPS, head_summary="max")
        for values in (lengths, swapped)
    )
    assert first.difference.dims == ("label", "comparison")
    assert "head" not in first.coords
    xr.testing.assert_allclose(first, second, rtol=1e-5)
    expected = lengths.max(axis=-1)
    expected = expected[5:].mean(axis=0) - expected[:5].mean(axis=0)
    np.testing.assert_allclose(first.difference[1:, 0], expected, rtol=1e-5)


def test_a_head_picked_by_isel_is_contrasted_by_itself(ten):
    picked = ten.isel(head=1).cf.contrast(GROUPS)
    every = ten.cf.contrast(GROUPS)
    np.testing.assert_array_equal(picked.p_value, every.p_value.isel(head=1))
    largest = ten.isel(head=1).cf.contrast(GROUPS, head_summary="max")
    np.testing.assert_array_equal(largest.p_value, every.p_value.isel(head=1))


@pytest.fixture
def queries():
    """Three queries of a simulated tissue, its cells dealt out to seven samples."""
    several = amici_xr.testing.simulate_dataset(["A", "C", "D"], n_cells=900, seed=2)
    rng = np.random.default_rng(0)
    names = np.array(list("abcdefg"))
    return several.assign_coords(
        neighbor_sample=("neighbor", rng.choice(names, several.sizes["neighbor"])),
        receiver_sample=("receiver", rng.choice(names, several.sizes["receiver"])),
    )


SEVEN = dict.fromkeys("abc", "x") | dict.fromkeys("defg", "y")


def test_each_of_several_queries_has_its_own_contrast_and_all_are_adjusted_together(queries):
    result = queries.cf.contrast(SEVEN, threshold=0.1)
    assert result.difference.dims == ("query", "label", "head", "comparison")
    for query in ("A", "C", "D"):
        alone = queries.cf.select(query).cf.contrast(SEVEN, threshold=0.1)
        for name in ("difference", "p_value", "n_units_1", "status"):
            xr.testing.assert_equal(alone[name], result[name].sel(query=query))
    is_test = result.p_value.notnull().values
    adjusted = stats.false_discovery_control(result.p_value.values[is_test])
    np.testing.assert_allclose(result.q_value.values[is_test], adjusted)
    assert result.n_tests == is_test.sum()


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("chunks", [{"neighbor": 37}, {"neighbor": -1, "head": 1}, {}])
def test_chunks_change_no_number(queries, statistic, chunks):
    options = {"threshold": 0.1, "statistic": statistic}
    result = queries.chunk(chunks).cf.contrast(SEVEN, **options)
    xr.testing.assert_allclose(result, queries.cf.contrast(SEVEN, **options), rtol=1e-12)


def test_the_order_of_neighbors_does_not_matter(queries):
    turned = queries.isel(neighbor=np.random.default_rng(1).permutation(queries.sizes["neighbor"]))
    xr.testing.assert_allclose(turned.cf.contrast(SEVEN), queries.cf.contrast(SEVEN), rtol=1e-12)


def test_swapped_groups_turn_the_sign_alone(ten):
    other = {name: GROUPS[name] for name in [*TREATED, *CONTROLS]}
    forth, back = ten.cf.contrast(GROUPS), ten.cf.contrast(other)
    assert back["comparison"].item() == "control - treated"
    for name in ("difference", "studentized_difference"):
        np.testing.assert_allclose(back[name], -forth[name], rtol=1e-12)
    np.testing.assert_allclose(back.p_value, forth.p_value, rtol=1e-12)


def test_the_same_seed_draws_the_same_labelings(ten):
    one, again, other = (
        ten.cf.contrast(GROUPS, method="permutation", n_resamples=99, random_state=seed)
        for seed in (1, 1, 2)
    )
    xr.testing.assert_identical(one, again)
    assert not one.p_value.equals(other.p_value)
    assert not bool(one.is_enumerated.sel(label="S0").any())
    np.testing.assert_allclose(one.min_attainable_p.sel(label="S0"), 1 / 100)


@pytest.mark.parametrize("method", ["welch", "permutation"])
def test_a_shift_of_10_with_sd_5_is_found_at_5_against_5_with_power_0_8(method):
    """Two-sided at 0.05; the t test has 0.79 by the noncentral t. 3,000 independent labels."""
    n_labels = 3_000
    ds = tissue(planted(n_labels, shift=10.0, seed=1), [*CONTROLS, *TREATED])
    p = ds.cf.contrast(GROUPS, method=method)
    power = float((p.p_value <= 0.05).sum() / n_labels)
    critical, center = stats.t.isf(0.025, 8), 10 / (5 * np.sqrt(2 / 5))
    of_t_test = stats.nct.sf(critical, 8, center) + stats.nct.cdf(-critical, 8, center)
    assert of_t_test == pytest.approx(0.79, abs=0.001)
    found = stats.binomtest(round(power * n_labels), n_labels).proportion_ci(0.999)
    assert found.low > 0.74
    assert found.high < 0.83
    assert found.low < of_t_test


@pytest.mark.parametrize("method", ["welch", "permutation"])
def test_equal_groups_are_told_apart_no_more_often_than_alpha(method):
    n_labels = 3_000
    ds = tissue(planted(n_labels, seed=2), [*CONTROLS, *TREATED])
    p = ds.cf.contrast(GROUPS, method=method)
    for alpha in (0.01, 0.05, 0.1, 0.5):
        n_below = int((p.p_value <= alpha).sum())
        assert stats.binomtest(n_below, n_labels, alpha, alternative="greater").pvalue > 0.001
    assert not bool((p.q_value <= 0.05).any())


def test_the_share_of_false_discoveries_is_at_most_0_05():
    """2,000 labels, half of which differ by 15."""
    lengths = planted(2_000, seed=3)
    lengths[5:, :1_000] += 15
    result = tissue(lengths, [*CONTROLS, *TREATED]).cf.contrast(GROUPS)
    q = result.q_value.isel(head=0, comparison=0)
    differs = [f"S{number}" for number in range(1_000)]
    n_true = int((q.sel(label=differs) <= 0.05).sum())
    n_false = int((q <= 0.05).sum()) - n_true
    assert n_true > 900
    assert 0 < n_false < 0.05 * (n_true + n_false)


class TestRuns:
    """Trainings of the same tissue are averaged before anything is compared."""

    @pytest.fixture
    def trainings(self):
        """Three trainings of ten samples, each with an error of its own in every label."""
        lengths = planted(3, shift=8.0, seed=7, n_heads=2)
        lengths[..., 1] -= 25  # so that heads are told apart
        errors = np.random.default_rng(1).normal(0, 2, (3, 1, 3, 2))
        return lengths + errors

    def aligned(self, trainings):
        return amici_xr.align_runs(
            [tissue(lengths, [*CONTROLS, *TREATED]) for lengths in trainings], distance=60
        )

    def test_the_largest_head_of_each_run_is_averaged(self, trainings):
        result = self.aligned(trainings).cf.contrast(GROUPS)
        assert result.attrs["head_summary"] == "max"
        assert result.difference.dims == ("label", "comparison")
        units = trainings.max(axis=-1).mean(axis=0)
        welch = stats.ttest_ind(units[5:], units[:5], equal_var=False)
        np.testing.assert_allclose(result.studentized_difference[1:, 0], welch.statistic, rtol=1e-4)
        np.testing.assert_allclose(result.mean_1[1:, 0], units[:5].mean(axis=0), rtol=1e-5)

    def test_more_runs_are_no_more_units(self, trainings):
        one = tissue(trainings[0], [*CONTROLS, *TREATED]).cf.contrast(GROUPS, head_summary="max")
        three = self.aligned(trainings[[0] * 3]).cf.contrast(GROUPS)
        for name in ("p_value", "n_units_1", "n_units_2"):
            np.testing.assert_array_equal(one[name], three[name])

    def test_each_head_is_averaged_over_the_runs_that_match_it(self, trainings):
        ds = self.aligned(trainings)
        result = ds.cf.contrast(GROUPS, head_summary="each")
        units = trainings.mean(axis=0)
        np.testing.assert_allclose(result.mean_1[1:, :, 0], units[:5].mean(axis=0), rtol=1e-5)
        unmatched = ds["is_matched"].copy(data=[[True, True], [True, True], [True, False]])
        result = ds.assign_coords(is_matched=unmatched).cf.contrast(GROUPS, head_summary="each")
        expected = [trainings[..., 0].mean(axis=0), trainings[:2, ..., 1].mean(axis=0)]
        for head, units in enumerate(expected):
            np.testing.assert_allclose(
                result.mean_1[1:, head, 0], units[:5].mean(axis=0), rtol=1e-5
            )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threshold": 1}, ValueError, "threshold=1 must lie strictly between 0 and 1"),
        ({"statistic": "mode"}, ValueError, "statistic='mode' is not known; choose one of 'mean'"),
        ({"head_summary": "mean"}, ValueError, "head_summary='mean' is not known; choose .*'each'"),
        ({"n_resamples": 0}, ValueError, "n_resamples=0 must be at least 1"),
        ({"n_resamples": 9.5}, TypeError, "n_resamples=9.5 must be an integer"),
        ({"by": "status"}, amici_xr.NotFoundError, "by='status' is neither a mapping .*'label'"),
        ({"by": None}, amici_xr.NotFoundError, "by=None is neither a mapping from samples nor"),
        (
            {"by": {"c0": "control"}},
            amici_xr.NotFoundError,
            "by does not name the samples 'c1', 'c2', .* or None to leave it out",
        ),
        (
            {"by": dict.fromkeys(GROUPS, "same")},
            ValueError,
            r"by gives the groups 'same'; a comparison needs at least two",
        ),
        ({"by": dict.fromkeys(GROUPS)}, ValueError, r"by gives the groups none; a comparison"),
        ({"by": "label"}, ValueError, "by='label' varies within the sample 'c0', which has 'S0'"),
        (
            {"method": "wilcoxon"},
            ValueError,
            "method='wilcoxon' is not known; choose one of 'welch'",
        ),
        (
            {"biological_sample": "animal"},
            amici_xr.NotFoundError,
            "biological_sample='animal' is neither a mapping",
        ),
        (
            {"biological_sample": "label"},
            ValueError,
            "biological_sample='label' varies within the sample 'c0'",
        ),
    ],
)
def test_bad_arguments_are_named(ten, options, error, message):
    with pytest.raises(error, match=message):
        amici_xr.contrast(ten, **({"by": GROUPS} | options))


def test_a_dataset_without_samples_says_how_to_go_on(ds):
    with pytest.raises(amici_xr.SchemaError, match=r"has no neighbor_sample.*sample_key="):
        ds.cf.contrast({"a": "x"})


def test_samples_of_no_neighbor_are_no_samples(ten):
    with pytest.raises(ValueError, match="a comparison needs at least two"):
        ten.isel(neighbor=[]).cf.contrast(GROUPS)


def test_nothing_is_warned_of_where_all_is_well(ten):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ten.cf.contrast(GROUPS)
