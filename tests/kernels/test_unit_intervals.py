"""Student's interval over whole units, against SciPy."""

import numpy as np
import pytest
from scipy import stats

from amici_xr.kernels.student_t import interval_of_units


@pytest.mark.parametrize("n", [3, 5, 20])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_is_that_of_scipy(n, level):
    units = np.random.default_rng(n).gamma(2.0, size=n)
    low, high = stats.t.interval(level, n - 1, units.mean(), stats.sem(units))
    np.testing.assert_allclose(interval_of_units(units, level), [units.mean(), low, high, n])


def test_missing_units_are_left_out_and_below_three_there_is_no_interval():
    units = np.random.default_rng(0).normal(size=(2, 4, 5))
    for row in range(4):
        units[:, row, row + 1 :] = np.nan
    result = interval_of_units(units)
    np.testing.assert_array_equal(result[..., 3], [[1, 2, 3, 4]] * 2)
    np.testing.assert_allclose(result[..., 0], np.nanmean(units, axis=-1))
    assert np.isnan(result[:, :2, 1:3]).all()
    np.testing.assert_array_equal(result[1, 3], interval_of_units(units[1, 3, :4]))


def test_no_unit_at_all_gives_nan_and_a_count_of_zero():
    np.testing.assert_array_equal(interval_of_units(np.full(3, np.nan)), [np.nan] * 3 + [0])
    np.testing.assert_array_equal(interval_of_units(np.zeros(0)), [np.nan] * 3 + [0])


def test_normal_units_are_covered_as_often_as_the_level_says():
    units = np.random.default_rng(1).normal(size=(20_000, 3))
    _, lower, upper, _ = interval_of_units(units).T
    assert np.mean((lower <= 0) & (upper >= 0)) == pytest.approx(0.95, abs=0.006)
