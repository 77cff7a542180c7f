"""The folder that AMICI itself saves and loads: ``model.pt``, in the form of scvi-tools."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amici_xr.dependencies import require
from amici_xr.io.atomic import replace_atomically
from amici_xr.io.paths import expand_home, refuse_folder

if TYPE_CHECKING:
    from amici_xr.model.saved_model import SavedModel

FILE = "model.pt"
_SCVI_VERSION = "1.2.2"  # the one whose form this is, which amici-st requires
# AMICI's name of each size, and where the shapes of the weights say it.
_SIZES = {
    "n_heads": ("attention_layer.W_Q", 1),
    "n_head_size": ("attention_layer.W_Q", 0),
    "n_query_dim": ("attention_layer.W_Q", 2),
    "n_kv_dim": ("attention_layer.W_K", 2),
    "n_label_embed": ("ct_embed.weight", 1),
    "n_query_embed_hidden": ("query_embed.nn.0.weight", 0),
    "n_nn_embed_hidden": ("nn_embed.nn.0.weight", 0),
    "n_nn_embed": ("kv_embed.nn.0.weight", 1),
    "n_pos_coef_mlp_hidden": ("pos_coef_mlp.nn.0.weight", 0),
}
_NUMBERS = ("attention_dummy_score", "distance_kernel_unit_scale", "pos_coef_offset")


def write_amici_folder(path: str | os.PathLike[str], model: SavedModel, n_dims: int) -> None:
    """Write a model as AMICI does, so that ``AMICI.load`` reads it; whole or not at all.

    `n_dims` is the number of axes of the coordinates. An empty folder, and one that holds such a
    model alone, is replaced; any other is refused.
    """
    torch = require("torch", "model", "saving a model")
    target = expand_home(path)
    present = sorted(entry.name for entry in target.iterdir()) if target.is_dir() else []
    if target.is_file() or set(present) - {FILE}:
        refuse_folder(path, present)
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.weights.items()}
    weights.setdefault("attention_layer.IGNORE", torch.tensor(-torch.inf))
    content = {
        "model_state_dict": weights,
        "var_names": np.array(model.gene_names, dtype=object),
        "attr_dict": _attributes(model, n_dims),
    }
    with replace_atomically(target) as beside:
        beside.mkdir()
        torch.save(content, Path(beside) / FILE)


def _attributes(model: SavedModel, n_dims: int) -> dict[str, Any]:
    is_held_out = model.is_held_out
    n_cells = 0 if is_held_out is None else len(is_held_out)
    held_out = np.array([], dtype=np.int64) if is_held_out is None else np.flatnonzero(is_held_out)
    training = np.array([], dtype=np.int64) if is_held_out is None else np.flatnonzero(~is_held_out)
    sizes = {
        name: int(model.weights[weight].shape[axis]) for name, (weight, axis) in _SIZES.items()
    }
    numbers = {name: getattr(model.settings, name) for name in _NUMBERS}
    return {
        "history_": None,
        "init_params_": {"kwargs": {"model_kwargs": sizes | numbers}, "non_kwargs": {}},
        "is_trained_": model.is_trained,
        "registry_": _registry(model, n_cells, n_dims),
        "test_indices_": np.array([], dtype=np.int64),
        "train_indices_": training,
        "validation_indices_": held_out,
    }


def _registry(model: SavedModel, n_cells: int, n_dims: int) -> dict[str, Any]:
    """Where scvi-tools finds what the model needs in an AnnData."""
    settings = model.settings
    names = np.array(model.gene_names, dtype=object)
    ranks, axes = np.arange(settings.n_neighbors), np.arange(n_dims)
    layer, labels = settings.layer, np.array(model.labels, dtype=object)

    def columns(key: str, values: Any, count: str) -> dict[str, Any]:
        return {
            "data_registry": {"attr_name": "obsm", "attr_key": key},
            "state_registry": {"column_names": values},
            "summary_stats": {count: len(values)},
        }

    fields = {
        "X": {
            "data_registry": {"attr_name": "X" if layer is None else "layers", "attr_key": layer},
            "state_registry": {"n_obs": n_cells, "n_vars": len(names), "column_names": names},
            "summary_stats": {"n_vars": len(names), "n_cells": n_cells},
        },
        "labels": {
            "data_registry": {"attr_name": "obs", "attr_key": "_scvi_labels"},
            "state_registry": {
                "categorical_mapping": labels,
                "original_key": settings.labels_key,
            },
            "summary_stats": {"n_labels": len(labels)},
        },
        "coordinates": columns(settings.coord_obsm_key, axes, "n_coordinates"),
        "nn_idx": columns(settings.nn_idx_key, ranks, "n_nn_idx"),
        "nn_dist": columns(settings.nn_dist_key, ranks, "n_nn_dist"),
    }
    arguments = (
        "layer", "labels_key", "coord_obsm_key", "nn_dist_key", "nn_idx_key", "cell_radius_key",
        "n_neighbors",
    )  # fmt: skip
    return {
        "scvi_version": _SCVI_VERSION,
        "model_name": "AMICI",
        "setup_args": {name: getattr(settings, name) for name in arguments},
        "field_registries": fields,
        "setup_method_name": "setup_anndata",
    }
