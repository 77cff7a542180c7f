"""Errors of this package and the argument checks that several modules share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["NotFoundError", "SchemaError"]


class SchemaError(ValueError):
    """A Dataset or file does not fit the schema; the message lists every problem.

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
    """A requested name or position does not exist; the message lists those that do.

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
    texts = [repr(name.item() if isinstance(name, np.generic) else name) for name in names]
    rest = f", … ({len(texts)} in all)" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + rest or "none"


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
    number = _integer(name, value, f", e.g. {name}=1000")
    if number < 1:
        raise ValueError(f"{name}={value!r} must be at least 1")
    return number


def check_seed(random_state: Any) -> int | None:
    """Return a seed of random numbers, an integer from 0 on, or None for a random one."""
    if random_state is None:
        return None
    seed = _integer("random_state", random_state, " or None")
    if seed < 0:
        raise ValueError(f"random_state={random_state!r} must be at least 0, or None")
    return seed


def check_names(
    argument: str, names: Sequence[Any], allowed: Sequence[Any], kind: str = "value"
) -> None:
    """Refuse names that are not among `allowed`, repeated names, and an empty sequence."""
    if not len(names):
        raise ValueError(f"{argument}={list(names)!r} names no {kind}; known: {listed(allowed)}")
    unknown = [name for name in names if name not in allowed]
    if unknown:
        parts = {part.strip() for name in unknown for part in str(name).split(",")}
        hint = "; name each by itself, not in one text" if parts <= set(allowed) else ""
        raise NotFoundError(
            f"{argument}: unknown {kind} {listed(unknown)}; known: {listed(allowed)}{hint}"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"{argument}={list(names)!r} names a {kind} twice; name each once")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool | np.bool_) or not np.isscalar(value) or isinstance(value, str):
        raise TypeError(f"{name}={value!r} must be a number, e.g. {name}=0.5")
    return float(value)  # type: ignore[arg-type]  # a scalar that is not a str is a number


def _integer(name: str, value: Any, hint: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={value!r} must be an integer{hint}")
    return int(value)
