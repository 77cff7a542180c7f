"""The recorded outputs of the original, and Datasets to try things on."""

import json
from types import SimpleNamespace

import pytest
from headless_browser import browser  # noqa: F401  # a fixture
from recorded_data import data_folder

import amici_xr
from amici_xr.cli import main

RECEIVERS = [("synthetic", 0), ("synthetic", 1), ("merfish", 0), ("merfish", 1)]


def pytest_collection_modifyitems(items):
    """Leave ZIPs of Zarr stores to `make test-all`: the same code writes and reads a store."""
    for item in items:
        if ".zarr.zip" in item.name:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", params=RECEIVERS, ids=lambda param: f"{param[0]}-{param[1]}")
def recorded(request):
    """One receiver of one data set: paths, query, and the original's table as a Dataset."""
    name, number = request.param
    folder = data_folder() / name
    settings = json.loads((folder / "recorded" / "settings.json").read_text())
    prefix = f"{folder}/recorded/receiver_{number}"
    return SimpleNamespace(
        name=name,
        model=folder / "model",
        tissue=folder / "adata.h5ad",
        prefix=prefix,
        query=settings["receivers"][number],
        curve_head=settings["curve_head"],
        table=amici_xr.read_csv(f"{prefix}.scores.csv.gz"),
    )


@pytest.fixture(scope="session")
def recorded_with_neighborhoods(recorded):
    """The recorded scores in the extracted Dataset, so that the correction can be checked alone."""
    ds = amici_xr.extract(recorded.model, recorded.query, recorded.tissue, progress=False)
    scores = {
        name: recorded.table[name] for name in ("base_attention_score", "position_coefficient")
    }
    return ds, ds.assign(scores)


@pytest.fixture
def ds():
    """One query, with neighborhoods."""
    return amici_xr.testing.simulate_dataset(unit="µm")


@pytest.fixture
def several():
    """Three queries of four types."""
    return amici_xr.testing.simulate_dataset(["A", "C", "D"], n_heads=3, unit="µm")


@pytest.fixture(scope="session")
def demo():
    """The packaged model and tissue."""
    return amici_xr.demo()


@pytest.fixture(scope="session")
def effects_of_demo():
    """The effects of the three packaged models on their tissue, all receivers."""
    pytest.importorskip("anndata")  # the core environment has none
    return [
        amici_xr.extract(model, adata=adata, effects=True, progress=False)
        for model, adata in map(amici_xr.demo, range(3))
    ]


@pytest.fixture(scope="session")
def response_of_demo(demo):
    """What the tissue of the demo alone says."""
    return amici_xr.distance_response(demo[1], "cell_type", progress=False)


@pytest.fixture
def call(capsys):
    """Run the command line in this process: its status, what it prints and what it reports."""

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main.main([str(word) for word in words])
        printed = capsys.readouterr()
        return SimpleNamespace(status=ended.value.code, out=printed.out, err=printed.err)

    return run


@pytest.fixture
def done(call):
    """Run the command line, which must end well."""

    def run(*words):
        result = call(*words)
        assert result.status == 0, result.err
        return result

    return run
