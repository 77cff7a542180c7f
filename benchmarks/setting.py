"""The setting of the benchmarks, seeded: a model with random weights and a tissue of any size.

A benchmark measures work, and the work does not depend on what a model has learned. What it
depends on is as in a trained model: the sizes of all layers, how sparse the expression is, how
densely the cells stand, and that about half of the length scales are positive.
"""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
import torch
from numpy.typing import NDArray

import amici_xr
from amici_xr.model.saved_model import ModelSettings

QUERY = "type_0"
N_GENES = 300
N_TYPES = 10
N_NEIGHBORS = 30
AREA_PER_CELL = 100.0  # square units

N_HEADS, HEAD_SIZE, HEAD_FEATURES = 8, 32, 256
LABEL_FEATURES, CELL_FEATURES, N_HIDDEN = 32, 256, 512
GENES_PER_STRATUM = 10  # of which a cell expresses one
MEAN_SCORE = 3.0  # of the base attention score, over cells and heads
KEY_SCALE = 2.5  # sets how much that score varies between cells


def saved_model(
    n_genes: int = N_GENES,
    n_types: int = N_TYPES,
    n_neighbors: int = N_NEIGHBORS,
    seed: int = 0,
) -> amici_xr.SavedModel:
    """Return a model of the usual size with random weights.

    Parameters
    ----------
    n_genes
        Number of genes.
    n_types
        Number of cell types, ``type_0`` and so on.
    n_neighbors
        K, the number of cells in a neighborhood.
    seed
        Seed of the weights.

    Returns
    -------
    amici_xr.SavedModel
        Eight heads; δ = 3, u = 1 and the offset of the position coefficients −2.
    """
    generator = np.random.default_rng(seed)
    n_features = N_HEADS * HEAD_FEATURES
    pair = CELL_FEATURES + LABEL_FEATURES
    arrays = {"ct_embed.weight": generator.normal(size=(n_types, LABEL_FEATURES))}
    arrays |= _block(generator, "query_embed", LABEL_FEATURES, N_HIDDEN, n_features)
    arrays |= _block(generator, "nn_embed", n_genes, N_HIDDEN, CELL_FEATURES)
    arrays |= _block(generator, "kv_embed", CELL_FEATURES, CELL_FEATURES, n_features)
    arrays |= _block(generator, "pos_coef_mlp", pair, N_HIDDEN, N_HEADS)
    for name in ("weight", "bias"):
        del arrays[f"pos_coef_mlp.project_nn.1.{name}"]  # its projection has no norm
    arrays |= _attention(generator)
    return amici_xr.SavedModel(
        weights={name: torch.from_numpy(np.float32(array)) for name, array in arrays.items()},
        settings=_settings(n_neighbors),
        gene_names=_gene_names(n_genes),
        labels=_labels(n_types),
    )


def tissue(
    n_cells: int,
    n_genes: int = N_GENES,
    n_types: int = N_TYPES,
    seed: int = 0,
    sparse: bool = True,
) -> anndata.AnnData:
    """Return cells of all types, mixed at random over a square.

    Each cell expresses one of every ten genes. Which one it is leans on the cell's type, so that
    types differ in their scores; the counts are geometric, with mean 1.6.

    Parameters
    ----------
    n_cells
        Number of cells.
    n_genes
        Number of genes. What is left over after the tens is expressed nowhere.
    n_types
        Number of cell types, equally frequent.
    seed
        Seed of expression, types and places.
    sparse
        Whether the expression is a CSR matrix, or else a dense array.

    Returns
    -------
    anndata.AnnData
        float32 counts in ``X``, types in ``obs["cell_type"]`` and places in ``obsm["spatial"]``,
        one cell per 100 square units.
    """
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, n_types, size=n_cells)
    side = np.sqrt(n_cells * AREA_PER_CELL)
    places = generator.uniform(0, side, size=(n_cells, 2))
    expression = _expression(generator, codes, n_genes, n_types)
    labels = pd.Categorical.from_codes(codes, categories=_labels(n_types))
    names = np.arange(n_cells).astype(str)
    return anndata.AnnData(
        X=expression if sparse else expression.toarray(),
        obs=pd.DataFrame({"cell_type": labels}, index=names),
        var=pd.DataFrame(index=list(_gene_names(n_genes))),
        obsm={"spatial": places},
    )


def _expression(
    generator: np.random.Generator, codes: NDArray[np.int64], n_genes: int, n_types: int
) -> scipy.sparse.csr_matrix:
    """One expressed gene per stratum and cell: columns ascend and none comes twice."""
    n_strata = n_genes // GENES_PER_STRATUM
    shape = (codes.size, n_strata)
    favored = generator.integers(0, GENES_PER_STRATUM, (n_types, n_strata), dtype=np.uint8)
    chosen = favored[codes]
    # The smaller of two draws leans on small numbers, and so the gene on the favored one.
    draws = [generator.integers(0, GENES_PER_STRATUM, shape, dtype=np.uint8) for _ in range(2)]
    chosen += np.minimum(*draws)
    chosen %= GENES_PER_STRATUM
    columns = np.arange(n_strata, dtype=np.int32) * GENES_PER_STRATUM + chosen
    counts = 1 + np.floor(generator.standard_exponential(shape, dtype=np.float32))
    starts = np.arange(0, columns.size + 1, n_strata)
    return scipy.sparse.csr_matrix(
        (counts.ravel(), columns.ravel(), starts), shape=(codes.size, n_genes)
    )


def _block(
    generator: np.random.Generator, name: str, n_in: int, n_hidden: int, n_out: int
) -> dict[str, NDArray[np.float64]]:
    """Weights of a residual block that ends in a projection and its norm."""
    layers = (
        _linear(generator, f"{name}.nn.0", n_in, n_hidden),
        _norm(generator, f"{name}.nn.1", n_hidden),
        _linear(generator, f"{name}.nn.3", n_hidden, n_in),
        _norm(generator, f"{name}.nn.4", n_in),
        _linear(generator, f"{name}.project_nn.0", n_in, n_out),
        _norm(generator, f"{name}.project_nn.1", n_out),
    )
    return {key: array for layer in layers for key, array in layer.items()}


def _linear(
    generator: np.random.Generator, name: str, n_in: int, n_out: int
) -> dict[str, NDArray[np.float64]]:
    return {
        f"{name}.weight": generator.normal(size=(n_out, n_in)) / np.sqrt(n_in),
        f"{name}.bias": generator.normal(scale=0.1, size=n_out),
    }


def _norm(generator: np.random.Generator, name: str, size: int) -> dict[str, NDArray[np.float64]]:
    return {
        f"{name}.weight": generator.normal(1.0, 0.1, size=size),
        f"{name}.bias": generator.normal(scale=0.1, size=size),
    }


def _attention(generator: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Query and key projections; the two biases agree, which lifts all scores."""
    shape, scale = (HEAD_SIZE, N_HEADS, HEAD_FEATURES), 1 / np.sqrt(HEAD_FEATURES)
    lift = np.full((N_HEADS, HEAD_SIZE), np.sqrt(MEAN_SCORE / np.sqrt(HEAD_SIZE)))
    return {
        "attention_layer.W_Q": generator.normal(scale=scale, size=shape),
        "attention_layer.b_Q": lift,
        "attention_layer.W_K": generator.normal(scale=KEY_SCALE * scale, size=shape),
        "attention_layer.b_K": lift,
    }


def _settings(n_neighbors: int) -> ModelSettings:
    return ModelSettings(
        labels_key="cell_type",
        n_neighbors=n_neighbors,
        coord_obsm_key="spatial",
        layer=None,
        cell_radius_key=None,
        nn_idx_key="_nn_idx",
        nn_dist_key="_nn_dist",
        attention_dummy_score=3.0,
        distance_kernel_unit_scale=1.0,
        pos_coef_offset=-2.0,
    )


def _labels(n_types: int) -> tuple[str, ...]:
    return tuple(f"type_{code}" for code in range(n_types))


def _gene_names(n_genes: int) -> tuple[str, ...]:
    return tuple(f"gene_{position}" for position in range(n_genes))
