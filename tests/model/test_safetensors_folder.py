"""Models that are shared: a folder without pickle, written whole, read with every doubt."""

import hashlib
import json
import struct

import numpy as np
import pytest
from recorded_data import data_folder

import amici_xr

torch = pytest.importorskip("torch")  # the core environment deselects what needs the model
pytest.importorskip("safetensors")  # likewise
pytestmark = pytest.mark.needs_model


@pytest.fixture
def shared(demo, tmp_path):
    """A shared model's folder."""
    demo[0].save(tmp_path / "shared")
    return tmp_path / "shared"


def rewrite(folder, **changed):
    described = json.loads((folder / "settings.json").read_text()) | changed
    described = {name: value for name, value in described.items() if value is not KeyError}
    described |= {"settings_sha256": ""} if "settings_sha256" in described else {}
    text = json.dumps(described)
    seal = f'"settings_sha256": "{hashlib.sha256(text.encode()).hexdigest()}"'
    (folder / "settings.json").write_text(text.replace('"settings_sha256": ""', seal))


def described(folder):
    return json.loads((folder / "settings.json").read_text())


def replace_weights(folder, weights):
    """Other weights with a digest and shapes that fit, as a hostile author would write them."""
    from safetensors.torch import save

    content = save(weights)
    (folder / "model.safetensors").write_bytes(content)
    shapes = {name: list(tensor.shape) for name, tensor in weights.items()}
    rewrite(folder, sha256=hashlib.sha256(content).hexdigest(), shapes=shapes)


def test_scores_of_a_shared_model_are_the_same_to_the_last_bit(demo, shared):
    model, adata = demo
    read = amici_xr.load_model(shared)
    assert read.settings == model.settings
    assert (read.gene_names, read.labels) == (model.gene_names, model.labels)
    expected = amici_xr.extract(model, None, adata[:300], progress=False)
    for given in (read, shared, str(shared / "settings.json"), shared / "model.safetensors"):
        ds = amici_xr.extract(given, None, adata[:300], progress=False)
        for name in ("base_attention_score", "position_coefficient"):
            np.testing.assert_array_equal(ds[name].values, expected[name].values)


@pytest.mark.parametrize("name", ["synthetic", "merfish"])
def test_recorded_models_come_back_as_they_were(name, tmp_path):
    model = amici_xr.load_model(data_folder() / name / "model")
    model.save(tmp_path / "shared")
    read = amici_xr.load_model(tmp_path / "shared")
    assert read.settings == model.settings
    assert read.gene_names == model.gene_names
    assert sorted(read.weights) == sorted(model.weights)
    assert all(torch.equal(read.weights[name], model.weights[name]) for name in model.weights)


def test_settings_can_be_read_by_anyone(shared):
    text = described(shared)
    assert text["labels"] == ["Endothelial", "Fibroblast", "Macrophage", "T_cell", "Tumor"]
    assert text["gene_names"][0] == "gene_00"
    assert text["settings"]["n_neighbors"] == {"value": 30, "source": "file"}
    assert text["settings"]["attention_dummy_score"] == {"value": 3.0, "source": "AMICI default"}
    assert text["shapes"]["attention_layer.W_Q"] == [16, 4, 32]
    assert text["is_trained"] is True


def test_labels_of_any_script_are_written_as_they_are(demo, tmp_path):
    import dataclasses

    labels = ("CD8⁺ T/αβ", "", "類", "5", "\udc80")
    dataclasses.replace(demo[0], labels=labels, is_trained=False).save(tmp_path / "shared")
    read = amici_xr.load_model(tmp_path / "shared")
    assert read.labels == labels
    assert not read.is_trained
    assert "類" in (tmp_path / "shared" / "settings.json").read_bytes().decode(errors="replace")


def test_a_shared_model_keeps_which_cells_training_left_out(demo, tmp_path):
    import dataclasses

    is_held_out = np.arange(10) % 3 == 0
    model = dataclasses.replace(demo[0], is_held_out=is_held_out)
    model.save(tmp_path / "shared")
    read = amici_xr.load_model(tmp_path / "shared")
    np.testing.assert_array_equal(read.is_held_out, is_held_out)
    assert read.weights.keys() == model.weights.keys()
    weights = dict(read.weights) | {"is_held_out": torch.zeros(3, 2)}
    replace_weights(tmp_path / "shared", weights)
    with pytest.raises(ValueError, match=r"is_held_out is of dtype float32 and shape \(3, 2\)"):
        amici_xr.load_model(tmp_path / "shared")


def test_a_shared_model_is_replaced_as_a_whole(demo, shared):
    amici_xr.demo(run=1)[0].save(shared)
    assert sorted(entry.name for entry in shared.iterdir()) == [
        "model.safetensors",
        "settings.json",
    ]
    expected = amici_xr.demo(run=1)[0].weights["ct_embed.weight"]
    assert torch.equal(amici_xr.load_model(shared).weights["ct_embed.weight"], expected)
    assert [entry.name for entry in shared.parent.iterdir()] == ["shared"]


def test_a_failure_while_writing_leaves_the_old_folder(demo, shared):
    import dataclasses

    before = {entry.name: entry.read_bytes() for entry in shared.iterdir()}
    settings = dataclasses.replace(demo[0].settings, labels_key=object())
    with pytest.raises(TypeError, match="not JSON serializable"):
        dataclasses.replace(demo[0], settings=settings).save(shared)
    assert {entry.name: entry.read_bytes() for entry in shared.iterdir()} == before
    assert [entry.name for entry in shared.parent.iterdir()] == ["shared"]


def test_what_is_no_shared_model_is_not_replaced(demo, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        FileExistsError, match=r"is a folder that holds 'notes\.txt'; give a folder"
    ):
        demo[0].save(tmp_path)
    with pytest.raises(FileExistsError, match=r"notes\.txt' is a file; give a folder"):
        demo[0].save(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; make it first"):
        demo[0].save(tmp_path / "nowhere" / "shared")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["settings.json", "model.safetensors"])
def test_a_folder_without_one_of_its_files_is_named(shared, name):
    (shared / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"shared' has no {name}; a shared model has"):
        amici_xr.load_model(shared)


@pytest.mark.parametrize("n_bytes", [0, 4, 8, 1000, -1])
@pytest.mark.parametrize("name", ["settings.json", "model.safetensors"])
def test_a_truncated_file_is_named(shared, name, n_bytes):
    file = shared / name
    file.write_bytes(file.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=rf"{name} is damaged or not (JSON|a safetensors file)"):
        amici_xr.load_model(shared)


def test_any_flipped_bit_of_the_weights_is_found(shared):
    file = shared / "model.safetensors"
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for bit in rng.integers(0, 8 * len(whole), 200):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"model\.safetensors (is damaged|does not have the SHA)"
        ):
            amici_xr.load_model(shared)


@pytest.mark.parametrize("size", [2**63, 2**40, 10**8 + 1])
def test_a_huge_declared_header_is_refused(shared, size):
    (shared / "model.safetensors").write_bytes(struct.pack("<Q", size) + b"{}")
    with pytest.raises(
        ValueError, match=r"model\.safetensors is damaged or not a safetensors file"
    ):
        amici_xr.load_model(shared)


def test_a_tensor_that_declares_a_billion_elements_is_refused(shared):
    header = json.dumps(
        {"ct_embed.weight": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}
    ).encode()
    content = struct.pack("<Q", len(header)) + header
    (shared / "model.safetensors").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"model\.safetensors is damaged or not a safetensors file"
    ):
        amici_xr.load_model(shared)


def test_files_larger_than_what_they_declare_are_not_read(shared):
    with open(shared / "model.safetensors", "r+b") as file:
        file.truncate(2**33)  # 8 GB of nothing, of which the disk holds none
    with pytest.raises(
        ValueError, match=r"model\.safetensors is damaged or not a safetensors file"
    ):
        amici_xr.load_model(shared)
    with open(shared / "settings.json", "r+b") as file:
        file.truncate(2**33)
    with pytest.raises(ValueError, match=r"settings\.json has 8,589,934,592 bytes; at most 268,"):
        amici_xr.load_model(shared)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"format": "another"},
            "does not describe a shared model: its format is not 'amici_xr model'",
        ),
        ({"version": 2}, "is of version 2, newer than 1; update amici_xr"),
        ({"version": 0}, "version can't be what was saved"),
        ({"version": True}, "version can't be what was saved"),
        ({"labels": KeyError}, "is not that of a shared model: it lacks 'labels'"),
        ({"run": "code"}, "is not that of a shared model: it holds 'run', which is not known"),
        ({"labels": "Tumor"}, "labels can't be what was saved"),
        ({"labels": ["Tumor", 5, "a", "b", "c"]}, "labels can't be what was saved"),
        ({"labels": ["a", "a", "b", "c", "d"]}, "its cell types hold 'a' more than once"),
        ({"labels": ["a", "b"]}, r"don't fit its 50 genes, its 2 cell types .*'ct_embed.weight'"),
        ({"gene_names": ["a"]}, "don't fit its 1 genes"),
        ({"gene_names": {"a": 1}}, "gene_names can't be what was saved"),
        ({"is_trained": "yes"}, "is_trained can't be what was saved"),
        ({"sha256": 5}, "sha256 can't be what was saved"),
        ({"sha256": "5"}, r"does not have the SHA-256 that settings.json says"),
        ({"shapes": []}, "shapes can't be what was saved"),
        ({"shapes": {"a": [1.5]}}, "shapes can't be what was saved"),
        ({"shapes": {"a": 5}}, "shapes can't be what was saved"),
        ({"shapes": {"a": [10**4000] * 2000}}, "have other shapes than settings.json says"),
        ({"shapes": {"a": [10**6]}}, "have other shapes than settings.json says"),
        (
            {"settings": {}},
            "settings is not that of a shared model: it lacks 'labels_key', 'n_neighbors'",
        ),
    ],
)
def test_settings_that_were_not_written_so_are_named(shared, changed, message):
    rewrite(shared, **changed)
    with pytest.raises(ValueError, match=message) as error:
        amici_xr.load_model(shared)
    assert str(shared) in str(error.value)


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("n_neighbors", {"value": 0, "source": "file"}, "n_neighbors=0 must be a whole number"),
        ("n_neighbors", {"value": True, "source": "file"}, "n_neighbors=True must be a whole"),
        ("n_neighbors", {"value": 2**63, "source": "file"}, "n_neighbors=9223.* must be a whole"),
        ("pos_coef_offset", {"value": 2**2000, "source": "file"}, "must be a finite number"),
        ("labels_key", {"value": None, "source": "file"}, "labels_key=None must be a name"),
        ("layer", {"value": 5, "source": "file"}, "layer=5 must be a name"),
        ("pos_coef_offset", {"value": "1", "source": "file"}, "'1' must be a finite number"),
        ("pos_coef_offset", {"value": float("nan"), "source": "file"}, "nan must be a finite num"),
        (
            "distance_kernel_unit_scale",
            {"value": -1.0, "source": "file"},
            "distance_kernel_unit_scale=-1.0 must be a finite number above 0",
        ),
        (
            "layer",
            {"value": None, "source": "me"},
            r"settings\['layer'\].* must have a value",
        ),
        ("layer", None, r"settings\['layer'\]=None must have a value and a source"),
    ],
)
def test_a_setting_out_of_range_is_named(shared, name, setting, message):
    rewrite(shared, settings=described(shared)["settings"] | {name: setting})
    with pytest.raises(ValueError, match=message) as error:
        amici_xr.load_model(shared)
    assert "settings.json" in str(error.value)


@pytest.mark.parametrize("text", ["[1]", "5", "null", "{", "[" * 10**5, '{"a": 1, "a": 2}', "é"])
def test_text_that_is_no_settings_is_named(shared, text):
    (shared / "settings.json").write_bytes(text.encode("latin1"))
    with pytest.raises(
        ValueError, match=r"settings\.json (is damaged|does not describe a shared model)"
    ):
        amici_xr.load_model(shared)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("pos_coef_mlp.nn.1.bias"), r"weights lack 'pos_coef_mlp\.nn\.1\.bias'"),
        (
            lambda w: w.update({"nn_embed.nn.9.weight": torch.ones(3)}),
            r"AMICI's network has no weights 'nn_embed\.nn\.9",
        ),
        (lambda w: w["attention_layer.b_K"].fill_(np.nan), r"'attention_layer\.b_K' hold NaN"),
        (lambda w: w["ct_embed.weight"].fill_(np.inf), r"'ct_embed\.weight' hold NaN or infinite"),
        (
            lambda w: w.update({"attention_layer.W_K": torch.ones(16, 4, 7)}),
            r"don't fit .*'kv_embed\.project_nn\.0\.weight' is \(256, 64\), not \(28, 64\)",
        ),
        (
            lambda w: w.update({"ct_embed.weight": torch.ones(5, 16, dtype=torch.int64)}),
            r"'ct_embed\.weight' are not arrays of real numbers",
        ),
    ],
)
def test_weights_that_make_no_network_are_named(demo, shared, change, message):
    weights = {name: tensor.clone() for name, tensor in demo[0].weights.items()}
    change(weights)
    replace_weights(shared, weights)
    with pytest.raises(ValueError, match=message) as error:
        amici_xr.load_model(shared)
    assert "model.safetensors" in str(error.value)


def test_any_flipped_bit_of_the_settings_is_refused(shared):
    from amici_xr.model.safetensors_folder import read_folder

    file = shared / "settings.json"
    whole = file.read_bytes()
    read_folder(shared)
    rng = np.random.default_rng(0)
    for bit in rng.choice(8 * len(whole), 1_000, replace=False):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"settings\.json"):
            read_folder(shared)


def test_settings_changed_by_hand_are_refused(shared):
    file = shared / "settings.json"
    file.write_text(file.read_text().replace('"value": 30', '"value": 31'))
    with pytest.raises(ValueError, match="is damaged: it does not have the SHA-256 that it says"):
        amici_xr.load_model(shared)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("settings.json", '{"editor.fontSize": 14}'),
        ("settings.json", "[1]"),
        ("settings.json", "// of an editor"),
        ("model.safetensors", "weights of another model"),
    ],
)
def test_files_of_another_program_are_not_replaced(demo, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(FileExistsError, match=rf"holds '{name}' of another program; give a folder"):
        demo[0].save(tmp_path)
    assert (tmp_path / name).read_text() == content


def test_a_model_in_the_home_folder_is_written_and_read(demo, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    demo[0].save("~/shared")
    (tmp_path / "shared").chmod(0o700)
    demo[0].save("~/shared")
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o700
    assert amici_xr.load_model("~/shared").labels == demo[0].labels
