"""Lempel-Ziv complexity of spike trains, and classification by it."""

from spikesim.complexity.classifier import ComplexityClassifier, LogisticReadout
from spikesim.complexity.entropy import bernoulli_entropy, markov_entropy
from spikesim.complexity.lempel_ziv import complexity, components, relative_complexity
from spikesim.complexity.trains import Trains, concatenated, pack_trains

__all__ = [
    "ComplexityClassifier",
    "LogisticReadout",
    "Trains",
    "bernoulli_entropy",
    "complexity",
    "components",
    "concatenated",
    "markov_entropy",
    "pack_trains",
    "relative_complexity",
]
