"""What one spike does, and when: closed-form potentials, delays, order of populations."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.network import AllToAll, Explicit, Network, OneToOne, Uniform
from spikesim.network.schedule import LARGEST_BLOCK, schedule
from spikesim.neurons import LIFAlpha, LIFDelta, LIFExp

TAU_M, TAU_S, C_M, REST, WEIGHT = 20.0, 3.0, 250.0, -70.0, 40.0
FLOAT64, FLOAT32 = 1e-11, 1e-4
"""mV: rounding of a few hundred steps, and of states in float32 near -70 mV."""


def exponential(t: float) -> float:
    """The response to a current of 1 pA at time 0 that decays."""
    return (math.exp(-t / TAU_M) - math.exp(-t / TAU_S)) / (C_M * (1 / TAU_S - 1 / TAU_M))


def alpha(t: float) -> float:
    """The response to a current e / tau t exp(-t / tau), whose peak is 1 pA."""
    k = 1 / TAU_S - 1 / TAU_M
    inside = (math.exp(-t / TAU_M) - math.exp(-t / TAU_S)) / k**2 - t * math.exp(-t / TAU_S) / k
    return math.e / (TAU_S * C_M) * inside


MODELS: dict[str, tuple[Callable[[], object], Callable[[float], float]]] = {
    "delta": (
        lambda: LIFDelta(tau_m=TAU_M, c_m=C_M, e_l=REST, v_threshold=1e3),
        lambda t: math.exp(-t / TAU_M),
    ),
    "exponential": (
        lambda: LIFExp(tau_m=TAU_M, tau_ex=TAU_S, c_m=C_M, e_l=REST, v_threshold=1e3),
        exponential,
    ),
    "alpha": (
        lambda: LIFAlpha(tau_m=TAU_M, tau_ex=TAU_S, c_m=C_M, e_l=REST, v_threshold=1e3),
        alpha,
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dt", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("dtype", "error"), [("float64", FLOAT64), ("float32", FLOAT32)])
def test_one_spike_gives_the_closed_form(name: str, dt: float, dtype: str, error: float) -> None:
    make, response = MODELS[name]
    spike, delay = 2.0, 3.0
    net = Network(dt=dt, dtype=dtype)  # type: ignore[arg-type]
    source = net.spikes([spike], [0], 1)
    cell = net.population(make(), 1)  # type: ignore[arg-type]
    net.connect(source, cell, OneToOne(), weight=WEIGHT, delay=delay)
    v = net.probe(cell, "v")
    net.run(40.0)
    after = np.round(v.times - spike - delay, 9)
    expected = [REST + WEIGHT * response(t) if t >= 0 else REST for t in after]
    assert np.abs(v.values[:, 0] - expected).max() < error
    assert np.abs(v.values[:, 0] - REST).max() > 0.1


def arrivals(net: Network, steps: int) -> Callable[[], list[list[int]]]:
    """Runs a network whose last population adds up what arrives: the steps of arrivals, each."""
    cells = net.groups[-1]
    v = net.probe(cells, "v")  # type: ignore[arg-type]

    def run() -> list[list[int]]:
        net.run(steps * net.dt)
        jumps = np.diff(v.values, axis=0, prepend=0.0) > 0.5
        return [np.flatnonzero(column).tolist() for column in jumps.T]

    return run


def counter() -> LIFDelta:
    """Its potential stays where a spike puts it."""
    return LIFDelta(tau_m=1e30, e_l=0.0, v_reset=0.0, v_threshold=1e6)


def test_every_delay_of_a_row_arrives_in_its_step() -> None:
    delays = np.random.default_rng(0).permutation(np.arange(1, 65))
    net = Network(dt=0.1)
    source = net.spikes([0.3, 5.0], [0, 0], 1)
    cells = net.population(counter(), 64)
    net.connect(source, cells, Explicit([0] * 64, np.arange(64)), delay=delays * 0.1)
    # A spike of step n, which ends at (n + 1) dt, arrives in step n + d.
    assert arrivals(net, 130)() == [[2 + d, 49 + d] for d in delays]


@pytest.mark.parametrize("delay", [0, 1, 2, 7, 8, 63, 64, 100])
def test_one_delay_of_all_arrives_in_its_step(delay: int) -> None:
    net = Network(dt=0.1)
    source = net.spikes([0.1, 0.8, 3.3], [2, 0, 2], 3)
    cells = net.population(counter(), 3)
    net.connect(source, cells, OneToOne(), delay=delay * 0.1)
    assert arrivals(net, 150)() == [[7 + delay], [], [delay, 32 + delay]]


def test_spikes_count_in_the_step_they_fall_into() -> None:
    net = Network(dt=0.5)
    source = net.spikes([0.0, 0.5, 0.51, 1.0, 1.01], [0, 1, 2, 3, 4], 5)
    seen = net.probe(source, "spikes")
    net.run(2.0)
    assert seen.senders.tolist() == [0, 1, 2, 3, 4]
    assert seen.times.tolist() == [0.5, 0.5, 1.0, 1.0, 1.5]


def relay() -> LIFDelta:
    """Fires in the step in which a spike arrives."""
    return LIFDelta(v_threshold=-69.5, t_ref=0.0)


def test_zero_delays_pass_a_chain_within_a_step() -> None:
    net = Network(dt=0.1)
    # Added last to first: the order of execution is that of the projections.
    groups = [net.population(relay(), 2, name=f"layer {i}") for i in range(3)]
    source = net.spikes([0.4], [1], 2)
    for pre, post in ((source, groups[2]), (groups[2], groups[1]), (groups[1], groups[0])):
        net.connect(pre, post, OneToOne(), weight=1.0, delay=0)
    probes = [net.probe(group, "spikes") for group in groups]
    net.run(2.0)
    assert [(p.steps.tolist(), p.senders.tolist()) for p in probes] == [([3], [1])] * 3


def test_a_cycle_of_zero_delays_is_refused_by_name() -> None:
    net = Network()
    a, b, c = (net.population(relay(), 2, name=name) for name in "abc")
    net.connect(a, b, OneToOne(), delay=0)
    net.connect(b, c, OneToOne(), delay=0)
    net.connect(c, a, OneToOne(), delay=0)
    with pytest.raises(UserError, match=r"cycle, (a -> b -> c|b -> c -> a|c -> a -> b) -> "):
        net.run(1.0)
    loop = Network()
    cells = loop.population(relay(), 2, name="cells")
    loop.connect(cells, cells, AllToAll(), delay=0)
    with pytest.raises(UserError, match="cells -> cells"):
        loop.run(1.0)


def test_blocks_are_as_long_as_cycles_allow() -> None:
    def block(*delays: tuple[str, str, float]) -> int:
        net = Network(dt=0.1)
        groups = {name: net.population(relay(), 1, name=name) for name in "abc"}
        for pre, post, delay in delays:
            net.connect(groups[pre], groups[post], OneToOne(), delay=delay)
        return schedule(net.groups, net.projections)[0]

    assert block(("a", "a", 1.5)) == 8
    assert block(("a", "b", 0.0), ("b", "c", 0.1)) == LARGEST_BLOCK
    assert block(("a", "b", 0.0), ("b", "a", 0.4)) == 4
    assert block(("a", "b", 0.0), ("b", "a", 0.1)) == 1
    assert block(("a", "b", 0.3), ("b", "a", 0.5), ("c", "c", 0.7)) == 4


@pytest.mark.parametrize("threads", [1, 2])
def test_a_feed_forward_network_is_the_same_in_blocks_and_in_single_steps(threads: int) -> None:
    def spikes(with_loop: bool) -> tuple[list[int], list[int]]:
        net = Network(dt=0.1, seed=3, threads=threads)
        first = net.population(LIFDelta(), 40, name="first")
        second = net.population(LIFDelta(), 33, name="second")
        net.poisson(first, 30_000.0, 0.2)
        drawn = Uniform(0.0, 0.6)
        net.connect(first, second, AllToAll(), weight=drawn, delay=Uniform(0.1, 3.0))
        if with_loop:  # of one step, which carries nothing
            net.connect(second, first, Explicit([0], [0]), weight=0.0, delay=0.1)
        probe = net.probe(second, "spikes")
        net.run(100.0)
        return probe.steps.tolist(), probe.senders.tolist()

    assert spikes(False) == spikes(True)
    assert len(spikes(True)[0]) > 50
