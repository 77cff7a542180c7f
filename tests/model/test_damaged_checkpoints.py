"""Thousands of damaged checkpoints: each is refused in words, or gives the scores it held."""

import os
import zipfile
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import amici_xr

pytest.importorskip("torch")  # the core environment deselects what needs the model
pytestmark = [pytest.mark.needs_model, pytest.mark.long, pytest.mark.once]

MODEL = Path(str(files("amici_xr.demo_data"))) / "model" / "model.pt"
WHOLE = MODEL.read_bytes()
IS_LONG = os.environ.get("AMICI_XR_LONG") == "1"
N_DAMAGED = int(os.environ.get("AMICI_XR_DAMAGED", 5000)) if IS_LONG else 300


def flipped(rng):
    """One to three bits that are not what they were, anywhere in the file."""
    content = bytearray(WHOLE)
    for bit in rng.integers(0, 8 * len(content), rng.integers(1, 4)):
        content[bit // 8] ^= 1 << bit % 8
    return bytes(content)


def flipped_where_names_lie(rng):
    """As `flipped`, in the headers of the zip or the pickle, which are small."""
    with zipfile.ZipFile(MODEL) as archive:
        entry = archive.infolist()[rng.integers(len(archive.namelist()))]
        start = archive.start_dir
    places = [
        (entry.header_offset, 30 + len(entry.filename)),
        (start, len(WHOLE) - start),
        (0, 13_400),
    ]
    first, length = places[rng.integers(len(places))]
    content = bytearray(WHOLE)
    content[first + rng.integers(length)] ^= 1 << int(rng.integers(8))
    return bytes(content)


def truncated(rng):
    return WHOLE[: rng.integers(len(WHOLE))]


def with_a_hole(rng):
    first, last = np.sort(rng.integers(0, len(WHOLE), 2))
    return WHOLE[:first] + bytes(last - first) + WHOLE[last:]


def shortened_inside(rng):
    first = rng.integers(len(WHOLE))
    return WHOLE[:first] + WHOLE[first + rng.integers(1, 100) :]


def with_swapped_contents(rng):
    """The bytes of two members of one size, each where the other lay."""
    with zipfile.ZipFile(MODEL) as archive:
        entries = [entry for entry in archive.infolist() if entry.file_size == 256]
        parts = {entry.filename: archive.read(entry) for entry in entries}
    one, other = (entries[place].filename for place in rng.choice(len(entries), 2, replace=False))
    first, second = WHOLE.find(parts[one]), WHOLE.find(parts[other])
    content = bytearray(WHOLE)
    content[first : first + 256], content[second : second + 256] = parts[other], parts[one]
    return bytes(content)


def rewritten(rng):
    """Members in another order, one of them dropped, or two of different size exchanged."""
    import io

    with zipfile.ZipFile(MODEL) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names = list(rng.permutation(list(members)))
    kind = rng.integers(3)
    if kind == 1:
        names = names[1:]
    elif kind == 2:
        one, other = names[0], next(n for n in names if len(members[n]) != len(members[names[0]]))
        members[one], members[other] = members[other], members[one]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name in names:
            archive.writestr(str(name), members[name])
    return written.getvalue()


DAMAGES = (
    flipped,
    flipped_where_names_lie,
    truncated,
    with_a_hole,
    shortened_inside,
    with_swapped_contents,
    rewritten,
)


def outcome(file, adata, expected):
    try:
        model = amici_xr.load_model(file)
        ds = amici_xr.extract(model, "T_cell", adata, progress=False)
    except ValueError as error:
        return "refused" if str(file) in str(error) else f"no name: {error}"
    same = all(
        np.array_equal(ds[name].values, expected[name].values)
        for name in ("base_attention_score", "position_coefficient")
    )
    is_same = same and list(ds.label.values) == list(expected.label.values)
    return "right" if is_same else "wrong"


def note(found, record_property):
    """Count outcomes for the summary of the test run."""
    for outcome, number in found.items():
        record_property(f"damaged checkpoints, {outcome}", number)


@pytest.fixture
def few_cells(demo):
    return demo[1][:40].copy()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_or_gives_the_right_scores(
    damage, few_cells, tmp_path, record_property
):
    expected = amici_xr.extract(MODEL, "T_cell", few_cells, progress=False)
    file = tmp_path / "model.pt"
    rng = np.random.default_rng(DAMAGES.index(damage))
    found = Counter()
    for _ in range(-(-N_DAMAGED // len(DAMAGES))):
        file.write_bytes(damage(rng))
        found[outcome(file, few_cells, expected)] += 1
    note(found, record_property)
    assert set(found) <= {"refused", "right"}
    assert found["refused"]


def test_a_damaged_pickle_with_a_right_checksum_ends_in_words_or_in_a_model(
    tmp_path, record_property
):
    with zipfile.ZipFile(MODEL) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    rng = np.random.default_rng(0)
    found = Counter()
    for _ in range(N_DAMAGED // 3):
        pickled = bytearray(members["model/data.pkl"])
        for place in rng.integers(0, len(pickled), rng.integers(1, 4)):
            pickled[place] = rng.integers(256)
        with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
            for name, content in (members | {"model/data.pkl": bytes(pickled)}).items():
                archive.writestr(name, content)
        try:
            model = amici_xr.load_model(tmp_path)
        except ValueError as error:
            found["refused" if str(tmp_path) in str(error) else "refused without a name"] += 1
        else:
            assert isinstance(model, amici_xr.SavedModel)
            assert len(model.labels) == 5
            found["read"] += 1
    note(found, record_property)
    assert set(found) <= {"refused", "read"}
    assert found["refused"]
