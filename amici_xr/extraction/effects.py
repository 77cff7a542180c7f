"""Effects of the attention, gene by gene, reduced as receivers pass by in batches."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amici_xr.extraction.lone_neighbors import counterfactual_effects, distance_grid
from amici_xr.extraction.prediction import (
    Ablations,
    Predictor,
    Receivers,
    make_predictor,
)
from amici_xr.iteration import watched
from amici_xr.kernels.groups import Floats
from amici_xr.kernels.nearest_cells import Neighborhoods
from amici_xr.model.saved_model import SavedModel
from amici_xr.tissue.cells import Tissue
from amici_xr.tissue.expression import Expression

RECEIVER_BATCH = 2048
_FAR_TOO_LARGE = 1.05  # of the error: types without interactions are predicted as by the mean

Integers = NDArray[np.intp]
Variables = dict[str, NDArray[Any]]


def score_with_effects(
    saved: SavedModel,
    tissue: Tissue,
    neighborhoods: Neighborhoods,
    queries: list[int],
    is_neighbor: NDArray[np.bool_],
    *,
    heads: list[int] | None,
    renormalize: bool,
    device: torch.device,
    batch_size: int,
    keeps_scores: bool,
    progress: bool,
) -> tuple[tuple[NDArray[np.float32], ...] | None, Variables]:
    """Compute scores, and all variables that ``effects=True`` adds, their query in front.

    Predictions take whole neighborhoods. `is_neighbor`, (query, cell), tells which cells are scored
    and which of them counterfactual effects are averaged over. `heads` are left on alone, one after
    the other; `renormalize` masks an ablated sender before the softmax. Without `keeps_scores`
    scores are None, and only a temporary file holds them.
    """
    predictor, receivers = make_predictor(
        saved,
        tissue,
        neighborhoods,
        queries,
        renormalize=renormalize,
        device=device,
        batch_size=batch_size,
        keeps_scores=keeps_scores,
        progress=progress,
    )
    features, settings = predictor.features, saved.settings
    distances, n_labels = distance_grid(tissue, settings.n_neighbors), len(saved.labels)
    variables: Variables = {"gene": np.array(saved.gene_names), "distance": distances}
    if saved.is_held_out is not None and saved.is_held_out.size == tissue.n_cells:
        variables["is_held_out"] = saved.is_held_out[neighborhoods.receiver]
    cells, expression = neighborhoods.receiver, tissue.expression
    variables |= reduce_effects(
        predictor, receivers, cells, expression, n_labels, heads, progress=progress
    )
    variables |= counterfactual_effects(
        predictor, is_neighbor, tissue.codes, queries, n_labels, distances
    )
    if not keeps_scores:
        return None, variables
    scored = np.searchsorted(features.cells, np.flatnonzero(is_neighbor.any(axis=0)))
    every = scored.size == features.cells.size
    chosen: Any = slice(None) if every else scored
    return (features.base[chosen], features.position[chosen]), variables


def reduce_effects(
    predictor: Predictor,
    receivers: Receivers,
    cells: Integers,
    expression: Expression,
    n_labels: int,
    heads: list[int] | None,
    *,
    progress: bool = False,
) -> Variables:
    """Compute what ablating each sender does, and how well expression is predicted.

    Parameters
    ----------
    predictor
        The network, with the features of all cells in a neighborhood.
    receivers, cells
        The receivers and their ascending positions in the AnnData.
    expression
        Expression of the genes of the model.
    n_labels
        Number of cell types, the senders.
    heads
        Heads that are left on alone, one after the other; None leaves this out.
    progress
        Whether to show a progress bar.

    Returns
    -------
    dict
        Variables of the schema by their name, the query always in front.
    """
    mean, variance = _moments(predictor, receivers, cells, expression)
    n_queries, n_genes = mean.shape
    sums = [_Sums(predictor, n_queries, n_labels, n_genes) for _ in range(1 + len(heads or ()))]
    gain = np.zeros((cells.size, n_labels), np.float32)
    error, deviation = np.zeros((2, cells.size))
    starts = range(0, cells.size, RECEIVER_BATCH)
    shown = watched(starts, "effects", "batch", "model", is_shown=progress)
    full_precision = torch.autocast(predictor.layers.q.device.type, enabled=False)
    with contextlib.closing(expression.batches(cells, RECEIVER_BATCH)) as batches, full_precision:
        for start, x in zip(shown, batches, strict=True):
            batch = receivers[start : start + RECEIVER_BATCH]
            deviation[start : start + len(x)] = ((x - mean[batch.query]) ** 2).sum(axis=1)
            for number, ablations in enumerate(predictor.ablations(batch, x, heads)):
                of_rows = sums[number].add(batch.query, ablations)
                if number:
                    continue
                rows = (ablations.receiver.cpu().numpy() + start, ablations.label.cpu().numpy())
                gain[rows] = of_rows.cpu().numpy()
                error[start : start + len(x)] = ablations.residual.square().sum(dim=1).cpu()
    n_receivers = np.bincount(receivers.query, minlength=n_queries)
    together = sums[0].means(n_receivers)
    result: Variables = {
        "gene_mean": mean,
        "gene_variance": variance,
        "prediction_gain": gain,
        "squared_error": error,
        "squared_deviation": deviation,
        **together,
    }
    if heads is not None:
        alone = [each.means(n_receivers) for each in sums[1:]]
        names = ("gene_effect", "gene_gain", "residual_mean", "residual_variance")
        result |= {f"{name}_by_head": np.stack([of[name] for of in alone], 1) for name in names}
    _warn_of_bad_predictions(error.sum(), deviation.sum())
    return result


class _Sums:
    """Sums over receivers, (query, sender, gene), in float64."""

    def __init__(self, predictor: Predictor, n_queries: int, n_labels: int, n_genes: int) -> None:
        self._linear_head = predictor.layers.linear_head
        self._shape = (n_queries, n_labels)
        self._change = np.zeros((n_queries * n_labels, self._linear_head.shape[1]))
        self._gain = np.zeros((n_queries * n_labels, n_genes))
        self._residual = np.zeros((2, n_queries, n_genes))

    @torch.inference_mode()
    def add(self, query: Integers, ablations: Ablations) -> Tensor:
        """Add a batch, and return the gain of each of its rows, summed over genes.

        With δ = ŷ − ŷ⁻ and r = x − ŷ, ``(x − ŷ⁻)² − (x − ŷ)² = (2r + δ)·δ``. The mean of δ is
        that of the changes in norm_o's output, through the linear head. Rows of one query and one
        sender are taken together, so that their differences stay in the processor's cache.
        """
        of_query = torch.from_numpy(query).to(ablations.receiver.device)
        group = of_query[ablations.receiver] * self._shape[1] + ablations.label
        groups, counts = torch.unique_consecutive(group, return_counts=True)
        twice_residual = 2 * ablations.residual
        changes, gains = [], []
        gain_of_rows = torch.empty_like(ablations.removed[:, 0])
        ends = counts.cumsum(0).tolist()
        for start, end in itertools.pairwise([0, *ends]):
            rows = slice(start, end)
            change = ablations.change(rows)
            difference = change @ self._linear_head.T
            gain = twice_residual[ablations.receiver[rows]].add_(difference).mul_(difference)
            gain_of_rows[rows] = gain.sum(dim=1)
            gains.append(gain.sum(dim=0))
            changes.append(change.sum(dim=0))
        if gains:
            keys = groups.cpu().numpy()
            self._change[keys] += torch.stack(changes).cpu().numpy()
            self._gain[keys] += torch.stack(gains).cpu().numpy()
        present, group = torch.unique(of_query, return_inverse=True)
        powers = (ablations.residual, ablations.residual.square())
        for power, sums in zip(powers, self._residual, strict=True):
            sums[present.cpu().numpy()] += _summed(power, group, len(present)).cpu().numpy()
        return gain_of_rows

    def means(self, n_receivers: Integers) -> Variables:
        """Return the means over the receivers of each query."""
        n = n_receivers[:, np.newaxis]
        effect, gain = (
            sums.reshape(*self._shape, -1) / n[..., np.newaxis]
            for sums in (self._change @ self._linear_head.double().cpu().numpy().T, self._gain)
        )
        mean, square = self._residual / n
        return {
            "gene_effect": effect,
            "gene_gain": gain,
            "residual_mean": mean,
            "residual_variance": np.maximum(square - mean**2, 0.0),
        }


def _summed(rows: Tensor, group: Tensor, n_groups: int) -> Tensor:
    return rows.new_zeros(n_groups, rows.shape[1]).index_add_(0, group, rows)


def _moments(
    predictor: Predictor, receivers: Receivers, cells: Integers, expression: Expression
) -> tuple[Floats, Floats]:
    """Mean and variance of expression, (query, gene).

    About the profiles of the model, near which the means lie: with c the profile and m the mean,
    ``Σ(x − m)² = Σ(x − c)² − n(m − c)²`` does not cancel. Deviations of single receivers from the
    mean need it first, so that expression is read twice, here and with the predictions.
    """
    profiles = predictor.layers.profiles.cpu().numpy().astype(np.float64)
    n_queries, n_genes = profiles.shape
    first, second = np.zeros((2, n_queries, n_genes))
    starts = range(0, cells.size, RECEIVER_BATCH)
    with contextlib.closing(expression.batches(cells, RECEIVER_BATCH)) as batches:
        for start, x in zip(starts, batches, strict=True):
            query = receivers.query[start : start + len(x)]
            above = x - profiles[query]
            _check_finite(above, cells[start : start + len(x)])
            for code in np.unique(query):
                first[code] += above[query == code].sum(axis=0)
                second[code] += (above[query == code] ** 2).sum(axis=0)
    n = np.bincount(receivers.query, minlength=n_queries)[:, np.newaxis]
    return profiles + first / n, np.maximum(second / n - (first / n) ** 2, 0.0)


def _check_finite(above: Floats, cells: Integers) -> None:
    """Refuse a batch of receivers whose expression is not finite, and name the first of them."""
    wrong = np.flatnonzero(~np.isfinite(above).all(axis=1))
    if wrong.size:
        raise ValueError(
            f"the expression of {wrong.size} receivers holds NaN or infinite values, the first "
            f"at position {cells[wrong[0]]} of adata; drop these cells, or extract without "
            "effects"
        )


def _warn_of_bad_predictions(error: float, deviation: float) -> None:
    if error > _FAR_TOO_LARGE * deviation > 0:
        warnings.warn(
            f"explained variance is {1 - error / deviation:.3g}: the model predicts the expression "
            "of the receivers worse than the mean of their type does, so that its effects mean "
            "little here; was it trained on other units, e.g. logarithms, where adata holds raw "
            "counts? (amici-xr glossary variance explains the words)",
            UserWarning,
            stacklevel=5,
        )
