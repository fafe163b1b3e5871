"""Networks that multiply with what changed: the Delta Activation Layer."""

from spikesim.delta.activation import DeltaActivation, L1Activation
from spikesim.delta.incremental import Incremental, incremental
from spikesim.delta.sparsity import Sparsity, measured

__all__ = [
    "DeltaActivation",
    "Incremental",
    "L1Activation",
    "Sparsity",
    "incremental",
    "measured",
]
