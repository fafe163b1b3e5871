"""Bad input gives one clear line."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.network import (
    AllToAll,
    Explicit,
    FixedIndegree,
    FixedProbability,
    Network,
    Normal,
    OneToOne,
    Uniform,
    memory,
)
from spikesim.neurons import ILIF, LI, LIF, Izhikevich, LIFDelta, LIFExp


class Bench:
    """A network with what most mistakes need."""

    def __init__(self) -> None:
        self.net = net = Network(dt=0.1)
        self.cells = net.population(LIFExp(), (2, 3), name="cells")
        self.delta = net.population(LIFDelta(), 4, name="delta")
        self.given = net.spikes([1.0], [0], 4, name="given")
        self.reader = net.population(LI(), 4, name="reader")
        self.other = Network().population(LIFDelta(), 4, name="other")

    def wire(self, **options: object) -> None:
        self.net.connect(self.delta, self.cells, AllToAll(), **options)  # type: ignore[arg-type]


SQUARE = Explicit([0, 9], [0, 0])
CASES: dict[str, tuple[Callable[[Bench], object], str]] = {
    "delay between steps": (
        lambda b: b.wire(delay=0.25),
        r"delay of delta -> cells must be a multiple of dt = 0.1 ms, such as 0.2 ms, got 0.25 ms",
    ),
    "delay below a step": (lambda b: b.wire(delay=0.04), "at least one step.*got 0.04 ms"),
    "negative delay": (lambda b: b.wire(delay=-1.0), "not negative, got -1.0 ms"),
    "NaN delay": (lambda b: b.wire(delay=np.nan), "must be finite"),
    "NaN among delays": (
        lambda b: b.wire(delay=[1.0] * 23 + [math.nan]),
        r"delay of delta -> cells: value\[23\] is nan",
    ),
    "a negative delay among others": (
        lambda b: b.wire(delay=[1.0] * 23 + [-0.1]),
        "not negative, got -0.1 ms",
    ),
    "a delay of many off the grid": (
        lambda b: b.wire(delay=np.linspace(0.1, 1.0, 24)),
        "must be a multiple of dt",
    ),
    "endless delay": (
        lambda b: (b.wire(delay=1e10), b.net.run(1.0)),
        "the ring buffers of this network need about .* GiB are free",
    ),
    "endless drawn delays": (
        lambda b: b.wire(delay=Uniform(0.0, 1e9)),
        r"their product must stay below 2\*\*32",
    ),
    "NaN weight": (lambda b: b.wire(weight=math.nan), "weight of delta -> cells: .*finite"),
    "weights of another number": (lambda b: b.wire(weight=np.ones(5)), r"\[5\].*24 synapses"),
    "weights of both signs": (
        lambda b: b.wire(weight=Normal(mean=0.0, std=1.0)),
        "onto cells lie between -.* and .*: name the receptor",
    ),
    "unknown receptor": (
        lambda b: b.wire(receptor="exitatory"),
        "cells has no receptor 'exitatory'; did you mean 'excitatory'",
    ),
    "indegree above the source": (
        lambda b: b.net.connect(b.delta, b.cells, FixedIndegree(5, multapses=False)),
        "indegree of 5 .*there are 4",
    ),
    "sizes of one to one": (
        lambda b: b.net.connect(b.delta, b.cells, OneToOne()),
        "equal sizes, got 4 sources, 6 targets",
    ),
    "pairs out of range": (
        lambda b: b.net.connect(b.delta, b.cells, SQUARE),
        r"pre\[1\] = 9 is out of range",
    ),
    "negative pairs": (
        lambda b: b.net.connect(b.delta, b.cells, Explicit([0], [-1])),
        r"post\[0\] = -1 is out of range: the population has 6 neurons, 0 to 5",
    ),
    "onto given spikes": (
        lambda b: b.net.connect(b.cells, b.given, AllToAll()),  # type: ignore[arg-type]
        "only a population can receive",
    ),
    "a membrane as spikes": (
        lambda b: b.net.connect(b.reader, b.cells, AllToAll()),
        "reader emits no spikes",
    ),
    "counts as spikes": (
        lambda b: b.net.connect(b.net.population(ILIF(), 2), b.cells, AllToAll()),
        "ILIF emits no spikes of 0 or 1",
    ),
    "a membrane's spikes probed": (lambda b: b.net.probe(b.reader, "spikes"), "no spikes"),
    "another network's population": (
        lambda b: b.net.connect(b.other, b.cells, AllToAll()),
        "'other' is not of this network",
    ),
    "name taken": (lambda b: b.net.population(LIFDelta(), 1, name="cells"), "'cells' is taken"),
    "no neurons": (lambda b: b.net.population(LIFDelta(), 0), "whole numbers >= 1, got 0"),
    "no model": (lambda b: b.net.population(LIFDelta, 3), "needs a neuron"),  # type: ignore[arg-type]
    "unknown state": (
        lambda b: b.net.population(Izhikevich(), 3, initial={"w": 0.0}),
        "has no state 'w'",
    ),
    "initial values of another number": (
        lambda b: b.net.population(Izhikevich(), 3, name="three", initial={"v": np.zeros(4)}),
        r"initial v of three: .*\[4\] does not fit 3 neurons",
    ),
    "NaN initial values": (
        lambda b: b.net.population(Izhikevich(), 3, initial={"v": [0.0, math.nan, 0.0]}),
        "initial v of Izhikevich: .*finite",
    ),
    "tau below dt": (
        lambda b: Network(dt=3.0).population(LIF(tau=2.0), 3),
        "tau of LIF must be >= dt = 3.0",
    ),
    "parameters of another number": (
        lambda b: b.net.population(LIFDelta(tau_m=np.full(3, 10.0)), 4),  # type: ignore[arg-type]
        r"tau_m has shape \[3\]",
    ),
    "NaN parameter": (lambda b: LIFDelta(tau_m=math.nan), "tau_m must be > 0, got nan"),
    "NaN among parameters": (
        lambda b: LIFDelta(tau_m=np.array([10.0, math.nan])),  # type: ignore[arg-type]
        r"tau_m must be > 0, got \[10. nan\]",
    ),
    "infinite parameter": (lambda b: LIFExp(e_l=math.inf), "e_l must be any finite number"),
    "negative rate": (lambda b: b.net.poisson(b.cells, -1.0, 1.0), ">= 0 Hz, got -1"),
    "rate of NaN": (lambda b: b.net.poisson(b.cells, math.nan, 1.0), "must be finite"),
    "rates of another number": (
        lambda b: b.net.poisson(b.cells, [1.0, 2.0], 1.0),
        r"gives shape \[2\]; give one value or one for each of the 6 neurons",
    ),
    "huge rate": (lambda b: b.net.poisson(b.cells, 1e12, 1.0), "spikes in a step"),
    "infinite weight": (lambda b: b.net.poisson(b.cells, 1.0, math.inf), "weight .* finite"),
    "unbounded function": (
        lambda b: b.net.current(b.cells, lambda ms: ms),
        "is a function of time: pass .* largest=",
    ),
    "a constant asked again": (
        lambda b: b.net.current(b.cells, 1.0, every=1.0),
        "is constant: every= and largest= are of functions",
    ),
    "function above its bound": (
        lambda b: (b.net.current(b.cells, lambda ms: 10 * ms, largest=1.0), b.net.run(1.0)),
        "reaches 2 at 0.2 ms, above largest=1",
    ),
    "function that gives NaN": (
        lambda b: (b.net.current(b.cells, lambda ms: math.nan, largest=1.0), b.net.run(1.0)),
        "must be finite at 0 ms",
    ),
    "function of negative rates": (
        lambda b: (b.net.poisson(b.cells, lambda ms: -5.0, 1.0, largest=1.0), b.net.run(1.0)),
        ">= 0 Hz, got -5 at 0 ms",
    ),
    "negative noise": (lambda b: b.net.noise(b.cells, 0.0, -1.0), "std of .* >= 0, got -1"),
    "unknown probe": (lambda b: b.net.probe(b.cells, "w"), "cells has no 'w' to probe"),
    "probe out of range": (
        lambda b: b.net.probe(b.cells, "v", neurons=[0, 6]),
        "neuron 6 is not in cells, which has 0 to 5",
    ),
    "probe of fractions": (lambda b: b.net.probe(b.cells, "v", neurons=[0.5]), "whole numbers"),
    "probe between steps": (lambda b: b.net.probe(b.cells, "v", every=0.15), "multiple of dt"),
    "spikes before the start": (lambda b: b.net.spikes([-1.0], [0], 1), ">= 0 ms"),
    "senders out of range": (lambda b: b.net.spikes([1.0], [3], 3), "neuron 3 is not in"),
    "a sender short": (lambda b: b.net.spikes([1.0, 2.0], [0], 1), "2 times and 1 senders"),
    "run between steps": (lambda b: b.net.run(0.05), "run must be .* got 0.05 ms"),
    "nothing to plot": (lambda b: b.net.plot(), "add net.probe"),
    "dt of zero": (lambda b: Network(dt=0.0), "dt must be > 0 ms"),
    "half precision": (lambda b: Network(dtype="float16"), "float32"),  # type: ignore[arg-type]
    "no threads": (lambda b: Network(threads=0), "threads must be a whole number >= 1"),
    "negative seed": (lambda b: Network(seed=-1), "seed must be"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_named_in_one_line(name: str) -> None:
    call, message = CASES[name]
    with pytest.raises(UserError, match=message) as caught:
        call(Bench())
    assert "\n" not in str(caught.value)


def test_nothing_can_be_added_after_the_first_run() -> None:
    bench = Bench()
    bench.net.run(0.1)
    for call in (
        lambda: bench.net.population(LIFDelta(), 1),
        lambda: bench.wire(),
        lambda: bench.net.poisson(bench.cells, 1.0, 1.0),
        lambda: bench.net.current(bench.cells, 1.0),
        lambda: bench.net.noise(bench.cells, 1.0, 1.0),
        lambda: bench.net.spikes([1.0], [0], 1),
    ):
        with pytest.raises(UserError, match="the network has run"):
            call()


def test_a_state_of_another_network_is_refused() -> None:
    def made(size: int, weight: float) -> Network:
        net = Network()
        cells = net.population(LIFExp(), size, name="cells")
        net.connect(cells, cells, AllToAll(), weight=weight)
        return net

    state = made(4, 1.0).state_dict()
    with pytest.raises(UserError, match=r"'cells.v' is float32 \[4\], here float32 \[5\]"):
        made(5, 1.0).load_state_dict(state)
    with pytest.raises(UserError, match=r"'cells.excitatory.quantum' is"):
        made(4, 3.0).load_state_dict(state)
    with pytest.raises(UserError, match="they differ in 'cells"):
        made(4, -1.0).load_state_dict(state)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 10 * 2**20)
    net = Network()
    cells = net.population(LIFDelta(), 20_000, name="cells")
    with pytest.raises(
        UserError, match=r"the synapses of cells -> cells need about 2.98 GiB, 0.00977 GiB"
    ):
        net.connect(cells, cells, AllToAll())
    net.connect(cells, cells, FixedProbability(1e-4), delay=30.0)
    with pytest.raises(UserError, match=r"ring buffers .* GiB are free"):
        net.run(1.0)
    with pytest.raises(UserError, match=r"the neurons of all need about 0.0\d+ GiB"):
        net.population(LIFDelta(), 10**6, name="all")


def test_drawn_delays_are_whole_steps_and_one_at_least() -> None:
    net = Network(dt=0.5)
    cells = net.population(LIFDelta(), 100)
    projection = net.connect(cells, cells, FixedProbability(0.2), delay=Uniform(0.0, 3.0))
    delays = np.unique(projection.table()["delay"])
    assert delays.tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert projection.delay is None


def test_weights_choose_the_receptor_by_their_sign() -> None:
    net = Network()
    cells, source = net.population(LIFExp(), 3), net.spikes([1.0], [0], 3)
    assert net.connect(source, cells, OneToOne(), weight=2.0).receptor == "excitatory"
    drawn = net.connect(source, cells, OneToOne(), weight=Uniform(-2.0, 0.0))
    assert drawn.receptor == "inhibitory"
    named = net.connect(source, cells, OneToOne(), weight=-1.0, receptor="excitatory")
    assert named.receptor == "excitatory"
    assert net.poisson(cells, 1.0, -1.0).receptor == "inhibitory"
    assert net.current(cells, 1.0).receptor == "current"


def test_a_table_lists_all_synapses() -> None:
    net = Network(dt=0.5)
    cells = net.population(LIFDelta(), 3)
    pre, post = [2, 0, 2, 1], [0, 1, 2, 1]
    given = net.connect(
        cells, cells, Explicit(pre, post), weight=[1.0, 2.0, 3.0, 4.0], delay=[1.0, 0.5, 2.0, 0.5]
    )
    expected = {
        "pre": [0, 1, 2, 2],
        "post": [1, 1, 0, 2],
        "weight": [2.0, 4.0, 1.0, 3.0],
        "delay": [0.5, 0.5, 1.0, 2.0],
    }
    for _ in range(2):
        table = given.table()
        assert {name: values.tolist() for name, values in table.items()} == expected
        net.run(0.5)  # which stores the weights in quanta
