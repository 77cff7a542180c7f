"""Making the next item in a thread of its own while the present one is worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

_END = object()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items in their order, each made while the one before is in use."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, iterator, _END)
        while (item := coming.result()) is not _END:
            coming = maker.submit(next, iterator, _END)
            yield item  # type: ignore[misc]
