"""The style of figures: the package's on new axes, the user's on given axes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from amici_xr.plotting.shared.fonts import choose_fonts, warn_of_missing

STYLE = "amici_xr.figures"  # figures.mplstyle, as matplotlib finds it in a package
_COLORS_OF_PAPER: tuple[Any, ...] = (
    *("figure.facecolor", "axes.facecolor", "text.color", "axes.labelcolor", "axes.edgecolor"),
    *("xtick.color", "ytick.color", "patch.edgecolor", "legend.facecolor"),
)
_DARK_GRID = "0.25"
LACKS_CHARACTERS: ContextVar[bool] = ContextVar("LACKS_CHARACTERS", default=False)


@contextlib.contextmanager
def styled(ax: Any, names: Iterable[str] = ()) -> Iterator[None]:
    """Draw in the package's style, unless `ax` was given; global settings stay as they were.

    Under a dark style sheet the figure keeps the colors of its paper and ink. Where `names` hold
    characters that the font lacks, installed fonts with these characters are used for them, in the
    texts of this figure alone; a warning tells which fonts are needed where there are none.
    """
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from matplotlib import style

    family = list(mpl.rcParams["font.family"])
    fonts, missing = choose_fonts(names, family)
    with_fonts: dict[Any, Any] = {"font.family": [*family, *fonts]} if fonts else {}
    if missing:
        warn_of_missing(missing)
    token = LACKS_CHARACTERS.set(bool(missing))
    try:
        if ax is None:
            # Loads the backend, if this is the first figure: its own settings, such as that
            # notebooks show figures, must outlive the style.
            plt.draw_if_interactive()  # type: ignore[no-untyped-call]  # no types
            paper = _dark_paper()
            with style.context(STYLE), mpl.rc_context(rc=paper | with_fonts):
                yield
        else:
            with mpl.rc_context(rc=with_fonts):
                for panel in np.ravel(ax) if fonts else ():
                    _set_fonts(panel, with_fonts["font.family"])
                yield
    finally:
        LACKS_CHARACTERS.reset(token)


def _dark_paper() -> dict[Any, Any]:
    """Return the colors of a dark style sheet, or none where the paper is light."""
    import matplotlib as mpl
    from matplotlib.colors import to_rgba

    *color, opacity = to_rgba(mpl.rcParams["figure.facecolor"])
    if opacity == 0 or is_light(tuple(color)):
        return {}
    return {name: mpl.rcParams[name] for name in _COLORS_OF_PAPER} | {"grid.color": _DARK_GRID}


def is_light(color: tuple[float, ...]) -> bool:
    """Tell whether dark text is read better on a color, red, green and blue of 0…1."""
    return 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] > 0.5


def _set_fonts(panel: Any, family: list[str]) -> None:
    """Give texts that the axes had before they were drawn on the same fonts as new ones."""
    panel.tick_params(which="both", labelfontfamily=family)
    for text in (panel.title, panel.xaxis.label, panel.yaxis.label):
        text.set_fontfamily(family)
