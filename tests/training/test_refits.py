"""Refits without each sender: what they find, what they take out, and that they go on."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import xarray as xr

import amici_xr

torch = pytest.importorskip("torch")
anndata = pytest.importorskip("anndata")
pytest.importorskip("einops")

from amici_xr.kernels.spatial_inference import infer_mean, prepare  # noqa: E402
from amici_xr.tissue.cells import read_tissue  # noqa: E402
from amici_xr.training.cross_fitting import HeldOutErrors, assign_folds  # noqa: E402
from amici_xr.training.refit_result import refit_dataset  # noqa: E402
from amici_xr.training.smooth_variation import (  # noqa: E402
    describe_smooth_variation,
    surrounding_expression,
)

pytestmark = [pytest.mark.needs_model, pytest.mark.needs_training]

TINY = {
    "n_neighbors": 8,
    "n_runs": 2,
    "max_epochs": 3,
    "n_heads": 2,
    "head_size": 4,
    "cell_size": 8,
    "cell_hidden_size": 8,
    "key_size": 8,
    "position_hidden_size": 8,
    "query_hidden_size": 8,
    "progress": False,
}


@pytest.fixture(scope="module")
def adata():
    """Four hundred cells of three types; nothing is planted."""
    return amici_xr.testing.simulate_tissue(n_cells=400, n_types=3, n_genes=10, n_pairs=0)


def test_the_planted_sender_alone_is_missed_where_it_is_left_out():
    tissue = amici_xr.testing.simulate_tissue(
        n_cells=900, n_types=3, n_genes=16, n_pairs=1, genes_per_pair=8, effect=2.0, seed=4
    )
    ds = amici_xr.leave_out_senders(
        tissue, "cell_type", n_neighbors=12, n_runs=2, max_epochs=60, batch_size=32, progress=False
    )
    planted = tissue.uns["planted"].iloc[0]
    is_planted = (ds["query"] == planted["query"]) & (ds["label"] == planted["label"])
    np.testing.assert_array_equal(ds.q_value < 0.05, is_planted)
    assert float(ds.gain.where(is_planted).max()) > 5 * float(abs(ds.gain.where(~is_planted)).max())
    assert float(ds.explained_variance.sel(query=planted["query"])) > 0.05


@pytest.mark.filterwarnings("ignore:explained variance is")  # there is nothing to learn
def test_errors_are_those_of_models_that_never_saw_the_cells(adata, tmp_path):
    ds = amici_xr.leave_out_senders(adata, "cell_type", smooth_scale=None, **TINY)
    tissue = read_tissue(adata, labels_key="cell_type")
    fold = assign_folds(tissue, 2, 0)
    explained = xr.zeros_like(ds.explained_variance)
    error, deviation = np.zeros((2, 400)), np.zeros(400)
    further = {name: value for name, value in TINY.items() if name != "n_runs"}
    further |= {"label_size": 16, "query_size": 32, "n_neighbors": 8}  # as by default
    for number in range(2):
        runs = amici_xr.train(
            adata, "cell_type", seed=[0, 1], train_mask=fold != number, validation=None,
            batch_size=64, adam_epsilon=1e-3, attention_penalty_epochs=(1, 2), **further,
        )  # fmt: skip
        for run, model in enumerate(runs.models):
            of_run = amici_xr.extract(model, None, adata, effects=True, progress=False)
            cells = np.flatnonzero(of_run.is_held_out.values)
            np.testing.assert_array_equal(of_run.receiver[cells], np.flatnonzero(fold == number))
            error[run, fold == number] = of_run.squared_error[cells]
            deviation[fold == number] = of_run.squared_deviation[cells]
    for query in ds["query"].values:
        own = tissue.codes == tissue.vocabulary.index(query)
        explained.loc[{"query": query}] = 1 - error[:, own].mean() / deviation[own].mean()
    np.testing.assert_allclose(ds.explained_variance, explained, atol=1e-5)


def test_what_is_smooth_is_taken_out_by_least_squares_of_each_gene():
    generator = np.random.default_rng(0)
    n, genes = 120, 3
    positions = generator.uniform(0, 300, (n, 2))
    codes = np.repeat([0, 1], [70, 50])
    samples = np.arange(n) % 2
    near = generator.normal(size=(4, n, genes)).astype(np.float32)
    residual = generator.normal(size=(n, genes))
    parts = describe_smooth_variation(np.arange(n), codes, samples, positions, 150.0, near)
    assert [part.members.size for part in parts] == [70, 50]
    for part in parts:
        rest = part.remove(residual[part.members])
        for gene in range(genes):
            design = np.column_stack([part.waves, near[:, part.members, gene].T])
            fitted = design @ np.linalg.lstsq(design, residual[part.members, gene], rcond=None)[0]
            np.testing.assert_allclose(
                rest[:, gene], residual[part.members, gene] - fitted, atol=1e-5
            )
        for sample in range(2):  # the mean of each sample is smooth too
            indicator = 1.0 * (samples[part.members] == sample)
            np.testing.assert_allclose(indicator @ rest, 0, atol=1e-5)


def test_surrounding_expression_is_a_weighted_mean_of_neighbors_of_other_types():
    generator = np.random.default_rng(1)
    expression = generator.normal(size=(6, 2)).astype(np.float32)
    codes = np.array([0, 0, 0, 1, 1, 1])
    index = np.array([[3, 4], [5, 3], [4, -1]])
    distance = np.array([[2.0, 5.0], [0.0, 1.0], [9.0, np.nan]])
    means = surrounding_expression(expression, codes, index, distance, [3.0, 10.0])
    deviation = expression - np.stack([expression[codes == code].mean(axis=0) for code in codes])
    for number, scale in enumerate([3.0, 10.0]):
        for row in range(3):
            has = index[row] >= 0
            weight = np.exp(-(distance[row][has] ** 2) / (2 * scale**2))
            expected = weight @ deviation[index[row][has]] / weight.sum()
            np.testing.assert_allclose(means[number, row], expected, rtol=1e-5)


@pytest.fixture(scope="module")
def by_hand(adata):
    """Errors of two runs in two folds, with their Dataset."""
    tissue = read_tissue(adata, labels_key="cell_type")
    generator = np.random.default_rng(2)
    fold = assign_folds(tissue, 2, 0)
    error = generator.gamma(5, size=(2, 3, tissue.n_cells))
    error[:, 1] += 1 + fold * np.array([0.5, 0.9])[:, np.newaxis]  # without the first sender
    errors = HeldOutErrors(error, generator.gamma(8, size=tissue.n_cells), fold)
    neighbors = np.tile(np.flatnonzero(tissue.codes == 0)[:1], (tissue.n_cells, 4))

    def assemble(**changes):
        given = {"queries": tissue.vocabulary, "senders": ["type_0", "type_1"], "seeds": (0, 1)}
        given |= {"confidence_level": 0.9, "settings": {}}
        return refit_dataset(errors, tissue, neighbors, **(given | changes))

    return tissue, errors, assemble


def test_a_gain_is_the_mean_difference_over_the_mean_deviation(by_hand):
    tissue, errors, assemble = by_hand
    pair = assemble().sel(query="type_2", label="type_0")
    own = tissue.codes == 2
    gains = errors.error[:, 1, own] - errors.error[:, 0, own]
    total = errors.deviation[own].mean()
    np.testing.assert_allclose(pair.gain, gains.mean() / total)
    by_run = [[gains[run, errors.fold[own] == fold].mean() for run in (0, 1)] for fold in (0, 1)]
    np.testing.assert_allclose(pair.gain_by_run, np.array(by_run) / total)


def test_the_spread_over_runs_is_added_to_the_variance(by_hand):
    tissue, errors, assemble = by_hand
    pair = assemble().sel(query="type_2", label="type_0")
    own = tissue.codes == 2
    gains = errors.error[:, 1, own] - errors.error[:, 0, own]
    inferred = infer_mean(gains.mean(axis=0)[np.newaxis], prepare(tissue.positions[own]))
    of_runs = sum(
        np.mean(errors.fold[own] == fold) ** 2
        * gains[:, errors.fold[own] == fold].mean(axis=1).var(ddof=1)
        / 2
        for fold in (0, 1)
    )
    scale = np.sqrt(inferred.scale**2 + of_runs)
    from scipy.stats import t

    expected = (inferred.weight * t.sf(inferred.mean[0] / scale, 30)).sum()
    np.testing.assert_allclose(pair.p_value, expected, rtol=1e-6)
    total = errors.deviation[own].mean()
    upper = float(pair.ci_upper) * total - inferred.mean[0]
    np.testing.assert_allclose((inferred.weight * t.sf(upper / scale, 30)).sum(), 0.05, rtol=1e-5)


def test_pairs_that_cannot_be_tested_say_why(by_hand):
    tissue, errors, assemble = by_hand
    ds = assemble()
    assert ds.status.sel(query="type_0", label="type_0") == "same_type"
    assert ds.status.sel(query="type_0", label="type_1") == "absent"
    assert ds.n_with_sender.sel(query="type_2").values.tolist() == [
        int((tissue.codes == 2).sum()),
        0,
    ]
    assert np.isnan(ds.q_value.where(ds.status != "tested")).all()
    errors.error[0, 1, tissue.codes == 1] = np.nan
    assert assemble().status.sel(query="type_1", label="type_0") == "diverged"


def test_too_few_receivers_are_not_tested(adata):
    few = adata[np.r_[np.flatnonzero(adata.obs.cell_type == "type_0")[:20],
                      np.flatnonzero(adata.obs.cell_type != "type_0")]].copy()  # fmt: skip
    ds = amici_xr.leave_out_senders(few, "cell_type", senders="type_1", **TINY)
    assert ds.status.sel(label="type_1").values.tolist() == [
        "too_few_receivers", "same_type", "tested",
    ]  # fmt: skip
    assert ds.n_receivers.sel(query="type_0").item() == 20


def test_folds_hold_whole_patches_and_each_cell_once(adata):
    tissue = read_tissue(adata, labels_key="cell_type")
    fold = assign_folds(tissue, 3, 5)
    assert set(fold) == {0, 1, 2}
    from scipy.spatial import cKDTree

    nearest = cKDTree(tissue.positions).query(tissue.positions, k=2)[1][:, 1]
    assert (fold == fold[nearest]).mean() > 0.6  # a third, if cells were assigned one by one
    np.testing.assert_array_equal(fold, assign_folds(tissue, 3, 5))


def test_refits_of_permuted_expression_differ_and_are_kept_apart(adata):
    plain, permuted = (
        amici_xr.leave_out_senders(adata, "cell_type", permute=permute, **TINY)
        for permute in (None, "expression")
    )
    assert not np.allclose(plain.gain, permuted.gain, equal_nan=True)
    assert '"permute": "expression"' in permuted.attrs["settings"]


def test_refits_save_and_open_with_plain_xarray(adata, tmp_path):
    ds = amici_xr.leave_out_senders(adata, "cell_type", **TINY)
    ds.cf.save(tmp_path / "refits.nc")
    xr.testing.assert_identical(amici_xr.open_dataset(tmp_path / "refits.nc").load(), ds)
    with xr.open_dataset(tmp_path / "refits.nc") as opened:
        xr.testing.assert_identical(opened.load(), ds)


def test_refits_that_were_killed_go_on_and_end_in_the_same_numbers(adata, tmp_path):
    adata.write_h5ad(tmp_path / "tissue.h5ad")
    (tmp_path / "refit.py").write_text(
        textwrap.dedent(f"""
        import sys, amici_xr
        ds = amici_xr.leave_out_senders(
            sys.argv[1], "cell_type", checkpoint=sys.argv[2], checkpoint_seconds=1e-3,
            **{TINY | {"max_epochs": 12}!r}
        )
        amici_xr.save(ds, sys.argv[3])
        """)
    )
    checkpoint = tmp_path / "checkpoint"

    def start(name):
        script = [sys.executable, tmp_path / "refit.py", tmp_path / "tissue.h5ad", checkpoint]
        words = [*script, tmp_path / f"{name}.nc"]
        return subprocess.Popen(words, stderr=subprocess.DEVNULL, env=os.environ)

    for awaited in ("fold_0.ckpt", "fold_1.ckpt"):
        process = start("killed")
        while not (checkpoint / awaited).exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (checkpoint / "fold_0.npz").exists()
    assert start("killed").wait() == 0
    whole = amici_xr.leave_out_senders(adata, "cell_type", **(TINY | {"max_epochs": 12}))
    killed = amici_xr.open_dataset(tmp_path / "killed.nc").load()
    xr.testing.assert_equal(killed, whole)


def test_a_checkpoint_of_other_refits_or_a_damaged_one_is_refused(adata, tmp_path):
    given = {"checkpoint": tmp_path / "new" / "folder", **TINY}
    amici_xr.leave_out_senders(adata, "cell_type", **given)
    with pytest.raises(ValueError, match="is of other refits"):
        amici_xr.leave_out_senders(adata, "cell_type", **(given | {"batch_size": 128}))
    (tmp_path / "new" / "folder" / "fold_0.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is damaged or not of this package"):
        amici_xr.leave_out_senders(adata, "cell_type", **given)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is a file; give a folder"):
        amici_xr.leave_out_senders(adata, "cell_type", **(TINY | {"checkpoint": tmp_path / "file"}))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_folds": 1}, ValueError, "n_folds=1 must be at least 2"),
        ({"n_runs": 1}, ValueError, "n_runs=1 must be at least 2"),
        ({"n_folds": 300}, ValueError, "n_folds=300, but the tissue makes"),
        ({"senders": ["nobody"]}, amici_xr.NotFoundError, "nobody"),
        ({"smooth_scale": 0}, ValueError, "smooth_scale"),
        ({"confidence_level": 1}, ValueError, "confidence_level"),
        ({"learning_rate": [1e-3, 1e-2]}, ValueError, "must be one value"),
        ({"train_mask": np.ones(400, bool)}, TypeError, "does not take 'train_mask'"),
        ({"no_argument": 1}, TypeError, "does not take 'no_argument'"),
        ({"max_epochs": 0}, ValueError, "max_epochs=0"),
        ({"adam_epsilon": 0}, ValueError, "adam_epsilon=0"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(adata, arguments, error, message):
    with pytest.raises(error, match=message):
        amici_xr.leave_out_senders(adata, "cell_type", **(TINY | arguments))


def test_the_time_is_told_before_it_begins(adata, capsys):
    amici_xr.leave_out_senders(adata, "cell_type", **(TINY | {"progress": True}))
    assert "8 models in each of 2 folds: about" in capsys.readouterr().err
