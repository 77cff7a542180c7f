"""Seeded simulators of Datasets, tissues and models; Hypothesis strategies of valid Datasets."""

from amici_xr.testing.models import simulate_model
from amici_xr.testing.planted_steps import plant_steps
from amici_xr.testing.simulation import simulate_dataset
from amici_xr.testing.strategies import datasets
from amici_xr.testing.tissues import simulate_tissue

__all__ = ["datasets", "plant_steps", "simulate_dataset", "simulate_model", "simulate_tissue"]
