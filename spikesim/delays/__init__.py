"""Delays of synapses that learn."""

from spikesim.delays.add import add_delays
from spikesim.delays.conv import DelayedConv1d, DelayedConv2d
from spikesim.delays.functional import delayed
from spikesim.delays.groups import parameter_groups
from spikesim.delays.layer import Delayed
from spikesim.delays.linear import DelayedLinear
from spikesim.delays.recurrent import DelayedRecurrent
from spikesim.delays.schedule import WidthSchedule

__all__ = [
    "Delayed",
    "DelayedConv1d",
    "DelayedConv2d",
    "DelayedLinear",
    "DelayedRecurrent",
    "WidthSchedule",
    "add_delays",
    "delayed",
    "parameter_groups",
]
