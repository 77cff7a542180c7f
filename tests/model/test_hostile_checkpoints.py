"""Checkpoints from strangers: none runs anything, none fills the memory, each is named."""

import os
import pickle
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import amici_xr
from amici_xr.model.unpickling import read_safely

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
    with pytest.raises(
        ValueError, match=f"model.pt can't be read as a model: it names '{name}', which no"
    ):
        amici_xr.load_model(with_pickle(tmp_path, content))
    assert not (tmp_path / "it-ran").exists()


def test_a_file_that_is_no_zip_of_torch_is_refused_by_its_name(tmp_path):
    with pytest.raises(ValueError, match=r"is a zip, but not one that torch\.save wrote"):
        amici_xr.load_model(written(tmp_path, {"folder/text": b"text"}))
    with pytest.raises(ValueError, match=r"is a zip, but not one that torch\.save wrote"):
        amici_xr.load_model(written(tmp_path, members() | {"other/data.pkl": b""}))
    torch.save({"a": 1}, tmp_path / "model.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(
        ValueError, match="not a whole zip archive: damaged, or saved by torch before 1"
    ):
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


def test_an_unknown_byte_order_is_refused(tmp_path):
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


def tensor(n, shape, strides, key="0"):
    call = global_("torch._utils", "_rebuild_tensor_v2")
    sizes = [b"(" + b"".join(number(n) for n in many) + b"t" for many in (shape, strides)]
    empty = global_("collections", "OrderedDict") + b")R"
    return call + b"(" + storage(n, key) + number(0) + sizes[0] + sizes[1] + b"\x89" + empty + b"tR"


LARGEST = max(
    ((name.rpartition("/")[2], len(content)) for name, content in members().items()
     if "/data/" in name), key=lambda member: member[1],
)  # fmt: skip
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
        "data/0 does not hold 1000000000 numbers of 4 bytes",
    ),
    "a tensor that repeats its numbers": (
        tensor(250, [10**9], [0]),
        r"calls torch\._utils\._rebuild_tensor_v2 as no model does",
    ),
    "an array of a billion objects": (
        RECONSTRUCT + b"(K\x01" + number(10**9) + b"\x85" + OBJECTS + b"\x89]tb",
        "has an array, a dtype or a state that no model has",
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
        "is not an AMICI model",
    ),
    "a dict with tuples of tuples as a key": (
        b"})q\x00" + b"h\x00\x86q\x00" * 60 + b"Ns",
        "with keys that are not names",
    ),
    "a dict with a tuple in a tuple in a tuple as a key": (
        b"})" + b"\x85" * 2 * 10**5 + b"Ns",
        "with keys that are not names",
    ),
    "a dict whose keys have one hash": (
        b"}(" + b"".join(pickle.dumps(n * (2**61 - 1), 2)[2:-1] + b"N" for n in range(300)) + b"u",
        "with keys that are not names",
    ),
    "a dict that is filled by halves": (b"}(K\x01u", "a part is missing"),
    "an array in an array in an array": (
        (RECONSTRUCT + b"(K\x01K\x01\x85" + OBJECTS + b"\x89]") * 3 + b"N" + b"atb" * 3,
        "has an array, a dtype or a state that no model has",
    ),
    "objects where numbers should be": (
        RECONSTRUCT + b"(K\x01K\x01\x85" + OBJECTS + b"\x89" + LONG_BYTES + b"tb",
        "has an array, a dtype or a state that no model has",
    ),
    "a tensor that begins outside its numbers": (
        tensor(250, [249], [1]).replace(number(0) + b"(", number(2) + b"("),
        r"calls torch\._utils\._rebuild_tensor_v2 as no model does",
    ),
    "a tensor that ends outside its numbers": (
        tensor(250, [2, 2], [200, 50]),
        r"calls torch\._utils\._rebuild_tensor_v2 as no model does",
    ),
    "a tensor with a negative step": (
        tensor(250, [2], [-1]),
        r"calls torch\._utils\._rebuild_tensor_v2 as no model does",
    ),
    "a tensor with more sizes than steps": (
        tensor(250, [2, 2], [1]),
        r"calls torch\._utils\._rebuild_tensor_v2 as no model does",
    ),
    "a tensor of a million dimensions": (
        tensor(250, [1] * 10**5, [1] * 10**5),
        r"calls torch\._utils\._rebuild_tensor_v2 as no model does",
    ),
    "a tensor that is taken again and again": (
        b"(" + tensor(LARGEST[1] // 4, [LARGEST[1] // 4], [1], LARGEST[0]) * 1000 + b"t",
        "asks for more memory than its content needs",
    ),
    "an object of the registry of copyreg": (b"\x82\x01", "holds EXT1, which torch does not write"),
    "a set": (b"\x8f", "holds EMPTY_SET, which torch does not write"),
    "a frame without end": (b"\x95" + b"\xff" * 8, "a part is missing"),
    "a dtype of pointers": (
        global_("numpy", "dtype")
        + text("f8")
        + b"\x89\x88\x87R(K\x03"
        + text("<")
        + b"NNNK\x08K\x08K?tb",
        "has an array, a dtype or a state that no model has",
    ),
    "a dtype with a shape": (
        global_("numpy", "dtype") + text("(1000000000,)f8") + b"\x89\x88\x87R",
        r"calls numpy\.dtype as no model does",
    ),
    "a memo without end": (b"Nr\xff\xff\xff\x7f", None),
    "a text without end": (b"X\xff\xff\xff\x7f", "expected 2147483647 bytes"),
    "a long text without end": (b"\x8d" + b"\xff" * 7 + b"\x7f", "can't be read"),
    "what was never remembered": (b"h\x05", "a part is missing"),
}


@pytest.mark.parametrize("name", ASK_TOO_MUCH)
def test_what_asks_for_too_much_is_refused_in_little_memory(tmp_path, name):
    body, message = ASK_TOO_MUCH[name]
    folder = with_pickle(tmp_path, b"\x80\x02}" + text("model_state_dict") + body + b"s.")
    tracemalloc.start()  # the system's peak may be higher before, and would hide what is taken
    try:
        with pytest.raises(ValueError, match=message or "is not") as error:
            amici_xr.load_model(folder)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
    assert str(folder / "model.pt") in str(error.value)


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
    "a tuple of what is not there": (b"\x86", "a part is missing"),
    "a mark that was never set": (b"t", "a part is missing"),
    "a number that is filled": (b"K\x01K\x02a", "fills what can't be filled"),
    "bytes that are filled as a dict": (
        global_("builtins", "bytes") + b")RNNs",
        "fills what can't be filled",
    ),
    "a list that is filled as a dict": (b"]NNs", "fills what can't be filled"),
    "a dict that is filled as a list": (b"}Na", "fills what can't be filled"),
    "a number that is called": (b"K\x01)R", "calls what is not a function"),
    "a function that is called without a tuple": (
        global_("builtins", "dict") + b"K\x01R",
        r"calls builtins\.dict as no model does",
    ),
    "a kind of numbers that is called": (
        global_("torch", "FloatStorage") + b")R",
        r"calls torch\.FloatStorage as no model does",
    ),
    "a parameter that is not a tensor": (
        global_("torch._utils", "_rebuild_parameter") + b"(K\x01\x89NtR",
        r"calls torch\._utils\._rebuild_parameter as no model does",
    ),
    "a number of objects": (
        global_("numpy.core.multiarray", "scalar") + OBJECTS + LONG_BYTES + b"\x86R",
        r"calls numpy\.core\.multiarray\.scalar as no model does",
    ),
    "a dtype that is not text": (
        global_("numpy", "dtype") + b"K\x01\x89\x88\x87R",
        r"calls numpy\.dtype as no model does",
    ),
    "numbers of another kind": (
        b"(" + text("memory") + global_("torch", "FloatStorage") + text("0") + text("cpu")
        + number(250) + b"tQ",
        "numbers of an unknown kind",
    ),
    "numbers of a function's kind": (
        b"(" + text("storage") + global_("builtins", "dict") + text("0") + text("cpu")
        + number(250) + b"tQ",
        "numbers of an unknown kind",
    ),
    "numbers of a kind without a size": (
        storage(250, kind="ComplexFloatStorage"),
        r"names 'torch\.ComplexFloatStorage', which no model needs",
    ),
    "numbers that are not there": (storage(250, key="999"), "a part is missing"),
    "numbers fewer than none": (storage(-250), r"data/0 does not hold -250 numbers"),
    "a number that is changed": (b"K\x01Nb", "a state that no model has"),
    "a function that is changed": (
        global_("_codecs", "encode") + b"}" + text("name") + b"Nsb",
        "a state that no model has",
    ),
    "a tensor that is changed": (tensor(250, [1], [1]) + b"}b", "a state that no model has"),
    "a dict that is changed by a number": (
        global_("builtins", "dict") + b")RK\x01b",
        "a state that no model has",
    ),
    "an array of another version": (
        RECONSTRUCT + b"(K\x02K\x00\x85" + OBJECTS + b"\x89]tb",
        "has an array, a dtype or a state that no model has",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_MODEL)
def test_what_no_model_asks_for_is_refused(tmp_path, name):
    body, message = NO_MODEL[name]
    folder = with_pickle(tmp_path, b"\x80\x02}" + text("model_state_dict") + body + b"s.")
    with pytest.raises(ValueError, match=message) as error:
        amici_xr.load_model(folder)
    assert str(error.value).startswith(f"{folder / 'model.pt'} can't be read as a model: ")


def test_names_that_are_put_together_on_the_stack_are_refused(tmp_path):
    content = pickle.dumps({"model_state_dict": {}, "generator": np.random.PCG64}, protocol=4)
    with pytest.raises(ValueError, match=r"names 'numpy\.random\._pcg64\.PCG64'"):
        amici_xr.load_model(with_pickle(tmp_path, content))


def equal_to_torch_s(read, expected):
    """Whether what was read is what torch itself reads, to the last bit and of the same types."""
    if isinstance(expected, torch.Tensor):
        same_form = (read.dtype, read.shape) == (expected.dtype, expected.shape)
        same_steps = read.stride() == expected.stride()
        return same_form and same_steps and bits(read) == bits(expected)
    if isinstance(expected, dict):
        return list(read) == list(expected) and all(
            equal_to_torch_s(read[name], expected[name]) for name in expected
        )
    if isinstance(expected, np.ndarray):
        return read.dtype == expected.dtype and np.array_equal(read, expected)
    if isinstance(expected, list | tuple):
        pairs = zip(read, expected, strict=True)
        return type(read) is type(expected) and all(equal_to_torch_s(*pair) for pair in pairs)
    return type(read) is type(expected) and read == expected


def bits(tensor_):
    whole = tensor_.detach().contiguous()
    return whole.reshape(-1).view(torch.uint8).numpy().tobytes()


def every_kind_of_tensor():
    numbers = torch.arange(-60, 60)
    kinds = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8")
    tensors = {kind: (numbers / 7).to(getattr(torch, kind)) for kind in kinds}
    tensors |= {"uint8": (numbers + 60).to(torch.uint8), "bool": numbers > 0}
    tensors |= {f"{name}, transposed": t.reshape(10, 12).T for name, t in tensors.items()}
    shared = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))
    return tensors | {
        "shared": shared,
        "a part of it": shared[1:3, ::2, 4],
        "one of its numbers": shared[3, 4, 5],
        "none of them": shared[:, 2:2],
        "empty": torch.empty(0, 3),
        "a number": torch.tensor(5.5),
        "nothing of float16": torch.empty(0, dtype=torch.float16),
        "not finite": torch.tensor([np.nan, np.inf, -0.0, 1e-45]),
        "a parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "repeated": [shared, (shared, shared)],
    }


def test_tensors_of_every_kind_are_read_as_torch_reads_them(tmp_path):
    torch.save(every_kind_of_tensor(), tmp_path / "model.pt")
    expected = torch.load(tmp_path / "model.pt", weights_only=True)
    read = read_safely(tmp_path / "model.pt")
    assert equal_to_torch_s(read, expected)
    assert read["a part of it"].data_ptr() == read["shared"][1:3, ::2, 4].data_ptr()


def test_numbers_of_the_other_byte_order_are_read_as_torch_reads_them(tmp_path):
    torch.save(every_kind_of_tensor(), tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    written(tmp_path, content | {"model/byteorder": b"big"})
    expected = torch.load(tmp_path / "model.pt", weights_only=True)
    assert equal_to_torch_s(read_safely(tmp_path / "model.pt"), expected)
    assert expected["int32"][0] != -8


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_and_plain_values_are_read_as_pickle_reads_them(tmp_path, protocol):
    """Of what is written here, nothing runs when pickle itself reads it."""
    plain = {
        "numbers": [0, 255, 256, 2**31 - 1, -(2**31), 2**63, -(2**100), 0.5, True, False, None],
        "texts": ["", "é類", "a" * 300],
        "bytes": [b"", b"a", bytes(range(256)) * 2],
        "tuples": [(), (1,), (1, (2, (3,))), (1, 2, 3, 4)],
        "arrays": [
            np.arange(6.0).reshape(2, 3),
            np.asfortranarray(np.arange(6).reshape(2, 3)),
            np.arange(3, dtype=">i4"),
            np.array(["a", "類"]),
            np.array(["a", "bc"], dtype=">U2"),
            np.array([b"a", b"bc"]),
            np.array(["a", None, 3, ["b"]], dtype=object),
            np.zeros((0, 2), dtype="f2"),
            np.array([1 + 2j, 0], dtype="c8"),
            np.array([True, False]),
        ],
        "scalars": [np.float64(0.1), np.int32(-5), np.float16(2), np.str_("é"), np.bool_(True)],
        5: {None: 1, "a": {}, 2.5: {"b": []}},
    }
    with_pickle(tmp_path, pickle.dumps(plain, protocol))
    expected = pickle.loads(pickle.dumps(plain, protocol))
    assert equal_to_torch_s(read_safely(tmp_path / "model.pt"), expected)


def test_a_list_that_holds_itself_is_read(tmp_path):
    itself = []
    itself.append(itself)
    with_pickle(tmp_path, pickle.dumps({"itself": itself}, 2))
    read = read_safely(tmp_path / "model.pt")["itself"]
    assert len(read) == 1
    assert read[0] is read


def nested(kind, depth, width=10):
    """A container that holds another many times, and so on: it has width**depth ends."""
    within = "end"
    for _ in range(depth):
        within = {str(n): within for n in range(width)} if kind is dict else kind([within] * width)
    return within


def array_with(item):
    """An array of objects, made without NumPy's looking into them."""
    array = np.empty(2, dtype=object)
    array[0] = item
    return array


def changed_attributes(folder, change):
    torch.save(change(content_of_a_model()), folder / "model.pt")
    return folder


def with_attributes(**changed):
    def change(content):
        return content | {"attr_dict": content["attr_dict"] | changed}

    return change


def registry(**changed):
    arguments = {"labels_key": "cell_type", "n_neighbors": 30} | changed.pop("arguments", {})
    mapping = {"state_registry": {"categorical_mapping": changed.pop("labels", None)}}
    return {"setup_args": arguments, "field_registries": {"labels": mapping}} | changed


NEVER_READ = {
    "settings in dicts in dicts": (
        with_attributes(init_params_=nested(dict, 60)),
        "5 cell types",
    ),
    "cell types of lists in lists": (
        with_attributes(registry_=registry(labels=nested(list, 60))),
        "lacks 'registry_'",
    ),
    "cell types of tuples in tuples": (
        with_attributes(registry_=registry(labels=nested(tuple, 60))),
        "lacks 'registry_'",
    ),
    "arguments of pairs, named by tuples in tuples": (
        with_attributes(registry_=registry() | {"setup_args": [(nested(tuple, 60), 1)]}),
        "lacks 'registry_'",
    ),
    "a setting of lists in lists": (
        with_attributes(init_params_={"pos_coef_offset": nested(list, 60)}),
        "pos_coef_offset=a list must be a finite number",
    ),
    "a setting of an array of lists in lists": (
        with_attributes(init_params_={"layer": array_with(nested(list, 60))}),
        "layer=a ndarray must be a name",
    ),
    "gene names of lists in lists": (
        lambda content: content | {"var_names": array_with(nested(list, 60))},
        "must be text or numbers",
    ),
    "weights of lists in lists": (
        lambda content: (
            content | {"model_state_dict": content["model_state_dict"] | {"W": nested(list, 60)}}
        ),
        "'W' are not arrays of real numbers",
    ),
    "a number that is larger than any": (
        with_attributes(init_params_={"attention_dummy_score": 2**2000}),
        "attention_dummy_score=.* must be a finite number",
    ),
    "an answer that is an array": (with_attributes(is_trained_=np.zeros(3)), "5 cell types"),
    "what nobody reads, of lists in lists": (
        with_attributes(history_=[nested(list, 60), nested(tuple, 60), nested(dict, 60)]),
        "5 cell types",
    ),
}

IN_BOUNDS = """
import resource, sys
import torch
import amici_xr
amici_xr.load_model(sys.argv[1])
with open("/proc/self/statm") as file:
    memory = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (memory + 2**27,) * 2)
used = resource.getrusage(resource.RUSAGE_SELF)
resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 30,) * 2)
for path in sys.argv[2:]:
    try:
        print(len(amici_xr.load_model(path).labels), "cell types")
    except ValueError as error:
        print(str(error).replace(path, "PATH"))
"""


def test_what_stands_in_each_other_again_and_again_is_read_or_refused_in_bounds(tmp_path):
    folders = []
    for number_, (change, _) in enumerate(NEVER_READ.values()):
        folders.append(tmp_path / str(number_))
        folders[-1].mkdir()
        changed_attributes(folders[-1], change)
    done = subprocess.run(
        [sys.executable, "-c", IN_BOUNDS, str(MODEL), *map(str, folders)],
        capture_output=True,
        text=True,
        check=True,
    )
    answers = done.stdout.splitlines()
    assert len(answers) == len(NEVER_READ)
    for answer, (name, (_, expected)) in zip(answers, NEVER_READ.items(), strict=True):
        assert re.search(expected, answer), f"{name}: {answer}"
        assert len(answer) < 1000


def content_of_a_model():
    """What a file of the packaged model holds, made here."""
    model = amici_xr.load_model(MODEL)
    labels = np.array(model.labels, dtype=object)
    return {
        "model_state_dict": {name: weight.clone() for name, weight in model.weights.items()},
        "var_names": np.array(model.gene_names),
        "attr_dict": {
            "registry_": registry(labels=labels),
            "init_params_": {},
            "is_trained_": True,
        },
    }


def changed_weights(folder, change):
    content = content_of_a_model()
    change(content["model_state_dict"])
    torch.save(content, folder / "model.pt")
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("query_embed.nn.3.bias"), r"weights lack 'query_embed\.nn\.3\.bias'"),
        (lambda w: w.pop("nn_embed.nn.1.weight"), r"weights lack 'nn_embed\.nn\.1\.weight'"),
        (
            lambda w: w.update({"z_encoder.weight": torch.ones(2)}),
            r"network has no weights 'z_encoder\.weight'",
        ),
        (
            lambda w: w.update({"kv_embed.nn.6.weight": torch.ones(2)}),
            r"AMICI's network has no weights 'kv_embed\.nn\.6",
        ),
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
