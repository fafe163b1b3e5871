"""Neuron models, each written once as a pure step."""

from spikesim.neurons.alif import ALIF
from spikesim.neurons.cuba_lif import CUBALIF
from spikesim.neurons.ilif import ILIF
from spikesim.neurons.integrate_and_fire import IF
from spikesim.neurons.izhikevich import Izhikevich
from spikesim.neurons.li import LI
from spikesim.neurons.lif import LIF
from spikesim.neurons.plif import PLIF

__all__ = ["ALIF", "CUBALIF", "IF", "ILIF", "LI", "LIF", "PLIF", "Izhikevich"]
