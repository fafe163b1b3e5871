"""The Expressive Leaky Memory neuron, and the task of two words added."""

from spikesim.elm.adding import adding
from spikesim.elm.neuron import ELM
from spikesim.elm.routing import random_routing, windows

__all__ = ["ELM", "adding", "random_routing", "windows"]
