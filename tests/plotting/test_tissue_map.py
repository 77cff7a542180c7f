"""Quantities on the tissue, in a figure."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib import pyplot as plt

import amici_xr


def drawn(ax):
    """The points that carry a value: the last collection."""
    return ax.collections[-1]


def colorbar_label(ax):
    return ax.figure.axes[-1].get_ylabel()


def test_length_scales_are_drawn_where_their_cells_lie(ds):
    ax = amici_xr.plot_spatial(ds, head=1, threshold=0.1)
    lengths = amici_xr.length_scale(ds, 0.1).sel(head=1)
    points = drawn(ax)
    table = pd.DataFrame(np.column_stack([points.get_offsets(), points.get_array()]))
    expected = pd.DataFrame(np.column_stack([ds.neighbor_x, ds.neighbor_y, lengths]))
    pd.testing.assert_frame_equal(
        table.sort_values([0, 1], ignore_index=True),
        expected.sort_values([0, 1], ignore_index=True),
    )
    assert (np.diff(points.get_array()) >= 0).all()  # the largest on top
    assert ax.get_aspect() == 1
    assert ax.get_xlabel() == "x (µm)"
    assert ax.get_title() == "neighbors → A, head 1"
    assert colorbar_label(ax) == "length scale at threshold 0.1 (µm)"


@pytest.mark.parametrize("dpi", [60, 150, 300])
@pytest.mark.parametrize("stretch", [0.3, 1, 3, 10])
def test_a_figure_has_the_shape_of_the_tissue_and_holds_every_word(stretch, dpi):
    ds = amici_xr.testing.simulate_dataset()  # without a unit: the name of its colors is long
    stretched = ds.assign_coords(
        {name: stretch * ds[name] for name in ("neighbor_x", "receiver_x")}
    )
    ax = amici_xr.plot_spatial(stretched, head=0)
    figure = ax.figure
    figure.savefig("map.png", dpi=dpi)
    width, height = figure.get_size_inches()
    drawn_box = figure.get_tightbbox()
    assert -0.02 < drawn_box.x0 < drawn_box.x1 < width + 0.02
    assert -0.02 < drawn_box.y0 < drawn_box.y1 < height + 0.02
    assert drawn_box.width > 0.6 * width
    assert drawn_box.height > 0.6 * height


@pytest.mark.parametrize(
    ("quantity", "label"),
    [
        (lambda ds: "position_coefficient", "position coefficient"),
        (lambda ds: ds.amici.curve(distance=2.0), "counterfactual attention"),
        (lambda ds: ds.amici.dummy_attention(), "attention to the dummy"),
    ],
)
def test_any_quantity_of_neighbors_or_receivers_is_drawn(ds, quantity, label):
    values = quantity(ds)
    ax = amici_xr.plot_spatial(ds, values, head=0)
    values = ds[values] if isinstance(values, str) else values
    np.testing.assert_allclose(drawn(ax).get_array(), np.sort(values.sel(head=0)), rtol=1e-7)
    assert colorbar_label(ax) == label


def test_text_has_a_color_for_each_value_and_a_legend(ds):
    ax = amici_xr.plot_spatial(ds, "label")
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["B", "C", "D"]
    assert len(np.unique(drawn(ax).get_facecolors(), axis=0)) == 3
    own = ds.assign_coords(niche=("neighbor", np.where(ds.neighbor_x > 10, "east", "west")))
    ax = amici_xr.plot_spatial(own, "niche")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["east", "west"]


def test_missing_values_and_the_other_cells_are_gray(ds):
    values = ds.position_coefficient.sel(head=0).where(ds.label != "B")
    ax = amici_xr.plot_spatial(ds, values)
    others, missing, known = ax.collections
    assert len(others.get_offsets()) == ds.sizes["receiver"]
    assert len(missing.get_offsets()) == (ds.label == "B").sum()
    assert len(known.get_offsets()) == (ds.label != "B").sum()


def test_labels_and_samples_are_selected():
    ds = amici_xr.testing.simulate_dataset(n_cells=300, samples=["left", "right"])
    ax = amici_xr.plot_spatial(ds, head=0, sample="left", labels=["B", "D"])
    wanted = ds.label.isin(["B", "D"]) & (ds.neighbor_sample == "left")
    assert len(drawn(ax).get_offsets()) == wanted.sum()
    assert len(ax.collections[0].get_offsets()) == (ds.receiver_sample == "left").sum()


def test_given_axes_and_limits_are_used(ds):
    _, ax = plt.subplots()
    assert amici_xr.plot_spatial(ds, head=0, ax=ax, limits=(0, 7), cmap="magma") is ax
    assert drawn(ax).get_clim() == (0, 7)
    assert drawn(ax).get_cmap().name == "magma"


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda ds: amici_xr.plot_spatial(ds), ValueError,
         "quantity has the heads 0, 1; name one, e.g. head=0"),
        (lambda ds: amici_xr.plot_spatial(ds, head=5), amici_xr.NotFoundError,
         "head: unknown head 5"),
        (lambda ds: amici_xr.plot_spatial(ds, "reach"), amici_xr.NotFoundError,
         "quantity='reach' is not known; known: 'length_scale', 'base_attention_score'"),
        (lambda ds: amici_xr.plot_spatial(ds, ds.amici.curve([0, 1]), head=0), ValueError,
         "quantity has dims .*'distance'.*; pick one along 'distance'"),
        (lambda ds: amici_xr.plot_spatial(ds, ds.neighborhood_distance[0]), ValueError,
         "a map needs one value for each neighbor or receiver"),
        (lambda ds: amici_xr.plot_spatial(ds, xr.DataArray([1.0], dims="neighbor")), ValueError,
         "quantity has no coordinate neighbor"),
        (lambda ds: amici_xr.plot_spatial(ds.drop_vars("neighbor_x"), head=0),
         amici_xr.SchemaError, "this Dataset has no neighbor_x"),
        (lambda ds: amici_xr.plot_spatial(ds, head=0, labels="Z"), amici_xr.NotFoundError,
         "labels: unknown label 'Z'"),
        (lambda ds: amici_xr.plot_spatial(ds, head=0, sample="left"), amici_xr.SchemaError,
         "this Dataset has no samples"),
        (lambda ds: amici_xr.plot_spatial(ds, ds.position_coefficient.sel(head=0), head=1),
         amici_xr.NotFoundError, "head: unknown head 1; known: 0"),
        (lambda ds: amici_xr.plot_spatial(ds, ds.neighbor_x.values), TypeError,
         "quantity must be a name or a DataArray, not ndarray"),
        (lambda ds: amici_xr.plot_spatial(ds, head=0, limits=(5, 1)), ValueError,
         r"limits=\(5, 1\) must be the values of the two ends of the colors, the lower first"),
        (lambda ds: amici_xr.plot_spatial(ds, head=0, limits=3), ValueError, "limits=3 must be"),
        (lambda ds: amici_xr.plot_spatial(ds, head=0, point_size=0), ValueError,
         "point_size=0 must be a finite number above 0"),
        (lambda ds: amici_xr.plot_spatial(
            ds[[*ds.data_vars]].drop_vars(["receiver_label", "neighborhood_index",
            "neighborhood_distance", "neighborhood_label"]), ds.receiver_x, labels="A"),
         amici_xr.SchemaError, "this Dataset has no receiver_label, so labels='A'"),
    ],
)  # fmt: skip
def test_what_can_not_be_drawn_is_named(ds, draw, error, message):
    with pytest.raises(error, match=message):
        draw(ds)


def test_without_neighbors_and_receivers_an_empty_map_is_drawn(ds):
    without = ds.isel(neighbor=[]).drop_dims("receiver")
    ax = amici_xr.plot_spatial(without, head=0, sample_threshold=None)
    assert drawn(ax).get_offsets().size == 0


def test_long_labels_beside_the_map_leave_it_whole():
    types = [f"a rather long cell type number {number}" for number in range(24)]
    ds = amici_xr.testing.simulate_dataset(types[0], n_cells=600, cell_types=types, n_neighbors=30)
    ax = amici_xr.plot_spatial(ds, "label")
    ax.figure.canvas.draw()
    whole = ax.figure.bbox
    for drawn_box in (ax.figure.legends[0].get_window_extent(), ax.title.get_window_extent()):
        assert whole.x0 <= drawn_box.x0 < drawn_box.x1 <= whole.x1
    assert ax.get_window_extent().height > 0.45 * whole.height


def test_several_samples_ask_for_one():
    ds = amici_xr.testing.simulate_dataset(samples=["left", "right"])
    with pytest.raises(ValueError, match="ds holds the samples 'left', 'right'"):
        amici_xr.plot_spatial(ds, head=0)
