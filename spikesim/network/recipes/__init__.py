"""Published networks, ready to run: each function builds a :class:`~spikesim.network.Network`.

All take ``scale`` (size against the published one), ``seed``, ``threads``, ``device``, ``dtype``
and ``dt`` (ms); their populations are in ``net.groups``.
"""

from collections.abc import Callable

from spikesim.network.network import Network
from spikesim.network.recipes.brunel import brunel
from spikesim.network.recipes.coba import coba
from spikesim.network.recipes.cuba import cuba
from spikesim.network.recipes.diehl_cook import diehl_cook
from spikesim.network.recipes.distal_reward import distal_reward
from spikesim.network.recipes.force import force
from spikesim.network.recipes.izhikevich import izhikevich
from spikesim.network.recipes.liquid import liquid
from spikesim.network.recipes.microcircuit import microcircuit
from spikesim.network.recipes.what_when import what_when

RECIPES: dict[str, Callable[..., Network]] = {
    "brunel": brunel,
    "cuba": cuba,
    "coba": coba,
    "izhikevich": izhikevich,
    "microcircuit": microcircuit,
    "liquid": liquid,
    "diehl_cook": diehl_cook,
    "distal_reward": distal_reward,
    "force": force,
    "what_when": what_when,
}

__all__ = [
    "RECIPES",
    "brunel",
    "coba",
    "cuba",
    "diehl_cook",
    "distal_reward",
    "force",
    "izhikevich",
    "liquid",
    "microcircuit",
    "what_when",
]
