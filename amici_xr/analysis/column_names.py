"""Names of columns that tell their values apart and that AnnData can save."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import ArrayLike

_LARGEST_EXACT = 1e15  # integers up to here are written as they are


def distinguish(values: ArrayLike) -> list[str]:
    """Write numbers with six digits, or with as many as it takes to tell them apart.

    Whole numbers are never rounded, so that columns written by several calls do not meet either.
    """
    numbers = np.atleast_1d(np.asarray(values, dtype=np.float64))
    texts: list[str] = []
    for digits in range(6, 18):  # 17 digits tell any two floats apart
        texts = [f"{value:.{digits}g}" for value in numbers]
        is_exact = all(
            float(text) == value
            for text, value in zip(texts, numbers, strict=True)
            if abs(value) < _LARGEST_EXACT and value.is_integer()
        )
        if is_exact and len(set(texts)) == np.unique(numbers).size:
            break
    return texts


def replace_slashes(name: str, others: Collection[str] = ()) -> str:
    """Replace slashes of either kind, which HDF5 and Zarr take for folders, by ``_``.

    Where that is the name of another one, a further ``_`` follows.
    """
    replaced = name.replace("/", "_").replace("\\", "_")
    while replaced != name and replaced in others:
        replaced += "_"
    return replaced


def make_savable(name: str, index_name: object = None) -> str:
    """Replace slashes, and refuse names that can't be saved all the same."""
    savable = replace_slashes(name)
    if savable.strip(".") == "" or "\0" in savable or savable in ("_index", index_name):
        raise ValueError(
            f"quantities: the column {savable!r} can't be saved in an AnnData: it is empty, made "
            "of dots, holds a null character, or is the name of the index of adata.obs; give the "
            "quantity another name"
        )
    return savable
