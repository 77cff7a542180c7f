"""One color for each cell type, the same in every figure."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from amici_xr.errors import NotFoundError, listed

Palette = Mapping[str, Any] | Sequence[Any] | str | None
_LINE_STYLES = ("-", "--", "-.", ":")
_TYPES_PER_LINE_STYLE = 6

# First six colors of Okabe and Ito (2008), without black, and without yellow, which is hardly
# visible on white paper. Then 96 of the Glasbey colors (Glasbey et al. 2007) of colorcet 3.2.1
# (James A. Bednar and others, CC BY 4.0, https://colorcet.holoviz.org), in another order: from
# `glasbey_bw_minc_20_maxl_70`, without gray and very dark ones, those that differ from all before
# them by at least 0.065 in Oklab with normal vision and every kind of color blindness, then those
# that differ by 0.05, 0.04, 0.03 and 0.02.
_HEX_CODES = (
    "0072B2 D55E00 009E73 CC79A7 E69F00 56B4E9 8C3CFF 6C004F 583B00 15E18D 0000DD 5A02A3 A03A52 "
    "8388FF 305382 755A00 4D230D 8400CF 6E00EB 7CB66A 7DC6D9 C136D7 00ACC7 4E33FF 538649 086B84 "
    "6466EF 4802CC 61006E 7B2F4F A66C98 669D4D BCB7FF C004B9 00816A 5A4AA3 86C39A C8C440 8B0031 "
    "D295AB 6F6F31 1726FF 5AAB75 D70000 0774D8 8FBA00 A67BB8 E3AFAF E353FF 2DB152 9F0274 006D2E "
    "92D370 C63189 025438 B99129 CD84BD 46709F A201C4 A65C6B FE77FF 00C282 9E0399 C33531 6E0099 "
    "DC03B3 004B00 8F7B01 F3007B 7F2B8E C85848 6E70AB 04DAE6 8956AF 5F1123 CB0044 4B9894 61345C "
    "9F6E32 815159 A793E1 698DBE 6DD5C2 01BAF7 4985FF E306E3 843033 45D458 73AF9E EC5FD4 009744 "
    "BCAD53 AEA8D2 E38C63 7F0175 6D5B96 A33C74 1959FF 5E213E 652821 878FD1 5A7AC9"
)
DISTINCT_COLORS = tuple(f"#{code}" for code in _HEX_CODES.split())


def label_colors(
    ds: xr.Dataset, shown: Sequence[str], palette: Palette = None, *, level: int = 3
) -> dict[str, Any]:
    """Choose the color of each label that is shown; a warning blames the caller at this level.

    Without a palette, the color that the tissue came with (the ``cell_type_color`` of the Dataset),
    and for a type without one the color at its position in the model's vocabulary, from a list of
    102 that begins with those easiest to tell apart with every kind of color vision. So a cell
    type keeps its color whatever is drawn. From the 103rd type on colors repeat, with other line
    styles.
    """
    if isinstance(palette, Mapping):
        missing = [label for label in shown if label not in palette]
        if missing:
            raise NotFoundError(f"palette has no color for {listed(missing)}")
        return {label: palette[label] for label in shown}
    vocabulary = _vocabulary(ds)
    if palette is None:
        defaults = dict(zip(vocabulary, itertools.cycle(DISTINCT_COLORS), strict=False))
        recorded = _recorded_colors(ds, vocabulary)
        return {label: recorded.get(label) or defaults[label] for label in shown}
    colors = _palette_colors(palette, len(vocabulary))
    positions = {label: vocabulary.index(label) % len(colors) for label in shown}
    if len(set(positions.values())) < len(shown):
        warnings.warn(
            f"palette={palette!r} has {len(colors)} colors for {len(vocabulary)} cell types, so "
            "some share one; leave it out to have all distinct",
            stacklevel=level,
        )
    return {label: colors[position] for label, position in positions.items()}


def label_lines(ds: xr.Dataset, shown: Sequence[str]) -> dict[str, str]:
    """Choose the line style of each label that is shown: another after every six types.

    Where there are many lines, they are told apart by more than their color.
    """
    styles = itertools.cycle(np.repeat(_LINE_STYLES, _TYPES_PER_LINE_STYLE).tolist())
    line_styles = dict(zip(_vocabulary(ds), styles, strict=False))
    return {label: line_styles[label] for label in shown}


def _vocabulary(ds: xr.Dataset) -> list[str]:
    names = ds["cell_type"].values if "cell_type" in ds.coords else np.unique(ds["label"].values)
    return [str(name) for name in names]


def _recorded_colors(ds: xr.Dataset, vocabulary: list[str]) -> dict[str, str]:
    """Return the colors that the tissue came with; "" for a type without one."""
    if "cell_type_color" not in ds.coords:
        return {}
    from matplotlib.colors import is_color_like

    colors = dict(zip(vocabulary, ds["cell_type_color"].values.tolist(), strict=True))
    wrong = [color for color in colors.values() if color and not is_color_like(color)]
    if wrong:
        raise ValueError(
            f"cell_type_color holds {listed(wrong)}, which matplotlib does not know as a color; "
            "write it as '#RRGGBB', or as '' for the default color"
        )
    return colors


def _palette_colors(palette: Any, n_labels: int) -> list[Any]:
    if not isinstance(palette, str):
        if not len(palette):
            raise ValueError(f"palette={palette!r} holds no color")
        return list(palette)
    import matplotlib as mpl

    if palette not in mpl.colormaps:
        raise NotFoundError(f"palette={palette!r} is not a matplotlib colormap, e.g. 'tab20'")
    colormap = mpl.colormaps[palette]
    discrete = getattr(colormap, "colors", None)
    if discrete is not None and len(discrete) < 100:  # a list of colors, not a gradient
        return list(discrete)
    return list(colormap(np.linspace(0, 1, n_labels)))
