"""A trained model without its class: weights, settings, genes and labels, read safely."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import listed
from .optional import require

if TYPE_CHECKING:
    import torch

# What AMICI uses where nothing was passed to it and so nothing was saved.
_DEFAULTS: dict[str, Any] = {
    "attention_dummy_score": 3.0,
    "distance_kernel_unit_scale": 1.0,
    "pos_coef_offset": -2.0,
    "coord_obsm_key": "spatial",
    "layer": None,
    "cell_radius_key": None,
    "nn_idx_key": "_nn_idx",
    "nn_dist_key": "_nn_dist",
}


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
        """Each setting with its value and where it came from, "file" or "AMICI default"."""
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

    def __repr__(self) -> str:
        """Show what can be asked of the model, not its weights."""
        return (
            f"<SavedModel: {self.n_heads} heads, {len(self.gene_names)} genes, "
            f"cell types {listed(self.labels)}>"
        )


def load_model(path: str | os.PathLike[str]) -> SavedModel:
    """Read a saved model folder, without AMICI and without running anything it holds.

    Parameters
    ----------
    path
        The folder that ``model.save`` of AMICI wrote, or the ``.pt`` file in it.

    Returns
    -------
    SavedModel
        Weights, settings, gene names and labels.

    Raises
    ------
    FileNotFoundError
        If there is no ``model.pt``.
    ValueError
        If the file can't be read, is no AMICI model, or names something that no model needs and
        that could run code.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> model.labels
    ('Endothelial', 'Fibroblast', 'Macrophage', 'T_cell', 'Tumor')
    """
    file = Path(path)
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
    saved = _read_safely(file)
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
    needed = ("ct_embed.weight", "attention_layer.W_Q", "nn_embed.nn.0.weight")
    missing = [name for name in needed if name not in weights]
    registry = attributes.get("registry_") or {}
    try:
        arguments = registry["setup_args"]
        labels = registry["field_registries"]["labels"]["state_registry"]["categorical_mapping"]
    except (KeyError, TypeError):
        arguments, labels = {}, ()
        missing.append("registry_")
    if missing:
        raise ValueError(f"{where} is not an AMICI model: it lacks {listed(missing)}")
    return SavedModel(
        weights=weights,
        settings=_settings(arguments, attributes.get("init_params_") or {}, where),
        gene_names=tuple(str(name) for name in gene_names),
        labels=tuple(str(label) for label in labels),
        is_trained=bool(attributes.get("is_trained_", True)),
    )


def _settings(
    arguments: Mapping[str, Any], init_params: Mapping[str, Any], where: str
) -> ModelSettings:
    given = _flat(init_params) | dict(arguments)
    names = [field.name for field in fields(ModelSettings) if field.name != "defaulted"]
    found = {name: given[name] for name in names if name in given}
    missing = [name for name in names if name not in found and name not in _DEFAULTS]
    missing += [name for name in ("labels_key", "n_neighbors") if found.get(name, "") is None]
    if missing:
        raise ValueError(f"{where} was saved without its settings {listed(missing)}")
    for name in ("attention_dummy_score", "distance_kernel_unit_scale", "pos_coef_offset"):
        if name in found:
            found[name] = float(found[name])
    found["n_neighbors"] = int(found["n_neighbors"])
    return ModelSettings(**_DEFAULTS | found, defaulted=frozenset(_DEFAULTS) - set(found))


def _flat(nested: Mapping[str, Any]) -> dict[str, Any]:
    """All leaves of nested dicts: scvi-tools keeps keyword arguments two levels down."""
    leaves: dict[str, Any] = {}
    for name, value in nested.items():
        leaves.update(_flat(value) if isinstance(value, Mapping) else {name: value})
    return leaves


class _Inert:
    """Stands in for every pandas and pyarrow object, none of which a score depends on."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Inert:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Take any state and keep none of it."""


def _plain_dict(*_: Any) -> dict[Any, Any]:
    """Stand in for collections.defaultdict, which torch refuses to fill."""
    return {}


def _no_bytes() -> bytes:
    """Stand in for bytes, called without arguments where an array is empty."""
    return b""


_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]  # NumPy's own; its module differs by version
_SCALAR: Any = np.float64(0).__reduce__()[0]
_STAND_INS: dict[str, Any] = {
    "numpy.core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy.core.multiarray.scalar": _SCALAR,
    "numpy._core.multiarray.scalar": _SCALAR,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "builtins.dict": dict,
    "builtins.slice": slice,  # stands inside pandas objects
    "builtins.bytes": _no_bytes,
    "collections.defaultdict": _plain_dict,
}


def _stand_in(name: str) -> Any:
    """Look up what a global of a checkpoint becomes; None is a refusal."""
    return _Inert if name.startswith(("pandas.", "pyarrow.")) else _STAND_INS.get(name)


def _read_safely(file: Path) -> Any:
    """Unpickle with an allow-list: a file from a stranger must not run code."""
    serialization = require("torch", "model", "reading a trained model").serialization
    try:
        names = serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception as error:
        raise ValueError(f"{file} is not a model.pt that torch can read: {error}") from error
    stand_ins = {name: _stand_in(name) for name in names}
    refused = sorted(name for name, stand_in in stand_ins.items() if stand_in is None)
    if refused:
        raise ValueError(
            f"{file} names {listed(refused)}, which no AMICI model needs and which could run code; "
            "it was not read. Ask its author for a file from model.save()"
        )
    dtypes = [getattr(np.dtypes, name) for name in dir(np.dtypes) if name.endswith("DType")]
    allowed = [*dtypes, *((stand_in, name) for name, stand_in in stand_ins.items())]
    with serialization.safe_globals(allowed):
        try:
            return serialization.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            # torch's own message goes on to recommend reading the file unsafely.
            reason = str(error).split("WeightsUnpickler error:")[-1].strip().partition("\n")[0]
            raise ValueError(f"{file} is not a model.pt that torch can read: {reason}") from None
