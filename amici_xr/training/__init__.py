"""Training: a tissue becomes trained models, many at once."""

from amici_xr.training.pipeline import train
from amici_xr.training.runs import TrainedModel, TrainedRuns, load_runs

__all__ = ["TrainedModel", "TrainedRuns", "load_runs", "train"]
