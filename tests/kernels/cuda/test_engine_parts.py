"""What the CUDA engine is made of: layers of synapses, joint populations, what it refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from host_cuda import HostModule

from spikesim.errors import BackendError, UserError
from spikesim.kernels import cupy_module
from spikesim.kernels.engine import Cells, CpuEngine, Delivery, Operation, Ring, SpikeSource
from spikesim.kernels.engine_cupy import CudaEngine
from spikesim.network import Network
from spikesim.neuron import Neuron
from spikesim.neurons import LIFExp
from spikesim.types import Named

HOST = torch.device("cpu")
STEPS, SLOTS, COUNT = 30, 16, 70


class Divided(Neuron):
    """A parameter is divided by a state: torch rounds a number otherwise than an array."""

    states = ("v",)

    def __init__(self, gain: Any) -> None:
        super().__init__()
        self.add_parameter("gain", gain)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, torch.Tensor]:
        v = p.gain / (1.5 + state.v * state.v) + inputs.x
        return Named(v=v), v - 0.9 * p.gain


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_module, "module", HostModule)


def ring(count: int = COUNT) -> Ring:
    return Ring(np.zeros((SLOTS, count), np.int32), 2.0**-10)


def cells(neuron: Neuron, rings: dict[str, Ring], count: int = COUNT) -> Cells:
    like = torch.zeros(1, count)
    values = neuron.bound().values(neuron.values(like))
    given = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in values.items()}
    state = {name: v[0].numpy().copy() for name, v in neuron.initial_state(like).items()}
    bits = np.zeros((1, -(-count // 32)), np.uint32)
    return Cells(neuron, count, "float32", given, state, rings, bits)


def source(count: int = 40) -> SpikeSource:
    random = np.random.default_rng(1)
    steps, senders = np.nonzero(random.random((STEPS, count)) < 0.2)
    bits = np.zeros((1, -(-count // 32)), np.uint32)
    return SpikeSource(count, bits, steps.copy(), senders.astype(np.int32))


def delivery(pre: Any, to: Ring, weight: int | None = None, seed: int = 0) -> Delivery:
    """Random synapses; without a weight each has its own, and its own delay."""
    random = np.random.default_rng(seed)
    neurons = to.array.shape[1]
    many = random.integers(0, 20, pre.count)
    indptr = np.concatenate([[0], np.cumsum(many)])
    place = np.concatenate([np.sort(random.integers(0, neurons, n)) for n in many])
    if weight is not None:
        return Delivery(pre, to, indptr, place.astype(np.uint16), 3, weight)
    delays = random.integers(1, SLOTS - 1, len(place))
    weights = random.integers(-500, 500, len(place), dtype=np.int16)
    place = (delays * neurons + place).astype(np.uint32)
    return Delivery(pre, to, indptr, place, None, weights)


def network() -> tuple[list[Operation], Cells]:
    exc, inh = ring(), ring()
    post = cells(LIFExp(), {"excitatory": exc, "inhibitory": inh})
    pre = source()
    own = [delivery(pre, exc), delivery(pre, exc, 900, 1), delivery(pre, inh, -300, 2)]
    return [pre, post, *own, delivery(post, exc, 900, 3), delivery(pre, exc, 901, 4)], post


def after(engine: Any, post: Cells) -> list[np.ndarray]:
    engine.run(0, STEPS)
    if isinstance(engine, CudaEngine):
        engine.download(STEPS)
    rings = [ring.array for ring in post.rings.values() if ring is not None]
    assert any(found.any() for found in rings)
    return [*post.state.values(), *rings]


def test_deliveries_share_rows_where_they_can() -> None:
    operations, _ = network()
    (layers,) = CudaEngine(operations, 1, HOST).circuit.layers.values()
    kinds = [(layer.is_each, len(layer.members)) for layer in layers]
    assert kinds == [(True, 1), (False, 2), (False, 1), (False, 1)]
    for layer in layers:
        synapses = sum(len(member.place) for member in layer.members)
        held = layer.place.nbytes + layer.weight.nbytes * layer.is_each
        assert synapses * 4 <= held <= (synapses + 3) * (8 if layer.is_each else 4)


@pytest.mark.parametrize("names", ["signed", "unsigned"])
def test_synapses_may_be_tensors_on_the_device(names: str) -> None:
    operations, post = network()
    want = after(CpuEngine(operations, 1), post)
    operations, post = network()
    kinds = {
        "signed": {2: torch.int16, 4: torch.int32},
        "unsigned": {2: torch.uint16, 4: torch.uint32},
    }[names]
    for k, part in enumerate(operations):
        if isinstance(part, Delivery):
            place = torch.from_numpy(part.place.view(f"i{part.place.itemsize}"))
            weight = part.weight
            operations[k] = replace(
                part,
                indptr=torch.from_numpy(part.indptr),  # type: ignore[arg-type]
                place=place.view(kinds[place.element_size()]),  # type: ignore[arg-type]
                weight=weight if isinstance(weight, int) else torch.from_numpy(weight),  # type: ignore[arg-type]
            )
    assert all(map(np.array_equal, after(CudaEngine(operations, 1, HOST), post), want))


def test_a_number_that_is_divided_is_not_joined_with_an_array() -> None:
    def joined() -> tuple[list[Cells], list[Operation]]:
        gains = 0.7, 0.9, torch.linspace(0.3, 0.8, COUNT)
        groups = [cells(Divided(gain), {"x": ring()}) for gain in gains]
        return groups, [*groups, delivery(groups[0], groups[1].rings["x"], 55)]  # type: ignore[arg-type]

    groups, operations = joined()
    CpuEngine(operations, 1).run(0, STEPS)
    others, operations = joined()
    engine = CudaEngine(operations, 1, HOST)
    assert [len(joint.cells) for joint in engine.circuit.joint] == [2, 1]
    engine.run(0, STEPS)
    engine.download(STEPS)
    for one, other in zip(groups, others, strict=True):
        assert np.array_equal(one.state["v"], other.state["v"])


def test_synapses_beyond_their_ring_are_refused() -> None:
    pre, to = source(), ring()
    post = cells(LIFExp(), {"excitatory": to})
    good = delivery(pre, to, 5)
    far = replace(good, place=np.full_like(good.place, COUNT))
    late = replace(good, delay=SLOTS)
    with pytest.raises(ValueError, match="beyond"):
        CudaEngine([pre, post, far], 1, HOST)
    with pytest.raises(ValueError, match="beyond"):
        CudaEngine([pre, post, late], 1, HOST)
    with pytest.raises(ValueError, match="place and weight"):
        CudaEngine([pre, post, replace(good, place=good.place[1:])], 1, HOST)
    with pytest.raises(ValueError, match="ascend"):
        CudaEngine([pre, post, replace(good, indptr=good.indptr[::-1].copy())], 1, HOST)
    with pytest.raises(ValueError, match="no cells"):
        CudaEngine([pre, post, replace(good, ring=ring())], 1, HOST)
    with pytest.raises(ValueError, match="after the cells"):
        CudaEngine([pre, post, replace(good, delay=0)], 1, HOST)


def test_an_operation_without_a_kernel_is_refused() -> None:
    with pytest.raises(BackendError, match="str has no CUDA kernel"):
        CudaEngine(["plastic"], 1, HOST)  # type: ignore[list-item]


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="device must be 'cpu', 'cuda'"):
        Network(device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(BackendError, match=r"'cuda' cannot serve: .* device='cpu'"):
            Network(device="cuda")
