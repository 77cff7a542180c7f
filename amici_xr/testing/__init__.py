"""Seeded simulators of Datasets and Hypothesis strategies that draw valid ones."""

from amici_xr.testing.simulation import simulate_dataset
from amici_xr.testing.strategies import datasets

__all__ = ["datasets", "simulate_dataset"]
