"""A trained model without its class: its weights, settings, genes and labels."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import numpy as np

from amici_xr.errors import listed
from amici_xr.model.architecture import check_weights

if TYPE_CHECKING:
    import torch

# What AMICI uses where nothing was passed to it and so nothing was saved.
DEFAULTS: dict[str, Any] = {
    "attention_dummy_score": 3.0,
    "distance_kernel_unit_scale": 1.0,
    "pos_coef_offset": -2.0,
    "coord_obsm_key": "spatial",
    "layer": None,
    "cell_radius_key": None,
    "nn_idx_key": "_nn_idx",
    "nn_dist_key": "_nn_dist",
}
_NUMBERS = ("attention_dummy_score", "distance_kernel_unit_scale", "pos_coef_offset")
_MAY_BE_NONE = ("layer", "cell_radius_key")


@dataclass(frozen=True)
class ModelSettings:
    """The settings of a model that are no tensors, and which of them are AMICI's defaults.

    Attributes
    ----------
    labels_key, cell_radius_key
        Columns of ``adata.obs`` with the cell types and, where used, the radius of the cells.
    coord_obsm_key, nn_idx_key, nn_dist_key
        Keys of ``adata.obsm`` with the coordinates, and with the positions and distances of the
        neighbors once ``setup_anndata`` was called.
    layer
        Layer of the expression; None for ``adata.X``.
    n_neighbors
        K, the number of cells in a neighborhood.
    attention_dummy_score, distance_kernel_unit_scale
        δ and u of the formulas.
    pos_coef_offset
        Added to the position coefficient before the softplus.
    defaulted
        Names of the settings that were not saved and so are AMICI's defaults.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> model.settings.n_neighbors, model.settings.attention_dummy_score
    (30, 3.0)
    """

    labels_key: str
    n_neighbors: int
    coord_obsm_key: str
    layer: str | None
    cell_radius_key: str | None
    nn_idx_key: str
    nn_dist_key: str
    attention_dummy_score: float
    distance_kernel_unit_scale: float
    pos_coef_offset: float
    defaulted: frozenset[str] = frozenset()

    def with_sources(self) -> dict[str, dict[str, Any]]:
        """Each setting with its value and where it came from, "file" or "AMICI default".

        Returns
        -------
        dict
            Name of the setting -> its ``value`` and ``source``.

        Examples
        --------
        >>> import amici_xr
        >>> model, adata = amici_xr.demo()
        >>> model.settings.with_sources()["n_neighbors"]
        {'value': 30, 'source': 'file'}
        """
        return {
            field.name: {
                "value": getattr(self, field.name),
                "source": "AMICI default" if field.name in self.defaulted else "file",
            }
            for field in fields(self)
            if field.name != "defaulted"
        }


@dataclass(frozen=True, repr=False)
class SavedModel:
    """A trained model: what a saved folder holds that scores depend on.

    Attributes
    ----------
    weights
        The state dict, on the CPU.
    settings
        Where the model finds labels, coordinates and expression in an AnnData; δ and u.
    gene_names
        The genes, in the order of the weights.
    labels
        The cell types, in the order of the weights.
    is_trained
        Whether the model says that it was trained.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> model.n_heads, model.labels[:2]
    (4, ('Endothelial', 'Fibroblast'))
    """

    weights: Mapping[str, torch.Tensor]
    settings: ModelSettings
    gene_names: tuple[str, ...]
    labels: tuple[str, ...]
    is_trained: bool = True

    @property
    def n_heads(self) -> int:
        """Number of attention heads."""
        return int(self.weights["attention_layer.W_Q"].shape[1])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a folder that can be shared: no pickle, nothing that could run.

        It holds ``model.safetensors``, the weights, and ``settings.json``, all else in a form that
        can be read: gene names, cell types, the settings with their sources, the shapes of the
        weights, and a digest by which a damaged file is known. Either the whole folder is written
        or nothing is.

        Parameters
        ----------
        path
            The folder, made if it isn't there. One that holds a shared model is replaced, as a
            whole; one that holds anything else is left alone.

        Raises
        ------
        FileNotFoundError
            If the folder that it should stand in isn't there.
        FileExistsError
            If `path` is a file, or a folder that holds anything but a shared model.
        ModuleNotFoundError
            If safetensors is not installed; the message says how to.

        Examples
        --------
        >>> import amici_xr
        >>> model, adata = amici_xr.demo()
        >>> model.save("shared_model")
        >>> amici_xr.load_model("shared_model").labels == model.labels
        True
        """
        from amici_xr.model.safetensors_folder import write_shared_model

        write_shared_model(self, path)

    def __repr__(self) -> str:
        """Show what can be asked of the model, not its weights."""
        return (
            f"<SavedModel: {self.n_heads} heads, {len(self.gene_names)} genes, "
            f"cell types {listed(self.labels)}>"
        )


def checked_model(
    weights: Mapping[str, torch.Tensor],
    settings: ModelSettings,
    gene_names: tuple[str, ...],
    labels: tuple[str, ...],
    is_trained: bool,
    where: str,
) -> SavedModel:
    """Put a model together whose weights fit its genes and labels, of which none is there twice."""
    for what, names in (("gene names", gene_names), ("cell types", labels)):
        doubled = [name for name, count in Counter(names).items() if count > 1]
        if doubled:
            raise ValueError(f"{where}: its {what} hold {listed(doubled)} more than once")
    check_weights(weights, len(gene_names), len(labels), where)
    return SavedModel(weights, settings, gene_names, labels, is_trained)


def checked_settings(
    found: Mapping[str, Any], where: str, defaulted: frozenset[str] = frozenset()
) -> ModelSettings:
    """Settings of a model, each of the type and in the range that it needs."""
    values = dict(found)
    problems = []
    for name, value in found.items():
        is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        is_number = is_whole or isinstance(value, float | np.floating)
        if name == "n_neighbors":
            if not is_whole or value < 1:
                problems.append(f"{name}={short(value)} must be a whole number from 1 on")
                continue
            values[name] = int(value)
        elif name in _NUMBERS:
            is_scale = name == "distance_kernel_unit_scale"
            if not is_number or not math.isfinite(value) or (is_scale and value <= 0):
                above = " above 0" if is_scale else ""
                problems.append(f"{name}={short(value)} must be a finite number{above}")
                continue
            values[name] = float(value)
        elif not isinstance(value, str) and not (value is None and name in _MAY_BE_NONE):
            problems.append(f"{name}={short(value)} must be a name")
    if problems:
        raise ValueError(f"{where}: of its settings, {'; '.join(problems)}")
    return ModelSettings(**values, defaulted=defaulted)
