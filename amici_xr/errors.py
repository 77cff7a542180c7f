"""The errors of this package, and the few argument checks that several modules share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["NotFoundError", "SchemaError"]


class SchemaError(ValueError):
    """A Dataset or file is not what the schema asks for; the message lists every problem.

    Examples
    --------
    >>> import amici_xr, xarray as xr
    >>> try:
    ...     amici_xr.validate(xr.Dataset())
    ... except amici_xr.SchemaError as error:
    ...     print(str(error).splitlines()[0])
    not a Dataset of counterfactual attention scores:
    """


class RefusedFileError(ValueError):
    """A file is damaged or could do harm; the message says how, and what to do."""


class NotFoundError(KeyError, ValueError):
    """A name or position that was asked for is not there; the message says what is.

    Both a ``KeyError``, as in xarray's ``sel``, and a ``ValueError``.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(["A", "B"])
    >>> try:
    ...     amici_xr.select(ds, "Z")
    ... except amici_xr.NotFoundError as error:
    ...     print(error)
    query='Z' is not in this Dataset, which holds 'A', 'B'
    """

    def __str__(self) -> str:
        """Return the message as written (``KeyError`` alone would show its ``repr``)."""
        return str(self.args[0]) if self.args else ""


def listed(names: Iterable[Hashable], limit: int = 30) -> str:
    """Write names for a message, ``'a', 'b', 'c'``, cut after `limit` of them."""
    every = [name.item() if isinstance(name, np.generic) else name for name in names]
    shown = ", ".join(repr(name) for name in every[:limit])
    return shown + (f", … ({len(every)} in all)" if len(every) > limit else "") or "none"


def check_fraction(name: str, value: float) -> float:
    """Return `value` as a float, which must lie strictly between 0 and 1."""
    number = _number(name, value)
    if not 0 < number < 1:
        raise ValueError(f"{name}={value!r} must lie strictly between 0 and 1, e.g. {name}=0.5")
    return number


def check_sample_threshold(value: float | None) -> float | None:
    """Return `value` as a float in [0, 1], or None, which leaves the correction out."""
    if value is None:
        return None
    number = _number("sample_threshold", value)
    if not 0 <= number <= 1:
        raise ValueError(
            f"sample_threshold={value!r} must lie between 0 and 1 (a share of the receivers), "
            "or be None, which leaves the artifact correction out"
        )
    return number


def check_positive_number(name: str, value: float) -> float:
    """Return `value` as a finite float above 0."""
    number = _number(name, value)
    if not 0 < number < np.inf:
        raise ValueError(f"{name}={value!r} must be a finite number above 0")
    return number


def check_choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """Return `value`, which must be one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not known; choose one of {listed(allowed)}")
    return value


def check_positive_integer(name: str, value: Any) -> int:
    """Return `value` as an int of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={value!r} must be an integer, e.g. {name}=1000")
    if value < 1:
        raise ValueError(f"{name}={value!r} must be at least 1")
    return int(value)


def check_seed(random_state: Any) -> int | None:
    """Return a seed of random numbers, an integer from 0 on, or None for another each time."""
    if random_state is None:
        return None
    if isinstance(random_state, bool) or not isinstance(random_state, int | np.integer):
        raise TypeError(f"random_state={random_state!r} must be an integer or None")
    if random_state < 0:
        raise ValueError(f"random_state={random_state!r} must be at least 0, or None")
    return int(random_state)


def check_names(
    argument: str, asked: Sequence[Any], known: Sequence[Any], what: str = "value"
) -> None:
    """Refuse names that are not among `known`, names asked for twice, and none at all."""
    if not len(asked):
        raise ValueError(f"{argument}={list(asked)!r} names no {what}; known: {listed(known)}")
    missing = [name for name in asked if name not in known]
    if missing:
        parts = [part.strip() for name in missing for part in str(name).split(",")]
        hint = "; name each by itself, not in one text" if set(parts) <= set(known) else ""
        raise NotFoundError(
            f"{argument}: unknown {what} {listed(missing)}; known: {listed(known)}{hint}"
        )
    if len(set(asked)) < len(asked):
        raise ValueError(f"{argument}={list(asked)!r} names a {what} twice; name each once")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool | np.bool_) or not np.isscalar(value) or isinstance(value, str):
        raise TypeError(f"{name}={value!r} must be a number, e.g. {name}=0.5")
    return float(value)  # type: ignore[arg-type]  # a scalar that is no str: a number
