"""Several processes: who am I, one reduction of numbers, and batch norm over all of them.

``torchrun`` sets ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK``; without it a run has one process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from spikesim.batch_norm import BatchNorm


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
def process_group(
    world: World, device: torch.device, timeout: timedelta | None = None
) -> Iterator[None]:
    """Inside, the processes can talk: through NCCL on CUDA, through gloo on the CPU.

    Args:
        world: who they are.
        device: of this process.
        timeout: after which one that does not answer is lost; ``None``: torch's.
    """
    if world.size == 1:
        yield
        return
    bound = device if device.type == "cuda" else None
    dist.init_process_group("nccl" if bound else "gloo", timeout=timeout, device_id=bound)
    try:
        yield
    finally:
        dist.destroy_process_group()


def share_buffers(model: nn.Module, world: World) -> None:
    """Give every process the first one's buffers (running statistics)."""
    if world.size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def synchronise_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with every batch norm synchronised, the same parameters and buffers in it.

    Norms that a neuron takes over share their statistics from now on; others are replaced: by
    torch's own on CUDA, which refuses the CPU, and by ours elsewhere.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BatchNorm):
                child.synchronised = True
            elif isinstance(child, _BatchNorm):
                setattr(parent, name, _synchronised(child, device))
    return model


def _synchronised(norm: _BatchNorm, device: torch.device) -> nn.Module:
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)  # type: ignore[no-untyped-call]
        return converted
    made = BatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    made.weight, made.bias = norm.weight, norm.bias
    made.running_mean, made.running_var = norm.running_mean, norm.running_var
    made.num_batches_tracked = norm.num_batches_tracked
    made.synchronised = True
    made.train(norm.training)
    return made
