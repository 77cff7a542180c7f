"""The simulator plants what it says."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import cKDTree

import amici_xr
from amici_xr.testing.tissues import smooth_fields

pytestmark = pytest.mark.needs_model
simulate = amici_xr.testing.simulate_tissue


def effect_of(tissue, row):
    """Mean of receivers within the reach minus that of the others."""
    labels, positions = tissue.obs["cell_type"].to_numpy(), tissue.obsm["spatial"]
    receivers = labels == row["query"]
    distance = cKDTree(positions[labels == row["label"]]).query(positions[receivers])[0]
    values = np.asarray(tissue[receivers, row["gene"]].X)[:, 0]
    is_within = distance < row["reach"]
    return values[is_within].mean() - values[~is_within].mean()


def test_a_seed_gives_the_same_tissue_and_another_gives_another():
    first, again, other = simulate(seed=1), simulate(seed=1), simulate(seed=2)
    np.testing.assert_array_equal(first.X, again.X)
    assert first.uns["planted"].equals(again.uns["planted"])
    assert (first.obsm["spatial"] != other.obsm["spatial"]).all()


def test_planted_genes_differ_by_their_effect():
    tissue = simulate(seed=0, effect=2.0, n_cells=6_000)
    table = tissue.uns["planted"]
    assert len(table) == 24
    assert table[["query", "label"]].drop_duplicates().shape[0] == 3
    found = table.apply(lambda row: effect_of(tissue, row), axis=1)
    np.testing.assert_allclose(found, table["effect"], atol=0.45)


def test_a_decay_is_steepest_near_the_sender():
    steps = simulate(seed=0, effect=2.0)
    decays = simulate(seed=0, effect=2.0, shape="decay")
    row = steps.uns["planted"].iloc[0]
    assert 0 < effect_of(decays, row) / row["effect"] < effect_of(steps, row) / row["effect"]


def test_fields_have_unit_variance_and_matern_correlation():
    positions = np.array([[0.0, 0.0], [0.0, 25.0], [40.0, 0.0]])
    fields = smooth_fields(np.random.default_rng(0), positions, 25.0, 40_000)
    scaled = np.sqrt(3) * np.array([25.0, 40.0]) / 25
    expected = (1 + scaled) * np.exp(-scaled)
    np.testing.assert_allclose(np.corrcoef(fields)[0, 1:], expected, atol=0.06)
    np.testing.assert_allclose(fields.std(axis=1), 1, atol=0.03)


def test_clumps_hold_cells_of_one_type():
    def share_of_own_type(arrangement):
        tissue = simulate(n_cells=2_000, arrangement=arrangement)
        nearest = cKDTree(tissue.obsm["spatial"]).query(tissue.obsm["spatial"], k=2)[1][:, 1]
        labels = tissue.obs["cell_type"].to_numpy()
        return (labels == labels[nearest]).mean()

    assert share_of_own_type("uniform") == pytest.approx(1 / 6, abs=0.04)
    assert share_of_own_type("clumps") > 0.3
    assert share_of_own_type("domains") > 0.3


def test_counts_are_integers_and_x_their_log():
    tissue = simulate(n_cells=500, counts=True)
    counts = tissue.layers["counts"]
    assert (counts == np.rint(counts)).all()
    total = counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(tissue.X, np.log1p(counts * np.median(total) / total), rtol=1e-5)
    assert (tissue.uns["planted"]["effect"] > 0).all()


def test_uneven_density_falls_from_one_side_to_the_other():
    x = simulate(n_cells=4_000, uneven=True).obsm["spatial"][:, 0]
    in_tenths = np.histogram(x, np.linspace(0, x.max(), 11))[0]
    assert in_tenths[0] / in_tenths[-1] > 4
    even = simulate(n_cells=4_000).obsm["spatial"][:, 0]
    assert stats.kstest(even / even.max(), "uniform").pvalue > 0.001


def test_spillover_adds_what_touching_cells_express():
    alone, leaking = (
        simulate(n_pairs=0, spacing=8.0),
        simulate(n_pairs=0, spacing=8.0, spillover=0.2),
    )
    n_touching = [len(near) - 1 for near in cKDTree(alone.obsm["spatial"]).query_ball_point(
        alone.obsm["spatial"], 8.0)]  # fmt: skip
    added = (np.expm1(leaking.X) - np.expm1(np.maximum(alone.X, 0))).sum(axis=1)
    assert added[np.array(n_touching) == 0] == pytest.approx(0, abs=0.01)
    assert stats.spearmanr(added, n_touching).statistic > 0.8


def test_samples_are_equal_parts():
    tissue = simulate(n_cells=900, n_samples=3)
    assert tissue.obs["sample"].value_counts().tolist() == [300, 300, 300]


def test_steps_are_added_to_a_real_tissue_where_they_should_be():
    tissue = simulate(n_pairs=0, seed=5)
    changed = amici_xr.testing.plant_steps(tissue, "cell_type", effect=3.0, n_pairs=2)
    table = changed.uns["planted"]
    assert len(table) == 16
    for _, row in table.iterrows():
        difference = np.asarray(changed[:, row["gene"]].X - tissue[:, row["gene"]].X)[:, 0]
        receivers = (tissue.obs["cell_type"] == row["query"]).to_numpy()
        positions = tissue.obsm["spatial"]
        senders = positions[(tissue.obs["cell_type"] == row["label"]).to_numpy()]
        is_within = receivers & (cKDTree(senders).query(positions)[0] < row["reach"])
        np.testing.assert_allclose(difference[is_within], row["effect"], atol=1e-4)
        share = is_within.sum() / receivers.sum()
        oracle = 3.0 * np.sqrt(receivers.sum() * share * (1 - share))
        assert row["oracle_z"] == pytest.approx(oracle)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_cells": 0}, "n_cells=0 must be at least 1"),
        ({"arrangement": "rings"}, "arrangement='rings' is not known"),
        ({"shape": "ramp"}, "shape='ramp' is not known"),
        ({"n_pairs": 31}, "n_pairs=31 is more than the 30 ordered pairs of n_types=6"),
        ({"genes_per_pair": 81}, "genes_per_pair=81 must be at most n_genes=80"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        simulate(**settings)
