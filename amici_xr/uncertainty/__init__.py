"""How certain an answer is: intervals, training runs, contrasts, the atlas of all pairs."""

from amici_xr.uncertainty.contrasts import contrast
from amici_xr.uncertainty.intervals import bootstrap_ci
from amici_xr.uncertainty.length_scale_intervals import bootstrap
from amici_xr.uncertainty.pair_atlas import atlas
from amici_xr.uncertainty.prediction_gains import prediction_gain
from amici_xr.uncertainty.run_alignment import align_runs
from amici_xr.uncertainty.run_intervals import reach_across_runs

__all__ = [
    "align_runs",
    "atlas",
    "bootstrap",
    "bootstrap_ci",
    "contrast",
    "prediction_gain",
    "reach_across_runs",
]
