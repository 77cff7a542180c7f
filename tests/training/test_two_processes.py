"""A strategy of Lightning's: two processes train one model on halves of the patches."""

import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("torch")  # the core environment has neither
pytest.importorskip("scvi")
pytestmark = [pytest.mark.needs_model, pytest.mark.needs_training, pytest.mark.slow]

SCRIPT = textwrap.dedent("""
    import sys, warnings
    warnings.simplefilter("ignore")  # of few epochs, and of loaders without workers
    import amici_xr

    if __name__ == "__main__":  # the second process runs this file, too
        adata = amici_xr.demo()[1][::4].copy()
        sizes = dict(n_heads=2, cell_size=16, cell_hidden_size=16, key_size=8)
        amici_xr.AttentionModel.setup_anndata(adata, "cell_type", n_neighbors=10)
        model = amici_xr.AttentionModel(adata, **sizes)
        model.train(8, progress=False, accelerator="cpu", devices=int(sys.argv[1]),
                    strategy="ddp" if sys.argv[1] == "2" else "auto")
        weights = model.module.weights_of(0).values()
        total = sum(weight.double().abs().sum() for weight in weights)
        error = model.runs.history["validation_error"].values.ravel()[-1]
        sys.stdout.write(f"TRAINED {total:.10f} {error:.6f}\\n")
""")


def train(n_processes, folder):
    script = folder / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(n_processes)]
    settings = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=settings, cwd=folder)
    assert done.returncode == 0, done.stderr
    words = done.stdout.replace("TRAINED", "\nTRAINED").splitlines()
    return [line.split()[1:] for line in words if line.startswith("TRAINED")]


def test_two_processes_end_with_one_model_that_predicts_as_well_as_that_of_one(tmp_path):
    (alone,) = train(1, tmp_path)
    first, second = train(2, tmp_path)
    assert first == second
    assert float(first[1]) == pytest.approx(float(alone[1]), rel=0.02)
