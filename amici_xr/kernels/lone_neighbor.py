"""The effect of one neighbor that stands alone, on plain arrays.

The output of the attention is ``o = Σ_h w_h·W_O[h]·V_h + Q``, with the values V that the neighbor
sends, weighted by ``w_h = σ(a − p·d/u − δ)``. A LayerNorm of scale γ follows, and a linear map L to
genes, so that the effect is ``L·γ·(C·o/σ(o) − C·Q/σ(Q))``, with C the subtraction of the mean. σ(o)
is the root of a quadratic form in the weights, so that no output is made for each distance, and the
mean over neighbors is taken before any linear map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amici_xr.kernels.groups import Integers

Singles = NDArray[np.float32]


@dataclass(frozen=True)
class SenderParts:
    """What cells send, as far as it does not depend on who receives it.

    Attributes
    ----------
    values
        V, (cell, head, size).
    products
        Scalar products of ``C·W_O·V`` of each head with that of each other, (cell, head, head), and
        below them those of ``L·γ·C·W_O·V``: (cell, 2 head, head).
    centered
        ``C·W_O``, (head, size, output).
    scaled_head
        ``L·γ``, (gene, output).
    """

    values: Singles
    products: Singles
    centered: Singles
    scaled_head: Singles


def prepare_senders(
    values: Singles, w_o: Singles, norm_weight: Singles, linear_head: Singles
) -> SenderParts:
    """Prepare V (cell, head, size); W_O is (head, size, output), γ (output,), L (gene, output)."""
    centered = w_o - w_o.mean(axis=-1, keepdims=True)
    scaled_head = linear_head * norm_weight
    parts = np.matmul(values.swapaxes(0, 1), centered).swapaxes(0, 1)
    both = [parts, parts @ (scaled_head.T @ scaled_head)]
    products = np.concatenate([other @ parts.swapaxes(1, 2) for other in both], axis=1)
    return SenderParts(values, products, centered, scaled_head)


def lone_attention(score: Singles, slope: Singles, distance: Singles) -> Singles:
    """Compute ``σ(score − slope·d)``: (cell, head) and (distance,) → (cell, head, distance)."""
    fall = slope[..., np.newaxis] * distance
    fall -= score[..., np.newaxis]
    with np.errstate(over="ignore"):  # to ∞, of which the inverse is 0
        np.exp(fall, out=fall)
    fall += 1
    return np.asarray(np.divide(1, fall, out=fall))


def lone_neighbor_effect(
    senders: SenderParts, cells: Integers, weight: Singles, q: Singles, epsilon: float
) -> tuple[Singles, Singles]:
    """Mean effect of neighbors, each alone, on each gene, and the norm of that mean's error.

    Parameters
    ----------
    senders, cells
        What cells send, and which of them are the neighbors.
    weight
        Attention to each of these, (neighbor, head, distance).
    q
        Q of the receivers, (output,).
    epsilon
        Added to the variance by the LayerNorm.

    Returns
    -------
    tuple
        The effect, (distance, gene), and ``√(Σ_genes Var/n)`` over the n neighbors, (distance,):
        the norm that the mean would have if the neighbors' effects had no direction in common.
        Infinite for one neighbor.
    """
    n_neighbors, n_heads, n_distances = weight.shape
    q = q - q.mean()
    own = (q**2).mean()
    genes_of_q = senders.scaled_head @ q
    with_q = senders.centered @ np.stack([q, genes_of_q @ senders.scaled_head], axis=1)
    values = senders.values[cells].swapaxes(0, 1)  # (head, neighbor, size)
    forms = np.empty((n_neighbors, 2 * n_heads + 2, n_heads), np.float32)
    forms[:, :-2] = senders.products[cells]
    forms[:, -2:] = (values @ with_q).transpose(1, 2, 0)
    applied = forms @ weight
    cross, gene_cross = applied[:, -2], applied[:, -1]
    applied = applied[:, :-2].reshape(n_neighbors, 2, n_heads, n_distances)
    square, gene_square = np.einsum("nkhd,nhd->nkd", applied, weight).swapaxes(0, 1)
    scale = 1 / np.sqrt((square + 2 * cross) / q.size + (own + epsilon))
    shift = scale - (own + epsilon) ** -0.5
    scaled_weight = weight * scale[:, np.newaxis]
    sent = scaled_weight.transpose(1, 2, 0) @ values  # (head, distance, size)
    change = (sent @ senders.centered).sum(axis=0)
    change += shift.sum(axis=0)[:, np.newaxis] * q
    effect = (change / n_neighbors) @ senders.scaled_head.T
    if n_neighbors < 2:
        return effect, np.full(len(effect), np.inf, np.float32)
    squares = scale**2 * gene_square + 2 * scale * shift * gene_cross
    squares += shift**2 * (genes_of_q @ genes_of_q)
    spread = squares.mean(axis=0, dtype=np.float64) - (effect.astype(np.float64) ** 2).sum(axis=1)
    noise = np.sqrt(np.maximum(spread, 0) / (n_neighbors - 1))
    return effect, noise.astype(np.float32)
