"""Counts of a simulated network: from recorded spikes and tables of synapses, by hand."""

from typing import Any

import numpy as np
import pytest

from spikesim.energy.layer import Counts, LayerCounts
from spikesim.energy.network import count_network, out_degree, synapse_memory
from spikesim.errors import UserError
from spikesim.network import AllToAll, Explicit, FixedProbability, Network
from spikesim.network.values import Uniform
from spikesim.neurons import LI, LIFDelta, LIFExp

DT = 0.5


def layer(counts: Counts, name: str) -> LayerCounts:
    (found,) = (one for one in counts if one.name == name)
    return found


def noisy(seed: int = 1, **how: Any) -> Network:
    """Two populations with multapses, autapses and delays of many steps."""
    random = np.random.default_rng(seed)
    net = Network(dt=DT, seed=seed, **how)
    a = net.population(LIFDelta(), 70, name="a")
    b = net.population(LIFExp(), (5, 7), name="b")
    given = net.spikes(random.uniform(0, 60.0, 400), random.integers(0, 9, 400), 9, name="given")
    net.poisson(a, rate=9000.0, weight=2.0)
    net.current(b, 420.0)
    twice = random.integers(0, 70, 900), random.integers(0, 70, 900)
    net.connect(a, a, Explicit(*twice), weight=0.1, delay=Uniform(0.5, 30.0), name="many")
    net.connect(a, b, FixedProbability(0.3), weight=Uniform(-1.0, 5.0), receptor="excitatory")
    net.connect(given, b, AllToAll(), weight=0.0, delay=45.0)
    net.connect(b, a, FixedProbability(0.2), weight=-0.2, delay=2.0)
    return net


def test_events_are_recorded_spikes_times_synapses() -> None:
    net = noisy()
    probes = {group.name: net.probe(group, "spikes") for group in net.groups}
    counts = count_network(net, 80.0)
    assert (counts.samples, counts.steps) == (1, 160)
    for projection in net.projections:
        table, senders = projection.table(), probes[projection.pre.name].senders
        assert senders.size > 50
        by_hand = sum(int((table["pre"] == sender).sum()) for sender in senders)
        found = layer(counts, projection.name)
        assert (found.effective_acs, found.effective_macs) == (by_hand, 0.0)
        assert found.macs == 160 * len(table["pre"])
        assert found.spikes == senders.size
        assert found.rate == senders.size / (160 * projection.pre.size)
        assert found.weights == len(table["pre"])
        assert found.nonzero_weights == (table["weight"] != 0).sum()
    many = net.projections[0].table()
    pairs = np.stack([many["pre"], many["post"]])
    assert np.unique(pairs, axis=1).shape[1] < 900  # multapses
    assert (many["pre"] == many["post"]).any()  # autapses
    for name, size, states in (("a", 70, 2), ("b", 35, 4)):
        found = layer(counts, name)
        assert found.kind == "neuron"
        assert found.spikes == len(probes[name])
        assert found.updates == 160 * size
        assert found.state_reads == found.state_writes == 160 * size * states
    assert layer(counts, "given").spikes == len(probes["given"])
    assert layer(counts, "given").updates == 0


def test_counting_changes_nothing() -> None:
    counted, plain = noisy(), noisy()
    probes = [net.probe(net.groups[0], "spikes") for net in (counted, plain)]
    count_network(counted, 40.0)
    counted.run(20.0)
    plain.run(60.0)
    assert np.array_equal(probes[0].steps, probes[1].steps)
    assert np.array_equal(probes[0].senders, probes[1].senders)
    assert counted.probes == [probes[0]]
    for name, value in plain.state_dict().items():
        assert np.array_equal(value, counted.state_dict()[name])


def test_runs_add_up() -> None:
    """Also events that are on their way when a run ends: each is counted once."""
    net, whole = noisy(), count_network(noisy(), 60.0)
    parts = [count_network(net, ms) for ms in (13.5, 0.5, 46.0)]
    additive = ("macs", "effective_acs", "spikes", "updates", "state_writes", "additions", "inputs")
    for n, one in enumerate(whole):
        for name in additive:
            assert sum(getattr(part.layers[n], name) for part in parts) == getattr(one, name)


def test_a_spike_whose_delay_ends_later_counts_when_it_is_sent() -> None:
    net = Network(dt=1.0)
    cells = net.population(LIFDelta(), 3, name="cells")
    given = net.spikes([0.5, 9.5], [0, 1], 2, name="given")
    net.connect(given, cells, AllToAll(), delay=5.0, name="late")
    assert layer(count_network(net, 10.0), "late").effective_acs == 6
    assert layer(count_network(net, 10.0), "late").effective_acs == 0


def integrator() -> LIFDelta:
    """A neuron whose membrane counts what arrives."""
    return LIFDelta(tau_m=1e13, e_l=0.0, v_reset=0.0, v_threshold=1e6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_poisson_spikes_are_those_that_arrived(dtype: Any) -> None:
    net = Network(dt=DT, seed=5, dtype=dtype)
    cells = net.population(integrator(), 70)
    net.poisson(cells, rate=np.linspace(0.0, 4000.0, 70), weight=1.0, name="fixed")
    net.run(3.0)
    before = cells.state["v"].astype(float).sum()
    counts = count_network(net, 50.0)
    arrived = cells.state["v"].astype(float).sum() - before
    assert layer(counts, "fixed").effective_acs == round(arrived) > 1000


def test_poisson_spikes_whose_rate_follows_the_run() -> None:
    """A function that reads the network is asked as in any run, and its spikes are counted."""

    def run(*, counted: bool) -> tuple[list[float], float, float]:
        net = Network(dt=DT, seed=5)
        cells = net.population(integrator(), 70)
        asked: list[float] = []

        def rate(ms: float) -> float:
            asked.append(ms)
            return min(200.0 + float(cells.state["v"].mean()) * 100.0, 5000.0)

        net.poisson(cells, rate, weight=1.0, every=7.0, largest=5000.0, name="fed back")
        if counted:
            drawn = layer(count_network(net, 50.0), "fed back").effective_acs
        else:
            net.run(50.0)
            drawn = 0.0
        return asked, float(cells.state["v"].astype(float).sum()), drawn

    plain, counted = run(counted=False), run(counted=True)
    assert counted[:2] == plain[:2]
    assert counted[2] == round(plain[1]) > 1000


def test_other_drives_and_readouts() -> None:
    net = Network(dt=DT)
    cells, reader = net.population(LIFDelta(), 6, name="cells"), net.population(LI(), 2, name="r")
    net.current(cells, 1.0, name="current")
    net.noise(reader, 0.0, 1.0, name="noise")
    net.readout(cells, 3, state="v", feedback=np.ones((3, 6)), largest=1.0, name="sums")
    counts = count_network(net, 5.0)
    assert layer(counts, "current").additions == 10 * 6
    assert layer(counts, "noise").additions == 10 * 2
    assert layer(counts, "sums").macs == 10 * (3 * 6 + 3 * 6)
    assert layer(counts, "r").rate is None
    assert "5 ms" in counts.notes[0]
    assert "10 steps of 0.5 ms" in counts.notes[0]


def test_memory_of_synapses() -> None:
    net = Network(dt=DT)
    cells = net.population(LIFDelta(), 100, name="cells")
    same = net.connect(cells, cells, AllToAll(), delay=1.0)
    other = net.connect(cells, cells, AllToAll(), weight=Uniform(0.0, 1.0), delay=Uniform(1.0, 400))
    rows, synapses = 64 * 101, len(same)
    memory = synapse_memory(net, same)
    assert (memory.places, memory.weights, memory.rows, memory.learning) == (
        *(16 * synapses, 0, rows, 0),
    )
    memory = synapse_memory(net, other)  # 800 slots of 100 neurons pass 2**16
    assert memory.bits == (32 + 32) * synapses + rows
    assert out_degree(other).tolist() == [100] * 100
    counts = count_network(net, 1.0)
    memories = [synapse_memory(net, projection).bits for projection in net.projections]
    assert counts.footprint * 8 == sum(memories)
    assert counts.parameters == 0


def test_refusals() -> None:
    with pytest.raises(UserError, match="add a population"):
        count_network(Network(), 1.0)
    net = Network(dt=DT)
    net.population(LIFDelta(), 1)
    with pytest.raises(UserError, match=r"0.0 ms has no step to count; give at least dt=0.5 ms"):
        count_network(net, 0.0)
    assert not net.probes
