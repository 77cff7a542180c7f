"""One color for each cell type, the same in every figure."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from .errors import NotFoundError, listed

# Okabe & Ito (2008), told apart by all common kinds of color vision; without black.
_OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B8A900")


def label_colors(ds: xr.Dataset, shown: Sequence[str], palette: Any = None) -> dict[str, Any]:
    """Color of each label that is shown, by its place in the model's vocabulary.

    So a cell type keeps its color whatever is drawn. Up to seven types get the Okabe-Ito colors,
    more get Glasbey's, 256 that are as distinct as so many can be.
    """
    if isinstance(palette, Mapping):
        missing = [label for label in shown if label not in palette]
        if missing:
            raise NotFoundError(f"palette has no color for {listed(missing)}")
        return {label: palette[label] for label in shown}
    known = ds["cell_type"].values if "cell_type" in ds.coords else np.unique(ds["label"].values)
    colors = _sequence(palette, known.size)
    place = {str(label): number for number, label in enumerate(known)}
    chosen = {label: place[label] % len(colors) for label in shown}
    if len(set(chosen.values())) < len(shown):
        warnings.warn(
            f"palette={palette!r} has {len(colors)} colors for {known.size} cell types, so some "
            "share one; leave it out to have all distinct",
            stacklevel=3,
        )
    return {label: colors[color] for label, color in chosen.items()}


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
