"""The findings of a study as a text, for a terminal and for a notebook."""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass

import pandas as pd

from amici_xr.findings.sentences import CONFOUNDERS

NO_EVIDENCE = "No evidence was given: distance_response(adata, …) tests pairs."
_MOST_PAIRS = 12  # that are listed in a line
_WIDTH = 100  # characters of a line


@dataclass(frozen=True)
class Summary:
    """What `summary` returns: findings, and what is not supported or was not tested.

    Attributes
    ----------
    table
        A row for each pair that evidence supports, the smallest q first: ``receiver``, ``sender``,
        ``genes`` (the strongest, with an arrow that tells their change near the sender, and a star
        where spillover could explain it), ``direction`` ("up", "down" or "both"), ``radius`` (of
        the tissue's response, in µm), ``reach`` (the largest length scale of a head whose status
        is "reachable") and ``effect_reach`` (where the model's effect halves), both in the unit of
        the scores, ``q`` (the smallest of the kinds that support the pair), ``supported_by``,
        ``may_be_spillover`` and ``may_be_niche``; NaN or NA where it is not known.
    sentences
        One for each row.
    not_supported
        Pairs that were tested, or that the model reaches, and that no evidence supports, the
        longest reach first: ``receiver``, ``sender``, ``reach``, ``effect_reach``, ``q`` (the
        smallest) and ``is_tested``.
    not_tested
        Number of ``pairs`` that each ``kind`` of evidence did not test, by ``status``, without
        pairs of a type with itself.
    significance_level
        Value of q below which a pair is supported.

    Examples
    --------
    >>> import amici_xr
    >>> tissue = amici_xr.testing.simulate_tissue(n_cells=900, n_types=3, n_genes=9, n_pairs=1)
    >>> response = amici_xr.distance_response(tissue, "cell_type", progress=False)
    >>> str(amici_xr.summary(response)).splitlines()[0]
    '1 pair with evidence (q < 0.05).'
    """

    table: pd.DataFrame
    sentences: list[str]
    not_supported: pd.DataFrame
    not_tested: pd.DataFrame
    significance_level: float

    def __str__(self) -> str:
        """Return the findings as numbered sentences, and what is not supported or tested."""
        title, *rest = self._paragraphs()
        numbered = [f"{number}. {text}" for number, text in enumerate(self.sentences, start=1)]
        lines = [textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False,
                               subsequent_indent="   ") for text in numbered]  # fmt: skip
        return "\n\n".join([title, *(["\n".join(lines)] if lines else []), *map(_wrapped, rest)])

    def _repr_html_(self) -> str:
        """Show the same in a notebook, with the table."""
        title, *rest = map(html.escape, self._paragraphs())
        items = "".join(f"<li>{html.escape(text)}</li>" for text in self.sentences)
        parts = [f"<p>{title}</p>"]
        if items:
            table = self.table.to_html(index=False, na_rep="–", float_format="{:.3g}".format)
            parts += [f"<ol>{items}</ol>", table]
        return "\n".join([*parts, *(f"<p>{text}</p>" for text in rest)])

    def _paragraphs(self) -> list[str]:
        """Return the title, and what follows the findings."""
        n_found = len(self.sentences)
        title = f"{n_found} pair{'s' * (n_found != 1)} with evidence"
        paragraphs = [f"{title} (q < {self.significance_level:g})."]
        if (self.not_tested["kind"] == "").any():
            paragraphs.append(NO_EVIDENCE)
        paragraphs += self._say_not_supported()
        untested = self.not_tested[self.not_tested["kind"] != ""]
        if len(untested):
            counts = (f"{row.pairs} {row.status} ({row.kind})" for row in untested.itertuples())
            paragraphs.append(f"Not tested: {', '.join(counts)}.")
        return [*paragraphs, *([CONFOUNDERS] if n_found else [])]

    def _say_not_supported(self) -> list[str]:
        """Return a line on pairs that were tested, and one on those that were reached alone."""
        is_tested = self.not_supported["is_tested"]
        tested, reached = self.not_supported[is_tested], self.not_supported[~is_tested]
        lines = []
        if len(tested):
            n_pairs = f"{len(tested)} pair{'s' * (len(tested) != 1)}"
            names = _reached_pairs(tested)
            names = f", of which the model reaches {names}" if names else ""
            lines.append(f"Tested, and not supported: {n_pairs}{names}.")
        if len(reached):
            lines.append(f"Reached by the model, and not tested: {_reached_pairs(reached)}.")
        return lines


def _reached_pairs(pairs: pd.DataFrame) -> str:
    """List the pairs that the model reaches, with the reach."""
    reached = pairs.dropna(subset="reach")
    names = [f"{row.sender} → {row.receiver} ({row.reach:.3g})"
             for row in reached.head(_MOST_PAIRS).itertuples()]  # fmt: skip
    further = len(reached) - len(names)
    return ", ".join(names) + (f" and {further} more" if further else "")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
