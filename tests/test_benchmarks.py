"""The benchmarks at small size: both sides answer the same, and the tables are printed."""

import sys
from pathlib import Path

import numpy as np
import pytest
from recorded_data import ROOT

import amici_xr

pytest.importorskip("torch")  # the core environment deselects what needs the model
pytestmark = [pytest.mark.needs_model, pytest.mark.once, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def benchmarks():
    """Scripts import each other as they do when run."""
    folder = ROOT / "benchmarks"
    if not folder.is_dir():
        pytest.skip("the benchmarks are not beside the tests")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture(autouse=True)
def _threads():
    """Give back the threads that a benchmark takes away."""
    import torch

    n_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def both_ways(benchmarks):
    """The Dataset and the long table of the same tissue."""
    import long_table
    import setting

    model, tissue = setting.saved_model(), setting.tissue(1500)
    found = long_table.neighborhood_table(tissue, setting.QUERY, model.settings.n_neighbors)
    neighbors = np.unique(found.index)
    table = long_table.score_table(model, tissue, setting.QUERY, neighbors, batch_size=300)
    ds = amici_xr.extract(model, setting.QUERY, tissue, progress=False)
    return ds, table, found


def test_the_scores_are_those_of_the_long_table(both_ways):
    ds, table, found = both_ways
    of_table = table.set_index(["neighbor_idx", "head_idx"]).to_xarray()
    np.testing.assert_array_equal(ds.neighbor, of_table.neighbor_idx)
    np.testing.assert_array_equal(ds.neighborhood_index, found.index)
    for name in ("base_attention_score", "position_coefficient"):
        np.testing.assert_allclose(ds[name], of_table[name], rtol=1e-5, atol=1e-5)


def test_reductions_are_those_of_the_long_table(both_ways):
    import long_table

    ds, table, found = both_ways
    distances = np.linspace(0, 50, 6)
    summary = ds.amici.curve_summary(distances)
    for head in (0, 5):
        expected = long_table.curve_summary(long_table.curves(table, head, distances)).to_xarray()
        ours = summary.sel(head=head, label=expected.neighbor_label.values)
        for name in ("mean", "std"):
            np.testing.assert_allclose(ours[name], expected[name], atol=1e-6)
    lengths = long_table.length_scales(table, 0.5, found, 0.02)
    of_table = lengths.set_index(["neighbor_idx", "head_idx"])["length_scale"].to_xarray()
    np.testing.assert_allclose(ds.amici.length_scale(0.5), of_table, rtol=1e-3, atol=1e-3)
    table_intervals = long_table.bootstrap(lengths, "mean", n_resamples=200)
    ours = ds.amici.bootstrap(0.5, method="resample", n_resamples=200)
    for row in table_intervals.itertuples():
        own = ours.sel(head=row.head_idx, label=row.neighbor_label)
        assert float(own.ci_upper) == pytest.approx(row.ci_upper, rel=1e-3, abs=1e-3)


def test_speed_is_measured_and_printed_for_every_step(capsys):
    import speed

    rows = speed.measured(600, repeats=1, group_size=20, n_resamples=4)
    speed.printed(speed.with_original(rows, {"scores": 1.0, "curves": 2.0}))
    text = capsys.readouterr().out
    for what in ("extract, all queries", "curves", "length scales, corrected", "the whole chain"):
        assert what in text
    assert all(row.library > 0 for row in rows)


def test_the_figure_of_speed_is_drawn(tmp_path):
    import speed

    speed.figure(tmp_path / "speed.png", [300, 600])
    assert (tmp_path / "speed.png").stat().st_size > 10_000


def test_the_multiply_adds_of_the_network_are_counted(benchmarks):
    """In the usual setting, with 257 columns for the norm of 2,048 key features."""
    import setting
    import speed
    import torch

    from amici_xr.model.network import ScoringNetwork

    model = setting.saved_model()
    one, three = (
        ScoringNetwork(model.weights, -2.0, queries, torch.device("cpu"))
        for queries in ([0], [0, 1, 2])
    )
    shared = 2 * 300 * 512 + 300 * 256 + 2 * 256 * 256 + 256 * 257 + 256 * 512
    of_query = 8 * 256 + 512 * 288 + 288 * 8
    for network, n_queries in ((one, 1), (three, 3)):
        expected = shared + n_queries * of_query
        assert speed.multiply_adds(network, 300) == pytest.approx(expected, rel=1e-3)


def test_memory_is_measured_in_processes_of_their_own(capsys, monkeypatch):
    pytest.importorskip("zarr")  # an extra
    import memory

    for options in (["--cells", "500"], ["--cells", "500", "--streamed", "--all-queries"]):
        monkeypatch.setattr(sys, "argv", ["memory.py", *options])
        memory.main()
    text = capsys.readouterr().out
    for part in ("chain of the library", "chain of long tables", "bootstrap from zarr"):
        assert part in text


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_exact_intervals_lie_where_monte_carlo_puts_them(statistic):
    import exact_intervals

    # The last ones, far outliers and values that differ by less than they are rounded, once failed.
    seeds = [*range(60), 114, 324, 744, 3110, 5824]
    assert exact_intervals.check(statistic, seeds, n_resamples=100_000) == []


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_the_monte_carlo_check_objects_to_intervals_that_are_off(statistic):
    import functools

    import exact_intervals

    off = functools.partial(exact_intervals.exact_interval, shift=0.05)
    assert exact_intervals.check(statistic, range(20), n_resamples=100_000, interval=off)


def test_power_and_type_one_error_of_contrasts_are_printed(capsys, monkeypatch):
    import contrast_rates

    monkeypatch.setattr(contrast_rates, "SIZES", (3, 4))
    monkeypatch.setattr(contrast_rates, "COUNTS", ((5, 20),))
    monkeypatch.setattr(sys, "argv", ["contrast_rates.py", "--studies", "20"])
    contrast_rates.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    header, *grid = [row.split(" | ") for row in rows[:4] if "---" not in row]
    assert header[2] == "1 head, 1 run, away"
    assert [row[0].strip("| ") for row in grid] == ["3", "4"]
    assert all(len(row) == len(header) for row in grid)
    assert any("cells skewed up" in row for row in rows)
    assert any("8 heads, one reaches" in row for row in rows)


def test_the_rates_of_contrasts_are_those_of_contrast_itself():
    import contrast_rates

    assert contrast_rates.check(n_studies=3) < 1e-5


def test_the_benchmark_of_the_atlas_prints_each_question(monkeypatch, capsys):
    import atlas

    monkeypatch.setattr("sys.argv", ["atlas.py", "--cells", "300", "--types", "4", "--heads", "2"])
    atlas.main()
    printed = capsys.readouterr().out
    assert "4 types x 2 heads x 300 cells" in printed
    assert all(question in printed for question in atlas.QUESTIONS)


def test_coverage_is_measured_and_printed(capsys, monkeypatch):
    import spatial_coverage

    setting = next(one for one in spatial_coverage.SETTINGS if one.name == "strip 5:1, side/20")
    measured = spatial_coverage.measure(setting, n_fields=50)
    assert measured.cells < 60
    assert measured.mean > 80
    assert 0.8 < measured.width < 2
    monkeypatch.setattr("sys.argv", ["spatial_coverage.py", "--fields", "2", "--only", "white"])
    spatial_coverage.main()
    *_, row = capsys.readouterr().out.splitlines()
    assert row.startswith("| white noise | ")
    spatial_coverage.print_units(n_draws=2000)
    normal = capsys.readouterr().out.splitlines()[2]
    assert normal.startswith("| normal | 9")


def test_the_covariance_of_floored_fields_is_that_of_many_draws():
    import spatial_coverage

    rng = np.random.default_rng(0)
    for correlation in (0.0, 0.3, 0.9, 1.0):
        first, noise = rng.normal(size=(2, 400_000))
        second = correlation * first + np.sqrt(1 - correlation**2) * noise
        drawn = np.cov(np.maximum(first - 0.5, 0), np.maximum(second - 0.5, 0))[0, 1]
        ours = spatial_coverage.floored_covariance(np.array(correlation))
        assert ours == pytest.approx(drawn, abs=0.002)


def test_rates_of_the_distance_response_count_what_was_planted(monkeypatch, capsys):
    import response_rates

    small = {"n_cells": 800, "n_types": 3, "n_genes": 12, "n_pairs": 1, "genes_per_pair": 4}
    settings = {"planted": {**small, "effect": 2.0}, "none": {**small, "n_pairs": 0}}
    monkeypatch.setattr(response_rates, "SETTINGS", settings)
    monkeypatch.setattr("sys.argv", ["response_rates.py", "--tissues", "2"])
    response_rates.main()
    planted, none = capsys.readouterr().out.splitlines()[2:4]
    assert planted.startswith("| planted | 2 of 2; 0 of 10 (0) | 2 of 2; 0 of 10 (0) |")
    assert "| 8 of 8 / 0 of 8 |" in planted
    assert none.startswith("| none | –; 0 of 12 (0) |")


@pytest.mark.needs_training
def test_rates_of_evidence_go_on_where_they_stopped(monkeypatch, capsys, tmp_path):
    pytest.importorskip("scvi")  # an extra
    import evidence_rates

    small = {"n_cells": 300, "n_types": 3, "n_genes": 8, "genes_per_pair": 4, "n_pairs": 1}
    monkeypatch.setattr(evidence_rates, "TISSUE", small)
    monkeypatch.setattr(evidence_rates, "MAX_EPOCHS", 1)
    monkeypatch.setattr(evidence_rates, "SETTINGS", {"planted": {}, "none": {"n_pairs": 0}})
    for n_tissues in (1, 2):  # the second time goes on with the second tissue of each setting
        words = ["evidence_rates.py", "--tissues", str(n_tissues), "--out", str(tmp_path / "a.csv")]
        monkeypatch.setattr("sys.argv", words)
        evidence_rates.main()
        shown = capsys.readouterr().out.splitlines()
        assert sum(line.startswith("{") for line in shown) == 4
    rows = [line.split() for line in shown if line.startswith("refits")]
    assert rows[0][-5:] == ["2", "2", "0", "10", "0"]


@pytest.mark.needs_training
def test_three_kinds_of_evidence_stand_side_by_side(monkeypatch, capsys, tmp_path):
    pytest.importorskip("scvi")  # an extra
    import evidence_of_tissue
    import evidence_rates

    monkeypatch.setattr(evidence_rates, "MAX_EPOCHS", 1)
    tissue = amici_xr.testing.simulate_tissue(
        n_cells=400, n_types=3, n_genes=8, n_pairs=1, effect=3.0
    )
    tissue.obs = tissue.obs.rename(columns={"cell_type": "kind"})
    tissue.write_h5ad(tmp_path / "tissue.h5ad")
    words = [str(tmp_path / "tissue.h5ad"), "--labels-key", "kind", "--folder", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["evidence_of_tissue.py", *words])
    evidence_of_tissue.main()
    as_it_is, exchanged = capsys.readouterr().out.split("\nexpression: pairs")
    assert "    tissue: 1 of 6" in as_it_is
    assert all(f"    {kind}: 0 of 6" in exchanged for kind in ("tissue", "refits"))


def test_the_growth_of_a_distance_response_is_measured_and_drawn(monkeypatch, capsys):
    import response_growth

    monkeypatch.setattr(response_growth, "USUAL", {"n_cells": 600, "n_genes": 8, "n_types": 2})
    sizes = {"n_cells": (500, 600), "n_genes": (8,), "n_types": (2, 3)}
    monkeypatch.setattr(response_growth, "SIZES", sizes)
    response_growth.main(["--figure", "growth.png"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| n_")]
    assert [row.split(" | ")[1] for row in rows] == ["500", "600", "8", "2", "3"]
    assert all(float(row.split(" | ")[2].rstrip(" |")) > 0 for row in rows)
    assert Path("growth.png").stat().st_size > 5_000


def test_the_growth_of_steps_is_measured_and_drawn(capsys):
    import growth

    steps = ["distance response", "scores and effects", "an epoch of training"]
    growth.main(["--cells", "1200", "1500", "--steps", *steps, "--figure", "growth.png"])
    lines = capsys.readouterr().out.splitlines()
    rows = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in lines[2:8]]
    assert rows == [(step, cells) for cells in ("1,200", "1,500") for step in steps]
    assert [line.partition(":")[0] for line in lines[8:]] == steps
    assert Path("growth.png").stat().st_size > 5_000


def test_the_growth_of_a_distance_response_is_measured_in_processes_of_their_own(
    monkeypatch, capsys
):
    import response_growth

    monkeypatch.setattr(response_growth, "NUMBERS_OF_CELLS", (300, 400, 500, 600))
    monkeypatch.setattr(
        response_growth, "LARGE", {"n_genes": 8, "n_types": 2, "n_pairs": 1, "genes_per_pair": 4}
    )
    response_growth.main(["--large"])
    out = capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in out.splitlines() if line[2:3].isdigit()]
    assert [row[0] for row in rows] == ["300", "400", "500", "600"]
    assert all(float(row[1]) > 0 for row in rows)
    assert "from 500 cells on, seconds grow as cells^" in out


def test_steps_that_are_added_to_a_tissue_are_counted(capsys):
    import response_power

    tissue = amici_xr.testing.simulate_tissue(n_cells=1_500, n_types=3, n_genes=60, n_pairs=0)
    response_power.add_steps(tissue, 2.0, n_draws=1, seed=0)
    assert capsys.readouterr().out.startswith("2 sd: 4 of 4 found (4 beyond the niche), 4 of 4 det")
    labels = tissue.obs["cell_type"].to_numpy(object)
    shuffled = response_power.permuted(tissue, labels, seed=0)
    for kind in np.unique(labels):
        ours = np.sort(np.asarray(shuffled[labels == kind].X), axis=0)
        np.testing.assert_array_equal(ours, np.sort(np.asarray(tissue[labels == kind].X), axis=0))
    assert not np.array_equal(shuffled.X, tissue.X)


def test_the_cost_of_effects_is_printed_for_each_mode(benchmarks, monkeypatch, capsys):
    import effects

    sizes = ["--cells", "300", "--genes", "20", "--types", "3", "--size", "of the tests' models"]
    monkeypatch.setattr(sys, "argv", ["effects.py", *sizes])
    effects.main()
    rows = capsys.readouterr().out.splitlines()
    assert [mode in row for mode, row in zip(effects.MODES, rows, strict=True)] == [True] * 3
