"""Distances that say their unit: converted where it is another one, or refused."""

import inspect
import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from labelled_arguments import DISTANCES

import amici_xr
from amici_xr.testing import simulate_dataset

PER_MICRON = {  # how many of each unit a micron is
    "nm": 1e3,
    "nanometers": 1e3,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "mm": 1e-3,
    "millimetre": 1e-3,
    "cm": 1e-4,
    "m": 1e-6,
    "meters": 1e-6,
}


def labelled(values, unit):
    return xr.DataArray(np.asarray(values), dims="distance", attrs={"units": unit})


ASK = {
    "curve": lambda ds, distance: amici_xr.curve(ds, distance),
    "curve_summary": lambda ds, distance: amici_xr.curve_summary(ds, distance),
    "by_sample": lambda ds, distance: amici_xr.curve_summary(ds, distance, by_sample=True),
    "bins": lambda ds, bins: amici_xr.attention_by_distance(ds, bins),
    "bins by_sample": lambda ds, bins: amici_xr.attention_by_distance(ds, bins, by_sample=True),
}


@pytest.mark.parametrize("name", ASK)
@pytest.mark.parametrize("unit", PER_MICRON)
@pytest.mark.parametrize("own", ["µm", "mm", "nm"])
def test_a_known_unit_is_converted_to_that_of_the_dataset(name, unit, own):
    ds = simulate_dataset(n_cells=80, samples=["a", "b"], unit=own)
    numbers = np.array([0.0, 1.0, 2.5])
    given = labelled(numbers * PER_MICRON[unit] / PER_MICRON[own], unit)
    xr.testing.assert_allclose(ASK[name](ds, given), ASK[name](ds, numbers), rtol=1e-9)


def test_a_number_and_a_column_are_converted_too():
    ds = simulate_dataset(n_cells=80, unit="µm")
    number = xr.DataArray(0.002, attrs={"units": "mm"})
    xr.testing.assert_equal(amici_xr.curve(ds, number), amici_xr.curve(ds, 2.0))
    column = pd.Series([0.0, 0.002])
    column.attrs["units"] = "mm"
    xr.testing.assert_equal(amici_xr.curve(ds, column), amici_xr.curve(ds, [0.0, 2.0]))


def test_a_distance_of_the_dataset_itself_is_taken_as_it_is():
    ds = simulate_dataset(n_cells=80, unit="spots")
    distance = amici_xr.curve_summary(ds, [0, 2]).distance
    assert distance.attrs["units"] == "spots"
    xr.testing.assert_equal(amici_xr.curve(ds, distance), amici_xr.curve(ds, [0, 2]))


@pytest.mark.parametrize("name", ASK)
@pytest.mark.parametrize(
    ("own", "given", "message"),
    [
        ("µm", "px", "is labelled with the unit 'px', while that of the Dataset is 'µm'; give"),
        ("px", "µm", "is labelled with the unit 'µm', while that of the Dataset is 'px'; give"),
        (None, "µm", "is labelled with the unit 'µm', while that of the Dataset is unknown; give"),
    ],
)
def test_units_without_a_known_relation_are_named(name, own, given, message):
    ds = simulate_dataset(n_cells=80, samples=["a", "b"], unit=own)
    with pytest.raises(ValueError, match=message):
        ASK[name](ds, labelled([0.0, 1.0, 2.5], given))


@pytest.mark.parametrize("order", [1, -1])
def test_a_figure_of_curves_converts_its_distances(order):
    ds = simulate_dataset(n_cells=80, unit="µm")
    in_nm = labelled([0.0, 2000.0, 5000.0][::order], "nm")
    drawn = ds.cf.plot_curve(0, in_nm, n_traces=0).lines[0]
    expected = ds.cf.plot_curve(0, [0.0, 2.0, 5.0], n_traces=0).lines[0]
    np.testing.assert_allclose(drawn.get_xdata(), [0.0, 2.0, 5.0])
    np.testing.assert_allclose(drawn.get_ydata(), expected.get_ydata())
    number = xr.DataArray(2000.0, attrs={"units": "nm"})
    assert ds.cf.plot_curve(0, number, n_traces=0).lines[0].get_xdata().tolist() == [2.0]


def test_a_figure_refuses_a_unit_without_a_known_relation():
    pytest.importorskip("bokeh")  # the page's, an extra
    ds = simulate_dataset(n_cells=80, unit="µm")
    for draw in (
        lambda given: ds.cf.plot_curve(0, given),
        lambda given: ds.cf.report("page.html", thresholds=[0.5], distance=given),
    ):
        with pytest.raises(ValueError, match="labelled with the unit 'px', while that of the Dat"):
            draw(labelled([0.0, 1.0], "px"))


def test_the_end_of_an_axis_is_converted_too():
    ds = simulate_dataset(n_cells=80, unit="µm")
    end = xr.DataArray(2000.0, attrs={"units": "nm"})
    assert ds.cf.plot_length_scale(0.1, max_length_scale=end).get_ylim()[1] == pytest.approx(2.0)


# Names of arguments that may be distances, and those among them that are something else.
MAY_BE_DISTANCES = re.compile("distance|scale|reach|radii|radius|bins|limits|spacing|within|length")
ARE_NOT = {
    ("simulate_model", "cell_radius_key"),  # a name
    ("train", "cell_radius_key"),  # likewise
    ("leave_out_senders", "cell_radius_key"),  # likewise
    ("train", "distance_kernel_unit_scale"),  # a plain number alone, in the coordinates' unit
    ("simulate_dataset", "distance_kernel_unit_scale"),  # in the unit that is named beside it
}


def arguments_that_may_be_distances():
    public = {name: getattr(amici_xr, name) for name in amici_xr.__all__}
    public |= {name: getattr(amici_xr.testing, name) for name in amici_xr.testing.__all__}
    for function, call in public.items():
        if inspect.isfunction(call):
            for argument in inspect.signature(call).parameters:
                if MAY_BE_DISTANCES.search(argument) and (function, argument) not in ARE_NOT:
                    yield function, argument


def test_every_public_argument_that_is_a_distance_is_tried():
    assert set(arguments_that_may_be_distances()) <= set(DISTANCES)


@pytest.fixture
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    pytest.importorskip("bokeh")  # the page's, an extra
    pytest.importorskip("anndata")  # a tissue's
    monkeypatch.chdir(tmp_path)


def labelled_as(numbers, unit, factor):
    values = np.asarray(numbers) * factor
    if values.ndim == 1:
        return labelled(values, unit)
    return xr.DataArray(values, attrs={"units": unit})


@pytest.mark.usefixtures("in_a_folder_of_its_own")
@pytest.mark.parametrize("name", DISTANCES, ids="-".join)
def test_every_distance_is_converted_or_refused(name):
    numbers, take = DISTANCES[name]
    plain, other = take(numbers), take((np.asarray(numbers) * 1.5).tolist())
    for unit, factor in {"nm": 1000.0, "mm": 0.001, "µm": 1.0}.items():
        converted = take(labelled_as(numbers, unit, factor))
        if isinstance(plain, str):
            assert converted == plain
        else:
            np.testing.assert_allclose(converted, plain, rtol=1e-7)
    assert not np.array_equal(plain, other)  # so that the argument makes a difference
    with pytest.raises(ValueError, match=f"{name[1]} (is labelled|has its distances in).*'?px'?"):
        take(labelled_as(numbers, "px", 1.0))


def test_ends_of_colors_may_each_have_a_unit():
    ds = simulate_dataset(n_cells=80, unit="µm")
    end = xr.DataArray(2000.0, attrs={"units": "nm"})
    ax = ds.cf.plot_spatial(head=0, threshold=0.1, limits=(None, end))
    assert ax.collections[-1].get_clim()[1] == 2.0


def test_arrays_that_say_their_unit_give_it_to_the_dataset():
    u = xr.DataArray(10.0, attrs={"units": "nm"})
    ds = amici_xr.from_arrays([[2.0]], [[0.5]], ["B"], query="A", distance_kernel_unit_scale=u)
    assert ds.distance_kernel_unit_scale.attrs["units"] == "nm"
    assert ds.distance_kernel_unit_scale == 10.0
