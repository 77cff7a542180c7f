"""Places prepared: smooth contrasts over them, and their covariance under each model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh

from amici_xr.iteration import one_thread_of_linear_algebra
from amici_xr.kernels.groups import Floats, Integers
from amici_xr.kernels.spatial.places import (
    Leaves,
    correlation_lengths,
    describe_leaves,
    distinct_places,
    group_places,
)

N_CONTRASTS = 30
NUGGETS = (0.0, 0.5, 0.8)
FEWEST_PLACES = 8  # with fewer there is no interval

JITTER = 1e-12  # of the mean variance of a contrast: places may nearly coincide


@dataclass(frozen=True)
class SpatialBasis:
    """What all rows of values at the same places share.

    Attributes
    ----------
    order, start
        Cells in the order of their leaves, (cell,), and where each leaf begins, (leaf,).
    contrasts
        W₁ … W_K on the leaves, (leaf, contrast).
    whitening
        Inverse Cholesky factors of the contrasts' covariance Ω₁₁, (model, contrast, contrast).
    log_determinant
        ``log |Ω₁₁|``, (model,).
    mean_variance
        Variance of the mean of all cells, ``Ω₀₀/n``, (model,).
    correlation
        Average correlation of two cells, (model,).
    n_places
        Number of distinct places; below 8 all that is inferred is NaN.
    """

    order: Integers
    start: Integers
    contrasts: Floats
    whitening: Floats
    log_determinant: Floats
    mean_variance: Floats
    correlation: Floats
    n_places: int

    def cell_contrasts(self) -> Floats:
        """Return the contrasts of the leaf of each cell, in the order of the cells: (cell, K)."""
        sizes = np.diff(np.append(self.start, self.order.size))
        contrasts = np.empty((self.order.size, self.contrasts.shape[1]))
        contrasts[self.order] = np.repeat(self.contrasts, sizes, axis=0)
        return contrasts


@one_thread_of_linear_algebra()
def prepare(places: ArrayLike, sample: ArrayLike | None = None) -> SpatialBasis:
    """Prepare places: the contrasts and their covariance under each model.

    Up to 512 distinct places are leaves by themselves; more are grouped into 512 leaves by a k-d
    tree, split at the median of the longer side. With n_b cells in leaf b, the covariance of the
    means of two leaves is ``exp(−d/ℓ)`` at the distance of their centroids, and that of a leaf
    with itself ``[1 + (n_b − 1)·exp(−δ_b/ℓ)]/n_b``, with δ_b the typical distance within it. ℓ of
    a model is found from the average correlation of two cells. Contrasts are the leading
    eigenvectors of the demeaned covariance. Neither the order of the cells nor the unit of the
    coordinates matters.

    Parameters
    ----------
    places
        Coordinates, (cell, 2); of more columns the first two, x and y, are used.
    sample
        Sample of each cell, (cell,), where there are several. Cells of different samples are
        independent under every model, whatever their coordinates, and the average correlation is
        that of two cells of the same sample.

    Raises
    ------
    ValueError
        If there are fewer than two columns, or a coordinate is not finite.

    References
    ----------
    Müller & Watson, Spatial correlation robust inference, Econometrica 90 (2022), 2901–2935: the
    contrasts.

    Examples
    --------
    >>> prepare(np.random.default_rng(0).random((500, 2))).contrasts.shape
    (500, 30)
    """
    xy = np.asarray(places, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] < 2:
        raise ValueError(
            f"places has the shape {xy.shape}, allowed is (cell, 2); pass x and y as columns"
        )
    xy = xy[:, :2]
    if not np.isfinite(xy).all():
        raise ValueError("places holds NaN or infinite coordinates; leave those cells out")
    samples = np.zeros(len(xy), np.intp)
    if sample is not None:
        samples = np.unique(np.asarray(sample), return_inverse=True)[1].reshape(len(xy))
    order, place_start = distinct_places(xy, samples)
    n_places = place_start.size
    if n_places < FEWEST_PLACES:
        one, nan = np.ones((1, 1, 1)), np.full(1, np.nan)
        nothing = np.zeros((n_places, 1))
        return SpatialBasis(order, place_start, nothing, one, nan, nan, nan, n_places)

    order, start = group_places(xy, samples, order, place_start)
    leaves = describe_leaves(xy[order], samples[order], start)
    lengths, correlation, basis_length = correlation_lengths(leaves)
    contrasts = _contrasts(leaves, basis_length)
    # Ω of the mean, first, and the contrasts, under each model
    mean = np.full(start.size, len(xy) ** -0.5)
    weighted = leaves.n_cells[:, np.newaxis] * np.column_stack([mean, contrasts])
    smooth = [weighted.T @ leaves.covariance(length) @ weighted for length in lengths]
    noise = np.eye(weighted.shape[1])
    models = [(1 - nugget) * omega + nugget * noise for nugget in NUGGETS for omega in smooth]
    omega = np.stack([*models, noise])
    of_contrasts = omega[:, 1:, 1:]
    jitter = JITTER * of_contrasts.diagonal(axis1=1, axis2=2).mean(axis=1)
    factor = np.linalg.cholesky(of_contrasts + jitter[:, np.newaxis, np.newaxis] * noise[1:, 1:])
    return SpatialBasis(
        order,
        start,
        contrasts,
        whitening=np.linalg.inv(factor),
        log_determinant=2 * np.log(factor.diagonal(axis1=1, axis2=2)).sum(axis=1),
        mean_variance=omega[:, 0, 0] / len(xy),
        correlation=np.append(np.outer(1 - np.array(NUGGETS), correlation), 0.0),
        n_places=n_places,
    )


def _contrasts(leaves: Leaves, length: float) -> Floats:
    """Leading eigenvectors of the demeaned covariance: (leaf, contrast), with ``W′NW = I``."""
    share, root, last = (
        leaves.n_cells / leaves.n_cells.sum(),
        np.sqrt(leaves.n_cells),
        len(leaves.n_cells),
    )
    demeaned = leaves.covariance(length)
    demeaned -= (demeaned @ share)[:, np.newaxis]
    demeaned -= share @ demeaned
    leading = (last - min(N_CONTRASTS, last - 1), last - 1)
    _, vectors = eigh(root[:, np.newaxis] * demeaned * root, subset_by_index=leading)
    return np.asarray(vectors / root[:, np.newaxis])
