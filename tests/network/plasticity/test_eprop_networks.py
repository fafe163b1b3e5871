"""Networks that learn by e-prop: divided, continued, by two threads, watched; what is refused."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from outcome import Outcome, outcome, same, same_arrays

from spikesim.errors import BackendError, UserError
from spikesim.network import AllToAll, FixedProbability, Network, Normal, OneToOne, Uniform
from spikesim.network.plasticity import EProp
from spikesim.network.plasticity.eprop_projection import EPropProjection
from spikesim.neurons import ALIF, IF, LI, LIF, Izhikevich, LIFDelta, LIFExp
from spikesim.surrogate import FastSigmoid, Triangle

PSI = {"surrogate": Triangle(1.0), "damping": 0.3}


def recurrent(threads: int = 1) -> Network:
    """Every kind of delay and update onto adaptive cells, a readout, and excitation alone."""
    net = Network(dt=1.0, seed=7, threads=threads)
    cells = net.population(ALIF(tau=20.0, beta=0.3), 203, name="cells")
    inh = net.population(LIFExp(), 61, name="inh", initial={"v": Uniform(-70.0, -55.0)})
    out = net.population(LI(20.0, leak="exact"), 2, name="out")
    back = np.random.default_rng(1).normal(0.0, 0.2, (cells.size, out.size))
    error = net.modulator(lambda ms: out.state["v"] - np.sin(ms / 40.0), post=out, every=5.0)
    signal = net.modulator(lambda ms: back @ (out.state["v"] - 0.5), post=cells, every=5.0)
    const = net.modulator(-0.02, tau=60.0)
    signed, some = {"w_max": 2.0, "w_min": -2.0}, FixedProbability(0.2)
    rule = EProp(eta=0.02, every=30.0, rate=20.0, c_rate=0.01, **signed, **PSI)
    delays = Normal(mean=5.0, std=2.0, low=3.0)
    net.connect(
        cells, cells, some, weight=Normal(0.0, 0.3), delay=delays, plasticity=rule,
        modulator=signal, name="loop",
    )  # fmt: skip
    readout = EProp(eta=2e-3, tau_e=0.0, **signed)
    net.connect(cells, out, AllToAll(), weight=0.02, delay=3.0, plasticity=readout, modulator=error)
    follow = EProp(w_max=900.0, eta=3.0, surrogate=FastSigmoid(1.0))
    net.connect(cells, inh, some, weight=200.0, delay=4.0, plasticity=follow, modulator=const)
    keep = EProp(w_max=0.5, eta=1e-3, rate=20.0, c_rate=0.01, **PSI)
    net.connect(
        inh, cells, some, weight=-0.1, delay=7.0, plasticity=keep, modulator=signal, name="inhibit"
    )
    net.poisson(cells, 400.0, 3.0)
    return net


@pytest.fixture(scope="module")
def whole() -> Outcome:
    net = recurrent()
    first = [projection.table()["weight"] for projection in net.projections]
    found = outcome(net, 600.0)
    assert all(train.shape[1] > 300 for train in found.trains)
    assert all((a != b).mean() > 0.5 for a, b in zip(first, found.weights, strict=True))
    assert (found.weights[2] >= 0).all()
    assert (found.weights[3] <= 0).all()
    return found


def test_a_divided_run_with_looks_is_the_same(whole: Outcome) -> None:
    def look(net: Network) -> None:
        net.projections[0].table()
        net.state_dict()

    net = recurrent()
    net.probe(net.projections[0], "weight", synapses=[3, 1000, 2000], every=40.0)
    net.probe(net.groups[0], "psi", neurons=[3])
    assert same(outcome(net, 5.0, 290.0, 5.0, 300.0, between=look), whole)


def test_two_threads_give_the_same(whole: Outcome) -> None:
    assert same(outcome(recurrent(threads=2), 600.0), whole)


def test_saved_and_continued_is_the_same(whole: Outcome) -> None:
    first = recurrent()
    first.run(335.0)
    state = first.state_dict()
    assert {"loop.u", "loop.g", "loop.psi", "cells.psi", "inhibit.e"} <= set(state)
    second = recurrent(threads=2)
    second.run(50.0)
    second.load_state_dict(state)
    trains, weights = outcome(second, 265.0)
    assert same_arrays(weights, whole.weights)
    for train, all_ in zip(trains, whole.trains, strict=True):
        assert np.array_equal(train, all_[:, all_[0] >= 335])


def test_neurons_that_are_watched_run_as_before() -> None:
    found = []
    for eta in (None, 0.0):
        net = Network(dt=0.5, seed=3)
        cells = net.population(LIFDelta(), 70, name="cells")
        rule = {} if eta is None else {"plasticity": EProp(w_max=1.0, eta=eta)}
        gate = {} if eta is None else {"modulator": net.modulator(1.0)}
        net.connect(cells, cells, FixedProbability(0.3), weight=0.5, **rule, **gate)
        net.poisson(cells, 900.0, 2.0)
        probe = net.probe(cells, "spikes")
        net.run(300.0)
        found.append(np.stack([probe.steps, probe.senders]))
    assert found[0].shape[1] > 300
    assert np.array_equal(*found)


def test_two_rules_share_what_neurons_show() -> None:
    net = Network(dt=1.0)
    cells = net.population(LIF(20.0), 4, name="cells")
    signal = net.modulator(1.0)
    net.connect(cells, cells, OneToOne(), plasticity=EProp(w_max=2.0, **PSI), modulator=signal)
    other = EProp(w_max=3.0, eta=0.5, every=5.0, **PSI)
    net.connect(cells, cells, OneToOne(), plasticity=other, modulator=signal)
    third = EProp(w_max=3.0, damping=0.5, surrogate=Triangle(1.0))
    with pytest.raises(UserError, match="must share surrogate, damping"):
        net.connect(cells, cells, OneToOne(), plasticity=third, modulator=signal)


def wire(neuron: Any = None, **rule: Any) -> Network:
    net = Network(dt=1.0)
    cells = net.population(neuron or LIF(20.0), 4, name="cells")
    receptor = cells.receptors[0]
    options = {"modulator": net.modulator(1.0), "delay": 1.0} | {
        name: rule.pop(name) for name in ("modulator", "delay") if name in rule
    }
    made = EProp(**({"w_max": 2.0} | rule))
    net.connect(cells, cells, AllToAll(), receptor=receptor, plasticity=made, **options)
    return net


CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "negative rate": (lambda: EProp(w_max=1.0, eta=-1.0), "EProp: eta must be >= 0, got -1"),
    "negative time": (lambda: EProp(w_max=1.0, tau_e=-1.0), "tau_e must be >= 0"),
    "NaN": (lambda: EProp(w_max=1.0, damping=np.nan), "damping of EProp must be finite"),
    "no surrogate": (lambda: EProp(w_max=1.0, surrogate=3.0), "one of spikesim.surrogate"),  # type: ignore[arg-type]
    "half a target": (lambda: EProp(w_max=1.0, rate=10.0), "rate and c_rate go together"),
    "tau_rate": (lambda: EProp(w_max=1.0, tau_rate=0.0), "tau_rate must be > 0 ms"),
    "other neuron": (lambda: wire(Izhikevich()), "e-prop knows LIF, .*; cells is Izhikevich"),
    "no leak": (lambda: wire(IF()), "e-prop knows LIF, .*; cells is IF"),
    "soft and refractory": (
        lambda: wire(LIF(20.0, v_reset=None, refractory=2.0)),
        r"v_reset, or be ALIF\(beta=0.0\)",
    ),
    "no signal": (lambda: wire(modulator=None), "pass modulator=net.modulator"),
    "signal of others": (
        lambda: wire(modulator=(net := Network()).modulator(post=net.population(LIF(), 4))),
        "values for other neurons",
    ),
    "no delay": (lambda: wire(delay=0.0), "delays must be a step at least"),
    "every": (lambda: wire(every=1.5), "every of cells -> cells must be a multiple of dt"),
    "every 0": (lambda: wire(every=0.0), "must be at least one step"),
    "no bound": (lambda: wire(w_max=np.inf), "w_max of EProp must be finite"),
    "outside": (lambda: wire(w_max=0.5), "outside of w_min and w_max"),
}


@pytest.mark.parametrize("case", CASES)
def test_mistakes_are_named(case: str) -> None:
    make, message = CASES[case]
    with pytest.raises(UserError, match=message):
        make()


def test_a_gpu_is_refused_with_the_cure() -> None:
    with pytest.raises(BackendError, match=r"e-prop runs on the CPU; use Network\(device='cpu'\)"):
        EPropProjection(
            *("a -> b", None, None, None, None, 1.0, 1),  # type: ignore[arg-type]
            dt=1.0,
            builder=SimpleNamespace(is_cpu=False),  # type: ignore[arg-type]
            plasticity=EProp(w_max=1.0),
            modulator=None,
        )


def test_a_state_may_be_asked_for_before_the_first_run() -> None:
    one, two = recurrent(), recurrent()
    first = one.state_dict()
    one.run(40.0)
    two.load_state_dict(first)
    two.run(40.0)
    found, expected = two.state_dict(), one.state_dict()
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
