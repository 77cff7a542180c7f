"""Every figure on paper of 180 mm: text of 7 pt at least, nothing cut off, no text over another."""

import sys
import warnings

import numpy as np
import pytest
from matplotlib import pyplot as plt
from recorded_data import ROOT

import amici_xr

pytest.importorskip("torch")  # the core environment deselects what needs the model
pytestmark = [pytest.mark.needs_model, pytest.mark.once]

FOLDER = ROOT / "benchmarks"
if not FOLDER.is_dir():
    pytest.skip("the benchmarks are not beside the tests", allow_module_level=True)
sys.path.insert(0, str(FOLDER))
try:
    import figures
    from figure_measures import measure
finally:
    sys.path.remove(str(FOLDER))

LARGE = {"40_types"}
CASES = [
    pytest.param(
        setting, name, id=f"{setting}-{name}", marks=[pytest.mark.slow] if setting in LARGE else []
    )
    for setting in figures.SETTINGS
    for name in figures.figures_of(setting)
]


@pytest.fixture(autouse=True)
def matplotlibs_own_font():
    with plt.rc_context({"font.family": ["DejaVu Sans"]}):
        yield
    plt.close("all")


@pytest.mark.parametrize(("setting", "name"), CASES)
def test_a_figure_fits_on_paper(setting, name):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no installed font has")  # of machines without such fonts
        figure = figures.draw(setting, name)
        assert measure(figure).faults == []


ON_GIVEN_AXES = {
    "curve": lambda study, ax: study.receiver.cf.plot_curve(0, figures.DISTANCES, ax=ax),
    "sweep": lambda study, ax: study.receiver.cf.plot_threshold_sweep(heads=0, ax=ax),
    "length_scale": lambda study, ax: study.receiver.cf.plot_length_scale(0.1, heads=0, ax=ax),
    "pairs": lambda study, ax: study.response.cf.plot_pairs(ax=ax),
    "effect_curve": lambda study, ax: study.effects.cf.plot_effect_curve(ax=ax),
    "gene_effects": lambda study, ax: study.effects.cf.plot_gene_effects(20, ax=ax),
}


@pytest.mark.parametrize("layout", [None, "constrained"])
@pytest.mark.parametrize("draw", ON_GIVEN_AXES.values(), ids=ON_GIVEN_AXES)
def test_seventeen_types_fit_on_given_axes_of_a_dark_style(draw, layout):
    with plt.style.context("dark_background"):
        figure, ax = plt.subplots(figsize=(7, 6), layout=layout)
        draw(figures.SETTINGS["17_types"], ax)
        assert measure(figure).faults == []


def test_every_public_figure_is_measured():
    plots = {name for name in dir(amici_xr) if name.startswith("plot_")}
    drawn = "".join(name for draw in figures.FIGURES.values() for name in draw.__code__.co_names)
    assert [name for name in plots if name not in drawn] == []


@pytest.mark.parametrize("angle", [0, 30, 90])
def test_the_measure_sees_text_over_text_and_beyond_the_figure(angle):
    figure = plt.figure(figsize=(4, 3))
    first = figure.text(0.5, 0.5, "first", rotation=angle, ha="center", va="center")
    second = figure.text(0.5, 0.51, "second", rotation=angle, ha="center", va="center")
    assert measure(figure).overlapping == [("first", "second")]
    second.set_position((0.8, 0.8))
    assert measure(figure).faults == []
    second.set_position((1.0, 0.8))
    assert measure(figure).outside == ["second"]
    second.set_visible(False)
    assert measure(figure).faults == []
    assert first.get_rotation() == angle


def test_slanted_texts_side_by_side_do_not_overlap_although_boxes_around_them_do():
    figure = plt.figure(figsize=(4, 3))
    texts = [figure.text(x, 0.5, "a slanted name", rotation=45) for x in (0.3, 0.4)]
    boxes = [text.get_window_extent() for text in texts]
    assert boxes[0].overlaps(boxes[1])
    assert measure(figure).overlapping == []


def test_fonts_are_measured_at_the_width_of_the_paper():
    figure = plt.figure(figsize=(2 * 180 / 25.4, 3))
    figure.text(0.5, 0.5, "text", fontsize=12)
    measures = measure(figure)
    assert measures.smallest_font == pytest.approx(6)
    assert measures.faults == ["6.0 pt at 14.2 inches of width"]
    figure.set_size_inches(3, 3)  # narrower figures are not enlarged
    assert measure(figure).smallest_font == pytest.approx(12)
    assert measure(plt.figure()).smallest_font == np.inf
