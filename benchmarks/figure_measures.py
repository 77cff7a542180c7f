"""What a figure is like on paper: its smallest text, texts cut off, and texts over each other."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

PAPER_WIDTH = 180 / 25.4  # inches of two columns of a journal
LEAST_FONT_SIZE = 7.0  # points
_TOLERANCE = 1.0  # points by which boxes may meet: half a line's leading


@dataclass(frozen=True)
class Measures:
    """Size of a figure in inches, and its texts."""

    width: float
    height: float
    smallest_font: float  # points, at the width of the paper at most
    n_texts: int
    outside: list[str]  # texts that leave the figure
    overlapping: list[tuple[str, str]]

    @property
    def faults(self) -> list[str]:
        """Tell what is wrong, in words."""
        faults = [f"{text!r} leaves the figure" for text in self.outside]
        faults += [f"{first!r} lies over {second!r}" for first, second in self.overlapping]
        if round(self.smallest_font, 2) < LEAST_FONT_SIZE:
            faults.append(f"{self.smallest_font:.1f} pt at {self.width:.1f} inches of width")
        return faults


def measure(figure: Figure) -> Measures:
    """Draw a figure and measure every text that it shows."""
    texts = _drawn_texts(figure)
    width, height = figure.get_size_inches()
    scale = min(1.0, PAPER_WIDTH / width)
    corners = [_corners(text) for text in texts]
    names = [text.get_text() for text in texts]
    tolerance = _TOLERANCE * figure.dpi / 72
    low, high = np.array(figure.bbox.extents).reshape(2, 2)
    outside = [
        name
        for name, box in zip(names, corners, strict=True)
        if (box < low - tolerance).any() or (box > high + tolerance).any()
    ]
    overlapping = [
        (names[first], names[second])
        for first, second in itertools.combinations(range(len(names)), 2)
        if _overlap(corners[first], corners[second], tolerance)
    ]
    sizes = [float(text.get_fontsize()) for text in texts]
    smallest = min(sizes, default=np.inf) * scale
    return Measures(width, height, smallest, len(texts), outside, overlapping)


def _drawn_texts(figure: Figure) -> list[Text]:
    """Return the texts that are drawn, in the state in which they are."""
    from matplotlib.text import Text

    drawn: dict[int, Text] = {}
    draw = Text.draw

    def record(text: Text, renderer: object) -> None:
        if text.get_visible() and text.get_text().strip():
            drawn[id(text)] = text
        draw(text, renderer)  # type: ignore[arg-type]  # matplotlib's own renderer

    with mock.patch.object(Text, "draw", record):
        figure.canvas.draw()
    return list(drawn.values())


def _corners(text: Text) -> NDArray[np.float64]:
    """Return the four corners of a text in pixels, turned as it is, (4, 2)."""
    from matplotlib.text import Text

    upright = Text.get_window_extent(text)  # of a text at an angle, a box around it
    center = np.array([upright.x0 + upright.x1, upright.y0 + upright.y1]) / 2
    angle = text.get_rotation()
    text.set_rotation(0)
    extent = Text.get_window_extent(text)
    text.set_rotation(angle)
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (extent.width, extent.height) / 2
    radians = np.deg2rad(angle)
    cosine, sine = np.cos(radians), np.sin(radians)
    corners: NDArray[np.float64] = center + half @ np.array([[cosine, sine], [-sine, cosine]])
    return corners


def _overlap(first: NDArray[np.float64], second: NDArray[np.float64], tolerance: float) -> bool:
    """Tell whether two rectangles share more than an edge: no line along a side parts them."""
    for box in (first, second):
        for side in (box[1] - box[0], box[3] - box[0]):
            length = np.hypot(*side)
            if length == 0:
                return False
            spans = [corners @ side / length for corners in (first, second)]
            gap = max(spans[0].min(), spans[1].min()) - min(spans[0].max(), spans[1].max())
            if gap > -tolerance:
                return False
    return True
