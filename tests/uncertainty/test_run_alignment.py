"""Several trainings of one tissue: heads matched, and every answer that of the run alone."""

import importlib.util
import itertools
import json

import dask
import numpy as np
import pytest
import xarray as xr
from scipy import integrate, special, stats

import amici_xr
from amici_xr.dataset.schema import MATCHING
from amici_xr.kernels import head_matching

HAS_ZARR = importlib.util.find_spec("zarr") is not None
needs_zarr = pytest.mark.skipif(not HAS_ZARR, reason="zarr is not installed")
SCORES = ["base_attention_score", "position_coefficient"]


def simulated(query="A", n_heads=4, **options):
    return amici_xr.testing.simulate_dataset(query, n_heads=n_heads, n_cells=150, **options)


def with_noise(ds, seed, scale=0.05):
    """Another training that has learned the same, but for small differences."""
    rng = np.random.default_rng(seed)
    base, position = (ds[name] for name in SCORES)
    noise = rng.normal(0, scale, (2, *base.shape)).astype(np.float32)
    return ds.assign(
        base_attention_score=base + noise[0], position_coefficient=position * np.exp(noise[1])
    )


def permuted(ds, order):
    """The same heads under other numbers."""
    return ds.isel(head=list(order)).assign_coords(head=ds["head"].values)


def without_runs(result, run):
    """One run's part of a result, without what tells that there were several."""
    return result.isel(run=run).drop_vars(["run", *MATCHING], errors="ignore")


@pytest.fixture(scope="module")
def trainings():
    """Three trainings with several queries, another δ and u each, and heads that change places."""
    ds = simulated(["A", "C"], unit="µm")
    second = permuted(with_noise(ds, 1), [2, 0, 3, 1]).assign(dummy_attention_score=2.8)
    third = permuted(with_noise(ds, 2), [1, 0, 2, 3]).assign(distance_kernel_unit_scale=1.1)
    third["distance_kernel_unit_scale"].attrs = ds["distance_kernel_unit_scale"].attrs
    return [ds, second, third]


@pytest.fixture(scope="module")
def runs(trainings):
    return amici_xr.align_runs(trainings)


@pytest.mark.parametrize("query", ["A", ["A", "C"]])
def test_permuted_heads_are_recovered_exactly(query):
    ds = simulated(query)
    other = with_noise(ds, 1)
    for order in itertools.permutations(range(4)):
        runs = amici_xr.align_runs([ds, permuted(other, order)], reference=0)
        assert runs["original_head"].values.tolist() == [[0, 1, 2, 3], np.argsort(order).tolist()]
        assert bool(runs["is_matched"].all())
        for name in SCORES:
            np.testing.assert_array_equal(runs[name], [ds[name], other[name]])


def test_the_same_heads_cost_nothing_and_the_reference_has_no_margin():
    ds = simulated()
    runs = amici_xr.align_runs([ds, permuted(ds, [3, 2, 1, 0])])
    assert not runs["matching_cost"].any()
    assert np.isnan(runs["matching_margin"][0])
    assert runs["matching_margin"][1] > 0.01
    assert runs.attrs["reference_run"] == 0


def test_the_reference_is_the_run_in_the_middle():
    ds = simulated()
    shifted = {shift: ds.assign(dummy_attention_score=3.0 + shift) for shift in (-0.4, 0.1, 0.3)}
    for order in itertools.permutations(shifted):
        runs = amici_xr.align_runs([shifted[shift] for shift in order])
        assert runs.attrs["reference_run"] == order.index(0.1)
        assert runs["dummy_attention_score"].values.tolist() == [3.0 + shift for shift in order]
        named = amici_xr.align_runs([shifted[shift] for shift in order], reference=2)
        assert named.attrs["reference_run"] == 2
        assert not named["matching_cost"][2].any()


def test_heads_are_numbered_as_in_the_reference():
    first = simulated().assign_coords(head=[10, 11, 12, 13])
    second = permuted(with_noise(simulated(), 1), [1, 0, 2, 3])
    runs = amici_xr.align_runs([first, second], reference=1)
    assert runs["head"].values.tolist() == [0, 1, 2, 3]
    assert runs["original_head"].values.tolist() == [[11, 10, 12, 13], [0, 1, 2, 3]]


def test_a_head_without_a_counterpart_is_left_unmatched_and_is_not_lost():
    ds = simulated(["A", "C"])
    other = with_noise(ds, 1)
    for name, low, high in (("base_attention_score", -6, 12), ("position_coefficient", 2, 2)):
        values = other[name].values.copy()
        reaches = ds["base_attention_score"].values[..., 2] > 3
        replaced = np.where(reaches, low, high)  # little where head 2 attends, much elsewhere
        values[..., 2] = np.where(np.isnan(values[..., 2]), np.nan, replaced)
        other[name] = (other[name].dims, values)
    runs = amici_xr.align_runs([ds, permuted(other, [2, 0, 3, 1])], reference=0)
    assert runs["is_matched"].values.tolist() == [[True] * 4, [True, True, False, True]]
    assert runs["original_head"].values[1].tolist() == [1, 3, 0, 2]
    assert runs["matching_cost"][1].values.argmax() == 2
    lenient = amici_xr.align_runs([ds, other], unmatched_cost=1.0, reference=0)
    assert bool(lenient["is_matched"].all())


def brute_force_matching(areas, unmatched, unmatched_other):
    """Costs of all partial matchings, cheapest first, as pairs of (cost, set of pairs)."""
    n = len(areas)
    every = {
        frozenset(pair for pair, is_kept in zip(enumerate(order), kept, strict=True) if is_kept)
        for order in itertools.permutations(range(n))
        for kept in itertools.product([True, False], repeat=n)
    }
    costs = [
        (
            sum(areas[pair] for pair in pairs)
            + sum(unmatched[i] for i in range(n) if i not in {pair[0] for pair in pairs})
            + sum(unmatched_other[j] for j in range(n) if j not in {pair[1] for pair in pairs}),
            pairs,
        )
        for pairs in every
    ]
    return sorted(costs, key=lambda item: item[0])


@pytest.mark.parametrize("n_heads", [1, 2, 4])
@pytest.mark.parametrize("dear", [0.05, 0.4, 2.0])  # all unmatched, some, none
def test_matching_and_margin_equal_brute_force_over_all_matchings(n_heads, dear):
    rng = np.random.default_rng(n_heads)
    for _ in range(20):
        areas = rng.uniform(0.1, 1, (n_heads, n_heads))
        alone, alone_other = rng.uniform(0, dear, (2, n_heads))
        (best, pairs), (second, _), *_ = brute_force_matching(areas, alone, alone_other)
        found = head_matching.match_heads(areas, alone, alone_other)
        matched = np.flatnonzero(found.is_matched)
        assert {(i, found.order[i]) for i in matched} == pairs
        assert sorted(found.order) == list(range(n_heads))
        assert found.total == pytest.approx(best, abs=1e-12)
        assert found.margin == pytest.approx(second - best, abs=1e-12)
        np.testing.assert_array_equal(found.cost, areas[range(n_heads), found.order])


def test_unmatched_heads_take_the_places_where_they_differ_least():
    areas = np.array([[0.9, 0.6, 0.9], [0.9, 0.9, 0.01], [0.7, 0.9, 0.9]])
    found = head_matching.match_heads(areas, np.full(3, 0.1), np.full(3, 0.1))
    assert found.order.tolist() == [1, 2, 0]
    assert found.is_matched.tolist() == [False, True, False]


def test_the_area_between_curves_equals_quadrature():
    rng = np.random.default_rng(0)
    score, other_score = rng.normal(0, 4, (2, 200))
    fall, other_fall = rng.gamma(1.0, 6.0, (2, 200))
    other_score[:20], other_fall[20:40] = score[:20], fall[20:40]  # cross at 0; never cross
    area = head_matching.area_between((score, fall), (other_score, other_fall))
    below = head_matching.area_below(score, fall)
    for i in range(200):
        curve, other = (
            lambda x, s=s[i], y=y[i]: special.expit(s - y * x)
            for s, y in ((score, fall), (other_score, other_fall))
        )
        expected, _ = integrate.quad(
            lambda x, f=curve, g=other: abs(f(x) - g(x)), 0, 1, limit=500, epsabs=1e-11
        )
        assert area[i] == pytest.approx(expected, abs=1e-9)
        assert below[i] == pytest.approx(integrate.quad(curve, 0, 1)[0], abs=1e-9)


def test_the_area_of_extreme_curves_is_right():
    def between(*curves):
        return float(
            head_matching.area_between(*(tuple(map(np.float64, curve)) for curve in curves))
        )

    assert between((800.0, 1e-8), (-800.0, 1e-8)) == pytest.approx(1)
    assert between((2.0, 3.0), (2.0, 3.0)) == 0
    assert between((1e4, 2e4), (-5.0, 1.0)) == pytest.approx(0.5, abs=0.01)  # a step at 1/2
    flat = head_matching.area_below(np.array([1.3]), np.array([head_matching.FLAT]))
    assert flat == pytest.approx(special.expit(1.3), abs=1e-7)


@pytest.mark.parametrize("chunks", [None, {"neighbor": 40}])
def test_the_cost_is_the_mean_area_over_labels_and_queries(trainings, chunks):
    trainings = [ds if chunks is None else ds.chunk(chunks) for ds in trainings]
    runs = amici_xr.align_runs(trainings)
    end = runs["neighborhood_distance"].max("rank").compute().median().item()
    assert runs.attrs["matching_distance"] == pytest.approx(end)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    curves = runs.compute().amici.curve((nodes + 1) / 2 * end)
    areas = abs(curves - curves.isel(run=runs.attrs["reference_run"])).dot(
        xr.DataArray(weights / 2, dims="distance")
    )
    by_label = [
        areas.sel(query=query, neighbor=runs["is_neighbor"].sel(query=query).values)
        .groupby("label")
        .mean("neighbor")
        .mean("label")
        for query in runs["query"].values
    ]
    expected = xr.concat(by_label, "query", join="exact").mean("query")
    np.testing.assert_allclose(runs["matching_cost"], expected.transpose("run", "head"), atol=2e-5)


def test_a_query_without_neighbors_counts_for_nothing():
    ds = simulated(["A", "C"])
    only = np.flatnonzero(ds["label"] == "A")  # neighbors of C alone
    one = ds.isel(neighbor=only)
    other = permuted(with_noise(ds, 1), [1, 2, 3, 0]).isel(neighbor=only)
    both = amici_xr.align_runs([one, other])
    alone = amici_xr.align_runs([one.amici.select("C"), other.amici.select("C")], distance=3.0)
    assert both["original_head"].values.tolist() == alone["original_head"].values.tolist()
    same_range = amici_xr.align_runs([one, other], distance=3.0)
    np.testing.assert_allclose(same_range["matching_cost"], alone["matching_cost"], rtol=1e-12)


REDUCTIONS = {
    "atlas": lambda ds: ds.amici.atlas([0.1, 0.5]),
    "attention": lambda ds: ds.amici.attention(),
    "attention_by_distance": lambda ds: ds.amici.attention_by_distance(3),
    "dummy_attention": lambda ds: ds.amici.dummy_attention(),
    "in_context_length_scale": lambda ds: ds.amici.in_context_length_scale(0.1),
    "in microns": lambda ds: amici_xr.to_microns(ds.drop_attrs(), 2.0).amici.length_scale(0.1),
    "curve": lambda ds: ds.amici.curve([0, 5]),
    "curve at one distance": lambda ds: ds.amici.curve(5),
    "curve_summary": lambda ds: ds.amici.curve_summary([0, 5], quantiles=[0.1, 0.5]),
    "curve_summary of all": lambda ds: ds.amici.curve_summary(5, by=None),
    "length_scale": lambda ds: ds.amici.length_scale(0.1, 0.3),
    "uncorrected length_scale": lambda ds: ds.amici.length_scale(0.1, None),
    "support": lambda ds: ds.amici.support(0.1),
    "bootstrap": lambda ds: ds.amici.bootstrap(0.1),
    "resampling": lambda ds: ds.amici.bootstrap(0.1, method="resample", n_resamples=30),
    "bootstrap_ci": lambda ds: amici_xr.bootstrap_ci(ds.amici.select("A").amici.length_scale(0.1)),
    "select": lambda ds: ds.amici.select(str(ds["query"].values.ravel()[-1])),
    "one head": lambda ds: ds.isel(head=1).amici.support(0.1),
}


def in_place(trainings, runs, run):
    """A training by itself, its heads in the places that they have in the aligned Dataset."""
    places = np.argsort(np.argsort(runs["original_head"].values[run]))
    assert trainings[run]["head"].values.tolist() == [0, 1, 2, 3]
    return trainings[run].isel(head=places).assign_coords(head=runs["head"].values)


@pytest.mark.parametrize("query", [None, "A"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_each_run_gives_what_it_gives_alone(trainings, name, query):
    if query is not None:
        trainings = [ds.amici.select(query) for ds in trainings]
    runs = amici_xr.align_runs(trainings)
    result = REDUCTIONS[name](runs)
    for run in range(3):
        alone = REDUCTIONS[name](in_place(trainings, runs, run))
        own = without_runs(result, run)
        xr.testing.assert_equal(own, alone)
        for variable, array in (alone.variables if isinstance(alone, xr.Dataset) else {}).items():
            assert own[variable].dims == array.dims
            assert own[variable].dtype == array.dtype


@pytest.mark.parametrize("name", REDUCTIONS)
def test_chunked_runs_give_the_same_and_stay_lazy(runs, name):

    def refuse(*args, **kwargs):
        raise AssertionError("computed early")

    lazy = runs.assign({score: runs[score].chunk(neighbor=37, run=1) for score in SCORES})
    with dask.config.set(scheduler=refuse):
        result = REDUCTIONS[name](lazy)
    assert dask.is_dask_collection(result)
    expected = REDUCTIONS[name](runs)
    if isinstance(expected, xr.DataArray):
        result, expected = result.to_dataset(name="values"), expected.to_dataset(name="values")
    xr.testing.assert_allclose(result.compute(), expected, rtol=1e-12)
    for variable in expected.variables:
        assert result[variable].dims == expected[variable].dims
        assert result[variable].attrs == expected[variable].attrs


def test_lazy_trainings_are_aligned_to_the_same_and_stay_lazy(trainings, runs):
    chunked = [ds.chunk(neighbor=size) for ds, size in zip(trainings, (40, 40, 64), strict=True)]
    lazy = amici_xr.align_runs(chunked)
    assert all(lazy[name].chunks is not None for name in SCORES)
    xr.testing.assert_allclose(lazy.compute(), runs, rtol=1e-9)


def test_new_dims_stand_last_and_run_first(runs):
    assert runs["base_attention_score"].dims == ("run", "query", "neighbor", "head")
    assert runs["dummy_attention_score"].dims == ("run",)
    assert runs["run"].dtype == np.int64
    assert runs.amici.curve([0, 5]).dims == ("run", "query", "neighbor", "head", "distance")
    assert runs.amici.length_scale(0.1).dims == ("run", "query", "neighbor", "head")
    for result in (runs.amici.support(0.1), runs.amici.bootstrap(0.1)):
        for name, array in result.data_vars.items():
            assert array.dims == ("run", "query", "label", "head"), name


def test_what_belongs_to_the_tissue_has_no_run(trainings, runs):
    of_runs = {*SCORES, "dummy_attention_score", "distance_kernel_unit_scale", "run", *MATCHING}
    for name in runs.variables:
        assert ("run" in runs[name].dims) == (name in of_runs)
        if name not in (*of_runs, "head"):
            xr.testing.assert_identical(runs[name].variable, trainings[0][name].variable)
    assert amici_xr.validate(runs) is runs
    assert runs["matching_cost"].attrs["units"] == "1"
    assert runs["distance_kernel_unit_scale"].attrs["units"] == "µm"


def test_the_attributes_of_every_run_are_kept(trainings):
    trainings = [ds.assign_attrs(seed=np.int64(seed)) for seed, ds in enumerate(trainings)]
    attributes = amici_xr.align_runs(trainings, unmatched_cost=0.4, reference=1).attrs
    assert json.loads(attributes["run_attributes"]) == [
        ds.attrs | {"seed": int(ds.attrs["seed"])} for ds in trainings
    ]
    assert attributes["seed"] == 1
    assert [attributes[name] for name in ("n_runs", "reference_run", "unmatched_cost")] == [
        3,
        1,
        0.4,
    ]


def test_one_run_of_several_can_be_asked_for_and_aligned_again(runs):
    one = runs.isel(run=1)
    assert amici_xr.validate(one) is one
    assert amici_xr.validate(runs.isel(run=[1], head=0)).sizes["run"] == 1
    table = amici_xr.to_dataframe(one)
    assert set(table["dummy_attention_score"]) == {2.8}
    again = amici_xr.align_runs([runs.isel(run=run) for run in range(3)])
    assert again["original_head"].values.tolist() == [[0, 1, 2, 3]] * 3
    xr.testing.assert_equal(again.drop_vars(MATCHING), runs.drop_vars(MATCHING))


def test_single_heads_can_be_aligned_and_drawn():
    ds = simulated()
    runs = amici_xr.align_runs([ds.isel(head=1), with_noise(ds, 1).isel(head=1)])
    assert runs["original_head"].values.tolist() == [[1], [1]]
    ax = runs.isel(run=1, head=0).amici.plot_curve(1, [0, 5])
    assert "head 1" in ax.get_title()


@pytest.mark.parametrize(
    "suffix", [".nc", *(pytest.param(s, marks=needs_zarr) for s in (".zarr", ".zarr.zip"))]
)
def test_saved_runs_come_back(runs, suffix):
    amici_xr.save(runs, f"runs{suffix}")
    opened = amici_xr.open_dataset(f"runs{suffix}")
    xr.testing.assert_identical(opened, runs.assign_attrs(opened.attrs))
    assert opened.attrs == runs.attrs
    assert opened["is_matched"].dtype == bool
    lazy = amici_xr.open_dataset(f"runs{suffix}", chunks={})
    xr.testing.assert_identical(lazy.compute(), opened)


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_plain_netcdf_of_runs_comes_back(runs, engine):
    runs.to_netcdf("runs.nc", engine=engine)
    with xr.open_dataset("runs.nc", engine=engine) as opened:
        xr.testing.assert_identical(opened.load(), runs)
        assert opened["is_matched"].dtype == bool


def test_the_overview_lists_the_runs(trainings, runs):
    assert "runs:              0, 1, 2" in repr(runs.amici)
    assert "runs:" not in repr(trainings[0].amici)


def brute_force_reach(trainings, threshold, sample_threshold, statistic):
    """{(run, query, label): (reach, head)} of every training by itself."""
    found = {}
    for run, ds in enumerate(trainings):
        for query in ds["query"].values:
            one = ds.amici.select(query)
            lengths = one.amici.length_scale(threshold, sample_threshold).to_series().reset_index()
            lengths["label"] = one["label"].sel(neighbor=lengths["neighbor"].values).values
            per_head = lengths.groupby(["label", "head"])["length_scale"].agg(statistic).unstack()
            for label, row in per_head.iterrows():
                found[run, query, label] = (row.max(), row.idxmax() if row.max() > 0 else -1)
    return found


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("is_lazy", [False, True])
def test_reach_is_that_of_the_strongest_head_of_each_run(trainings, runs, statistic, is_lazy):
    asked = runs.chunk(neighbor=50) if is_lazy else runs
    reach = asked.amici.reach_across_runs(0.5, 0.3, statistic, confidence_level=0.9)
    assert dask.is_dask_collection(reach) == is_lazy
    reach = reach.compute()
    expected = brute_force_reach(trainings, 0.5, 0.3, statistic)
    assert reach["length_scale"].dims == ("run", "query", "label")
    assert reach["mean"].dims == ("query", "label")
    assert {int(head) for _, head in expected.values()} == {-1, 0, 1, 2, 3}
    for (run, query, label), (length, head) in expected.items():
        own = reach.sel(run=run, query=query, label=label)
        assert float(own["length_scale"]) == pytest.approx(length, rel=1e-12)
        if head >= 0:
            place = int(own["strongest_head"])
            head_of_run = runs["original_head"].sel(run=run, head=place)
            assert int(head_of_run) == head
        else:
            assert own["strongest_head"] == -1
    for query, label in {key[1:] for key in expected}:
        values = [expected[run, query, label][0] for run in range(3)]
        own = reach.sel(query=query, label=label)
        assert own["n_runs"] == 3
        got = [float(own[name]) for name in ("mean", "std", "min", "max")]
        assert got == pytest.approx(
            [np.mean(values), np.std(values, ddof=1), min(values), max(values)]
        )
        if np.ptp(values):
            low, high = stats.t.interval(0.9, 2, np.mean(values), stats.sem(values))
            assert own["ci_lower"] == pytest.approx(max(low, 0))
            assert own["ci_upper"] == pytest.approx(high)


def test_a_label_without_neighbors_has_no_reach_and_no_run(runs):
    none = runs.isel(neighbor=np.flatnonzero(runs["label"] != "B"))
    over_runs = none.amici.bootstrap(0.1, resampling_unit="run")
    for result in (none.amici.reach_across_runs(0.1), over_runs):
        own = result.sel(label="B")
        assert not own["n_runs"].any()
        assert bool((own["interval_status"] == "absent").all())
        assert bool(own["ci_lower"].isnull().all())
    own = none.amici.reach_across_runs(0.1).sel(label="B")
    assert bool((own["strongest_head"] == -1).all())
    assert bool(own["length_scale"].isnull().all())


def test_of_one_run_the_spread_is_not_known(trainings):
    one = amici_xr.align_runs(trainings).isel(run=[0])
    reach = one.amici.reach_across_runs(0.1)
    assert reach["n_runs"].max() == 1
    for name in ("std", "ci_lower", "ci_upper"):
        assert bool(reach[name].isnull().all())
    xr.testing.assert_equal(reach["mean"], reach["length_scale"].isel(run=0, drop=True))


def test_of_two_runs_there_is_a_spread_and_no_interval(trainings):
    reach = amici_xr.align_runs(trainings).isel(run=[0, 1]).amici.reach_across_runs(0.1)
    is_there = reach["n_runs"] == 2
    assert bool(reach["std"].notnull().where(is_there, True).all())
    assert bool(reach["ci_lower"].isnull().all() & reach["ci_upper"].isnull().all())
    assert bool((reach["interval_status"] == "few_runs").where(is_there, True).all())


def test_reach_of_a_single_head_is_that_head(runs):
    reach = runs.isel(head=2).amici.reach_across_runs(0.1)
    support = runs.isel(head=2).amici.support(0.1)
    is_kept = support["support"] >= 0.02
    expected = support["median_length_scale"].where(is_kept | support["support"].isnull(), 0)
    xr.testing.assert_allclose(
        reach["length_scale"].drop_vars(["head", *MATCHING], errors="ignore"),
        expected.drop_vars(["head", *MATCHING]).rename("length_scale"),
    )
    assert set(np.unique(reach["strongest_head"])) <= {-1, 2}


def spoiling(**changes):
    return lambda ds: ds.assign(changes)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda ds: ds.isel(head=[0, 1]),
            r"datasets\[1\] can't be a run beside datasets\[0\].*it has 2 heads, datasets\[0\] 4",
        ),
        (
            lambda ds: ds.isel(neighbor=slice(3, None)),
            r"neighbor: 3 only in datasets\[0\] \(.*\); extract all from the same adata, .*ind",
        ),
        (
            lambda ds: ds.assign_coords(neighbor=ds.neighbor + (ds.neighbor == 2) * 1000),
            r"neighbor: 1 only in datasets\[1\] \(1002\), 1 only in datasets\[0\] \(2\)",
        ),
        (
            lambda ds: ds.isel(neighbor=slice(None, None, -1)),
            "neighbor: the same in another order",
        ),
        (lambda ds: ds.isel(receiver=slice(5)), r"receiver: \d+ only in datasets\[0\]"),
        (lambda ds: ds.isel(rank=slice(5)), r"neighborhood_index: shape \(\d+, 5\), not \(\d+, 8"),
        (
            lambda ds: ds.assign(neighborhood_distance=ds.neighborhood_distance * 1.001),
            r"neighborhood_distance: [\d,]+ of [\d,]+ values differ; extract all from",
        ),
        (
            lambda ds: ds.drop_vars([n for n in ds.variables if n.startswith("neighborhood_")]),
            r"neighborhood_index: only datasets\[0\] has it; extract all",
        ),
        (
            lambda ds: ds.assign_coords(label=("neighbor", ds.label.values[::-1])),
            r"label: \d+ of \d+ values differ; give all the adata with the same labels",
        ),
        (
            lambda ds: ds.assign_coords(cell_type=["A", "B", "C", "E"]),
            r"cell_type: 1 only in datasets\[1\] \('E'\), 1 only in datasets\[0\] \('D'\); train",
        ),
        (
            lambda ds: ds.assign_coords(query="B"),
            r"query: 1 only in datasets\[1\] \('B'\), 1 only .*; extract with the same query=",
        ),
        (
            lambda ds: amici_xr.dataset.schema.describe(ds, "mm"),
            "its unit is 'mm', that of datasets.0. 'µm'; extract with one unit=",
        ),
        (
            lambda ds: ds.assign_coords(neighbor_x=ds.neighbor_x * 2),
            r"neighbor_x: \d+ of \d+ values differ",
        ),
    ],
)
def test_another_tissue_is_named_with_what_differs(spoil, message):
    ds = simulated(unit="µm")
    with pytest.raises(ValueError, match=f"(?s){message}"):
        amici_xr.align_runs([ds, spoil(ds)])


def test_the_same_tissue_in_another_precision_is_the_same():
    ds = simulated(unit="µm")
    rounded = ds.assign(neighborhood_distance=ds.neighborhood_distance.astype(np.float32))
    assert amici_xr.align_runs([ds, rounded]).sizes["run"] == 2
    unnamed = ds.drop_vars(["neighbor_name", "neighbor_x", "neighbor_y"])
    assert "neighbor_name" in amici_xr.align_runs([ds, unnamed]).coords


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda ds: ds, TypeError, r"datasets must be a list of Datasets, one per.*not Dataset"),
        (lambda ds: 3, TypeError, "datasets must be a list .* not int"),
        (lambda ds: [], ValueError, "datasets has 0 Dataset; .* so give at least two"),
        (lambda ds: [ds], ValueError, "datasets has 1 Dataset"),
        (lambda ds: "ab", TypeError, r"datasets\[0\]: ds must be an xarray\.Dataset, not str"),
        (
            lambda ds: [ds, ds.drop_vars("label")],
            amici_xr.SchemaError,
            r"datasets\[1\]: not a Dataset of .*",
        ),
        (
            lambda ds: [ds, amici_xr.align_runs([ds, ds])],
            ValueError,
            r"datasets\[1\] holds runs already; give .* ds\.isel\(run=0\)",
        ),
        (lambda ds: [ds.isel(neighbor=[])] * 2, ValueError, r"datasets\[0\] holds no scores"),
        (
            lambda ds: [ds, ds.assign(base_attention_score=ds.base_attention_score * np.nan)],
            amici_xr.SchemaError,
            r"datasets\[1\] holds scores of neighbors that are not finite; extract them again",
        ),
        (
            lambda ds: [amici_xr.from_dataframe(ds.amici.to_dataframe())] * 2,
            amici_xr.SchemaError,
            "no neighborhoods, .*: pass distance=, e.g. distance=50",
        ),
        (
            lambda ds: [ds.assign(neighborhood_distance=ds.neighborhood_distance * 0)] * 2,
            ValueError,
            "the neighborhoods reach no distance above 0.*pass distance=",
        ),
        (lambda ds: [ds.isel(receiver=[])] * 2, ValueError, "neighborhoods reach no distance"),
    ],
)
def test_what_can_not_be_aligned_is_named(ds, make, error, message):
    with pytest.raises(error, match=message):
        amici_xr.align_runs(make(ds))


def test_runs_of_tables_are_aligned_with_a_distance(ds):
    table = amici_xr.from_dataframe(ds.amici.to_dataframe())
    runs = amici_xr.align_runs([table, permuted(table, [1, 0])], distance=2.5)
    assert runs["original_head"].values.tolist() == [[0, 1], [1, 0]]
    assert runs.attrs["matching_distance"] == 2.5
    assert runs.amici.reach_across_runs(0.1, None)["n_runs"].max() == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"distance": 0}, ValueError, "distance=0 must be a finite number above 0"),
        ({"distance": np.inf}, ValueError, "distance=inf must be a finite number above 0"),
        ({"distance": [1, 2]}, TypeError, r"distance=\[1, 2\] must be a number"),
        ({"unmatched_cost": 0}, ValueError, "unmatched_cost=0 must be a finite number above 0"),
        ({"unmatched_cost": 1.5}, ValueError, "unmatched_cost=1.5 must be at most 1, a share"),
        ({"unmatched_cost": None}, TypeError, "unmatched_cost=None must be a number"),
        ({"reference": 2}, amici_xr.NotFoundError, "reference: unknown run 2; known: 0, 1"),
    ],
)
def test_bad_arguments_are_named(ds, options, error, message):
    with pytest.raises(error, match=message):
        amici_xr.align_runs([ds, ds], **options)


def over_runs(ds, **options):
    return amici_xr.bootstrap(ds, resampling_unit="run", **options)


@pytest.mark.parametrize("ask", [amici_xr.reach_across_runs, over_runs])
def test_what_is_asked_over_runs_is_checked(ds, ask):
    runs = amici_xr.align_runs([ds, ds])
    for single in (ds, runs.isel(run=0)):
        with pytest.raises(
            amici_xr.SchemaError, match=r"holds a single training, without a run dim: put several"
        ):
            ask(single)
    with pytest.raises(ValueError, match="statistic='mode' is not known"):
        ask(runs, statistic="mode")
    with pytest.raises(ValueError, match="confidence_level=95 must lie strictly between"):
        ask(runs, confidence_level=95)
    with pytest.raises(ValueError, match="threshold=2 must lie strictly between"):
        ask(runs, threshold=2)


def test_what_can_not_hold_runs_asks_for_one(ds):
    runs = amici_xr.align_runs([ds, ds])
    with pytest.raises(
        ValueError, match=r"ds holds the runs 0, 1; the original's table has no place .*isel\(run=0"
    ):
        amici_xr.to_dataframe(runs)
    for draw in (lambda: runs.amici.plot_curve(0, [0, 5]), runs.amici.plot_length_scale):
        with pytest.raises(ValueError, match=r"runs 0, 1; draw one at a time: take one, e\.g\. ds"):
            draw()


def test_heads_of_queries_without_neighbors_are_not_matched(several):
    of_others = several.isel(query=0)
    of_others = of_others.isel(neighbor=~of_others["is_neighbor"].values)
    with pytest.raises(ValueError, match=r"datasets\[0\] holds no scores"):
        amici_xr.align_runs([of_others, of_others])


def test_questions_over_heads_need_a_head():
    ds = amici_xr.testing.simulate_dataset(n_cells=80, samples=["a", "b"])
    runs = amici_xr.align_runs([ds, ds]).isel(head=[])
    with pytest.raises(ValueError, match="ds holds no attention head; keep at least one"):
        amici_xr.reach_across_runs(runs)
    with pytest.raises(ValueError, match="ds holds no attention head; keep at least one"):
        amici_xr.contrast(runs, by={"a": "x", "b": "y"})
