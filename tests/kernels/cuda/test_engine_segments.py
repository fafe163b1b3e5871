"""Spikes of the last steps against slow loops: every synapse adds once, when its delay ends."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from host_cuda import HostModule
from numpy.typing import NDArray

from spikesim.errors import BackendError, UserError
from spikesim.kernels import cupy_module, engine_cuda_circuit, engine_cuda_launch
from spikesim.kernels.engine import Cells, Delivery, Ring, SpikeSource, StateRecorder
from spikesim.kernels.engine_cupy import CudaEngine
from spikesim.neuron import Neuron
from spikesim.types import Named

HOST = torch.device("cpu")
POST = 37


class Relay(Neuron):
    """Its state is what arrives in a step."""

    states = ("v",)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, torch.Tensor]:
        return Named(v=inputs.x), 0.0 * inputs.x


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_module, "module", HostModule)


@dataclass
class Case:
    """Spikes and synapses onto ``POST`` neurons."""

    raster: NDArray[np.bool_]
    lengths: NDArray[np.int64]
    delays: NDArray[np.int64]
    dtype: str = "float32"
    has_weights: bool = True
    slots: int = 16

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.lengths.sum())
        self.indptr = np.concatenate([[0], np.cumsum(self.lengths)])
        self.target = np.concatenate([np.sort(random.integers(0, POST, n)) for n in self.lengths])
        self.weight = random.integers(-300, 300, len(self.target))
        if not self.has_weights:
            self.weight[:] = 7

    def arrived(self) -> NDArray[np.int64]:
        """``[steps, POST]``."""
        steps = len(self.raster)
        found = np.zeros((steps + self.slots, POST), np.int64)
        for step, sender in np.argwhere(self.raster):
            row = slice(self.indptr[sender], self.indptr[sender + 1])
            np.add.at(found, (step + self.delays[row], self.target[row]), self.weight[row])
        return found[:steps]

    def engine(self) -> tuple[CudaEngine, Cells, StateRecorder]:
        kind = np.int64 if self.dtype == "float64" else np.int32
        steps, count = self.raster.shape
        ring = Ring(np.zeros((self.slots, POST), kind), 1.0)
        at = [np.ascontiguousarray(a) for a in np.nonzero(self.raster)]
        bits = np.zeros((1, -(-count // 32)), np.uint32)
        source = SpikeSource(count, bits, at[0], at[1].astype(np.int32))
        state = {"v": np.zeros(POST, self.dtype)}
        post = Cells(Relay(), POST, self.dtype, {}, state, {"x": ring}, np.zeros((1, 2), np.uint32))
        post.traces = {"v": np.zeros((1, POST), self.dtype)}
        weight = self.weight.astype(np.int16) if self.has_weights else 7
        place = (self.delays * POST + self.target).astype(np.uint32)
        synapses = Delivery(source, ring, self.indptr, place, None, weight)
        chosen = np.arange(POST, dtype=np.int32)
        recorder = StateRecorder(post, "v", chosen, np.zeros((steps, POST), self.dtype))
        engine = CudaEngine([source, post, synapses, recorder], 1, HOST)
        return engine, post, recorder


def case(kind: str, **more: Any) -> Case:
    random = np.random.default_rng(8)
    if kind == "odd rows":
        lengths = np.array([0, 1, 3, 4, 5, 31, 33, 0, 128, 131, 700, 2, 0])
        return Case(random.random((40, 13)) < 0.3, lengths, random.integers(1, 15, 1038), **more)
    if kind == "all spike in all steps":
        lengths = random.integers(0, 9, 150)
        delays = random.integers(1, 4, lengths.sum())
        return Case(np.ones((9, 150), bool), lengths, delays, **more)
    if kind == "a row of 70,000":
        lengths = np.array([5, 70_000, 40])
        raster = np.zeros((12, 3), bool)
        raster[[0, 3, 4], [1, 0, 2]] = True
        return Case(raster, lengths, random.integers(1, 8, 70_045), **more)
    if kind == "more delays than threads":
        lengths = np.array([200, 0, 77, 2])
        delays = np.concatenate([np.arange(200) % 140 + 1, random.integers(1, 141, 79)])
        return Case(random.random((150, 4)) < 0.03, lengths, delays, slots=256, **more)
    assert kind == "one delay"
    lengths = random.integers(0, 40, 20)
    return Case(random.random((30, 20)) < 0.2, lengths, np.full(lengths.sum(), 15), **more)


KINDS = (
    "odd rows",
    "all spike in all steps",
    "a row of 70,000",
    "more delays than threads",
    "one delay",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "has_weights"), [("float32", True), ("float64", False)])
def test_every_synapse_adds_once(kind: str, dtype: str, has_weights: bool) -> None:
    of = case(kind, dtype=dtype, has_weights=has_weights)
    engine, _, recorder = of.engine()
    (layer,) = engine.circuit.layers[0]
    assert layer.lags.tolist() == np.unique(of.delays - 1).tolist()
    assert layer.ends.element_size() == (4 if of.lengths.max() > 65_535 else 2)
    # Nothing of lists and rows is read but what was written.
    ids, _ = engine.circuit._lists[0]
    ids.fill_(-1)
    layer.place[len(of.target) :] = -1
    engine.run(0, len(of.raster))
    assert np.array_equal(recorder.values, of.arrived())


def test_what_is_on_its_way_is_that_of_a_ring() -> None:
    of = case("odd rows")
    engine, post, recorder = of.engine()
    ring = post.rings["x"]
    assert ring is not None
    whole = of.arrived()
    for first, last in ((0, 1), (1, 9), (9, 25)):
        engine.run(first, last - first)
        engine.download(last)
        before = ring.array.copy()
        engine.download(last)  # which changes nothing
        assert np.array_equal(before, ring.array)
        late = Case(of.raster.copy(), of.lengths, of.delays)
        late.raster[last:] = False
        coming = late.arrived()[last : last + of.slots]
        assert coming.any()
        steps = np.arange(last, last + len(coming)) % of.slots
        assert np.array_equal(ring.array[steps], coming)
    # Another engine, whose neurons know no spikes so far, goes on with the ring.
    other, post, further = of.engine()
    target = post.rings["x"]
    assert target is not None
    target.array[:] = ring.array
    other.run(25, 4)
    other.download(29)
    engine.run(25, 4)
    engine.download(29)
    assert np.array_equal(target.array, ring.array)
    other.run(29, len(whole) - 29)
    assert np.array_equal(recorder.values[:29], whole[:29])
    assert np.array_equal(further.values[25:], whole[25:])


def test_too_many_neurons_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_cuda_circuit, "COUNTED", 100)
    with pytest.raises(BackendError, match="more neurons than"):
        case("one delay").engine()


def test_too_little_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 << 30, 8 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2 << 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 << 30)
    device = torch.device("cuda", 0)
    engine_cuda_launch.check_fits(4 << 30, "the synapses", device)
    with pytest.raises(UserError, match=r"the synapses need about 5 GiB of cuda:0, 4 GiB are free"):
        engine_cuda_launch.check_fits(5 << 30, "the synapses", device)
