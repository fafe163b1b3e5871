"""What the two networks of Vogels and Abbott share: sizes and connections."""

from collections.abc import Mapping

from spikesim.network.connect import FixedProbability
from spikesim.network.network import Network
from spikesim.network.recipes.size import scaled
from spikesim.network.values import Value
from spikesim.neuron import Neuron

EXCITATORY, INHIBITORY = 3_200, 800
PROBABILITY = 0.02


def connected(
    net: Network,
    cell: Neuron,
    initial: Mapping[str, Value],
    scale: float,
    weights: tuple[float, float],
    delay: float,
) -> Network:
    """Four fifths excitatory, one fifth inhibitory neurons, all pairs equally likely connected."""
    least = round(PROBABILITY * INHIBITORY)
    sizes = {"excitatory": scaled(EXCITATORY, scale, 4 * least)}
    sizes["inhibitory"] = scaled(INHIBITORY, scale, least)
    populations = {
        name: net.population(cell, size, name=name, initial=initial) for name, size in sizes.items()
    }
    rule = FixedProbability(min(PROBABILITY / scale, 1.0), autapses=False)
    for source, weight in zip(populations.values(), weights, strict=True):
        for target in populations.values():
            net.connect(source, target, rule, weight=weight, delay=delay)
    return net
