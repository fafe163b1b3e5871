"""One library's way to run a neuron: what the benchmarks put side by side."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Layer: TypeAlias = Callable[[Tensor], Tensor]

TAU, TAU_SYNAPSE, TAU_ADAPTATION, BETA = 2.0, 5.0, 200.0, 1.6
"""The constants of all neurons, in steps."""


@dataclass(frozen=True)
class Side:
    """A library's way to run a neuron: ``x [T, N]`` to spikes ``[T, N]``.

    Args:
        library: its name.
        variant: which of its ways.
        make: builds the layer for a device and a dtype.
        rank: sides of rank 0 are measured first, those that compile for long last.
        drive: mean and standard deviation of the input.
        dtypes: where this way makes sense.
        gpu_only: whether the CPU has no such way.
        note: how its model differs from ours.
    """

    library: str
    variant: str
    make: Callable[[torch.device, torch.dtype], Layer]
    rank: int = 1
    drive: tuple[float, float] = (0.5, 1.5)
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)
    gpu_only: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        """As printed."""
        return f"{self.library} {self.variant}"


def fraction(tau: float) -> float:
    """The fraction lost in a step with the exact leak."""
    return 1.0 - math.exp(-1.0 / tau)
