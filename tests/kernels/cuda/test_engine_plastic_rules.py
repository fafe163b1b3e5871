"""Plasticity rules on the CUDA engine and on the CPU's: the same bits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from outcome import same_arrays
from torch import Tensor

from spikesim.network import FixedProbability, Network, OneToOne, Uniform
from spikesim.network.plasticity import (
    BCM,
    HomeostaticScaling,
    Oja,
    PairSTDP,
    Plasticity,
    RewardSTDP,
    Trace,
    TripletSTDP,
    TsodyksMarkram,
    VogelsSTDP,
)
from spikesim.neuron import Neuron
from spikesim.types import Named

Dtype = Literal["float32", "float64"]
Run = Callable[[Network], Network]


class Fires(Neuron):
    """Spikes where ``fire`` says so; its state is what arrives at ``x``."""

    inputs = ("fire", "x")
    states = ("v",)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        return Named(v=inputs.x), inputs.fire


@dataclass(frozen=True)
class Everything(Plasticity):
    """Uses all that a rule can: traces of both sides everywhere, an eligibility, what is sent."""

    def pre(self) -> dict[str, Trace]:
        return {"x": Trace(9.0), "r": Trace(30.0, rest=1.0)}

    def post(self) -> dict[str, Trace]:
        return {"y": Trace(18.0), "z": Trace(40_000.0, rest=0.5)}

    def eligibility(self) -> float:
        return 7.0

    def on_pre(self, s: Named) -> dict[str, Any]:
        w, e = s.w - 0.01 * s.y * s.w, s.e - 0.3 * s.y * s.x + 0.1 * s.z
        return {"w": w, "e": e, "sent": s.w * s.r, "x": 0.5 * s.x + 1.0, "r": s.r * 0.7}

    def on_post(self, s: Named) -> dict[str, Any]:
        w, e = s.w + 0.02 * s.x * s.z, s.e + 0.4 * s.x * (1.0 + s.y) * s.r
        return {"w": w, "e": e, "y": s.y + 1.0, "z": s.z + 0.01 * s.y}


@dataclass(frozen=True)
class SendsAnything(Plasticity):
    """Sends less than nothing and more than the weight's bound."""

    def on_pre(self, s: Named) -> dict[str, Any]:
        return {"sent": 8.0 * s.w - 3.0}


RULES: dict[str, Plasticity] = {
    "additive": PairSTDP(w_max=1.0, mu_plus=0.0, mu_minus=0.0, rate=0.05),
    "multiplicative": PairSTDP(w_max=1.0, rate=0.1, tau_plus=9.0),
    "power": PairSTDP(w_max=1.0, mu_plus=0.4, mu_minus=0.8, rate=0.05),
    "nearest": PairSTDP(w_max=0.8, w_min=0.2, rate=0.1, pairs="nearest"),
    "triplet": TripletSTDP(w_max=1.0),
    "vogels": VogelsSTDP(w_max=1.0, eta=0.1),
    "tired": TsodyksMarkram(),
    "tired, facilitating": TsodyksMarkram(tau_fac=50.0),
    "oja": Oja(w_max=1.0),
    "bcm": BCM(w_max=1.0),
    "reward": RewardSTDP(w_max=1.0, tau_e=5.0),
    "scaling": HomeostaticScaling(w_max=1.0, eta=0.05),
    "everything": Everything(w_max=50.0, w_min=-50.0),
    "sends anything": SendsAnything(w_max=1.0),
}


def given(
    rule: Plasticity,
    dtype: Dtype = "float32",
    *,
    is_spread: bool = True,
    rates: tuple[float, float] = (0.08, 0.08),
    is_each: bool = True,
    steps: int = 140,
) -> Network:
    """Random spikes of senders and receivers, all given; dt is 0.5 ms."""
    random = np.random.default_rng(8)
    net = Network(dt=0.5, dtype=dtype, seed=3)
    groups = []
    for name, many, rate in (("senders", 23, rates[0]), ("teachers", 70, rates[1])):
        raster = random.random((steps, many)) < rate
        raster[:, 0] = False
        raster[20:, 1] = False
        when, who = np.nonzero(raster)
        groups.append(net.spikes((when + 0.5) * 0.5, who, many, name=name))
    senders, teachers = groups
    receivers = net.population(Fires(), 70, name="receivers")
    net.connect(teachers, receivers, OneToOne(), weight=1.0, receptor="fire")
    modulator = None
    if rule.eligibility() is not None:
        post = receivers if is_each else None
        value = np.linspace(-0.1, 0.1, 70) if is_each else 0.05
        modulator = net.modulator(value, tau=60.0, post=post)
    net.connect(
        senders,
        receivers,
        FixedProbability(0.6),
        weight=Uniform(0.3, 0.7),
        delay=Uniform(2.0, 6.0) if is_spread else 2.0,
        receptor="x",
        plasticity=rule,
        modulator=modulator,
        name="plastic",
    )
    net.probe(receivers, "v")
    return net


def left(net: Network, *parts: float) -> list[np.ndarray]:
    """What a run leaves: what arrived, the weights, the whole state."""
    for ms in parts:
        net.run(ms)
    arrived, weights = net.probes[0].values, net.projections[-1].table()["weight"]
    assert np.count_nonzero(arrived) > 20
    return [arrived, weights, *(array for _, array in sorted(net.state_dict().items()))]


def same_on_both(plastic_cuda: Run, rule: Plasticity, *parts: float, **how: Any) -> None:
    nets = given(rule, **how), plastic_cuda(given(rule, **how))
    assert same_arrays(*(left(net, *parts) for net in nets))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_has_the_cpus_bits(plastic_cuda: Run, name: str) -> None:
    same_on_both(plastic_cuda, RULES[name], 40.5, is_spread=False)


@pytest.mark.parametrize("name", ["power", "everything"])
def test_so_it_has_where_delays_differ(plastic_cuda: Run, name: str) -> None:
    same_on_both(plastic_cuda, RULES[name], 40.5, is_each=False)


def test_so_it_has_in_float64(plastic_cuda: Run) -> None:
    same_on_both(plastic_cuda, RULES["everything"], 40.5, dtype="float64", is_spread=False)


@pytest.mark.parametrize("name", ["nearest", "everything"])
def test_receivers_fire_in_every_step_and_senders_seldom(plastic_cuda: Run, name: str) -> None:
    """More spikes come than are kept: synapses take them up in time."""
    how: dict[str, Any] = {"rates": (0.02, 1.0), "steps": 220, "is_spread": False}
    same_on_both(plastic_cuda, RULES[name], 0.5, 109.5, **how)


@pytest.mark.parametrize("rates", [(0.3, 0.0), (1.0, 0.4)])
def test_silence_and_senders_that_fire_in_every_step(
    plastic_cuda: Run, rates: tuple[float, float]
) -> None:
    same_on_both(plastic_cuda, RULES["everything"], 20.0, rates=rates, is_spread=False)
