"""Early exit: a sample stops as soon as the network is sure enough of its class."""

from spikesim.early_exit.calibration import (
    Calibration,
    Point,
    accuracy_by_step,
    calibrate,
    curve,
    expected_calibration_error,
    pareto,
)
from spikesim.early_exit.carried import Carried, Stepper
from spikesim.early_exit.confidence import DynamicConfidence, Exits
from spikesim.early_exit.conversion import HalfChargedIF, Levels, to_spiking
from spikesim.early_exit.counts import counts_until_exit
from spikesim.early_exit.oracle import Oracle, oracle
from spikesim.early_exit.paired import Difference, paired_difference

__all__ = [
    "Calibration",
    "Carried",
    "Difference",
    "DynamicConfidence",
    "Exits",
    "HalfChargedIF",
    "Levels",
    "Oracle",
    "Point",
    "Stepper",
    "accuracy_by_step",
    "calibrate",
    "counts_until_exit",
    "curve",
    "expected_calibration_error",
    "oracle",
    "paired_difference",
    "pareto",
    "to_spiking",
]
