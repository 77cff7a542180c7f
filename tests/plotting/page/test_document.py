"""The page to explore: what it shows is what the Dataset says, in a real browser, offline."""

import csv
import importlib.util
import io
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pages import content_of
from slow_cases import slow

import amici_xr
from amici_xr.plotting.page import document, points
from amici_xr.plotting.shared.colors import label_colors

needs_bokeh = pytest.mark.skipif(
    importlib.util.find_spec("bokeh") is None,
    reason="the environment for the core has no Bokeh (the extra `report`)",
)
STOPS = [0.05, 0.1, 0.5]
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "=1+1",
    "$$x$$",
    '神経 "细胞", é',
]


@pytest.fixture(scope="module")
def several():
    """Two queries, with neighborhoods and coordinates; one head reaches, some labels do not."""
    return amici_xr.testing.simulate_dataset(["A", "C"], n_cells=400, n_heads=3, unit="µm")


@pytest.fixture(scope="module")
def written(several, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    several.cf.report(path, 0.1, thresholds=STOPS, sample_threshold=0.8)
    return path


@pytest.fixture
def opened(browser, written):
    """The page at its first query and start, loaded anew only where another page was open."""
    if browser.ask("location.href") != written.as_uri():
        browser.open(written)
    for control, value in {"threshold": 1, "band": "std", "quantity": "length_scale"}.items():
        browser.set(control, value)
    browser.change("query", "0")
    yield browser
    assert browser.complaints() == []


def of_table(browser, name):
    """Values of one column of the table, by (label, head)."""
    rows = browser.ask(
        """[...document.querySelectorAll("#table tbody tr")].map((row) => [
          row.cells[0].textContent, Number(row.cells[1].textContent),
          row.querySelector(`[data-name=${arguments[0]}]`).dataset.value])""",
        name,
    )
    return {(label, head): value for label, head, value in rows}


@needs_bokeh
@pytest.mark.parametrize("stop", range(3))
def test_the_table_at_each_stop_of_the_slider_is_what_the_dataset_says(opened, several, stop):
    opened.change("threshold", stop)
    one = several.cf.select("A")
    head = opened.ask("content.heads[state.heads[0]]")
    lengths = one.cf.length_scale(STOPS[stop], 0.8).sel(head=head)
    expected = {
        "median_length_scale": lengths.groupby("label").median(),
        "mean_length_scale": lengths.groupby("label").mean(),
    }
    support = one.cf.support(STOPS[stop], 0.8).sel(head=head)
    expected |= {name: support[name] for name in ("support", "edge_share")}
    expected["median_before_correction"] = support.median_length_scale
    interval = one.cf.bootstrap(STOPS[stop], 0.8, statistic="median").sel(head=head)
    expected |= {name: interval[name] for name in ("ci_lower", "ci_upper", "n_neighbors")}
    for name, of_label in expected.items():
        shown = of_table(opened, name)
        assert set(shown) == {(label, head) for label in "BCD"}
        for (label, _), value in shown.items():
            assert float(value) == pytest.approx(
                float(of_label.sel(label=label)), rel=1e-6
            )  # only drawn
    status = {label: value for (label, _), value in of_table(opened, "status").items()}
    assert status == {label: support.status.sel(label=label).item() for label in "BCD"}
    assert opened.ask("document.getElementById('threshold-value').textContent") == str(STOPS[stop])


@needs_bokeh
def test_the_page_opens_on_the_query_and_head_of_the_longest_reach(written, browser, several):
    browser.open(written)
    longest = {}
    for query in several["query"].values:
        lengths = several.cf.select(query).cf.length_scale(0.1, 0.8)
        medians = lengths.groupby("label").median()
        longest[str(query)] = (medians.max().item(), medians.max("label").idxmax("head").item())
    expected = max(longest, key=longest.get)
    assert browser.ask("state.query.name") == expected
    assert browser.ask("document.getElementById('query').selectedOptions[0].text") == expected
    assert browser.ask("state.heads.map((head) => content.heads[head])") == [longest[expected][1]]


@needs_bokeh
def test_the_slider_moves_boxes_and_dots_and_the_line_of_the_threshold(opened, several):
    one = several.cf.select("A")
    head = opened.ask("content.heads[state.heads[0]]")
    medians = []
    for stop, threshold in enumerate(STOPS):
        opened.change("threshold", stop)
        assert opened.property("curves", head, "threshold", "location") == threshold
        lengths = one.cf.length_scale(threshold, 0.8).sel(head=head)
        labels = opened.column("reach", head, "boxes", "label")
        assert sorted(labels) == ["B", "C", "D"]
        for name, q in {
            "low": 0.05,
            "left": 0.25,
            "median": 0.5,
            "right": 0.75,
            "high": 0.95,
        }.items():
            drawn = opened.column("reach", head, "boxes", name)
            of_label = lengths.groupby("label").quantile(q)
            for label, value in zip(labels, drawn, strict=True):
                assert value == pytest.approx(
                    float(of_label.sel(label=label)), rel=1e-6
                )  # only drawn
        medians.append(opened.column("reach", head, "boxes", "median"))
        dots = opened.column("reach", head, "dots", "x")  # computed in the page, from all neighbors
        np.testing.assert_array_equal(np.sort(dots), np.sort(lengths.values))
    assert medians[0] != medians[1] != medians[2]


@needs_bokeh
def test_a_group_that_the_correction_set_to_zero_is_crossed(opened, several):
    opened.change("threshold", 2)
    one = several.cf.select("A")
    for head in (0, 1, 2):
        if head not in opened.ask("state.heads.map((one) => content.heads[one])"):
            opened.click(f"#heads label:nth-child({head + 1}) input")
        lengths = one.cf.length_scale(0.5, 0.8).sel(head=head)
        plain = one.cf.length_scale(0.5, None).sel(head=head)
        corrected = (plain > 0).groupby("label").any() & ~(lengths > 0).groupby("label").any()
        assert len(opened.column("reach", head, "crosses", "x")) == int(corrected.sum())
    support = one.cf.support(0.5, 0.8)
    assert (support.status == "too_few_receivers").any()  # so that something is crossed


@needs_bokeh
@pytest.mark.parametrize("band", ["std", "quantiles"])
def test_curves_and_bands_are_those_of_curve_summary(opened, several, band):
    opened.change("band", band)
    head = opened.ask("content.heads[state.heads[0]]")
    labels = opened.column("curves", head, "lines", "label")
    xs = opened.column("curves", head, "lines", "xs")
    lines = opened.column("curves", head, "lines", "ys")
    bands = opened.column("curves", head, "bands", "ys")
    summary = several.cf.select("A").cf.curve_summary(xs[0], quantiles=[0.05, 0.5, 0.95])
    assert sorted(labels) == ["B", "C", "D"]
    for label, line, around in zip(labels, lines, bands, strict=True):
        own = summary.sel(label=label, head=head)
        low, middle, high = own["quantiles"].transpose("quantile", ...).values
        if band == "std":
            low, high = (np.clip(own["mean"] + sign * own["std"], 0, 1) for sign in (-1, 1))
            middle = own["mean"]
        np.testing.assert_allclose(line, middle, rtol=1e-6, atol=1e-5)  # kept in two bytes
        around_middle = np.concatenate([low, high[::-1]])
        np.testing.assert_allclose(around, around_middle, rtol=1e-6, atol=2e-5)


@needs_bokeh
def test_the_tissue_is_colored_by_length_scale_attention_and_attention_in_place(opened, several):
    one = several.cf.select("A")
    head = opened.ask("content.heads[state.heads[0]]")

    def drawn():
        x, y, value = (opened.column("tissue", head, "cells", name) for name in ("x", "y", "value"))
        order = np.lexsort([y, x])
        return np.array([x, y, value])[:, order]

    def expected(values, cell):
        x, y = one[f"{cell}_x"].values, one[f"{cell}_y"].values
        order = np.lexsort([y, x])
        return np.array([x, y, values.sel(head=head)])[:, order]

    lengths = expected(one.cf.length_scale(0.1, 0.8), "neighbor")
    np.testing.assert_array_equal(drawn(), lengths)
    opened.change("quantity", "attention")
    opened.change("distance", 7)
    distance = opened.ask("content.distance.values[7]")
    assert 0 < distance < opened.ask("content.distance.values[60]")
    curve = one.cf.curve(distance)
    np.testing.assert_allclose(drawn(), expected(curve, "neighbor"), rtol=1e-12)
    opened.change("quantity", "in_place")
    share = expected(1 - one.cf.dummy_attention(), "receiver")
    np.testing.assert_allclose(drawn(), share, rtol=1e-6, atol=1e-5)  # kept in two bytes
    opened.change("quantity", "length_scale")


@needs_bokeh
def test_query_heads_and_labels_are_chosen(opened, several):
    opened.change("query", "1")
    assert "neighbors of C" in opened.ask("document.getElementById('summary').textContent")
    one = several.cf.select("C")
    first = opened.ask("content.heads[state.heads[0]]")
    medians = one.cf.length_scale(0.1, 0.8).groupby("label").median()
    assert float(medians.sel(head=first).max()) == float(medians.max())
    median = of_table(opened, "median_length_scale")
    assert set(median) == {(label, first) for label in "ABD"}
    other = next(head for head in (0, 1, 2) if head != first)
    opened.click(f"#heads label:nth-child({other + 1}) input")
    for (label, head), value in of_table(opened, "median_length_scale").items():
        assert float(value) == pytest.approx(float(medians.sel(label=label, head=head)), rel=1e-13)
    shown = opened.ask("""[...document.querySelectorAll("#curves .panel:not([hidden])")].length""")
    assert shown == 2
    opened.click("#labels label:nth-child(1) input")
    assert len(of_table(opened, "status")) == 4
    assert len(opened.column("curves", other, "lines", "label")) == 2
    opened.click("#no-labels")
    assert of_table(opened, "status") == {}
    assert not opened.ask("document.getElementById('nothing').hidden")
    opened.click("#all-labels")
    assert len(of_table(opened, "status")) == 6
    assert opened.ask("document.getElementById('nothing').hidden")


@needs_bokeh
def test_the_download_holds_every_stop_to_the_last_digit(opened, several):
    text = opened.driver.execute_async_script(
        """const done = arguments[0];
        URL.createObjectURL = (blob) => { blob.text().then(done); return "#"; };
        HTMLAnchorElement.prototype.click = () => {};
        document.getElementById("download-all").click();"""
    )
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3 * 3 * 3
    one = several.cf.select("A")
    interval = one.cf.bootstrap(STOPS, 0.8, statistic="median")
    support = one.cf.support(STOPS, 0.8)
    for row in rows:
        at = {"label": row["label"], "head": int(row["head"]), "threshold": float(row["threshold"])}
        assert (row["query"], row["unit"]) == ("A", "µm")
        assert row["status"] == support.status.sel(at).item()
        assert float(row["ci_upper"]) == interval.ci_upper.sel(at).item()
        assert float(row["median_length_scale"]) == interval.point_estimate.sel(at).item()
        assert float(row["support"]) == support.support.sel(at).item()


@needs_bokeh
def test_labels_have_the_colors_of_the_figures(opened, several):
    head = opened.ask("content.heads[state.heads[0]]")
    labels = opened.column("curves", head, "lines", "label")
    expected = {label: color.lower() for label, color in label_colors(several, labels).items()}
    assert (
        dict(zip(labels, opened.column("curves", head, "lines", "color"), strict=True)) == expected
    )


@needs_bokeh
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_and_nothing_is_asked_of_the_network(browser, written, width):
    browser.open(written, width=width)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    canvas = browser.ask("document.getElementById('curves').getBoundingClientRect().width")
    assert width / 4 < canvas < width
    assert browser.ask("performance.getEntriesByType('resource').map((one) => one.name)") == []
    policy = "document.querySelector('meta[http-equiv=Content-Security-Policy]').content"
    assert browser.ask(policy).startswith("default-src 'none'; script-src 'unsafe-inline';")
    assert browser.complaints() == []


@needs_bokeh
def test_every_control_has_a_name_and_the_slider_follows_the_keyboard(opened):
    nameless = opened.ask(
        """[...document.querySelectorAll("input, select, button")].filter((one) =>
          !(one.labels?.[0]?.textContent.trim() || one.textContent.trim())).length"""
    )
    assert nameless == 0
    told = "document.getElementById('threshold').getAttribute('aria-valuetext')"
    assert opened.ask(told) == "0.1"
    opened.driver.find_element("id", "threshold").send_keys("\ue014")  # the arrow to the right
    opened.wait()
    assert opened.ask(told) == "0.5"
    assert opened.ask("content.thresholds[state.stop]") == 0.5


@needs_bokeh
def test_hostile_labels_and_attributes_are_text(browser, tmp_path):
    ds = amici_xr.testing.simulate_dataset(
        HOSTILE[0], cell_types=HOSTILE, n_cells=300, unit="$$\\frac{µ}{m}$$"
    ).assign_attrs(note="</script><b id=bad>")
    ds.cf.report(tmp_path / "page.html", 0.1, thresholds=[0.1])
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<img src=x" not in text
    assert "<b id=bad>" not in text
    browser.open(tmp_path / "page.html")
    assert browser.ask("document.querySelectorAll('img, #bad').length") == 0
    assert {label for label, _ in of_table(browser, "status")} == set(HOSTILE[1:])
    assert browser.ask("state.query.name") == HOSTILE[0]
    head = browser.ask("content.heads[state.heads[0]]")
    assert sorted(browser.column("curves", head, "lines", "label")) == sorted(HOSTILE[1:])
    row = browser.column("reach", head, "boxes", "label").index(HOSTILE[1])
    tip = browser.hover_over_row(head, row)
    assert HOSTILE[1] in tip["text"]
    assert tip["markup"] == 0
    rows = list(csv.DictReader(io.StringIO(browser.ask("csv(state, [0])"))))
    assert {row["label"] for row in rows} == {"'=1+1", *HOSTILE[1:2], *HOSTILE[3:]}
    assert browser.complaints() == []  # neither a formula that asks for its fonts, nor an alert


@needs_bokeh
def test_without_neighborhoods_and_coordinates_the_page_says_what_it_can_not_know(
    browser, tmp_path
):
    whole = amici_xr.testing.simulate_dataset(n_cells=100)
    ds = amici_xr.from_dataframe(whole.amici.to_dataframe())
    ds.cf.report(tmp_path / "page.html", 0.1, thresholds=[0.1, 0.5])
    browser.open(tmp_path / "page.html")
    lengths = ds.cf.length_scale(0.1, None)
    for (label, head), value in of_table(browser, "median_length_scale").items():
        own = lengths.sel(head=head).values[ds.label == label]
        assert float(value) == pytest.approx(np.median(own), rel=1e-13)
    assert set(of_table(browser, "status").values()) == {"not_known"}
    assert browser.ask("document.getElementById('tissue-section').hidden")
    words = browser.ask("document.getElementById('shown').textContent")
    assert "no neighborhoods, so support is not known and nothing was set to 0" in words
    assert browser.complaints() == []


@needs_bokeh
def test_the_map_has_the_shape_of_the_tissue_and_its_panel_room_for_it(browser, tmp_path):
    ds = amici_xr.testing.simulate_dataset(n_cells=200)
    heights = []
    for stretch in (0.6, 1.5):
        shaped = ds.assign_coords(
            {name: stretch * ds[name] for name in ("neighbor_x", "receiver_x")}
        )
        extents = {
            axis: np.ptp([*shaped[f"neighbor_{axis}"].values, *shaped[f"receiver_{axis}"].values])
            for axis in "xy"
        }
        shaped.cf.report(tmp_path / "page.html", 0.1, thresholds=[0.1])
        browser.open(tmp_path / "page.html")
        head = browser.ask("content.heads[state.heads[0]]")
        shape = browser.property("tissue", head, "tissue", "aspect_ratio")
        assert shape == pytest.approx(extents["x"] / extents["y"])
        browser.wait()
        box = browser.ask(f"document.getElementById('tissue-{head}').getBoundingClientRect()")
        assert box["width"] / box["height"] == pytest.approx(shape, rel=0.05)
        heights.append(box["height"])
    assert max(heights) < 1.3 * min(heights) < 1000
    assert browser.complaints() == []


@needs_bokeh
@pytest.mark.parametrize(("n_heads", "n_distances"), [(2, 241), slow(150, 121), slow(300, 61)])
def test_the_fewer_curves_there_are_the_finer_they_are(tmp_path, n_heads, n_distances):
    ds = amici_xr.testing.simulate_dataset(n_cells=40, n_heads=n_heads)
    ds.cf.report(tmp_path / "page.html", 0.1, thresholds=[0.1])
    assert content_of(tmp_path / "page.html")["distance"]["shape"] == [n_distances]


@needs_bokeh
def test_samples_are_drawn_one_at_a_time(browser, tmp_path):
    ds = amici_xr.testing.simulate_dataset(n_cells=200, samples=["left", "right"])
    ds.cf.report(tmp_path / "page.html", 0.1, thresholds=[0.1])
    browser.open(tmp_path / "page.html")
    head = browser.ask("content.heads[state.heads[0]]")
    for sample in ("left", "right"):
        browser.change("sample", sample)
        drawn = browser.column("tissue", head, "cells", "x")
        assert sorted(drawn) == sorted(ds.neighbor_x.values[ds.neighbor_sample == sample])
    assert browser.complaints() == []


@needs_bokeh
def test_of_many_neighbors_a_sample_is_shown_and_the_table_is_of_all(several, browser, tmp_path):
    one = several.cf.select("A")
    one.cf.report(tmp_path / "page.html", 0.05, thresholds=[0.05], n_points=50)
    browser.open(tmp_path / "page.html")
    head = browser.ask("content.heads[state.heads[0]]")
    lengths = one.cf.length_scale(0.05).sel(head=head)
    dots = browser.column("reach", head, "dots", "x")
    assert len(dots) == 50
    assert set(dots) <= set(lengths.values.tolist())
    assert len(browser.column("tissue", head, "cells", "x")) == 50
    words = f"a random sample of 50 of the {one.sizes['neighbor']} neighbors"
    for place in ("tissue-words", "shown"):
        assert words in browser.ask(f"document.getElementById('{place}').textContent")
    for (label, _), value in of_table(browser, "median_length_scale").items():
        assert float(value) == pytest.approx(np.median(lengths.values[one.label == label]))
    assert browser.complaints() == []


@needs_bokeh
def test_a_query_without_a_single_neighbor_is_shown_as_such(several, browser, tmp_path):
    few = several.isel(neighbor=np.flatnonzero(several.label == "C")[:1])
    few.cf.report(tmp_path / "page.html", thresholds=[0.5])
    browser.open(tmp_path / "page.html")
    assert set(of_table(browser, "n_neighbors").values()) == {"1"}
    browser.change("query", "1")
    assert of_table(browser, "status") == {}
    assert not browser.ask("document.getElementById('nothing').hidden")
    assert browser.complaints() == []


@needs_bokeh
def test_a_hundred_thousand_neighbors_of_eight_heads_make_a_page_of_a_few_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    n, labels = 100_000, [f"type {number}" for number in range(20)]
    place = rng.uniform(0, 1000, (2, n))
    ds = amici_xr.from_arrays(
        rng.normal(3, 2, (n, 8)).astype(np.float32),
        rng.gamma(20, 0.05, (n, 8)).astype(np.float32),
        rng.choice(labels[1:], n), query=labels[0], cell_type=labels,
        neighbor_x=place[0], neighbor_y=place[1],
    )  # fmt: skip
    ds.cf.report(tmp_path / "page.html", 0.1, thresholds=[0.1, 0.5], distance=np.arange(11))
    size = (tmp_path / "page.html").stat().st_size
    per_stop = 8 * 19 * (9 * 8 + 4 * 8 + 1) * 4 / 3  # each further stop: 13 numbers and a status
    per_distance = 8 * 19 * 5 * 2 * 4 / 3  # each further distance: mean, std and three quantiles
    assert size + 20 * per_stop + 230 * per_distance < 7e6  # as many as by default
    (query,) = content_of(tmp_path / "page.html")["queries"]
    assert query["points"]["a"]["shape"] == [8, 14_285]
    assert query["n_neighbors"] == n


@needs_bokeh
def test_a_lazy_dataset_and_one_head_give_the_same_page_as_one_in_memory(several, tmp_path):
    options = {"threshold": 0.1, "thresholds": [0.1], "distance": [0, 1, 2]}
    several.chunk(neighbor=50).cf.report(tmp_path / "lazy.html", **options)
    several.cf.report(tmp_path / "eager.html", **options)
    lazy, eager = (content_of(tmp_path / f"{name}.html") for name in ("lazy", "eager"))
    assert lazy["queries"] == eager["queries"]
    several.isel(head=1).cf.report(tmp_path / "one.html", **options)
    assert content_of(tmp_path / "one.html")["heads"] == [1]


@needs_bokeh
def test_distances_labelled_with_another_unit_are_converted(several, tmp_path):
    in_nm = xr.DataArray([0.0, 5000.0], dims="distance", attrs={"units": "nm"})
    several.cf.report(tmp_path / "nm.html", thresholds=[0.5], distance=in_nm)
    several.cf.report(tmp_path / "um.html", thresholds=[0.5], distance=[0.0, 5.0])
    nm, um = (content_of(tmp_path / f"{name}.html")["queries"] for name in ("nm", "um"))
    assert nm == um


@needs_bokeh
def test_what_a_selection_left_without_scores_has_no_attention_in_place(several, tmp_path):
    few = several.isel(neighbor=np.flatnonzero(several.label == "B"))
    few.cf.report(tmp_path / "page.html", thresholds=[0.5])
    assert (
        "scores of some cells" in content_of(tmp_path / "page.html")["queries"][0]["no_attention"]
    )


@needs_bokeh
def test_the_page_replaces_an_old_one_and_tells_where_it_comes_from(several, tmp_path):
    amici_xr.save(several, tmp_path / "scores.nc")
    (tmp_path / "page.html").write_text("old")
    opened = xr.open_dataset(tmp_path / "scores.nc")
    amici_xr.report(opened, tmp_path / "page.html", thresholds=[0.5], distance=[3, 0])
    told = content_of(tmp_path / "page.html")["provenance"]
    assert told["This page"]["file"] == "scores.nc"
    assert told["Versions"]["amici-xr"] == amici_xr.__version__
    assert told["Attributes of the Dataset"]["source"] == several.attrs["source"]
    opened.close()


def test_a_sample_keeps_small_groups_whole_and_is_seeded():
    codes = np.repeat([0, 1, 2, 3], [10_000, 3, 5_000, 40])
    chosen = points.stratified_sample(codes, 1_043, 1)
    assert np.bincount(codes[chosen]).tolist() == [500, 3, 500, 40]
    assert np.unique(chosen).size == chosen.size
    assert np.bincount(codes[chosen[:103]]).tolist() == [34, 3, 33, 33]  # any beginning, too
    np.testing.assert_array_equal(chosen, points.stratified_sample(codes, 1_043, 1))
    assert not np.array_equal(chosen, points.stratified_sample(codes, 1_043, 2))
    everything = points.stratified_sample(codes, codes.size, 1)
    np.testing.assert_array_equal(np.sort(everything), np.arange(codes.size))
    assert points.stratified_sample(codes[:0], 10, 1).size == 0


def test_scores_are_narrowed_only_where_that_loses_nothing():
    assert points.narrow(np.array([0.1], np.float32)).dtype == np.float32
    assert points.narrow(np.array([0.5, np.nan])).dtype == np.float32
    wide = points.narrow(np.array([0.1, 1e300]))
    np.testing.assert_array_equal(wide, [0.1, 1e300])


@needs_bokeh
@pytest.mark.parametrize(
    ("kept", "options", "error", "message"),
    [
        ({}, {"path": "page.nc"}, ValueError, r"path='page.nc' must end in '.html'"),
        ({}, {"path": "folder.html"}, ValueError, r"path='folder.html' is a folder"),
        ({}, {"path": "no/page.html"}, FileNotFoundError, "there is no folder"),
        ({}, {"threshold": 2}, ValueError, "threshold=2 must lie strictly between"),
        ({}, {"thresholds": []}, ValueError, r"thresholds=\[\] must be a number or a sequence"),
        ({}, {"sample_threshold": 3}, ValueError, "sample_threshold=3 must lie"),
        ({}, {"distance": [-1]}, ValueError, "distance holds -1"),
        ({}, {"n_points": 0}, ValueError, "n_points=0 must be at least 1"),
        ({}, {"random_state": -1}, ValueError, "random_state=-1 must be at least 0"),
        ({}, {"palette": {"B": "red"}}, KeyError, "palette has no color for"),
        ({"neighbor": []}, {}, ValueError, "ds holds no neighbors, so there is nothing"),
        ({"head": []}, {}, ValueError, "ds holds no attention head; keep at least one"),
    ],
)
def test_what_can_not_be_written_is_named(several, tmp_path, kept, options, error, message):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(error, match=message):
        several.isel(kept).cf.report(**{"path": "page.html", "thresholds": [0.5]} | options)
    assert not (tmp_path / "page.html").exists()


@needs_bokeh
def test_several_runs_ask_for_one(ds):
    runs = amici_xr.align_runs([ds, ds])
    with pytest.raises(
        ValueError, match=r"ds holds the runs 0, 1; a page shows a single training run: t"
    ):
        runs.cf.report("page.html")
    runs.isel(run=0).cf.report("page.html", thresholds=[0.5])


def test_without_bokeh_the_extra_is_named(ds, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"report needs bokeh: pip install 'amici-xr\[report\]'"
    ):
        ds.cf.report("page.html")


def test_the_default_stops_hold_the_default_threshold():
    assert 0.5 in document.THRESHOLDS
    assert sorted(document.THRESHOLDS) == list(document.THRESHOLDS)


@needs_bokeh
@pytest.mark.parametrize("names", [["base64"], ["base64", "dtype", "shape"], ["shape", "values"]])
def test_attributes_may_have_the_names_by_which_arrays_are_embedded(browser, tmp_path, names):
    ds = amici_xr.testing.simulate_dataset(n_cells=100)
    ds.assign_attrs(dict.fromkeys(names, "of mine")).cf.report(
        tmp_path / "page.html", thresholds=[0.5]
    )
    browser.open(tmp_path / "page.html")
    shown = browser.ask("document.body.innerText + document.body.textContent")
    assert all(name in shown for name in names)
    assert (
        browser.ask("content.provenance['Attributes of the Dataset'][arguments[0]]", names[0])
        == "of mine"
    )
    assert browser.complaints() == []


@needs_bokeh
def test_a_page_is_written_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    ds = amici_xr.testing.simulate_dataset(n_cells=100)
    ds.cf.report("~/page.html", thresholds=[0.5])
    assert (tmp_path / "page.html").is_file()


# Evidence


def make_refits(q, types=("A", "B", "C", "D")):
    q = np.array(q, dtype=np.float64)
    status = np.where(np.isnan(q), "too_few_receivers", "tested")
    return xr.Dataset(
        {"q_value": (("query", "label"), q), "status": (("query", "label"), status)},
        coords={"query": ["A", "C"], "label": list(types)},
        attrs={"dataset_kind": "sender_refits"},
    )


NAN = np.nan
OF_PAIRS = [[NAN, 0.3, 0.02, NAN], [1e-12, 0.9, NAN, 0.04]]


def pair_rows(browser):
    return browser.ask(
        """[...document.querySelectorAll("#pairs tbody tr")].map((row) => [
          row.className, ...[...row.cells].map((cell) => cell.textContent)])"""
    )


@needs_bokeh
def test_pairs_with_evidence_come_first_and_the_others_are_pale(several, browser, tmp_path):
    path = tmp_path / "page.html"
    several.cf.report(path, 0.1, thresholds=STOPS, evidence=make_refits(OF_PAIRS))
    browser.open(path)
    rows = pair_rows(browser)
    assert [row[:5] for row in rows] == [
        ["", "A → C", "supported", "refits", "< 1e-10"],
        ["", "C → A", "supported", "refits", "0.020"],
        ["", "D → C", "supported", "refits", "0.040"],
        ["doubtful", "B → A", "not supported", "", "0.30"],
        ["doubtful", "B → C", "not supported", "", "0.90"],
        ["doubtful", "D → A", "not tested", "", "–"],
    ]
    findings = several.cf.summary(make_refits(OF_PAIRS), threshold=0.1)
    told = pd.concat([findings.table, findings.not_supported]).set_index(["sender", "receiver"])
    for _, pair, *_, reach, effect_reach, genes in rows:
        expected = told["reach"].get(tuple(pair.split(" → ")), np.nan)
        assert (reach == "–") == np.isnan(expected)
        assert reach == "–" or float(reach) == pytest.approx(expected, rel=0.01)
        assert (effect_reach, genes) == ("–", "")  # of scores without effects
    assert told["reach"].notna().any()
    items = browser.ask("[...document.querySelectorAll('#findings li')].map(it => it.textContent)")
    assert items == several.cf.summary(make_refits(OF_PAIRS), threshold=0.1).sentences
    assert browser.ask("document.title") == "Which cell types influence each other?"
    words = browser.ask("document.getElementById('evidence-words').textContent")
    assert words.startswith(
        "3 of 6 pairs are supported (q < 0.05) by evidence of the kinds: refits"
    )
    assert browser.ask("state.query.name") == "C"  # the receiver of the strongest pair
    lengths = several.cf.select("C").cf.length_scale(0.1)
    reach = lengths.groupby("label").median().sel(label="A")
    head = reach.idxmax("head").item() if reach.max() > 0 else 0
    assert browser.ask("state.heads.map((head) => content.heads[head])") == [head]
    browser.click("#pairs tbody tr:nth-child(4) button")
    assert browser.ask("state.query.name") == "A"
    assert browser.ask("document.getElementById('query').selectedOptions[0].text") == "A"
    assert "B" in browser.ask("state.labels.map((label) => content.labels[label])")
    assert browser.complaints() == []


@needs_bokeh
def test_without_evidence_the_page_says_how_to_get_it(opened):
    assert opened.ask("document.title") == "How far do neighbors reach?"
    words = opened.ask("document.getElementById('evidence-words').textContent")
    assert words.startswith("No evidence was given")
    assert "distance_response(adata, …) tests pairs" in words
    assert opened.ask("document.getElementById('pairs-region').hidden")


@needs_bokeh
def test_where_no_pair_has_evidence_the_page_opens_on_the_longest_reach(
    several, written, browser, tmp_path
):
    browser.open(written)
    expected = browser.ask("[state.query.name, state.heads]")
    path = tmp_path / "page.html"
    nothing = make_refits([[NAN, 0.5, 0.5, 0.5], [0.5, 0.5, NAN, 0.5]])
    several.cf.report(path, 0.1, thresholds=STOPS, sample_threshold=0.8, evidence=nothing)
    browser.open(path)
    assert browser.ask("[state.query.name, state.heads]") == expected
    assert {row[0] for row in pair_rows(browser)} == {"doubtful"}


@needs_bokeh
@pytest.mark.parametrize("width", [390, 1300])
def test_the_list_of_pairs_has_room_and_its_names_are_text(browser, tmp_path, width):
    types = [f"type {number}" for number in range(16)] + [HOSTILE[0]]
    ds = amici_xr.testing.simulate_dataset(types, n_cells=500, cell_types=types, unit="µm")
    q = np.where(np.eye(17), NAN, 0.5)
    q[16, 3] = 0.001
    evidence = make_refits(q[:2], types).reindex(query=types)
    evidence = evidence.assign(q_value=(("query", "label"), q)).assign(
        status=(("query", "label"), np.where(np.isnan(q), "absent", "tested"))
    )
    path = tmp_path / "page.html"
    ds.cf.report(path, 0.1, thresholds=[0.1], n_points=50, evidence=evidence)
    browser.open(path, width=width)
    assert pair_rows(browser)[0][1] == f"type 3 → {HOSTILE[0]}"
    assert len(pair_rows(browser)) == 17 * 16
    height = browser.ask("document.getElementById('pairs-region').getBoundingClientRect().height")
    assert 100 < height < 500
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
    assert browser.complaints() == []


@needs_bokeh
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"evidence": make_refits(OF_PAIRS, "ABCE")}, ValueError, "is of other cell types than ds"),
        ({"significance_level": 0}, ValueError, "significance_level=0 must lie strictly"),
    ],
)
def test_evidence_that_does_not_fit_is_refused_before_any_work(
    several, tmp_path, options, error, message
):
    with pytest.raises(error, match=message):
        several.cf.report(tmp_path / "page.html", 0.1, **options)
    assert not (tmp_path / "page.html").exists()
