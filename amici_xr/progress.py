"""A progress bar for work that takes long."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from .optional import require

Item = TypeVar("Item")

DELAY = 1.0  # seconds before the bar is shown


def watched(
    items: Collection[Item], what: str, unit: str, extra: str, *, is_shown: bool
) -> Iterable[Item]:
    """The items, with a bar that counts those that are done; `extra` is the one that brings it."""
    if not is_shown:
        return items
    tqdm = require("tqdm", extra, "showing progress (progress=False goes without)").tqdm
    bar: Iterable[Item] = tqdm(items, what, unit=unit, delay=DELAY, leave=False)
    return bar
