"""Encoders: static values ``[B, ...]`` or a series ``[T, B, ...]`` to spikes ``[T, B, ...]``.

Of sound, ``[B, samples]``: :class:`Cochlea` (spikes) and :class:`MelSpectrogram` (decibels).
"""

from spikesim.encoders.base import Encoder
from spikesim.encoders.burst import Burst
from spikesim.encoders.cochlea import Cochlea
from spikesim.encoders.delta import Delta, on_off
from spikesim.encoders.direct import Direct
from spikesim.encoders.latency import Latency
from spikesim.encoders.markov import Markov
from spikesim.encoders.mel import MelSpectrogram, mel_filters
from spikesim.encoders.phase import Phase
from spikesim.encoders.population import Population
from spikesim.encoders.rate import Rate

__all__ = [
    "Burst",
    "Cochlea",
    "Delta",
    "Direct",
    "Encoder",
    "Latency",
    "Markov",
    "MelSpectrogram",
    "Phase",
    "Population",
    "Rate",
    "mel_filters",
    "on_off",
]
