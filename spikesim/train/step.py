"""One optimizer step: micro-batches forward and backward, checks, clipping, update, average."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from spikesim.errors import UserError
from spikesim.readout import readout
from spikesim.train.config import TrainSettings
from spikesim.train.data import Batch
from spikesim.train.device import autocast
from spikesim.train.distributed import World, synchronise_batch_norm
from spikesim.train.ema import EMA
from spikesim.train.loss import TET, CrossEntropy, Loss
from spikesim.train.mixup import is_mixed, mixup
from spikesim.train.monitor import find_non_finite, non_finite_gradients
from spikesim.train.optim import build_optimizer
from spikesim.train.seeds import generator, key


@dataclass(frozen=True)
class StepResult:
    """Mean loss, right answers and norm of the gradient, over all processes."""

    loss: float
    correct: int
    gradient_norm: float


def build_loss(settings: TrainSettings) -> Loss:
    """The loss of a recipe."""
    if settings.loss == "tet":
        return TET(settings.tet_lambda, settings.tet_mean, settings.smoothing)
    return CrossEntropy(settings.readout, settings.smoothing)


class Stepper:
    """A model and everything that changes with each step.

    Dropout and mixup of micro-batch ``m`` of step ``n`` are drawn from a key of (seed, n, m), where
    ``m`` counts over all processes: two processes draw what one process with two micro-batches
    would, and a resumed run what an uninterrupted one would.
    """

    def __init__(
        self, model: nn.Module, settings: TrainSettings, device: torch.device, world: World
    ) -> None:
        self.settings, self.device, self.world = settings, device, world
        self.dtype = torch.float64 if settings.dtype == "float64" else torch.float32
        if world.size > 1 and settings.sync_batchnorm:
            model = synchronise_batch_norm(model, device)
        self.model = model.to(device, self.dtype).train()
        if settings.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.model, settings)
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.amp == "fp16")
        self.ema = EMA(self.model, settings.ema) if settings.ema > 0 else None
        self.loss = build_loss(settings)
        if settings.compile:
            # Every batch of a training has one shape.
            self.model.compile(dynamic=False)
        self.network: nn.Module = self.model
        if world.size > 1:
            ids = [device.index] if device.type == "cuda" else None
            self.network = DistributedDataParallel(
                self.model, device_ids=ids, gradient_as_bucket_view=True
            )

    def step(self, parts: Sequence[Batch], number: int, epoch: int, lr: float) -> StepResult:
        """Train on the micro-batches of one step.

        Raises:
            UserError: the loss or a gradient is NaN or infinite; the weights are as before.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        correct = torch.zeros_like(loss)
        for index, (x, labels) in enumerate(parts):
            with self._gradients_stay_here(index < len(parts) - 1):
                one, right = self._micro(x, labels, number, index, epoch)
            loss += one / len(parts)
            correct += right
        norm = self._gradient_norm()
        sums = self.world.sum(torch.stack([loss / self.world.size, correct]))
        # The one moment per step at which the host waits for the device: before the update, so
        # that a NaN never reaches the weights.
        numbers = torch.cat([sums, norm[None].double()]).tolist()
        result = StepResult(numbers[0], round(numbers[1]), numbers[2])
        self._refuse_non_finite(result, parts, number)
        self._update(norm)
        return result

    def _gradients_stay_here(self, local: bool) -> AbstractContextManager[Any]:
        """Only the last micro-batch of a step sends gradients to the other processes."""
        if local and isinstance(self.network, DistributedDataParallel):
            return self.network.no_sync()
        return nullcontext()

    def _micro(
        self, x: Tensor, labels: Tensor, number: int, index: int, epoch: int
    ) -> tuple[Tensor, Tensor]:
        s = self.settings
        place = (s.seed, "step", number, self.world.rank * s.accumulate + index)
        torch.manual_seed(key(*place))
        x = x.to(self.device, self.dtype, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        target = labels
        with autocast(self.device, s.amp):
            if is_mixed(epoch, s):
                classes = int(self.model.num_classes)  # type: ignore[arg-type]
                x, target = mixup(x, labels, classes, s, generator(*place, "mixup"))
            logits = self.network(x)
        loss = self.loss(logits, target)
        torch.autograd.backward(self.scaler.scale(loss / s.accumulate))
        answers = readout(logits.detach().float(), s.readout).argmax(1)
        return loss.detach(), (answers == labels).sum()

    def _gradient_norm(self) -> Tensor:
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)

    def _update(self, norm: Tensor) -> None:
        if self.settings.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(
                self.model.parameters(), self.settings.clip_norm, norm
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update(self.model)

    def _refuse_non_finite(self, result: StepResult, parts: Sequence[Batch], number: int) -> None:
        finite = torch.isfinite(torch.tensor([result.loss, result.gradient_norm])).tolist()
        # Half precision overflows now and then: the scaler leaves such a step out, and tries lower.
        overflow = self.scaler.is_enabled() and self.scaler.get_scale() > 1.0
        if finite[0] and (finite[1] or overflow):
            return
        what = "the gradient" if finite[0] else "the loss"
        place = ""
        for x, _ in parts:
            with autocast(self.device, self.settings.amp):
                place = place or find_non_finite(self.model, x.to(self.device, self.dtype))
        if not place and (names := non_finite_gradients(self.model)):
            place = f"the gradient of {names[-1]}"
        where = f"; first non-finite: {place}" if place else ""
        raise UserError(
            f"{what} became NaN or infinite at step {number}{where}; the weights before it are in "
            "the last checkpoint: lower train.lr, set train.clip_norm=1, or check the input"
        )
