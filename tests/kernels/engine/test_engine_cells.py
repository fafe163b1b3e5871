"""Cells against the step of their neuron in torch, bit for bit."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.kernels import engine_tables
from spikesim.kernels.engine import CpuEngine, Ring, SpikeRecorder, StateRecorder
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, CUBALIF, ILIF, LIF, Izhikevich
from spikesim.neurons.lif_exp import LIFExp
from spikesim.ops import bernoulli, noise
from spikesim.surrogate import ATan
from spikesim.types import Named

STEPS = 64


class Noisy(Neuron):
    """Two kinds of random numbers, three a step."""

    states = ("v",)
    stochastic = True

    def __init__(self) -> None:
        super().__init__()
        self.surrogate = ATan()

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        z = noise(inputs.x)
        v = 0.8 * state.v + inputs.x * bernoulli(inputs.x) + 0.1 * z + bernoulli(0.3 * inputs.x)
        s = self.spike(v - 1.0)
        return Named(v=v - s), s


def spread(count: int, value: float) -> Tensor:
    """A parameter that differs from neuron to neuron."""
    return value * (1.0 + 0.1 * torch.rand(count, dtype=torch.float64))


CASES: dict[str, Callable[[int], Neuron]] = {
    "LIF": lambda n: LIF(tau=3.0),
    "LIF per neuron": lambda n: LIF(
        spread(n, 3.0), spread(n, 0.9), v_reset=-0.1, refractory=2.0, leak="exact"
    ),
    "CUBALIF": lambda n: CUBALIF(tau=4.0, tau_synapse=3.0, v_threshold=0.4, v_reset=None),
    "ALIF": lambda n: ALIF(tau=3.0, tau_adaptation=spread(n, 5.0)),
    "ILIF": lambda n: ILIF(),
    "Izhikevich": lambda n: Izhikevich(d=spread(n, 6.0)),
    "Izhikevich Euler": lambda n: Izhikevich(scheme="euler", dt=0.5),
    "LIFExp": lambda n: LIFExp(c_m=20.0, tau_in=3.0, t_ref=3.0, dt=0.5, i_e=10.0),
    "LIFExp per neuron": lambda n: LIFExp(
        spread(n, 10.0), spread(n, 2.0), c_m=spread(n, 20.0), t_ref=spread(n, 3.0), dt=0.5
    ),
    "Noisy": lambda n: Noisy(),
}
STRENGTH = {"Izhikevich": 20.0, "Izhikevich Euler": 20.0, "LIFExp": 40.0, "LIFExp per neuron": 90.0}


def driven(neuron: Neuron, count: int, dtype: str, strength: float) -> dict[str, Ring]:
    """Rings that hold the inputs of all steps; every second neuron of the last gets nothing."""
    kind, quantum = (np.int64, 2.0**-40) if dtype == "float64" else (np.int32, 2.0**-18)
    random = np.random.default_rng(5)
    rings = {}
    for name in neuron.inputs:
        x = strength * (random.standard_normal((STEPS, count)) * 0.7 + 0.8)
        rings[name] = Ring(np.rint(x / quantum).astype(kind), quantum)
    return rings


def reference(neuron: Neuron, rings: dict[str, Ring], dtype: str) -> dict[str, NDArray[Any]]:
    real = getattr(torch, dtype)
    x = {
        name: (torch.from_numpy(ring.array).to(real) * ring.quantum)[:, None]
        for name, ring in rings.items()
    }
    neuron.backend = "torch"
    return {name: rows[:, 0].numpy() for name, rows in neuron.trace(x).items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 33, 1025])
@pytest.mark.parametrize("name", CASES)
def test_cells_are_the_step_of_their_neuron(make: Any, name: str, count: int, dtype: str) -> None:
    neuron = CASES[name](count)
    if neuron.stochastic:
        neuron.layer = 7
        neuron.position = torch.tensor([(3 << 40) + 5, 0, 0])
    rings = driven(neuron, count, dtype, STRENGTH.get(name, 1.0))
    expected = reference(neuron, rings, dtype)
    cells = make.cells(neuron, count, dtype, rings, 8, seed=(3 << 40) + 5, stream=7)
    everyone = np.arange(count, dtype=np.int32)
    spikes = SpikeRecorder(cells, make.bits(count, STEPS))
    states = {
        state: StateRecorder(cells, state, everyone, np.full((STEPS, count), np.nan, dtype))
        for state in neuron.states
    }
    engine = CpuEngine([cells, spikes, *states.values()], block=8)
    for first, steps in ((0, 3), (3, 1), (4, 40), (44, 20)):
        engine.run(first, steps)
    assert np.array_equal(make.unpacked(spikes.bits, count), expected["output"] >= 0.5)
    if count > 1:
        assert 0 < (expected["output"] >= 0.5).mean() < 1
    for state, recorder in states.items():
        assert np.array_equal(recorder.values, expected[state])
        assert np.array_equal(cells.state[state], expected[state][-1])
    assert not any(ring.array.any() for ring in rings.values()), "what was read is cleared"


def test_an_input_without_a_ring_is_zero(make: Any) -> None:
    neuron = LIFExp(dt=0.5, i_e=500.0)
    rings = driven(neuron, 40, "float32", 30.0)
    for name in ("inhibitory", "current"):
        rings[name].array[:] = 0
    expected = reference(neuron, rings, "float32")
    given = {"excitatory": rings["excitatory"], "inhibitory": None}
    cells = make.cells(neuron, 40, "float32", given, 8)
    CpuEngine([cells], block=8).run(0, STEPS)
    assert np.array_equal(cells.traces["v"], expected["v"][-8:])


@pytest.mark.parametrize("block", [1, 2, 16, 64])
def test_bits_and_states_are_those_of_any_block(make: Any, block: int) -> None:
    neuron = LIF(tau=3.0)
    rings = driven(neuron, 100, "float32", 1.0)
    expected = reference(neuron, rings, "float32")
    cells = make.cells(neuron, 100, "float32", rings, block)
    spikes = SpikeRecorder(cells, make.bits(100, STEPS))
    CpuEngine([cells, spikes], block).run(0, STEPS)
    assert np.array_equal(make.unpacked(spikes.bits, 100), expected["output"] >= 0.5)
    assert np.array_equal(cells.state["v"], expected["v"][-1])


def test_neurons_of_one_text_share_a_kernel(make: Any) -> None:
    engine_tables._advance.cache_clear()
    for tau in (2.0, 3.0):
        neuron = LIF(tau=tau)
        rings = driven(neuron, 5, "float32", 1.0)
        CpuEngine([make.cells(neuron, 5, "float32", rings, 1)], 1).run(0, 1)
    assert engine_tables._advance.cache_info().misses == 1


def test_loops_are_vectors_of_float32(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    neuron = LIFExp(t_ref=0.0)
    rings = driven(neuron, 5, "float32", 1.0)
    found = []
    advance = engine_tables._advance
    monkeypatch.setattr(
        engine_tables, "_advance", lambda *at: found.append(advance(*at)) or found[0]
    )
    CpuEngine([make.cells(neuron, 5, "float32", rings, 8)], 8)
    text = found[0].inspect_llvm()
    assert re.search(r"fsub <\d+ x float>", text)
    assert re.search(r"sitofp <\d+ x i32>", text)
    assert re.search(r"phi <\d+ x float>", text), "states do not stay in registers"
    assert "load double" not in text, "rows fall into pieces"
