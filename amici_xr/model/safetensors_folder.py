"""A model that can be shared: a folder of ``model.safetensors`` and ``settings.json``."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amici_xr.dependencies import require
from amici_xr.errors import listed
from amici_xr.io.atomic import replace_atomically
from amici_xr.model.saved_model import ModelSettings, SavedModel, checked_model, checked_settings

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"
SETTINGS = "settings.json"
_FORMAT = "amici_xr model"
_VERSION = 1
_SOURCES = ("file", "AMICI default")
_LARGEST_SETTINGS = 2**28  # bytes; a million genes take 20 MB
_PARTS = {
    "format": str,
    "version": int,
    "is_trained": bool,
    "labels": list,
    "gene_names": list,
    "settings": dict,
    "shapes": dict,
    "sha256": str,
}


def is_shared_model(path: Path) -> bool:
    """Whether a path is a shared model's folder, or one of its files, and not AMICI's own."""
    if path.name in (WEIGHTS, SETTINGS):
        return path.is_file()
    return not (path / "model.pt").exists() and any(
        (path / name).is_file() for name in (WEIGHTS, SETTINGS)
    )


def write_shared_model(model: SavedModel, path: str | os.PathLike[str]) -> None:
    """Write a model as a folder, whole or not at all."""
    target = Path(path)
    held = {entry.name for entry in target.iterdir()} if target.is_dir() else set()
    others = sorted(held - {WEIGHTS, SETTINGS})
    if others or target.is_file():
        what = f"a folder that holds {listed(others, 5)}" if others else "a file"
        raise FileExistsError(
            f"path={os.fspath(path)!r} is {what}; give a folder that is empty, or not there yet"
        )
    save = require("safetensors.torch", "model", "saving a model").save
    weights = save({name: _own(tensor) for name, tensor in model.weights.items()})
    described = json.dumps(_described(model, weights), indent=2, ensure_ascii=False)
    with replace_atomically(target) as beside:
        beside.mkdir()
        (beside / WEIGHTS).write_bytes(weights)
        (beside / SETTINGS).write_bytes(described.encode("utf-8", "surrogatepass"))


def read_shared_model(path: Path) -> SavedModel:
    """Read a folder that `write_shared_model` wrote, or one of its files, which is the same."""
    folder = path if path.is_dir() else path.parent
    for name in (SETTINGS, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"path={os.fspath(path)!r}: a shared model has {SETTINGS} and {WEIGHTS}, and "
                f"{folder} has no {name}"
            )
    where = folder / SETTINGS
    described = _checked(_parsed(where), where)
    settings = _settings(described["settings"], where)
    weights = _weights(folder / WEIGHTS, described)
    return checked_model(
        weights=weights,
        settings=settings,
        gene_names=tuple(described["gene_names"]),
        labels=tuple(described["labels"]),
        is_trained=described["is_trained"],
        where=f"{folder / WEIGHTS}",
    )


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor that shares its memory with no other, as safetensors asks for."""
    return tensor.detach().cpu().clone().contiguous()


def _described(model: SavedModel, weights: bytes) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "is_trained": model.is_trained,
        "labels": list(model.labels),
        "settings": model.settings.with_sources(),
        "gene_names": list(model.gene_names),
        "shapes": {name: list(tensor.shape) for name, tensor in model.weights.items()},
        "sha256": hashlib.sha256(weights).hexdigest(),
    }


def _parsed(file: Path) -> Any:
    if file.stat().st_size > _LARGEST_SETTINGS:
        raise ValueError(
            f"{file} has {file.stat().st_size:,} bytes, more than any model's settings; "
            f"at most {_LARGEST_SETTINGS:,} are read"
        )
    try:
        return json.loads(
            file.read_bytes().decode("utf-8", "surrogatepass"), object_pairs_hook=_without_doubles
        )
    except (ValueError, RecursionError) as error:  # also of bytes that are no text
        raise ValueError(f"{file} is damaged or no JSON: {error}") from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _checked(described: Any, file: Path) -> dict[str, Any]:
    """The content of the settings, each part there, of its type, and none besides."""
    if not isinstance(described, dict) or described.get("format") != _FORMAT:
        raise ValueError(f"{file} describes no shared model: its format is not {_FORMAT!r}")
    version = described.get("version")
    if type(version) is int and version > _VERSION:
        raise ValueError(
            f"{file} is of version {version}, newer than the {_VERSION} that is known here; "
            "update amici_xr"
        )
    _check_names(described, _PARTS, f"{file}")
    wrong = [name for name, kind in _PARTS.items() if type(described[name]) is not kind]
    for name in ("labels", "gene_names"):
        if name not in wrong and not all(isinstance(one, str) for one in described[name]):
            wrong.append(name)
    wrong += [
        f"shapes[{name!r}]" for name, shape in _items(described["shapes"]) if _no_shape(shape)
    ]
    if version != _VERSION and "version" not in wrong:
        wrong.append("version")
    if wrong:
        raise ValueError(f"{file}: {', '.join(wrong)} can't be what was saved: wrong type or value")
    return described


def _items(shapes: Any) -> list[tuple[str, Any]]:
    return list(shapes.items()) if isinstance(shapes, dict) else []


def _no_shape(shape: Any) -> bool:
    return not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape)


def _check_names(found: Mapping[str, Any], needed: Any, where: str) -> None:
    missing = [name for name in needed if name not in found]
    extra = [name for name in found if name not in needed]
    told = [f"it lacks {listed(missing)}"] if missing else []
    told += [f"it holds {listed(extra)}, which is not known"] if extra else []
    if told:
        raise ValueError(f"{where} is no shared model's: {'; '.join(told)}")


def _settings(described: dict[str, Any], file: Path) -> ModelSettings:
    names = [field.name for field in fields(ModelSettings) if field.name != "defaulted"]
    _check_names(described, names, f"{file}: settings")
    for name, setting in described.items():
        is_whole = isinstance(setting, dict) and set(setting) == {"value", "source"}
        if not is_whole or setting["source"] not in _SOURCES:
            raise ValueError(
                f"{file}: settings[{name!r}]={setting!r} must have a value and a source, which is "
                f"one of {listed(_SOURCES)}"
            )
    values = {name: setting["value"] for name, setting in described.items()}
    by_default = {name for name, setting in described.items() if setting["source"] == _SOURCES[1]}
    return checked_settings(values, f"{file}", frozenset(by_default))


def _weights(file: Path, described: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights, once their digest is right and their shapes are those of the settings."""
    require("torch", "model", "reading a shared model")  # safetensors would ask in its own words
    load = require("safetensors.torch", "model", "reading a shared model").load
    numbers = sum(math.prod(shape) for shape in described["shapes"].values())
    if file.stat().st_size > 8 * numbers + 2**20 + 1000 * len(described["shapes"]):
        raise ValueError(f"{file} is larger than the shapes in {SETTINGS} ask for; it was not read")
    content = file.read_bytes()
    try:
        weights: dict[str, torch.Tensor] = load(content)
    except Exception as error:  # safetensors has one error for all that is wrong
        raise ValueError(f"{file} is damaged or no safetensors file: {error}") from error
    if hashlib.sha256(content).hexdigest() != described["sha256"]:
        raise ValueError(
            f"{file} is not the file that {SETTINGS} beside it was written with (SHA-256): it was "
            "damaged or replaced; ask for both again"
        )
    shapes = {name: list(tensor.shape) for name, tensor in weights.items()}
    if shapes != described["shapes"]:
        differing = [name for name in {**shapes, **described["shapes"]}
                     if shapes.get(name) != described["shapes"].get(name)]  # fmt: skip
        raise ValueError(f"{file}: {listed(differing)} have other shapes than {SETTINGS} says")
    return weights
