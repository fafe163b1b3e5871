"""Networks that are run on one process and on several, and what is compared of them."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from spikesim.network import FixedIndegree, FixedProbability, Network, Normal, OneToOne, Uniform
from spikesim.network.plasticity import RewardSTDP, TripletSTDP, TsodyksMarkram
from spikesim.network.recipes import brunel, microcircuit
from spikesim.neuron import Neuron
from spikesim.neurons import LIFDelta, LIFExp
from spikesim.ops import bernoulli
from spikesim.types import Named

MANY = (2, 3)
"""How many processes."""

Results = dict[str, Any]


class Chance(Neuron):
    """Fires by chance, more often when something arrives."""

    stochastic = True

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        return state, bernoulli(0.01 + inputs.x)


def everything(*, dtype: str = "float32", threads: int = 1) -> Network:
    """Odd sizes, one below a tile, drawn weights and delays, each drive, each kind of neuron."""
    net = Network(dt=0.1, seed=1, threads=threads, dtype=dtype)  # type: ignore[arg-type]
    leak = LIFExp(tau_m=np.linspace(8.0, 20.0, 403))
    exc = net.population(leak, 403, name="exc", initial={"v": Uniform(-70.0, -55.0)})
    inh = net.population(LIFDelta(), (5, 37), name="inh")
    few = net.population(LIFDelta(tau_m=5.0), 7, name="few")
    coin = net.population(Chance(), 130, name="coin")
    given = net.spikes(np.arange(1, 100) * 0.7, np.arange(99) % 5, 5, name="given")
    weights, delays = Normal(mean=0.5, std=0.1, low=0.0), Normal(mean=1.5, std=0.7, low=0.4)
    net.connect(exc, inh, FixedProbability(0.1), weight=weights, delay=1.5)
    net.connect(inh, exc, FixedIndegree(6), weight=-80.0, delay=delays)
    net.connect(exc, coin, FixedIndegree(3), weight=0.1, delay=0.8)
    net.connect(coin, few, FixedProbability(0.3), weight=2.0, delay=0.9)
    net.connect(few, exc, FixedProbability(0.3), weight=Normal(50.0, 5.0, low=0.0), delay=0.4)
    net.connect(given, exc, FixedProbability(0.3), weight=200.0, delay=0.4)
    net.poisson(exc, np.linspace(7000.0, 9000.0, 403), 45.0)
    net.poisson(inh, lambda ms: 3000.0 + 2000.0 * np.sin(ms), 0.4, largest=5000.0, every=0.7)
    net.noise(exc, 20.0, np.linspace(0.0, 300.0, 403))
    net.current(inh, lambda ms: np.linspace(0, 100.0 * np.cos(ms), 185), largest=100.0, every=1.1)
    return net


def layers() -> Network:
    """Zero delays in a row: spikes cross processes within a step."""
    net = Network(dt=1.0, seed=2)
    groups = [net.population(Chance(), 300, name="first")]
    groups += [net.population(LIFDelta(), 300, name=f"layer {n}") for n in range(2)]
    for pre, post in pairwise(groups):
        net.connect(pre, post, OneToOne(), weight=40.0, delay=0.0)
    net.connect(groups[2], groups[1], FixedIndegree(20), weight=-1.0, delay=1.0)
    return net


def learning(threads: int = 1) -> Network:
    """Rules of each kind, recurrent and onto neurons that one process has alone."""
    net = Network(dt=0.1, seed=7, threads=threads)
    exc = net.population(LIFExp(), 203, name="exc", initial={"v": Uniform(-70.0, -55.0)})
    inh = net.population(LIFDelta(), (7, 11), name="inh")
    few = net.population(LIFDelta(), 9, name="few")
    given = net.spikes(np.arange(300) * 0.13, np.arange(300) % 40, 40, name="given")
    error = net.modulator(np.linspace(-2e-3, 2e-3, 77), tau=25.0, post=inh, name="error")
    dopamine = net.modulator(0.002, tau=40.0, name="dopamine")
    wave = net.modulator(lambda ms: 1e-3 * np.sin(ms), every=0.7, name="wave")
    delays, some = Normal(mean=1.5, std=0.7, low=0.4), FixedProbability(0.2)
    stdp = TripletSTDP(w_max=90.0)
    net.connect(exc, exc, some, weight=40.0, delay=delays, plasticity=stdp, name="stdp")
    net.connect(given, exc, FixedIndegree(9), weight=50.0, delay=delays, plasticity=stdp)
    drawn, reward = Normal(0.5, 0.2, 0.0, 2.0), RewardSTDP(w_max=2.0, tau_e=5.0, a_plus=1.0)
    how: Any = {"weight": drawn, "plasticity": reward}
    net.connect(exc, inh, some, delay=1.5, modulator=error, **how, name="errors")
    net.connect(exc, few, some, delay=1.1, modulator=wave, **how, name="waves")
    net.connect(few, few, some, delay=0.6, modulator=dopamine, **how, name="rewards")
    net.connect(inh, exc, some, weight=-90.0, delay=0.8, plasticity=TsodyksMarkram(tau_fac=50.0))
    net.connect(few, inh, FixedIndegree(2), weight=0.3, delay=0.6)
    net.poisson(exc, 9000.0, 60.0)
    net.poisson(inh, 3000.0, 0.4)
    net.poisson(few, 9000.0, 0.3)
    return net


def driven(rate: Callable[[float], float]) -> Network:
    """By a rate that is a function of time, ms."""
    net = Network(dt=0.1, seed=1)
    cells = net.population(LIFDelta(), 200)
    net.connect(cells, cells, FixedIndegree(10), weight=0.1, delay=1.5)
    net.poisson(cells, rate, 0.4, largest=9000.0, every=1.0)
    return net


NETWORKS: dict[str, Callable[[], Network]] = {
    "brunel": lambda: brunel(scale=0.05, seed=3),
    "microcircuit": lambda: microcircuit(scale=0.02, seed=3),
    "everything": everything,
    "everything, float64, 2 threads": lambda: everything(dtype="float64", threads=2),
    "layers": layers,
}
DURATIONS = {"brunel": 60.0, "microcircuit": 30.0, "layers": 40.0}
"""Biological time, ms; otherwise 30."""


def recorded(net: Network, ms: float) -> Results:
    """Run on, and all that probes tell then."""
    probes = [net.probe(group, "spikes") for group in net.groups]
    some = [5, 402, 64, 63, 5, 200]
    if net.groups[0].name == "exc":
        probes[0] = net.probe(net.groups[0], "spikes", neurons=some)
    rate = net.probe(net.groups[0], "rate", every=5 * net.dt)
    of_some = net.probe(net.groups[0], "rate", neurons=[0, 70, 200], every=net.dt)
    states = {}
    if "v" in getattr(net.groups[0], "state", {}):
        states["v"] = net.probe(net.groups[0], "v", neurons=some, every=3 * net.dt)
    net.run(ms)
    found: Results = {"time": net.time}
    for n, probe in enumerate(probes):
        whole = probe.gather()
        found |= {f"steps {n}": whole.steps, f"senders {n}": whole.senders}
        found |= {f"neurons {n}": whole.neurons, f"rate {n}": whole.rate}
    found |= {"rates": rate.gather().values, "rates of some": of_some.gather().values}
    return found | {name: probe.gather().values for name, probe in states.items()}


def all_recorded() -> dict[str, Results]:
    """Of each of :data:`NETWORKS`."""
    return {name: recorded(make(), DURATIONS.get(name, 30.0)) for name, make in NETWORKS.items()}


def attempt(act: Callable[[], object]) -> str:
    """What it raises, in words."""
    try:
        act()
    except (Exception, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def check_equal(found: Results, expected: Results) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
