"""Notice samples that overlap in space though no sample key was given."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amici_xr.kernels.nearest_cells import Neighborhoods
from amici_xr.tissue.cells import Tissue

_MIXED = 0.2  # share of neighbors in another group above which samples overlap


def warn_of_overlapping_samples(tissue: Tissue, neighborhoods: Neighborhoods) -> None:
    """Warn where groups of a column such as ``fov`` overlap and neighborhoods mix them."""
    if tissue.samples is not None or tissue.positions is None:
        return
    receiver, index = neighborhoods.receiver, neighborhoods.index
    exists = index >= 0
    for name, groups in tissue.possible_samples.items():
        is_mixed = exists & (groups[index] != groups[receiver, np.newaxis])
        share = is_mixed.sum() / max(1, exists.sum())
        if share > _MIXED and _overlap(tissue.positions, groups):
            warnings.warn(
                f"{share:.0%} of the neighbors are of another {name!r} than their receiver, and "
                f"the coordinates of these groups overlap; pass sample_key={name!r} if they are "
                "separate pieces of tissue",
                UserWarning,
                stacklevel=3,
            )
            return


def _overlap(positions: NDArray[np.float64], groups: NDArray[np.intp]) -> bool:
    """Whether the median cell lies within the central part of another group too."""
    bounds = pd.DataFrame(positions).groupby(groups).quantile(np.array([0.05, 0.95])).to_numpy()
    low, high = bounds[::2], bounds[1::2]
    n_groups = np.zeros(len(positions), dtype=np.intp)
    for start, end in zip(low, high, strict=True):
        n_groups += ((positions >= start) & (positions <= end)).all(axis=1)
    return bool(np.median(n_groups) >= 2)
