"""Agreement with the recorded outputs of the original on two trained models."""

import numpy as np
import pandas as pd
import pytest
from recorded_data import read_recorded
from scipy.special import logit

import amici_xr

needs_model = pytest.mark.needs_model
SCORES = ("base_attention_score", "position_coefficient")


def aligned(array, table):
    """Values of a (neighbor, head) array in the order of the rows of an original's table."""
    rows = pd.MultiIndex.from_arrays([table["neighbor_idx"], table["head_idx"]])
    return array.to_series().loc[rows].to_numpy()


def recorded_lengths(recorded, threshold, suffix=""):
    return read_recorded(f"{recorded.prefix}.length_scale_t{threshold}{suffix}.csv.gz")


@needs_model
def test_neighbors_and_labels_are_the_recorded_ones(recorded, recorded_with_neighborhoods):
    extracted, _ = recorded_with_neighborhoods
    np.testing.assert_array_equal(extracted.neighbor, recorded.table.neighbor)
    np.testing.assert_array_equal(extracted.label, recorded.table.label)


@needs_model
@pytest.mark.parametrize("name", SCORES)
def test_scores_are_within_1e_5_of_the_recorded(name, recorded, recorded_with_neighborhoods):
    extracted, _ = recorded_with_neighborhoods
    assert extracted[name].dtype == np.float32
    np.testing.assert_allclose(extracted[name], recorded.table[name], rtol=0, atol=1e-5)


def test_curves_are_within_1e_12_of_the_recorded(recorded):
    head = recorded.curve_head
    table = read_recorded(f"{recorded.prefix}.curve_head{head}.csv.gz")
    curve = amici_xr.curve(recorded.table, table["distance"].unique()).sel(head=head).to_series()
    rows = pd.MultiIndex.from_arrays([table["neighbor_idx"], table["distance"]])
    np.testing.assert_allclose(curve.loc[rows], table[f"head_{head}"], rtol=0, atol=1e-12)


@needs_model
@pytest.mark.parametrize("threshold", [0.1, 0.5])
@pytest.mark.parametrize(("suffix", "sample_threshold"), [("", 0.02), (".uncorrected", None)])
def test_length_scales_are_the_recorded_ones(
    recorded, recorded_with_neighborhoods, threshold, suffix, sample_threshold
):
    _, ds = recorded_with_neighborhoods
    table = recorded_lengths(recorded, threshold, suffix)
    ours = aligned(amici_xr.length_scale(ds, threshold, sample_threshold), table)
    theirs = table["length_scale"].to_numpy()
    assert (ours == 0).tolist() == (theirs == 0).tolist()
    if threshold == 0.5:
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=0)
        return
    # Under NumPy 1 the original rounds a − logit t to float32 on the way.
    bound = 2.0**-24 * (1 + abs(ds.base_attention_score) + 2 * abs(logit(threshold)))
    bound = aligned(bound * ds.distance_kernel_unit_scale / ds.position_coefficient, table)
    assert (abs(ours - theirs) <= bound).all()


@pytest.mark.parametrize("threshold", [0.1, 0.5])
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_resampled_intervals_equal_the_recorded_to_the_last_bit(recorded, threshold, statistic):
    table = recorded_lengths(recorded, threshold).set_index(["neighbor_idx", "head_idx"])
    lengths = table["length_scale"].to_xarray().rename(neighbor_idx="neighbor", head_idx="head")
    lengths = lengths.assign_coords(label=("neighbor", recorded.table.label.values))
    ours = amici_xr.bootstrap_ci(lengths, statistic=statistic, method="resample")
    theirs = read_recorded(f"{recorded.prefix}.ci_t{threshold}_{statistic}.csv")
    theirs = theirs.set_index(["head_idx", "sender_type"])
    ours = ours.to_dataframe().reorder_levels(["head", "label"])
    assert len(ours) == len(theirs)
    for name in ("point_estimate", "ci_lower", "ci_upper"):
        assert ours.loc[theirs.index, name].tolist() == theirs[name].tolist()
    assert ours.loc[theirs.index, "n_neighbors"].tolist() == theirs["n_samples"].tolist()


@needs_model
def test_the_whole_chain_recovers_the_planted_interactions(demo):
    model, adata = demo
    for sender, receiver, planted in adata.uns["interactions"].iloc[:, :3].to_numpy():
        ds = amici_xr.extract(model, receiver, adata, progress=False)
        median = amici_xr.bootstrap(ds, 0.1, statistic="median").point_estimate
        assert float(median.sel(label=sender).max()) == pytest.approx(planted, rel=0.11)
        assert median.max("head").fillna(0).idxmax("label") == sender
