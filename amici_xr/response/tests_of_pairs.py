"""Tests of every sender, radius and gene for the receivers of one type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amici_xr.kernels.combined_p import chi_square_equivalent, residual_correlation
from amici_xr.kernels.response_regression import (
    Basis,
    WhitenedFit,
    restricted_log_likelihood,
)
from amici_xr.kernels.vecchia import (
    Whitener,
    covariance_grid,
    find_earlier_neighbors,
    whiteners,
)
from amici_xr.response.companions import effects_by_sample
from amici_xr.response.design import Design

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Bools = NDArray[np.bool_]

LEAST_CELLS = 10  # on each side of a radius
LEAST_SHARE = 0.02
LEAST_GROWTH = 1.05  # of the receivers within, from one radius to the next
DECAY_SCALES: tuple[float, ...] = ()


@dataclass(frozen=True)
class PairTests:
    """Statistics of one fit; genes are those tested, in units of their standard deviation."""

    deviate: Floats  # (sender, column, gene), normal equivalent of t; NaN where not tested
    effect: Floats  # (sender, radius, gene)
    standard_error: Floats  # (sender, radius, gene)
    response: Floats  # (sender, bin, gene), less the mean over receivers
    response_error: Floats  # (sender, bin, gene)
    effect_by_sample: Floats  # (sender, radius, sample, gene)
    error_by_sample: Floats
    correlation: Floats  # (gene, gene), of whitened residuals
    degrees_of_freedom: int


def useful_radii(distance: Floats, radii: Floats) -> Bools:
    """Return which radii have receivers enough on both sides, and more than the last such one.

    `distance` is that of each receiver from the nearest sender.
    """
    n_cells = distance.size
    least = max(LEAST_CELLS, LEAST_SHARE * n_cells)
    is_useful = np.zeros(radii.size, dtype=bool)
    last = 0
    for number, radius in enumerate(radii):
        n_within = int((distance < radius).sum())
        if least <= n_within <= n_cells - least and n_within > LEAST_GROWTH * last:
            is_useful[number] = True
            last = n_within
    return is_useful


def evaluate_pairs(
    genes: Floats,
    positions: Floats,
    samples: Integers,
    distance: Floats,
    design: Design,
    senders: Sequence[int],
    radii: Floats,
    is_used: Bools,
    bin_edges: Floats,
    n_samples: int,
) -> tuple[PairTests, PairTests]:
    """Test all senders without and with niche columns.

    Cells stand in the order of Vecchia's approximation. `genes` (cell, gene) have mean 0 and
    variance 1; `is_used` is (sender, radius).
    """
    whitened = whiteners(find_earlier_neighbors(positions, samples), covariance_grid())
    bases = (design.without_niche, design.with_niche)
    choices = _choose_covariance(whitened, bases, genes)
    tested = [
        _tested_columns(distance[:, sender], radii[used])
        for sender, used in zip(senders, is_used, strict=True)
    ]
    bins = [_distance_bins(distance[:, sender], bin_edges) for sender in senders]
    n_bins = bin_edges.size + 1
    n_genes, n_decays = genes.shape[1], len(DECAY_SCALES)
    fits = []
    for _ in bases:
        shape = (len(senders), radii.size, n_genes)
        fits.append(
            {
                "deviate": np.full((len(senders), radii.size + n_decays, n_genes), np.nan),
                "effect": np.full(shape, np.nan),
                "standard_error": np.full(shape, np.nan),
                "response": np.full((len(senders), n_bins, n_genes), np.nan),
                "response_error": np.full((len(senders), n_bins, n_genes), np.nan),
                "effect_by_sample": np.full((*shape[:2], n_samples, n_genes), np.nan),
                "error_by_sample": np.full((*shape[:2], n_samples, n_genes), np.nan),
                "residual": np.empty_like(genes),
            }
        )
    for number in np.unique(choices):
        matrix = whitened[number].matrix
        all_columns = matrix @ design.with_niche.columns
        white_tests = [matrix @ columns for columns in tested]
        white_bins = [matrix @ columns for columns, _ in bins]
        for basis, choice, results in zip(bases, choices, fits, strict=True):
            members = np.flatnonzero(choice == number)
            if not members.size:
                continue
            columns = all_columns[:, : basis.kept.size]
            fit = WhitenedFit(basis, columns, matrix @ np.ascontiguousarray(genes[:, members]))
            results["residual"][:, members] = fit.residual
            for row, sender in enumerate(senders):
                given_back = design.columns_of(sender, basis)
                used = np.flatnonzero(is_used[row])
                if not used.size:
                    continue
                tests = fit.test_columns(given_back, white_tests[row])
                variance = np.maximum(tests.model_variance, tests.robust_variance)
                error = np.sqrt(variance)
                with np.errstate(invalid="ignore"):
                    t = tests.coefficient / error
                square = chi_square_equivalent(t, tests.degrees_of_freedom)
                deviate = np.copysign(np.sqrt(square), tests.coefficient)
                where = np.concatenate([used, radii.size + np.arange(n_decays)])
                results["deviate"][row, where[:, np.newaxis], members] = deviate
                steps = slice(0, used.size)
                results["effect"][row, used[:, np.newaxis], members] = tests.coefficient[steps]
                results["standard_error"][row, used[:, np.newaxis], members] = error[steps]
                for column, radius in enumerate(used if n_samples > 1 else ()):
                    by_sample = effects_by_sample(
                        fit,
                        given_back,
                        white_tests[row][:, column],
                        tested[row][:, column],
                        samples,
                        n_samples,
                    )
                    results["effect_by_sample"][row, radius][:, members] = by_sample[0]
                    results["error_by_sample"][row, radius][:, members] = by_sample[1]
                _fill_response(results, fit, given_back, row, members, bins[row], white_bins[row])
    n_cells = len(genes)
    return tuple(  # type: ignore[return-value]  # of two
        PairTests(
            **{name: values for name, values in results.items() if name != "residual"},
            correlation=residual_correlation(results["residual"]),
            degrees_of_freedom=n_cells - basis.kept.size,
        )
        for basis, results in zip(bases, fits, strict=True)
    )


def _choose_covariance(
    whitened: list[Whitener], bases: tuple[Basis, Basis], genes: Floats
) -> tuple[Integers, Integers]:
    """Return for each basis the number of the covariance with the largest likelihood, by gene."""
    n_cells = len(genes)
    likelihood = np.empty((len(bases), len(whitened), genes.shape[1]))
    for number, (matrix, log_determinant) in enumerate(whitened):
        columns = matrix @ bases[1].columns
        white_genes = matrix @ genes
        gram, cross = columns.T @ columns, columns.T @ white_genes
        squares = np.einsum("ij,ij->j", white_genes, white_genes)
        for which, basis in enumerate(bases):
            kept = slice(0, basis.kept.size)
            likelihood[which, number] = restricted_log_likelihood(
                gram[kept, kept], cross[kept], squares, log_determinant, n_cells
            )
    best = likelihood.argmax(axis=1)
    return best[0], best[1]


def _tested_columns(distance: Floats, radii: Floats) -> Floats:
    steps = distance[:, np.newaxis] < radii
    decays = np.exp(-distance[:, np.newaxis] / np.array(DECAY_SCALES).reshape(1, -1))
    return np.concatenate([1.0 * steps, decays], axis=1)


def _distance_bins(distance: Floats, edges: Floats) -> tuple[Floats, Floats]:
    """Membership of all bins but the last, and the share of receivers in each."""
    number = np.searchsorted(edges, distance, side="right")
    share = np.bincount(number, minlength=edges.size + 1) / distance.size
    return 1.0 * (number[:, np.newaxis] == np.arange(edges.size)), share


def _fill_response(
    results: dict[str, Floats],
    fit: WhitenedFit,
    given_back: Integers,
    row: int,
    members: Integers,
    bins: tuple[Floats, Floats],
    white_bins: Floats,
) -> None:
    """Fill in the means of distance bins, as differences from the mean over receivers."""
    membership, share = bins
    is_filled = share * len(membership) >= LEAST_CELLS
    coefficient, inverse, variance = fit.fit_columns(given_back, white_bins)
    from_mean = np.eye(share.size)[:, :-1] - share[:-1]  # (bin, coefficient)
    response = from_mean @ coefficient
    error = np.sqrt(np.einsum("ij,jk,ik->i", from_mean, inverse, from_mean))
    bin_numbers = np.flatnonzero(is_filled)
    where = (row, bin_numbers[:, np.newaxis], members)
    results["response"][where] = response[bin_numbers]
    results["response_error"][where] = np.sqrt(variance) * error[bin_numbers, np.newaxis]
