"""A step that never waits: late numbers, steps left out on the device, CUDA graphs."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim import ops
from spikesim.errors import BackendError, UserError
from spikesim.layers import TimeDistributed
from spikesim.memory import packed_layers
from spikesim.models import create
from spikesim.neuron import Neuron
from spikesim.neurons.lif import LIF
from spikesim.train import training
from spikesim.train.checkpoint import load_checkpoint
from spikesim.train.config import Config, TrainSettings
from spikesim.train.device import channels_last
from spikesim.train.distributed import World
from spikesim.train.ema import EMA
from spikesim.train.graph import WARM_UP, Graphs, Key, Piece, check_cuda_graph
from spikesim.train.later import Later
from spikesim.train.loop import train
from spikesim.train.metrics import read_metrics
from spikesim.train.monitor import RateMonitor
from spikesim.train.run import Run
from spikesim.train.step import Stepper
from spikesim.types import Named

Make = Callable[..., Config]
CPU = torch.device("cpu")
EVERYTHING = TrainSettings(
    accumulate=2, clip_norm=0.5, ema=0.9, mixup=0.5, mixup_off_epoch=1, weight_decay=0.01, seed=3
)


class Small(nn.Sequential):
    """``[T, B, 4]`` -> ``[T, B, 2]``, with batch norm, spikes and dropout."""

    num_classes = 2

    def __init__(self) -> None:
        super().__init__(
            TimeDistributed(nn.Linear(4, 8), nn.BatchNorm1d(8)), LIF(), nn.Dropout(0.3),
            TimeDistributed(nn.Linear(8, 2)),
        )  # fmt: skip


def batches(count: int, parts: int) -> list[list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(1)
    labels = torch.tensor([0, 1] * 3)
    return [[(3 * torch.rand(5, 6, 4), labels) for _ in range(parts)] for _ in range(count)]


def small(settings: TrainSettings) -> Stepper:
    torch.manual_seed(0)
    return Stepper(Small(), settings, CPU, World())


def everything_of(stepper: Stepper) -> dict[str, Tensor]:
    """Weights, statistics, averages and the optimizer's memory."""
    state = stepper.optimizer.state_dict()["state"]
    averages = stepper.ema.weights if stepper.ema else {}
    return {
        **{f"model.{k}": v.clone() for k, v in stepper.model.state_dict().items()},
        **{f"ema.{k}": v.clone() for k, v in averages.items()},
        **{f"optimizer.{i}.{k}": v.clone() for i, own in state.items() for k, v in own.items()},
    }


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


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
        from collections import Counter

        self._runs = Counter()

    def queue(self):  # type: ignore[no-untyped-def]
        from contextlib import nullcontext

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
def test_replayed_pieces_give_the_weights_of_the_plain_step(optimizer: str) -> None:
    settings = replace(EVERYTHING, optimizer=optimizer)
    plain, graphed = small(settings), small(settings)
    graphed.graphs = CPUGraphs()
    for number, parts in enumerate(batches(8, 2)):
        done = [s.step(parts, number, number // 4, 0.01).read() for s in (plain, graphed)]
        assert done[0] == done[1]
    assert_same(everything_of(plain), everything_of(graphed))
    # without mixup from epoch 1 on: labels in place of targets are another shape
    assert graphed.graphs.log.count("replay micro-batch") > 4


def test_gradients_stay_where_they_are_for_a_graph() -> None:
    stepper = small(TrainSettings())
    stepper.graphs = CPUGraphs()
    places = []
    for number, parts in enumerate(batches(4, 1)):
        stepper.step(parts, number, 0, 0.01).read()
        places.append([p.grad.data_ptr() for p in stepper.model.parameters() if p.grad is not None])
    assert places[0] == places[1] == places[2] == places[3]


@pytest.mark.parametrize("amp", ["off", "fp16"])
@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
@pytest.mark.parametrize("first", [True, False])
def test_step_with_a_nan_is_left_out_before_it_is_read(
    optimizer: str, amp: str, first: bool
) -> None:
    stepper = small(TrainSettings(optimizer=optimizer, clip_norm=1.0, weight_decay=0.1, amp=amp))
    ((good,), (bad,), *_) = batches(2, 1)
    if not first:
        stepper.step([good], 0, 0, 0.01).read()
    trained = {name: p.detach().clone() for name, p in stepper.model.named_parameters()}
    memory = stepper.optimizer.state_dict()["state"]
    before = {f"{i}.{k}": v.clone() for i, own in memory.items() for k, v in own.items()}
    bad[0][0, 0, 0] = float("nan")
    pending = stepper.step([bad], 1, 0, 0.01)
    assert_same(trained, dict(stepper.model.named_parameters()))
    memory = stepper.optimizer.state_dict()["state"]
    after = {f"{i}.{k}": v for i, own in memory.items() for k, v in own.items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(torch.isfinite(value).all() for value in after.values())
    if amp == "fp16":  # taken for an overflow: the loss is finite, and its scale can be lowered
        assert pending.read().gradient_norm != pending.read().gradient_norm
        assert stepper.scaler.get_scale() == 2.0**15
    else:
        with pytest.raises(UserError, match="became NaN or infinite at step 1"):
            pending.read()


def test_average_does_not_depend_on_how_it_is_taken() -> None:
    model = nn.Linear(3, 2)
    whole, halves = EMA(model, 0.9), EMA(model, 0.9)
    for _ in range(20):
        nn.init.normal_(model.weight)
        whole.update(model)
        halves.count()
        halves.blend(model)
    assert_same(whole.weights, halves.weights)
    assert whole.updates == halves.updates == 20


def test_numbers_are_a_copy_of_that_moment() -> None:
    values = torch.arange(4.0).view(2, 2)
    assert Later(values).read() == [[0.0, 1.0], [2.0, 3.0]]


def one_step_ahead(patch: pytest.MonkeyPatch) -> None:
    """Read as on a GPU: the numbers of a step after the next one was started."""
    finish = training.Training._finish_steps
    seen: list[int] = []

    def late(self: training.Training, *, ahead: int | None = None) -> None:
        seen.append(len(self.launched))
        finish(self, 1 if ahead is not None else 0)

    patch.setattr(training.Training, "_finish_steps", late)


def without_times(config: Config) -> list[dict[str, object]]:
    lines = read_metrics(Run(config.run.path).metrics_path)
    dropped = ("seconds", "events_per_second")
    return [{k: v for k, v in line.items() if k not in dropped} for line in lines]


def weights(config: Config) -> dict[str, Tensor]:
    found = load_checkpoint(config.run.path / "checkpoint")
    assert found is not None
    return {f"{g}.{k}": v for g, named in found.tensors.items() for k, v in named.items()}


def test_late_numbers_are_the_same_numbers(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("train.epochs=2", "train.checkpoint_steps=3", "train.monitor_steps=2")
    soon, late = (config(*settings, f"run.name={name}") for name in ("soon", "late"))
    train(soon)
    with monkeypatch.context() as patch:
        one_step_ahead(patch)
        train(late)
    assert_same(weights(soon), weights(late))
    assert without_times(soon) == without_times(late)
    assert without_times(late)[0]["step"] == 4


def test_checkpoint_never_holds_a_step_that_was_not_read(
    config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(
        "train.lr=1e38", "train.warmup_epochs=0", "train.clip_norm=null", "train.mixup=0",
        "train.checkpoint_steps=1", "train.ema=0",
    )  # fmt: skip
    one_step_ahead(monkeypatch)
    with pytest.raises(UserError, match="became NaN or infinite at step"):
        train(settings)
    (warning,) = [w for w in Run(settings.run.path).warnings() if "became NaN" in w["message"]]
    found = load_checkpoint(settings.run.path / "checkpoint")
    assert found is not None
    assert found.state["step"] == warning["step"] >= 1


def test_cuda_graph_is_refused_where_it_cannot_serve(config: Make) -> None:
    wish = "train.cuda_graph=true needs a CUDA device and the run is on cpu"
    with pytest.raises(UserError, match=wish):
        train(config("train.cuda_graph=true"))
    assert not config().run.path.exists()
    with pytest.raises(UserError, match="serves one process, this run has 2"):
        check_cuda_graph(torch.device("cuda"), World(0, 2))
    check_cuda_graph(torch.device("cuda"), World())


def test_frames_with_channels_side_by_side() -> None:
    x = torch.rand(3, 2, 4, 5, 6)
    moved = channels_last(x)
    assert torch.equal(moved, x)
    assert moved.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    losses = []
    for settings in (TrainSettings(), TrainSettings(channels_last=True)):
        torch.manual_seed(0)
        model = create("spiking_vgg", num_classes=2, steps=3, image_size=8, layers="4-M-fc8")
        stepper = Stepper(model, settings, CPU, World())
        parts = [(torch.rand(3, 4, 2, 8, 8), torch.tensor([0, 1, 0, 1]))]
        losses.append(stepper.step(parts, 0, 0, 1e-3).read().loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def model_stepper(settings: TrainSettings) -> Stepper:
    torch.manual_seed(0)
    model = create("spiking_vgg", num_classes=2, steps=3, image_size=8, layers="4-M-8-fc8")
    return Stepper(model, settings, CPU, World())


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_packed_spikes_give_bitwise_the_weights(amp: str) -> None:
    base = replace(EVERYTHING, channels_last=True, amp=amp)
    plain, packed = model_stepper(base), model_stepper(replace(base, pack_spikes=True))
    assert packed_layers(plain.model) == {}
    assert len(packed_layers(packed.model)) >= 3
    labels = torch.tensor([0, 1] * 2)
    for number in range(3):
        parts = [(3 * torch.rand(3, 4, 2, 8, 8), labels) for _ in range(2)]
        done = [s.step(parts, number, 0, 0.01).read() for s in (plain, packed)]
        assert done[0] == done[1]
        assert done[0].gradient_norm > 0
    assert_same(everything_of(plain), everything_of(packed))


@pytest.mark.parametrize("name", ["auto", "torch", "numba"])
def test_settings_name_the_backend_of_all_neurons(name: Any) -> None:
    stepper = model_stepper(TrainSettings(backend=name))
    found = {m.backend for m in stepper.model.modules() if isinstance(m, Neuron)}
    assert found == {name}


def test_run_says_its_backend_and_goes_on_with_another(
    config: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(config("train.epochs=2", "train.pack_spikes=true", "run.name=whole"))
    assert "backend numba (auto)" in capsys.readouterr().out
    stopped = config("train.epochs=2")
    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "_end_epoch", stop_after_one(training.Training))
        with pytest.raises(KeyboardInterrupt):
            train(stopped)
    judged: list[set[str]] = []
    conclude = training.conclude

    def look(model: nn.Module, *rest: Any) -> Any:
        judged.append({m.backend for m in model.modules() if isinstance(m, Neuron)})
        return conclude(model, *rest)

    monkeypatch.setattr(training, "conclude", look)
    train(config("train.epochs=2", "train.backend=torch", "train.pack_spikes=true"), resume=True)
    assert "backend torch " in capsys.readouterr().out
    assert judged == [{"torch"}]
    # the same up to rounding of gradients
    want, got = weights(config("run.name=whole")), weights(stopped)
    for key in (k for k in want if k.startswith("model.")):
        torch.testing.assert_close(got[key], want[key], rtol=1e-3, atol=1e-4)


def stop_after_one(kind: type[training.Training]) -> Callable[[training.Training], None]:
    end = kind._end_epoch

    def end_and_stop(self: training.Training) -> None:
        end(self)
        raise KeyboardInterrupt

    return end_and_stop


def test_backend_that_cannot_serve_is_refused_before_anything_is_written(config: Make) -> None:
    with pytest.raises(BackendError, match="backend 'cupy' does not serve cpu tensors; use"):
        train(config("train.backend=cupy"))
    assert not config().run.path.exists()


class Noisy(Neuron):
    """Fires with the probability that arrives."""

    stochastic = True

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        return state, ops.bernoulli(inputs.x)


def test_draws_of_neurons_belong_to_a_sample_of_a_step() -> None:
    """However a batch is divided, and whichever steps ran before."""

    class Drawn(nn.Sequential):
        num_classes = 2

        def __init__(self) -> None:
            super().__init__(TimeDistributed(nn.Linear(4, 2)), nn.Sigmoid(), Noisy())
            self.seen: list[Tensor] = []
            self[-1].register_forward_hook(lambda _m, _x, out: self.seen.append(out.detach()))

    def seen(parts: int, numbers: list[int], seed: int = 0) -> Tensor:
        torch.manual_seed(0)
        model = Drawn()
        stepper = Stepper(model, TrainSettings(accumulate=parts, seed=seed), CPU, World())
        x, labels = torch.full((5, 6, 4), 0.1), torch.tensor([0, 1] * 3)
        pieces = list(zip(x.chunk(parts, 1), labels.chunk(parts), strict=True))
        for number in numbers:
            model.seen.clear()
            stepper.step(pieces, number, 0, 0.0).read()
        return torch.cat(model.seen, 1)

    whole = seen(1, [4])
    assert 0 < whole.mean() < 1
    assert torch.equal(whole, seen(3, [4]))
    assert torch.equal(whole, seen(1, [2, 3, 4]))
    assert not torch.equal(whole, seen(1, [5]))
    assert not torch.equal(whole, seen(1, [4], seed=1))


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
    amp: str, optimizer: str, layout: str
) -> None:
    base = replace(EVERYTHING, amp=amp, optimizer=optimizer, channels_last=layout != "planes")
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
def test_no_step_waits_for_the_device(graph: bool, amp: str) -> None:
    stepper = on_gpu(replace(EVERYTHING, cuda_graph=graph, amp=amp))
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
def test_graph_leaves_out_a_step_with_a_nan() -> None:
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
