"""The unit of the coordinates as the AnnData itself names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from amici_xr.dataset.units import usual_name
from amici_xr.errors import listed


def unit_keys(coord_key: str) -> tuple[str, ...]:
    """Return the entries of ``uns`` that may name the unit of the coordinates.

    AnnData and squidpy have no rule for it; these are the names that files use.
    """
    subjects = dict.fromkeys((coord_key, "spatial", "coord", "coordinate"))
    return tuple(f"{subject}_{word}" for subject in subjects for word in ("unit", "units"))


def find_unit(entries: Mapping[str, Any]) -> str | None:
    """Return the unit that entries of ``uns`` name, "µm" for every spelling of it; None for none.

    Units whose length is unknown, such as pixels, keep their name.
    """
    units = {key: usual_name(_read_word(key, value)) for key, value in entries.items()}
    if len(set(units.values())) > 1:
        raise ValueError(
            f"adata.uns names different units of the coordinates: {units!r}; delete those that are "
            "wrong"
        )
    return next(iter(units.values()), None)


def _read_word(key: str, value: Any) -> str:
    array = np.asarray(value, dtype=object)
    word: Any = array.item() if array.size == 1 else value
    word = word.decode("utf-8", "replace") if isinstance(word, bytes) else word
    if not isinstance(word, str) or not word.strip():
        raise ValueError(
            f"adata.uns[{key!r}] = {listed(array.ravel(), 3)} is not "
            f"the name of a unit; write one, adata.uns[{key!r}] = 'µm', or delete it"
        )
    return word
