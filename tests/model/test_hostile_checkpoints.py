"""Checkpoints from strangers: none runs anything, none fills the memory, each is named."""

import io
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import amici_xr
from amici_xr.model.pickle_rehearsal import globals_named, rehearse

torch = pytest.importorskip("torch")  # the core environment deselects what needs the model
pytestmark = pytest.mark.needs_model

MODEL = Path(str(files("amici_xr.demo_data"))) / "model" / "model.pt"


def members():
    """The members of the packaged model's file."""
    with zipfile.ZipFile(MODEL) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(folder, content, **options):
    with zipfile.ZipFile(folder / "model.pt", "w", **options) as archive:
        for name, member in content.items():
            archive.writestr(name, member)
    return folder


def with_pickle(folder, pickled):
    """A file as torch writes it, around a pickle that it would not write."""
    return written(folder, members() | {"model/data.pkl": pickled})


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("hostile", "name"),
    [
        (Calls(os.system, "touch it-ran"), r"posix\.system"),
        (Calls(eval, "open('it-ran', 'w')"), r"builtins\.eval"),
        (Calls(exec, "open('it-ran', 'w')"), r"builtins\.exec"),
        (Calls(open, "it-ran", "w"), r"(io|_io)\.open"),
        (Calls(getattr, "text", "upper"), r"builtins\.getattr"),
        (Calls(subprocess.run, "touch it-ran"), r"(subprocess|commands)\.run"),
        (Calls(dict, [("a", Calls(os.system, "touch it-ran"))]), r"posix\.system"),
        ({"a": [({"b": Calls(os.system, "touch it-ran")},)]}, r"posix\.system"),
        (Calls(memoryview, b"text"), r"builtins\.memoryview"),
        (Calls(pickle.loads, b"cos\nsystem\n(S'touch it-ran'\ntR."), r"_?pickle\.loads"),
    ],
)
def test_what_would_run_is_refused_by_name(tmp_path, hostile, name, protocol):
    content = pickle.dumps({"model_state_dict": {}, "attr_dict": hostile}, protocol)
    with pytest.raises(ValueError, match=f"model.pt names .*{name}.*it was not read"):
        amici_xr.load_model(with_pickle(tmp_path, content))
    assert not (tmp_path / "it-ran").exists()


def test_a_file_that_is_no_zip_of_torch_is_refused_by_its_name(tmp_path):
    with pytest.raises(ValueError, match=r"is a zip, but not one that torch\.save wrote"):
        amici_xr.load_model(written(tmp_path, {"folder/text": b"text"}))
    with pytest.raises(ValueError, match=r"is a zip, but not one that torch\.save wrote"):
        amici_xr.load_model(written(tmp_path, members() | {"other/data.pkl": b""}))
    torch.save({"a": 1}, tmp_path / "model.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"not a model\.pt that torch can read: File is not a zip"):
        amici_xr.load_model(tmp_path)


def test_members_that_lie_twice_are_refused(tmp_path):
    (tmp_path / "model.pt").write_bytes(MODEL.read_bytes())
    with (
        zipfile.ZipFile(tmp_path / "model.pt", "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("model/data/0", bytes(1000))
    with pytest.raises(ValueError, match=r"is a zip, but not one that torch\.save wrote"):
        amici_xr.load_model(tmp_path)


def test_members_that_are_packed_are_refused(tmp_path):
    bomb = members() | {"model/data/0": bytes(10**7)}
    folder = written(tmp_path, bomb, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="larger than the file, or are packed"):
        amici_xr.load_model(folder)


def test_a_byte_order_that_is_none_is_refused(tmp_path):
    folder = written(tmp_path, members() | {"model/byteorder": b"middle"})
    with pytest.raises(ValueError, match="its byteorder is b'middle'"):
        amici_xr.load_model(folder)


def global_(module, name):
    return f"c{module}\n{name}\n".encode()


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def storage(n, key="0", kind="FloatStorage"):
    """A reference to numbers that lie beside the pickle."""
    parts = text("storage"), global_("torch", kind), text(key), text("cpu"), number(n)
    return b"(" + b"".join(parts) + b"tQ"


def tensor(n, shape, strides):
    call = global_("torch._utils", "_rebuild_tensor_v2")
    sizes = [b"(" + b"".join(number(n) for n in many) + b"t" for many in (shape, strides)]
    empty = global_("collections", "OrderedDict") + b")R"
    return call + b"(" + storage(n) + number(0) + sizes[0] + sizes[1] + b"\x89" + empty + b"tR"


RECONSTRUCT = (
    global_("numpy.core.multiarray", "_reconstruct")
    + b"("
    + global_("numpy", "ndarray")
    + b"K\x00\x85"
    + global_("_codecs", "encode")
    + text("b")
    + text("latin1")
    + b"\x86RtR"
)
OBJECTS = global_("numpy", "dtype") + text("O8") + b"\x89\x88\x87R"
LONG_TEXT = text("a" * 10**5) + b"q\x01"
LONG_BYTES = global_("_codecs", "encode") + LONG_TEXT + text("latin1") + b"\x86Rq\x02"
COPIES = (global_("_codecs", "encode") + b"h\x01" + text("latin1") + b"\x86R") * 3000

ASK_TOO_MUCH = {
    "a tensor of a billion elements": (
        tensor(10**9, [10**9], [1]),
        r"data/0 holds 1000000000 numbers of 4 bytes, and that has 1000 bytes",
    ),
    "a tensor that repeats its numbers": (
        tensor(250, [10**9], [0]),
        r"calls torch\._utils\._rebuild_tensor_v2 as no model does",
    ),
    "an array of a billion objects": (
        RECONSTRUCT + b"(K\x01" + number(10**9) + b"\x85" + OBJECTS + b"\x89]tb",
        "has an array that NumPy did not write",
    ),
    "an array that is made large": (
        global_("numpy.core.multiarray", "_reconstruct")
        + b"("
        + global_("numpy", "ndarray")
        + number(10**9)
        + b"\x85NtR",
        "_reconstruct as no model does",
    ),
    "an array class that is called": (
        global_("numpy", "ndarray") + number(10**9) + b"\x85\x85R",
        r"calls numpy\.ndarray as no model does",
    ),
    "an array of bytes that is made large": (
        global_("builtins", "bytearray") + number(10**9) + b"\x85R",
        r"calls builtins\.bytearray as no model does",
    ),
    "an array of bytes in an encoding that is longer": (
        global_("builtins", "bytearray") + text("a") + text("utf-32") + b"\x86R",
        r"calls builtins\.bytearray as no model does",
    ),
    "an array of bytes that is copied again and again": (
        b"(" + LONG_BYTES + (global_("builtins", "bytearray") + b"h\x02\x85R") * 3000 + b"t",
        "asks for more memory than its content needs",
    ),
    "a text that is copied again and again": (
        b"(" + LONG_TEXT + COPIES + b"t",
        "asks for more memory than its content needs",
    ),
    "bytes that double each time": (
        global_("_codecs", "encode") + text("a") + text("hex") + b"\x86R",
        r"calls _codecs\.encode as no model does",
    ),
    "pairs of pairs of pairs": (b")" + b"2\x86" * 60, "holds DUP, which torch does not write"),
    "pairs that are remembered": (
        b"()q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"t",
        "nests tuples deeper than a model does",
    ),
    "a dict with such keys": (b"}))\x86Ns", "has keys that are no names"),
    "a dtype of pointers": (
        global_("numpy", "dtype")
        + text("f8")
        + b"\x89\x88\x87R(K\x03"
        + text("<")
        + b"NNNK\x08K\x08K?tb",
        "a dtype that is no number's or text's",
    ),
    "a dtype with a shape": (
        global_("numpy", "dtype") + text("(1000000000,)f8") + b"\x89\x88\x87R",
        r"calls numpy\.dtype as no model does",
    ),
    "a memo without end": (b"Nr\xff\xff\xff\x7f", None),
    "a text without end": (b"X\xff\xff\xff\x7f", None),
    "what was never remembered": (b"h\x05", "its pickle is not whole"),
}


@pytest.mark.parametrize("name", ASK_TOO_MUCH)
def test_what_asks_for_too_much_is_refused_in_little_memory(tmp_path, name):
    body, message = ASK_TOO_MUCH[name]
    folder = with_pickle(tmp_path, b"\x80\x02}" + text("model_state_dict") + body + b"s.")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=message or "is not") as error:
        amici_xr.load_model(folder)
    assert str(folder / "model.pt") in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB


UNDER_A_LIMIT = """
import resource, sys
import torch
import amici_xr
amici_xr.load_model(sys.argv[1])
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 2**26,) * 2)
for path in sys.argv[2:]:
    try:
        amici_xr.load_model(path)
    except ValueError as error:
        print("refused" if path in str(error) else error)
"""


def test_64_megabytes_are_enough_to_refuse_every_bomb(tmp_path):
    folders = []
    for number_, (body, _) in enumerate(ASK_TOO_MUCH.values()):
        folders.append(tmp_path / str(number_))
        folders[-1].mkdir()
        with_pickle(folders[-1], b"\x80\x02}" + text("model_state_dict") + body + b"s.")
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_LIMIT, str(MODEL), *map(str, folders)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["refused"] * len(ASK_TOO_MUCH)


NO_MODEL = {
    "a tuple of what is not there": (b"\x86", "its pickle is not whole"),
    "a mark that was never set": (b"t", r"its pickle is not whole \(pop from empty list\)"),
    "a number that is filled": (b"K\x01K\x02a", "fills what can't be filled"),
    "bytes that are filled as a dict": (
        global_("builtins", "bytes") + b")RNNs",
        "fills what can't be filled",
    ),
    "a number that is called": (b"K\x01)R", "calls what is no function"),
    "a function that is called without a tuple": (
        global_("builtins", "dict") + b"K\x01R",
        "calls what is no function",
    ),
    "a kind of numbers that is called": (
        global_("torch", "FloatStorage") + b")R",
        r"calls torch\.FloatStorage as no model does",
    ),
    "a dict that is made as a class": (
        global_("builtins", "dict") + b")\x81",
        r"calls builtins\.dict as no model does",
    ),
    "a slice of text": (
        global_("builtins", "slice") + text("a") + b"\x85R",
        r"calls builtins\.slice as no model does",
    ),
    "a dtype that is no text": (
        global_("numpy", "dtype") + b"K\x01\x89\x88\x87R",
        r"calls numpy\.dtype as no model does",
    ),
    "numbers of another kind": (
        b"(" + text("memory") + global_("torch", "FloatStorage") + text("0") + text("cpu")
        + number(250) + b"tQ",
        "numbers that are of no known kind",
    ),
    "numbers of a kind without a size": (
        storage(250, kind="ComplexFloatStorage"),
        "numbers that are of no known kind",
    ),
    "numbers that are not there": (storage(250, key="999"), "and that has no bytes"),
    "a number that is changed": (b"K\x01Nb", "changes what can't be changed"),
    "a dict that is changed by a number": (
        global_("builtins", "dict") + b")RK\x01b",
        "changes what can't be changed",
    ),
    "an array of another version": (
        RECONSTRUCT + b"(K\x02K\x00\x85" + OBJECTS + b"\x89]tb",
        "an array that NumPy did not write",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_MODEL)
def test_what_no_model_asks_for_is_refused_before_torch_sees_it(name):
    body, message = NO_MODEL[name]
    with pytest.raises(ValueError, match=message):
        rehearse(b"\x80\x02}" + body + b".", {"torch.FloatStorage": 4}, {"0": 1000})


def test_names_that_are_put_together_on_the_stack_are_found():
    pickled = pickle.dumps({"a": os.system, "b": np.random.PCG64}, protocol=4)
    assert globals_named(pickled) == {"posix.system", "numpy.random._pcg64.PCG64"}
    with pytest.raises(ValueError, match=r"holds .*, which torch does not write"):
        rehearse(pickled, {}, {})


def test_a_good_pickle_passes_and_its_names_are_all_found():
    pickled = members()["model/data.pkl"]
    stored = {
        name.removeprefix("model/data/"): len(content)
        for name, content in members().items()
        if name.startswith("model/data/")
    }
    rehearse(pickled, {"torch.FloatStorage": 4}, stored)
    found = set()

    class Collects(pickle.Unpickler):  # the standard library's own way to each name
        def find_class(self, module, name):
            found.add(f"{module}.{name}")
            return lambda *_: Collected()

        def persistent_load(self, pid):
            return None

    class Collected(dict):
        def __setstate__(self, state):
            pass

    Collects(io.BytesIO(pickled)).load()
    assert globals_named(pickled) == {name.replace("__builtin__", "builtins") for name in found}


def changed_weights(folder, change):
    model = amici_xr.load_model(MODEL)
    weights = {name: tensor_.clone() for name, tensor_ in model.weights.items()}
    change(weights)
    settings = {"labels_key": "cell_type", "n_neighbors": 30}
    mapping = {"state_registry": {"categorical_mapping": np.array(model.labels, dtype=object)}}
    registry = {"setup_args": settings, "field_registries": {"labels": mapping}}
    content = {
        "model_state_dict": weights,
        "var_names": np.array(model.gene_names),
        "attr_dict": {"registry_": registry, "init_params_": {}, "is_trained_": True},
    }
    torch.save(content, folder / "model.pt")
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("query_embed.nn.3.bias"), r"weights lack 'query_embed\.nn\.3\.bias'"),
        (lambda w: w.pop("nn_embed.nn.1.weight"), r"weights lack 'nn_embed\.nn\.1\.weight'"),
        (lambda w: w.update({"z_encoder.weight": torch.ones(2)}), r"'z_encoder\.weight', which"),
        (lambda w: w.update({"kv_embed.nn.6.weight": torch.ones(2)}), "have no place in AMICI's"),
        (
            lambda w: w.update({"pos_coef_mlp.nn.0.weight": torch.ones(64, 81)}),
            r"'pos_coef_mlp\.nn\.0\.weight' is \(64, 81\), not \(64, 80\)",
        ),
        (lambda w: w.update({"ct_embed.weight": torch.ones(80)}), "don't fit its 50 genes"),
        (lambda w: w["nn_embed.nn.0.weight"].fill_(np.nan), r"'nn_embed\.nn\.0\.weight' hold NaN"),
        (lambda w: w.update({"ct_embed.weight": 5}), "are not arrays of real numbers"),
        (
            lambda w: w.update({"ct_embed.weight": torch.ones(5, 16, dtype=torch.int64)}),
            r"'ct_embed\.weight' are not arrays of real numbers",
        ),
    ],
)
def test_weights_that_make_no_network_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as error:
        amici_xr.load_model(changed_weights(tmp_path, change))
    assert str(tmp_path / "model.pt") in str(error.value)


def test_a_model_of_another_kind_is_told_to_be_no_amici_model(tmp_path):
    content = {
        "model_state_dict": {"z_encoder.weight": torch.ones(2, 2)},
        "var_names": np.array(["a", "b"]),
        "attr_dict": {
            "registry_": {"setup_args": {"batch_key": None}, "field_registries": {"batch": {}}},
            "init_params_": {"non_kwargs": {"n_latent": 10}},
        },
    }
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"is not an AMICI model: it lacks 'ct_embed\.weight'"):
        amici_xr.load_model(tmp_path)
