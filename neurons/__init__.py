"""Neuron models, each written once as a pure step."""

from spikesim.neurons.adex import AdEx
from spikesim.neurons.alif import ALIF
from spikesim.neurons.alif_cond_exp import ALIFCondExp
from spikesim.neurons.cuba_lif import CUBALIF
from spikesim.neurons.eif import EIF
from spikesim.neurons.hodgkin_huxley import HodgkinHuxley
from spikesim.neurons.ilif import ILIF
from spikesim.neurons.integrate_and_fire import IF
from spikesim.neurons.izhikevich import Izhikevich
from spikesim.neurons.izhikevich_2007 import Izhikevich2007
from spikesim.neurons.levy_baxter import LevyBaxter
from spikesim.neurons.li import LI
from spikesim.neurons.lif import LIF
from spikesim.neurons.lif_alpha import LIFAlpha
from spikesim.neurons.lif_cond_exp import LIFCondExp
from spikesim.neurons.lif_delta import LIFDelta
from spikesim.neurons.lif_escape import LIFEscape
from spikesim.neurons.lif_exp import LIFExp
from spikesim.neurons.meta import MetaNeuron
from spikesim.neurons.plif import PLIF
from spikesim.neurons.poisson import PoissonNeuron
from spikesim.neurons.qif import QIF
from spikesim.neurons.tempotron import TempotronMembrane

__all__ = [
    "ALIF",
    "CUBALIF",
    "EIF",
    "IF",
    "ILIF",
    "LI",
    "LIF",
    "PLIF",
    "QIF",
    "ALIFCondExp",
    "AdEx",
    "HodgkinHuxley",
    "Izhikevich",
    "Izhikevich2007",
    "LIFAlpha",
    "LIFCondExp",
    "LIFDelta",
    "LIFEscape",
    "LIFExp",
    "LevyBaxter",
    "MetaNeuron",
    "PoissonNeuron",
    "TempotronMembrane",
]
