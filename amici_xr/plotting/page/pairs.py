"""The list of pairs on the page: those with evidence first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from amici_xr.findings.text import Summary
from amici_xr.plotting.shared.evidence_marks import is_spillover
from amici_xr.uncertainty.evidence import WORDS, join_evidence


def list_pairs(
    queries: Sequence[str],
    labels: Sequence[str],
    evidence: Mapping[str, xr.Dataset],
    findings: Summary | None,
) -> list[dict[str, Any]]:
    """Return each pair of two types with its evidence, the smallest q of the supported first.

    Genes, reach and the reach of the effect are those of the findings.
    """
    if not evidence or findings is None:
        return []
    told = {
        (row["receiver"], row["sender"]): row
        for table in (findings.table, findings.not_supported)
        for row in table.to_dict("records")
    }
    bare = xr.Dataset(coords={"query": list(queries), "label": list(labels)})
    pairs = join_evidence(bare, evidence, findings.significance_level)
    pairs["may_be_spillover"] = is_spillover(pairs)
    listed = [
        _pair(pairs.isel(query=row, label=column), row, column)
        | _told_of(told.get((query, label), {}))
        for row, query in enumerate(queries)
        for column, label in enumerate(labels)
        if query != label
    ]
    order = ("supported", "not_supported", "not_tested")
    return sorted(listed, key=lambda pair: (order.index(pair["evidence"]), pair["smallest_q"]))


def _told_of(finding: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what the findings tell of a pair: text, and numbers or None."""
    genes = finding.get("genes")
    numbers = {name: finding.get(name, np.nan) for name in ("reach", "effect_reach")}
    return {"genes": genes if isinstance(genes, str) else ""} | {
        name: float(value) if np.isfinite(value) else None for name, value in numbers.items()
    }


def _pair(pair: xr.Dataset, row: int, column: int) -> dict[str, Any]:
    state, kinds = pair["evidence"].item(), pair["supported_by"].item()
    q = {
        word: float(pair[f"q_value_{word}"]) for word in WORDS.values() if f"q_value_{word}" in pair
    }
    known = {word: value for word, value in q.items() if np.isfinite(value)}
    counted = [known[word] for word in kinds.split(",") if word in known] or known.values()
    return {
        "query": row,
        "label": column,
        "evidence": state,
        "supported_by": kinds,
        "q": known,
        "smallest_q": min(counted, default=2.0),
        "may_be_spillover": bool(pair["may_be_spillover"]),
    }
