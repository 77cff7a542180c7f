"""Every form of a trained model becomes one: a live model, a saved folder, a shared one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amici_xr.errors import listed
from amici_xr.io.atomic import recover
from amici_xr.model.architecture import check_is_network
from amici_xr.model.safetensors_folder import is_shared_model, read_shared_model
from amici_xr.model.saved_model import (
    DEFAULTS,
    ModelSettings,
    SavedModel,
    checked_model,
    checked_settings,
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
        that `SavedModel.save` wrote. Where there is a ``model.pt``, it is read.

    Returns
    -------
    SavedModel
        Weights, settings, gene names and labels.

    Raises
    ------
    FileNotFoundError
        If there is no ``model.pt``.
    ValueError
        If the file can't be read, is damaged, is no AMICI model, or names something that no
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
    file = Path(path)
    recover(file)
    if is_shared_model(file):
        return read_shared_model(file)
    if file.is_dir():
        file = file / "model.pt"
    if not file.is_file():
        beside = (
            sorted(entry.name for entry in file.parent.glob("*")) if file.parent.is_dir() else []
        )
        raise FileNotFoundError(
            f"path={os.fspath(path)!r}: there is no {file.name} in {file.parent}, which holds "
            f"{listed(beside, 8)}; give the folder that model.save() wrote"
        )
    saved = read_safely(file)
    parts = {"model_state_dict": Mapping, "var_names": np.ndarray, "attr_dict": dict}
    saved = saved if isinstance(saved, dict) else {}
    missing = [name for name, kind in parts.items() if not isinstance(saved.get(name), kind)]
    if missing:
        raise ValueError(f"{file} is not an AMICI model: it lacks {listed(missing)}")
    weights, gene_names, attributes = (saved[name] for name in parts)
    return _saved_model(weights, gene_names, attributes, f"{file}")


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
        name: getattr(model, name, None) for name in ("registry_", "init_params_", "is_trained_")
    }
    weights = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    return _saved_model(weights, adata.var_names, attributes, f"the live {type(model).__name__}")


def _saved_model(
    weights: Mapping[str, torch.Tensor], gene_names: Any, attributes: dict[str, Any], where: str
) -> SavedModel:
    registry = attributes.get("registry_")
    try:
        arguments = dict(registry["setup_args"])  # type: ignore[index]  # None is a TypeError
        fields_of = registry["field_registries"]["labels"]  # type: ignore[index]  # likewise
        labels = _names(fields_of["state_registry"]["categorical_mapping"])
    except (KeyError, IndexError, TypeError, ValueError):
        arguments, labels = None, ()
    check_is_network(weights, ["registry_"] if arguments is None else [], where)
    try:
        genes = _names(gene_names)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return checked_model(
        weights=weights,
        settings=_settings(arguments or {}, attributes.get("init_params_"), where),
        gene_names=genes,
        labels=labels,
        is_trained=bool(attributes.get("is_trained_", True)),
        where=where,
    )


def _names(array: Any) -> tuple[str, ...]:
    names = np.asarray(array).ravel().tolist()
    if not all(isinstance(name, str | int | float) for name in names):
        raise ValueError("gene names and cell types must be text or numbers")
    return tuple(str(name) for name in names)


def _settings(arguments: Mapping[str, Any], init_params: Any, where: str) -> ModelSettings:
    given = _flat(init_params if isinstance(init_params, Mapping) else {}) | dict(arguments)
    names = [field.name for field in fields(ModelSettings) if field.name != "defaulted"]
    found = {name: given[name] for name in names if name in given}
    missing = [name for name in names if name not in found and name not in DEFAULTS]
    missing += [name for name in ("labels_key", "n_neighbors") if found.get(name, "") is None]
    if missing:
        raise ValueError(f"{where} was saved without its settings {listed(missing)}")
    return checked_settings(DEFAULTS | found, where, frozenset(DEFAULTS) - set(found))


def _flat(nested: Mapping[str, Any], depth: int = 8) -> dict[str, Any]:
    """All leaves of nested dicts: scvi-tools keeps keyword arguments two levels down."""
    leaves: dict[str, Any] = {}
    for name, value in nested.items():
        is_nested = isinstance(value, Mapping) and depth > 0
        leaves.update(_flat(value, depth - 1) if is_nested else {name: value})
    return leaves
