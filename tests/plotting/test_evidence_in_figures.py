"""Evidence in the figure of the atlas: pairs without it recede, whatever their reach."""

import itertools

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from responses import simulate_response

import amici_xr
from amici_xr.dataset.kinds import KIND

SENDERS = ["B", "C", "D", "E"]
PAIR = ("query", "label")
NAN = np.nan


def atlas_of(lengths, status, edge=62.0):
    """An atlas of one receiver and one head by hand."""
    dims = (*PAIR, "head")
    return xr.Dataset(
        {
            "median_length_scale": (dims, np.reshape(lengths, (1, -1, 1)).astype(float)),
            "status": (dims, np.reshape(status, (1, -1, 1))),
            "neighborhood_edge": (("query",), [edge], {"units": "µm"}),
        },
        coords={"query": ["A"], "label": SENDERS, "head": [0]},
        attrs={"threshold": 0.5},
    )


def refits(q):
    status = np.where(np.isnan(q), "too_few_receivers", "tested")
    return xr.Dataset(
        {"q_value": (PAIR, [q]), "status": (PAIR, [status])},
        coords={"query": ["A"], "label": SENDERS},
        attrs={KIND: "sender_refits"},
    )


@pytest.fixture
def reachable():
    """The same reach three times: supported, not supported, not tested; and evidence alone."""
    return atlas_of([20, 20, 20, 0], ["reachable"] * 3 + ["no_reach"])


Q = [0.001, 0.2, NAN, 0.01]


def cells(ax):
    """The picture of each pair's cell in one row, without its border."""
    ax.figure.set_dpi(200)
    ax.figure.canvas.draw()
    picture = np.asarray(ax.figure.canvas.buffer_rgba())[::-1, :, :3] / 255
    corners = [ax.transData.transform([[c - 0.4, 0.4], [c + 0.4, -0.4]]) for c in range(4)]
    boxes = [corner.astype(int) for corner in corners]
    return [picture[low:high, left:right] for (left, low), (right, high) in boxes]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_reach_without_evidence_is_pale_and_hatched_and_one_with_evidence_keeps_its_color(
    reachable,
):
    ax = amici_xr.plot_atlas(reachable, evidence=refits(Q))
    color = np.array(to_rgb(ax.images[0].to_rgba(20.0)))
    supported, not_supported, not_tested, _ = (cell.reshape(-1, 3) for cell in cells(ax))
    is_colored = [np.abs(cell - color).max(axis=1).mean() for cell in (supported, not_supported)]
    assert (np.abs(supported - color).max(axis=1) < 0.02).mean() > 0.5
    assert is_colored[0] < is_colored[1]
    for pale in (not_supported, not_tested):
        assert np.median(pale.min(axis=1)) > 0.7
        assert len(np.unique(pale.round(2), axis=0)) > 3  # lines or dots, not one color
    assert not np.allclose(np.sort(not_supported, axis=0), np.sort(not_tested, axis=0))


def test_a_pair_with_evidence_is_framed_also_where_the_model_has_no_reach(reachable):
    ax = amici_xr.plot_atlas(reachable, evidence=refits(Q))
    frames = [patch for patch in ax.patches if patch.get_facecolor()[3] == 0]
    assert sorted(round(patch.get_x() + 0.44) for patch in frames) == [0, 3]


def test_a_reach_beyond_the_neighborhoods_has_no_color_and_names_their_end():
    atlas = atlas_of(
        [308, 20, 9, 400], ["beyond_neighborhood", "reachable", "reachable", "beyond_neighborhood"]
    )
    ax = amici_xr.plot_atlas(atlas, evidence=refits([0.001, 0.001, 0.2, 0.2]))
    image = ax.images[0]
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), NAN), [[NAN, 20, 9, NAN]])
    assert image.get_clim() == (0, 20)  # 308 changes no color
    words = [text.get_text() for text in ax.texts]
    assert words == ["beyond\n62", "20", "9", "beyond\n62"]
    beyond, farthest, *_ = (np.median(cell.reshape(-1, 3), axis=0) for cell in cells(ax))
    assert np.ptp(beyond) < 0.02  # gray
    assert np.ptp(farthest) > 0.3
    assert "beyond the neighborhoods (62 µm)" in legend(ax.figure)
    nowhere = amici_xr.plot_atlas(atlas.drop_vars("neighborhood_edge"))
    assert nowhere.texts[0].get_text() == "beyond"
    assert "beyond the neighborhoods" in legend(nowhere.figure)


def test_the_title_says_which_evidence_there_is_or_how_to_get_it(reachable):
    bare = amici_xr.plot_atlas(reachable).figure
    assert bare.get_suptitle() == "no evidence given: distance_response(adata, …) tests pairs"
    drawn = amici_xr.plot_atlas(reachable, evidence=refits(Q), significance_level=0.01)
    assert drawn.figure.get_suptitle() == "evidence (q < 0.01): refits"
    width = drawn.figure.bbox.width
    for figure in (bare, drawn.figure):
        box = figure.get_tightbbox()
        assert box.x0 > -0.02
        assert box.x1 * figure.dpi < width + 2
    figure, ax = plt.subplots()
    amici_xr.plot_atlas(reachable, ax=ax)
    assert ax.get_title().splitlines() == ["head 0", bare.get_suptitle()]
    assert not figure.get_suptitle()


def test_a_type_of_fewer_than_ten_cells_tells_how_many_there_are():
    types = ["A", "B", "C", "D"]
    ds = amici_xr.testing.simulate_dataset(types, cell_types=types, n_cells=300)
    rare = np.flatnonzero(ds.label == "D")[7:]
    few = ds.drop_isel(neighbor=rare)
    ax = few.cf.plot_atlas(0.1)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["A", "B", "C", "D (n = 7)"]
    assert [text.get_text() for text in ax.get_yticklabels()] == types
    bare = few.cf.atlas(0.1)[["median_length_scale", "status"]]  # without the numbers
    names = [text.get_text() for text in amici_xr.plot_atlas(bare).get_xticklabels()]
    assert names == types


def test_the_legend_says_what_is_what(reachable):
    figure = amici_xr.plot_atlas(reachable, evidence=refits(Q)).figure
    assert legend(figure) == ["no reach", "evidence", "reach without evidence", "reach, not tested"]
    assert legend(amici_xr.plot_atlas(reachable).figure) == ["no reach"]
    nothing = amici_xr.plot_atlas(reachable, evidence=refits([0.5] * 4)).figure
    assert legend(nothing) == ["no reach", "reach without evidence"]


def test_an_atlas_that_holds_evidence_is_drawn_with_it(several):
    q = np.where(np.eye(4), NAN, 0.2)
    q[0, 1] = q[2, 3] = 0.001
    names = ["A", "B", "C", "D"]
    refitted = xr.Dataset(
        {"q_value": (PAIR, q), "status": (PAIR, np.where(np.isnan(q), "absent", "tested"))},
        coords={"query": names, "label": names},
        attrs={KIND: "sender_refits"},
    )
    atlas = amici_xr.atlas(several, 0.1, evidence=refitted)
    pictures = []
    for ax in (
        amici_xr.plot_atlas(atlas),
        amici_xr.plot_atlas(several, 0.1, evidence=refitted),
        amici_xr.plot_atlas(amici_xr.atlas(several, 0.1), evidence=refitted),
        amici_xr.plot_atlas(
            atlas.assign(evidence=atlas.evidence.copy(data=atlas.evidence.values[::-1])),
            evidence=refitted,
        ),
    ):
        ax.figure.canvas.draw()
        pictures.append(np.asarray(ax.figure.canvas.buffer_rgba()))
    for picture in pictures[1:]:
        np.testing.assert_array_equal(picture, pictures[0])
    bare = amici_xr.plot_atlas(several, 0.1).figure
    assert bare.get_suptitle().startswith("no evidence given")


def test_a_star_marks_what_only_the_tissue_supports_and_spillover_could_explain():
    response = simulate_response(4)
    is_tested = response.status == "tested"
    response["q_value"] = response.q_value.where(~is_tested, 0.001)
    strict = xr.full_like(response.q_value, 0.9).where(is_tested)
    strict[{"query": 0, "label": 1}] = 0.01  # spillover can't explain this pair
    response["q_value_strict"] = strict
    types = response["query"].values.tolist()
    ds = amici_xr.testing.simulate_dataset(types, n_cells=200, cell_types=types)
    ax = amici_xr.plot_atlas(ds, 0.1, evidence=response)
    stars = {(round(x - 0.34), round(y + 0.34)) for line in ax.lines
             if line.get_marker() == "*" for x, y in [line.get_xydata()[0]]}  # fmt: skip
    expected = {(c, r) for r, c in np.argwhere(is_tested.values)} - {(1, 0)}
    assert stars == expected
    assert "may be spillover" in legend(ax.figure)
    refitted = xr.Dataset(
        {"q_value": is_tested.where(is_tested) * 0.001, "status": response.status},
        attrs={KIND: "sender_refits"},
    )
    both = amici_xr.plot_atlas(ds, 0.1, evidence=[response, refitted])
    assert "may be spillover" not in legend(both.figure)


def test_17_types_with_evidence_are_readable():
    """No two names overlap, numbers stand in pairs with evidence alone, nothing is cut off."""
    response = simulate_response(17)
    types = response["query"].values.tolist()
    ds = amici_xr.testing.simulate_dataset(types, n_cells=600, n_heads=6, cell_types=types)
    atlas = amici_xr.atlas(ds, 0.1, evidence=response)
    ax = amici_xr.plot_atlas(atlas)
    figure = ax.figure
    figure.canvas.draw()
    for axis, side in ((ax.xaxis, "x"), (ax.yaxis, "y")):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        ends = sorted((getattr(box, f"{side}0"), getattr(box, f"{side}1")) for box in boxes)
        assert len(ends) == 17
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))
    numbered = {(int(text.get_position()[1]), int(text.get_position()[0])) for text in ax.texts}
    supported = {tuple(pair) for pair in np.argwhere(atlas.evidence.values == "supported")}
    assert numbered
    assert numbered <= supported
    inches = figure.get_size_inches()[0]
    shown = [*ax.texts, *ax.get_xticklabels(), *figure.legends[0].get_texts()]
    assert all(text.get_fontsize() * min(1, 180 / 25.4 / inches) >= 7 for text in shown)
    box, size = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 > -0.02
    assert box.y0 > -0.02
    assert box.x1 < size[0] + 0.02
    assert box.y1 < size[1] + 0.02


def test_evidence_of_other_types_is_refused(reachable):
    other = refits(Q).assign_coords(label=["B", "C", "D", "F"])
    with pytest.raises(
        ValueError, match=r"'refits' is of other cell types than ds: it holds .*'F'"
    ):
        amici_xr.plot_atlas(reachable, evidence=other)


def test_a_level_out_of_range_is_refused_of_an_atlas_too(reachable):
    with pytest.raises(ValueError, match="significance_level=0 must lie strictly between"):
        amici_xr.plot_atlas(reachable, evidence=refits(Q), significance_level=0)
