"""One color for each cell type, the same in every figure."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from .errors import NotFoundError, listed
from .palette import OKABE_ITO, distinct_colors

Palette = Mapping[str, Any] | Sequence[Any] | str | None
_LINES = ("-", "--", "-.", ":")


def label_colors(ds: xr.Dataset, shown: Sequence[str], palette: Palette = None) -> dict[str, Any]:
    """Color of each label that is shown.

    Without a palette, the one that the tissue came with (the ``cell_type_color`` of the Dataset),
    and for a type that came with none the one at its place in the model's vocabulary, of colors
    that are told apart with every kind of color vision. So a cell type keeps its color whatever is
    drawn.
    """
    if isinstance(palette, Mapping):
        missing = [label for label in shown if label not in palette]
        if missing:
            raise NotFoundError(f"palette has no color for {listed(missing)}")
        return {label: palette[label] for label in shown}
    known = _vocabulary(ds)
    if palette is None:
        usual = dict(zip(known, distinct_colors(len(known)), strict=True))
        own = _recorded(ds)
        return {label: own.get(label) or usual[label] for label in shown}
    colors = _sequence(palette, len(known))
    chosen = {label: known.index(label) % len(colors) for label in shown}
    if len(set(chosen.values())) < len(shown):
        warnings.warn(
            f"palette={palette!r} has {len(colors)} colors for {len(known)} cell types, so some "
            "share one; leave it out to have all distinct",
            stacklevel=3,
        )
    return {label: colors[color] for label, color in chosen.items()}


def label_lines(ds: xr.Dataset, shown: Sequence[str]) -> dict[str, str]:
    """Line style of each label that is shown: another after every six types of the vocabulary.

    So that lines are told apart by more than their color where there are many.
    """
    known = _vocabulary(ds)
    return {label: _LINES[known.index(label) // len(OKABE_ITO) % len(_LINES)] for label in shown}


def _vocabulary(ds: xr.Dataset) -> list[str]:
    known = ds["cell_type"].values if "cell_type" in ds.coords else np.unique(ds["label"].values)
    return [str(label) for label in known]


def _recorded(ds: xr.Dataset) -> dict[str, str]:
    """Colors that the tissue came with; empty where it had none for a type."""
    if "cell_type_color" not in ds.coords:
        return {}
    from matplotlib.colors import is_color_like

    colors = dict(zip(_vocabulary(ds), ds["cell_type_color"].values.tolist(), strict=True))
    wrong = [color for color in colors.values() if color and not is_color_like(color)]
    if wrong:
        raise ValueError(
            f"cell_type_color holds {listed(wrong)}, no color that matplotlib knows; write it as "
            "'#RRGGBB', or as '' for the usual one"
        )
    return colors


def _sequence(palette: Any, n_labels: int) -> list[Any]:
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
