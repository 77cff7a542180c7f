"""What tests and doctests share: a folder of their own, no figures left open."""

import importlib.util

import matplotlib as mpl
import pytest

HAS_TORCH = importlib.util.find_spec("torch") is not None
DOCTESTS_THAT_NEED_MODEL = (
    "amici_xr.annotation",
    "amici_xr.saved_model",
    "amici_xr.checkpoint",
    "amici_xr.extraction",
    "amici_xr.demo_data",
)
collect_ignore = [] if HAS_TORCH else ["amici_xr/network.py", "amici_xr/scoring.py"]


def pytest_configure():
    mpl.use("agg")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.name.startswith(DOCTESTS_THAT_NEED_MODEL):
            item.add_marker(pytest.mark.needs_model)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Doctests may write files, and no figure outlives its test."""
    monkeypatch.chdir(tmp_path)
    yield
    from matplotlib import pyplot as plt

    plt.close("all")
