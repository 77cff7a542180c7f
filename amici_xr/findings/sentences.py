"""One finding in words: the genes of a pair, its distances and the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from amici_xr.uncertainty.evidence import PHRASES

LEAST_Q = 1e-10  # of smaller ones no more is known than that
CONFOUNDERS = (
    "Not excluded by any evidence: expression that follows niches finer than 30 µm, and "
    "transcripts that spill over between touching cells; senders that always come together share "
    "their gain."
)


@dataclass(frozen=True)
class GeneChange:
    """A gene that receivers express more of near the sender (above 0), or less of.

    NaN where the direction is not known.
    """

    name: str
    effect: float
    may_be_spillover: bool = False

    def __str__(self) -> str:
        """Return the gene with its direction, and a star where it may be spillover."""
        arrow = "" if np.isnan(self.effect) else "↑" if self.effect > 0 else "↓"
        return f"{arrow}{self.name}{'*' if self.may_be_spillover else ''}"


@dataclass(frozen=True)
class Finding:
    """A pair of receiver and sender that evidence supports, with what is known of it."""

    receiver: str
    sender: str
    genes: Sequence[GeneChange]  # the strongest ones
    n_genes: int  # all that respond
    is_predicted: bool  # the genes are those of the model, not of the tissue
    q_by_kind: Mapping[str, float]  # of the kinds that support the pair
    radius: float = np.nan  # µm
    reach: float = np.nan
    effect_reach: float = np.nan
    unit: str = ""  # of reach and effect_reach
    may_be_spillover: bool | None = None
    may_be_niche: bool | None = None
    stands_with: str = ""

    @property
    def q(self) -> float:
        """Return the smallest q of the kinds that support the pair."""
        return min(self.q_by_kind.values())

    @property
    def direction(self) -> str:
        """Say whether the genes go up or down near the sender."""
        is_up = [gene.effect > 0 for gene in self.genes if not np.isnan(gene.effect)]
        if any(is_up):
            return "up" if all(is_up) else "both"
        return "down" if is_up else ""

    def sentence(self) -> str:
        """Tell the finding as one would tell it to a colleague."""
        within = f" (within {self.radius:.3g} µm)" if np.isfinite(self.radius) else ""
        parts = [
            f"{_cells(self.receiver)} near {self.sender}{within} {self._response()} "
            f"({self._evidence()})"
        ]
        if self.may_be_spillover:
            parts.append(f"transcripts leaking from {self.sender} could explain this")
        if self.may_be_niche:
            parts.append("it is not significant at the same composition of the niche")
        if self.stands_with:
            others = _listed(self.stands_with.split("; "))
            parts.append(f"mostly the same cells stand near {others}: one finding, not several")
        if np.isfinite(self.effect_reach):
            parts.append(f"the model's effect halves by {self.effect_reach:.3g} {self.unit}")
        elif np.isfinite(self.reach):
            parts.append(f"the model's attention reaches {self.reach:.3g} {self.unit}")
        return "; ".join(part.rstrip() for part in parts) + "."

    def _response(self) -> str:
        more = [gene.name for gene in self.genes if gene.effect > 0]
        less = [gene.name for gene in self.genes if gene.effect <= 0]
        unsigned = [gene.name for gene in self.genes if np.isnan(gene.effect)]
        if not self.genes:
            if "tissue" in self.q_by_kind:
                return "differ in expression from those farther away, in no single gene"
            return "are predicted better by models that see them"
        changes = [f"{word} {_listed(names)}" for word, names in (("more", more), ("less", less))
                   if names]  # fmt: skip
        if not changes:
            return f"are predicted better in {_listed(unsigned)} by models that see them"
        n_further = self.n_genes - len(self.genes)
        further = f", with {n_further} more gene{'s' * (n_further > 1)}" if n_further > 0 else ""
        verb = "are predicted to express" if self.is_predicted else "express"
        return f"{verb} {' and '.join(changes)}{further}"

    def _evidence(self) -> str:
        kinds = (f"{format_q(q)} from {PHRASES[kind]}" for kind, q in self.q_by_kind.items())
        return ", ".join(kinds)


def format_q(q: float) -> str:
    """Write a q with as many digits as mean something."""
    return f"q < {LEAST_Q:g}" if q < LEAST_Q else f"q = {q:.2g}"


def _cells(name: str) -> str:
    """Name the cells of a type, whose name may be a plural already."""
    return name if name.endswith("s") else f"{name} cells"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
