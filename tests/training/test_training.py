"""Training runs: what they learn, that they repeat, go on after a kill, and refuse bad input."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest
import xarray as xr

import amici_xr

torch = pytest.importorskip("torch")
anndata = pytest.importorskip("anndata")
pytest.importorskip("einops")

pytestmark = [pytest.mark.needs_model, pytest.mark.needs_training]

TINY = {
    "n_neighbors": 8,
    "n_heads": 2,
    "head_size": 4,
    "label_size": 4,
    "query_size": 8,
    "query_hidden_size": 8,
    "cell_size": 16,
    "cell_hidden_size": 16,
    "key_size": 8,
    "position_hidden_size": 8,
    "progress": False,
}


@pytest.fixture(scope="module")
def tissue():
    """Six hundred cells of four types, in two samples, with twelve genes."""
    generator = np.random.default_rng(0)
    n = 600
    adata = anndata.AnnData(generator.normal(1, 0.5, (n, 12)).astype(np.float32))
    adata.obs_names = [f"cell{i}" for i in range(n)]
    adata.var_names = [f"gene{i}" for i in range(12)]
    adata.obs["kind"] = generator.choice(["A", "B", "C", "D"], n)
    adata.obs["piece"] = np.where(np.arange(n) < 350, "first", "second")
    adata.obs["radius"] = generator.uniform(1, 3, n)
    adata.obsm["spatial"] = generator.uniform(0, 200, (n, 2))
    return adata


def weights_of(runs):
    return [{name: w.numpy() for name, w in model.weights.items()} for model in runs.models]


def assert_same_weights(first, second, **tolerance):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(first[name], second[name], err_msg=name, **tolerance)


def test_the_same_seed_gives_the_same_model_bit_for_bit(tissue):
    first, second = (
        amici_xr.train(tissue, "kind", n_runs=2, seed=3, max_epochs=3, **TINY) for _ in range(2)
    )
    for one, other in zip(weights_of(first), weights_of(second), strict=True):
        assert_same_weights(one, other, rtol=0, atol=0)
    xr.testing.assert_equal(first.history, second.history)


def test_a_run_of_many_equals_the_run_alone(tissue):
    many = amici_xr.train(tissue, "kind", n_runs=3, seed=5, max_epochs=4, **TINY)
    alone = amici_xr.train(tissue, "kind", seed=6, max_epochs=4, **TINY)
    assert_same_weights(weights_of(many)[1], weights_of(alone)[0], rtol=1e-5, atol=1e-6)
    assert many.history.seed.values.tolist() == [5, 6, 7]


def test_runs_of_a_sweep_equal_each_alone_and_say_what_differs(tissue):
    settings = {"attention_penalty": [0.5, 0.0], "learning_rate": [1e-3, 3e-3], "seed": [1, 1]}
    sizes = TINY | {"n_heads": [2, 3]}
    sweep = amici_xr.train(
        tissue, "kind", max_epochs=4, attention_penalty_epochs=(1, 2), **settings, **sizes
    )
    for run in range(2):
        of_run = {name: values[run] for name, values in settings.items()}
        alone = amici_xr.train(
            tissue, "kind", max_epochs=4, attention_penalty_epochs=(1, 2), **of_run,
            **(TINY | {"n_heads": sizes["n_heads"][run]}),
        )  # fmt: skip
        assert_same_weights(weights_of(sweep)[run], weights_of(alone)[0], rtol=1e-5, atol=1e-6)
    assert sweep.history.attention_penalty.values.tolist() == [0.5, 0.0]
    assert sweep.history.n_heads.values.tolist() == [2, 3]
    assert "key_size" not in sweep.history.coords
    np.testing.assert_allclose(
        sweep.history.attention_coefficient.values[0], [0, 1e-6, 0.5, 0.5], rtol=1e-5
    )


def test_a_sender_that_is_left_out_changes_nothing_but_its_own_run(tissue):
    runs = amici_xr.train(tissue, "kind", seed=[2, 2], left_out=[None, "B"], max_epochs=3, **TINY)
    whole = amici_xr.train(tissue, "kind", seed=2, max_epochs=3, **TINY)
    first, second = weights_of(runs)
    assert_same_weights(first, weights_of(whole)[0], rtol=1e-5, atol=1e-6)
    assert any(not np.allclose(first[name], second[name]) for name in first)
    assert runs.history.left_out.values.tolist() == ["", "B"]


def test_early_stopping_keeps_the_best_epoch_after_the_rise_of_the_penalty(tissue):
    runs = amici_xr.train(
        tissue, "kind", n_runs=2, max_epochs=60, attention_penalty_epochs=(1, 3),
        early_stopping_patience=2, learning_rate=0.01, **TINY,
    )  # fmt: skip
    history = runs.history
    error = history.validation_error.isel(epoch=slice(3, None))
    np.testing.assert_array_equal(history.best_epoch, error.argmin("epoch") + 3)
    assert history.status.values.tolist() == ["stopped_early"] * 2
    np.testing.assert_array_equal(
        history.loss.notnull().sum("epoch"), history.best_epoch.values + 3
    )


def test_the_kept_weights_give_the_held_out_error_of_their_epoch(tissue):
    runs = amici_xr.train(tissue, "kind", max_epochs=5, **TINY)
    model = runs.models[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is nothing to be learned from noise
        ds = amici_xr.extract(model, None, tissue, effects=True, progress=False)
    held_out = ds.is_held_out.values
    error = ds.squared_error.values[held_out].mean() / 2
    kept = float(runs.history.validation_error.isel(run=0).sel(epoch=runs.history.best_epoch[0]))
    np.testing.assert_allclose(error, kept, rtol=1e-5)


def test_profiles_are_means_of_training_cells_alone(tissue):
    mask = np.arange(tissue.n_obs) % 3 != 0
    model = amici_xr.train(
        tissue, "kind", train_mask=mask, validation=None, max_epochs=1, **TINY
    ).models[0]
    for number, label in enumerate(model.labels):
        cells = mask & (tissue.obs["kind"] == label).to_numpy()
        expected = tissue.X[cells].mean(axis=0)
        np.testing.assert_allclose(model.weights["ct_profiles"][number], expected, rtol=1e-5)
    np.testing.assert_array_equal(model.is_held_out, ~mask)


@pytest.mark.parametrize("validation", ["blocks", "random"])
def test_a_share_of_the_cells_is_held_out(tissue, validation):
    model = amici_xr.train(
        tissue, "kind", validation=validation, validation_size=0.2, max_epochs=1, **TINY
    ).models[0]
    assert model.is_held_out.mean() == pytest.approx(0.2, abs=0.02)


def test_blocks_are_patches_of_tissue(tissue):
    nearest = []
    for validation in ("blocks", "random"):
        held_out = (
            amici_xr.train(tissue, "kind", validation=validation, max_epochs=1, **TINY)
            .models[0]
            .is_held_out
        )
        places = tissue.obsm["spatial"]
        distance = np.linalg.norm(places[held_out][:, None] - places[~held_out], axis=2)
        nearest.append(np.median(distance.min(axis=1)))
    assert nearest[0] > 1.5 * nearest[1]


def test_a_run_whose_loss_is_nan_stops_and_the_others_go_on(tissue):
    with pytest.warns(UserWarning, match=r"the loss of the runs \[1\] became NaN"):
        runs = amici_xr.train(
            tissue, "kind", seed=[1, 1], learning_rate=[1e-3, 1e30], max_epochs=3, **TINY
        )
    alone = amici_xr.train(tissue, "kind", seed=1, max_epochs=3, **TINY)
    assert runs.history.status.values.tolist() == ["finished", "diverged"]
    assert_same_weights(weights_of(runs)[0], weights_of(alone)[0], rtol=1e-5, atol=1e-6)
    assert all(np.isfinite(w).all() for w in weights_of(runs)[1].values())


def test_permutations_keep_within_samples(tissue):
    for kind in ("labels", "positions", "expression"):
        permuted = amici_xr.train(
            tissue, "kind", permute=kind, sample_key="piece", max_epochs=1, **TINY
        ).adata
        for piece in ("first", "second"):
            mask = (tissue.obs["piece"] == piece).to_numpy()
            for pair in (
                (permuted.X[mask], tissue.X[mask]),
                (permuted.obsm["spatial"][mask], tissue.obsm["spatial"][mask]),
            ):
                np.testing.assert_allclose(*(np.sort(each[:, 0]) for each in pair), rtol=1e-6)
            kinds = [a.obs["kind"][mask].astype(str).value_counts() for a in (permuted, tissue)]
            assert kinds[0].to_dict() == kinds[1].to_dict()
        is_same = {
            "labels": (permuted.obs["kind"].astype(str) == tissue.obs["kind"]).all(),
            "positions": np.array_equal(permuted.obsm["spatial"], tissue.obsm["spatial"]),
            "expression": np.array_equal(permuted.X, tissue.X),
        }
        assert [name for name, same in is_same.items() if not same] == [kind]
        if kind == "expression":  # the mean of each type stays
            for label in "ABCD":
                cells = (tissue.obs["kind"] == label).to_numpy()
                np.testing.assert_allclose(
                    permuted.X[cells].mean(axis=0), tissue.X[cells].mean(axis=0), rtol=1e-4
                )


def test_runs_are_extracted_with_their_heads_aligned(tissue):
    runs = amici_xr.train(tissue, "kind", n_runs=3, max_epochs=2, **TINY)
    ds = amici_xr.extract(runs, "A", progress=False)
    each = [amici_xr.extract(model, "A", tissue, progress=False) for model in runs.models]
    xr.testing.assert_equal(ds, amici_xr.align_runs(each))
    assert ds.sizes["run"] == 3


def test_samples_are_kept_apart_in_training_and_extraction(tissue):
    runs = amici_xr.train(tissue, "kind", sample_key="piece", max_epochs=1, **TINY)
    ds = amici_xr.extract(runs, "A", progress=False)
    pieces = tissue.obs["piece"].to_numpy()
    neighbors = ds.neighborhood_index.values
    assert (pieces[neighbors] == ds.receiver_sample.values[:, None]).all()


def test_a_layer_and_radii_are_where_the_model_says(tissue):
    adata = tissue.copy()
    adata.layers["log"], adata.X = adata.X, np.zeros_like(adata.X)
    runs = amici_xr.train(
        adata, "kind", layer="log", cell_radius_key="radius", max_epochs=1, **TINY
    )
    settings = runs.models[0].settings
    assert (settings.layer, settings.cell_radius_key) == ("log", "radius")
    ds = amici_xr.extract(runs, "A", progress=False)
    assert float(ds.neighborhood_distance.min()) == 0.0


def test_runs_are_saved_and_read_with_nothing_lost(tissue, tmp_path):
    runs = amici_xr.train(tissue, "kind", n_runs=2, sample_key="piece", max_epochs=2, **TINY)
    runs.save(tmp_path / "runs")
    read = amici_xr.load_runs(tmp_path / "runs", tissue)
    xr.testing.assert_identical(read.history, runs.history)
    assert read.sample_key == "piece"
    for one, other in zip(runs.models, read.models, strict=True):
        assert one.settings.with_sources().keys() == other.settings.with_sources().keys()
        assert (one.labels, one.gene_names, one.n_dims) == (other.labels, other.gene_names, 2)
        np.testing.assert_array_equal(one.is_held_out, other.is_held_out)
    first, second = (amici_xr.extract(each, "B", tissue, progress=False) for each in (runs, read))
    xr.testing.assert_equal(first, second)
    read.save(tmp_path / "runs")  # replaces them
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.txt").touch()
    with pytest.raises(FileExistsError, match=r"is a folder that holds 'other\.txt'"):
        runs.save(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match=r"is a folder that holds 'other\.txt'"):
        runs.models[0].save(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"has no history\.nc"):
        amici_xr.load_runs(tmp_path)


def test_the_history_is_saved_as_other_datasets_are(tissue, tmp_path):
    history = amici_xr.train(tissue, "kind", n_runs=2, max_epochs=2, **TINY).history
    amici_xr.save(history, tmp_path / "history.nc")
    xr.testing.assert_identical(amici_xr.open_dataset(tmp_path / "history.nc").load(), history)


@pytest.mark.slow
def test_every_run_on_the_demo_finds_both_planted_pairs_and_their_distances(demo):
    sizes = {
        "n_heads": 4, "label_size": 16, "query_size": 32, "query_hidden_size": 64,
        "cell_size": 64, "cell_hidden_size": 128, "key_size": 64, "position_hidden_size": 64,
    }  # fmt: skip
    runs = amici_xr.train(
        demo[1], "cell_type", n_runs=3, n_neighbors=30, max_epochs=40,
        attention_penalty_epochs=(5, 20), progress=False, **sizes,
    )  # fmt: skip
    explained = runs.history.explained_variance_by_label.isel(epoch=-1)
    planted = {("T_cell", "Macrophage"): (10, 0.43), ("Tumor", "Fibroblast"): (20, 0.29)}
    for (query, label), (distance, variance) in planted.items():
        np.testing.assert_allclose(explained.sel(label=query), variance, atol=0.02)
        ds = amici_xr.extract(runs, query, effects=True, progress=False)
        reach = amici_xr.effect_length_scale(ds).effect_length_scale.sel(label=label)
        np.testing.assert_allclose(reach, distance, rtol=0.25)
    others = explained.drop_sel(label=[query for query, _ in planted])
    assert (abs(others) < 0.02).all()


def test_the_history_is_drawn_with_a_line_for_each_type_and_run(tissue):
    runs = amici_xr.train(tissue, "kind", n_runs=2, max_epochs=4, **TINY)
    errors, explained = amici_xr.plot_history(runs.history)
    assert len(errors.lines) == 2 * 2 + 2  # training and held-out, and the kept epochs
    drawn = [line.get_ydata() for line in explained.lines if len(line.get_ydata()) == 4]
    expected = runs.history.explained_variance_by_label
    for label in "ABCD":
        for run in range(2):
            values = expected.sel(label=label, run=run).values
            assert any(np.array_equal(values, line) for line in drawn)
    alone = amici_xr.train(tissue, "kind", validation=None, max_epochs=2, **TINY)
    assert len(amici_xr.plot_history(alone.history)) == 1
    with pytest.raises(amici_xr.SchemaError, match="is not the history of a training"):
        amici_xr.plot_history(amici_xr.testing.simulate_dataset())


def test_the_commands_train_extract_and_draw_from_files(tissue, tmp_path, call):
    tissue.write_h5ad(tmp_path / "tissue.h5ad")
    sizes = {name: value for name, value in TINY.items() if name != "progress"}
    options = [
        word
        for name, value in (sizes | {"max_epochs": 2, "n_runs": 2}).items()
        for word in (f"--{name.replace('_', '-')}", value)
    ]
    trained = call("train", "tissue.h5ad", "--labels-key", "kind", "--out", "runs", *options)
    assert (trained.status, trained.out.splitlines()[0]) == (
        0,
        "<TrainedRuns: 2 runs of 2 heads, 12 genes; held-out explained variance of the kept epoch:",
    )
    extracted = call("extract", "runs", "tissue.h5ad", "--query", "A", "--out", "scores.nc")
    assert extracted.status == 0, extracted.err
    assert amici_xr.open_dataset("scores.nc").sizes["run"] == 2
    shown = call("info", "runs/history.nc")
    assert "run 1: finished after 2 epochs" in shown.out
    assert call("plot", "history", "runs/history.nc", "--out", "history.png").status == 0
    refused = call("extract", "scores.nc", "tissue.h5ad", "--out", "b.nc")
    assert refused.status == 1
    with pytest.raises(FileNotFoundError, match="holds trained runs; read them all with"):
        amici_xr.load_model("runs")


def test_a_model_of_this_class_is_trained_as_others_of_scvi_tools(tissue):
    import lightning

    class Counter(lightning.Callback):
        n_epochs = 0

        def on_train_epoch_end(self, *_):
            self.n_epochs += 1

    adata, counter = tissue.copy(), Counter()
    arguments = {
        name: value for name, value in TINY.items() if name not in ("n_neighbors", "progress")
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scvi-tools' own
        amici_xr.AttentionModel.setup_anndata(adata, "kind", n_neighbors=8)
    model = amici_xr.AttentionModel(adata, **arguments)
    with pytest.raises(ValueError, match="this model is not trained"):
        _ = model.runs
    model.train(max_epochs=2, callbacks=[counter], progress=False)
    by_function = amici_xr.train(tissue, "kind", max_epochs=2, **TINY)
    assert counter.n_epochs == 2
    assert model.is_trained
    assert_same_weights(weights_of(model.runs)[0], weights_of(by_function)[0], rtol=0, atol=0)
    ds = amici_xr.extract(model, "A", progress=False)
    assert ds.sizes["head"] == 2
    with pytest.raises(ValueError, match="this model is trained"):
        model.train()
    model.save("one_run")
    assert amici_xr.load_model("one_run").is_trained


KILLED = """
    import sys, anndata, torch, amici_xr
    torch.set_num_threads(1)
    adata = anndata.read_h5ad(sys.argv[1])
    runs = amici_xr.train(
        adata, "kind", n_runs=2, max_epochs=30, checkpoint=sys.argv[2], checkpoint_seconds=1e-3,
        **{tiny}
    )
    runs.save(sys.argv[3])
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_in_the_same_model(tissue, tmp_path):
    tissue.write_h5ad(tmp_path / "tissue.h5ad")
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(KILLED).format(tiny=TINY))
    checkpoint = tmp_path / "checkpoint.pt"

    def start(target):
        words = [sys.executable, script, tmp_path / "tissue.h5ad", checkpoint, tmp_path / target]
        return subprocess.Popen(words, stderr=subprocess.DEVNULL, env=os.environ)

    n_killed = 0
    generator = np.random.default_rng()
    while n_killed < 2:
        process = start("killed")
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.5))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        n_killed += 1
    assert n_killed
    assert start("killed").wait() == 0
    checkpoint.unlink()
    assert start("whole").wait() == 0
    killed, whole = (amici_xr.load_runs(tmp_path / name) for name in ("killed", "whole"))
    for one, other in zip(weights_of(killed), weights_of(whole), strict=True):
        assert_same_weights(one, other, rtol=0, atol=0)
    xr.testing.assert_equal(killed.history, whole.history)


def test_a_checkpoint_of_another_training_or_file_is_refused(tissue, tmp_path):
    path = tmp_path / "checkpoint.pt"
    arguments = {"checkpoint": path, "checkpoint_seconds": 1e-3, "max_epochs": 2}
    amici_xr.train(tissue, "kind", **arguments, **TINY)
    with pytest.raises(ValueError, match="is of another training"):
        amici_xr.train(tissue, "kind", seed=9, **arguments, **TINY)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is damaged or not a checkpoint"):
        amici_xr.train(tissue, "kind", **arguments, **TINY)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        amici_xr.train(tissue, "kind", checkpoint=tmp_path / "no" / "where.pt", **TINY)
    with pytest.raises(ValueError, match="checkpoint_seconds=0"):
        amici_xr.train(tissue, "kind", checkpoint=tmp_path / "a.pt", checkpoint_seconds=0, **TINY)


def set_first_kind(adata, kind):
    adata.obs["kind"] = [kind, *adata.obs["kind"][1:]]


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        (lambda a: set_first_kind(a, "X"), {}, ValueError,
         "one single cell of type 'X'"),
        (None, {"n_neighbors": 500}, ValueError, "n_neighbors=500, but cells of type"),
        (None, {"n_neighbors": 300, "sample_key": "piece"}, ValueError, "in sample 'second'"),
        (lambda a: set_first_kind(a, None), {}, ValueError,
         "has no cell type for 1 cells"),
        (lambda a: a.obsm.pop("spatial"), {}, amici_xr.NotFoundError, "has no 'spatial'"),
        (lambda a: a.X.__setitem__((3, 4), np.nan), {}, ValueError, "of 'gene4' holds NaN"),
        (None, {"device": "cuda:17"}, ValueError, "device='cuda:17' can't be used"),
        (None, {"train_mask": np.ones(5, bool)}, ValueError, "for each of the 600 cells"),
        (None, {"train_mask": np.arange(600) < 1}, ValueError, "leaves 1 cells to train on"),
        (None, {"permute": "genes"}, ValueError, "permute='genes' is not known"),
        (None, {"validation": "cells"}, ValueError, "validation='cells' is not known"),
        (None, {"validation_size": 1.5}, ValueError, "must be a number above 0 and below 1"),
        (None, {"validation": "random", "validation_size": 1e-9}, ValueError, "holds 0 out"),
        (None, {"left_out": "Z"}, amici_xr.NotFoundError, "left_out: unknown cell type 'Z'"),
        (None, {"n_runs": 3, "attention_penalty": [1, 2]}, ValueError, "has 2 values for n_runs=3"),
        (None, {"attention_penalty": -1}, ValueError, "must be a finite number from 0 on"),
        (None, {"distance_kernel_unit_scale": xr.DataArray(2.0, attrs={"units": "nm"})},
         ValueError, "must be a finite number above 0"),
        (None, {"attention_penalty_epochs": (9, 3)}, ValueError, "must be two whole numbers"),
        (None, {"seed": -1}, ValueError, "seed=-1 must be an integer from 0 on"),
        (None, {"max_epochs": 0}, ValueError, "max_epochs=0 must be at least 1"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_sentence(tissue, change, arguments, error, message):
    adata = tissue.copy()
    if change is not None:
        change(adata)
    with pytest.raises(error, match=message):
        amici_xr.train(adata, "kind", **({"max_epochs": 1} | TINY | arguments))


def test_raw_counts_are_warned_of(tissue):
    adata = tissue.copy()
    adata.X = np.random.default_rng(0).poisson(40, adata.shape).astype(np.float32)
    with pytest.warns(UserWarning, match=r"integers up to .*, which look like raw counts"):
        amici_xr.train(adata, "kind", max_epochs=1, **TINY)


def test_runs_with_other_numbers_of_heads_are_extracted_one_by_one(tissue):
    sizes = TINY | {"n_heads": [2, 3]}
    runs = amici_xr.train(tissue, "kind", max_epochs=1, **sizes)
    with pytest.raises(ValueError, match="its runs have different numbers of heads"):
        amici_xr.extract(runs, "A", progress=False)


def test_the_tissue_is_not_changed(tissue):
    before = tissue.copy()
    amici_xr.train(tissue, "kind", max_epochs=1, **TINY)
    assert tissue.obs.equals(before.obs)
    assert set(tissue.uns) == set(before.uns)
    assert set(tissue.obsm) == set(before.obsm)
