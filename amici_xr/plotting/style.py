"""The style of figures: ours where we make the axes, the user's own where they are given."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

STYLE = "amici_xr.figures"  # figures.mplstyle, as matplotlib finds it in a package

# Fonts that have what DejaVu Sans, which comes with matplotlib, has not: Chinese, Japanese, Korean.
_FURTHER_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans", "Heiti TC"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Apple SD Gothic Neo", "Arial Unicode MS"),
)
_FIRST_CJK = "\u2e80"


@contextlib.contextmanager
def styled(ax: Any, names: Iterable[str] = ()) -> Iterator[None]:
    """Draw in our style, unless `ax` was given; nothing stays changed.

    Where `names` hold Chinese, Japanese or Korean, installed fonts that have these characters stand
    in for those that are missing.
    """
    if ax is not None:
        yield
        return
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from matplotlib import style

    # Loads the backend, if this is the first figure: what it sets, such as that notebooks show
    # figures, must outlive our style.
    plt.draw_if_interactive()  # type: ignore[no-untyped-call]  # no types
    with style.context(STYLE), mpl.rc_context(rc=_fonts(names)):
        yield


def _fonts(names: Iterable[str]) -> Any:
    if not any(character >= _FIRST_CJK for name in names for character in name):
        return {}
    import matplotlib as mpl
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    further = [name for name in _FURTHER_FONTS if name in installed]
    return {"font.family": [*mpl.rcParams["font.family"], *further]}
