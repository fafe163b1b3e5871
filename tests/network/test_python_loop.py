"""Networks in float64 against loops of plain Python, which nobody optimised.

Weights and currents are multiples of 1/64, so that fixed-point sums and float sums are both exact.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch

from spikesim.network import Explicit, Network
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, LIF, Izhikevich

N, STEPS, SYNAPSES = 60, 400, 900


def wiring(seed: int, scale: float) -> tuple[np.ndarray, ...]:
    """Random pairs, weights of both signs, and delays of 1 to 20 steps."""
    random = np.random.default_rng(seed)
    pre, post = random.integers(0, N, (2, SYNAPSES))
    weight = np.rint(random.normal(0.2, 1.0, SYNAPSES) * scale * 64) / 64
    return pre, post, weight, random.integers(1, 21, SYNAPSES)


class Loop:
    """Spikes on their way, in lists."""

    def __init__(self, pre: np.ndarray, post: np.ndarray, weight: np.ndarray, delay: np.ndarray):
        self.rows: list[list[tuple[int, float, int]]] = [[] for _ in range(N)]
        for i, j, w, d in zip(pre, post, weight, delay, strict=True):
            self.rows[i].append((int(j), float(w), int(d)))
        self.arriving = [[0.0] * N for _ in range(STEPS + 40)]
        self.spikes: list[tuple[int, int]] = []

    def fire(self, step: int, neuron: int) -> None:
        self.spikes.append((step, neuron))
        for target, weight, delay in self.rows[neuron]:
            self.arriving[step + delay][target] += weight


def simulated(
    net: Network,
    neuron: Neuron,
    pairs: tuple[np.ndarray, ...],
    drive: np.ndarray,
    **initial: Any,
) -> list[tuple[int, int]]:
    pre, post, weight, delay = pairs
    cells = net.population(neuron, N, initial=initial)
    net.connect(cells, cells, Explicit(pre, post), weight=weight, delay=delay * net.dt)
    net.current(cells, drive)
    probe = net.probe(cells, "spikes")
    net.run(STEPS * net.dt)
    return list(zip(probe.steps.tolist(), probe.senders.tolist(), strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_izhikevich_fires_as_the_published_loop(threads: int) -> None:
    pairs = wiring(0, 6.0)
    drive = np.rint(np.random.default_rng(1).uniform(0, 12, N) * 64) / 64
    net = Network(dt=1.0, dtype="float64", threads=threads)
    found = simulated(net, Izhikevich(), pairs, drive)

    loop, v, u = Loop(*pairs), [-65.0] * N, [0.2 * -65.0] * N
    for t in range(STEPS):
        for i in range(N):
            current = loop.arriving[t][i] + drive[i]
            v[i] += 0.5 * (0.04 * v[i] * v[i] + 5.0 * v[i] + 140.0 - u[i] + current)
            v[i] += 0.5 * (0.04 * v[i] * v[i] + 5.0 * v[i] + 140.0 - u[i] + current)
            u[i] += 0.02 * (0.2 * v[i] - u[i])
            if v[i] >= 30.0:
                v[i], u[i] = -65.0, u[i] + 8.0
                loop.fire(t, i)
    assert len(loop.spikes) > 300
    assert found == loop.spikes


def test_lif_fires_as_a_plain_loop() -> None:
    pairs = wiring(2, 0.5)
    drive = np.rint(np.random.default_rng(3).uniform(0.5, 2.0, N) * 64) / 64
    start = np.random.default_rng(4).uniform(0.0, 1.0, N)
    net = Network(dt=1.0, dtype="float64")
    neuron = LIF(tau=5.0, leak="exact", refractory=3.0, decay_input=False)
    found = simulated(net, neuron, pairs, drive, v=start)

    loop, v, wait, k = Loop(*pairs), start.tolist(), [0] * N, 1.0 - math.exp(-1.0 / 5.0)
    for t in range(STEPS):
        for i in range(N):
            if wait[i] > 0:
                wait[i] -= 1
                continue
            v[i] = v[i] - v[i] * k + (loop.arriving[t][i] + drive[i])
            if v[i] >= 1.0:
                v[i], wait[i] = 0.0, 3
                loop.fire(t, i)
    assert len(loop.spikes) > 300
    assert found == loop.spikes


def test_a_model_for_training_runs_as_a_population_does() -> None:
    drive = np.rint(np.random.default_rng(5).uniform(0.5, 2.0, N) * 64) / 64
    neuron, net = ALIF(), Network(dt=1.0, dtype="float64")
    nothing = (*np.zeros((2, 0), int), np.zeros(0), np.zeros(0, int))
    found = simulated(net, neuron, nothing, drive)
    x = torch.from_numpy(drive).expand(STEPS, 1, N).contiguous()
    expected = neuron.double()(x)[:, 0].nonzero().tolist()
    assert len(expected) > 300
    assert found == [tuple(pair) for pair in expected]
