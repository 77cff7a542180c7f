"""The kinds of Dataset that this package makes, and how each is told from the others."""

from __future__ import annotations

from typing import Literal

import xarray as xr

from amici_xr.dataset.response_schema import RESPONSE_SCHEMA
from amici_xr.dataset.schema import SCHEMA

Kind = Literal[
    "scores",
    "distance_response",
    "prediction_gain",
    "sender_refits",
    "training_history",
    "answer",
    "unknown",
]

KIND = "dataset_kind"  # attribute by which a Dataset declares its kind; scores need none
EVIDENCE_OF_PAIRS = ("prediction_gain", "sender_refits")  # from models, without a schema
_DECLARED = ("distance_response", *EVIDENCE_OF_PAIRS, "training_history")
_WITHOUT_SCHEMA = ("answer", *EVIDENCE_OF_PAIRS, "training_history")
# Every Dataset of scores, and every answer to a question about one, names its query and one more.
QUERY_NAMES = {"query", "query_label", "queries"}
BESIDE_QUERY = {
    "head",
    "head_idx",
    "label",
    "neighbor",
    "receiver",
    "threshold",
    "distance",
    "gene",
}
_SCORES = {row.name for row in SCHEMA.values() if row.is_required and not row.is_coordinate}
_RESPONSE = {row.name for row in RESPONSE_SCHEMA.values() if row.is_required}


def is_response(ds: object) -> bool:
    """Tell whether this is a distance response."""
    return isinstance(ds, xr.Dataset) and kind_of(ds) == "distance_response"


def has_no_schema(ds: object) -> bool:
    """Tell whether it is a reduction of scores or a history, which has no schema but its names."""
    return isinstance(ds, xr.Dataset) and kind_of(ds) in _WITHOUT_SCHEMA


def kind_of(ds: xr.Dataset) -> Kind:
    """Return the kind that a Dataset declares, or else that of its variables.

    An answer is a reduction such as that of `bootstrap`. "unknown" is a kind that this version of
    the package does not know. What is none of them counts as scores, whose validation says what
    is missing.
    """
    declared = ds.attrs.get(KIND)
    if declared in _DECLARED:
        return declared  # type: ignore[no-any-return]  # one of these
    if declared not in (None, "scores"):
        return "unknown"
    names = set(map(str, ds.variables))
    if names & _SCORES:
        return "scores"
    if names >= _RESPONSE:
        return "distance_response"
    return "answer" if names & QUERY_NAMES and names & BESIDE_QUERY else "scores"
