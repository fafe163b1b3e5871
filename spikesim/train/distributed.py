"""Several processes: who am I, one reduction of numbers, and batch norm over all of them.

``torchrun`` sets ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK``; without it a run has one process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass(frozen=True)
class World:
    """This process among all: its number, their number, its number on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes; every process must call it."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Go on when every process is here."""
        if self.size > 1:
            dist.barrier()


def world_from_environment() -> World:
    """What ``torchrun`` said, or a world of one."""
    number = {name: int(os.environ.get(name, "0")) for name in ("RANK", "LOCAL_RANK")}
    return World(number["RANK"], int(os.environ.get("WORLD_SIZE", "1")), number["LOCAL_RANK"])


@contextmanager
def process_group(world: World, device: torch.device) -> Iterator[None]:
    """Inside, the processes can talk: through NCCL on CUDA, through gloo on the CPU."""
    if world.size == 1:
        yield
        return
    bound = device if device.type == "cuda" else None
    dist.init_process_group("nccl" if bound else "gloo", device_id=bound)
    try:
        yield
    finally:
        dist.destroy_process_group()


def share_buffers(model: nn.Module, world: World) -> None:
    """Give every process the first one's buffers (running statistics)."""
    if world.size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


class _SyncNormalise(torch.autograd.Function):
    r"""Batch norm with the statistics of all processes.

    Forward: :math:`\hat x = (x - \mu) / \sqrt{\sigma^2 + \epsilon}`, :math:`y = w \hat x + b`.
    Backward, with means over the whole batch: :math:`dx = w (dy - \overline{dy} - \hat x\,
    \overline{dy\,\hat x}) / \sqrt{\sigma^2 + \epsilon}`.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        axes = [0, *range(2, x.dim())]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = wide.new_tensor([wide.numel() / wide.shape[1]])
        sums = torch.cat([wide.sum(axes), count])
        dist.all_reduce(sums)
        count, mean = sums[-1], sums[:-1] / sums[-1]
        # Two passes: sum(x^2) - n mean^2 cancels where the mean is large.
        centred = wide - _channels(mean, x)
        squares = centred.square().sum(axes)
        dist.all_reduce(squares)
        variance = squares / count
        inverse = torch.rsqrt(variance + eps)
        normal = centred * _channels(inverse, x)
        ctx.save_for_backward(normal, weight, inverse, count)
        ctx.mark_non_differentiable(mean, variance, count)
        y = normal * _channels(weight, x) + _channels(bias, x)
        return y.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        normal, weight, inverse, count = ctx.saved_tensors
        dy = grads[0].to(normal.dtype)
        axes = [0, *range(2, dy.dim())]
        bias_grad, weight_grad = dy.sum(axes), (dy * normal).sum(axes)
        means = torch.stack([bias_grad, weight_grad])
        dist.all_reduce(means)
        dy_mean, dy_normal_mean = means / count
        dx = dy - _channels(dy_mean, dy) - normal * _channels(dy_normal_mean, dy)
        dx = dx * _channels(weight * inverse, dy)
        return dx.to(grads[0].dtype), weight_grad, bias_grad, None


def _channels(values_C: Tensor, like: Tensor) -> Tensor:
    return values_C.view(1, -1, *[1] * (like.dim() - 2))


class SyncBatchNorm(_BatchNorm):
    """Batch norm whose statistics are taken over all processes, on any device.

    Equal to the norm one process would compute on the concatenated batch, which may have a
    different size on each process. torch's own refuses CPU tensors. Parameters, buffers and
    evaluation mode are those of ``torch.nn.BatchNorm*``.

    Shape: ``[B, C, ...]`` -> the same.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"batch norm takes [B, C, ...], got {list(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise with the statistics of the whole batch; in evaluation with the running ones."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        ones = torch.ones(self.num_features, dtype=input.dtype, device=input.device)
        weight = ones if self.weight is None else self.weight
        bias = torch.zeros_like(ones) if self.bias is None else self.bias
        y, mean, variance, count = _SyncNormalise.apply(input, weight, bias, self.eps)  # type: ignore[no-untyped-call]
        self._follow(mean, variance * count / (count - 1))
        normalised: Tensor = y
        return normalised

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def synchronise_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with every batch norm synchronised: torch's own on CUDA, ours elsewhere."""
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and not isinstance(child, SyncBatchNorm):
                setattr(parent, name, _synchronised(child))
    return model


def _synchronised(norm: _BatchNorm) -> SyncBatchNorm:
    made = SyncBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    made.weight, made.bias = norm.weight, norm.bias
    made.running_mean, made.running_var = norm.running_mean, norm.running_var
    made.num_batches_tracked = norm.num_batches_tracked
    made.train(norm.training)
    return made
