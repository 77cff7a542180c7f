"""Keep the advice of scvi-tools and Lightning from users who did not call them."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

_TALKING = ("lightning.pytorch", "lightning.fabric", "scvi")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Show warnings of these packages' loggers alone, and none of their Python warnings."""
    loggers = [logging.getLogger(name) for name in _TALKING]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for package in ("lightning", "torch", "scvi", "torchmetrics"):
                warnings.filterwarnings("ignore", module=rf"{package}\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
