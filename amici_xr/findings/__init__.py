"""Findings: what model, tissue and evidence say together, pair by pair and in words."""

from amici_xr.findings.agreement_with_tissue import compare_with_tissue
from amici_xr.findings.supported_pairs import summary
from amici_xr.findings.text import Summary

__all__ = ["Summary", "compare_with_tissue", "summary"]
