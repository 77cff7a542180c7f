"""Figures that the package makes: saved with text as text, on paper in their own color."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

_FILES: dict[Any, Any] = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "savefig.facecolor": "auto",
}


class PaperFigure(Figure):
    """A figure whose SVG and PDF files hold text as text, whatever the settings are then."""

    lacks_characters = False  # of which a warning has told, instead of one for each character

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save the figure, as matplotlib does."""
        with mpl.rc_context(_FILES):
            super().savefig(*args, **kwargs)

    def draw(self, renderer: Any) -> None:
        """Draw the figure, as matplotlib does."""
        with silence_of_boxes(self.lacks_characters):
            super().draw(renderer)

    def get_tightbbox(self, *args: Any, **kwargs: Any) -> Bbox:
        """Return what the figure covers, as matplotlib does."""
        with silence_of_boxes(self.lacks_characters):
            return super().get_tightbbox(*args, **kwargs)


@contextlib.contextmanager
def silence_of_boxes(is_silent: bool) -> Iterator[None]:
    """Ignore matplotlib's warning for each character that is drawn as a box."""
    if not is_silent:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield
