"""Spike trains as bits, each by itself.

Shape legend: ``T`` steps, ``...`` trains; time first.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spikesim.errors import UserError
from spikesim.kernels import bits


@dataclass(frozen=True)
class Trains:
    """Packed spike trains.

    Args:
        words: int32 ``[..., ceil(T / 32)]``; bit ``k`` of word ``j`` is step ``32 j + k``.
        steps: T.
    """

    words: Tensor
    steps: int

    def unpacked(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Spikes ``[T, ...]``, 0 or 1."""
        shape = (*self.words.shape[:-1], 32 * self.words.shape[-1])
        strides = torch.empty(shape, device="meta").stride()
        flat = self.words.contiguous().view(-1)
        return bits.unpack(flat, shape, strides, dtype)[..., : self.steps].movedim(-1, 0)


def pack_trains(spikes: Tensor) -> Trains:
    """Trains ``[T, ...]`` as bits: whether each step holds a spike.

    Raises:
        UserError: no time axis.

    >>> pack_trains(torch.tensor([1.0, 0.0, 1.0, 1.0])).words.tolist()
    [13]
    """
    if not spikes.dim():
        raise UserError("spike trains must be [T, ...], got one number")
    steps = len(spikes)
    rows = spikes.detach().movedim(0, -1)
    if not rows.is_floating_point():
        rows = rows.to(torch.float16)
    rows = functional.pad(rows, (0, -steps % 32)).contiguous()
    return Trains(bits.pack(rows).view(*rows.shape[:-1], rows.shape[-1] // 32), steps)


def concatenated(spikes: Tensor, dim: int = -1) -> Tensor:
    """The trains of an axis one after the other: ``[T, ..., N]`` -> ``[N * T, ...]``."""
    return spikes.movedim(dim, 0).flatten(0, 1)
