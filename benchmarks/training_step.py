"""A whole training step of Spikformer 2-256, and its memory, against SpikingJelly.

    python benchmarks/training_step.py --out benchmarks/results/training_step_h200.json

T = 16, B = 16, frames of 2 x 128 x 128, 10 classes: forward, cross-entropy, backward, AdamW, in
float32 (TF32 on for all sides unless ``--no-tf32``) and in bfloat16 autocast. The other side is the
same network of SpikingJelly's modules with the same weights (``spikformer_spikingjelly.py``).

Both sides are given the same choices, and the best of each counts: first the ways a library has to
run its neurons, then the memory layout, then ``torch.compile`` around the kernels, a CUDA graph of
the whole step, and both. Times are medians of single steps by CUDA events; peak memory is what
torch has allocated at most during a step, weights and optimizer included.
"""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import measure
import tables
import torch
from measure import Run
from torch import Tensor, nn

from spikesim import models
from spikesim.models.spikformer import SpikformerSizes
from spikesim.train.config import TrainSettings
from spikesim.train.device import channels_last
from spikesim.train.distributed import World
from spikesim.train.loss import CrossEntropy
from spikesim.train.step import Stepper

STEPS, BATCH, SIZE, CLASSES, CHANNELS = 16, 16, 128, 10, 2
OURS, PEER = "spikesim", "SpikingJelly"
FUSED, PACKED, REFERENCE = "fused kernels", "fused kernels, packed spikes", "torch reference"
NODE, WIDE, PRECISION = "LIFNode", "float32 membrane", "precision API"
DTYPES = ("float32", "bfloat16")
WAYS = {
    (OURS, "float32"): (FUSED, PACKED),
    (PEER, "float32"): (NODE, PRECISION),
    (OURS, "bfloat16"): (FUSED, PACKED),
    (PEER, "bfloat16"): (NODE, WIDE, PRECISION),
}
"""How a library may run its neurons in one dtype."""


@dataclass(frozen=True)
class Task:
    """What is trained."""

    sizes: SpikformerSizes
    steps: int = STEPS
    batch: int = BATCH
    size: int = SIZE


@dataclass(frozen=True)
class Choice:
    """One way to run the step."""

    library: str
    neurons: str
    dtype: str
    layout: str = "NCHW"
    compiled: bool = False
    graph: bool = False
    trainer: bool = False


class Step:
    """One training step, ready to be called."""

    def __init__(self, choice: Choice, task: Task, run: Run) -> None:
        ours = our_model(task, run.device)
        parameters = sum(p.numel() for p in ours.parameters())
        self.context: Callable[[], AbstractContextManager[Any]] = nullcontext
        if choice.dtype == "bfloat16":
            self.context = lambda: torch.autocast(run.device.type, torch.bfloat16)
        self.reset: Callable[[], None] = lambda: None
        self.model: nn.Module = ours
        if choice.library == OURS:
            prepare(ours, choice)
        else:
            self.take_spikingjelly(ours, choice, task, run)
        assert sum(p.numel() for p in self.model.parameters()) == parameters
        self.parameters = parameters
        self.x, self.labels = synthetic_events(task, run.device)
        if choice.layout == "NHWC":
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.x = channels_last(self.x)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=1e-3, fused=True, capturable=run.on_gpu
        )
        self.loss_of = CrossEntropy()
        if choice.compiled:
            torch._dynamo.reset()
            self.model.compile(dynamic=False, backend="eager" if run.quick else "inductor")

    def take_spikingjelly(self, ours: nn.Module, choice: Choice, task: Task, run: Run) -> None:
        """SpikingJelly's network with our weights."""
        import sides_spikingjelly
        import spikformer_spikingjelly as peer

        sides_spikingjelly.request("auto")
        make = peer.WideLIF if choice.neurons == WIDE else peer.lif
        model = peer.Spikformer(task.sizes, CHANNELS, CLASSES, make).to(run.device)
        peer.copy_weights(ours, model)  # type: ignore[arg-type]
        self.model, self.reset = model, model.forget
        if choice.neurons == PRECISION:
            from spikingjelly.activation_based import precision

            mode = {"float32": "fp32", "bfloat16": "bf16"}[choice.dtype]
            config = precision.PrecisionConfig(mode=mode, neuron_storage=mode)
            ready = precision.prepare_model_for_precision(model, run.device, config)
            self.model, self.context = ready.model, ready.autocast_context

    def __call__(self) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        self.reset()
        with self.context():
            logits = self.model(self.x)
        loss = self.loss_of(logits, self.labels)
        loss.backward()
        self.optimizer.step()
        self.last = loss.detach()
        return self.last

    def loss(self) -> float:
        """Of the last step."""
        return self.last.item()


def our_model(task: Task, device: torch.device) -> nn.Module:
    """Always with the same weights."""
    torch.manual_seed(0)
    return models.create(
        "spikformer",
        num_classes=CLASSES,
        steps=task.steps,
        in_channels=CHANNELS,
        image_size=task.size,
        **asdict(task.sizes),
    ).to(device)


def prepare(model: nn.Module, choice: Choice) -> None:
    """Our ways to run the neurons."""
    if choice.neurons == REFERENCE:
        from spikesim.neuron import Neuron

        for module in model.modules():
            if isinstance(module, Neuron):
                module.backend = "torch"
    if choice.neurons == PACKED:
        from spikesim.memory import pack_spikes

        pack_spikes(model)


def synthetic_events(task: Task, device: torch.device) -> tuple[Tensor, Tensor]:
    """Event counts ``[T, B, P, H, W]`` and labels ``[B]``."""
    generator = torch.Generator().manual_seed(0)
    rate = torch.full((task.steps, task.batch, CHANNELS, task.size, task.size), 0.3)
    labels = torch.randint(0, CLASSES, (task.batch,), generator=generator)
    return torch.poisson(rate, generator).to(device), labels.to(device)


class TrainerStep:
    """The same step as the trainer runs it, which also keeps accuracy and the gradient's norm."""

    def __init__(self, choice: Choice, task: Task, run: Run) -> None:
        model = our_model(task, run.device)
        prepare(model, choice)
        self.parameters = sum(p.numel() for p in model.parameters())
        settings = TrainSettings(
            amp="bf16" if choice.dtype == "bfloat16" else "off",
            channels_last=choice.layout == "NHWC",
            compile=choice.compiled and not run.quick,
            cuda_graph=choice.graph,
        )
        self.stepper = Stepper(model, settings, run.device, World())
        self.batch = synthetic_events(task, run.device)
        self.number = 0

    def __call__(self) -> Tensor:
        pending = self.stepper.step([self.batch], self.number, 0, 1e-3)
        self.number += 1
        self.last = pending
        return torch.zeros(())

    def loss(self) -> float:
        """Of the last step."""
        return self.last.read().loss


def figures(choice: Choice, task: Task, run: Run) -> dict[str, Any]:
    """Time and memory of one choice."""
    measure.free(run)
    step = TrainerStep(choice, task, run) if choice.trainer else Step(choice, task, run)
    start = time.perf_counter()
    step()
    first_loss = step.loss()
    first = time.perf_counter() - start
    # Only now: the first step tries convolutions out, and compiles.
    if run.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(run.warmup):
        step()
    captured = choice.graph and not choice.trainer
    called = measure.graph_of(step) if captured else step
    run.wait()
    peak = torch.cuda.max_memory_allocated() if run.on_gpu else None
    ms = measure.summary(measure.times(called, run))
    return {
        "ms": ms,
        "peak_bytes": peak,
        "samples_per_s": round(1e3 * task.batch / ms["median"], 1),
        "loss_first": round(first_loss, 6),
        "loss_last": round(step.loss(), 6),
        "first_call_s": round(first, 2),
        "parameters": step.parameters,
    }


class Search:
    """The best choice of one library in one dtype; everything that was tried is kept."""

    def __init__(self, task: Task, run: Run) -> None:
        self.task, self.run = task, run
        self.tried: dict[Choice, dict[str, Any]] = {}

    def milliseconds(self, choice: Choice) -> float:
        """Of one step, infinite where it does not run."""
        if choice not in self.tried:
            out = self.attempt(choice)
            print(choice, out, file=sys.stderr, flush=True)
            self.tried[choice] = out
        out = self.tried[choice]
        return float(out["ms"]["median"]) if "ms" in out else float("inf")

    def attempt(self, choice: Choice) -> dict[str, Any]:
        """Figures, or why there are none."""
        if self.run.spent:
            return {"status": "not measured: the time of this run was used up"}
        try:
            return figures(choice, self.task, self.run)
        except Exception as error:  # another library's failure is a result
            return {"status": measure.failure(error)}

    def best(self, library: str, dtype: str) -> Choice:
        """Of what was tried."""
        mine = [c for c in self.tried if (c.library, c.dtype) == (library, dtype)]
        return min(mine, key=self.milliseconds)

    def without_compiler(self, library: str, dtype: str) -> None:
        """Ways to run neurons, then layouts, then a graph, each with the best so far."""
        for way in WAYS[library, dtype]:
            self.milliseconds(Choice(library, way, dtype))
        self.milliseconds(replace(self.best(library, dtype), layout="NHWC"))
        if self.run.on_gpu:
            self.milliseconds(replace(self.best(library, dtype), graph=True))
        if library == OURS:
            best = self.best(library, dtype)
            self.milliseconds(replace(best, neurons=PACKED))
            self.milliseconds(replace(best, trainer=True))

    def compiled(self, library: str, dtype: str) -> None:
        """``torch.compile`` around the kernels, without and with a graph."""
        best = replace(self.best(library, dtype), compiled=True, trainer=False)
        for graph in (False, True) if self.run.on_gpu else (False,):
            self.milliseconds(replace(best, graph=graph))

    def side(self, library: str, dtype: str) -> dict[str, Any]:
        """The best of a library, and all that was tried."""
        best = self.best(library, dtype)
        mine = {c: out for c, out in self.tried.items() if (c.library, c.dtype) == (library, dtype)}
        return {
            "library": library,
            "best": asdict(best) | self.tried[best],
            "tried": [asdict(choice) | out for choice, out in mine.items()],
        }


def entry(dtype: str, search: Search) -> dict[str, Any]:
    """Both libraries in one dtype."""
    sides = [search.side(library, dtype) for library in (OURS, PEER)]
    mine, other = (side["best"] for side in sides)
    both = "ms" in mine and "ms" in other
    times = round(other["ms"]["median"] / mine["ms"]["median"], 2) if both else None
    share = None
    if both and mine["peak_bytes"]:
        share = round(mine["peak_bytes"] / other["peak_bytes"], 3)
    return {
        "dtype": dtype,
        "bar_times": {"float32": 2.0, "bfloat16": 5.0}[dtype],
        "bar_memory": 0.333,
        "times_the_peer": times,
        "memory_over_the_peer": share,
        "sides": sides,
    }


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    options = parser.parse_args()
    run = measure.begin(options)
    if not (run.on_gpu or run.quick):
        raise SystemExit("a full step takes minutes on a CPU; add --quick to see that it runs")
    task = Task(SpikformerSizes())
    if run.quick:
        task = Task(SpikformerSizes(dim=16, depth=1, heads=2), steps=2, batch=2, size=32)
    report = measure.record("training_step", run)
    report["task"] = asdict(task) | {"classes": CLASSES, "channels": CHANNELS}
    search = Search(task, run)
    for library, dtype in WAYS:
        search.without_compiler(library, dtype)
    report["rows"] = [entry(dtype, search) for dtype in DTYPES]
    measure.save(report, options.out)
    if options.no_compile:
        measure.finish(report, options.out, tables.training_step)
        return
    # What compiles for long comes last: time may run out.
    for library, dtype in [(PEER, "float32")] if run.quick else WAYS:
        search.compiled(library, dtype)
    for dtype in DTYPES:
        search.milliseconds(Choice(OURS, REFERENCE, dtype))
    report["rows"] = [entry(dtype, search) for dtype in DTYPES]
    measure.finish(report, options.out, tables.training_step)


if __name__ == "__main__":
    main()
