"""Processes that work together: who am I, one reduction of numbers, and the group they talk in.

``torchrun`` sets ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK``; without it there is one process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


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
