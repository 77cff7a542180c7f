"""What tests and doctests share: a folder of their own, no figures left open, drawn examples."""

import collections
import functools
import importlib.util
import os

import matplotlib as mpl
import pytest
from hypothesis import HealthCheck, settings
from matplotlib import pyplot as plt

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_SCVI = importlib.util.find_spec("scvi") is not None
# Examples that read a model or make a tissue, which takes torch and AnnData.
NEED_MODEL = ("demo(", "load_model(", "simulate_tissue(", "simulate_model(")
NEED_TRAINING = ("amici_xr.train(", "AttentionModel")
DOCTESTS_THAT_NEED_WANDB = ("amici_xr.plotting.wandb_logging",)
HAS_WANDB = importlib.util.find_spec("wandb") is not None
collect_ignore = []
if importlib.util.find_spec("bokeh") is None:  # an extra, without which its example can't run
    collect_ignore.append("amici_xr/plotting/page/document.py")
if importlib.util.find_spec("spatialdata") is None:  # an extra
    collect_ignore.append("amici_xr/tissue/spatial_data.py")
if importlib.util.find_spec("numcodecs") is None:  # the extra zarr
    collect_ignore.append("amici_xr/io/zarr_stores.py")

# Without a deadline, and the same examples each time but in the long run: a test fails for what it
# tests alone. HYPOTHESIS_PROFILE names another number of examples: `make test-all` takes "ci".
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


def pytest_configure(config):
    mpl.use("agg")
    if not (HAS_TORCH and HAS_SCVI):  # modules that import it have no examples there
        config.option.doctest_ignore_import_errors = True
    settings.load_profile(f"amici_xr_{os.environ.get('HYPOTHESIS_PROFILE', 'default')}")


TRIED_BY_FILE = {
    "tests/io/test_file_faults.py": "faults while a file is written",
    "tests/io/test_damaged_files.py": "damaged or foreign files",
    "tests/io/test_files_of_strangers.py": "damaged or foreign files",
    "tests/model/test_hostile_checkpoints.py": "hostile checkpoints",
}


def pytest_collection_modifyitems(items):
    for item in items:
        examples = item.dtest.examples if isinstance(item, pytest.DoctestItem) else ()
        if any(call in example.source for example in examples for call in NEED_MODEL):
            item.add_marker(pytest.mark.needs_model)
        if any(call in example.source for example in examples for call in NEED_TRAINING):
            item.add_marker(pytest.mark.needs_training)
        if item.name.startswith(DOCTESTS_THAT_NEED_WANDB) and not HAS_WANDB:
            item.add_marker(pytest.mark.skip(reason="needs wandb (the extra `wandb`)"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Count the examples of a property that ran to their end."""
    drawn = getattr(getattr(item, "obj", None), "hypothesis", None)
    if drawn is None:
        return (yield)
    body, passed = drawn.inner_test, 0

    @functools.wraps(body)
    def counted(*args, **kwargs):
        nonlocal passed
        body(*args, **kwargs)
        passed += 1

    drawn.inner_test = counted
    try:
        return (yield)
    finally:
        drawn.inner_test = body
        item.user_properties.append(("examples of properties", passed))


def pytest_terminal_summary(terminalreporter):
    """Say what was tried: what tests have noted with record_property, and tests of bad input."""
    reports = [one for key in ("passed", "failed") for one in terminalreporter.stats.get(key, [])]
    tried = collections.Counter()
    for report in (one for one in reports if one.when == "call"):
        tried[TRIED_BY_FILE.get(report.nodeid.partition("::")[0], "")] += 1
        for name, number in report.user_properties:
            tried[name] += number
    for name in sorted(filter(None, tried)):
        terminalreporter.write_line(f"tried: {tried[name]:,} {name}")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Doctests may write files, and no figure outlives its test."""
    monkeypatch.chdir(tmp_path)
    yield
    plt.close("all")
