"""Fonts for names in any script: installed ones that have the characters which others lack."""

from __future__ import annotations

import sys
import unicodedata
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_PACKAGE = str(Path(__file__).parents[2])
# Fonts that are tried before all others that are installed, the plainest first.
_PREFERRED = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans", "Heiti TC"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Apple SD Gothic Neo"),
    *("Noto Sans", "Noto Sans Arabic", "DejaVu Sans", "Segoe UI", "Arial Unicode MS"),
)
_FIRST_EMOJI = "\U0001f000"


def choose_fonts(names: Iterable[str], family: Iterable[str]) -> tuple[list[str], set[str]]:
    """Choose fonts for characters that a font family lacks.

    Parameters
    ----------
    names
        Texts that are drawn.
    family
        Names of font families, as ``rcParams["font.family"]`` holds them.

    Returns
    -------
    tuple
        Installed fonts to stand behind the family, and the characters that none of all has.
    """
    missing = {char for char in "".join(names) if char > "\x7f" and char.isprintable()}
    if missing:
        missing -= _characters_of_family(tuple(family))
    chosen = []
    for name, path in _installed_fonts() if missing else ():
        characters = missing & _characters_of_font(path)
        if characters:
            chosen.append(name)
            missing -= characters
        if not missing:
            break
    return chosen, missing


def warn_of_missing(characters: Iterable[str]) -> None:
    """Warn once of characters that no installed font has, and tell which fonts to install."""
    import matplotlib as mpl

    missing = sorted(characters)
    fonts = sorted({_font_of(char) for char in missing})
    warnings.warn(
        f"no installed font has {''.join(missing[:20])!r}, which are drawn as empty boxes; install "
        f"a font that has them, e.g. {' and '.join(fonts)}, then delete matplotlib's list of fonts "
        f"in {mpl.get_cachedir()} and start Python again. SVG and PDF files hold the names as text",
        stacklevel=_level_of_caller(),
    )


def _font_of(char: str) -> str:
    is_symbol = unicodedata.category(char).startswith("S")
    if is_symbol and char >= _FIRST_EMOJI:
        return "Noto Emoji (fonts.google.com)"
    if unicodedata.east_asian_width(char) in "FHW":
        return "Noto Sans CJK (Debian and Ubuntu: fonts-noto-cjk)"
    script = "Symbols" if is_symbol else unicodedata.name(char, "").partition(" ")[0].title()
    return f"Noto Sans {script}".strip() + " (Debian and Ubuntu: fonts-noto-core)"


def _level_of_caller() -> int:
    """Return the level, for ``warnings.warn``, of the line that called the package."""
    level, frame = 1, sys._getframe(1)
    outside = (_PACKAGE, str(Path(warnings.__file__).parent / "contextlib.py"))
    while frame.f_back is not None and frame.f_code.co_filename.startswith(outside):
        frame, level = frame.f_back, level + 1
    return level


def _characters_of_family(family: tuple[str, ...]) -> set[str]:
    from matplotlib.font_manager import FontProperties, findfont

    characters: set[str] = set()
    for name in family:
        try:
            path = findfont(FontProperties(family=[name]), fallback_to_default=False)
        except ValueError:  # not installed
            continue
        characters |= _characters_of_font(path)
    return characters or set(_characters_of_font(findfont("DejaVu Sans")))


def _installed_fonts() -> list[tuple[str, str]]:
    """Return names and files of upright fonts of regular weight, preferred ones first."""
    from matplotlib.font_manager import fontManager

    files = {
        entry.name: entry.fname
        for entry in fontManager.ttflist
        if entry.style == "normal" and entry.weight in (400, "normal", "regular")
    }
    usable = [name for name in sorted(files) if not name.startswith(("Last Resort", "."))]
    rank = {name: number for number, name in enumerate(_PREFERRED)}
    usable.sort(key=lambda name: rank.get(name, len(rank)))
    return [(name, files[name]) for name in usable]


@cache
def _characters_of_font(path: str) -> frozenset[str]:
    from matplotlib.font_manager import get_font

    try:
        return frozenset(map(chr, get_font(path).get_charmap()))
    except (OSError, RuntimeError):  # a file that FreeType can't read
        return frozenset()
