"""Genes of a finding: those that the tissue, refits or a model name, the strongest first."""

from __future__ import annotations

import numpy as np
import xarray as xr

from amici_xr.findings.sentences import GeneChange

MOST_GENES = 5  # of a finding
_LEAST_SHARE = 0.25  # of the model's largest effect, that a gene has to be named


def genes_of_tissue(of_tissue: xr.Dataset, level: float) -> tuple[list[GeneChange], int]:
    """Return the genes of the tissue that respond, those with the smallest q and largest effect."""
    effect, q = of_tissue["effect"].values, of_tissue["gene_q_value"].values
    order = np.lexsort((-np.abs(effect), q))
    order = order[q[order] < level]
    is_spillover = of_tissue["may_be_spillover"].values
    genes = of_tissue["gene"].values
    return [
        GeneChange(str(genes[gene]), float(effect[gene]), bool(is_spillover[gene]))
        for gene in order[:MOST_GENES]
    ], order.size


def genes_of_model(
    effect: xr.DataArray, of_tissue: xr.Dataset | None
) -> tuple[list[GeneChange], int]:
    """Return the genes that the model changes most, at least a quarter of the largest change."""
    size = np.abs(effect.values)
    order = np.argsort(-size, kind="stable")
    order = order[(size[order] > 0) & (size[order] >= _LEAST_SHARE * np.nanmax(size))]
    leaking = _leaking_genes(of_tissue)
    names = [str(name) for name in effect["gene"].values]
    return [
        GeneChange(names[gene], float(effect.values[gene]), names[gene] in leaking)
        for gene in order[:MOST_GENES]
    ], order.size


def genes_of_refits(
    of_refits: xr.Dataset,
    effect: xr.DataArray | None,
    of_tissue: xr.Dataset | None,
    level: float,
) -> tuple[list[GeneChange], int]:
    """Return the genes that are predicted better, with the model's direction where there is one."""
    q = of_refits["gene_q_value"].values
    order = np.lexsort((-of_refits["gene_gain"].values, q))
    order = order[q[order] < level]
    names = [str(name) for name in of_refits["gene"].values]
    leaking = _leaking_genes(of_tissue)
    changes = np.full(len(names), np.nan)
    if effect is not None:
        changes = effect.reindex(gene=of_refits["gene"]).values
    genes = [
        GeneChange(names[gene], float(changes[gene]), names[gene] in leaking)
        for gene in order[:MOST_GENES]
    ]
    return genes, order.size


def _leaking_genes(of_tissue: xr.Dataset | None) -> set[str]:
    if of_tissue is None:
        return set()
    is_leaking = of_tissue["may_be_spillover"].values.astype(bool)
    return set(map(str, of_tissue["gene"].values[is_leaking]))
