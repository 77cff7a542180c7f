"""Length scales, the artifact correction, and the reasons beside them."""

import numpy as np
import pytest
import xarray as xr

import amici_xr


def brute_force_support(ds, threshold):
    """Support and edge share of one query, receiver by receiver."""
    lengths = ds.amici.length_scale(threshold, sample_threshold=None)
    cell_types = ds.cell_type.values.tolist()
    out = {}
    for label in np.unique(ds.label):
        for head in ds["head"].values:
            own = lengths.sel(head=head).isel(neighbor=np.flatnonzero(ds.label == label))
            median = np.median(own)
            near = edge = 0
            for receiver in range(ds.sizes["receiver"]):
                distances = ds.neighborhood_distance[receiver].values
                labels = ds.neighborhood_label[receiver].values
                is_label = labels == cell_types.index(label)
                near += bool((distances[is_label] < median).any())
                edge += bool(np.nanmax(distances) < median)
            n = ds.sizes["receiver"]
            out[label, head] = (median, near / n, edge / n)
    return out


def test_the_curve_at_the_length_scale_is_the_threshold(ds):
    for threshold in (0.01, 0.1, 0.5, 0.9):
        length = ds.amici.length_scale(threshold, sample_threshold=None)
        reaching = length.where(length > 0).stack(cell=["neighbor", "head"]).dropna("cell")
        rows = ds.stack(cell=["neighbor", "head"]).sel(cell=reaching.cell)
        exponent = rows.base_attention_score.astype(float) - 3.0
        weight = 1 / (1 + np.exp(-(exponent - rows.position_coefficient.astype(float) * reaching)))
        np.testing.assert_allclose(weight, threshold, rtol=1e-9)


def test_length_scale_keeps_dims_unit_and_threshold(several):
    length = several.amici.length_scale(0.1)
    assert length.dims == ("query", "neighbor", "head")
    assert length.attrs == {
        "long_name": "length scale",
        "units": "µm",
        "threshold": 0.1,
        "sample_threshold": 0.02,
    }
    assert bool((length.isel(head=0).notnull() == several.is_neighbor).all())


def test_a_base_score_below_every_threshold_has_length_zero(ds):
    low = ds.assign(base_attention_score=ds.base_attention_score * 0 - 20)
    assert bool((low.amici.length_scale() == 0).all())


def test_support_equals_brute_force(ds):
    support = ds.amici.support(0.1)
    for (label, head), expected in brute_force_support(ds, 0.1).items():
        row = support.sel(label=label, head=head)
        got = [float(row[name]) for name in ("median_length_scale", "support", "edge_share")]
        assert got == pytest.approx(expected)
        assert row.n_neighbors == int((ds.label == label).sum())


def test_labels_of_too_few_receivers_are_set_to_zero_and_no_others(ds):
    support = ds.amici.support(0.1)
    sample_threshold = float(support.support.quantile(0.6))
    corrected = ds.amici.length_scale(0.1, sample_threshold)
    uncorrected = ds.amici.length_scale(0.1, None)
    is_zeroed = (support.support < sample_threshold).sel(label=ds.label)
    assert bool(is_zeroed.any())
    assert not bool(is_zeroed.all())
    expected = np.where(is_zeroed.transpose("neighbor", "head"), 0, uncorrected)
    np.testing.assert_array_equal(corrected, expected)


def test_the_correction_is_strict(ds):
    """A share that equals the threshold is enough."""
    support = ds.amici.support(0.1).support
    share = float(support.where(support > 0).min())
    row = support.where(support == share).stack(group=["label", "head"]).dropna("group").group[0]
    label, head = row.item()
    kept = ds.amici.length_scale(0.1, share).sel(head=head)
    dropped = ds.amici.length_scale(0.1, np.nextafter(share, 1)).sel(head=head)
    members = np.flatnonzero(ds.label == label)
    assert bool((kept[members] > 0).any())
    assert bool((dropped[members] == 0).all())


def test_the_status_agrees_with_the_correction_where_a_share_equals_the_threshold(ds):
    support = ds.amici.support(0.1)
    share = float(support.support.where(support.support > 0).min())
    for sample_threshold, is_corrected in ((share, False), (np.nextafter(share, 1), True)):
        status = ds.amici.support(0.1, sample_threshold).status
        own = status.where(support.support == share).stack(group=["label", "head"]).dropna("group")
        assert bool((own == "too_few_receivers").all()) == is_corrected


def test_half_of_the_receivers_is_not_over_half():
    ds = amici_xr.from_arrays(
        [[9.0]],
        [[1.0]],
        ["S"],
        query="R",
        receiver=[1, 2],
        receiver_label=["R", "R"],
        neighborhood_index=[[0], [0]],
        neighborhood_distance=[[1.0], [90.0]],
        neighborhood_label=[[1], [1]],
    )
    row = ds.amici.support().sel(label="S", head=0)
    assert float(row.edge_share) == 0.5
    assert row.status == "reachable"


def test_support_counts_neighborhoods_even_of_neighbors_selected_away(ds):
    members = np.flatnonzero(ds.label == "B")
    few = ds.isel(neighbor=members[:3])
    expected = brute_force_support(few, 0.1)["B", 0]
    row = few.amici.support(0.1).sel(label="B", head=0)
    assert float(row.support) == pytest.approx(expected[1])
    assert row.n_neighbors == 3


def test_each_status_is_the_first_that_applies():
    def status(a, distance, sample_threshold=0.02):
        ds = amici_xr.from_arrays(
            np.reshape(a, (-1, 1)),
            np.ones((len(a), 1)),
            ["S"] * len(a),
            query="R",
            cell_type=["R", "S", "T"],
            receiver=[10, 11, 12],
            receiver_label=["R"] * 3,
            neighborhood_index=[[0], [1], [2]],
            neighborhood_distance=distance,
            neighborhood_label=[[1], [1], [1]],
        )
        found = ds.amici.support(0.5, sample_threshold).status.isel(head=0)
        assert found.sel(label="T") == "absent"
        assert found.sel(label="R") == "absent"
        return found.sel(label="S").item()

    near, far = [[1.0], [1.0], [1.0]], [[90.0], [90.0], [90.0]]
    assert status([2.0, 1.0, 0.0], near) == "no_reach"
    assert status([9.0, 1.0, 1.0], near) == "median_zero"
    assert status([9.0, 9.0, 9.0], far) == "too_few_receivers"
    assert status([9.0, 9.0, 9.0], far, sample_threshold=None) == "reachable"
    assert status([9.0, 9.0, 9.0], near) == "beyond_neighborhood"
    assert status([9.0, 9.0, 9.0], [[1.0], [90.0], [90.0]]) == "reachable"


def test_support_has_nothing_missing_but_in_absent_labels(several):
    support = several.amici.support(0.3)
    assert support.median_length_scale.attrs["units"] == "µm"
    assert support.support.attrs == {"long_name": "support", "units": "1"}
    assert support.status.attrs == {"long_name": "status"}
    assert set(support.dims) == {"query", "label", "head"}
    absent = support.n_neighbors == 0
    assert bool((absent == (support.status == "absent")).all())
    for name in ("median_length_scale", "support", "edge_share"):
        assert bool((support[name].isnull() == absent).all())


@pytest.mark.parametrize("method", ["length_scale", "support", "bootstrap"])
def test_a_query_among_several_is_that_query_alone(several, method):
    together = getattr(several.amici, method)(0.2)
    for query in several["query"].values:
        alone = getattr(several.amici.select(query).amici, method)(0.2)
        one = together.sel(query=query)
        if method == "length_scale":
            one = one.sel(neighbor=alone.neighbor)
        xr.testing.assert_equal(one, alone)
        plain = getattr(several.sel(query=query).amici, method)(0.2)
        if method == "length_scale":
            plain = plain.sel(neighbor=alone.neighbor)
        xr.testing.assert_equal(plain.drop_vars("is_neighbor", errors="ignore"), alone)


def test_rescaled_coordinates_rescale_lengths_and_leave_support(ds):
    tenfold = ds.assign(
        distance_kernel_unit_scale=ds.distance_kernel_unit_scale * 10,
        neighborhood_distance=ds.neighborhood_distance * 10,
    )
    np.testing.assert_allclose(tenfold.amici.length_scale(0.1), 10 * ds.amici.length_scale(0.1))
    xr.testing.assert_equal(tenfold.amici.support(0.1).support, ds.amici.support(0.1).support)


def test_length_scales_at_two_thresholds_can_be_kept_side_by_side(ds):
    ds["near"], ds["far"] = ds.amici.length_scale(0.5), ds.amici.length_scale(0.01, None)
    assert (ds.near.threshold, ds.far.threshold) == (0.5, 0.01)
    assert ds.near.sample_threshold == 0.02
    assert "sample_threshold" not in ds.far.attrs
    assert ds.amici.support(0.3).attrs == {"threshold": 0.3, "sample_threshold": 0.02}


def test_without_receivers_nothing_supports_a_reach(several):
    """As after a region was cut out in which one query has no cell."""
    cut = several.isel(receiver=np.flatnonzero(several.receiver_label != "C"))
    support = cut.amici.support(0.1).sel(query="C")
    present = support.n_neighbors > 0
    reaches = (support.median_length_scale > 0) & present
    assert bool((support.status.where(reaches, "too_few_receivers") == "too_few_receivers").all())
    lengths = cut.amici.length_scale(0.1).sel(query="C")
    assert bool((lengths.dropna("neighbor") == 0).all())


def test_neighborhoods_that_no_longer_fit_the_labels_are_named(ds):
    expected = "neighborhood_label disagrees with label: cell_type was reordered"
    reordered = ds.isel(cell_type=[0, 2, 1, 3])
    renamed = ds.assign_coords(label=ds.label.where(ds.label != "B", "C"))
    for spoilt in (reordered, renamed):
        for ask in (amici_xr.validate, amici_xr.support, amici_xr.length_scale):
            with pytest.raises(amici_xr.SchemaError, match=expected):
                ask(spoilt)
    with pytest.raises(amici_xr.SchemaError, match="points past the end of cell_type"):
        ds.sel(cell_type=["B", "C"]).amici.support()


def test_labels_outside_the_vocabulary_are_named_not_dropped(ds):
    merged = ds.assign_coords(label=ds.label.where(ds.label == "B", "immune"))
    for ask in (
        lambda ds: ds.amici.curve_summary([0]),
        lambda ds: ds.amici.bootstrap(0.1, None),
    ):
        with pytest.raises(amici_xr.SchemaError, match=r"label holds 'immune'.*pass it as by="):
            ask(merged)
    own = ds.assign_coords(group=("neighbor", merged.label.values))
    assert own.amici.curve_summary([0], by="group").group.values.tolist() == ["B", "immune"]


def test_nan_scores_without_the_mask_are_named(several):
    spoilt = several.sel(query="A").drop_vars("is_neighbor")
    with pytest.raises(
        amici_xr.SchemaError, match="scores of query 'A' are NaN although is_neighbor"
    ):
        spoilt.amici.support()


def test_without_a_vocabulary_the_labels_that_occur_are_used(several):
    table = several.amici.to_dataframe()
    bare = amici_xr.from_dataframe(table).drop_vars("cell_type")
    interval = bare.amici.bootstrap(0.1, None)
    assert interval.n_neighbors.dtype.kind == "i"
    assert interval.label.values.tolist() == ["A", "B", "C", "D"]
    assert int(interval.n_neighbors.sel(query="A", label="A", head=0)) == 0


def test_the_order_of_neighbors_does_not_matter(ds):
    shuffled = ds.isel(neighbor=np.random.default_rng(0).permutation(ds.sizes["neighbor"]))
    back = shuffled.amici.length_scale(0.1).sel(neighbor=ds.neighbor)
    xr.testing.assert_equal(back, ds.amici.length_scale(0.1))
    xr.testing.assert_equal(shuffled.amici.support(0.1), ds.amici.support(0.1))
    xr.testing.assert_equal(shuffled.amici.bootstrap(0.1), ds.amici.bootstrap(0.1))


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("method", ["length_scale", "support", "bootstrap"])
def test_thresholds_outside_0_and_1_are_named(ds, method, threshold):
    with pytest.raises(ValueError, match=f"threshold={threshold!r} must lie strictly between 0"):
        getattr(ds.amici, method)(threshold)


@pytest.mark.parametrize("threshold", ["0.5", True, None])
def test_thresholds_that_are_no_numbers_are_named(ds, threshold):
    with pytest.raises(TypeError, match=f"threshold={threshold!r} must be a number"):
        ds.amici.length_scale(threshold)


@pytest.mark.parametrize("sample_threshold", [-0.1, 1.1, float("nan")])
def test_sample_thresholds_out_of_range_are_named(ds, sample_threshold):
    with pytest.raises(ValueError, match=r"sample_threshold=.* must lie between 0 and 1"):
        ds.amici.length_scale(0.5, sample_threshold)


def test_without_neighborhoods_the_correction_says_how_to_go_on(ds):
    table = amici_xr.from_dataframe(amici_xr.to_dataframe(ds))
    for ask in (table.amici.length_scale, table.amici.support, table.amici.bootstrap):
        with pytest.raises(amici_xr.SchemaError, match="pass sample_threshold=None, which leaves"):
            ask()
    with pytest.raises(amici_xr.SchemaError, match="support and atlas need a Dataset from extract"):
        table.amici.atlas(sample_threshold=None)
    np.testing.assert_array_equal(
        table.amici.length_scale(0.1, None), ds.amici.length_scale(0.1, None)
    )
