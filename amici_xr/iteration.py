"""Iteration in threads: NumPy and torch release the interpreter while they compute."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

from amici_xr.dependencies import require

Item = TypeVar("Item")
Answer = TypeVar("Answer")
_END = object()


def _forget_threads_of_dask() -> None:
    """Let a forked process make a pool of its own: the threads of its parent's are not there."""
    threaded = sys.modules.get("dask.threaded")
    if threaded is not None:
        threaded.default_pool = None  # type: ignore[attr-defined]  # sys.modules knows no types
        threaded.pools.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_threads_of_dask)


def ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """Yield the items in their order; prepare each while the previous one is in use."""
    iterator = iter(items)
    try:
        with ThreadPoolExecutor(1) as maker:
            coming = maker.submit(next, iterator, _END)
            while (item := coming.result()) is not _END:
                coming = maker.submit(next, iterator, _END)
                yield item  # type: ignore[misc]  # it is not _END
    finally:
        if isinstance(iterator, Generator):
            iterator.close()  # and with it the files that it has open


def answers(
    function: Callable[[Item], Answer], items: Sequence[Item]
) -> Generator[Answer, None, None]:
    """Yield the answers for the items, in their order, computed in as many threads as cores."""
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        yield from workers.map(function, items)


def for_each(function: Callable[[Item], None], items: Sequence[Item]) -> None:
    """Call the function for each item, in as many threads as there are cores."""
    if len(items) < 2:  # also in a task of dask, which already runs in threads
        for item in items:
            function(item)
        return
    for _ in answers(function, items):
        pass


class _OneThread:
    """Keeps linear algebra to one thread as long as any thread asks for it."""

    def __init__(self) -> None:
        self._lock, self._n_users = Lock(), 0
        self._limits: Any = None

    @contextmanager
    def hold(self) -> Generator[None, None, None]:
        """Keep it so within a ``with``, or within the function that this decorates."""
        from threadpoolctl import threadpool_limits  # here, since it looks for libraries at import

        with self._lock:  # the first sets the limit, and the last restores what was before
            self._n_users += 1
            if self._n_users == 1:
                self._limits = threadpool_limits(1, user_api="blas")
        try:
            yield
        finally:
            with self._lock:
                self._n_users -= 1
                if not self._n_users:
                    self._limits.restore_original_limits()


# Where matrices are small, threads wait for each other longer than they compute.
one_thread_of_linear_algebra = _OneThread().hold


DELAY = 1.0  # seconds before the bar is shown


def watched(
    items: Iterable[Item],
    description: str,
    unit: str,
    extra: str,
    *,
    is_shown: bool,
    total: int | None = None,
) -> Iterable[Item]:
    """Return the items with a progress bar, which is installed with the extra `extra`.

    `total` is their number, where they have no length.
    """
    if not is_shown:
        return items
    tqdm = require("tqdm", extra, "showing progress (progress=False goes without)").tqdm
    bar: Iterable[Item] = tqdm(items, description, total=total, unit=unit, delay=DELAY, leave=False)
    return bar
