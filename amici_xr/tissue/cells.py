"""The AnnData as a model reads it: labels as positions in its vocabulary, where cells lie."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amici_xr.dependencies import require
from amici_xr.errors import NotFoundError, listed
from amici_xr.tissue.expression import opened

if TYPE_CHECKING:
    import anndata

    from amici_xr.model.saved_model import ModelSettings, SavedModel


@dataclass(frozen=True)
class Tissue:
    """The cells: what is known of each, in memory, and where their expression lies."""

    adata: anndata.AnnData
    path: Path | None = None  # of the file that holds the expression; None where `adata` does


def open_tissue(adata: Any, model: Any, settings: ModelSettings) -> Tissue:
    """Return the tissue as given, of a file, or of a live model.

    Of a file only what describes the cells is read; their expression stays where it is.
    """
    if adata is None:
        adata = _own_tissue(model)
    if isinstance(adata, str | os.PathLike):
        if not Path(adata).exists():
            raise FileNotFoundError(f"adata={os.fspath(adata)!r}: there is no such file")
        require("anndata", "model", "reading a tissue")
        try:
            return _read(Path(adata).resolve(), settings)  # workers may stand in other folders
        except Exception as error:  # AnnData has its own, some of them private
            if isinstance(error, ModuleNotFoundError):
                raise
            raise ValueError(f"adata={os.fspath(adata)!r} can't be read: {error}") from error
    if not all(hasattr(adata, name) for name in ("obs", "obsm", "var_names", "layers")):
        raise TypeError(f"adata must be an AnnData or a path, not {type(adata).__name__}")
    is_backed = getattr(adata, "isbacked", False) and not adata.is_view
    in_file = is_backed and settings.layer is None
    return Tissue(adata, Path(adata.filename).resolve() if in_file else None)


def _read(path: Path, settings: ModelSettings) -> Tissue:
    import anndata

    with opened(path) as root:
        if "encoding-type" not in root.attrs:  # of AnnData before 0.8
            return Tissue((anndata.read_zarr if path.is_dir() else anndata.read_h5ad)(path))
        missing = [name for name in ("obs", "var") if name not in root]
        if missing:
            raise ValueError(f"it has no {listed(missing)}")
        wanted = (settings.coord_obsm_key, settings.nn_idx_key, settings.nn_dist_key)
        present = list(root.get("obsm", {}))
        keys = [key for key in present if key in wanted] or present
        colors = f"{settings.labels_key}_colors"
        described = anndata.AnnData(
            obs=anndata.io.read_elem(root["obs"]),
            var=anndata.io.read_elem(root["var"]),
            obsm={key: anndata.io.read_elem(root["obsm"][key]) for key in keys},
            uns={
                key: anndata.io.read_elem(root["uns"][key])
                for key in {colors} & {*root.get("uns", {})}
            },
        )
    return Tissue(described, path)


def _own_tissue(model: Any) -> Any:
    """The AnnData of a live model, or the one that was saved in its folder."""
    if isinstance(model, str | os.PathLike):
        folder = Path(model) if Path(model).is_dir() else Path(model).parent
        beside = folder / "adata.h5ad"
        if beside.is_file():
            return beside
    adata = getattr(model, "adata", None)
    if adata is None:
        raise TypeError(
            "adata=None, but this saved model has no AnnData of its own; "
            "pass the tissue, e.g. extract(model, query, 'tissue.h5ad')"
        )
    return adata


def label_codes(adata: anndata.AnnData, model: SavedModel) -> NDArray[np.intp]:
    """Cell type of each cell, as its position in the model's vocabulary."""
    key = model.settings.labels_key
    if key not in adata.obs:
        raise NotFoundError(
            f"adata.obs has no {key!r}, where the model expects the cell types; "
            f"it has {listed(adata.obs.columns)}; where one of these holds them, copy it, "
            f"adata.obs[{key!r}] = adata.obs[…]"
        )
    labels = adata.obs[key]
    if labels.isna().any():
        raise ValueError(
            f"adata.obs[{key!r}] has no cell type for {labels.isna().sum():,} cells; drop these "
            "cells, since they would be neighbors of an unknown type"
        )
    codes = pd.Index(model.labels).get_indexer(pd.Index(labels.astype(str).to_numpy(dtype=object)))
    if (codes < 0).any():
        unknown = pd.unique(labels[codes < 0].astype(str))
        raise NotFoundError(
            f"adata.obs[{key!r}] holds {listed(unknown)}, which the model was not trained on; it "
            f"knows {listed(model.labels)} and adata has {listed(pd.unique(labels.astype(str)))}"
        )
    return codes


def find_samples(adata: anndata.AnnData, key: str | None) -> NDArray[np.str_] | None:
    """Sample of each cell, None where nobody asked."""
    if key is None:
        return None
    if not isinstance(key, str) or key not in adata.obs:
        raise NotFoundError(
            f"sample_key={key!r} is no column of adata.obs, which has {listed(adata.obs.columns)}"
        )
    samples = adata.obs[key]
    if samples.isna().any():
        raise ValueError(
            f"sample_key={key!r}: {samples.isna().sum():,} cells have no sample; give each one, or "
            "drop these cells"
        )
    named: NDArray[np.str_] = samples.astype(str).to_numpy(dtype=str)
    return named


def find_coordinates(adata: anndata.AnnData, key: str) -> NDArray[np.float64] | None:
    """Coordinates of all cells, (cell, axis), from an array or DataFrame; None where not known."""
    if key not in adata.obsm:
        return None
    coordinates: NDArray[np.float64] = np.asarray(adata.obsm[key], dtype=np.float64)
    missing = int((~np.isfinite(coordinates)).any(axis=1).sum())
    if missing:
        raise ValueError(
            f"adata.obsm[{key!r}] holds no finite coordinates for {missing:,} cells; drop these "
            "cells first, since every neighborhood depends on them"
        )
    return coordinates


def find_radius(adata: anndata.AnnData, key: str | None) -> NDArray[np.float64] | None:
    """Radius of all cells, None where the model was set up without."""
    if key is None:
        return None
    if key not in adata.obs:
        raise NotFoundError(
            f"adata.obs has no {key!r}, where the model expects the radius of the cells; "
            f"it has {listed(adata.obs.columns)}"
        )
    radius: NDArray[np.float64] = pd.to_numeric(adata.obs[key], errors="coerce").to_numpy(float)
    if not (np.isfinite(radius) & (radius >= 0)).all():
        raise ValueError(f"adata.obs[{key!r}] holds radii that are missing, negative or no numbers")
    return radius


def describe_cells(
    adata: anndata.AnnData,
    model: SavedModel,
    samples: NDArray[np.str_] | None,
    **cells: NDArray[np.intp],
) -> dict[str, NDArray[Any]]:
    """Names and, where known, samples and places of the neighbors and the receivers."""
    names = adata.obs_names.to_numpy(dtype=object)
    places = find_coordinates(adata, model.settings.coord_obsm_key)
    described = {f"{role}_name": names[position] for role, position in cells.items()}
    if samples is not None:
        described |= {f"{role}_sample": samples[position] for role, position in cells.items()}
    if places is not None:
        for role, position in cells.items():
            for axis, values in zip("xyz", places.T, strict=False):
                described[f"{role}_{axis}"] = values[position]
    return described


def describe_labels(adata: anndata.AnnData, model: SavedModel) -> dict[str, NDArray[Any]]:
    """The color of each type of the model's vocabulary in which scanpy has drawn it, as #rrggbb.

    As scanpy keeps them: in ``uns["<key>_colors"]``, by the order of the categories. Empty text for
    a type without a category. Nothing where there are no colors, or fewer than categories.
    """
    from matplotlib.colors import is_color_like, to_hex

    key = f"{model.settings.labels_key}_colors"
    labels = adata.obs[model.settings.labels_key]
    if key not in adata.uns or not isinstance(labels.dtype, pd.CategoricalDtype):
        return {}
    colors, categories = np.atleast_1d(adata.uns[key]).tolist(), labels.cat.categories
    if len(colors) < len(categories):
        return {}
    wrong = [color for color in colors if not is_color_like(color)]
    if wrong:
        warnings.warn(
            f"adata.uns[{key!r}] holds {listed(wrong, 5)}, no color that matplotlib knows; the "
            "colors are left out",
            stacklevel=3,
        )
        return {}
    of_label = dict(zip(categories.astype(str), map(to_hex, colors), strict=False))
    return {"cell_type_color": np.array([of_label.get(label, "") for label in model.labels])}
