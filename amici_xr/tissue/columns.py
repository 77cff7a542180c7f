"""Single columns of an AnnData, checked: cell types, samples, positions, radii, colors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amici_xr.errors import NotFoundError, listed

if TYPE_CHECKING:
    import anndata

_SAMPLE_WORDS = ("sample", "section", "fov", "library", "slide", "slice", "batch", "donor")
_MOST_SAMPLES = 10_000
_LARGEST_COORDINATE = 1e100  # squares of larger ones overflow


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


def find_possible_samples(obs: pd.DataFrame) -> dict[str, NDArray[np.intp]]:
    """Return the columns whose name says that they hold samples, as numbers of groups."""
    codes = {
        str(name): pd.factorize(obs[name])[0]
        for name in obs.columns
        if any(word in str(name).lower() for word in _SAMPLE_WORDS)
    }
    return {name: groups for name, groups in codes.items() if 1 <= groups.max() < _MOST_SAMPLES}


def read_positions(adata: anndata.AnnData, key: str) -> NDArray[np.float64] | None:
    """Return the coordinates of all cells, (cell, axis); None where there are none."""
    if key not in adata.obsm:
        return None
    positions = _as_coordinates(adata.obsm[key], f"adata.obsm[{key!r}]")
    n_missing = int((~np.isfinite(positions)).any(axis=1).sum())
    if n_missing:
        raise ValueError(
            f"adata.obsm[{key!r}] holds no finite coordinates for {n_missing:,} cells; drop these "
            "cells first, since every neighborhood depends on them"
        )
    return positions


def _as_coordinates(given: Any, where: str) -> NDArray[np.float64]:
    """Return two or three columns of numbers, or raise an error that names what is there."""
    columns = [str(name) for name in getattr(given, "columns", ())]
    described = f"the columns {listed(columns)}" if columns else f"the shape {np.shape(given)}"
    message = f"{where} must hold 2 or 3 columns of numbers, the coordinates x, y(, z); it has "
    if np.ndim(given) != 2 or np.shape(given)[1] not in (2, 3) or hasattr(given, "tocsr"):
        raise ValueError(message + described)
    try:
        numbers = (
            given.astype("Float64").to_numpy(np.float64, na_value=np.nan) if columns else given
        )
        positions: NDArray[np.float64] = np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{message}{described}, not all of numbers") from error
    if (np.abs(positions) > _LARGEST_COORDINATE).any():
        raise ValueError(
            f"{where} holds coordinates beyond {_LARGEST_COORDINATE:g}, between which no distance "
            "can be computed; convert them to another unit"
        )
    if not all(axis in name.lower() for axis, name in zip("xyz", columns, strict=False)):
        warnings.warn(
            f"{where} has {described}, which are taken for x, y(, z) in this order; keep only the "
            "coordinates where this is wrong",
            stacklevel=5,
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
            f"adata.uns[{key!r}] holds {listed(invalid, 5)}, which matplotlib does not know as a "
            "color; the colors are left out",
            stacklevel=4,
        )
        return None
    color_of = dict(zip(categories.astype(str), map(to_hex, colors), strict=False))
    return np.array([color_of.get(label, "") for label in vocabulary])
