"""Numbers at the edge of what the schema takes, beside the formulas in decimals of 60 digits."""

import decimal
import itertools
from decimal import Decimal

import numpy as np
import pytest

import amici_xr

TINY = float(np.finfo(np.float32).smallest_subnormal)
SCORES = (-1e4, -3.5, 0.0, 3.5, 1e4)
SLOPES = (TINY, float(np.finfo(np.float32).tiny), 0.25, 1e4)
THRESHOLDS = [1e-12, 0.5, 1 - 1e-12]
DISTANCES = [0.0, 1.0, 1e9]
MODELS = list(itertools.product((-1e4, 3.0, 1e4), (1e-3, 1.0, 1e9)))  # δ and u
# a − p·d/u − δ is off by some last bits of numbers of up to 2·10⁴
RTOL = 1e-11


@pytest.fixture(autouse=True)
def _sixty_digits():
    most = {"prec": 60, "Emax": decimal.MAX_EMAX, "Emin": decimal.MIN_EMIN}
    with decimal.localcontext(**most) as context:
        context.clear_traps()
        yield


@pytest.fixture(params=MODELS, ids=lambda model: f"delta={model[0]:g},u={model[1]:g}")
def model(request):
    return request.param


def every_pair(model):
    """A Dataset whose neighbors have every score with every slope, and these numbers."""
    pairs = list(itertools.product(SCORES, SLOPES))
    a, p = np.array(pairs, dtype=np.float32).T
    delta, u = model
    ds = amici_xr.from_arrays(
        a[:, np.newaxis],
        p[:, np.newaxis],
        ["B", "C"] * (len(pairs) // 2),
        query="A",
        dummy_attention_score=delta,
        distance_kernel_unit_scale=u,
    )
    return ds, [
        (Decimal(float(one)), Decimal(float(other))) for one, other in zip(a, p, strict=True)
    ]


def in_a_tissue(model):
    """Two receivers: of one the neighbors at 0, 1 and 1e9, of the other one neighbor at 1e9."""
    delta, u = model
    pairs = [(1e4, TINY), (-1e4, 1e4), (0.5, 0.25)]
    a, p = np.array(pairs, dtype=np.float32).T
    return amici_xr.from_arrays(
        a[:, np.newaxis],
        p[:, np.newaxis],
        ["B", "C", "C"],
        query="A",
        neighbor=[2, 3, 4],
        receiver=[0, 1],
        receiver_label=["A", "A"],
        cell_type=["A", "B", "C"],
        neighborhood_index=[[2, 3, 4], [4, -1, -1]],
        neighborhood_distance=[[0.0, 1.0, 1e9], [1e9, np.nan, np.nan]],
        neighborhood_label=[[1, 2, 2], [2, -1, -1]],
        dummy_attention_score=delta,
        distance_kernel_unit_scale=u,
    )


def logistic(x):
    return 1 / (1 + (-x).exp())


def exact_length(a, p, model, threshold, competing=None):
    delta, u = map(Decimal, model)
    t = Decimal(threshold)
    bar = delta if competing is None else competing
    return max(Decimal(0), u / p * (a - bar - (t / (1 - t)).ln()))


def floats(values):
    return np.array([float(value) for value in values])


def lengths_of(ds, model, threshold):
    """Of each neighbor, in decimals."""
    scores = (ds[name].values[:, 0] for name in ("base_attention_score", "position_coefficient"))
    pairs = zip(*scores, strict=True)
    return [exact_length(Decimal(float(a)), Decimal(float(p)), model, threshold) for a, p in pairs]


def test_curves_equal_the_logistic_function_in_decimals(model):
    ds, pairs = every_pair(model)
    delta, u = map(Decimal, model)
    curve = amici_xr.curve(ds, DISTANCES).isel(head=0)
    for at, distance in enumerate(DISTANCES):
        exact = [logistic(a - p * Decimal(distance) / u - delta) for a, p in pairs]
        np.testing.assert_allclose(curve[:, at], floats(exact), rtol=RTOL, atol=1e-300)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_length_scales_equal_their_formula_in_decimals(model, threshold):
    ds, pairs = every_pair(model)
    found = amici_xr.length_scale(ds, threshold, None).isel(head=0)
    exact = [exact_length(a, p, model, threshold) for a, p in pairs]
    np.testing.assert_allclose(found, floats(exact), rtol=1e-12)
    assert np.isfinite(found).all()


def test_scores_of_64_bits_that_32_can_hold_give_the_same_bits(model):
    ds, _ = every_pair(model)
    names = ("base_attention_score", "position_coefficient")
    wide = ds.assign({name: ds[name].astype(np.float64) for name in names})
    assert amici_xr.curve(wide, DISTANCES).equals(amici_xr.curve(ds, DISTANCES))
    for threshold in THRESHOLDS:
        lengths = amici_xr.length_scale(ds, threshold, None)
        assert amici_xr.length_scale(wide, threshold, None).equals(lengths)
    summary = amici_xr.curve_summary(ds, DISTANCES, quantiles=[0.1])
    assert amici_xr.curve_summary(wide, DISTANCES, quantiles=[0.1]).equals(summary)


def test_summaries_of_curves_equal_mean_and_deviation_in_decimals(model):
    ds, pairs = every_pair(model)
    delta, u = map(Decimal, model)
    found = amici_xr.curve_summary(ds, DISTANCES, by=None, quantiles=[0.0, 1.0]).isel(head=0)
    for at, distance in enumerate(DISTANCES):
        curve = [logistic(a - p * Decimal(distance) / u - delta) for a, p in pairs]
        mean = sum(curve) / len(curve)
        variance = sum((value - mean) ** 2 for value in curve) / (len(curve) - 1)
        one = found.isel(distance=at)
        # squares below 1e-308 are lost, so a deviation below 1e-154 is 0
        np.testing.assert_allclose(one["mean"], float(mean), rtol=RTOL, atol=1e-300)
        np.testing.assert_allclose(one["std"], float(variance.sqrt()), rtol=1e-9, atol=1e-150)
        ends = floats([min(curve), max(curve)])
        np.testing.assert_allclose(one["quantiles"], ends, rtol=RTOL, atol=1e-300)


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("method", ["exact", "resample"])
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_intervals_of_three_cells_run_from_the_least_to_the_largest(
    model, threshold, method, statistic
):
    # all three draws are the least with probability 1/27, above 0.025; so is the median's 7/27
    ds = in_a_tissue(model)
    ds = ds.assign_coords(label=("neighbor", ["B", "B", "B"])).drop_dims("receiver")
    found = amici_xr.bootstrap(
        ds, threshold, None, statistic, method=method, n_resamples=2_000
    ).sel(label="B", head=0)
    lengths = sorted(lengths_of(ds, model, threshold))
    point = lengths[1] if statistic == "median" else sum(lengths) / 3
    np.testing.assert_allclose(found["point_estimate"], float(point), rtol=1e-12)
    ends = float(lengths[0]), float(lengths[-1])
    # exact means come from a grid between the ends, which 0 and 1e52 share
    rounding = 1e-12 * ends[1] if (method, statistic) == ("exact", "mean") else 0
    np.testing.assert_allclose(found["ci_lower"], ends[0], rtol=1e-12, atol=rounding)
    np.testing.assert_allclose(found["ci_upper"], ends[1], rtol=1e-12, atol=rounding)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_support_compares_distances_with_medians_in_decimals(model, threshold):
    ds = in_a_tissue(model)
    found = amici_xr.support(ds, threshold).isel(head=0)
    b, *c = lengths_of(ds, model, threshold)
    median = {"B": b, "C": sum(c) / 2}
    nearest = {"B": (0.0, np.inf), "C": (1.0, 1e9)}
    for label in "BC":
        one, length = found.sel(label=label), float(median[label])
        np.testing.assert_allclose(one["median_length_scale"], length, rtol=1e-12)
        assert one["support"] == np.mean([distance < length for distance in nearest[label]])
        assert one["edge_share"] == np.mean([length > 1e9, length > 1e9])
    assert np.isnan(found.sel(label="A")["median_length_scale"])
    assert found["status"].sel(label="A") == "absent"


def test_attention_equals_the_softmax_in_decimals(model):
    ds = in_a_tissue(model)
    delta, u = map(Decimal, model)
    cells = dict(zip(ds["neighbor"].values.tolist(), range(3), strict=True))
    found = amici_xr.attention(ds).isel(head=0)
    dummy = amici_xr.dummy_attention(ds).isel(head=0)
    for receiver in range(2):
        own = [cells[i] for i in ds["neighborhood_index"].values[receiver].tolist() if i >= 0]
        weights = []
        for rank, cell in enumerate(own):
            a, p = (Decimal(float(ds[name][cell, 0])) for name in
                    ("base_attention_score", "position_coefficient"))  # fmt: skip
            distance = Decimal(float(ds["neighborhood_distance"][receiver, rank]))
            weights.append((a - p * distance / u).exp())
        total = sum(weights) + delta.exp()
        exact = floats([weight / total for weight in weights])
        np.testing.assert_allclose(found[receiver, : len(own)], exact, rtol=RTOL, atol=1e-300)
        expected = float(delta.exp() / total)
        np.testing.assert_allclose(dummy[receiver], expected, rtol=RTOL, atol=1e-300)
    assert np.isnan(found[1, 1:]).all()  # where there is no neighbor


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_in_context_length_scales_equal_their_formula_in_decimals(model, threshold):
    ds = in_a_tissue(model)
    delta, u = map(Decimal, model)
    found = amici_xr.in_context_length_scale(ds, threshold, "all").isel(head=0)
    lengths = found["in_context_length_scale"]
    scores = (ds[name].values[:, 0] for name in ("base_attention_score", "position_coefficient"))
    pairs = [(Decimal(float(a)), Decimal(float(p))) for a, p in zip(*scores, strict=True)]
    places = [a - p * Decimal(d) / u for (a, p), d in zip(pairs, (0.0, 1.0, 1e9), strict=True)]
    for rank, (a, p) in enumerate(pairs):
        others = sum(place.exp() for at, place in enumerate(places) if at != rank)
        exact = exact_length(a, p, model, threshold, (others + delta.exp()).ln())
        np.testing.assert_allclose(lengths[0, rank], float(exact), rtol=1e-9, atol=1e-9)
    alone = exact_length(*pairs[2], model, threshold)
    np.testing.assert_allclose(lengths[1, 0], float(alone), rtol=1e-12)
    assert np.isnan(lengths[1, 1:]).all()  # where there is no neighbor


def test_the_atlas_is_finite_wherever_a_label_has_neighbors(model):
    ds = in_a_tissue(model)
    found = amici_xr.atlas(ds, THRESHOLDS, statistic="mean")
    is_there = found["n_neighbors"] > 0
    numbers = [name for name, array in found.data_vars.items() if array.dtype.kind == "f"]
    for name in numbers:
        if "label" in found[name].dims:
            assert (np.isfinite(found[name]) == is_there).all(), name
    for at, threshold in enumerate(THRESHOLDS):
        b, *c = lengths_of(ds, model, threshold)
        mean = found["mean_length_scale"].isel(threshold=at, head=0)
        np.testing.assert_allclose(mean.sel(label="B"), float(b), rtol=1e-12)
        np.testing.assert_allclose(mean.sel(label="C"), float(sum(c) / 2), rtol=1e-12)
