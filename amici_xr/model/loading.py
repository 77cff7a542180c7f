"""Bring every form of a trained model, live, saved or shared, to one `SavedModel`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.errors import listed
from amici_xr.io.atomic import recover
from amici_xr.io.paths import expand_home
from amici_xr.model.architecture import check_is_network
from amici_xr.model.safetensors_folder import SETTINGS, WEIGHTS, is_safetensors_folder, read_folder
from amici_xr.model.saved_model import (
    DEFAULTS,
    HELD_OUT,
    SETTING_NAMES,
    SavedModel,
    build_settings,
    check_model,
    settings_from_sources,
)
from amici_xr.model.unpickling import read_safely

if TYPE_CHECKING:
    import torch


def load_model(path: str | os.PathLike[str]) -> SavedModel:
    """Read a saved model folder, without AMICI and without running anything it holds.

    Parameters
    ----------
    path
        The folder that ``model.save`` of AMICI wrote, or the ``.pt`` file in it; or the folder
        that `SavedModel.save` wrote. Where there is a ``model.pt``, it is read. A ``~`` at its
        start is the user's home folder.

    Returns
    -------
    SavedModel
        Weights, settings, gene names and labels.

    Raises
    ------
    FileNotFoundError
        If there is no ``model.pt``.
    ValueError
        If the file can't be read, is damaged, is not an AMICI model, or names something that no
        model needs and that could run code.
    ModuleNotFoundError
        If torch, or for a shared folder safetensors, is not installed.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> model.labels
    ('Endothelial', 'Fibroblast', 'Macrophage', 'T_cell', 'Tumor')
    """
    file = expand_home(path)
    recover(file)
    if is_safetensors_folder(file):
        return _load_shared_model(file)
    if file.is_dir():
        file = file / "model.pt"
    if not file.is_file():
        present = sorted(entry.name for entry in file.parent.glob("*"))
        if "history.nc" in present:
            raise FileNotFoundError(
                f"path={os.fspath(path)!r} holds trained runs; read them all with "
                "amici_xr.load_runs, or give the folder of one of them, e.g. its run_0"
            )
        raise FileNotFoundError(
            f"path={os.fspath(path)!r}: there is no {file.name} in {file.parent}, which holds "
            f"{listed(present, 8)}; give the folder that model.save() wrote"
        )
    saved = read_safely(file)
    parts = {"model_state_dict": Mapping, "var_names": np.ndarray, "attr_dict": dict}
    saved = saved if isinstance(saved, dict) else {}
    missing = [name for name, kind in parts.items() if not isinstance(saved.get(name), kind)]
    if missing:
        raise ValueError(f"{file} is not an AMICI model: it lacks {listed(missing)}")
    weights, gene_names, attributes = (saved[name] for name in parts)
    return _from_attributes(weights, gene_names, attributes, f"{file}")


def as_saved_model(model: Any) -> SavedModel:
    """Bring a live model, a saved folder's path or a SavedModel to the one form that is scored."""
    if isinstance(model, SavedModel):
        return model
    if isinstance(model, str | os.PathLike):
        return load_model(model)
    module: Any = getattr(model, "module", None)
    adata = getattr(model, "adata", None)
    if not hasattr(module, "state_dict") or adata is None:
        raise TypeError(
            f"model must be a trained AMICI model, a SavedModel or the path of a saved folder, "
            f"not {type(model).__name__}"
        )
    attributes = {
        name: getattr(model, name, None)
        for name in ("registry_", "init_params_", "is_trained_", "train_indices_")
    }
    weights = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    return _from_attributes(
        weights, adata.var_names, attributes, f"the live {type(model).__name__}"
    )


def _load_shared_model(path: Path) -> SavedModel:
    folder = path if path.is_dir() else path.parent
    weights, description = read_folder(folder)
    settings = settings_from_sources(description["settings"], f"{folder / SETTINGS}")
    genes, labels = tuple(description["gene_names"]), tuple(description["labels"])
    held_out = _read_held_out_cells(weights.pop(HELD_OUT, None), f"{folder / WEIGHTS}")
    model = SavedModel(weights, settings, genes, labels, description["is_trained"], held_out)
    return check_model(model, f"{folder / WEIGHTS}")


def _read_held_out_cells(tensor: torch.Tensor | None, source: str) -> NDArray[np.bool_] | None:
    if tensor is None:
        return None
    is_held_out: NDArray[np.bool_] = tensor.numpy()
    if is_held_out.ndim != 1 or is_held_out.dtype != bool:
        raise ValueError(
            f"{source}: {HELD_OUT} is of dtype {is_held_out.dtype} and shape {is_held_out.shape}; "
            "it must hold true or false for each cell; save the model anew"
        )
    return is_held_out


def _from_attributes(
    weights: Mapping[str, torch.Tensor], gene_names: Any, attributes: dict[str, Any], source: str
) -> SavedModel:
    """Build a model from the attributes that scvi-tools keeps beside its weights."""
    labels: tuple[str, ...] = ()
    try:
        registry: Any = attributes.get("registry_")
        arguments = registry["setup_args"]
        labels_field = registry["field_registries"]["labels"]
        labels = _read_names(labels_field["state_registry"]["categorical_mapping"])
    except (KeyError, IndexError, TypeError, ValueError):
        arguments = None
    has_registry = isinstance(arguments, Mapping)
    check_is_network(weights, [] if has_registry else ["registry_"], source)
    try:
        genes = _read_names(gene_names)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    given = _find_settings(attributes.get("init_params_"))
    given |= {name: arguments[name] for name in SETTING_NAMES if name in arguments}
    missing = [name for name in SETTING_NAMES if name not in given and name not in DEFAULTS]
    missing += [name for name in ("labels_key", "n_neighbors") if given.get(name, "") is None]
    if missing:
        raise ValueError(f"{source} was saved without its settings {listed(missing)}")
    settings = build_settings(DEFAULTS | given, source, DEFAULTS.keys() - given)
    is_trained = attributes.get("is_trained_", True)
    is_trained = bool(is_trained) if isinstance(is_trained, bool | np.bool_ | None) else True
    held_out = _find_held_out_cells(registry, attributes.get("train_indices_"))
    model = SavedModel(weights, settings, genes, labels, is_trained, held_out)
    return check_model(model, source)


def _find_held_out_cells(registry: Any, training: Any) -> NDArray[np.bool_] | None:
    """Tell which cells training left out, None where the model does not say."""
    try:
        n_cells = int(registry["field_registries"]["X"]["state_registry"]["n_obs"])
        positions = np.asarray(training)
    except (KeyError, TypeError, ValueError):
        return None
    if positions.ndim != 1 or positions.dtype.kind not in "iu" or not positions.size:
        return None
    if n_cells <= 0 or positions.min() < 0 or positions.max() >= n_cells:
        return None
    is_held_out = np.ones(n_cells, dtype=bool)
    is_held_out[positions] = False
    return is_held_out


def _read_names(array: Any) -> tuple[str, ...]:
    """Read an array, an index or a flat list of names."""
    names = array if isinstance(array, list | tuple) else np.asarray(array).ravel().tolist()
    if not all(isinstance(name, str | int | float) for name in names):
        raise ValueError("gene names and cell types must be text or numbers")
    return tuple(str(name) for name in names)


def _find_settings(arguments: Any) -> dict[str, Any]:
    """Find settings in nested dicts, two levels down in scvi-tools; the last of a name counts.

    A dict that stands in others many times is looked through once.
    """
    settings: dict[str, Any] = {}
    remaining, visited = [("", arguments)], set()
    while remaining:
        name, value = remaining.pop()  # the last first
        if isinstance(value, Mapping):
            remaining.extend(value.items() if id(value) not in visited else ())
            visited.add(id(value))
        elif name in SETTING_NAMES:
            settings.setdefault(name, value)
    return settings
