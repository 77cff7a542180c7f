"""Tests of every sender, radius and gene for the receivers of one type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amici_xr.kernels.combined_p import chi_square_equivalent, residual_correlation
from amici_xr.kernels.response_regression import (
    Basis,
    Replacement,
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


@dataclass(frozen=True)
class PairTests:
    """Statistics of one fit; genes are those tested, in units of their standard deviation.

    NaN where nothing was tested. Samples and bins are those of the fit without niche alone.
    """

    deviate: Floats  # (sender, radius, gene), normal equivalent of t
    effect: Floats  # (sender, radius, gene)
    standard_error: Floats  # (sender, radius, gene)
    effect_by_sample: Floats  # (sender, radius, sample, gene)
    error_by_sample: Floats  # (sender, radius, sample, gene)
    response: Floats  # (sender, bin, gene), less the mean over receivers
    response_error: Floats  # (sender, bin, gene)
    correlation: Floats  # (gene, gene), of whitened residuals
    degrees_of_freedom: int


@dataclass(frozen=True)
class Contrast:
    """What is asked of one sender: steps at the useful radii, then bins of distance."""

    row: int  # of the result
    sender: int
    used: Integers  # numbers of the useful radii
    columns: Floats  # (cell, step or bin), without the last bin
    share: Floats  # of the receivers in each bin

    @property
    def steps(self) -> slice:
        """Columns of the steps."""
        return slice(self.used.size)

    @property
    def bins(self) -> slice:
        """Columns of the bins."""
        return slice(self.used.size, self.columns.shape[1])


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


def contrast_of(
    row: int, sender: int, distance: Floats, radii: Floats, is_used: Bools, bin_edges: Floats
) -> Contrast:
    """Return the contrast of a sender from the distance of each receiver to the nearest of it."""
    number = np.searchsorted(bin_edges, distance, side="right")
    steps = distance[:, np.newaxis] < radii[is_used]
    bins = number[:, np.newaxis] == np.arange(bin_edges.size)
    return Contrast(
        row,
        sender,
        np.flatnonzero(is_used),
        np.concatenate([steps, bins], axis=1).astype(np.float64),
        np.bincount(number, minlength=bin_edges.size + 1) / distance.size,
    )


def evaluate_pairs(
    genes: Floats,
    positions: Floats,
    samples: Integers,
    design: Design,
    contrasts: Sequence[Contrast],
    n_radii: int,
    n_samples: int,
) -> tuple[PairTests, PairTests]:
    """Test all senders without and with niche columns.

    `genes` (cell, gene) have mean 0 and variance 1. At least one contrast has useful radii.
    """
    whitened = whiteners(find_earlier_neighbors(positions, samples), covariance_grid())
    bases = (design.without_niche, design.with_niche)
    choices = _choose_covariance(whitened, bases, genes)
    n_bins, n_genes = contrasts[0].share.size, genes.shape[1]
    fits = (
        _empty_tests(len(contrasts), n_radii, n_bins, n_samples, n_genes),
        _empty_tests(len(contrasts), n_radii, 0, 0, n_genes),
    )
    residuals = np.empty((2, *genes.shape))
    tested = [contrast for contrast in contrasts if contrast.used.size]
    stops = np.cumsum([contrast.columns.shape[1] for contrast in tested])
    added = np.concatenate([contrast.columns for contrast in tested], axis=1)
    for number in np.unique(choices):
        matrix = whitened[number].matrix
        all_columns, white_added = matrix @ design.with_niche.columns, matrix @ added
        for basis, choice, arrays, residual in zip(bases, choices, fits, residuals, strict=True):
            members = np.flatnonzero(choice == number)
            if not members.size:
                continue
            columns = all_columns[:, : basis.kept.size]
            fit = WhitenedFit(basis, columns, matrix @ np.ascontiguousarray(genes[:, members]))
            residual[:, members] = fit.residual
            given_back = [design.columns_of(contrast.sender, basis) for contrast in tested]
            replacements = fit.replace_each(given_back, white_added, stops)
            for contrast, own, replacement in zip(tested, given_back, replacements, strict=True):
                _fill_steps(arrays, contrast, members, replacement)
                if arrays["response"].shape[1]:
                    _fill_bins(arrays, contrast, members, replacement)
                if arrays["effect_by_sample"].shape[2] > 1:
                    white_steps = matrix @ contrast.columns[:, contrast.steps]
                    _fill_samples(arrays, contrast, members, fit, own, white_steps, samples)
    without, beyond = (
        PairTests(
            **arrays,
            correlation=residual_correlation(residual),
            degrees_of_freedom=len(genes) - basis.kept.size,
        )
        for basis, arrays, residual in zip(bases, fits, residuals, strict=True)
    )
    return without, beyond


def _empty_tests(
    n_senders: int, n_radii: int, n_bins: int, n_samples: int, n_genes: int
) -> dict[str, Floats]:
    shapes = {
        "deviate": (n_radii,),
        "effect": (n_radii,),
        "standard_error": (n_radii,),
        "effect_by_sample": (n_radii, n_samples),
        "error_by_sample": (n_radii, n_samples),
        "response": (n_bins,),
        "response_error": (n_bins,),
    }
    return {name: np.full((n_senders, *shape, n_genes), np.nan) for name, shape in shapes.items()}


def _fill_steps(
    arrays: dict[str, Floats], contrast: Contrast, members: Integers, replacement: Replacement
) -> None:
    tests = replacement.test_each(contrast.steps)
    error = np.sqrt(np.maximum(tests.model_variance, tests.robust_variance))
    square = chi_square_equivalent(tests.coefficient / error, tests.degrees_of_freedom)
    where = (contrast.row, contrast.used[:, np.newaxis], members)
    arrays["deviate"][where] = np.copysign(np.sqrt(square), tests.coefficient)
    arrays["effect"][where] = tests.coefficient
    arrays["standard_error"][where] = error


def _fill_bins(
    arrays: dict[str, Floats], contrast: Contrast, members: Integers, replacement: Replacement
) -> None:
    """Fill in the means of distance bins, as differences from the mean over receivers."""
    share = contrast.share
    coefficient, inverse, variance = replacement.fit_together(contrast.bins)
    from_mean = np.eye(share.size)[:, :-1] - share[:-1]  # (bin, coefficient)
    response = from_mean @ coefficient
    error = np.sqrt(np.einsum("ij,jk,ik->i", from_mean, inverse, from_mean))
    filled = np.flatnonzero(share * len(contrast.columns) >= LEAST_CELLS)
    where = (contrast.row, filled[:, np.newaxis], members)
    arrays["response"][where] = response[filled]
    arrays["response_error"][where] = np.sqrt(variance) * error[filled, np.newaxis]


def _fill_samples(
    arrays: dict[str, Floats],
    contrast: Contrast,
    members: Integers,
    fit: WhitenedFit,
    given_back: Integers,
    white_steps: Floats,
    samples: Integers,
) -> None:
    n_samples = arrays["effect_by_sample"].shape[2]
    for column, radius in enumerate(contrast.used):
        effect, error = effects_by_sample(
            fit, given_back, white_steps[:, column], contrast.columns[:, column], samples, n_samples
        )
        arrays["effect_by_sample"][contrast.row, radius][:, members] = effect
        arrays["error_by_sample"][contrast.row, radius][:, members] = error


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
