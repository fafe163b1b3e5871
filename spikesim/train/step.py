"""One optimizer step: micro-batches forward and backward, checks, clipping, update, average.

Nothing in a step waits for the device: its numbers are read later, and a step whose loss or
gradient is not finite is left out on the device, before the host knows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from spikesim.backend import set_backend
from spikesim.errors import UserError
from spikesim.memory import pack_spikes
from spikesim.random import place
from spikesim.readout import readout
from spikesim.seeds import generator, key
from spikesim.train.activity import Activity, OperationsLoss, RateLoss, activity
from spikesim.train.config import TrainSettings
from spikesim.train.data import Batch
from spikesim.train.device import Upload, autocast, channels_last
from spikesim.train.distributed import synchronise_batch_norm
from spikesim.train.ema import EMA
from spikesim.train.graph import Graphs, check_cuda_graph
from spikesim.train.later import Later
from spikesim.train.loss import TET, CrossEntropy, Loss
from spikesim.train.mixup import is_mixed, mixup
from spikesim.train.monitor import find_non_finite, non_finite_gradients
from spikesim.train.optim import build_optimizer
from spikesim.world import World

T = TypeVar("T")


@dataclass(frozen=True)
class StepResult:
    """Mean loss, right answers and norm of the gradient, over all processes."""

    loss: float
    correct: int
    gradient_norm: float


@dataclass(frozen=True)
class Pending:
    """A step whose numbers may still be on their way from the device."""

    stepper: "Stepper"
    numbers: Later
    parts: Sequence[Batch]
    number: int

    def read(self) -> StepResult:
        """The numbers; waits for the step they belong to.

        Raises:
            UserError: the loss or a gradient was NaN or infinite; that step changed no weight.
        """
        loss, correct, norm, scale = self.numbers.read()
        result = StepResult(loss, round(correct), norm)
        self.stepper.refuse_non_finite(result, scale, self.parts, self.number)
        return result


def build_loss(settings: TrainSettings) -> Loss:
    """The loss of a recipe."""
    if settings.loss == "tet":
        return TET(settings.tet_lambda, settings.tet_mean, settings.smoothing)
    return CrossEntropy(settings.readout, settings.smoothing)


def build_penalties(settings: TrainSettings) -> list[RateLoss | OperationsLoss]:
    """What a recipe adds to the loss for how much neurons fire."""
    s, found = settings, list[RateLoss | OperationsLoss]()
    if s.rate_weight > 0:
        found.append(RateLoss(s.rate_weight, s.rate_lower, s.rate_upper, s.rate_power, s.rate_over))
    if s.operations_weight > 0:
        found.append(OperationsLoss(s.operations_weight, s.operations_target))
    return found


class Stepper:
    """A model and everything that changes with each step.

    Dropout and mixup of micro-batch ``m`` of step ``n`` are drawn from a key of (seed, n, m), where
    ``m`` counts over all processes: two processes draw what one process with two micro-batches
    would, and a resumed run what an uninterrupted one would. Stochastic neurons draw by the place
    of a sample in the batch.

    With ``settings.cuda_graph`` two pieces of a step, a micro-batch and the update, are CUDA
    graphs; their weights are bit for bit those of the same step without.
    """

    def __init__(
        self, model: nn.Module, settings: TrainSettings, device: torch.device, world: World
    ) -> None:
        self.settings, self.device, self.world = settings, device, world
        if settings.cuda_graph:
            check_cuda_graph(device, world)
        self.graphs = Graphs(device) if settings.cuda_graph else None
        self.upload = Upload(device)
        self.dtype = torch.float64 if settings.dtype == "float64" else torch.float32
        if world.size > 1 and settings.sync_batchnorm:
            model = synchronise_batch_norm(model, device)
        self.model = set_backend(model.to(device, self.dtype).train(), settings.backend)
        if settings.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if settings.pack_spikes:
            pack_spikes(self.model)
        self.optimizer = build_optimizer(self.model, settings)
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.amp == "fp16")
        self.ema = EMA(self.model, settings.ema) if settings.ema > 0 else None
        self.loss = build_loss(settings)
        self.penalties = build_penalties(settings)
        self._rates = {name: torch.zeros((), device=device) for name in ("", *settings.groups)}
        self._sums = torch.zeros(2, dtype=torch.float64, device=device)  # loss, right answers
        self._draws = any(getattr(m, "stochastic", False) for m in self.model.modules())
        if settings.compile:
            # Every batch of a training has one shape.
            self.model.compile(dynamic=False)
        self.network: nn.Module = self.model
        if world.size > 1:
            ids = [device.index] if device.type == "cuda" else None
            self.network = DistributedDataParallel(
                self.model, device_ids=ids, gradient_as_bucket_view=True
            )

    def step(
        self,
        parts: Sequence[Batch],
        number: int,
        epoch: int,
        lr: float,
        watched: bool = False,
        rates: Mapping[str, float] | None = None,
    ) -> Pending:
        """Train on the micro-batches of one step.

        Args:
            parts: of this process, ``accumulate`` in all.
            number: of the step, from 0 over the whole run.
            epoch: from 0.
            lr: learning rate.
            watched: whether hooks of the model are switched on that are off in other steps.
            rates: learning rate of each of ``settings.groups``; ``lr`` where not given.
        """
        with nullcontext() if self.graphs is None else self.graphs.queue():
            self._begin({**dict.fromkeys(self._rates, lr), **(rates or {})})
            for index, (x, labels) in enumerate(parts):
                with self._gradients_stay_here(index < len(parts) - 1):
                    inputs = self._prepare(x, labels, number, index, epoch)
                    self._run(("micro-batch", watched), self._micro, *inputs)
            numbers = Later(self._run(("update",), self._update))
        return Pending(self, numbers, parts, number)

    def _run(self, name: tuple[object, ...], work: Callable[..., T], *inputs: Tensor) -> T:
        return work(*inputs) if self.graphs is None else self.graphs.run(name, work, *inputs)

    def _begin(self, rates: Mapping[str, float]) -> None:
        """What changes from step to step and is not drawn."""
        for name, rate in rates.items():
            self._rates[name].fill_(rate)
        for group in self.optimizer.param_groups:
            name = group["name"]
            group["lr"] = self._rates[name] if self.device.type == "cuda" else rates[name]
        if self.ema is not None:
            self.ema.count()
        # A graph adds to the gradients where they are.
        self.optimizer.zero_grad(set_to_none=self.graphs is None)
        self._sums.zero_()

    def _gradients_stay_here(self, local: bool) -> AbstractContextManager[Any]:
        """Only the last micro-batch of a step sends gradients to the other processes."""
        if local and isinstance(self.network, DistributedDataParallel):
            return self.network.no_sync()
        return nullcontext()

    def _prepare(
        self, x: Tensor, labels: Tensor, number: int, index: int, epoch: int
    ) -> tuple[Tensor, ...]:
        """Frames, labels and perhaps mixed targets on the device, and the random numbers' seeds."""
        s = self.settings
        count = self.world.rank * s.accumulate + index
        where = (s.seed, "step", number, count)
        torch.manual_seed(key(*where))
        if self._draws:
            place(self.model, key(s.seed, "spikes", number), sample=count * len(labels))
        x, labels = self.upload(x).to(self.dtype), self.upload(labels)
        if s.channels_last:
            x = channels_last(x)
        if not is_mixed(epoch, s):
            return x, labels
        classes = int(self.model.num_classes)  # type: ignore[arg-type]
        x, target = mixup(x, labels, classes, s, generator(*where, "mixup"))
        return x, labels, target

    def _micro(self, x: Tensor, labels: Tensor, target: Tensor | None = None) -> None:
        """Forward and backward of one micro-batch."""
        s = self.settings
        with self._watched() as seen, autocast(self.device, s.amp):
            logits = self.network(x)
        loss = self.loss(logits, labels if target is None else target)
        for penalty in self.penalties:
            loss = loss + penalty(seen)
        loss = loss / s.accumulate
        torch.autograd.backward(self.scaler.scale(loss))
        answers = readout(logits.detach().float(), s.readout).argmax(1)
        right = (answers == labels).sum()
        self._sums += torch.stack([loss.detach().double(), right.double()])

    def _watched(self) -> AbstractContextManager[Activity]:
        if not self.penalties:
            return nullcontext(Activity())
        return activity(self.model, operations=self.settings.operations_weight > 0)

    def _update(self) -> Tensor:
        """Weights and averages; loss, right answers, gradient norm and scale of the loss."""
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        sums = self._sums.clone()
        sums[0] /= self.world.size
        self.world.sum(sums)
        one = torch.ones(1, dtype=torch.float64, device=self.device)
        numbers = torch.cat([sums, norm[None].double(), self.scaler.scale(one)])
        if self.settings.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(
                self.model.parameters(), self.settings.clip_norm, norm
            )
        # A NaN never reaches the weights: such a step is left out, on the device.
        is_finite = torch.isfinite(numbers).all()
        self.optimizer.found_inf = (~is_finite).float()  # type: ignore[attr-defined]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.blend(self.model)
        return numbers

    def refuse_non_finite(
        self, result: StepResult, scale: float, parts: Sequence[Batch], number: int
    ) -> None:
        """An error where the loss or the gradient of a step was NaN or infinite.

        Raises:
            UserError: with the first place that is not finite.
        """
        finite = math.isfinite(result.loss), math.isfinite(result.gradient_norm)
        # Half precision overflows now and then: the scaler leaves such a step out, and tries lower.
        overflow = self.scaler.is_enabled() and scale > 1.0
        if finite[0] and (finite[1] or overflow):
            return
        what = "the gradient" if finite[0] else "the loss"
        origin = ""
        for x, _ in parts:
            with autocast(self.device, self.settings.amp):
                origin = origin or find_non_finite(self.model, x.to(self.device, self.dtype))
        if not origin and (names := non_finite_gradients(self.model)):
            origin = f"the gradient of {names[-1]}"
        where = f"; first non-finite: {origin}" if origin else ""
        raise UserError(
            f"{what} became NaN or infinite at step {number}{where}; the weights before it are in "
            "the last checkpoint: lower train.lr, set train.clip_norm=1, or check the input"
        )
