"""The cost of plastic synapses: rules that count their own events, and hand-counted operations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from spikesim.energy.baseline import at_rate
from spikesim.energy.layer import Counts, LayerCounts
from spikesim.energy.model import EnergyModel, joules
from spikesim.energy.models import get
from spikesim.energy.network import count_network
from spikesim.energy.plasticity import count_plasticity
from spikesim.network import AllToAll, FixedProbability, Network
from spikesim.network.plasticity import (
    EProp,
    PairSTDP,
    Plasticity,
    RewardSTDP,
    Trace,
    TsodyksMarkram,
)
from spikesim.network.plasticity.projection import PlasticProjection
from spikesim.network.values import Uniform
from spikesim.neurons import ALIF, LIF, LIFDelta
from spikesim.types import Named


@dataclass(frozen=True)
class CountsEvents(Plasticity):
    """A weight that says how many events of either kind its synapse had."""

    def on_pre(self, s: Named) -> Mapping[str, object]:
        return {"w": s.w + 1.0, "sent": 0.0 * s.w}

    def on_post(self, s: Named) -> Mapping[str, object]:
        return {"w": s.w + 4096.0}


def test_events_are_those_that_the_engine_gave_the_rule() -> None:
    """In a run that ends in silence, so that all events have come."""
    net = Network(dt=1.0, seed=2, dtype="float64")
    a, b = (net.population(LIFDelta(), size) for size in (40, 30))
    for cells in (a, b):
        net.poisson(cells, lambda ms: 4000.0 * (ms < 150), weight=3.0, every=150, largest=4000.0)
    rule = CountsEvents(w_max=1e9)
    plastic = net.connect(
        a, b, FixedProbability(0.4), weight=0.5, delay=Uniform(1.0, 9.0), plasticity=rule
    )
    (found,) = (layer for layer in count_network(net, 200.0) if layer.kind == "learning")
    gained = np.rint(plastic.weights() - 0.5).astype(np.int64)
    before, after = int((gained % 4096).sum()), int((gained // 4096).sum())
    assert min(before, after) > 500
    assert found.note == f"CountsEvents: {before} events of senders, {after} of receivers"
    # Each changes the weight: one addition, and a comparison with either bound. A sender's
    # computes what it sends, too.
    assert found.additions == 3 * (before + after)
    assert found.multiplications == before
    assert found.state_writes == before + after
    assert found.weight_reads == after
    assert found.synaptic_updates == before + after
    assert found.state_reads == 0


Work = tuple[int, int, int, int, LayerCounts]
"""Spikes of senders and receivers, events of theirs, and what was counted."""


def work(rule: Plasticity, times: int = 1) -> Work:
    """Of a rule, for spikes that were drawn, each so many times."""
    random = np.random.default_rng(0)
    net = Network(dt=1.0, seed=2)
    a, b = (net.population(LIFDelta(), size) for size in (40, 30))
    plastic = net.connect(
        a,
        b,
        FixedProbability(0.4),
        weight=0.5,
        delay=Uniform(1.0, 9.0),
        plasticity=rule,
        modulator=net.modulator(0.5) if rule.eligibility() is not None else None,
    )
    assert isinstance(plastic, PlasticProjection)
    sent, heard = times * random.poisson(9.0, 40), times * random.poisson(5.0, 30)
    table = plastic.table()
    before, after = int(sent[table["pre"]].sum()), int(heard[table["post"]].sum())
    counts = count_plasticity(plastic, sent, heard, 200)
    return int(sent.sum()), int(heard.sum()), before, after, counts


def test_pair_stdp_by_hand() -> None:
    """Additive: ``w - c y`` and ``w + c x`` with clamps; traces decay and grow by 1."""
    sent, heard, before, after, found = work(PairSTDP(w_max=1.0, mu_plus=0.0, mu_minus=0.0))
    # A neuron's spike: decay and + 1. An event: the trace's decay, a product, a sum, two bounds.
    assert found.additions == sent + heard + 3 * (before + after)
    assert found.multiplications == sent + heard + 2 * (before + after)
    assert found.functions == 0
    assert found.state_reads == sent + heard + before + after
    assert found.state_writes == sent + heard + before + after  # traces, and weights
    assert found.weight_reads == after


def learned(model: EnergyModel, layer: LayerCounts) -> float:
    """Joule of a line alone, without time."""
    return joules(model, Counts((layer,), 1, 0)).parts.get("learning", 0.0)


def test_loihi_charges_each_update_of_a_synapse() -> None:
    """120 pJ of pairwise STDP, Davies et al. (2018), table 2."""
    _, _, before, after, found = work(PairSTDP(w_max=1.0))
    assert found.synaptic_updates == before + after
    assert learned(get("loihi"), found) == pytest.approx((before + after) * 120e-12)
    assert learned(get("truenorth"), found) == 0  # has no such figure, nor learns
    _, _, before, after, found = work(TsodyksMarkram(u0=0.5))
    assert learned(get("loihi"), found) == 0


def test_events_of_learning_grow_with_the_rates() -> None:
    """As many as there are when all neurons fire three times as often."""
    pairs = PairSTDP(w_max=1.0, mu_plus=0.4, mu_minus=0.4)
    for rule in (pairs, RewardSTDP(w_max=1.0), TsodyksMarkram(u0=0.5)):
        once, thrice = work(rule)[-1], work(rule, times=3)[-1]
        (found,) = at_rate(Counts((once,), 1, 200), 3.0).layers
        assert once.multiplications > 0
        assert replace(found, note="") == replace(thrice, note="")


def test_powers_of_weights_take_functions() -> None:
    _, _, before, after, found = work(PairSTDP(w_max=1.0, mu_plus=0.4, mu_minus=0.4))
    assert found.functions == 2 * (before + after)  # exp and log


def test_three_factors_by_hand() -> None:
    sent, heard, before, after, found = work(RewardSTDP(w_max=1.0))
    # An event: decay of a trace and of e; e plus a product; w plus e M; two bounds.
    assert found.multiplications == sent + heard + 4 * (before + after)
    assert found.additions == sent + heard + 4 * (before + after)
    assert found.state_reads == sent + heard + 2 * (before + after)
    assert found.state_writes == sent + heard + 2 * (before + after)
    assert found.weight_reads == after


def test_weights_that_stay_are_not_written() -> None:
    sent, _, before, _, found = work(TsodyksMarkram(u0=0.5))
    # Resources of a sender: decay to rest 1, times 0.5. Of a synapse: r u, then w.
    assert found.state_writes == sent
    assert found.weight_reads == found.synaptic_updates == 0
    assert found.state_reads == sent + before


@dataclass(frozen=True)
class Rests(Plasticity):
    """A trace of receivers that rests elsewhere."""

    def post(self) -> Mapping[str, Trace]:
        return {"y": Trace(10.0, rest=1.0)}

    def on_pre(self, s: Named) -> Mapping[str, object]:
        return {"w": s.w * s.y}


def test_a_trace_with_a_rest_decays_to_it() -> None:
    _, heard, before, _, found = work(Rests(w_max=1.0))
    assert found.multiplications == heard + 2 * before
    assert found.additions == 2 * heard + 4 * before
    assert (found.weight_reads, found.state_writes) == (0, heard + before)


@pytest.mark.parametrize(
    ("model", "products", "sums", "states"), [(LIF(tau=8.0), 4, 3, 2), (ALIF(), 7, 5, 3)]
)
def test_eprop_follows_every_step(model: LIF | ALIF, products: int, sums: int, states: int) -> None:
    net = Network(dt=1.0, seed=2)
    cells, given = net.population(model, 5), net.spikes([3.0, 4.0, 9.0], [0, 1, 1], 3)
    rule = EProp(w_max=1.0, w_min=-1.0, every=5.0)
    plastic = net.connect(
        given, cells, AllToAll(), weight=0.1, plasticity=rule, modulator=net.modulator(0.1)
    )
    assert isinstance(plastic, PlasticProjection)
    net._built()
    found = count_plasticity(plastic, np.array([1, 2, 0]), np.zeros(5, np.int64), 20)
    synapses, updates, events = 15, 4, 3 * 5
    assert found.multiplications == synapses * 20 * products + events
    assert found.additions == synapses * (20 * sums + 2 * updates) + events
    # With updates every few steps, what is yet to be added is one number more.
    assert found.state_reads == synapses * 20 * (states + 1)
    assert found.state_writes == synapses * (20 * (states + 1) + updates)
    assert found.weight_reads == synapses * updates
    assert found.synaptic_updates == synapses * 20
    assert learned(get("loihi"), found) == pytest.approx(synapses * 20 * 120e-12)
    assert at_rate(Counts((found,), 1, 20), 2.0).layers[0] == found
