"""Resampling of values with replacement, on plain arrays."""

from __future__ import annotations

from typing import Literal

import numpy as np

from amici_xr.iteration import ahead
from amici_xr.kernels.groups import Floats, Integers

RESAMPLE_BLOCK = 2**20  # draws held at a time, 8 MB


def resampled_interval(
    values: Floats,
    generator: np.random.Generator,
    *,
    statistic: Literal["mean", "median"],
    probabilities: Floats,
    n_resamples: int,
) -> Floats:
    """Percentiles of the mean or median over resamples drawn with replacement.

    To the last bit those of ``np.percentile`` over ``np.mean`` or ``np.median`` of one resample at
    a time, drawn as ``generator.integers(0, n, size=n)``.
    """
    n = values.size
    ordered = np.sort(values)
    rank = np.empty(n, np.min_scalar_type(n))  # narrow integers sort faster than floats
    rank[np.argsort(values)] = np.arange(n)
    middle = [(n - 1) // 2, n // 2]

    def estimates(drawn: Integers) -> Floats:
        if not ordered.any():  # of zeros each estimate is 0, but the draws count in the stream
            return np.zeros(len(drawn))
        if statistic == "mean":
            return np.asarray(values[drawn].mean(axis=1))
        ranks = np.sort(rank[drawn], axis=1)
        return np.asarray(ordered[ranks[:, middle]].mean(axis=1))

    together = max(1, RESAMPLE_BLOCK // n)  # the stream is that of one resample at a time
    sizes = (min(together, n_resamples - start) for start in range(0, n_resamples, together))
    blocks = ahead(generator.integers(0, n, size=(size, n)) for size in sizes)
    every = np.concatenate([estimates(block) for block in blocks])
    return np.asarray(np.percentile(every, 100 * probabilities))
