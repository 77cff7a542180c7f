"""The effect of one neighbor that stands alone, on plain arrays.

The output of the attention is ``o = Σ_h w_h·s_h + Q``, with what the neighbor sends through head h,
``s_h = W_O[:, h]·V_h``, weighted by ``w_h = σ(a − p·d/u − δ)``. A LayerNorm of scale γ follows, and
a linear map L to genes, so that the effect is ``L·γ·(C·o/σ(o) − C·Q/σ(Q))``, with C the subtraction
of the mean. σ(o) is the root of a quadratic form in the weights, so that no output is made for each
distance, and the mean over neighbors is taken before the linear map.
"""

from __future__ import annotations

import itertools
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
    parts
        ``C·s``, (head, cell, output).
    products, gene_products
        Scalar products of the parts of each pair of heads, twice those of two different heads, as
        they are and as L·γ makes them, (pair, cell).
    scaled_head
        ``L·γ``, (gene, output).
    """

    parts: Singles
    products: Singles
    gene_products: Singles
    scaled_head: Singles


def prepare_senders(sent: Singles, norm_weight: Singles, linear_head: Singles) -> SenderParts:
    """Prepare what cells send: (head, cell, output), γ (output,) and L (gene, output)."""
    parts = sent - sent.mean(axis=-1, keepdims=True)
    scaled_head = linear_head * norm_weight
    through_genes = parts @ (scaled_head.T @ scaled_head)
    products, gene_products = (
        np.stack(
            [
                (1 + (first != second)) * np.einsum("co,co->c", parts[first], other[second])
                for first, second in _pairs(len(parts))
            ]
        )
        for other in (parts, through_genes)
    )
    return SenderParts(parts, products, gene_products, scaled_head)


def lone_attention(score: Singles, slope: Singles, distance: Singles) -> Singles:
    """Compute ``σ(score − slope·d)``: (head, cell) and (distance,) → (head, distance, cell)."""
    fall = slope[:, np.newaxis] * distance[:, np.newaxis]
    fall -= score[:, np.newaxis]
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
        Attention to each of these, (head, distance, neighbor).
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
    n_neighbors = cells.size
    q = q - q.mean()
    own = (q**2).mean()
    parts = senders.parts[:, cells]
    with_q, genes_of_q = parts @ q, senders.scaled_head @ q
    genes_with_q = parts @ (genes_of_q @ senders.scaled_head)
    forms = (senders.products[:, cells], senders.gene_products[:, cells])
    square, gene_square = _quadratic_forms(weight, forms)
    cross, gene_cross = (
        np.einsum("hdn,hn->dn", weight, products) for products in (with_q, genes_with_q)
    )
    scale = ((square + 2 * cross) / q.size + (own + epsilon)) ** -0.5
    shift = scale - (own + epsilon) ** -0.5
    change = ((weight * scale) @ parts).sum(axis=0)
    change += shift.sum(axis=1)[:, np.newaxis] * q
    effect = (change / n_neighbors) @ senders.scaled_head.T
    if n_neighbors < 2:
        return effect, np.full(len(effect), np.inf, np.float32)
    squares = scale**2 * gene_square + 2 * scale * shift * gene_cross
    squares += shift**2 * (genes_of_q @ genes_of_q)
    spread = squares.mean(axis=1, dtype=np.float64) - (effect.astype(np.float64) ** 2).sum(axis=1)
    noise = np.sqrt(np.maximum(spread, 0) / (n_neighbors - 1))
    return effect, noise.astype(np.float32)


def _quadratic_forms(weight: Singles, forms: tuple[Singles, ...]) -> list[Singles]:
    """Σ over pairs of heads of their weights and products, for each form: (distance, neighbor)."""
    totals = [np.zeros(weight.shape[1:], np.float32) for _ in forms]
    both, term = (np.empty_like(totals[0]) for _ in range(2))
    for number, (first, second) in enumerate(_pairs(len(weight))):
        np.multiply(weight[first], weight[second], out=both)
        for total, products in zip(totals, forms, strict=True):
            total += np.multiply(both, products[number], out=term)
    return totals


def _pairs(n_heads: int) -> list[tuple[int, int]]:
    return list(itertools.combinations_with_replacement(range(n_heads), 2))
