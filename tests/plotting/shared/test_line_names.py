"""Names of lines beside them: apart, in the order of the lines, and as near as can be."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from scipy.optimize import LinearConstraint, minimize

from amici_xr.plotting.shared.line_names import name_lines, spread


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_places_are_moved_apart_as_little_as_possible(places):
    places, gap = np.array(places), 0.1
    moved = spread(places, gap)
    order = np.argsort(places, kind="stable")
    assert (np.diff(moved[order]) >= gap - 1e-12).all()
    assert (moved >= 0).all()
    assert (moved <= 1 + 1e-12).all()
    apart = np.diff(np.eye(places.size), axis=0)
    best = minimize(
        lambda x: ((x - places[order]) ** 2).sum(),
        np.linspace(0, 1, places.size),
        jac=lambda x: 2 * (x - places[order]),
        bounds=[(0, 1)] * places.size,
        constraints=[LinearConstraint(apart, gap, np.inf)] if places.size > 1 else [],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 300},
    )
    np.testing.assert_allclose(moved[order], best.x, atol=1e-4)


@pytest.fixture
def axes():
    figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    yield ax
    plt.close(figure)


def test_names_do_not_overlap_and_stand_in_the_order_of_the_lines(axes):
    heights = {f"type {number}": 0.5 + 0.001 * number for number in range(17)}
    axes.set_ylim(0, 1)
    assert name_lines(axes, heights, dict.fromkeys(heights, "C0"))
    axes.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == list(heights)
    for lower, upper in pairwise(boxes):
        assert lower.y1 <= upper.y0 + 0.5  # half a dot
        assert lower.x1 < axes.get_window_extent().x0


def test_without_room_nothing_is_changed(axes):
    heights = {f"type {number}": 0.5 for number in range(60)}
    assert not name_lines(axes, heights, dict.fromkeys(heights, "C0"))
    assert not axes.texts
    assert axes.yaxis.get_label_position() == "left"


def test_dollar_signs_and_long_names_are_written_as_they_are(axes):
    assert name_lines(axes, {"a$b$": 0.1, "x" * 80: 0.9}, {"a$b$": "C0", "x" * 80: "C1"})
    dollar, long = axes.texts
    assert dollar.get_text() == r"a\$b\$"
    assert len(long.get_text()) == 34


def test_names_at_the_right_end_leave_the_axis_of_y_where_it_is(axes):
    assert name_lines(axes, {"low": 0.2, "high": 0.8}, {"low": "C0", "high": "C1"}, "right")
    axes.figure.draw_without_rendering()
    low, high = (text.get_window_extent() for text in axes.texts)
    assert axes.get_window_extent().x1 < low.x0
    assert low.y1 < high.y0
    assert axes.yaxis.get_label_position() == "left"


def test_a_line_that_leaves_the_axes_is_named_at_their_edge(axes):
    axes.set_ylim(0, 1)
    assert name_lines(axes, {"far above": 40.0}, {"far above": "C0"})
    axes.figure.draw_without_rendering()
    (name,) = axes.texts
    assert name.get_window_extent().y1 <= axes.figure.bbox.y1
