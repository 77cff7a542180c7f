"""The findings of a study: pairs with evidence, as sentences and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from amici_xr.analysis.effect_reach import effect_length_scale
from amici_xr.analysis.effects import gene_effects
from amici_xr.dataset.kinds import is_response, kind_of
from amici_xr.dataset.schema import UNKNOWN_UNIT, distance_unit, has_effects
from amici_xr.dataset.selection import one_run
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import check_fraction
from amici_xr.findings.genes import genes_of_model, genes_of_refits, genes_of_tissue
from amici_xr.findings.sentences import Finding, GeneChange
from amici_xr.findings.text import Summary
from amici_xr.uncertainty.evidence import (
    STRICT,
    check_types,
    datasets_of,
    is_evidence,
    join_evidence,
    read_evidence,
    status_of_pairs,
    types_of,
)
from amici_xr.uncertainty.pair_atlas import atlas


def summary(
    ds: xr.Dataset | None = None,
    evidence: xr.Dataset | Sequence[xr.Dataset] | None = None,
    significance_level: float = 0.05,
    threshold: float = 0.5,
) -> Summary:
    """Sum up the findings as sentences and as a table: pairs, genes, distances, and how sure.

    A finding is a pair that evidence supports, by the rule of `atlas`; a reach alone is none. Genes
    and directions are those of the tissue, where the distance response supports the pair; else the
    genes that refits predict better, with the direction that the model gives them; else those that
    the model changes most. Then follows what was tested and not supported, and what was
    not tested.

    Parameters
    ----------
    ds
        Scores of a model, with neighborhoods; best with effects. Or the result of
        `distance_response`, or other evidence, alone: findings without a model. None takes
        `evidence` alone.
    evidence, significance_level
        As in `atlas`.
    threshold
        Attention threshold that defines the length scales, strictly between 0 and 1.

    Returns
    -------
    Summary
        Its `table`, `sentences`, `not_supported` and `not_tested`; printed, it is a text.

    Raises
    ------
    ValueError
        If there is neither a model nor evidence, `ds` holds several runs, an argument is out of
        range, or `evidence` is of other cell types.
    SchemaError
        If `ds` is neither scores with neighborhoods nor evidence, or `evidence` is not evidence.

    Examples
    --------
    >>> import amici_xr
    >>> tissue = amici_xr.testing.simulate_tissue(n_cells=900, n_types=3, n_genes=9, n_pairs=1)
    >>> response = amici_xr.distance_response(tissue, "cell_type", progress=False)
    >>> findings = amici_xr.summary(response)
    >>> findings.table[["receiver", "sender", "direction"]].values.tolist()
    [['type_0', 'type_2', 'both']]
    """
    level = check_fraction("significance_level", significance_level)
    threshold = check_fraction("threshold", threshold)
    given = datasets_of(evidence)
    model = None if is_evidence(ds) else ds
    if ds is not None and model is None:
        given = [ds, *given]
    kinds = read_evidence(given)
    if model is None and not kinds:
        raise ValueError(
            "there is neither a model nor evidence to sum up; pass the scores of extract as ds, "
            "the result of distance_response as evidence, or both"
        )
    pairs = _pairs_of_model(model, threshold, kinds) if model is not None else _named_pairs(kinds)
    pairs = join_evidence(pairs, kinds, level)
    response = next((_in_pairs(each) for each in given if is_response(each)), None)
    refits = next((each for each in given if kind_of(each) == "sender_refits"), None)
    effects = None
    if model is not None and has_effects(model):
        effects = _in_pairs(gene_effects(model)[["effect"]])
    unit = UNKNOWN_UNIT if model is None else distance_unit(model) or UNKNOWN_UNIT
    found = [
        _find(pairs.sel(query=query, label=label), response, refits, effects, level, unit)
        for query, label in _chosen(pairs, "supported")
    ]
    found.sort(key=lambda finding: (finding.q, finding.receiver, finding.sender))
    return Summary(
        table=_table(found),
        sentences=[finding.sentence() for finding in found],
        not_supported=_not_supported(pairs),
        not_tested=_not_tested(pairs, kinds),
        significance_level=level,
    )


def _pairs_of_model(
    ds: xr.Dataset, threshold: float, kinds: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """Return reach and reach of the effect of each pair, dims (query, label)."""
    check_structure(ds)
    one_run(ds, "a summary is of one model")
    check_types(types_of(ds), kinds)
    reached = atlas(ds, threshold)
    reach = reached["median_length_scale"].where(reached["status"] == "reachable")
    reach = reach.max("head") if "head" in reach.dims else reach
    pairs = xr.Dataset({"reach": reach, "effect_reach": xr.full_like(reach, np.nan)})
    if has_effects(ds):
        lengths = effect_length_scale(ds)["effect_length_scale"]
        pairs["effect_reach"] = lengths.reindex(label=pairs["label"])
    return _in_pairs(pairs.drop_attrs(deep=False))


def _named_pairs(kinds: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return the pairs of all kinds of evidence, without a reach."""
    names = {
        dim: list(
            dict.fromkeys(str(name) for found in kinds.values() for name in found[dim].values)
        )
        for dim in ("query", "label")
    }
    unknown = (("query", "label"), np.full([len(each) for each in names.values()], np.nan))
    return xr.Dataset({"reach": unknown, "effect_reach": unknown}, coords=names)


def _in_pairs(ds: xr.Dataset) -> xr.Dataset:
    """Return a Dataset in memory with both dims of pairs."""
    ds = ds.compute()
    return ds.expand_dims([dim for dim in ("query", "label") if dim not in ds.dims])


def _chosen(pairs: xr.Dataset, state: str) -> list[tuple[str, str]]:
    """Name the pairs of which the evidence says this; without evidence none was tested."""
    none = pairs["reach"].copy(data=np.full(pairs["reach"].shape, "not_tested"))
    is_chosen = (pairs.get("evidence", none) == state).transpose("query", "label").values
    names = (pairs["query"].values, pairs["label"].values)
    return [(names[0][row], names[1][column]) for row, column in np.argwhere(is_chosen)]


def _find(
    pair: xr.Dataset,
    response: xr.Dataset | None,
    refits: xr.Dataset | None,
    effects: xr.Dataset | None,
    level: float,
    unit: str,
) -> Finding:
    """Return what is known of one pair that evidence supports."""
    names = {"query": pair["query"].item(), "label": pair["label"].item()}
    kinds = pair["supported_by"].item().split(",")
    of_tissue = _select(response, names)
    genes: list[GeneChange] = []
    n_genes = 0
    further: dict[str, Any] = {}
    is_predicted = "tissue" not in kinds
    if not is_predicted and of_tissue is not None:
        genes, n_genes = genes_of_tissue(of_tissue, level)
        further = _doubts(pair, of_tissue, level)
    else:
        of_model, of_refits = _select(effects, names), _select(refits, names)
        effect = None if of_model is None else of_model["effect"]
        if "refits" in kinds and of_refits is not None and "gene_q_value" in of_refits:
            genes, n_genes = genes_of_refits(of_refits, effect, of_tissue, level)
        elif effect is not None:
            genes, n_genes = genes_of_model(effect, of_tissue)
        if genes and all(gene.may_be_spillover for gene in genes):
            further = {"may_be_spillover": True}
    return Finding(
        receiver=str(names["query"]),
        sender=str(names["label"]),
        genes=genes,
        n_genes=n_genes,
        is_predicted=is_predicted,
        q_by_kind={kind: float(pair[f"q_value_{kind}"]) for kind in kinds},
        reach=float(pair["reach"]),
        effect_reach=float(pair["effect_reach"]),
        unit=unit,
        **further,
    )


def _select(ds: xr.Dataset | None, names: Mapping[str, str]) -> xr.Dataset | None:
    if ds is None or any(name not in ds[dim].values for dim, name in names.items()):
        return None
    return ds.sel(names)


def _doubts(pair: xr.Dataset, of_tissue: xr.Dataset, level: float) -> dict[str, Any]:
    """Return the radius of a response, and what else could explain it."""
    doubts: dict[str, Any] = {}
    if "radius" in of_tissue:
        doubts["radius"] = float(of_tissue["radius"])
    if STRICT in pair:
        doubts["may_be_spillover"] = not float(pair[STRICT]) < level
    if "q_value_beyond_niche" in of_tissue:
        doubts["may_be_niche"] = not float(of_tissue["q_value_beyond_niche"]) < level
    if "stands_with" in of_tissue:
        doubts["stands_with"] = str(of_tissue["stands_with"].item())
    return doubts


def _table(found: Sequence[Finding]) -> pd.DataFrame:
    """Return a row for each finding."""
    texts = {
        "receiver": [finding.receiver for finding in found],
        "sender": [finding.sender for finding in found],
        "genes": [", ".join(map(str, finding.genes)) for finding in found],
        "direction": [finding.direction for finding in found],
    }
    distances = {
        name: np.array([getattr(finding, name) for finding in found], dtype=np.float64)
        for name in ("radius", "reach", "effect_reach", "q")
    }
    kinds = {"supported_by": [",".join(finding.q_by_kind) for finding in found]}
    doubts = {
        name: pd.array([getattr(finding, name) for finding in found], dtype="boolean")
        for name in ("may_be_spillover", "may_be_niche")
    }
    return pd.DataFrame({**texts, **distances, **kinds, **doubts})


def _not_supported(pairs: xr.Dataset) -> pd.DataFrame:
    """Return a row for each pair that was tested or is reached, without evidence."""
    kinds = [name for name in pairs if str(name).startswith("q_value_") and name != STRICT]
    rows = []
    for is_tested, state in ((True, "not_supported"), (False, "not_tested")):
        for query, label in _chosen(pairs, state):
            pair = pairs.sel(query=query, label=label)
            reach, effect_reach = float(pair["reach"]), float(pair["effect_reach"])
            q = float(np.fmin.reduce([float(pair[name]) for name in kinds], initial=np.nan))
            if is_tested or np.isfinite(reach):
                rows.append((str(query), str(label), reach, effect_reach, q, is_tested))
    columns = ["receiver", "sender", "reach", "effect_reach", "q", "is_tested"]
    table = pd.DataFrame(rows, columns=columns).astype({"is_tested": bool})
    return table.sort_values(["reach", "q"], ascending=[False, True], ignore_index=True)


def _not_tested(pairs: xr.Dataset, kinds: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """Count the pairs of two types that each kind did not test, by the reason."""
    names = {dim: pairs[dim].values.astype(str) for dim in ("query", "label")}
    differ = names["query"][:, np.newaxis] != names["label"]
    rows = [
        (kind, status, count)
        for kind, found in kinds.items()
        for status, count in sorted(Counter(status_of_pairs(found, names)[differ].tolist()).items())
        if status != "tested"
    ]
    if not kinds:
        rows = [("", "no_evidence", int(differ.sum()))]
    return pd.DataFrame(rows, columns=["kind", "status", "pairs"])
