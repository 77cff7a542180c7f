"""A seeded simulator of tissues in which some pairs of cell types interact, and others do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amici_xr.dependencies import require
from amici_xr.errors import check_choice, check_positive_integer
from amici_xr.testing.planted_steps import REACHES, in_microns

if TYPE_CHECKING:
    import anndata

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

SPILLOVER_DISTANCE = 8.0  # µm within which transcripts leak into another cell
_N_WAVES = 400
_ARRANGEMENTS = ("uniform", "domains", "clumps")
_DOMAIN_SCALE = 150.0
_DISPERSION = 2.0  # of negative binomial counts: variance = mean + mean²/2


@dataclass(frozen=True)
class _Cells:
    positions: Floats
    codes: Integers
    preference: Floats  # (cell, type), a smooth field for each type


def simulate_tissue(
    *,
    n_cells: int = 4_000,
    n_types: int = 6,
    n_genes: int = 80,
    arrangement: str = "uniform",
    clump_scale: float = 40.0,
    n_pairs: int = 3,
    genes_per_pair: int = 8,
    effect: float = 1.0,
    shape: str = "step",
    reaches: Sequence[float] = REACHES,
    noise: float = 0.7,
    field_scale: float = 50.0,
    field_share: float = 0.3,
    gradient: float = 0.0,
    clumped_expression: float = 0.0,
    spillover: float = 0.0,
    counts: bool = False,
    uneven: bool = False,
    n_samples: int = 1,
    spacing: float = 15.0,
    seed: int = 0,
) -> anndata.AnnData:
    """Draw a tissue in which planted pairs respond to distance, for tests and benchmarks.

    Log expression is the profile of the cell's type, plus noise of which a share is a smooth field
    of its own for each gene, plus what is planted.

    Parameters
    ----------
    n_cells, n_types, n_genes
        Sizes; cells have one of `n_types` types, alike in number when "uniform".
    arrangement
        "uniform" gives each cell a random type; "domains" regions of about 300 µm in which some
        types prevail; "clumps" such regions of the size of `clump_scale` (µm).
    n_pairs, genes_per_pair
        Number of planted (query, label) pairs, and of genes that respond in each.
    effect
        Difference of log expression, of random sign for each gene (above 0 with `counts`).
    shape
        "step": within the reach; "decay": falls with distance as ``exp(−d/reach)``.
    reaches
        Reaches in µm, of which each pair takes one.
    noise, field_scale, field_share
        Standard deviation of the noise, the scale (µm) of its field and that field's share of
        the variance.
    gradient
        Standard deviation of a linear gradient of each gene over the tissue.
    clumped_expression
        Factor by which every fourth gene follows the fields that arrange the types.
    spillover
        Share of its transcripts that a cell leaks into each cell within 8 µm.
    counts
        Draw negative binomial counts, which ``layers["counts"]`` keeps; X is log-normalized.
    uneven
        Let the density of cells fall to a tenth from one side to the other.
    n_samples
        Number of samples of equal size, whose coordinates overlap.
    spacing
        Square root of the mean area per cell, in µm.
    seed
        The same seed gives the same tissue.

    Returns
    -------
    anndata.AnnData
        ``obs["cell_type"]``, ``obs["sample"]``, ``obsm["spatial"]`` in µm, and
        ``uns["planted"]``: a table of query, label, gene, reach and effect.

    Raises
    ------
    ValueError
        If a size is below 1, `arrangement` or `shape` is not known, or more pairs are asked for
        than there are.

    Examples
    --------
    >>> from amici_xr.testing import simulate_tissue
    >>> tissue = simulate_tissue(n_cells=300, n_pairs=2)
    >>> tissue.shape, len(tissue.uns["planted"])
    ((300, 80), 16)
    """
    sizes = {"n_cells": n_cells, "n_types": n_types, "n_genes": n_genes, "n_samples": n_samples}
    for name, size in sizes.items():
        check_positive_integer(name, size)
    check_choice("arrangement", arrangement, _ARRANGEMENTS)
    check_choice("shape", shape, ("step", "decay"))
    if n_pairs > n_types * (n_types - 1):
        raise ValueError(
            f"n_pairs={n_pairs} is more than the {n_types * (n_types - 1)} ordered pairs of "
            f"n_types={n_types}"
        )
    if genes_per_pair > n_genes:
        raise ValueError(f"genes_per_pair={genes_per_pair} must be at most n_genes={n_genes}")
    rng = np.random.default_rng(seed)
    middle, spread = (0.0, 1.0) if counts else (2.0, 0.8)
    profile = rng.normal(middle, spread, (n_types, n_genes))
    reaches = in_microns("reaches", reaches).tolist()
    planted = _choose_pairs(rng, n_types, n_genes, n_pairs, genes_per_pair, reaches)
    planted["effect"] = effect * (1 if counts else rng.choice([-1.0, 1.0], len(planted)))
    clump_scale = in_microns("clump_scale", clump_scale).item()
    field_scale = in_microns("field_scale", field_scale).item()
    spacing = in_microns("spacing", spacing).item()
    scale = {"uniform": _DOMAIN_SCALE, "domains": _DOMAIN_SCALE, "clumps": clump_scale}[arrangement]
    parts = []
    for size in np.diff(np.linspace(0, n_cells, n_samples + 1).astype(int)):
        cells = _place_cells(rng, size, n_types, arrangement, scale, spacing, uneven=uneven)
        expression = profile[cells.codes] + rng.normal(0, 0.2, n_genes) * (n_samples > 1)
        field = smooth_fields(rng, cells.positions, field_scale, n_genes)
        white = rng.normal(size=field.shape)
        expression += noise * (np.sqrt(field_share) * field + np.sqrt(1 - field_share) * white)
        direction = rng.normal(size=(2, n_genes))
        slope = (cells.positions / cells.positions.std(axis=0)) @ direction
        expression += gradient * slope / np.linalg.norm(direction, axis=0)
        followed = cells.preference @ rng.normal(size=(n_types, n_genes)) / np.sqrt(n_types)
        expression[:, ::4] += clumped_expression * followed[:, ::4]
        _plant(expression, cells, planted, shape)
        if spillover:
            expression = _leak(expression, cells.positions, spillover)
        parts.append((cells, expression))
    return _as_anndata(rng, parts, planted, n_types, counts=counts)


def smooth_fields(
    rng: np.random.Generator, positions: Floats, scale: float, n_fields: int
) -> Floats:
    """Draw Gaussian fields of unit variance, (cell, field), of Matérn correlation (3/2)."""
    frequency = rng.normal(size=(2, _N_WAVES)) / scale
    frequency /= np.sqrt(rng.chisquare(3.0, _N_WAVES) / 3.0)  # t of 3 degrees: Matérn 3/2
    phase = positions @ frequency
    waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=1) / np.sqrt(_N_WAVES)
    return np.asarray(waves @ rng.normal(size=(2 * _N_WAVES, n_fields)))


def _place_cells(
    rng: np.random.Generator,
    n_cells: int,
    n_types: int,
    arrangement: str,
    scale: float,
    spacing: float,
    *,
    uneven: bool,
) -> _Cells:
    place = rng.uniform(size=(n_cells, 2))
    if uneven:  # density falls linearly to a tenth of its largest
        place[:, 0] = (1 - np.sqrt(1 - 0.99 * place[:, 0])) / 0.9
    positions = place * spacing * np.sqrt(n_cells)
    preference = smooth_fields(rng, positions, scale, n_types)
    strength = 0.0 if arrangement == "uniform" else 2.0
    codes = (strength * preference + rng.gumbel(size=preference.shape)).argmax(axis=1)
    return _Cells(positions, codes, preference)


def _choose_pairs(
    rng: np.random.Generator,
    n_types: int,
    n_genes: int,
    n_pairs: int,
    genes_per_pair: int,
    reaches: Sequence[float],
) -> pd.DataFrame:
    ordered = [(q, s) for q in range(n_types) for s in range(n_types) if q != s]
    chosen = rng.permutation(len(ordered))[:n_pairs]
    columns = ("query", "label", "gene", "reach")
    rows = [
        (*ordered[pair], gene, reaches[number % len(reaches)])
        for number, pair in enumerate(chosen)
        for gene in rng.choice(n_genes, genes_per_pair, replace=False)
    ]
    return pd.DataFrame(rows, columns=columns)


def _plant(expression: Floats, cells: _Cells, planted: pd.DataFrame, shape: str) -> None:
    from scipy.spatial import cKDTree  # here, since importing the package should cost little

    for (query, label, reach), rows in planted.groupby(["query", "label", "reach"]):
        receivers = np.flatnonzero(cells.codes == query)
        senders = cells.positions[cells.codes == label]
        if not receivers.size or not len(senders):
            continue
        distance = cKDTree(senders).query(cells.positions[receivers])[0]
        response = distance < reach if shape == "step" else np.exp(-distance / reach)
        genes = rows["gene"].to_numpy(dtype=np.intp)
        expression[np.ix_(receivers, genes)] += np.outer(response, rows["effect"])


def _leak(expression: Floats, positions: Floats, share: float) -> Floats:
    from scipy.spatial import cKDTree  # here, since importing the package should cost little

    pairs = cKDTree(positions).query_pairs(SPILLOVER_DISTANCE, output_type="ndarray")
    linear = np.expm1(np.maximum(expression, 0.0))
    received = linear.copy()
    np.add.at(received, pairs[:, 0], share * linear[pairs[:, 1]])
    np.add.at(received, pairs[:, 1], share * linear[pairs[:, 0]])
    return np.log1p(received)


def _as_anndata(
    rng: np.random.Generator,
    parts: list[tuple[_Cells, Floats]],
    planted: pd.DataFrame,
    n_types: int,
    *,
    counts: bool,
) -> anndata.AnnData:
    package = require("anndata", "model", "simulating a tissue")
    expression = np.concatenate([expression for _, expression in parts])
    codes = np.concatenate([cells.codes for cells, _ in parts])
    sample = np.repeat(np.arange(len(parts)), [len(cells.codes) for cells, _ in parts])
    layers = {}
    if counts:
        size = rng.lognormal(0.0, 0.3, (len(codes), 1))
        mean = np.exp(np.minimum(expression, 8.0)) * size
        drawn = rng.poisson(mean * rng.gamma(_DISPERSION, 1 / _DISPERSION, mean.shape))
        layers["counts"] = drawn.astype(np.float32)
        total = np.maximum(drawn.sum(axis=1, keepdims=True), 1)
        expression = np.log1p(drawn * (np.median(total) / total))
    types = np.array([f"type_{number}" for number in range(n_types)])
    genes = np.array([f"gene_{number}" for number in range(expression.shape[1])])
    table = planted.assign(
        query=types[planted["query"].to_numpy(int)],
        label=types[planted["label"].to_numpy(int)],
        gene=genes[planted["gene"].to_numpy(int)],
    )
    tissue = package.AnnData(
        expression.astype(np.float32),
        obs=pd.DataFrame(
            {"cell_type": pd.Categorical(types[codes]), "sample": [f"sample_{n}" for n in sample]},
            index=[f"cell_{number}" for number in range(len(codes))],
        ),
        var=pd.DataFrame(index=genes),
        obsm={"spatial": np.concatenate([cells.positions for cells, _ in parts])},
        layers=layers,
    )
    tissue.uns["planted"] = table
    return tissue
