"""One training step of one choice, ready to be called, and what it takes in time and memory."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import measure
import torch
from keep import OURS
from measure import Run
from step_choices import PACKED, PRECISION, REFERENCE, WIDE, Choice
from torch import Tensor, nn

from spikesim import models
from spikesim.models.spikformer import SpikformerSizes
from spikesim.train.config import TrainSettings
from spikesim.train.device import channels_last
from spikesim.train.loss import CrossEntropy
from spikesim.train.step import Stepper
from spikesim.world import World

CLASSES, CHANNELS = 10, 2


@dataclass(frozen=True)
class Task:
    """What is trained."""

    sizes: SpikformerSizes
    steps: int = 16
    batch: int = 16
    size: int = 128


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
