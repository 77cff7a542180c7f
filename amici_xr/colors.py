"""One color for each cell type, the same in every figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from .errors import NotFoundError, listed

# Okabe & Ito (2008), told apart by all common kinds of color vision; without black.
_OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B8A900")


def label_colors(ds: xr.Dataset, palette: Any = None) -> dict[str, Any]:
    """Color of each label, by its place in the model's vocabulary.

    So a cell type keeps its color whatever is drawn. Up to seven types get the Okabe-Ito colors,
    more get Glasbey's, 256 that are as distinct as so many can be.
    """
    known = ds["cell_type"].values if "cell_type" in ds.coords else np.unique(ds["label"].values)
    labels = [str(label) for label in known]
    if isinstance(palette, Mapping):
        present = np.unique(ds["label"].values).tolist()
        missing = [label for label in present if label not in palette]
        if missing:
            raise NotFoundError(f"palette has no color for {listed(missing)}")
        return dict(palette)
    colors = _sequence(palette, len(labels))
    return {label: colors[place % len(colors)] for place, label in enumerate(labels)}


def _sequence(palette: Any, n_labels: int) -> list[Any]:
    if palette is None:
        if n_labels <= len(_OKABE_ITO):
            return list(_OKABE_ITO)
        from colorcet import glasbey_dark

        return list(glasbey_dark)
    if not isinstance(palette, str):
        if not len(palette):
            raise ValueError(f"palette={palette!r} holds no color")
        return list(palette)
    import matplotlib as mpl

    if palette not in mpl.colormaps:
        raise NotFoundError(f"palette={palette!r} is no matplotlib colormap, e.g. 'tab20'")
    colormap = mpl.colormaps[palette]
    discrete = getattr(colormap, "colors", None)
    if discrete is not None and len(discrete) < 100:  # a list of colors, not a gradient
        return list(discrete)
    return list(colormap(np.linspace(0, 1, n_labels)))
