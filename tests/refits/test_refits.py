"""Refits without each sender: what they find, what they take out, and that they go on."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import xarray as xr
from scipy.spatial import cKDTree
from scipy.stats import false_discovery_control
from scipy.stats import t as student_t

import amici_xr

for needed in ("torch", "anndata", "einops"):  # extras, without which all of this is left out
    pytest.importorskip(needed)

from amici_xr.extraction import predict_expression  # noqa: E402  # after importorskip
from amici_xr.kernels.spatial.basis import prepare  # noqa: E402  # after importorskip
from amici_xr.kernels.spatial.mean import infer_mean  # noqa: E402  # after importorskip
from amici_xr.refits.cross_fitting import assign_folds  # noqa: E402  # after importorskip
from amici_xr.refits.gains import (  # noqa: E402  # after importorskip
    bases_of_types,
    gains_of_type,
    stack_types,
)
from amici_xr.refits.result import refit_dataset  # noqa: E402  # after importorskip
from amici_xr.refits.smooth_variation import (  # noqa: E402  # after importorskip
    describe_smooth_variation,
    surrounding_expression,
)
from amici_xr.tissue.cells import read_tissue  # noqa: E402  # after importorskip

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


@pytest.mark.slow
def test_the_planted_sender_alone_is_missed_where_it_is_left_out():
    tissue = amici_xr.testing.simulate_tissue(
        n_cells=900, n_types=3, n_genes=16, n_pairs=1, genes_per_pair=8, effect=2.0, seed=4
    )
    ds = amici_xr.leave_out_senders(
        tissue, "cell_type", n_neighbors=12, max_epochs=60, progress=False
    )
    planted = tissue.uns["planted"].iloc[0]
    is_planted = (ds["query"] == planted["query"]) & (ds["label"] == planted["label"])
    np.testing.assert_array_equal(ds.q_value < 0.05, is_planted)
    assert float(ds.gain.where(is_planted).max()) > 5 * float(abs(ds.gain.where(~is_planted)).max())
    assert float(ds.explained_variance.sel(query=planted["query"])) > 0.05


@pytest.mark.slow
def test_on_the_demo_refits_call_the_planted_pairs_alone_and_masking_calls_another(demo):
    model, tissue = demo
    x = tissue.obsm["spatial"][:, 0]
    half = tissue[x < np.median(x)].copy()
    refits = amici_xr.leave_out_senders(half, "cell_type", n_neighbors=20, n_runs=2, progress=False)
    rows = refits.q_value.to_dataframe().reset_index()
    rows = rows[rows.q_value < 0.05]
    called = set(zip(rows["label"], rows["query"], strict=True))
    planted = tissue.uns["interactions"]
    assert called == set(zip(planted["sender"], planted["receiver"], strict=True))
    # Within one model senders stand in for each other.
    ds = amici_xr.extract(model, "Tumor", tissue, effects=True, progress=False)
    masked = amici_xr.prediction_gain(ds, resampling_unit="cell").sel(label="T_cell")
    assert float(masked.ci_lower) > 0
    assert float(refits.q_value.sel(query="Tumor", label="T_cell")) > 0.05


def test_errors_are_those_of_the_mean_prediction_of_models_that_were_not_trained_on_a_cell(adata):
    ds = amici_xr.leave_out_senders(adata, "cell_type", smooth_scale=None, **TINY)
    tissue = read_tissue(adata, labels_key="cell_type")
    fold = assign_folds(tissue, 2, 0)
    error, deviation = np.zeros(400), np.zeros(400)
    further = {name: value for name, value in TINY.items() if name != "n_runs"}
    further |= {"label_size": 16, "query_size": 32}  # as by default
    for number in range(2):
        runs = amici_xr.train(
            adata, "cell_type", seed=[2 * number, 2 * number + 1], train_mask=fold != number,
            validation=None, batch_size=16, adam_epsilon=1e-3,
            attention_penalty_epochs=(1, 2), **further,
        )  # fmt: skip
        predicted = [predict_expression(model, None, adata) for model in runs.models]
        cells = np.flatnonzero(fold == number)
        mean = sum(each.sel(receiver=cells).values for each in predicted) / 2
        profiles = runs.models[0].weights["ct_profiles"].numpy()[tissue.codes[cells]]
        error[cells] = ((adata.X[cells] - mean) ** 2).sum(axis=1)
        deviation[cells] = ((adata.X[cells] - profiles) ** 2).sum(axis=1)
    for query in ds["query"].values:
        of_type = tissue.codes == tissue.vocabulary.index(query)
        expected = 1 - error[of_type].sum() / deviation[of_type].sum()
        np.testing.assert_allclose(
            ds.explained_variance.sel(query=query), expected, rtol=1e-4, atol=1e-5
        )


def test_what_is_smooth_is_taken_out_by_least_squares_of_each_gene():
    generator = np.random.default_rng(0)
    n, genes = 120, 3
    positions, samples = generator.uniform(0, 300, (n, 2)), np.arange(n) % 2
    near = generator.normal(size=(4, n, genes)).astype(np.float32)
    values = generator.normal(size=(n, genes))
    smooth = describe_smooth_variation(positions, samples, 150.0, near)
    assert smooth.n_columns > 4 + 2  # waves beside the mean of each sample
    is_fitted = np.arange(n) % 3 > 0
    everything, training = smooth.remove(values), smooth.remove(values, is_fitted)
    for gene in range(genes):
        design = np.column_stack([smooth.waves, near[:, :, gene].T])
        for rest, rows in ((everything, np.ones(n, bool)), (training, is_fitted)):
            coefficient = np.linalg.lstsq(design[rows], values[rows, gene], rcond=None)[0]
            expected = values[:, gene] - design @ coefficient
            np.testing.assert_allclose(rest[:, gene], expected, atol=1e-6)
    for sample in range(2):  # the mean of each sample is smooth too
        np.testing.assert_allclose((samples == sample) @ everything, 0, atol=1e-6)


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


@pytest.fixture
def by_hand(adata):
    """Residuals of three runs, (run, left out, cell, gene), in two folds, with their Dataset."""
    tissue = read_tissue(adata, labels_key="cell_type")
    generator = np.random.default_rng(2)
    fold = assign_folds(tissue, 2, 0)
    residual = generator.normal(size=(3, 3, tissue.n_cells, 10)).astype(np.float32)
    residual[:, 1, :, :2] += np.array([0.7, 0.9, 1.4])[:, None, None]  # without the first sender
    deviation = generator.normal(size=(tissue.n_cells, 10)).astype(np.float32)
    neighbors = np.tile(np.flatnonzero(tissue.codes == 0)[:1], (tissue.n_cells, 4))

    def assemble():
        bases, parts = bases_of_types(tissue), []
        for number in range(2):
            by_type = {}
            for code, basis in bases.items():
                own = np.flatnonzero(tissue.codes == code)
                here = fold[own] == number

                def of_model(run, left_out, cells=own[here]):
                    return residual[run, left_out, cells]

                by_type[code] = gains_of_type(
                    of_model, 3, 2, deviation[own[here]], None, basis.cell_contrasts()[here],
                    here.mean(),
                )  # fmt: skip
            parts.append(stack_types(by_type, 3, 2, number))
        return refit_dataset(
            parts[0] + parts[1], bases, tissue, neighbors, senders=["type_0", "type_1"],
            seeds=np.arange(6).reshape(2, 3), n_in_fold=np.full((3, 2), 60), confidence_level=0.9,
            settings={},
        )  # fmt: skip

    return tissue, fold, residual, deviation, assemble


def gains_by_hand(tissue, residual, runs=(0, 1, 2)):
    """Gain of the receivers of type_2 without type_0, (receiver, gene)."""
    own = residual[list(runs)][:, :, tissue.codes == 2].astype(float).mean(axis=0)
    return own[1] ** 2 - own[0] ** 2


def test_a_gain_is_that_of_the_mean_prediction_over_the_squared_deviation(by_hand):
    tissue, fold, residual, deviation, assemble = by_hand
    pair = assemble().sel(query="type_2", label="type_0")
    gains, own = gains_by_hand(tissue, residual), tissue.codes == 2
    square = deviation[own].astype(float) ** 2
    np.testing.assert_allclose(pair.gene_gain, gains.sum(axis=0) / square.sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(pair.gain, gains.sum() / square.sum(), rtol=1e-6)
    of_runs = residual[:, :, own].astype(float) ** 2
    of_runs = (of_runs[:, 1] - of_runs[:, 0]).sum(axis=2)
    by_run = [[of_runs[run, fold[own] == number].mean() for run in range(3)] for number in (0, 1)]
    np.testing.assert_allclose(
        pair.gain_by_run, np.array(by_run) / square.sum() * own.sum(), rtol=1e-6
    )


def upper_tail(inferred, mean, variance, freedom_of_variance):
    """One-sided p of a mean whose variance has a part of its own, by Satterthwaite's degrees."""
    spatial = (inferred.weight * inferred.scale**2).sum(axis=1)
    freedom = (spatial + variance) ** 2 / (spatial**2 / 30 + variance**2 / freedom_of_variance)
    scale = np.sqrt(inferred.scale**2 + variance[:, None])
    tail = student_t.sf(np.atleast_1d(mean)[:, None] / scale, freedom[:, None])
    return (inferred.weight * tail).sum(axis=1)


def test_p_allows_for_places_and_for_the_runs_that_were_drawn(by_hand):
    tissue, fold, residual, _, assemble = by_hand
    pair = assemble().sel(query="type_2", label="type_0")
    own = tissue.codes == 2
    gains = gains_by_hand(tissue, residual)
    mean_of_runs = residual[:, :, own].astype(float).mean(axis=0)
    by_chance = gains.copy()  # what a regression on the square of the difference leaves, by fold
    for number in range(2):
        here = fold[own] == number
        square = (mean_of_runs[1, here] - mean_of_runs[0, here]) ** 2
        for gene in range(10):
            by_chance[here, gene] -= (
                square[:, gene] * gains[here, gene].sum() / square[:, gene].sum()
            )
    basis = prepare(tissue.positions[own])
    inferred, of_sum = (
        infer_mean(rows, basis) for rows in (by_chance.T, by_chance.sum(axis=1)[None])
    )
    mean = gains.mean(axis=0)
    variance, variance_of_sum = 0.0, 0.0
    for number in range(2):
        here = fold[own] == number
        partial = np.array([
            gains_by_hand(tissue, residual, np.delete(range(3), run))[here].mean(axis=0)
            for run in range(3)
        ])  # fmt: skip
        variance, variance_of_sum = (
            total + here.mean() ** 2 * 2 / 3 * ((values - values.mean(axis=0)) ** 2).sum(axis=0)
            for total, values in ((variance, partial), (variance_of_sum, partial.sum(axis=1)))
        )
    spatial = (inferred.weight * inferred.scale**2).sum(axis=1)
    variance = (variance + 4 * variance.sum() / spatial.sum() * spatial) / 5  # moderated
    expected = upper_tail(inferred, mean, variance, 5 * 4)
    np.testing.assert_allclose(pair.gene_p_value, expected, rtol=1e-5)
    q = false_discovery_control(expected)
    np.testing.assert_allclose(pair.gene_q_value, q, rtol=1e-5)
    error = np.sqrt(spatial + variance)
    typical = np.median(mean / error) * error.sum()
    assert typical > 0
    whole = upper_tail(of_sum, mean.sum() - typical, np.array([variance_of_sum]), 4).item()
    combined = 2 / (1 / q.min() + 1 / whole)  # the smallest q is Simes' p
    np.testing.assert_allclose(pair.p_value, combined, rtol=1e-5)
    assert set(np.argsort(pair.gene_p_value.values)[:2]) == {0, 1}
    assert pair.ci_lower < pair.gain < pair.ci_upper


def test_pairs_that_cannot_be_tested_say_why(by_hand):
    tissue, _, _, deviation, assemble = by_hand
    ds = assemble()
    assert ds.status.sel(query="type_0", label="type_0") == "same_type"
    assert ds.status.sel(query="type_0", label="type_1") == "absent"
    assert ds.n_with_sender.sel(query="type_2").values.tolist() == [(tissue.codes == 2).sum(), 0]
    assert np.isnan(ds.q_value.where(ds.status != "tested")).all()
    deviation[tissue.codes == 1] = 1.0
    assert assemble().status.sel(query="type_1", label="type_0") == "no_variation"


def test_too_few_receivers_are_not_tested(adata):
    few = adata[np.r_[np.flatnonzero(adata.obs.cell_type == "type_0")[:20],
                      np.flatnonzero(adata.obs.cell_type != "type_0")]].copy()  # fmt: skip
    ds = amici_xr.leave_out_senders(few, "cell_type", senders="type_1", **TINY)
    assert ds.status.sel(label="type_1").values.tolist() == [
        "too_few_receivers", "same_type", "tested",
    ]  # fmt: skip
    assert ds.n_receivers.sel(query="type_0").item() == 20


@pytest.mark.filterwarnings("ignore:the loss of the runs")  # which is made to diverge
def test_a_pair_is_not_tested_where_the_loss_of_a_model_became_nan(adata, monkeypatch):
    from amici_xr.training.plan import TrainingPlan

    judge = TrainingPlan._judge

    def judge_without_type_2(plan, measured, is_diverged):
        left_out = np.array([run.left_out for run in plan.runs], dtype=object)
        judge(plan, measured, is_diverged | (left_out == "type_2"))

    monkeypatch.setattr(TrainingPlan, "_judge", judge_without_type_2)
    ds = amici_xr.leave_out_senders(adata, "cell_type", **TINY)
    assert ds.status.sel(label="type_2").values.tolist() == ["diverged", "diverged", "same_type"]
    assert ds.status.sel(query="type_0", label="type_1") == "tested"
    assert ds.q_value.sel(label="type_2").isnull().all()


def test_a_type_that_a_fold_was_not_trained_on_is_not_tested(adata):
    clump = adata.copy()
    codes = clump.obs["cell_type"].astype(str).to_numpy()
    x = clump.obsm["spatial"][:, 0]
    codes[(codes == "type_0") & (x > np.quantile(x, 0.3))] = "type_1"
    fold = assign_folds(read_tissue(clump, labels_key="cell_type"), 2, 0)
    codes[(codes == "type_0") & (fold == 1)] = "type_1"  # type_0 is in fold 0 alone
    clump.obs["cell_type"] = codes
    ds = amici_xr.leave_out_senders(clump, "cell_type", **TINY)
    assert ds.status.sel(query="type_0", label="type_1") == "too_few_receivers"


def test_the_memory_of_gains_does_not_grow_with_the_number_of_runs():
    import tracemalloc

    residual = np.random.default_rng(0).normal(size=(400, 50)).astype(np.float32)
    contrasts, peaks = np.ones((400, 3)), []
    for n_runs in (2, 16):
        tracemalloc.start()
        gains_of_type(lambda *_: residual, n_runs, 2, residual, None, contrasts, 1.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_folds_hold_whole_patches_and_each_cell_once(adata):
    tissue = read_tissue(adata, labels_key="cell_type")
    fold = assign_folds(tissue, 3, 5)
    assert set(fold) == {0, 1, 2}
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


@pytest.mark.slow
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
    shutil.rmtree(checkpoint)
    assert start("whole").wait() == 0
    opened = [amici_xr.open_dataset(tmp_path / f"{name}.nc") for name in ("killed", "whole")]
    xr.testing.assert_equal(*opened)


def test_a_checkpoint_of_other_refits_or_a_damaged_one_is_refused(adata, tmp_path):
    given = {"checkpoint": tmp_path / "new" / "folder", **TINY}
    amici_xr.leave_out_senders(adata, "cell_type", **given)
    for changes in ({"batch_size": 128}, {"n_neighbors": 9}, {"cell_radius_key": "radius"}):
        wider = adata.copy()
        wider.obs["radius"] = 1.0
        with pytest.raises(ValueError, match="is of other refits"):
            amici_xr.leave_out_senders(wider, "cell_type", **(given | changes))
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
        ({"n_folds": 401}, ValueError, "n_folds=401, but the tissue makes"),
        ({"senders": ["nobody"]}, amici_xr.NotFoundError, "nobody"),
        ({"smooth_scale": 0}, ValueError, "smooth_scale"),
        ({"confidence_level": 1}, ValueError, "confidence_level"),
        ({"learning_rate": [1e-3, 1e-2]}, ValueError, "must be one value"),
        ({"train_mask": np.ones(400, bool)}, TypeError, "does not take 'train_mask'"),
        ({"no_argument": 1}, TypeError, "does not take 'no_argument'"),
        ({"max_epochs": 0}, ValueError, "max_epochs=0"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"seed": [0, 1]}, ValueError, "seed=\\[0, 1\\] must be an integer"),
        ({"split_seed": -1}, ValueError, "split_seed=-1"),
        ({"adam_epsilon": 0}, ValueError, "adam_epsilon=0"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(adata, arguments, error, message):
    with pytest.raises(error, match=message):
        amici_xr.leave_out_senders(adata, "cell_type", **(TINY | arguments))


def test_the_time_is_told_before_it_begins(adata, capsys):
    amici_xr.leave_out_senders(adata, "cell_type", **(TINY | {"progress": True}))
    assert "8 models in each of 2 folds: about" in capsys.readouterr().err
