"""Plastic networks on the CUDA engine and on the CPU's: the same bits, however they are run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from outcome import same_arrays

from spikesim.errors import BackendError
from spikesim.kernels import engine_cuda_plastic
from spikesim.kernels.engine import Received
from spikesim.kernels.engine_cuda_plastic import Plastics
from spikesim.network import (
    AllToAll,
    Ensemble,
    FixedIndegree,
    FixedProbability,
    Network,
    Normal,
    Uniform,
)
from spikesim.network.plasticity import PairSTDP, RewardSTDP, TsodyksMarkram
from spikesim.neurons import LIFDelta, LIFExp

Run = Callable[[Network], Network]
TIME = 12.0


def recurrent(seed: int = 7, device: str = "cpu") -> Network:
    """Several rules onto and from two models, on two levels, some of one program."""
    net = Network(dt=0.1, seed=seed, device=device)
    exc = net.population(LIFExp(), 143, name="exc", initial={"v": Uniform(-70.0, -55.0)})
    inh = net.population(LIFDelta(), 61, name="inh")
    out = net.population(LIFDelta(), 20, name="out")
    dopamine = net.modulator(0.002, tau=40.0, name="dopamine")
    net.modulator(3.0, tau=5.0, name="idle")
    wave = net.modulator(lambda t: 0.01 * np.sin(t), every=0.7, name="wave")
    delays, some = Normal(mean=1.5, std=0.7, low=0.3), FixedProbability(0.2)
    stdp = PairSTDP(w_max=90.0, rate=0.02, mu_plus=0.4, mu_minus=0.7)
    net.connect(exc, exc, some, weight=40.0, delay=delays, plasticity=stdp, name="stdp")
    net.connect(exc, exc, some, weight=30.0, delay=delays, plasticity=stdp, name="more stdp")
    reward = RewardSTDP(w_max=2.0, tau_e=2.0, a_plus=1.0)
    net.connect(exc, inh, some, weight=0.5, delay=1.5, plasticity=reward, modulator=dopamine)
    net.connect(exc, inh, some, weight=0.5, delay=1.5, plasticity=reward, modulator=wave)
    tired = TsodyksMarkram(tau_fac=50.0)
    net.connect(inh, exc, some, weight=-90.0, delay=0.8, plasticity=tired)
    net.connect(inh, out, FixedProbability(0.5), weight=4.0, delay=0.0)
    net.connect(exc, out, some, weight=1.0, delay=0.3, plasticity=PairSTDP(w_max=2.0, rate=0.2))
    net.poisson(exc, 9000.0, 60.0)
    net.poisson(inh, 3000.0, 0.4)
    return net


def result(net: Network, probes: list[Any]) -> list[np.ndarray]:
    trains = [array for probe in probes for array in (probe.steps, probe.senders)]
    weights = [projection.table()["weight"] for projection in net.projections]
    return [*trains, *weights, *(array for _, array in sorted(net.state_dict().items()))]


def spikes(net: Network) -> list[Any]:
    return [net.probe(group, "spikes") for group in net.groups]


@pytest.fixture(scope="module")
def expected() -> list[np.ndarray]:
    net = recurrent()
    probes = spikes(net)
    first = [projection.table()["weight"] for projection in net.projections]
    net.run(TIME)
    assert all(len(probe.steps) > 10 for probe in probes)
    last = [projection.table()["weight"] for projection in net.projections]
    moved = [not np.array_equal(a, b) for a, b in zip(first, last, strict=True)]
    assert moved == [True, True, True, True, False, False, True]
    return result(net, probes)


def test_a_network_of_many_rules_has_the_cpus_bits(
    plastic_cuda: Run, expected: list[np.ndarray]
) -> None:
    net = plastic_cuda(recurrent())
    probes = spikes(net)
    net.run(TIME)
    assert same_arrays(result(net, probes), expected)


def test_a_divided_run_with_looks_is_the_same(
    plastic_cuda: Run, expected: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_cuda_plastic, "TOGETHER", 1)
    net = plastic_cuda(recurrent())
    probes = spikes(net)
    weights = net.probe(net.projections[0], "weight", synapses=[3, 100, 7, 3], every=3.3)
    for ms in (0.1, 5.3, TIME - 5.4):
        net.run(ms)
        net.projections[3].weights()
        net.state_dict()
    assert same_arrays(result(net, probes), expected)
    other = recurrent()
    seen = other.probe(other.projections[0], "weight", synapses=[3, 100, 7, 3], every=3.3)
    other.run(TIME)
    assert len(weights.values) == 3
    assert np.array_equal(weights.values, seen.values)


def test_a_state_goes_to_the_cpu_and_back(plastic_cuda: Run, expected: list[np.ndarray]) -> None:
    first, second, third = plastic_cuda(recurrent()), recurrent(), plastic_cuda(recurrent())
    first.run(5.3)
    second.load_state_dict(first.state_dict())
    second.run(3.0)
    third.run(0.5)  # what it has done is forgotten
    third.load_state_dict(second.state_dict())
    for one, other in zip(second.projections, third.projections, strict=True):
        assert np.array_equal(one.table()["weight"], other.table()["weight"])
    third.run(TIME - 8.3)
    left = [array for _, array in sorted(third.state_dict().items())]
    assert same_arrays(left, expected[-len(left) :])


def test_an_ensemble_of_plastic_networks(plastic_cuda: Run, expected: list[np.ndarray]) -> None:
    alone = recurrent(8)
    probes = spikes(alone)
    alone.run(TIME)
    nets = [plastic_cuda(recurrent(seed)) for seed in (7, 8)]
    seen = [spikes(net) for net in nets]
    Ensemble(nets).run(TIME)
    assert same_arrays(result(nets[0], seen[0]), expected)
    assert same_arrays(result(nets[1], seen[1]), result(alone, probes))


def test_modulators_and_weights_are_changed_between_runs(plastic_cuda: Run) -> None:
    left = []
    for net in (recurrent(), plastic_cuda(recurrent())):
        net.run(3.0)
        for modulator in net.modulators[:2]:
            modulator.add(0.01)
        values = [modulator.value for modulator in net.modulators]
        stdp: Any = net.projections[0]
        stdp.set_weights(np.linspace(20.0, 95.0, len(stdp)))
        at_once = stdp.weights()
        net.run(4.0)
        left.append([*values, at_once, *result(net, [])])
    assert same_arrays(*left)


def test_weights_at_the_end_of_a_window(plastic_cuda: Run) -> None:
    """Eligibilities are folded there; a look must not count their growth again."""
    found = []
    for steps in (32, 33):
        net = Network(dt=0.5, dtype="float64")
        senders = net.spikes([1.0, 5.0], [0, 0], 1)
        cells = net.population(LIFDelta(), 1, initial={"v": -50.0})
        modulator = net.modulator(0.01)
        rule = RewardSTDP(w_max=9.0, w_min=-9.0, tau_e=5.0)
        how = {"weight": 0.5, "delay": 1.0, "plasticity": rule, "modulator": modulator}
        made: Any = net.connect(senders, cells, AllToAll(), **how)
        net.current(cells, 2000.0)
        net = plastic_cuda(net)
        net.run(16.0)
        modulator.value = 0.0
        net.run(0.5 * (steps - 32))
        found.append(made.weights())
    assert abs(found[0] - 0.5) > 1e-3
    assert np.allclose(*found, rtol=1e-12)


def test_senders_of_other_processes_are_refused() -> None:
    net = recurrent()
    net.run(0.1)
    assert net._machine is not None
    delivery: Any = net._machine.deliveries[net.projections[0]]
    delivery.source = Received(143, np.zeros((1, 5), np.uint32))
    with pytest.raises(BackendError, match="several processes need device='cpu'"):
        Plastics([delivery], [], {}, {}, {}, torch.device("cpu"))


def brunel(device: str) -> Network:
    """A tenth of Brunel's network, whose excitatory synapses on excitatory cells learn."""
    net = Network(dt=0.1, seed=3, device=device)
    cell = LIFDelta(tau_m=20.0, e_l=0.0, v_threshold=20.0, v_reset=10.0, t_ref=2.0)
    exc, inh = (net.population(cell, n, name=name) for n, name in ((1000, "e"), (250, "i")))
    rule = PairSTDP(w_max=0.2, rate=0.01)
    for post in (exc, inh):
        net.poisson(post, 20_000.0, weight=0.1)
        learns = rule if post is exc else None
        net.connect(exc, post, FixedIndegree(1000), weight=0.1, delay=1.5, plasticity=learns)
        net.connect(inh, post, FixedIndegree(250), weight=-0.5, delay=1.5)
    return net


@pytest.mark.gpu
def test_brunels_network_learns_the_same_on_a_device() -> None:
    left = []
    for device in ("cpu", "cuda"):
        net = brunel(device)
        probes = spikes(net)
        net.run(300.0)
        left.append(result(net, probes))
    assert len(left[0][0]) > 1_000
    assert same_arrays(*left)


@pytest.mark.gpu
def test_synapses_made_on_a_device_are_those_of_the_cpu() -> None:
    left = []
    for device in ("cpu", "cuda"):
        net = recurrent(device=device)
        probes = spikes(net)
        net.run(TIME)
        left.append(result(net, probes))
    assert same_arrays(*left)
