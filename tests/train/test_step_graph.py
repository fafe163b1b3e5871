"""Pieces of a step as CUDA graphs: when they are captured, and the same bits from replays."""

from collections import Counter, deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.models import create
from spikesim.train.config import Config, TrainSettings
from spikesim.train.graph import WARM_UP, Graphs, Key, Piece, check_cuda_graph
from spikesim.train.later import Later
from spikesim.train.loop import train
from spikesim.train.monitor import RateMonitor
from spikesim.train.step import Stepper
from spikesim.world import World

Helper = Callable[..., Any]
Make = Callable[..., Config]


class Repeat:
    """Stands for a captured graph: a replay runs the function on the graph's own inputs."""

    def __init__(self, function: Callable[..., object], inputs: tuple[Tensor, ...]) -> None:
        self.function, self.inputs = function, inputs
        self.output: object = None

    def replay(self) -> None:
        written = self.function(*self.inputs)
        if isinstance(self.output, Tensor) and isinstance(written, Tensor):
            self.output.copy_(written)
        self.output = written if self.output is None else self.output


class CPUGraphs(Graphs):
    """The rules of :class:`Graphs` without a device: when to run, capture, replay and free."""

    def __init__(self) -> None:
        self.captured, self.log = {}, []  # type: list[str]
        self._runs = Counter()

    def queue(self):  # type: ignore[no-untyped-def]
        return nullcontext()

    def run(self, name: Key, function, *inputs: Tensor):  # type: ignore[no-untyped-def]
        before = len(self.captured)
        out = super().run(name, function, *inputs)
        key = next((k for k in self.captured if k[: len(name)] == name), None)
        kind = "run" if key is None else "capture" if len(self.captured) > before else "replay"
        self.log.append(f"{kind} {name[0]}")
        return out if key is None else self.captured[key].graph.output

    def release(self) -> None:
        self.captured.clear()

    def _capture(self, name: Key, function, inputs: tuple[Tensor, ...]) -> Piece:  # type: ignore[no-untyped-def]
        own = tuple(torch.empty_like(x) for x in inputs)
        return Piece(Repeat(function, own), own, None)  # type: ignore[arg-type]


def test_graphs_replay_after_their_first_runs() -> None:
    graphs, a, b = CPUGraphs(), torch.zeros(2), torch.zeros(3)
    for x in (a, a, a, a):
        graphs.run(("square",), torch.square, x + 2)
    assert graphs.log == ["run square"] * WARM_UP + ["capture square", "replay square"]
    # another shape: what was captured is freed first, and captured again when it is needed
    assert graphs.run(("square",), torch.square, b + 3).tolist() == [9.0] * 3
    assert not graphs.captured
    assert graphs.run(("square",), torch.square, a + 4).tolist() == [16.0] * 2
    assert graphs.log[-1] == "capture square"
    # the graph reads its own inputs: those of the last call, not of the capture
    assert graphs.run(("square",), torch.square, a + 5).tolist() == [25.0] * 2


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_replayed_pieces_give_the_weights_of_the_plain_step(
    optimizer: str,
    batches: Helper,
    small: Helper,
    everything_of: Helper,
    assert_same: Helper,
    everything: TrainSettings,
) -> None:
    settings = replace(everything, optimizer=optimizer)
    plain, graphed = small(settings), small(settings)
    graphed.graphs = CPUGraphs()
    for number, parts in enumerate(batches(8, 2)):
        done = [s.step(parts, number, number // 4, 0.01).read() for s in (plain, graphed)]
        assert done[0] == done[1]
    assert_same(everything_of(plain), everything_of(graphed))
    # without mixup from epoch 1 on: labels in place of targets are another shape
    assert graphed.graphs.log.count("replay micro-batch") > 4


def test_gradients_stay_where_they_are_for_a_graph(batches: Helper, small: Helper) -> None:
    stepper = small(TrainSettings())
    stepper.graphs = CPUGraphs()
    places = []
    for number, parts in enumerate(batches(4, 1)):
        stepper.step(parts, number, 0, 0.01).read()
        places.append([p.grad.data_ptr() for p in stepper.model.parameters() if p.grad is not None])
    assert places[0] == places[1] == places[2] == places[3]


def test_cuda_graph_is_refused_where_it_cannot_serve(config: Make) -> None:
    wish = "train.cuda_graph=true needs a CUDA device and the run is on cpu"
    with pytest.raises(UserError, match=wish):
        train(config("train.cuda_graph=true"))
    assert not config().run.path.exists()
    with pytest.raises(UserError, match="serves one process, this run has 2"):
        check_cuda_graph(torch.device("cuda"), World(0, 2))
    check_cuda_graph(torch.device("cuda"), World())


# What follows needs a GPU.


def on_gpu(settings: TrainSettings, **sizes: object) -> Stepper:
    torch.manual_seed(0)
    chosen = {"dim": 32, "heads": 2, "depth": 1, "pooling": "0000", **sizes}
    model = create("sdt", num_classes=4, steps=4, image_size=12, **chosen)
    return Stepper(model, settings, torch.device("cuda", 0), World())


def gpu_batches(count: int, parts: int) -> list[list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(1)
    labels = torch.tensor([0, 1, 2, 3]).pin_memory()
    return [
        [(torch.rand(4, 4, 2, 12, 12).pin_memory(), labels) for _ in range(parts)]
        for _ in range(count)
    ]


@pytest.fixture
def _repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.mark.gpu
@pytest.mark.usefixtures("_repeatable")
@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
@pytest.mark.parametrize("layout", ["planes", "channels_last"])
def test_graph_gives_bitwise_the_weights_of_the_plain_step(
    amp: str,
    optimizer: str,
    layout: str,
    everything_of: Helper,
    assert_same: Helper,
    everything: TrainSettings,
) -> None:
    base = replace(everything, amp=amp, optimizer=optimizer, channels_last=layout != "planes")
    found = []
    for graph in (False, True):
        stepper = on_gpu(replace(base, cuda_graph=graph))
        monitor = RateMonitor(stepper.model)
        pending, rates = deque(), []
        for number, parts in enumerate(gpu_batches(9, 2)):
            monitor.active = number % 3 == 0
            pending.append(stepper.step(parts, number, number // 5, 0.01, monitor.active))
            if monitor.active:
                rates.append(monitor.rates(World()))
        results = [one.read() for one in pending]
        found.append((everything_of(stepper), results, rates))
        if graph:
            assert stepper.graphs is not None
            assert stepper.graphs.captured
    assert found[0][1:] == found[1][1:]
    assert_same(found[0][0], found[1][0])


@pytest.mark.gpu
@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
@pytest.mark.parametrize("graph", [False, True])
def test_no_step_waits_for_the_device(graph: bool, amp: str, everything: TrainSettings) -> None:
    stepper = on_gpu(replace(everything, cuda_graph=graph, amp=amp))
    monitor = RateMonitor(stepper.model)
    steps = gpu_batches(8, 2)
    for number in range(4):
        stepper.step(steps[number], number, 0, 0.01).read()
    torch.cuda.set_sync_debug_mode("error")
    try:
        pending = [stepper.step(steps[n], n, 0, 0.01) for n in range(4, 8)]
        later = Later(monitor.take(World()))
        losses = [one.read().loss for one in pending]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(set(losses)) > 1
    assert len(later.read()) > 0


@pytest.mark.gpu
def test_graph_leaves_out_a_step_with_a_nan(assert_same: Helper) -> None:
    stepper = on_gpu(TrainSettings(cuda_graph=True, monitor_steps=0))
    *good, bad = gpu_batches(6, 1)
    for number, parts in enumerate(good):
        stepper.step(parts, number, 0, 0.01).read()
    before = {name: p.detach().clone() for name, p in stepper.model.named_parameters()}
    x = bad[0][0].clone()
    x[0, 0, 0, 0, 0] = float("nan")
    pending = stepper.step([(x.pin_memory(), bad[0][1])], 5, 0, 0.01)
    with pytest.raises(UserError, match="at step 5; first non-finite: the input of layer"):
        pending.read()
    assert_same(before, dict(stepper.model.named_parameters()))


@pytest.mark.gpu
def test_graph_needs_the_memory_of_one_step() -> None:
    """Also after a shape it has not seen: what was captured is freed before that runs."""

    def peak(graph: bool) -> int:
        settings = TrainSettings(cuda_graph=graph, channels_last=True)
        stepper = on_gpu(settings, dim=128, pooling="0000")
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        for number, parts in enumerate(gpu_batches(8, 1)):
            watched = graph and number in (4, 5)
            stepper.step(parts, number, 0, 0.01, watched).read()
        return torch.cuda.max_memory_reserved()

    plain = peak(False)
    assert peak(True) < 1.6 * plain + 2**26
