"""Networks of spiking neurons: sparse connections with delays, run step by step.

Units: ms, mV, pA, nS, pF.
"""

from spikesim.network.connect import (
    AllToAll,
    Explicit,
    FixedIndegree,
    FixedOutdegree,
    FixedProbability,
    FixedTotalNumber,
    OneToOne,
    Rule,
    Synapses,
)
from spikesim.network.convolution import Convolution
from spikesim.network.distributed import distributed
from spikesim.network.ensemble import Ensemble
from spikesim.network.network import Network
from spikesim.network.population import Population, SpikeTrains
from spikesim.network.probe import RateProbe, SpikeProbe, StateProbe
from spikesim.network.projection import Projection
from spikesim.network.space import (
    DistanceDependent,
    ExponentialProfile,
    FlatProfile,
    GaussianProfile,
    lattice,
)
from spikesim.network.statistics import correlation, cv_isi, rates
from spikesim.network.sweep import cases, sweep
from spikesim.network.values import Exponential, LogNormal, Normal, Uniform

__all__ = [
    "AllToAll",
    "Convolution",
    "DistanceDependent",
    "Ensemble",
    "Explicit",
    "Exponential",
    "ExponentialProfile",
    "FixedIndegree",
    "FixedOutdegree",
    "FixedProbability",
    "FixedTotalNumber",
    "FlatProfile",
    "GaussianProfile",
    "LogNormal",
    "Network",
    "Normal",
    "OneToOne",
    "Population",
    "Projection",
    "RateProbe",
    "Rule",
    "SpikeProbe",
    "SpikeTrains",
    "StateProbe",
    "Synapses",
    "Uniform",
    "cases",
    "correlation",
    "cv_isi",
    "distributed",
    "lattice",
    "rates",
    "sweep",
]
