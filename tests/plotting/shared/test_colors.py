"""Colors of labels: distinct with every kind of color vision, and the same in every figure."""

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgb

import amici_xr
from amici_xr.plotting.shared.colors import DISTINCT_COLORS, label_colors, label_lines

DISTANCE = np.linspace(0, 10, 11)

# What people without one of the three kinds of cones see, of linear RGB: Machado, Oliveira and
# Fernandes (2009), doi:10.1109/TVCG.2009.113, at full severity. The first is normal vision.
VISIONS = np.array(
    [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]],
    ]
)  # fmt: skip
# Oklab, in which the distance of two colors is how different they look: Ottosson (2020),
# https://bottosson.github.io/posts/oklab/.
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def smallest_difference(colors):
    """The Oklab distance of the two most similar colors, to whoever sees the least difference."""
    rgb = np.array([to_rgb(color) for color in colors])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.einsum("vij,cj->vci", VISIONS, linear)
    oklab = np.cbrt(np.clip(seen @ TO_CONES.T, 0, None)) @ TO_OKLAB.T
    distance = np.linalg.norm(oklab[:, :, np.newaxis] - oklab[:, np.newaxis], axis=-1)
    return float(distance[:, *np.triu_indices(len(colors), 1)].min())


@pytest.mark.parametrize(
    ("n", "least"),
    [(2, 0.22), (8, 0.076), (12, 0.076), (16, 0.067), (25, 0.05), (40, 0.04), (102, 0.02)],
)
def test_colors_are_told_apart_with_every_kind_of_vision(n, least):
    assert smallest_difference(DISTINCT_COLORS[:n]) > least


def test_forty_colors_of_a_usual_list_are_not():
    """The measure can fail: two of ``tab20`` are one color to people without red cones."""
    assert smallest_difference([to_hex(color) for color in plt.colormaps["tab20"].colors]) < 0.02


def test_the_first_colors_are_those_of_okabe_and_ito():
    """Their vermilion, blue and so on, as published in RGB from 0 to 255."""
    published = [(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0)]
    published += [(86, 180, 233)]
    assert [tuple(np.array(to_rgb(color)) * 255) for color in DISTINCT_COLORS[:6]] == [
        pytest.approx(color) for color in published
    ]


def test_the_measure_gives_one_for_black_and_white_and_zero_for_equal_colors():
    """Oklab has lightness from 0 to 1, and every vision sees it."""
    assert smallest_difference(["#000000", "#FFFFFF"]) == pytest.approx(1, abs=1e-3)
    assert smallest_difference(["#808080", "#808080"]) == 0


def test_more_types_than_colors_differ_in_color_or_line():
    types = [f"type {number:03d}" for number in range(400)]
    ds = xr.Dataset(coords={"cell_type": types})
    colors, lines = label_colors(ds, types), label_lines(ds, types)
    assert len({(colors[name], lines[name]) for name in types}) == 400


def test_no_two_labels_have_color_and_line_in_common():
    types = [f"type {number:02d}" for number in range(24)]
    ds = amici_xr.testing.simulate_dataset(types[0], cell_types=types, n_cells=900)
    ax = ds.cf.plot_curve(0, DISTANCE, n_traces=0)
    of = {line.get_label(): (line.get_linestyle(), line.get_color()) for line in ax.lines}
    assert len(of) == 23
    assert {style for style, _ in of.values()} == {"-", "--", "-.", ":"}
    for line in ("-", "--", "-.", ":"):
        alike = [color for own, color in of.values() if own == line]
        assert smallest_difference(alike) > 0.05


def test_colors_that_the_tissue_came_with_are_used(ds):
    own = ds.assign_coords(cell_type_color=("cell_type", ["", "#ff0000", "", "teal"]))
    ax = own.cf.plot_curve(0, DISTANCE)
    lines = ax.get_legend().get_lines()
    colors = {line.get_label(): to_hex(line.get_color()) for line in lines}
    assert colors["B"] == "#ff0000"
    assert colors["C"] == DISTINCT_COLORS[2].lower()
    assert colors["D"] == to_hex("teal")
    ax = own.cf.plot_curve(0, DISTANCE, labels=["B"], palette=["k"])
    assert to_hex(ax.lines[-1].get_color()) == "#000000"


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_colors_come_back_from_files(ds, suffix):
    if suffix == ".zarr":
        pytest.importorskip("zarr")  # an extra
    own = ds.assign_coords(cell_type_color=("cell_type", ["", "#ff0000", "", "teal"]))
    amici_xr.save(own, f"own{suffix}")
    back = amici_xr.open_dataset(f"own{suffix}")
    xr.testing.assert_identical(back, own)
    assert back.cf.select(query="A").cell_type_color.values.tolist()[1] == "#ff0000"


def test_colors_that_are_none_are_named(ds):
    own = ds.assign_coords(cell_type_color=("cell_type", ["", "mud", "", ""]))
    with pytest.raises(
        ValueError, match="cell_type_color holds 'mud', which matplotlib does not know"
    ):
        own.cf.plot_curve(0, DISTANCE)


def test_text_on_the_map_takes_a_palette(ds):
    palette = {"B": "red", "C": "lime", "D": "blue"}
    ax = ds.cf.plot_spatial("label", palette=palette)
    assert {to_hex(color) for color in ax.collections[-1].get_facecolors()} == {
        to_hex(color) for color in palette.values()
    }
