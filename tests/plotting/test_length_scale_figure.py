"""Length scales at the ends of what numbers can hold, in figures and on the page."""

from pathlib import Path

import numpy as np
import pytest

import amici_xr


def dataset(position, **constants):
    scores = [[0.0]] * len(position)
    return amici_xr.from_arrays(scores, position, ["A"] * len(position), query="B", **constants)


@pytest.mark.parametrize("kind", ["violin", "density"])
def test_values_whose_variance_is_zero_as_a_number_are_drawn_by_their_median(kind):
    ds = dataset([[1.0], [1.0], [1.0 + 2**-20]], dummy_attention_score=-1e-180)
    lengths = amici_xr.length_scale(ds, sample_threshold=None).values
    assert 0 < np.ptp(lengths) < 1e-180
    axes = amici_xr.plot_length_scale(ds, sample_threshold=None, kind=kind)
    assert len(np.ravel(axes)[0].collections) == 1


def test_the_page_takes_length_scales_beyond_the_largest_number_of_32_bits():
    pytest.importorskip("bokeh")  # an extra
    ds = dataset([[1e-37], [2e-37]], dummy_attention_score=-10.0, distance_kernel_unit_scale=1e3)
    assert float(amici_xr.length_scale(ds, sample_threshold=None).max()) > 3.5e38
    amici_xr.report(ds, "page.html", progress=False)
    assert Path("page.html").stat().st_size > 100_000
