"""Neuron models, each written once as a pure step."""

from spikesim.neurons.lif import LIF

__all__ = ["LIF"]
