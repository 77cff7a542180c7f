"""Evidence in the atlas: which pairs each kind supports, and how kinds are joined."""

import numpy as np
import pytest
import xarray as xr
from responses import simulate_response

import amici_xr
from amici_xr.dataset.kinds import KIND

needs_model = pytest.mark.needs_model
TYPES = ["A", "B", "C"]
PAIR = ("query", "label")


def evidence(kind, q, status="tested", types=TYPES):
    """Evidence of one kind by hand: q of receivers × senders, NaN where a pair was not tested."""
    q = np.array(q, dtype=np.float64)
    status = np.where(np.isnan(q), "absent", status)
    return xr.Dataset(
        {
            "gain": (PAIR, np.where(np.isnan(q), np.nan, 0.1)),
            "q_value": (PAIR, q),
            "status": (PAIR, status),
        },
        coords={"query": types, "label": types},
        attrs={KIND: kind},
    )


def gains(q, **options):
    return evidence("prediction_gain", q, "held_out", **options)


def refits(q, **options):
    return evidence("sender_refits", q, **options)


NAN = np.nan
GAINS = [[NAN, 0.01, 0.02], [0.03, NAN, 0.4], [0.049, 0.05, NAN]]
REFITS = [[NAN, 0.2, 0.001], [NAN, NAN, 0.6], [0.3, 0.04, NAN]]


@pytest.fixture(scope="module")
def scores():
    return amici_xr.testing.simulate_dataset(TYPES, n_cells=200, cell_types=TYPES, unit="µm")


def words(result, name):
    return result[name].transpose(*PAIR).values.tolist()


def test_a_pair_is_supported_where_q_is_below_the_level_and_not_at_it(scores):
    atlas = amici_xr.atlas(scores, 0.1, evidence=gains(GAINS))
    yes, no, untested = "supported", "not_supported", "not_tested"
    assert words(atlas, "evidence") == [
        [untested, yes, yes],
        [yes, untested, no],
        [yes, no, untested],
    ]
    assert words(atlas, "supported_by")[2] == ["held_out_gain", "", ""]
    np.testing.assert_array_equal(atlas.q_value_held_out_gain, GAINS)
    stricter = amici_xr.atlas(scores, 0.1, evidence=gains(GAINS), significance_level=0.02)
    assert words(stricter, "evidence")[0] == [untested, yes, no]
    assert stricter.attrs["significance_level"] == 0.02


def test_refits_that_tested_a_pair_outrank_its_gain_on_held_out_cells(scores):
    """Within one model senders stand in for each other; where no refit was made, gains count."""
    atlas = amici_xr.atlas(scores, 0.1, evidence=[refits(REFITS), gains(GAINS)])
    assert words(atlas, "supported_by") == [
        ["", "", "held_out_gain,refits"],  # A ← B: refits do not support the gain; A ← C: both
        ["held_out_gain", "", ""],  # B ← A: not refitted
        ["", "refits", ""],
    ]
    assert words(atlas, "evidence") == [
        ["not_tested", "not_supported", "supported"],
        ["supported", "not_tested", "not_supported"],
        ["not_supported", "supported", "not_tested"],
    ]
    np.testing.assert_array_equal(atlas.q_value_refits, REFITS)
    np.testing.assert_array_equal(atlas.q_value_held_out_gain, GAINS)  # still to be read


def test_the_tissue_supports_a_pair_that_refits_do_not():
    """The model may have missed it."""
    response = simulate_response(3)
    response["q_value"] = response.q_value.where(response.status != "tested", 0.001)
    types = response["query"].values.tolist()
    scores = amici_xr.testing.simulate_dataset(types, n_cells=200, cell_types=types)
    nothing = refits(np.where(np.eye(3), NAN, 0.9), types=types)
    atlas = amici_xr.atlas(scores, 0.1, evidence=[response, nothing])
    is_tested = response.status == "tested"
    assert 0 < is_tested.sum() < 9
    xr.testing.assert_equal(atlas.supported_by == "tissue", is_tested.drop_attrs())
    xr.testing.assert_equal(atlas.q_value_strict_tissue, response.q_value_strict)
    both = amici_xr.atlas(
        scores, 0.1, evidence=[nothing.assign(q_value=nothing.q_value / 90), response]
    )
    assert set(np.unique(both.supported_by)) == {"", "refits", "tissue,refits"}


def test_pairs_are_aligned_by_their_names(scores):
    expected = amici_xr.atlas(scores, 0.1, evidence=gains(GAINS))
    shuffled = gains(GAINS).isel(query=[2, 0, 1], label=[1, 2, 0]).transpose("label", "query")
    xr.testing.assert_identical(amici_xr.atlas(scores, 0.1, evidence=shuffled), expected)


def test_evidence_of_one_receiver_or_sender_leaves_the_others_untested(scores):
    of_one = amici_xr.atlas(scores, 0.1, evidence=gains(GAINS).sel(query="C"))
    assert words(of_one, "supported_by") == [[""] * 3, [""] * 3, ["held_out_gain", "", ""]]
    assert words(of_one, "evidence")[0] == ["not_tested"] * 3
    of_sender = amici_xr.atlas(scores, 0.1, evidence=gains(GAINS).sel(label=["A"]))
    assert words(of_sender, "evidence")[2] == ["supported", "not_tested", "not_tested"]


def test_an_atlas_of_one_receiver_takes_its_row_of_the_evidence(scores):
    of_one = amici_xr.atlas(amici_xr.select(scores, "C"), 0.1, evidence=gains(GAINS))
    assert of_one.evidence.dims == ("label",)
    assert of_one.evidence.values.tolist() == ["supported", "not_supported", "not_tested"]
    alone = gains(GAINS).sel(query="C")
    xr.testing.assert_identical(
        amici_xr.atlas(amici_xr.select(scores, "C"), 0.1, evidence=alone), of_one
    )


def test_without_evidence_the_atlas_holds_no_word_on_it(scores):
    atlas = amici_xr.atlas(scores, 0.1)
    assert not {"evidence", "supported_by"} & set(atlas.data_vars)
    xr.testing.assert_identical(amici_xr.atlas(scores, 0.1, evidence=[]), atlas)


def test_thresholds_and_samples_share_the_evidence():
    ds = amici_xr.testing.simulate_dataset(TYPES, n_cells=300, cell_types=TYPES, samples=["l", "r"])
    whole = amici_xr.atlas(ds, 0.1, evidence=gains(GAINS))
    for parted in (
        amici_xr.atlas(ds, [0.1, 0.5], evidence=gains(GAINS)),
        amici_xr.atlas(ds, 0.1, by_sample=True, evidence=gains(GAINS)),
    ):
        assert parted.evidence.dims == PAIR
        np.testing.assert_array_equal(parted.evidence, whole.evidence)


def test_an_atlas_with_evidence_is_kept_in_a_file(scores):
    atlas = amici_xr.atlas(scores, 0.1, evidence=[gains(GAINS), refits(REFITS)])
    amici_xr.save(atlas, "atlas.nc")
    xr.testing.assert_equal(amici_xr.open_dataset("atlas.nc").load(), atlas)


@pytest.mark.parametrize("kind", [gains, refits])
def test_evidence_is_kept_in_a_file_and_read_from_it(scores, kind):
    amici_xr.save(kind(GAINS), "evidence.nc")
    opened = amici_xr.open_dataset("evidence.nc", chunks={})
    expected = amici_xr.atlas(scores, 0.1, evidence=kind(GAINS))
    xr.testing.assert_identical(amici_xr.atlas(scores, 0.1, evidence=opened), expected)


def test_neighborhoods_end_where_the_farthest_neighbors_stand(scores):
    atlas = amici_xr.atlas(scores, 0.1)
    farthest = scores.neighborhood_distance.max("rank").to_series()
    expected = farthest.groupby(scores.receiver_label.values).median()
    np.testing.assert_allclose(atlas.neighborhood_edge, expected[TYPES])
    assert atlas.neighborhood_edge.attrs["units"] == "µm"


@needs_model
def test_the_tissue_of_the_demo_supports_the_planted_pairs_and_no_other(demo):
    model, adata = demo
    planted = adata.uns["interactions"]
    response = amici_xr.distance_response(adata, "cell_type", microns_per_unit=1.0, progress=False)
    ds = amici_xr.extract(model, None, adata, progress=False)
    atlas = ds.cf.atlas(0.1, evidence=response)
    supported = atlas.evidence.to_series()
    supported = supported.index[supported == "supported"]
    assert set(supported) == set(zip(planted["receiver"], planted["sender"], strict=True))
    reached = (atlas.status == "reachable").any("head")
    assert int(reached.sum()) > len(planted)  # the reach alone does not tell them


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (gains([[NAN, 0.1, 0.1]] * 3, types=["A", "B", "D"]), ValueError,
         "'held_out_gain' is of other cell types than ds: it holds 'A', 'B', 'D', and ds 'A', 'B', "
         "'C'; give evidence from the same tissue"),
        (evidence("prediction_gain", GAINS, "in_sample"), amici_xr.SchemaError,
         "in-sample, which is no evidence: .*prediction_gain"),
        (gains(GAINS).drop_vars("q_value"), amici_xr.SchemaError,
         "'held_out_gain' lacks 'q_value'; compute it anew"),
        (refits(GAINS).drop_vars("query"), amici_xr.SchemaError, "'refits' lacks 'query'"),
        ([gains(GAINS), gains(GAINS)], ValueError, "two Datasets of the kind 'held_out_gain'"),
        (refits(GAINS).expand_dims(run=2), ValueError, r"has a run dim; .* evidence.isel\(run=0\)"),
        (refits(GAINS).isel(label=[0, 1, 1]), ValueError, "evidence 'refits' holds 'B' twice"),
        (xr.Dataset(attrs={KIND: "training_history"}), amici_xr.SchemaError,
         "the kind 'training_history', which is not evidence; give results of distance_response"),
        (simulate_response(3).drop_vars("effect"), amici_xr.SchemaError, "missing: 'effect'"),
        ("response.nc", TypeError, "several in a list, not str; open_dataset reads one"),
        (["response.nc"], TypeError, "evidence must hold xarray.Datasets, not str"),
        (3, TypeError, "evidence must be an xarray.Dataset or several in a list, not int"),
    ],
)  # fmt: skip
def test_what_is_not_evidence_for_these_pairs_is_refused(scores, given, error, message):
    with pytest.raises(error, match=message):
        amici_xr.atlas(scores, 0.1, evidence=given)


def test_a_level_out_of_range_is_refused(scores):
    with pytest.raises(
        ValueError, match=r"significance_level=1\.5 must lie strictly between 0 and 1"
    ):
        amici_xr.atlas(scores, significance_level=1.5)
