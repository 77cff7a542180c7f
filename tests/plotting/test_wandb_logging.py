"""Figures logged to a Weights & Biases run, offline; where wandb is installed."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

import amici_xr

DISTANCE = np.linspace(0, 10, 11)


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """Without a network and an account, everything in the test's own folder."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    wandb = pytest.importorskip("wandb")  # an extra, there where amici-st is
    wandb.finish()  # the run that the training of a live model may have left
    wandb.teardown()  # its settings
    return wandb


def pixels(file):
    return plt.imread(file, format="png")


@pytest.mark.filterwarnings("default")  # wandb's own, of others
def test_figures_are_kept_in_the_run_as_they_look(ds, wandb, tmp_path):
    panels = ds.cf.plot_curve(None, DISTANCE)
    ax = ds.cf.plot_length_scale(0.1)
    for figure in (panels[0].figure, ax.figure):
        figure.canvas.draw()  # the first drawing settles the layout
    with wandb.init(project="tissue", dir=tmp_path, mode="offline") as run:
        amici_xr.log_figure(panels, "curves", run)
        amici_xr.log_figure(ax, "lengths")  # to the current run
        amici_xr.log_figure(ax.figure, "figure", run, step=7)
        (part,) = plt.figure().subfigures(1, squeeze=False).flat
        amici_xr.log_figure(part.subplots(), "part", run)
    kept = (tmp_path / "wandb").glob("offline-run-*/files/media/images/*.png")
    found = {path.name.split("_")[0]: pixels(path) for path in kept}
    expected = {"curves": panels[0].figure, "lengths": ax.figure, "figure": ax.figure}
    expected |= {"part": part.canvas.figure}
    assert set(found) == set(expected)
    for name, figure in expected.items():
        figure.savefig("expected.png")
        np.testing.assert_array_equal(found[name], pixels("expected.png"))


def test_without_a_run_one_is_asked_for(ds, wandb):
    with pytest.raises(ValueError, match=r"there is no current run; call wandb\.init"):
        amici_xr.log_figure(ds.cf.plot_length_scale(0.1), "length scales")


def test_what_is_no_figure_is_named(wandb):
    for thing in (3, np.array([], dtype=object)):
        with pytest.raises(TypeError, match="figure must be axes, an array of them or a figure, n"):
            amici_xr.log_figure(thing, "number")


def test_without_wandb_the_extra_is_named(ds):
    try:
        import wandb  # noqa: F401  # whether it is installed
    except ModuleNotFoundError:
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'amici-xr\[wandb\]'"):
            amici_xr.log_figure(ds.cf.plot_length_scale(0.1), "length scales")
    else:
        pytest.skip("wandb is installed here")
