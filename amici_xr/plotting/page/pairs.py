"""The list of pairs on the page: those with evidence first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from amici_xr.plotting.shared.evidence_marks import is_spillover
from amici_xr.uncertainty.evidence import WORDS, join_evidence


def list_pairs(
    queries: Sequence[str],
    labels: Sequence[str],
    evidence: Mapping[str, xr.Dataset],
    significance_level: float,
) -> list[dict[str, Any]]:
    """Return each pair of two types with its evidence, the smallest q of the supported first."""
    if not evidence:
        return []
    bare = xr.Dataset(coords={"query": list(queries), "label": list(labels)})
    pairs = join_evidence(bare, evidence, significance_level)
    pairs["may_be_spillover"] = is_spillover(pairs)
    listed = [
        _pair(pairs.isel(query=row, label=column), row, column)
        for row, query in enumerate(queries)
        for column, label in enumerate(labels)
        if query != label
    ]
    order = ("supported", "not_supported", "not_tested")
    return sorted(listed, key=lambda pair: (order.index(pair["evidence"]), pair["smallest_q"]))


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
