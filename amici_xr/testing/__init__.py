"""Seeded simulators of Datasets and tissues, and Hypothesis strategies that draw valid Datasets."""

from amici_xr.testing.simulation import simulate_dataset
from amici_xr.testing.strategies import datasets
from amici_xr.testing.tissues import plant_steps, simulate_tissue

__all__ = ["datasets", "plant_steps", "simulate_dataset", "simulate_tissue"]
