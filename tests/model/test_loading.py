"""Reading saved models: what is read, and what is refused without running it."""

import os
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import amici_xr

torch = pytest.importorskip("torch")  # the core environment deselects what needs the model
pytestmark = pytest.mark.needs_model

MODEL = Path(str(files("amici_xr.demo_data"))) / "model" / "model.pt"


@pytest.fixture
def saved():
    """The content of the packaged model's file, to be changed and written again."""
    model = amici_xr.load_model(MODEL)
    arguments = {
        name: value["value"]
        for name, value in model.settings.with_sources().items()
        if name
        in (
            "labels_key",
            "n_neighbors",
            "layer",
            "coord_obsm_key",
            "nn_idx_key",
            "nn_dist_key",
            "cell_radius_key",
        )
    }
    labels = {"state_registry": {"categorical_mapping": np.array(model.labels, dtype=object)}}
    return {
        "model_state_dict": dict(model.weights),
        "var_names": np.array(model.gene_names),
        "attr_dict": {
            "registry_": {"setup_args": arguments, "field_registries": {"labels": labels}},
            "init_params_": {"kwargs": {"model_kwargs": {}}, "non_kwargs": {}},
            "is_trained_": True,
        },
    }


def written(content, folder, name="model.pt"):
    torch.save(content, folder / name)
    return folder


def test_a_saved_model_holds_settings_genes_and_labels():
    model = amici_xr.load_model(MODEL.parent)
    assert model.labels == ("Endothelial", "Fibroblast", "Macrophage", "T_cell", "Tumor")
    assert model.gene_names[:2] == ("gene_00", "gene_01")
    assert len(model.gene_names) == 50
    assert model.settings.n_neighbors == 30
    assert model.settings.attention_dummy_score == 3.0
    assert "attention_dummy_score" in model.settings.defaulted
    assert "labels_key" not in model.settings.defaulted
    assert model.is_trained
    assert repr(model).startswith("<SavedModel: 4 heads, 50 genes, cell types 'Endothelial'")


def test_settings_that_were_saved_win_over_defaults(saved, tmp_path):
    saved["attr_dict"]["init_params_"]["kwargs"]["model_kwargs"] = {
        "attention_dummy_score": 1.5,
        "distance_kernel_unit_scale": 7,
        "pos_coef_offset": np.float64(-1.0),
    }
    settings = amici_xr.load_model(written(saved, tmp_path)).settings
    assert settings.attention_dummy_score == 1.5
    assert settings.distance_kernel_unit_scale == 7.0
    assert settings.pos_coef_offset == -1.0
    assert settings.with_sources()["pos_coef_offset"] == {"value": -1.0, "source": "file"}


def test_a_file_with_pandas_objects_beside_is_read(saved, tmp_path):
    saved["attr_dict"]["history_"] = {"loss": pd.DataFrame({"loss": [1.0, 0.5]})}
    saved["pyro_param_store"] = None
    assert amici_xr.load_model(written(saved, tmp_path)).labels[0] == "Endothelial"


def test_labels_of_any_script_are_read(saved, tmp_path):
    labels = ["CD8⁺ T/αβ", "NA", "", "類", "5"]
    registry = saved["attr_dict"]["registry_"]["field_registries"]["labels"]["state_registry"]
    registry["categorical_mapping"] = np.array(labels, dtype=object)
    assert amici_xr.load_model(written(saved, tmp_path)).labels == tuple(labels)


def test_a_live_model_and_its_folder_are_the_same(saved, demo):
    reference, adata = demo
    module = SimpleNamespace(state_dict=lambda: saved["model_state_dict"])
    live = SimpleNamespace(module=module, adata=adata, **saved["attr_dict"])
    ds = amici_xr.extract(live, "Tumor", progress=False)
    assert ds.equals(amici_xr.extract(reference, "Tumor", adata, progress=False))


@pytest.mark.parametrize("how", ["folder", "live"])
def test_an_untrained_model_is_known_as_such(saved, tmp_path, demo, how):
    saved["attr_dict"]["is_trained_"] = False
    module = SimpleNamespace(state_dict=lambda: saved["model_state_dict"])
    live = SimpleNamespace(module=module, adata=demo[1], **saved["attr_dict"])
    model = live if how == "live" else written(saved, tmp_path)
    with pytest.warns(UserWarning, match="the model was not trained"):
        amici_xr.extract(model, "Tumor", demo[1], progress=False)


def test_a_folder_without_model_pt_is_named(tmp_path):
    (tmp_path / "adata.h5ad").touch()
    with pytest.raises(FileNotFoundError, match=r"there is no model\.pt .* holds 'adata\.h5ad'"):
        amici_xr.load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no nothing in .* holds 'adata\.h5ad'"):
        amici_xr.extract(tmp_path / "nothing", "T_cell")


@pytest.mark.parametrize("content", [b"", b"text", MODEL.read_bytes()[:1000]])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"model\.pt can't be read as a model: it is not a whole zip"
    ):
        amici_xr.load_model(tmp_path)


def test_a_checkpoint_that_lacks_a_tensor_is_named(tmp_path):
    with zipfile.ZipFile(MODEL) as whole, zipfile.ZipFile(tmp_path / "model.pt", "w") as part:
        for name in whole.namelist():
            if not name.endswith("/data/0"):
                part.writestr(name, whole.read(name))
    with pytest.raises(ValueError, match=r"model\.pt can't be read as a model: a part is missing"):
        amici_xr.load_model(tmp_path)


class RunsOnLoading:
    def __reduce__(self):
        return os.system, ("touch it-ran",)


class Evaluates:
    def __reduce__(self):
        return eval, ("open('it-ran', 'w')",)


@pytest.mark.parametrize(
    ("hostile", "name"),
    [(RunsOnLoading(), "posix.system|nt.system"), (Evaluates(), "builtins.eval")],
)
def test_a_file_that_would_run_code_is_refused_by_name(saved, tmp_path, hostile, name):
    saved["attr_dict"]["history_"] = [{"deep": hostile}]
    with pytest.raises(
        ValueError, match=f"names '({name})', which no model needs and which could run code"
    ):
        amici_xr.load_model(written(saved, tmp_path))
    assert not (tmp_path / "it-ran").exists()
    assert not Path("it-ran").exists()


def test_a_class_that_no_model_needs_is_refused_by_name(saved, tmp_path):
    saved["attr_dict"]["generator"] = np.random.PCG64
    with pytest.raises(ValueError, match=r"names 'numpy\.random\._pcg64\.PCG64'.*; ask its author"):
        amici_xr.load_model(written(saved, tmp_path))


@pytest.mark.parametrize("part", ["model_state_dict", "var_names", "attr_dict"])
def test_a_checkpoint_that_is_not_amici_s_is_named(saved, tmp_path, part):
    del saved[part]
    with pytest.raises(ValueError, match=f"is not an AMICI model: it lacks '{part}'"):
        amici_xr.load_model(written(saved, tmp_path))


def test_weights_or_registry_of_another_model_are_named(saved, tmp_path):
    saved["model_state_dict"].pop("attention_layer.W_Q")
    saved["attr_dict"]["registry_"] = {}
    with pytest.raises(ValueError, match=r"lacks 'attention_layer\.W_Q', 'registry_'"):
        amici_xr.load_model(written(saved, tmp_path))
    with pytest.raises(ValueError, match="is not an AMICI model: it lacks"):
        amici_xr.load_model(written([1, 2], tmp_path))


@pytest.mark.parametrize("how", ["absent", "none"])
def test_settings_without_which_nothing_can_be_read_are_named(saved, tmp_path, how):
    arguments = saved["attr_dict"]["registry_"]["setup_args"]
    if how == "absent":
        del arguments["labels_key"]
    else:
        arguments["labels_key"] = None
    with pytest.raises(ValueError, match=r"saved without its settings 'labels_key'"):
        amici_xr.load_model(written(saved, tmp_path))


@pytest.mark.parametrize("how", ["folder", "live"])
@pytest.mark.parametrize("name", [None, ["a"], b"gene"])
def test_gene_names_that_are_no_text_are_named(saved, tmp_path, how, name):
    genes = np.array(saved["var_names"], dtype=object)
    genes[3] = name
    module = SimpleNamespace(state_dict=lambda: saved["model_state_dict"])
    live = SimpleNamespace(
        module=module, adata=SimpleNamespace(var_names=genes), **saved["attr_dict"]
    )
    model = live if how == "live" else written(saved | {"var_names": genes}, tmp_path)
    where = "the live SimpleNamespace" if how == "live" else r"model\.pt"
    with pytest.raises(ValueError, match=f"{where}: gene names and cell types must be text or num"):
        amici_xr.extract(model, "Tumor", SimpleNamespace())


def test_cell_types_that_are_no_text_make_no_registry(saved, tmp_path):
    registry = saved["attr_dict"]["registry_"]["field_registries"]["labels"]["state_registry"]
    registry["categorical_mapping"] = np.array(["a", None], dtype=object)
    with pytest.raises(ValueError, match="is not an AMICI model: it lacks 'registry_'"):
        amici_xr.load_model(written(saved, tmp_path))


def test_weights_that_are_not_finite_are_named(saved, tmp_path, demo):
    saved["model_state_dict"]["ct_embed.weight"][0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"weights 'ct_embed\.weight' hold NaN or infinite"):
        amici_xr.extract(written(saved, tmp_path), "T_cell", demo[1], progress=False)


def test_extraction_needs_neither_amici_nor_scvi():
    code = """
import sys, amici_xr
model, adata = amici_xr.demo()
amici_xr.extract(model, "T_cell", adata, progress=False)
print(sorted({"amici", "scvi"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
