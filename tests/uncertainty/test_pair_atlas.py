"""The atlas of all pairs, and its figure."""

import itertools
import pickle

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

import amici_xr

needs_model = pytest.mark.needs_model


@pytest.fixture(scope="module")
def in_file(tmp_path_factory):
    """Every receiver of the demo, in a file: all that follows needs no model."""
    path = tmp_path_factory.mktemp("atlas") / "demo.nc"
    model, adata = amici_xr.demo()
    amici_xr.extract(model, None, adata, unit="µm", progress=False).to_netcdf(path)
    return path


@needs_model
@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_the_planted_interactions_are_the_two_strongest_entries(in_file, threshold):
    planted = {("T_cell", "Macrophage"), ("Tumor", "Fibroblast")}
    with xr.open_dataset(in_file) as ds:
        atlas = ds.cf.atlas(threshold)
    by_reach = atlas.median_length_scale.to_series().dropna().sort_values().index[-2:]
    assert {entry[:2] for entry in by_reach} == planted
    for query, label in planted:
        pair = atlas.sel(query=query, label=label)
        head = pair.strongest_by_reach.item()
        assert head == pair.median_length_scale.idxmax("head").item()
        best = pair.sel(head=head)
        assert best.status.item() == "reachable"
        assert best.ci_lower < best.median_length_scale < best.ci_upper


@needs_model
def test_the_atlas_says_what_the_other_functions_say(in_file):
    with xr.open_dataset(in_file) as ds:
        atlas = amici_xr.atlas(ds, 0.1, statistic="mean", confidence_level=0.9).compute()
        support = amici_xr.support(ds, 0.1)
        interval = amici_xr.bootstrap(ds, 0.1, None, "mean", 0.9)
        contact = amici_xr.curve_summary(ds, 0.0)["mean"]
    assert atlas.median_length_scale.dims == ("query", "label", "head")
    for name in ("median_length_scale", "support", "edge_share", "status", "n_neighbors"):
        xr.testing.assert_identical(atlas[name], support[name])
    for name in ("ci_lower", "ci_upper"):
        xr.testing.assert_identical(atlas[name], interval[name])
    np.testing.assert_allclose(atlas.mean_length_scale, interval.point_estimate, rtol=1e-13)
    np.testing.assert_array_equal(atlas.attention_at_contact, contact)
    assert atlas.mean_length_scale.attrs == {"long_name": "mean length scale", "units": "µm"}
    assert atlas.n_receivers.to_series().to_dict() == {
        "Endothelial": 903, "Fibroblast": 1239, "Macrophage": 747, "T_cell": 1502, "Tumor": 1609
    }  # fmt: skip
    strongest = contact.fillna(-1).idxmax("head").where(contact.notnull().any("head"), -1)
    np.testing.assert_array_equal(atlas.strongest_by_attention, strongest)


@needs_model
def test_the_strongest_head_is_one_that_the_tissue_supports(in_file):
    with xr.open_dataset(in_file) as ds:
        atlas = amici_xr.atlas(ds, 0.1).compute()
    supported = atlas.median_length_scale.where(atlas.status == "reachable")
    for query, label in np.ndindex(5, 5):
        pair = {"query": query, "label": label}
        own = supported[pair]
        expected = int(own.idxmax("head")) if own.notnull().any() else -1
        assert atlas.strongest_by_reach[pair] == expected
    # a longer reach that too few receivers support is not the strongest
    pair = atlas.sel(query="Fibroblast", label="Endothelial")
    assert pair.median_length_scale.max() > 0
    assert pair.strongest_by_reach == -1


def test_one_query_several_thresholds_and_one_head(ds, several):
    atlas = amici_xr.atlas(several, [0.1, 0.5])
    assert atlas.median_length_scale.dims == ("query", "label", "head", "threshold")
    assert atlas.strongest_by_reach.dims == ("query", "label", "threshold")
    assert atlas.attention_at_contact.dims == ("query", "label", "head")
    assert "threshold" not in atlas.attrs
    for threshold in (0.1, 0.5):
        alone = amici_xr.atlas(several, threshold)
        xr.testing.assert_equal(atlas.sel(threshold=threshold, drop=True), alone)
    for query in several["query"].values:
        alone = amici_xr.atlas(amici_xr.select(several, query), 0.1)
        one = atlas.sel(query=query).sel(threshold=0.1, drop=True)
        xr.testing.assert_allclose(one, alone, rtol=1e-12)
    scalar = amici_xr.atlas(ds.isel(head=0), 0.1)
    xr.testing.assert_allclose(
        scalar.median_length_scale, amici_xr.atlas(ds, 0.1).median_length_scale.isel(head=0)
    )
    reaches = scalar.status.isin(["reachable", "beyond_neighborhood"])
    assert (scalar.strongest_by_reach == xr.where(reaches, 0, -1)).all()


def test_an_atlas_is_kept_in_a_file(several):
    atlas = amici_xr.atlas(several, [0.1, 0.5], by_sample=False)
    atlas.to_netcdf("atlas.nc")
    with xr.open_dataset("atlas.nc") as opened:
        xr.testing.assert_identical(opened.load(), atlas)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistic": "mode"}, "statistic='mode' is not known"),
        ({"threshold": [0.1, 0.1]}, r"threshold=\[0.1, 0.1\] names a threshold twice"),
        ({"threshold": []}, r"threshold=\[\] must be a number or a sequence of numbers"),
        ({"threshold": [0.1, 1]}, "threshold=1.0 must lie strictly between 0 and 1"),
    ],
)
def test_bad_arguments_are_named(ds, options, message):
    with pytest.raises(ValueError, match=message):
        amici_xr.atlas(ds, **options)


# The figure


@pytest.fixture
def states():
    """One pair for each state: receiver A's senders, by hand."""
    names = [
        "absent",
        "no_reach",
        "median_zero",
        "too_few_receivers",
        "beyond_neighborhood",
        "reachable",
    ]
    median = [np.nan, 0, 0, 3, 9, 0.5]
    return xr.Dataset(
        {
            "median_length_scale": (
                ("query", "label", "head"),
                np.array([median])[..., np.newaxis],
            ),
            "status": (("query", "label", "head"), np.array([names])[..., np.newaxis]),
            "strongest_by_reach": (("query", "label"), [[-1, -1, -1, -1, 0, 0]]),
            "strongest_by_attention": (("query", "label"), [[-1, 0, 0, 0, 0, 0]]),
        },
        coords={"query": ["A"], "label": names, "head": [0]},
        attrs={"threshold": 0.1},
    )


def pixels(ax):
    """The picture of each pair's cell, without its border."""
    figure = ax.figure
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3]
    cells = []
    for column in range(6):
        (left, low), (right, high) = ax.transData.transform(
            [[column - 0.45, 0.45], [column + 0.45, -0.45]]
        ).astype(int)
        cells.append(picture[low:high, left:right])
    return cells


@pytest.mark.parametrize("dpi", [60, 150, 300])
def test_an_atlas_holds_every_word_at_any_resolution(dpi):
    types = ["Endothelial", "Fibroblast", "Macrophage", "T_cell", "Tumor"]
    ds = amici_xr.testing.simulate_dataset(types, n_cells=300, n_heads=4, cell_types=types)
    found = amici_xr.atlas(ds, 0.1)
    shown = ["absent", "no_reach", "median_zero", "too_few_receivers", "reachable"]  # a row of each
    each = np.broadcast_to(np.array(shown)[:, np.newaxis], found.status.shape)
    status = found.status.copy(data=each.astype(found.status.dtype))
    found = found.assign(status=status, median_length_scale=(status == "reachable") * 22.0)
    figure = amici_xr.plot_atlas(found).figure  # the name of its colors takes three lines
    figure.savefig("atlas.png", dpi=dpi)
    width, height = figure.get_size_inches()
    drawn = figure.get_tightbbox()
    assert -0.02 < drawn.x0 < drawn.x1 < width + 0.02
    assert -0.02 < drawn.y0 < drawn.y1 < height + 0.02


def test_every_state_looks_different_from_the_others_and_from_a_short_reach(states):
    ax = amici_xr.plot_atlas(states, max_length_scale=9)
    ax.figure.set_dpi(200)
    cells = pixels(ax)
    looks = [frozenset(map(tuple, cell.reshape(-1, 3).tolist())) for cell in cells]
    assert len(set(looks)) == 6
    share_of_white = [(cell == 255).all(axis=-1).mean() for cell in cells]
    assert share_of_white[0] > 0.5  # absent is white with lines, no reach is not
    assert share_of_white[1] == 0
    dark = [(cell.sum(axis=-1) < 400).mean() for cell in cells]
    assert dark[1] == 0 < dark[2] < dark[3] < 0.2  # a dot is less than a cross
    assert dark[5] > 0.8  # a short reach is dark, no reach is pale


def test_the_legend_names_the_states_that_occur(states):
    figure = amici_xr.plot_atlas(states.isel(label=[1, 3, 5])).figure
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["no reach", "too few receivers"]


def test_colors_and_numbers_are_the_medians(several):
    atlas = amici_xr.atlas(several, 0.1)
    axes = amici_xr.plot_atlas(several, 0.1, heads=[0, 2])
    assert [ax.get_title() for ax in axes] == ["head 0", "head 2"]
    for ax, head in zip(axes, [0, 2], strict=True):
        drawn = ax.images[0].get_array()
        own = atlas.sel(head=head)
        expected = own.median_length_scale.where(own.status == "reachable")
        np.testing.assert_allclose(np.ma.filled(drawn, np.nan), expected)
        texts = expected.copy(data=[[f"{value:.3g}" for value in row] for row in expected.values])
        beyond = "beyond\n" + atlas.neighborhood_edge.to_series().map("{:.3g}".format).to_xarray()
        texts = texts.where(own.status != "beyond_neighborhood", beyond).values.ravel()
        assert [text.get_text() for text in ax.texts] == [text for text in texts if text != "nan"]
        of_rows = ["A", "C", "D"] if head == 0 else []  # once, at the left
        assert [tick.get_text() for tick in ax.get_yticklabels()] == of_rows
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["A", "B", "C", "D"]
    colorbar = axes[0].figure.axes[-1]
    assert colorbar.get_ylabel() == "median length scale (µm)\nat threshold 0.1"


def test_the_strongest_head_is_drawn_where_there_is_one(several):
    atlas = amici_xr.atlas(several, 0.1)
    ax = amici_xr.plot_atlas(atlas)
    drawn = np.ma.filled(ax.images[0].get_array(), np.nan)
    has_reach = atlas.strongest_by_reach >= 0
    strongest = atlas.sel(head=atlas.strongest_by_reach.where(has_reach, 0))
    is_reachable = has_reach & (strongest.status == "reachable")
    np.testing.assert_array_equal(np.isfinite(drawn), is_reachable)
    expected = strongest.median_length_scale
    np.testing.assert_allclose(drawn[is_reachable], expected.values[is_reachable])
    heads = [int(text.get_text().split("head ")[1]) for text in ax.texts]
    assert heads == atlas.strongest_by_reach.values[has_reach].tolist()


def test_25_types_are_readable():
    """No two names overlap, none is cut off, each cell is wider than its mark."""
    types = [f"cell type {number}" for number in range(25)]
    ds = amici_xr.testing.simulate_dataset(types, n_cells=1000, cell_types=types)
    ax = amici_xr.plot_atlas(ds, 0.1)
    ax.figure.canvas.draw()
    for axis, side in ((ax.xaxis, "x"), (ax.yaxis, "y")):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        assert len(boxes) == 25
        lows = sorted((getattr(box, f"{side}0"), getattr(box, f"{side}1")) for box in boxes)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(lows))
        assert all(ax.figure.bbox.contains(box.x0, box.y0) for box in boxes)
    assert all(label.get_fontsize() >= 8 for label in ax.get_xticklabels())
    assert {text.get_text() for text in ax.texts} == {"0", "1"}  # no room but for the head's number


def test_axes_of_ones_own_are_drawn_on(several):
    figure, own = plt.subplots(1, 2)
    drawn = amici_xr.plot_atlas(several, heads=[0, 1], ax=own)
    assert drawn.tolist() == own.tolist()
    assert plt.get_fignums() == [figure.number]
    before = mpl.rcParams.copy()
    amici_xr.plot_atlas(several)
    assert mpl.rcParams == before


def test_three_panels_leave_no_empty_axes(several):
    drawn = amici_xr.plot_atlas(several, heads=[0, 1, 2])
    with_images = [ax for ax in drawn[0].figure.axes if ax.images]
    assert with_images == drawn.tolist()
    assert len(drawn[0].figure.axes) == 3 + 1  # and the colors' own


def test_one_query_is_one_row(ds):
    ax = amici_xr.plot_atlas(ds, 0.1)
    assert ax.images[0].get_array().shape == (1, 4)
    colorbar = ax.figure.axes[-1]
    ax.figure.canvas.draw()
    label = colorbar.yaxis.label.get_window_extent()
    assert ax.figure.bbox.y0 <= label.y0 < label.y1 <= ax.figure.bbox.y1  # cut off nowhere


def test_part_of_an_atlas_is_drawn_like_the_atlas_of_that_part(several):
    atlas = amici_xr.atlas(several, [0.1, 0.5])
    expected = amici_xr.plot_atlas(several, 0.1, heads=1).images[0].get_array()
    for part in (
        atlas.isel(threshold=0).sel(head=[1]),
        atlas.isel(threshold=0).sel(head=1),
        amici_xr.support(several, 0.1).sel(head=1),
    ):
        ax = amici_xr.plot_atlas(part)
        np.testing.assert_array_equal(ax.images[0].get_array(), expected)
        assert ax.figure.axes[-1].get_ylabel().endswith("at threshold 0.1")
    ax = amici_xr.plot_atlas(several.sel(head=1), 0.1)
    np.testing.assert_array_equal(ax.images[0].get_array(), expected)
    nameless = amici_xr.plot_atlas(atlas.isel(threshold=0, drop=True).drop_attrs())
    assert nameless.figure.axes[-1].get_ylabel() == "median length scale\n(coordinate units)"


def test_a_lazy_atlas_can_be_sent_to_a_worker(several):
    lazy = pickle.loads(pickle.dumps(amici_xr.atlas(several.chunk(neighbor=100), 0.1)))
    xr.testing.assert_allclose(lazy.compute(), amici_xr.atlas(several, 0.1))


def test_each_variable_says_what_it_is_and_only_lengths_have_a_unit(several):
    atlas = amici_xr.atlas(several, 0.1)
    with_unit = {name for name, one in atlas.data_vars.items() if one.attrs.get("units") == "µm"}
    lengths = {"median_length_scale", "mean_length_scale", "ci_lower", "ci_upper"}
    assert with_unit == lengths | {"neighborhood_edge"}
    assert all(one.attrs["long_name"] for one in atlas.data_vars.values())
    assert not any("threshold" in one.attrs for one in atlas.data_vars.values())


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda ds: amici_xr.plot_atlas(ds, heads=[7]), amici_xr.NotFoundError,
         "heads: unknown head 7"),
        (lambda ds: amici_xr.plot_atlas(amici_xr.atlas(ds, [0.1, 0.5])), ValueError,
         r"the atlas has a threshold dim \(0.1, 0.5\); draw one at a time"),
        (lambda ds: amici_xr.plot_atlas(ds, heads=[0, 1], ax=plt.gca()), ValueError,
         "ax has 1 axes for 2 panels; give one for each"),
        (lambda ds: amici_xr.plot_atlas(ds, max_length_scale=0), ValueError,
         "max_length_scale=0 must be a finite number above 0"),
        (lambda ds: amici_xr.plot_atlas(amici_xr.atlas(ds).isel(head=[])), ValueError,
         "the atlas is empty, with sizes .*'head': 0"),
        (lambda ds: amici_xr.plot_atlas(None), TypeError, "must be an xarray.Dataset"),
    ],
)  # fmt: skip
def test_what_can_not_be_drawn_is_named(several, draw, error, message):
    with pytest.raises(error, match=message):
        draw(several)


@pytest.mark.parametrize("unit", ["spatial", "sample"])
def test_the_intervals_of_an_atlas_are_those_of_bootstrap(unit):
    ds = amici_xr.testing.simulate_dataset(["A", "B"], n_cells=300, samples=["l", "m", "r"])
    result = amici_xr.atlas(ds, 0.1, resampling_unit=unit)
    expected = amici_xr.bootstrap(ds, 0.1, None, "median", resampling_unit=unit)
    of_unit = {"spatial": "effective_patches", "sample": "n_samples"}[unit]
    for name in ("ci_lower", "ci_upper", "interval_status", of_unit):
        xr.testing.assert_equal(result[name], expected[name])


def test_an_atlas_refuses_units_that_it_has_no_place_for(ds):
    for unit in ("run", "block"):
        with pytest.raises(ValueError, match=f"resampling_unit='{unit}'"):
            amici_xr.atlas(ds, resampling_unit=unit)
    with pytest.raises(ValueError, match="by_sample=True takes each by itself; choose one"):
        amici_xr.atlas(ds, resampling_unit="sample", by_sample=True)
