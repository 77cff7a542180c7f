"""Evidence for pairs of receiver and sender: its kinds, read, aligned by names and joined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.kinds import kind_of
from amici_xr.dataset.response_structure import check_response
from amici_xr.errors import SchemaError, check_fraction, listed

# The word for each kind of evidence, in the order in which they are listed.
WORDS = {
    "distance_response": "tissue",
    "prediction_gain": "held_out_gain",
    "sender_refits": "refits",
}
PHRASES = {
    "tissue": "the tissue alone",
    "held_out_gain": "gains on held-out cells",
    "refits": "refits without the sender",
}
NOT_GIVEN = "not_in_evidence"  # status of a pair that the evidence does not hold
SAME_TYPE = "same_type"
STRICT = "q_value_strict_tissue"
_PAIR = ("query", "label")
_TESTED = ("tested", "held_out")
_REQUIRED = {"q_value", "status"}
_FURTHER = ("q_value_strict",)
_RULE = (
    "supported where q of any kind is below significance_level, except that a gain on held-out "
    "cells alone does not support a pair that refits tested and did not support; not_tested where "
    "no kind tested the pair; else not_supported"
)

Evidence = xr.Dataset | Sequence[xr.Dataset]


def is_evidence(ds: object) -> bool:
    """Tell whether this is a Dataset of one of the kinds of evidence."""
    return isinstance(ds, xr.Dataset) and kind_of(ds) in WORDS


def read_evidence(evidence: Evidence | None) -> dict[str, xr.Dataset]:
    """Check evidence of one or several kinds, and return each by its word.

    Parameters
    ----------
    evidence
        Results of `distance_response`, `prediction_gain` on held-out cells or refits, at most one
        of each kind.

    Returns
    -------
    dict
        Datasets in memory, dims (query, label): ``q_value``, ``status`` and, of a distance
        response that has it, ``q_value_strict``.

    Raises
    ------
    TypeError
        If `evidence` is not a Dataset or a sequence of Datasets.
    SchemaError
        If a Dataset is not evidence, or its gains are in-sample.
    ValueError
        If two Datasets are of one kind, or one has further dims.
    """
    read: dict[str, xr.Dataset] = {}
    for ds in datasets_of(evidence):
        word = _word_of(ds)
        if word in read:
            raise ValueError(
                f"evidence holds two Datasets of the kind {word!r}; give one of each kind"
            )
        read[word] = _pairs_of(ds, word)
    return {word: read[word] for word in WORDS.values() if word in read}


def datasets_of(evidence: Evidence | None) -> list[xr.Dataset]:
    """Return none, one or several Datasets as a list."""
    if evidence is None:
        return []
    if isinstance(evidence, xr.Dataset):
        return [evidence]
    if isinstance(evidence, str | Mapping) or not isinstance(evidence, Iterable):
        kind = type(evidence).__name__
        raise TypeError(
            f"evidence must be an xarray.Dataset or several in a list, not {kind}; "
            "open_dataset reads one from its file"
        )
    return list(evidence)


def _word_of(ds: object) -> str:
    if not isinstance(ds, xr.Dataset):
        raise TypeError(f"evidence must hold xarray.Datasets, not {type(ds).__name__}")
    kind = kind_of(ds)
    if kind not in WORDS:
        raise SchemaError(
            f"evidence holds a Dataset of the kind {kind!r}, which is not evidence; give results "
            "of distance_response, of prediction_gain on held-out cells or of leave_out_senders "
            "(amici-xr glossary evidence explains the words)"
        )
    return WORDS[kind]


def _pairs_of(ds: xr.Dataset, word: str) -> xr.Dataset:
    """Return what tells which pairs are supported, in memory, dims (query, label)."""
    if word == "tissue":
        check_response(ds)
    if word == "held_out_gain" and "status" in ds and (ds["status"] == "in_sample").any():
        raise SchemaError(
            "these prediction gains are in-sample, which is no evidence: a model explains the "
            "cells that it was trained on even in a permuted tissue; pass those of "
            "prediction_gain(ds, held_out=True) (amici-xr glossary gain explains the words)"
        )
    missing = sorted(_REQUIRED - set(map(str, ds.variables)))
    missing += [dim for dim in _PAIR if dim not in ds.coords]
    if missing:
        raise SchemaError(f"evidence of the kind {word!r} lacks {listed(missing)}; compute it anew")
    pairs = ds[[name for name in (*_REQUIRED, *_FURTHER) if name in ds]].reset_coords(drop=True)
    if further := sorted(map(str, set(pairs.dims) - set(_PAIR))):
        raise ValueError(
            f"evidence of the kind {word!r} has a {further[0]} dim; take one, e.g. "
            f"evidence.isel({further[0]}=0)"
        )
    pairs = pairs.assign_coords({dim: ds[dim] for dim in _PAIR}).compute()
    pairs = pairs.expand_dims([dim for dim in _PAIR if dim not in pairs.dims]).transpose(*_PAIR)
    for dim in _PAIR:
        if not (index := pairs.indexes[dim]).is_unique:
            repeated = index[index.duplicated()].unique()
            raise ValueError(f"{dim} of the evidence {word!r} holds {listed(repeated)} twice")
    return pairs


def check_types(types: Iterable[object], evidence: Mapping[str, xr.Dataset]) -> None:
    """Refuse evidence whose cell types go by other names than `types`.

    Either may hold types that the other lacks, such as evidence of some receivers alone; where
    both do, their names differ.
    """
    known = {str(name) for name in types}
    for word, pairs in evidence.items():
        named = {str(name) for dim in _PAIR for name in pairs[dim].values}
        if known - named and named - known:
            raise ValueError(
                f"evidence of the kind {word!r} is of other cell types than ds: it holds "
                f"{listed(sorted(named))}, and ds {listed(sorted(known))}; give evidence from the "
                "same tissue and labels_key"
            )


def types_of(ds: xr.Dataset) -> list[str]:
    """Return the cell types that a Dataset of scores, or an atlas, knows."""
    names = [np.ravel(ds[name].values) for name in (*_PAIR, "cell_type") if name in ds.coords]
    return sorted({str(name) for values in names for name in values})


def join_evidence(
    pairs: xr.Dataset, evidence: Mapping[str, xr.Dataset], significance_level: float
) -> xr.Dataset:
    """Add q of each kind to a Dataset of pairs, and whether the pair is supported.

    Parameters
    ----------
    pairs
        The Dataset, with coordinates ``query`` and ``label``, each a dim or a scalar.
    evidence
        What `read_evidence` returns; without any, `pairs` are returned as they are.
    significance_level
        Value of q below which a kind supports a pair, strictly between 0 and 1.

    Returns
    -------
    xarray.Dataset
        `pairs` with ``q_value_tissue``, ``q_value_held_out_gain`` and ``q_value_refits``, those
        given, ``q_value_strict_tissue`` where the response has it, ``evidence`` and
        ``supported_by``.
    """
    level = check_fraction("significance_level", significance_level)
    if not evidence:
        return pairs
    names = {dim: np.atleast_1d(pairs[dim].values).astype(str) for dim in _PAIR}
    aligned = {word: _align(found, names) for word, found in evidence.items()}
    joined = _support_by_kind(aligned, level)
    scalar = {dim: 0 for dim in _PAIR if dim not in pairs.dims}
    joined = joined.isel(scalar)
    return pairs.assign({name: joined[name].variable for name in joined}).assign_attrs(
        significance_level=level
    )


def status_of_pairs(pairs: xr.Dataset, names: Mapping[str, NDArray[np.str_]]) -> NDArray[np.str_]:
    """Return for each named pair, (query, label), "tested" or the word why one kind did not."""
    found = _align(pairs, names)
    status = found["status"].values.astype(str)
    return np.where(_is_tested(found).values, "tested", status)


def _align(found: xr.Dataset, names: Mapping[str, NDArray[np.str_]]) -> xr.Dataset:
    found = found.assign_coords({dim: found[dim].astype(str) for dim in _PAIR})
    found = found.assign(status=found["status"].astype(object))
    return found.reindex(dict(names), fill_value={"status": NOT_GIVEN})


def _is_tested(found: xr.Dataset) -> xr.DataArray:
    return found["status"].isin(_TESTED) & found["q_value"].notnull()


def _support_by_kind(aligned: Mapping[str, xr.Dataset], level: float) -> xr.Dataset:
    """Return q of each kind, ``evidence`` and ``supported_by``, dims (query, label)."""
    is_tested = {word: _is_tested(found) for word, found in aligned.items()}
    q = {word: found["q_value"].where(is_tested[word]) for word, found in aligned.items()}
    supports = {word: values < level for word, values in q.items()}
    if {"held_out_gain", "refits"} <= supports.keys():  # senders stand in for each other
        supports["held_out_gain"] &= ~is_tested["refits"] | supports["refits"]
    result = xr.Dataset({f"q_value_{word}": values for word, values in q.items()})
    for word in aligned:
        attributes = {"long_name": f"q from {PHRASES[word]}", "units": "1"}
        result[f"q_value_{word}"].attrs = attributes
    if "tissue" in aligned and "q_value_strict" in aligned["tissue"]:
        result[STRICT] = aligned["tissue"]["q_value_strict"].where(is_tested["tissue"])
        long_name = "q from the tissue alone, of genes that spillover can't explain"
        result[STRICT].attrs = {"long_name": long_name, "units": "1"}
    is_any_tested = xr.concat(list(is_tested.values()), "kind").any("kind")
    words = np.array(list(supports))
    by_pair = np.stack([values.values for values in supports.values()], axis=-1)
    lists = [",".join(words[chosen]) for chosen in by_pair.reshape(-1, words.size)]
    supported_by = np.reshape(np.array(lists, dtype=np.str_), by_pair.shape[:-1])
    choices = [supported_by != "", is_any_tested.values]
    state = np.select(choices, ["supported", "not_supported"], "not_tested")
    result["evidence"] = (_PAIR, state, {"long_name": "evidence for the pair", "rule": _RULE})
    long_name = "kinds of evidence that support the pair"
    result["supported_by"] = (_PAIR, supported_by, {"long_name": long_name})
    return result
