"""The interactive page: one HTML file that needs nothing else."""

from amici_xr.plotting.page.document import report

__all__ = ["report"]
