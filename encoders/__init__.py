"""Encoders: static values ``[B, ...]`` or a series ``[T, B, ...]`` to spikes ``[T, B, ...]``."""

from spikesim.encoders.base import Encoder
from spikesim.encoders.burst import Burst
from spikesim.encoders.delta import Delta, on_off
from spikesim.encoders.direct import Direct
from spikesim.encoders.latency import Latency
from spikesim.encoders.phase import Phase
from spikesim.encoders.population import Population
from spikesim.encoders.rate import Rate

__all__ = [
    "Burst",
    "Delta",
    "Direct",
    "Encoder",
    "Latency",
    "Phase",
    "Population",
    "Rate",
    "on_off",
]
