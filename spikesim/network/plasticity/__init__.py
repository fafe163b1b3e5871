"""Rules by which spikes change synapses: pass one to ``net.connect(..., plasticity=rule)``."""

from spikesim.network.plasticity.eprop import EProp
from spikesim.network.plasticity.hebbian import BCM, Oja
from spikesim.network.plasticity.modulator import Modulator
from spikesim.network.plasticity.pair import PairSTDP
from spikesim.network.plasticity.reward import RewardSTDP
from spikesim.network.plasticity.rule import Plasticity, Trace
from spikesim.network.plasticity.scaling import HomeostaticScaling
from spikesim.network.plasticity.short_term import TsodyksMarkram
from spikesim.network.plasticity.triplet import TripletSTDP
from spikesim.network.plasticity.vogels import VogelsSTDP

__all__ = [
    "BCM",
    "EProp",
    "HomeostaticScaling",
    "Modulator",
    "Oja",
    "PairSTDP",
    "Plasticity",
    "RewardSTDP",
    "Trace",
    "TripletSTDP",
    "TsodyksMarkram",
    "VogelsSTDP",
]
