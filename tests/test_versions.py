"""`show_versions` tells what is installed, and what is not."""

import importlib.metadata
import io
import platform
import re

import numpy as np
import pytest

import amici_xr


@pytest.fixture
def shown():
    file = io.StringIO()
    assert amici_xr.show_versions(file) is None
    return dict(line.split(maxsplit=1) for line in file.getvalue().splitlines())


def test_the_versions_are_those_of_what_is_imported(shown):
    assert shown["amici_xr:"] == amici_xr.__version__
    assert shown["python:"] == platform.python_version()
    assert shown["numpy:"] == np.__version__


def test_every_dependency_is_listed_and_none_that_only_developers_need(shown):
    needed = {
        "numpy",
        "scipy",
        "xarray",
        "pandas",
        "dask",
        "matplotlib",
        "h5netcdf",
        "torch",
        "anndata",
        "zarr",
        "amici-st",
    }
    assert needed <= {name.removesuffix(":") for name in shown}
    assert not {"pytest:", "ruff:", "sphinx:", "amici-xr:"} & set(shown)


def test_what_is_absent_says_so_and_only_that(shown):
    def folded(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    there = {folded(one.metadata["Name"]) for one in importlib.metadata.distributions()}
    for name, version in shown.items():
        if name not in ("python:", "platform:", "machine:"):
            assert (version == "not installed") == (folded(name[:-1]) not in there), name


def test_it_prints_to_the_screen_where_no_file_is_given(shown, capsys):
    amici_xr.show_versions()
    printed = capsys.readouterr().out
    assert dict(line.split(maxsplit=1) for line in printed.splitlines()) == shown
