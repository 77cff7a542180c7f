"""Record checkpoints as other versions write them: those of `tests/model/checkpoints`.

In an environment with this package, torch and the NumPy and pandas in question,
``python benchmarks/record_checkpoints.py amici`` writes the packaged model anew: its attributes are
made again with that NumPy and that pandas as scvi-tools makes them, among them a history of
training, and saved by torch. Only the pickle of the file is kept; the weights are the packaged
model's own. ``python benchmarks/record_checkpoints.py scvi``, where scvi-tools is, trains tiny
models of its own for one epoch and keeps their files.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from amici_xr.model.unpickling import read_safely

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINTS = ROOT / "tests" / "model" / "checkpoints"
PACKAGED = ROOT / "amici_xr" / "demo_data" / "model" / "model.pt"
OTHER_MODELS = ("SCVI", "AmortizedLDA")


def versions() -> str:
    """What wrote a file, as its name says it."""
    arrow = "_pyarrow" if importlib.util.find_spec("pyarrow") else ""
    return f"numpy_{np.__version__}_pandas_{pd.__version__}{arrow}"


def record_amici(folder: Path) -> None:
    """Write the packaged model with this NumPy and this pandas, and keep its pickle."""
    saved = read_safely(PACKAGED)
    made = saved | {
        "var_names": pd.Index(saved["var_names"]).astype(str).to_numpy(),
        "attr_dict": attributes(saved["attr_dict"]),
        "pyro_param_store": None,  # of newer scvi-tools
    }
    with tempfile.TemporaryDirectory() as beside:
        file = Path(beside) / "model.pt"
        torch.save(made, file)
        written, packaged = members(file), members(PACKAGED)
    numbers = {name for name in packaged if name.startswith("data/")}
    if any(written[name] != packaged[name] for name in numbers):
        raise AssertionError("the weights were written in another order, or changed")
    keep(folder / f"amici_{versions()}.pkl.gz", written["data.pkl"])


def attributes(old: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a model, made from arrays and tables as scvi-tools makes them."""
    registry = old["registry_"]
    # safe reading leaves a plain dict of it
    registry["field_registries"] = defaultdict(dict, registry["field_registries"])
    labels = registry["field_registries"]["labels"]["state_registry"]
    types = pd.Series(np.repeat(labels["categorical_mapping"], 2)).astype("category")
    labels["categorical_mapping"] = types.cat.categories.to_numpy(copy=True)
    genes = registry["field_registries"]["X"]["state_registry"]
    genes["column_names"] = pd.Index(genes["column_names"]).to_numpy()
    registry["setup_args"]["n_neighbors"] = np.int64(registry["setup_args"]["n_neighbors"])
    given = old["init_params_"]["kwargs"]["model_kwargs"]
    given["pos_coef_offset"] = np.float64(-2.0)
    epochs = pd.RangeIndex(2, name="epoch")
    history = {
        name: pd.DataFrame({name: values}, index=epochs)
        for name, values in {"elbo_train": [1.5, 1.25], "kind": ["first", "last"]}.items()
    }
    cells = np.random.default_rng(0).permutation(20)
    return old | {
        "history_": history,
        "train_indices_": cells[:15],
        "validation_indices_": cells[15:],
        "test_indices_": cells[:0],
        "run_name_": pd.Series(["a", None], dtype="string"),
    }


def record_others(folder: Path) -> None:
    """Train other models of scvi-tools for one epoch and keep their files."""
    import anndata
    import scvi

    counts = np.random.default_rng(0).poisson(1.0, (60, 12)).astype("float32")
    for kind in OTHER_MODELS:
        adata = anndata.AnnData(counts)
        adata.obs["batch"] = ["a", "b"] * 30
        model_class = getattr(scvi.model, kind)
        batches = {} if kind == "AmortizedLDA" else {"batch_key": "batch"}
        model_class.setup_anndata(adata, **batches)
        model = model_class(adata, n_hidden=8)
        with tempfile.TemporaryDirectory() as beside:
            model.train(1, accelerator="cpu", enable_progress_bar=False, default_root_dir=beside)
            model.save(f"{beside}/model")
            content = Path(f"{beside}/model/model.pt").read_bytes()
        keep(folder / f"{kind}_scvi_{scvi.__version__}_{versions()}.pt.gz", content)


def members(file: Path) -> dict[str, bytes]:
    """Content of each member of a file that torch wrote, without the name of its folder."""
    with zipfile.ZipFile(file) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def keep(file: Path, content: bytes) -> None:
    """Write a file, packed, the same each time."""
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(gzip.compress(content, mtime=0))
    print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("amici", "scvi"))
    parser.add_argument("--out", type=Path, default=CHECKPOINTS)
    asked = parser.parse_args()
    (record_amici if asked.what == "amici" else record_others)(asked.out)
