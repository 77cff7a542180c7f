"""The form in which a model is shared: a folder of ``model.safetensors`` and ``settings.json``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amici_xr.dependencies import require
from amici_xr.errors import listed
from amici_xr.io.atomic import replace_atomically
from amici_xr.io.paths import expand_home, refuse_folder

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"
SETTINGS = "settings.json"
_FORMAT = "amici_xr model"
_VERSION = 1
_OWN_DIGEST = "settings_sha256"  # of the bytes of the settings, in which this digest is empty
_LARGEST_SETTINGS = 2**28  # bytes; a million genes take 20 MB


def is_safetensors_folder(path: Path) -> bool:
    """Say whether a path is a shared model's folder, or one of its files, and not AMICI's own."""
    if path.name in (WEIGHTS, SETTINGS):
        return path.is_file()
    has_files = (path / WEIGHTS).is_file() or (path / SETTINGS).is_file()
    return has_files and not (path / "model.pt").exists()


def write_folder(
    path: str | os.PathLike[str], weights: Mapping[str, torch.Tensor], description: dict[str, Any]
) -> None:
    """Write weights and what describes them as a folder, whole or not at all."""
    target = expand_home(path)
    present = {entry.name for entry in target.iterdir()} if target.is_dir() else set()
    others = sorted(present - {WEIGHTS, SETTINGS})
    if others or target.is_file():
        refuse_folder(path, others)
    if present and not _is_described_as_model(target / SETTINGS):
        raise FileExistsError(
            f"path={os.fspath(path)!r} holds {listed(sorted(present))} of another program; give a "
            "folder that is empty, or not there yet"
        )
    save = require("safetensors.torch", "model", "saving a model").save
    # safetensors refuses tensors that share their memory
    copies = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
    content = save({name: tensor.contiguous() for name, tensor in copies.items()})
    settings = {
        "format": _FORMAT,
        "version": _VERSION,
        **description,
        "shapes": {name: list(tensor.shape) for name, tensor in weights.items()},
        "sha256": _digest(content),
        _OWN_DIGEST: "",
    }
    text = json.dumps(settings, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")
    blank, filled = (f'"{_OWN_DIGEST}": "{digest}"' for digest in ("", _digest(text)))
    text = text.replace(blank.encode(), filled.encode())
    with replace_atomically(target) as beside:
        beside.mkdir()
        (beside / WEIGHTS).write_bytes(content)
        (beside / SETTINGS).write_bytes(text)


def read_folder(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read weights, and what describes them, from a folder."""
    for name in (SETTINGS, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"path={os.fspath(folder)!r} has no {name}; a shared model has {SETTINGS} and "
                f"{WEIGHTS}"
            )
    description = _read_settings(folder / SETTINGS)
    return _read_weights(folder / WEIGHTS, description), description


def check_names(names: Collection[str], needed: Collection[str], source: str) -> None:
    """Refuse names that are not those needed, each of them and no other."""
    missing = [name for name in needed if name not in names]
    extra = [name for name in names if name not in needed]
    problems = [f"it lacks {listed(missing)}"] if missing else []
    problems += [f"it holds {listed(extra)}, which is not known"] if extra else []
    if problems:
        raise ValueError(f"{source} is not that of a shared model: {'; '.join(problems)}")


def _read_settings(file: Path) -> dict[str, Any]:
    """Read the settings, of which each part must be there and of its type, and none besides."""
    n_bytes = file.stat().st_size
    if n_bytes > _LARGEST_SETTINGS:
        raise ValueError(f"{file} has {n_bytes:,} bytes; at most {_LARGEST_SETTINGS:,} are read")
    try:
        content = file.read_bytes()
        text = content.decode("utf-8", "surrogatepass")
        settings = json.loads(text, object_pairs_hook=_dict_of_unique_names)
    except (ValueError, RecursionError) as error:  # also of bytes that are not text
        raise ValueError(f"{file} is damaged or not JSON: {error}") from error
    if not isinstance(settings, dict) or settings.get("format") != _FORMAT:
        raise ValueError(f"{file} does not describe a shared model: its format is not {_FORMAT!r}")
    version = settings.get("version")
    if type(version) is int and version > _VERSION:
        raise ValueError(f"{file} is of version {version}, newer than {_VERSION}; update amici_xr")
    is_valid: dict[str, Callable[[Any], bool]] = {
        "format": lambda _: True,
        "version": lambda version: type(version) is int and version == _VERSION,
        "is_trained": lambda value: isinstance(value, bool),
        "labels": _is_list_of_text,
        "gene_names": _is_list_of_text,
        "settings": lambda value: isinstance(value, dict),
        "shapes": lambda value: isinstance(value, dict) and all(map(_is_shape, value.values())),
        "sha256": lambda value: isinstance(value, str),
        _OWN_DIGEST: lambda value: isinstance(value, str),
    }
    check_names(settings, is_valid, f"{file}")
    invalid = [name for name in is_valid if not is_valid[name](settings[name])]
    if invalid:
        raise ValueError(f"{file}: {', '.join(invalid)} can't be what was saved")
    digest = settings[_OWN_DIGEST]
    if _digest(content.replace(digest.encode("utf-8", "surrogatepass"), b"")) != digest:
        raise ValueError(f"{file} is damaged: it does not have the SHA-256 that it says; save anew")
    return settings


def _is_described_as_model(file: Path) -> bool:
    """Say whether the settings are those of a shared model of any version."""
    try:
        settings = json.loads(file.read_bytes().decode("utf-8", "surrogatepass"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(settings, dict) and settings.get("format") == _FORMAT


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _dict_of_unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name stands in it twice")
    return dict(pairs)


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _read_weights(file: Path, description: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Read the weights, whose digest and shapes must be those of the settings."""
    require("torch", "model", "reading a shared model")  # safetensors would ask in its own words
    safe_open = require("safetensors", "model", "reading a shared model").safe_open
    load = require("safetensors.torch", "model", "reading a shared model").load
    try:
        with safe_open(file, "pt"):  # not larger than its header says
            content = file.read_bytes()
        weights: dict[str, torch.Tensor] = load(content)
    except Exception as error:  # safetensors has one error for all that is wrong
        raise ValueError(f"{file} is damaged or not a safetensors file: {error}") from error
    if _digest(content) != description["sha256"]:
        raise ValueError(f"{file} does not have the SHA-256 that {SETTINGS} says; save both anew")
    shapes, expected = {name: [*w.shape] for name, w in weights.items()}, description["shapes"]
    differing = [name for name in shapes | expected if shapes.get(name) != expected.get(name)]
    if differing:
        raise ValueError(f"{file}: {listed(differing)} have other shapes than {SETTINGS} says")
    return weights
