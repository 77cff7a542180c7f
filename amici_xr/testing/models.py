"""A seeded model with random weights, of any size, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amici_xr.dependencies import require
from amici_xr.errors import check_positive_integer

if TYPE_CHECKING:
    from amici_xr.model.saved_model import SavedModel

Floats = NDArray[np.float64]
_MEAN_SCORE = 3.0  # of the base attention score, about that of the dummy


def simulate_model(
    gene_names: Sequence[str],
    labels: Sequence[str],
    *,
    n_heads: int = 4,
    n_neighbors: int = 30,
    head_size: int = 16,
    label_size: int = 16,
    query_size: int = 32,
    cell_size: int = 64,
    key_size: int = 64,
    hidden_size: int = 64,
    layer: str | None = None,
    cell_radius_key: str | None = None,
    seed: int = 0,
) -> SavedModel:
    """Make a whole model with random weights, as if it had been trained.

    Parameters
    ----------
    gene_names, labels
        Genes and cell types, in the order of the weights.
    n_heads, n_neighbors
        Number of attention heads and of cells in a neighborhood.
    head_size, label_size, query_size, cell_size, key_size, hidden_size
        Sizes of a head, of the embeddings of cell types, of queries, of cells and of keys, and of
        the hidden layers.
    layer, cell_radius_key
        Settings of the model: where it finds expression and, if anywhere, the radius of cells.
    seed
        Seed of the weights.

    Returns
    -------
    SavedModel
        It finds cell types in ``obs["cell_type"]`` and coordinates in ``obsm["spatial"]``.

    Raises
    ------
    ValueError
        If a size is below 1.
    ModuleNotFoundError
        If torch is not installed; the message says how to.

    Examples
    --------
    >>> import amici_xr
    >>> model = amici_xr.testing.simulate_model(["g1", "g2"], ["A", "B", "C"], n_heads=2)
    >>> model.n_heads, model.labels
    (2, ('A', 'B', 'C'))
    """
    torch = require("torch", "model", "making a model")
    from amici_xr.model.saved_model import DEFAULTS, SavedModel, build_settings, check_model

    n_heads = check_positive_integer("n_heads", n_heads)
    n_genes, n_labels, n_output = len(gene_names), len(labels), n_heads * head_size
    generator = np.random.default_rng(seed)

    def uniform(*shape: int) -> Floats:
        return np.asarray(generator.uniform(-1, 1, shape) * np.sqrt(3 / shape[-1]))

    arrays: dict[str, Floats] = {"ct_embed.weight": generator.normal(size=(n_labels, label_size))}
    for name, n_in, n_out in (
        ("query_embed", label_size, n_heads * query_size),
        ("nn_embed", n_genes, cell_size),
        ("kv_embed", cell_size, n_heads * key_size),
        ("pos_coef_mlp", cell_size + label_size, n_heads),
    ):
        arrays |= _block(generator, name, n_in, hidden_size, n_out)
    lift = np.full((n_heads, head_size), np.sqrt(_MEAN_SCORE / np.sqrt(head_size)))
    arrays |= {
        "attention_layer.W_Q": uniform(head_size, n_heads, query_size),
        "attention_layer.b_Q": lift,
        "attention_layer.W_K": uniform(head_size, n_heads, key_size),
        "attention_layer.b_K": lift,  # the two biases agree, which lifts all scores
        "attention_layer.W_V": uniform(head_size, n_heads, key_size),
        "attention_layer.b_V": 0.1 * uniform(n_heads, head_size),
        "attention_layer.W_O": uniform(n_output, n_heads, head_size),
        "attention_layer.norm_o.weight": generator.normal(1, 0.1, n_output),
        "attention_layer.norm_o.bias": generator.normal(0, 0.1, n_output),
        "linear_head.weight": 0.1 * uniform(n_genes, n_output),
        "ct_profiles": generator.uniform(0, 2, (n_labels, n_genes)),
    }
    weights = {name: torch.from_numpy(np.float32(array)) for name, array in arrays.items()}
    given: dict[str, Any] = {
        "labels_key": "cell_type",
        "n_neighbors": check_positive_integer("n_neighbors", n_neighbors),
        "layer": layer,
        "cell_radius_key": cell_radius_key,
    }
    settings = build_settings(DEFAULTS | given, "simulate_model", DEFAULTS.keys() - given)
    model = SavedModel(weights, settings, tuple(map(str, gene_names)), tuple(map(str, labels)))
    return check_model(model, "simulate_model")


def _block(
    generator: np.random.Generator, name: str, n_in: int, n_hidden: int, n_out: int
) -> dict[str, Floats]:
    """Weights of a residual block, projected at its end where its sizes differ."""
    ends_with_norm = name != "pos_coef_mlp"

    def layers() -> Iterator[tuple[str, Floats]]:
        yield from _linear(generator, "nn.0", n_in, n_hidden)
        yield from _norm(generator, "nn.1", n_hidden)
        yield from _linear(generator, "nn.3", n_hidden, n_in)
        if n_in != n_out or ends_with_norm:
            yield from _norm(generator, "nn.4", n_in)
        if n_in != n_out:
            yield from _linear(generator, "project_nn.0", n_in, n_out)
            if ends_with_norm:
                yield from _norm(generator, "project_nn.1", n_out)

    return {f"{name}.{part}": array for part, array in layers()}


def _linear(
    generator: np.random.Generator, name: str, n_in: int, n_out: int
) -> Iterator[tuple[str, Floats]]:
    yield f"{name}.weight", generator.normal(size=(n_out, n_in)) / np.sqrt(n_in)
    yield f"{name}.bias", generator.normal(scale=0.1, size=n_out)


def _norm(generator: np.random.Generator, name: str, size: int) -> Iterator[tuple[str, Floats]]:
    yield f"{name}.weight", generator.normal(1.0, 0.1, size=size)
    yield f"{name}.bias", generator.normal(scale=0.1, size=size)
