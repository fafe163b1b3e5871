"""Reservoirs with trained readouts: FORCE, and local learning of what comes when."""

from spikesim.reservoir.closed_loop import Fit, fitted, train
from spikesim.reservoir.rls import RLS
from spikesim.reservoir.subspaces import leading, principal_angles, shuffled_angles
from spikesim.reservoir.task import Prediction
from spikesim.reservoir.three_factor import ThreeFactor
from spikesim.reservoir.what_when import Trials, fit, learn, peaks, record, trials_to_follow

__all__ = [
    "RLS",
    "Fit",
    "Prediction",
    "ThreeFactor",
    "Trials",
    "fit",
    "fitted",
    "leading",
    "learn",
    "peaks",
    "principal_angles",
    "record",
    "shuffled_angles",
    "train",
    "trials_to_follow",
]
