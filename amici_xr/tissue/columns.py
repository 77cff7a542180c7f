"""Single columns of an AnnData, checked: cell types, samples, positions, radii, colors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amici_xr.errors import NotFoundError, listed

if TYPE_CHECKING:
    import anndata


def read_labels(
    adata: anndata.AnnData, key: str, vocabulary: Sequence[str] | None
) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Return the vocabulary of cell types and the position of each cell's type in it.

    Without a vocabulary, it is the cell types that occur, sorted.
    """
    if key not in adata.obs:
        raise NotFoundError(
            f"adata.obs has no {key!r}, where the cell types are expected; "
            f"it has {listed(adata.obs.columns)}; where one of these holds them, copy it, "
            f"adata.obs[{key!r}] = adata.obs[…]"
        )
    if adata.obs[key].isna().any():
        raise ValueError(
            f"adata.obs[{key!r}] has no cell type for {adata.obs[key].isna().sum():,} cells; drop "
            "these cells, since they would be neighbors of an unknown type"
        )
    labels = pd.Index(adata.obs[key].astype(str).to_numpy(dtype=object))
    present = labels.unique().sort_values()
    names = present if vocabulary is None else pd.Index(vocabulary)
    codes: NDArray[np.intp] = names.get_indexer(labels)
    if (codes < 0).any():
        raise NotFoundError(
            f"adata.obs[{key!r}] holds {listed(present.difference(names))}, which the model was "
            f"not trained on; it knows {listed(names)} and adata has {listed(present)}"
        )
    return tuple(names), codes


def read_samples(adata: anndata.AnnData, key: str | None) -> NDArray[np.str_] | None:
    """Return the sample of each cell; None where no key is given."""
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
    names: NDArray[np.str_] = samples.astype(str).to_numpy(dtype=str)
    return names


def read_positions(adata: anndata.AnnData, key: str) -> NDArray[np.float64] | None:
    """Return the coordinates of all cells, (cell, axis); None where there are none."""
    if key not in adata.obsm:
        return None
    positions: NDArray[np.float64] = np.asarray(adata.obsm[key], dtype=np.float64)
    n_missing = int((~np.isfinite(positions)).any(axis=1).sum())
    if n_missing:
        raise ValueError(
            f"adata.obsm[{key!r}] holds no finite coordinates for {n_missing:,} cells; drop these "
            "cells first, since every neighborhood depends on them"
        )
    return positions


def read_radii(adata: anndata.AnnData, key: str | None) -> NDArray[np.float64] | None:
    """Return the radius of all cells; None where no key is given."""
    if key is None:
        return None
    if key not in adata.obs:
        raise NotFoundError(
            f"adata.obs has no {key!r}, where the radius of the cells is expected; "
            f"it has {listed(adata.obs.columns)}"
        )
    radius: NDArray[np.float64] = pd.to_numeric(adata.obs[key], errors="coerce").to_numpy(float)
    if not (np.isfinite(radius) & (radius >= 0)).all():
        raise ValueError(f"adata.obs[{key!r}] holds radii that are missing, negative or no numbers")
    return radius


def read_colors(
    adata: anndata.AnnData, labels_key: str, vocabulary: Sequence[str]
) -> NDArray[np.str_] | None:
    """Return the color of each cell type as scanpy keeps it, as #rrggbb; None without colors.

    Scanpy keeps them in ``uns["<key>_colors"]``, in the order of the categories. A cell type
    without a category gets an empty text; fewer colors than categories count as none.
    """
    from matplotlib.colors import is_color_like, to_hex

    key, labels = f"{labels_key}_colors", adata.obs[labels_key]
    if key not in adata.uns or not isinstance(labels.dtype, pd.CategoricalDtype):
        return None
    colors, categories = np.atleast_1d(adata.uns[key]).tolist(), labels.cat.categories
    if len(colors) < len(categories):
        return None
    invalid = [color for color in colors if not is_color_like(color)]
    if invalid:
        warnings.warn(
            f"adata.uns[{key!r}] holds {listed(invalid, 5)}, no color that matplotlib knows; the "
            "colors are left out",
            stacklevel=4,
        )
        return None
    color_of = dict(zip(categories.astype(str), map(to_hex, colors), strict=False))
    return np.array([color_of.get(label, "") for label in vocabulary])
