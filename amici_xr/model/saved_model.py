"""A trained model without its class: its weights, settings, genes and labels."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, fields
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.errors import listed
from amici_xr.model.architecture import check_weights
from amici_xr.model.safetensors_folder import check_names, write_folder

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
# Type, the limit below which a value is refused, and both in words.
_NUMBERS: dict[str, tuple[type, float, str]] = {
    "n_neighbors": (int, 0, "a whole number from 1 on"),
    "distance_kernel_unit_scale": (float, 0, "a finite number above 0"),
    "attention_dummy_score": (float, -math.inf, "a finite number"),
    "pos_coef_offset": (float, -math.inf, "a finite number"),
}
_SOURCES = ("file", "AMICI default")  # of a setting
HELD_OUT = "is_held_out"  # its name beside the weights of a shared model
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
            name: {"value": getattr(self, name), "source": _SOURCES[name in self.defaulted]}
            for name in SETTING_NAMES
        }


SETTING_NAMES = [field.name for field in fields(ModelSettings) if field.name != "defaulted"]


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
    is_held_out
        For each cell of the AnnData that it was trained with, whether training left it out; None
        where the model does not say.

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
    is_held_out: NDArray[Any] | None = None

    @property
    def n_heads(self) -> int:
        """Number of attention heads."""
        return int(self.weights["attention_layer.W_Q"].shape[1])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a folder that can be shared: no pickle, nothing that could run.

        It holds ``model.safetensors``, the weights and `is_held_out`, and ``settings.json``, all
        else in a form that can be read: gene names, cell types, the settings with their sources,
        the shapes of the weights, and a digest by which a damaged file is known. Either the whole
        folder is written or nothing is.

        Parameters
        ----------
        path
            The folder, made if it isn't there; a ``~`` at its start is the user's home folder. One
            that holds a shared model is replaced, as a whole; one that holds anything else is left
            alone.

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
        description = {
            "is_trained": self.is_trained,
            "labels": list(self.labels),
            "settings": self.settings.with_sources(),
            "gene_names": list(self.gene_names),
        }
        tensors = dict(self.weights)
        if self.is_held_out is not None:
            import torch

            tensors[HELD_OUT] = torch.from_numpy(self.is_held_out)
        write_folder(path, tensors, description)

    def __repr__(self) -> str:
        """Show what can be asked of the model, not its weights."""
        return (
            f"<SavedModel: {self.n_heads} heads, {len(self.gene_names)} genes, "
            f"cell types {listed(self.labels)}>"
        )


def check_model(model: SavedModel, source: str) -> SavedModel:
    """Return a model, whose weights must fit its genes and labels, and these be unique."""
    for kind, names in (("gene names", model.gene_names), ("cell types", model.labels)):
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise ValueError(f"{source}: its {kind} hold {listed(repeated)} more than once")
    check_weights(model.weights, len(model.gene_names), len(model.labels), source)
    return model


def settings_from_sources(settings: Mapping[str, Any], source: str) -> ModelSettings:
    """Undo `ModelSettings.with_sources`."""
    check_names(settings, SETTING_NAMES, f"{source}: settings")
    for name, setting in settings.items():
        is_whole = isinstance(setting, dict) and set(setting) == {"value", "source"}
        if not is_whole or setting["source"] not in _SOURCES:
            raise ValueError(
                f"{source}: settings[{name!r}]={setting!r} must have a value and a source, which "
                f"is one of {listed(_SOURCES)}"
            )
    values = {name: setting["value"] for name, setting in settings.items()}
    defaulted = {name for name in settings if settings[name]["source"] == _SOURCES[1]}
    return build_settings(values, source, defaulted)


def build_settings(values: Mapping[str, Any], source: str, defaulted: Set[str]) -> ModelSettings:
    """Build the settings of a model, each of which must be of its type and in its range."""
    checked, problems = dict(values), []
    for name, value in values.items():
        if name in _NUMBERS:
            kind, above, needed = _NUMBERS[name]
            is_valid = _is_number(value, kind) and value > above
            checked[name] = kind(value) if is_valid else value
        else:
            needed = "a name"
            is_valid = isinstance(value, str) or (value is None and name in _MAY_BE_NONE)
        if not is_valid:
            is_short = isinstance(value, str | int | float | None)
            shown = short(value) if is_short else f"a {type(value).__name__}"
            problems.append(f"{name}={shown} must be {needed}")
    if problems:
        raise ValueError(f"{source}: of its settings, {'; '.join(problems)}")
    return ModelSettings(**checked, defaulted=frozenset(defaulted))


def _is_number(value: Any, kind: type) -> bool:
    """Say whether a value is a finite number, for an int a whole one, of 63 bits at most."""
    if isinstance(value, int | np.integer):
        return not isinstance(value, bool) and abs(int(value)) < 2**63
    return kind is float and isinstance(value, float | np.floating) and math.isfinite(value)
