"""One color for each cell type, the same in every figure."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.errors import NotFoundError, listed

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


# Okabe & Ito (2008), without black, and without yellow, which is lost on white paper.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

# What people without one of the three kinds of cones see, of linear RGB: Machado, Oliveira and
# Fernandes (2009), doi:10.1109/TVCG.2009.113, at full severity. The first sees everything.
_VISIONS = np.array(
    [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]],
    ]
)  # fmt: skip
# Oklab, in which the distance of two colors is how different they look: Ottosson (2020),
# https://bottosson.github.io/posts/oklab/.
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_LIGHTNESS = (0.38, 0.8)  # dark enough for a line on white, and not black
_CHROMA = (0.07, 0.2)  # neither gray, which is for cells without a value, nor glaring


@functools.cache
def distinct_colors(n: int) -> tuple[str, ...]:
    """`n` colors as ``#RRGGBB``: those of Okabe and Ito, then each as far from all as can be.

    How far is the distance in Oklab, the smallest over normal vision and the three kinds of color
    blindness. More colors begin with the fewer.
    """
    chosen = [*OKABE_ITO[:n]]
    if n <= len(chosen):
        return tuple(chosen)
    candidates = _candidates()
    seen = _seen(candidates)
    distance = np.linalg.norm(seen[:, :, np.newaxis] - _seen(_rgb(chosen))[:, np.newaxis], axis=-1)
    nearest = distance.min(axis=(0, 2))
    while len(chosen) < n:
        best = int(nearest.round(6).argmax())  # rounded: the same one on every machine
        red, green, blue = (candidates[best] * 255).round().astype(int)
        chosen.append(f"#{red:02X}{green:02X}{blue:02X}")
        to_best = np.linalg.norm(seen - seen[:, [best]], axis=-1).min(axis=0)
        nearest = np.minimum(nearest, to_best)
    return tuple(chosen)


def smallest_difference(colors: Any) -> float:
    """How different the two most alike look, in Oklab, to whoever sees the least difference."""
    seen = _seen(_rgb(colors))
    distance = np.linalg.norm(seen[:, :, np.newaxis] - seen[:, np.newaxis], axis=-1)
    rows, columns = np.triu_indices(seen.shape[1], 1)
    return float(distance[:, rows, columns].min())


def _candidates() -> NDArray[np.float64]:
    """A grid of RGB colors that can be seen on white, neither gray nor glaring."""
    steps = np.linspace(0, 1, 18)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, green_red, blue_yellow = _seen(grid)[0].T
    chroma = np.hypot(green_red, blue_yellow)
    is_kept = np.full(len(grid), True)
    for values, (low, high) in ((lightness, _LIGHTNESS), (chroma, _CHROMA)):
        is_kept &= (low < values) & (values < high)
    kept: NDArray[np.float64] = grid[is_kept]
    return kept


def _rgb(colors: Any) -> NDArray[np.float64]:
    return np.array([[int(one[at : at + 2], 16) / 255 for at in (1, 3, 5)] for one in colors])


def _seen(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Oklab coordinates of RGB colors for each kind of vision, (vision, color, 3)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.einsum("vij,cj->vci", _VISIONS, linear)
    cones = np.cbrt(np.clip(seen @ _TO_CONES.T, 0, None))
    oklab: NDArray[np.float64] = cones @ _TO_OKLAB.T
    return oklab
