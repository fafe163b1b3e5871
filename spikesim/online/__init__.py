"""Training that runs forward in time alone: e-prop and OTTT, in memory that is flat in time."""

from spikesim.online.allocated import PeakMemory
from spikesim.online.learn import Learned, learn, step_loss
from spikesim.online.online import Online
from spikesim.online.standardised import ScaledWSConv2d, ScaledWSLinear

__all__ = [
    "Learned",
    "Online",
    "PeakMemory",
    "ScaledWSConv2d",
    "ScaledWSLinear",
    "learn",
    "step_loss",
]
