"""What tests and doctests share: a folder of their own, no figures left open."""

import importlib.util
import os

import matplotlib as mpl
import pytest
from hypothesis import HealthCheck, settings

HAS_TORCH = importlib.util.find_spec("torch") is not None
DOCTESTS_THAT_NEED_MODEL = (
    "amici_xr.annotation",
    "amici_xr.saved_model",
    "amici_xr.checkpoint",
    "amici_xr.extraction",
    "amici_xr.demo_data",
)
collect_ignore = [] if HAS_TORCH else ["amici_xr/network.py", "amici_xr/scoring.py"]
if importlib.util.find_spec("bokeh") is None:  # an extra, without which its example can't run
    collect_ignore.append("amici_xr/page.py")

# Without a deadline, and the same examples each time but in the long run: a test fails for what it
# tests alone. HYPOTHESIS_PROFILE names another number of examples.
for _name, _examples in {"default": 15, "ci": 300, "long": 5_000}.items():
    settings.register_profile(
        f"amici_xr_{_name}",
        max_examples=_examples,
        derandomize=_name != "long",
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def pytest_configure():
    mpl.use("agg")
    settings.load_profile(f"amici_xr_{os.environ.get('HYPOTHESIS_PROFILE', 'default')}")


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
