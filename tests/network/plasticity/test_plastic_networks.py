"""Plastic networks as a whole: divided, continued, by two threads, watched; and what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from outcome import Outcome, outcome, same, same_arrays

from spikesim.errors import UserError
from spikesim.network import AllToAll, FixedProbability, Network, Normal, OneToOne, Uniform
from spikesim.network.plasticity import (
    PairSTDP,
    Plasticity,
    RewardSTDP,
    Trace,
    TsodyksMarkram,
    VogelsSTDP,
)
from spikesim.neurons import LIFDelta, LIFExp


def recurrent(threads: int = 1) -> Network:
    """Three rules, equal and drawn delays, weights of both kinds."""
    net = Network(dt=0.1, seed=7, threads=threads)
    exc = net.population(LIFExp(), 203, name="exc", initial={"v": Uniform(-70.0, -55.0)})
    inh = net.population(LIFDelta(), 61, name="inh")
    dopamine = net.modulator(0.002, tau=40.0)
    delays, some = Normal(mean=1.5, std=0.7, low=0.3), FixedProbability(0.2)
    stdp = PairSTDP(w_max=90.0, rate=0.02, mu_plus=0.4, mu_minus=0.7)
    net.connect(exc, exc, some, weight=40.0, delay=delays, plasticity=stdp, name="stdp")
    reward = RewardSTDP(w_max=2.0, tau_e=5.0, a_plus=1.0)
    net.connect(exc, inh, some, weight=0.5, delay=1.5, plasticity=reward, modulator=dopamine)
    tired = TsodyksMarkram(tau_fac=50.0)
    net.connect(inh, exc, some, weight=-90.0, delay=0.8, plasticity=tired)
    vogels = VogelsSTDP(w_max=400.0, eta=2.0)
    net.connect(inh, exc, some, weight=-60.0, delay=1.1, plasticity=vogels, name="vogels")
    net.poisson(exc, 9000.0, 60.0)
    net.poisson(inh, 3000.0, 0.4)
    return net


@pytest.fixture(scope="module")
def whole() -> Outcome:
    found = outcome(recurrent(), 80.0)
    assert all(train.shape[1] > 200 for train in found.trains)
    first = outcome(recurrent(), 0.1).weights
    moved = [not np.array_equal(a, b) for a, b in zip(first, found.weights, strict=True)]
    assert moved == [True, True, False, True]
    return found


def test_a_divided_run_with_looks_is_the_same(whole: Outcome) -> None:
    def look(net: Network) -> None:
        net.projections[0].table()
        net.state_dict()

    assert same(outcome(recurrent(), 0.1, 7.3, 32.6, 40.0, between=look), whole)


def test_two_threads_give_the_same(whole: Outcome) -> None:
    assert same(outcome(recurrent(threads=2), 80.0), whole)


def test_saved_and_continued_is_the_same(whole: Outcome) -> None:
    first = recurrent()
    first.run(33.3)
    state = first.state_dict()
    second = recurrent(threads=2)
    second.run(5.0)
    second.load_state_dict(state)
    trains, weights = outcome(second, 46.7)
    assert same_arrays(weights, whole.weights)
    for train, all_ in zip(trains, whole.trains, strict=True):
        assert np.array_equal(train, all_[:, all_[0] >= 333])
    assert {"stdp.weight", "stdp.steps", "modulator.value", "exc -> inh.eligible"} <= set(state)


def test_a_probe_of_weights() -> None:
    net = recurrent()
    few = net.probe(net.projections[0], "weight", synapses=[5, 3, 5000], every=2.0)
    every = net.probe(net.projections[3], "weight")
    net.run(3.0)
    before = net.projections[0].table()["weight"]
    net.run(3.0)
    assert few.times.tolist() == pytest.approx([2.0, 4.0, 6.0])
    assert every.values.shape == (6, len(net.projections[3]))
    now = net.projections[0].table()["weight"]
    assert np.array_equal(few.values[-1], now[[5, 3, 5000]])
    assert not np.array_equal(now, before)
    assert (every.values <= 0).all()
    assert few.synapses.tolist() == [5, 3, 5000]


class Odd(Plasticity):
    def pre(self) -> dict[str, Trace]:
        return {"x": Trace(20.0)}

    def on_pre(self, s: Any) -> dict[str, Any]:
        return {"x": s.x + s.w}


class Unknown(Odd):
    def on_pre(self, s: Any) -> dict[str, Any]:
        return {"v": s.w}


class Branches(Odd):
    def on_pre(self, s: Any) -> dict[str, Any]:
        return {"w": s.w if s.x > 1.0 else 0.0}


def wire(rule: Any, **options: Any) -> Network:
    net = Network(dt=0.1)
    cells = net.population(LIFExp(), 4, name="cells")
    net.connect(cells, cells, AllToAll(), plasticity=rule, **options)
    return net


STDP = PairSTDP(w_max=2.0)
CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "negative tau": (lambda: PairSTDP(w_max=1.0, tau_plus=-1.0), "PairSTDP: tau .* > 0 ms"),
    "NaN rate": (lambda: PairSTDP(w_max=1.0, rate=np.nan), "rate of PairSTDP must be finite"),
    "negative rate": (lambda: PairSTDP(w_max=1.0, rate=-1.0), "rate must be >= 0, got -1"),
    "bounds": (lambda: PairSTDP(w_max=1.0, w_min=1.0), "w_min of PairSTDP must be below w_max"),
    "no bound": (lambda: wire(PairSTDP(w_max=np.inf)), "w_max of PairSTDP must be finite"),
    "pairs": (lambda: PairSTDP(w_max=1.0, pairs="some"), "must be 'all' or 'nearest'"),  # type: ignore[arg-type]
    "eligibility": (lambda: RewardSTDP(w_max=1.0, tau_e=0.0), "eligibility must decay in > 0"),
    "resources": (lambda: TsodyksMarkram(u0=0.0), "u0 must be above 0 and up to 1"),
    "weights outside": (
        lambda: wire(STDP, weight=3.0),
        "weights of cells -> cells have sizes from 3 to 3, outside of w_min and w_max, 0 and 2",
    ),
    "both signs": (
        lambda: wire(STDP, weight=Uniform(-1.0, 1.0), receptor="excitatory"),
        "a plastic weight keeps its sign",
    ),
    "zero delay": (lambda: wire(STDP, delay=0.0), "delays must be a step at least"),
    "trace of another": (lambda: wire(Odd(w_max=2.0)), "cannot depend on 'w'"),
    "unknown value": (lambda: wire(Unknown(w_max=2.0)), "gives 'v'; it may give"),
    "branch": (lambda: wire(Branches(w_max=2.0)), "use where"),
    "no rule": (
        lambda: wire(None, modulator=Network().modulator()),
        "a modulator needs a plasticity",
    ),
    "other probe": (
        lambda: (net := wire(STDP)).probe(net.projections[0], "rate"),  # type: ignore[call-overload]
        "has no 'rate' to probe",
    ),
    "probe of plain synapses": (
        lambda: (net := wire(None)).probe(net.projections[0], "weight"),
        "is not plastic",
    ),
    "probe of no synapse": (
        lambda: (net := wire(STDP)).probe(net.projections[0], "weight", synapses=[16]),
        "synapse 16 is not in cells -> cells, which has 16",
    ),
    "synapses of cells": (
        lambda: (net := wire(None)).probe(net.groups[0], "v", synapses=[1]),  # type: ignore[call-overload]
        "has no synapses",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_mistakes_are_named(case: str) -> None:
    make, message = CASES[case]
    with pytest.raises(UserError, match=message):
        make()


def test_a_bound_too_large_for_the_quantum_is_refused() -> None:
    net = Network(dt=0.1)
    cells = net.population(LIFExp(), 4)
    net.connect(cells, cells, OneToOne(), weight=1.0, plasticity=PairSTDP(w_max=1e7))
    with pytest.raises(UserError, match="use dtype='float64'"):
        net.run(1.0)
