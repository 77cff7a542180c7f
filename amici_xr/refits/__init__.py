"""Refits: models without each sender tell which senders they need."""

from amici_xr.refits.pipeline import leave_out_senders

__all__ = ["leave_out_senders"]
