"""Counterfactual attention in long pandas tables: what the library is compared with.

The same questions, answered without arrays that know their dimensions: one row per neighbor and
head, a loop per distance, per group and per resample, in the process that holds model and data.
Each step is vectorized as pandas, NumPy and torch offer it; no step uses algebra that saves work.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import anndata
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.special import expit, logit
from torch import Tensor, nn

import amici_xr


class Neighborhoods(NamedTuple):
    """The cells of a type and the nearest cells of other types around each."""

    receivers: NDArray[np.int64]  # (receiver,)
    index: NDArray[np.int64]  # (receiver, rank)
    distance: NDArray[np.float64]  # (receiver, rank)
    label: NDArray[np.object_]  # (receiver, rank)


def neighborhood_table(
    tissue: anndata.AnnData, query: str, n_neighbors: int, labels_key: str = "cell_type"
) -> Neighborhoods:
    """Find the K nearest cells of other types of every cell of a type.

    Parameters
    ----------
    tissue
        The cells, with places in ``obsm["spatial"]``; at least K of them are of other types.
    query
        The receiving cell type.
    n_neighbors
        K.
    labels_key
        Column of ``tissue.obs`` with the cell types.

    Returns
    -------
    Neighborhoods
        Positions, distances and types; ``np.unique(index)`` are the neighbors.
    """
    labels = tissue.obs[labels_key].to_numpy()
    places = tissue.obsm["spatial"]
    receivers = np.flatnonzero(labels == query)
    others = np.flatnonzero(labels != query)
    distance, position = KDTree(places[others]).query(places[receivers], k=n_neighbors)
    index = others[position]
    return Neighborhoods(receivers, index, distance, labels[index])


class ResidualBlock(nn.Module):
    """Linear, norm, ReLU, linear, norm, added to the input; ReLU; a projection with its norm."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int, has_last_norm: bool = True) -> None:
        super().__init__()
        self.nn = nn.Sequential(
            nn.Linear(n_in, n_hidden),
            nn.LayerNorm(n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_in),
            nn.LayerNorm(n_in),
        )
        last = nn.LayerNorm(n_out) if has_last_norm else nn.Identity()
        self.project_nn = nn.Sequential(nn.Linear(n_in, n_out), last)

    def forward(self, x: Tensor) -> Tensor:
        """Cells × features in, cells × features out."""
        return self.project_nn(torch.relu(x + self.nn(x)))


class Attention(nn.Module):
    """Query and key projections of all heads."""

    def __init__(self, head_size: int, n_heads: int, n_features: int) -> None:
        super().__init__()
        for name in ("Q", "K"):
            weight = torch.empty(head_size, n_heads, n_features)
            self.register_parameter(f"W_{name}", nn.Parameter(weight))
            self.register_parameter(f"b_{name}", nn.Parameter(torch.empty(n_heads, head_size)))

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """Scores, (cell, head), of a query, (head, feature), and keys, (cell, head, feature)."""
        q = torch.einsum("shf,hf->hs", self.W_Q, query) + self.b_Q
        k = torch.einsum("shf,chf->chs", self.W_K, key) + self.b_K
        return (q * k).sum(dim=-1) / q.shape[-1] ** 0.5


class Network(nn.Module):
    """The scoring network as its formulas are written."""

    def __init__(self, model: amici_xr.SavedModel) -> None:
        super().__init__()
        weights = model.weights
        self.offset = model.settings.pos_coef_offset
        self.ct_embed = nn.Embedding(*weights["ct_embed.weight"].shape)
        for name in ("query_embed", "nn_embed", "kv_embed", "pos_coef_mlp"):
            n_hidden, n_in = weights[f"{name}.nn.0.weight"].shape
            n_out = weights[f"{name}.project_nn.0.weight"].shape[0]
            self.add_module(name, ResidualBlock(n_in, n_hidden, n_out, name != "pos_coef_mlp"))
        self.attention_layer = Attention(*weights["attention_layer.W_Q"].shape)
        self.load_state_dict(weights)

    def forward(self, expression: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Base scores and position coefficients, (cell, head)."""
        label = self.ct_embed(query)
        embedding = self.nn_embed(expression)
        n_heads = self.attention_layer.W_Q.shape[1]
        key = self.kv_embed(embedding).view(len(expression), n_heads, -1)
        base = self.attention_layer(self.query_embed(label).view(n_heads, -1), key)
        pair = torch.cat([embedding, label.expand(len(expression), -1)], dim=1)
        return base, nn.functional.softplus(self.pos_coef_mlp(pair) + self.offset)


def score_table(
    model: amici_xr.SavedModel,
    tissue: anndata.AnnData,
    query: str,
    is_neighbor_positions: NDArray[np.int64],
    batch_size: int = 1024,
) -> pd.DataFrame:
    """Run the network on all neighbors, batch by batch.

    Parameters
    ----------
    model
        The trained model; its genes stand in the tissue in the same order.
    tissue
        The cells.
    query
        The receiving cell type.
    is_neighbor_positions
        Positions of the neighbors, ascending.
    batch_size
        Cells scored at a time.

    Returns
    -------
    pandas.DataFrame
        One row per neighbor and head.
    """
    settings = model.settings
    network = Network(model).eval()
    code = torch.tensor(model.labels.index(query))
    labels = tissue.obs[settings.labels_key].to_numpy()
    tables = []
    for start in range(0, is_neighbor_positions.size, batch_size):
        cells = is_neighbor_positions[start : start + batch_size]
        rows = tissue.X[cells]
        dense = rows.toarray() if hasattr(rows, "toarray") else rows
        with torch.no_grad():
            base, position = network(torch.from_numpy(dense), code)
        columns = {
            "query_label": query,
            "neighbor_idx": np.repeat(cells, model.n_heads),
            "neighbor_label": np.repeat(labels[cells], model.n_heads),
            "head_idx": np.tile(np.arange(model.n_heads), cells.size),
            "base_attention_score": base.numpy().ravel(),
            "position_coefficient": position.numpy().ravel(),
            "dummy_attention_score": settings.attention_dummy_score,
            "distance_kernel_unit_scale": settings.distance_kernel_unit_scale,
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def curves(table: pd.DataFrame, head: int, distances: Iterable[float]) -> pd.DataFrame:
    """Attention ``σ(a − p·d/u − δ)`` of one head, one row per neighbor and distance."""
    rows = table[table["head_idx"] == head]
    tables = []
    for distance in distances:
        scaled = distance / rows["distance_kernel_unit_scale"]
        score = rows["base_attention_score"] - rows["position_coefficient"] * scaled
        at_distance = rows[["neighbor_idx", "neighbor_label"]].copy()
        at_distance["distance"] = distance
        at_distance["attention"] = expit(score - rows["dummy_attention_score"])
        tables.append(at_distance)
    return pd.concat(tables, ignore_index=True)


def curve_summary(curves: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (ddof 1) of the attention per label and distance."""
    return curves.groupby(["neighbor_label", "distance"])["attention"].agg(["mean", "std"])


def length_scales(
    table: pd.DataFrame, threshold: float, neighborhoods: Neighborhoods, sample_threshold: float
) -> pd.DataFrame:
    """Length scales ``(u/p)·(a − δ − logit t)``, floored at 0, after the artifact correction.

    Those of a head and label become 0 where the share of the receivers that have a neighbor of
    that label strictly nearer than the median length scale is below `sample_threshold`.
    """
    lengths = table[["neighbor_idx", "neighbor_label", "head_idx"]].copy()
    score = table["base_attention_score"] - table["dummy_attention_score"] - logit(threshold)
    reach = table["distance_kernel_unit_scale"] / table["position_coefficient"] * score
    lengths["length_scale"] = reach.clip(lower=0)
    for head in lengths["head_idx"].unique():
        for label in lengths["neighbor_label"].unique():
            is_group = (lengths["head_idx"] == head) & (lengths["neighbor_label"] == label)
            median = lengths.loc[is_group, "length_scale"].median()
            is_near = (neighborhoods.distance < median) & (neighborhoods.label == label)
            if is_near.any(axis=1).mean() < sample_threshold:
                lengths.loc[is_group, "length_scale"] = 0.0
    return lengths


def bootstrap(
    lengths: pd.DataFrame,
    statistic: Literal["mean", "median"],
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    seed: int = 42,
) -> pd.DataFrame:
    """Percentile intervals of the mean or median length scale per head and label."""
    generator = np.random.default_rng(seed)
    estimate = {"mean": np.mean, "median": np.median}[statistic]
    alpha = 1 - confidence_level
    percentiles = [100 * alpha / 2, 100 * (1 - alpha / 2)]
    records = []
    for (head, label), group in lengths.groupby(["head_idx", "neighbor_label"]):
        values = group["length_scale"].to_numpy()
        estimates = []
        for _ in range(n_resamples):
            drawn = generator.integers(0, values.size, size=values.size)
            estimates.append(estimate(values[drawn]))
        lower, upper = np.percentile(estimates, percentiles)
        records.append((head, label, estimate(values), lower, upper, values.size))
    columns = ["head_idx", "neighbor_label", "point_estimate", "ci_lower", "ci_upper", "n_samples"]
    return pd.DataFrame(records, columns=columns)
