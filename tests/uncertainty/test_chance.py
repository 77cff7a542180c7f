"""What chance gives beside the atlas: the reach of pairs in models of the permuted tissue."""

import numpy as np
import pytest
import xarray as xr

import amici_xr
from amici_xr.dataset.kinds import KIND
from amici_xr.testing import simulate_dataset

TYPES = ["A", "B", "C"]
NAN = np.nan
NOBODY = (NAN, NAN)  # both heads of a pair without neighbors
# Length scales of two heads, receivers A and B × senders A, B and C.
OWN = [[NOBODY, (3, 5), (2, -1)], [(4, 0), NOBODY, (-1, -2)]]
FIRST_RUN = [[NOBODY, (6, 1), (1, 0)], [(0, 0), NOBODY, (0, -3)]]
SECOND_RUN = [[NOBODY, (2, 4), (0, 1)], [(12, 1), NOBODY, (-1, -1)]]  # 12: beyond all cells, at 10


def scores_of(reach, unit="µm", types=TYPES):
    """Scores by hand in which all neighbors of a label reach equally far, at a weight of 0.5.

    With p = u = 1 and δ = 0 the length scale there is the base score itself. Every neighbor stands
    at a distance of 10 from every receiver.
    """
    label = np.repeat(types, 4)
    score = np.repeat(np.array(reach, dtype=float), 4, axis=1)
    is_neighbor = ~np.isnan(score).any(axis=-1)
    receiver = np.flatnonzero(np.isin(label, types[:2]))
    index = np.array([np.flatnonzero(is_neighbor[types.index(label[cell])]) for cell in receiver])
    return amici_xr.from_arrays(
        score,
        np.where(np.isnan(score), NAN, 1.0),
        label,
        query=types[:2],
        dummy_attention_score=0.0,
        cell_type=types,
        unit=unit,
        receiver=receiver,
        receiver_label=label[receiver],
        neighborhood_index=index,
        neighborhood_distance=np.full(index.shape, 10.0),
        neighborhood_label=index // 4,
    )


@pytest.fixture
def own():
    return scores_of(OWN)


@pytest.fixture
def permuted():
    """Two models of the permuted tissue."""
    return amici_xr.align_runs([scores_of(FIRST_RUN), scores_of(SECOND_RUN)])


def test_chance_ranges_over_runs_of_the_strongest_head(own, permuted):
    atlas = amici_xr.atlas(own, 0.5, None, chance=permuted)
    np.testing.assert_array_equal(atlas.chance_lower, [[NAN, 4, 1], [0, NAN, 0]])
    np.testing.assert_array_equal(atlas.chance_upper, [[NAN, 6, 1], [12, NAN, 0]])
    # own: 5 of 6, 2 of 1; 4 of 12, which is extrapolated but counts; no reach on either side
    np.testing.assert_array_equal(atlas.within_chance, [[False, True, False], [True, False, True]])
    assert atlas.chance_upper.dims == atlas.within_chance.dims == ("query", "label")
    assert atlas.chance_upper.attrs["units"] == "µm"
    assert "units" not in atlas.within_chance.attrs
    bare = amici_xr.atlas(own, 0.5, None)
    added = {"chance_lower", "chance_upper", "within_chance"}
    assert set(atlas.data_vars) - set(bare.data_vars) == added
    xr.testing.assert_identical(atlas.drop_vars(added), bare)


def test_a_reach_that_too_few_receivers_support_counts_as_none_in_chance_too(own, permuted):
    """No cell stands nearer than 10, so that 12 alone is left."""
    atlas = amici_xr.atlas(own, 0.5, 0.02, chance=permuted)
    np.testing.assert_array_equal(atlas.chance_upper, [[NAN, 0, 0], [12, NAN, 0]])
    np.testing.assert_array_equal(atlas.within_chance.sel(query="A"), [False, True, True])


def test_a_single_run_gives_a_single_number(own):
    atlas = amici_xr.atlas(own, 0.5, None, chance=scores_of(SECOND_RUN))
    np.testing.assert_array_equal(atlas.chance_lower, [[NAN, 4, 1], [12, NAN, 0]])
    np.testing.assert_array_equal(atlas.chance_upper, atlas.chance_lower)


def test_a_pair_that_chance_never_saw_is_not_said_to_lie_within_it(own):
    without_c = [[NOBODY, (6, 1), NOBODY], [(4, 3), NOBODY, NOBODY]]
    atlas = amici_xr.atlas(own, 0.5, None, chance=scores_of(without_c))
    assert atlas.chance_upper.sel(label="C").isnull().all()
    np.testing.assert_array_equal(atlas.within_chance, [[False, True, False], [True, False, False]])


@pytest.fixture(scope="module")
def tissues():
    """Scores of a tissue with samples, and two runs of others that stand for it permuted."""
    ds, first = (
        simulate_dataset(
            TYPES, cell_types=TYPES, n_heads=3, unit="µm", samples=["l", "r"], seed=seed
        )
        for seed in (7, 8)
    )
    second = first.assign(base_attention_score=first.base_attention_score - 1)
    return ds, amici_xr.align_runs([first, second])


def test_chance_says_what_reach_across_runs_says(tissues):
    ds, chance = tissues
    thresholds = [0.1, 0.5]
    atlas = amici_xr.atlas(ds, thresholds, chance=chance)
    assert atlas.chance_lower.dims == ("query", "label", "threshold")
    for threshold in thresholds:
        reach = amici_xr.reach_across_runs(chance, threshold)
        here = atlas.sel(threshold=threshold)
        np.testing.assert_allclose(here.chance_lower, reach["min"], rtol=1e-12)
        np.testing.assert_allclose(here.chance_upper, reach["max"], rtol=1e-12)
        own = amici_xr.reach_across_runs(amici_xr.align_runs([ds, ds]), threshold)["min"]
        np.testing.assert_array_equal(here.within_chance, own <= reach["max"])
    assert 0 < int(atlas.within_chance.sum()) < atlas.within_chance.size


def test_each_sample_has_a_range_of_its_own(tissues):
    ds, chance = tissues
    atlas = amici_xr.atlas(ds, 0.1, by_sample=True, chance=chance)
    assert atlas.chance_upper.dims == ("query", "sample", "label")
    for sample in ("l", "r"):
        parts = (amici_xr.select(each, sample=sample) for each in (ds, chance))
        alone = amici_xr.atlas(next(parts), 0.1, chance=next(parts))
        for name in ("chance_lower", "chance_upper", "within_chance"):
            xr.testing.assert_equal(atlas[name].sel(sample=sample, drop=True), alone[name])


def test_pairs_are_aligned_by_their_names_and_chance_may_hold_more_queries(tissues):
    ds, chance = tissues
    expected = amici_xr.atlas(ds, 0.1, chance=chance)
    shuffled = chance.isel(query=[2, 0, 1])
    xr.testing.assert_identical(amici_xr.atlas(ds, 0.1, chance=shuffled), expected)
    of_one = amici_xr.atlas(amici_xr.select(ds, "B"), 0.1, chance=chance)
    assert of_one.chance_upper.dims == ("label",)
    xr.testing.assert_equal(of_one.chance_upper, expected.chance_upper.sel(query="B"))
    both_of_one = amici_xr.atlas(amici_xr.select(ds, "B"), 0.1, chance=amici_xr.select(chance, "B"))
    xr.testing.assert_identical(both_of_one, of_one)


def test_runs_of_the_tissue_itself_are_each_compared_with_chance(own, permuted):
    runs = amici_xr.align_runs([own, scores_of(FIRST_RUN)])
    atlas = amici_xr.atlas(runs, 0.5, None, chance=permuted)
    assert atlas.within_chance.dims == ("run", "query", "label")
    assert atlas.within_chance.sel(query="A", label="C").values.tolist() == [False, True]


def test_one_head_or_none_is_enough(own, permuted):
    heads = [(own.sel(head=0), permuted.sel(head=0)), (own.isel(head=[]), permuted.isel(head=[]))]
    of_one, of_none = (amici_xr.atlas(ds, 0.5, None, chance=chance) for ds, chance in heads)
    assert of_one.within_chance.dims == of_none.within_chance.dims == ("query", "label")
    assert (of_none.chance_upper == 0).all()


def test_lazy_scores_stay_lazy_and_give_the_same(tissues):
    ds, chance = tissues
    lazy = amici_xr.atlas(ds.chunk(neighbor=100), 0.1, chance=chance.chunk(neighbor=100, run=1))
    assert lazy.within_chance.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), amici_xr.atlas(ds, 0.1, chance=chance))


def test_an_atlas_with_chance_is_kept_in_a_file(own, permuted):
    atlas = amici_xr.atlas(own, 0.5, None, chance=permuted)
    amici_xr.save(atlas, "atlas.nc")
    xr.testing.assert_equal(amici_xr.open_dataset("atlas.nc").load(), atlas)


REFUSED = {
    "a path": (
        lambda chance: "permuted.nc",
        TypeError,
        "chance must be an xarray.Dataset, not str; open_dataset reads one",
    ),
    "evidence": (
        lambda chance: xr.Dataset(attrs={KIND: "sender_refits"}),
        amici_xr.SchemaError,
        "chance is a Dataset of the kind 'sender_refits'; give scores of a model",
    ),
    "an atlas": (
        lambda chance: amici_xr.atlas(chance),
        amici_xr.SchemaError,
        "chance is a Dataset of the kind 'answer'",
    ),
    "no scores": (
        lambda chance: chance.drop_vars("dummy_attention_score"),
        amici_xr.SchemaError,
        "missing: 'dummy_attention_score'",
    ),
    "another unit": (
        lambda chance: scores_of(FIRST_RUN, unit=None),
        ValueError,
        "the unit of chance is 'unknown', that of ds 'µm'; extract both with the same unit=",
    ),
    "other cell types": (
        lambda chance: scores_of(FIRST_RUN, types=["A", "B", "D"]),
        ValueError,
        "chance is of other cell types than ds: it holds 'A', 'B', 'D', and ds 'A', 'B', 'C'; "
        "train both on the same labels",
    ),
    "another query": (
        lambda chance: amici_xr.select(chance, "A"),
        ValueError,
        "chance lacks the query 'B': it holds 'A', and ds 'A', 'B'; extract it as ds was",
    ),
}


@pytest.mark.parametrize(("change", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_chance_for_this_dataset_is_refused(own, permuted, change, error, message):
    with pytest.raises(error, match=message):
        amici_xr.atlas(own, 0.5, None, chance=change(permuted))


def test_chance_without_one_of_the_samples_is_refused(tissues):
    ds, chance = tissues
    with pytest.raises(ValueError, match="chance lacks the sample 'r': it holds 'l', and ds 'l'"):
        amici_xr.atlas(ds, by_sample=True, chance=amici_xr.select(chance, sample="l"))
