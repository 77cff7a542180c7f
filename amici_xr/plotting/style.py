"""The style of figures: the package's on new axes, the user's on given axes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

STYLE = "amici_xr.figures"  # figures.mplstyle, as matplotlib finds it in a package

# Fonts with Chinese, Japanese and Korean characters, which matplotlib's DejaVu Sans lacks.
_CJK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans", "Heiti TC"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Apple SD Gothic Neo", "Arial Unicode MS"),
)
_FIRST_CJK_CHARACTER = "\u2e80"


@contextlib.contextmanager
def styled(ax: Any, names: Iterable[str] = ()) -> Iterator[None]:
    """Draw in the package's style, unless `ax` was given; global settings stay as they were.

    Where `names` hold Chinese, Japanese or Korean, installed fonts with these characters are used
    for them.
    """
    if ax is not None:
        yield
        return
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from matplotlib import style

    # Loads the backend, if this is the first figure: its own settings, such as that notebooks show
    # figures, must outlive the style.
    plt.draw_if_interactive()  # type: ignore[no-untyped-call]  # no types
    with style.context(STYLE), mpl.rc_context(rc=_fonts(names)):
        yield


def _fonts(names: Iterable[str]) -> Any:
    if max("".join(names), default="") < _FIRST_CJK_CHARACTER:
        return {}
    import matplotlib as mpl
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    fallbacks = [name for name in _CJK_FONTS if name in installed]
    return {"font.family": [*mpl.rcParams["font.family"], *fallbacks]}
