"""What tests of plasticity share: a network whose spikes are all given."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from spikesim.network import AllToAll, Network, OneToOne
from spikesim.network.plasticity import Plasticity
from spikesim.network.plasticity.projection import PlasticProjection
from spikesim.neuron import Neuron
from spikesim.types import Named

DELAY = 1.0


class Fires(Neuron):
    """Spikes where ``fire`` says so; its state is what arrives at ``x``."""

    inputs = ("fire", "x")
    states = ("v",)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        return Named(v=inputs.x), inputs.fire


Trains = list[NDArray[np.int64]]


class Pairing:
    """Senders and receivers with given spikes, all connected; dt is 0.5 ms.

    Args:
        pre, post: for each neuron the steps of its spikes, ascending, after the first.
    """

    def __init__(
        self,
        rule: Plasticity,
        pre: Trains,
        post: Trains,
        *,
        dtype: Any = "float64",
        weight: Any = 0.5,
        threads: int = 1,
        modulator: Callable[[Network], Any] = lambda net: None,
    ) -> None:
        self.net = net = Network(dt=0.5, dtype=dtype, threads=threads)
        # A spike of a teacher makes its receiver fire in the next step.
        trains = [_given(pre), _given([steps - 1 for steps in post])]
        senders = net.spikes(*trains[0], len(pre), name="senders")
        teachers = net.spikes(*trains[1], len(post), name="teachers")
        self.receivers = net.population(Fires(), len(post), name="receivers")
        net.connect(teachers, self.receivers, OneToOne(), weight=1.0, receptor="fire")
        self.modulator = modulator(net)
        projection = net.connect(
            senders,
            self.receivers,
            AllToAll(),
            weight=weight,
            delay=DELAY,
            receptor="x",
            plasticity=rule,
            modulator=self.modulator,
        )
        assert isinstance(projection, PlasticProjection)
        self.projection = projection


def _given(trains: Trains) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Times, in the midst of steps, and neurons."""
    steps = np.concatenate([np.asarray(train, np.float64) for train in trains])
    return (steps + 0.5) * 0.5, np.repeat(np.arange(len(trains)), [len(t) for t in trains])


@pytest.fixture(scope="session")
def pairing() -> type[Pairing]:
    return Pairing
