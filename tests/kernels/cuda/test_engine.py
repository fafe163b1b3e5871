"""Networks on the CUDA engine and on the CPU's: the same bits."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from host_cuda import run_on_host
from outcome import same_arrays

from spikesim.kernels import engine_cuda_cells, engine_cuda_records
from spikesim.kernels.engine_cupy import CudaEngine
from spikesim.network import (
    AllToAll,
    Ensemble,
    FixedIndegree,
    FixedProbability,
    Network,
    Normal,
    OneToOne,
    Uniform,
)
from spikesim.network.recipes import brunel, microcircuit
from spikesim.neuron import Neuron
from spikesim.neurons import LIFCondExp, LIFExp
from spikesim.neurons.lif_delta import LIFDelta
from spikesim.ops import bernoulli, noise
from spikesim.types import Named

Dtype = Literal["float32", "float64"]
Run = Callable[[Network], Network]


class Coin(Neuron):
    """Draws three numbers a step."""

    states = ("v",)
    stochastic = True

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, torch.Tensor]:
        v = 0.5 * state.v + 0.1 * noise(inputs.x) + inputs.x
        s = bernoulli(0.02 + 0.0 * v)
        return Named(v=v - bernoulli(0.5 + 0.0 * v)), s


@pytest.fixture
def on_host_engine(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Makes a network run on the CUDA engine, with its kernels on the host."""

    def moved(net: Network) -> Network:
        net.device = torch.device("cuda")
        return net

    run_on_host(monkeypatch)
    return moved


@pytest.fixture(params=["host", pytest.param("device", marks=pytest.mark.gpu)])
def cuda(request: pytest.FixtureRequest) -> Run:
    """Makes a network run on the CUDA engine: on the host, and on a device where there is one."""
    if request.param == "host":
        found: Run = request.getfixturevalue("on_host_engine")
        return found

    def moved(net: Network) -> Network:
        net.device = torch.device("cuda", 0)
        return net

    return moved


def cortex(dtype: Dtype = "float32", seed: int = 3) -> Network:
    """Populations of odd sizes, some updated together, with all kinds of delays and drives."""
    net = Network(dt=0.1, seed=seed, dtype=dtype)
    slow = LIFExp(tau_m=10.0, t_ref=1.0)
    fast = LIFExp(tau_m=torch.linspace(6.0, 9.0, 45, dtype=torch.float64), t_ref=0.5, i_e=200.0)
    big = net.population(slow, 333, name="big", initial={"v": Normal(-60.0, 5.0)})
    small = net.population(fast, 45, name="small", initial={"v": -56.0})
    delta = net.population(LIFDelta(), 130, name="delta", initial={"v": Uniform(-70.0, -55.0)})
    coin = net.population(Coin(), 70, name="coin")
    random = np.random.default_rng(5)
    times, senders = random.uniform(0, 12, 300), random.integers(0, 37, 300)
    given = net.spikes([*times, 0.35, 0.35], [*senders, 3, 3], 37, name="given")
    spread = Uniform(0.1, 3.3)
    net.connect(big, big, FixedProbability(0.1), weight=Normal(30.0, 5.0), delay=spread)
    net.connect(big, small, FixedProbability(0.2), weight=45.0, delay=1.5)
    net.connect(big, delta, FixedIndegree(9), weight=0.5, delay=0.7, name="by indegree")
    net.connect(small, big, FixedProbability(0.3), weight=Normal(-60.0, 9.0, -100, -1), delay=0.4)
    net.connect(small, delta, FixedProbability(0.1), weight=-0.25, delay=0.7)
    net.connect(small, delta, FixedProbability(0.1), weight=-0.5, delay=spread)
    net.connect(given, big, FixedProbability(0.2), weight=200.0, delay=0.2)
    net.connect(coin, coin, FixedProbability(0.2), weight=Normal(0.0, 0.1), delay=spread)
    net.connect(coin, small, FixedIndegree(3), weight=Normal(50.0, 1.0), delay=5.0)
    net.poisson(big, rate=8_000.0, weight=60.0)
    net.poisson(big, rate=np.linspace(0.0, 500.0, 333), weight=-70.0)
    net.poisson(delta, rate=lambda t: 9_000.0 + 500.0 * t, weight=0.3, every=1.0, largest=2e4)
    net.noise(small, mean=100.0, std=400.0)
    net.current(big, lambda t: 30.0 * np.sin(t + np.arange(333)), every=0.5, largest=30.0)
    return net


def watched(net: Network) -> list[Any]:
    """Probes of all spikes, and of some states."""
    spikes = [net.probe(group, "spikes") for group in net.groups]
    first, last = net.groups[0], net.groups[3]
    chosen = net.probe(first, "i_ex", neurons=[300, 2, 7])
    return [*spikes, net.probe(first, "v"), chosen, net.probe(last, "v", neurons=[69])]


def result(net: Network, probes: list[Any]) -> list[np.ndarray]:
    """What probes have seen, and all that the run leaves."""
    assert all(len(probe) > 10 for probe in probes[: len(net.groups)])
    seen = [array for probe in probes[: len(net.groups)] for array in (probe.steps, probe.senders)]
    seen += [probe.values for probe in probes[len(net.groups) :]]
    return [*seen, *(array for _, array in sorted(net.state_dict().items()))]


@pytest.fixture(scope="module")
def expected() -> list[np.ndarray]:
    net = cortex()
    probes = watched(net)
    net.run(6.0)
    return result(net, probes)


def test_a_network_of_everything_has_the_cpus_bits(cuda: Run, expected: list[np.ndarray]) -> None:
    net = cuda(cortex())
    probes = watched(net)
    net.run(6.0)
    assert same_arrays(result(net, probes), expected)


def test_threads_that_take_turns_change_nothing(
    cuda: Run, expected: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_cuda_cells, "MANY", 0)
    net = cuda(cortex())
    probes = watched(net)
    net.run(6.0)
    assert same_arrays(result(net, probes), expected)


def test_so_it_has_in_float64(cuda: Run) -> None:
    results = []
    for net in (cortex("float64"), cuda(cortex("float64"))):
        probes = watched(net)
        net.run(3.0)
        results.append(result(net, probes))
    assert same_arrays(*results)


def test_a_divided_run_recorded_in_small_parts(
    cuda: Run, expected: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_cuda_records, "MOST_ROWS", 7)
    net = cuda(cortex())
    probes = watched(net)
    for ms in (0.1, 2.3, 3.6):
        net.run(ms)
    assert same_arrays(result(net, probes), expected)


def test_probes_that_come_later_find_the_same_network(
    cuda: Run, expected: list[np.ndarray]
) -> None:
    net = cuda(cortex())
    net.run(1.7)
    assert net._player is not None
    before = net._player.engine
    probes = watched(net)
    net.run(4.3)
    assert isinstance(before, CudaEngine)
    assert before.circuit is net._player.engine.circuit  # type: ignore[union-attr]
    seen = len(probes[0])
    assert 0 < seen < len(expected[0])
    assert np.array_equal(probes[0].senders, expected[1][-seen:])
    assert same_arrays(result(net, probes)[-9:], expected[-9:])


def test_a_state_goes_to_the_cpu_and_back(cuda: Run, expected: list[np.ndarray]) -> None:
    first, second, third = cuda(cortex()), cortex(), cuda(cortex())
    first.run(1.9)
    second.load_state_dict(first.state_dict())
    second.run(2.0)
    third.run(0.5)  # what it has done is forgotten
    third.load_state_dict(second.state_dict())
    third.run(2.1)
    left = [array for _, array in sorted(third.state_dict().items())]
    assert same_arrays(left, expected[-len(left) :])


def test_networks_of_an_ensemble_have_the_bits_they_have_alone(cuda: Run) -> None:
    alone, together = [cortex(seed=s) for s in (3, 4)], [cuda(cortex(seed=s)) for s in (3, 4)]
    probes = [[watched(net) for net in nets] for nets in (alone, together)]
    both = Ensemble(together)
    for ms in (0.7, 2.3):
        for net in alone:
            net.run(ms)
        both.run(ms)
    for one, other, seen, too in zip(alone, together, *probes, strict=True):
        assert same_arrays(result(one, seen), result(other, too))


def test_states_may_be_read_and_written_between_runs(cuda: Run) -> None:
    left = []
    for net in (cortex(), cuda(cortex())):
        net.run(1.0)
        v = net.groups[0].state["v"]  # type: ignore[attr-defined]
        seen = v.copy()
        v[::3] = -71.0
        net.run(1.0)
        left.append([seen, v.copy()])
    assert same_arrays(*left)


def test_no_delay_goes_through_a_chain_in_one_step(cuda: Run) -> None:
    results = []
    for place in (lambda net: net, cuda):
        net = Network(dt=0.5)
        times = [0.5, 1.5, 1.5, 3.0, 6.0, 6.5]
        given = net.spikes(times, [0, 1, 2, 0, 2, 1], 3)
        chain = [net.population(LIFDelta(t_ref=0.5), 40 + k, name=f"{k}") for k in range(3)]
        net.connect(given, chain[0], AllToAll(), weight=9.0, delay=0.0)
        net.connect(given, chain[2], FixedProbability(0.4), weight=9.0, delay=0.5)
        for pre, post in ((chain[0], chain[1]), (chain[1], chain[2])):
            spread = np.arange(3 * post.size) % 3 * 0.5
            net.connect(pre, post, FixedIndegree(3), weight=7.0, delay=spread)
            net.connect(pre, post, FixedProbability(0.3), weight=Normal(4.0, 1.0), delay=0.5)
        net.connect(chain[2], chain[0], FixedProbability(0.5), weight=6.0, delay=1.0)
        for group in chain:
            net.current(group, 80.0)
        net = place(net)
        probes = [net.probe(group, "spikes") for group in (given, *chain)]
        net.run(8.0)
        assert all(len(probe) for probe in probes)
        results.append([a for p in probes for a in (p.steps, p.senders)])
    assert same_arrays(*results)


def test_all_neurons_may_spike_at_once(cuda: Run) -> None:
    results = []
    for place in (lambda net: net, cuda):
        net = Network(dt=1.0)
        cells = net.population(LIFDelta(t_ref=1.0), 700)
        net.current(cells, 2_000.0)
        net.connect(cells, cells, FixedProbability(0.05), weight=Normal(-0.4, 0.1), delay=2.0)
        net.connect(cells, cells, OneToOne(), weight=0.3, delay=1.0, name="alone")
        net = place(net)
        probe = net.probe(cells, "spikes")
        net.run(30.0)
        results.append([probe.steps, probe.senders, cells.state["v"]])
    assert max(np.bincount(results[0][0])) == 700
    assert same_arrays(*results)


def test_functions_of_a_neuron_have_the_cpus_bits_in_float32(cuda: Run) -> None:
    results = []
    for place in (lambda net: net, cuda):
        net = Network(dt=0.1, seed=2)
        cells = net.population(LIFCondExp(), 90, initial={"v": Uniform(-65.0, -50.0)})
        net.poisson(cells, rate=20_000.0, weight=1.0)
        net.connect(cells, cells, FixedIndegree(20), weight=0.5, delay=0.3)
        net = place(net)
        probe = net.probe(cells, "v")
        net.run(10.0)
        results.append([probe.values])
    assert same_arrays(*results)


def test_a_network_without_synapses_or_drives(cuda: Run) -> None:
    results = []
    for place in (lambda net: net, cuda):
        net = Network(dt=0.1)
        cells = net.population(LIFExp(i_e=600.0), 3)
        given = net.spikes([0.5, 7.0], [0, 1], 2)
        net = place(net)
        probes = [net.probe(cells, "spikes"), net.probe(given, "spikes")]
        net.run(20.0)
        results.append([a for p in probes for a in (p.steps, p.senders)])
    assert all(len(a) for a in results[0])
    assert same_arrays(*results)


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", [brunel, microcircuit])
def test_recipes_on_a_device(recipe: Callable[..., Network]) -> None:
    left = []
    for device in ("cpu", "cuda"):
        net = recipe(scale=0.1, seed=4, device=device)
        probes = [net.probe(group, "spikes") for group in net.groups]
        net.run(300.0)
        spikes = [a for p in probes for a in (p.steps, p.senders)]
        left.append([*spikes, *(a for _, a in sorted(net.state_dict().items()))])
    assert sum(len(probe.steps) for probe in probes) > 1_000
    assert same_arrays(*left)
