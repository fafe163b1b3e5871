"""What tests of networks share: a network with what most mistakes need."""

import pytest

from spikesim.network import AllToAll, Network
from spikesim.network.projection import Projection
from spikesim.neurons import LI, LIFDelta, LIFExp


class Bench:
    """Populations of several kinds, and one of another network."""

    def __init__(self) -> None:
        self.net = net = Network(dt=0.1)
        self.cells = net.population(LIFExp(), (2, 3), name="cells")
        self.delta = net.population(LIFDelta(), 4, name="delta")
        self.given = net.spikes([1.0], [0], 4, name="given")
        self.reader = net.population(LI(), 4, name="reader")
        self.other = Network().population(LIFDelta(), 4, name="other")

    def wire(self, rule: object = AllToAll(), **options: object) -> Projection:
        """From ``delta`` to ``cells``."""
        return self.net.connect(self.delta, self.cells, rule, **options)  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Bench:
    return Bench()
