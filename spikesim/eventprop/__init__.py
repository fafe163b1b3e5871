"""Event-based training: exact gradients of spike times by weights and delays (EventProp).

Spikes are lists of times, no steps with surrogate gradients: between events membranes have a closed
form, and so has the adjoint that runs back from one spike to the one before.
"""

from spikesim.eventprop.functional import cuba_lif
from spikesim.eventprop.layer import EventLIF
from spikesim.eventprop.penalty import count_penalty
from spikesim.eventprop.readout import EventReadout
from spikesim.eventprop.recipe import SHD_FEED_FORWARD, SHD_RECURRENT, SSC, EventNetwork, Recipe
from spikesim.eventprop.spikes import Spikes
from spikesim.eventprop.yin_yang import yin_yang

__all__ = [
    "SHD_FEED_FORWARD",
    "SHD_RECURRENT",
    "SSC",
    "EventLIF",
    "EventNetwork",
    "EventReadout",
    "Recipe",
    "Spikes",
    "count_penalty",
    "cuba_lif",
    "yin_yang",
]
