"""The words that messages, files and figures share, for the screen."""

from __future__ import annotations

import re
import textwrap
from difflib import get_close_matches
from importlib.resources import files

from amici_xr.cli.messages import WrongCall
from amici_xr.errors import listed

_ENTRY = re.compile(r"^(\w.*)\n((?:  .*\n)+)", re.MULTILINE)  # a word, and lines that are indented
_PAGE = re.compile(r" See \[\]\([\w.]+\)\.| See \{ref\}`\w+`\.")  # of the documentation
_LINK = re.compile(r"\{\w+\}`([^`]*)`|\[(\w+)\]\(\w+\.md\)")
_WIDTH = 80


def explanations(word: str | None = None) -> str:
    """Return what words mean: those with `word` in them, else in their explanation; or all."""
    page = files("amici_xr.cli").joinpath("glossary.md").read_text("utf-8")
    entries = dict(_ENTRY.findall(page))
    wanted = (word or "").lower().replace("_", " ")
    found = [name for name in entries if wanted in name.lower()]
    found = found or [name for name in entries if wanted in entries[name].lower()]
    if not found:
        near = get_close_matches(wanted.capitalize(), entries) or list(entries)
        raise WrongCall(f"WORD {word!r} is not in the glossary; it has {listed(near)}")
    return "\n\n".join(f"{name}\n{_on_screen(entries[name])}" for name in found)


def _on_screen(text: str) -> str:
    """Return an explanation without what only the documentation can show."""
    plain = _LINK.sub(lambda match: match[1] or match[2], _PAGE.sub("", " ".join(text.split())))
    return textwrap.TextWrapper(_WIDTH, "    ", "    ", break_on_hyphens=False).fill(plain)
