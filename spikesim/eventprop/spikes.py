"""Spikes of a batch as a list of events.

Shape legend: ``M`` spikes of all samples, ``B`` batch, ``N`` neurons, ``T`` steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from spikesim.errors import UserError

KINDS = (torch.float64, torch.int64, torch.int64)
"""Of times, neurons and offsets."""


@dataclass(frozen=True, eq=False)
class Spikes:
    """When which neuron spikes, one sample after the other.

    The gradient of a loss reaches ``times``: what changes if a spike comes a little later.

    Args:
        times: float64 ``[M]``, ms, rising in each sample, from 0 to ``duration``.
        neurons: int64 ``[M]``.
        offsets: int64 ``[B + 1]``; those of sample ``b`` are ``offsets[b]`` to ``offsets[b + 1]``.
        size: number of neurons, ``N``.
        duration: of each sample, ms.

    Raises:
        UserError: arrays that do not fit each other, times or neurons out of their ranges.

    >>> spikes = Spikes.of([([2.0, 1.0], [0, 1])], size=2, duration=5.0)
    >>> spikes.times.tolist(), spikes.neurons.tolist(), spikes.counts().tolist()
    ([1.0, 2.0], [1, 0], [[1, 1]])
    """

    times: Tensor
    neurons: Tensor
    offsets: Tensor
    size: int
    duration: float

    def __post_init__(self) -> None:
        times, neurons = self.times.detach(), self.neurons
        if times.device.type != "cpu":
            raise UserError(f"spikes as events are kept on the CPU, got times on {times.device}")
        if not 0 < self.duration < math.inf:
            raise UserError(f"duration must be finite and > 0 ms, got {self.duration}")
        kinds = times.dtype, neurons.dtype, self.offsets.dtype
        if kinds != KINDS or times.shape != neurons.shape or times.dim() != 1:
            raise UserError(
                "times must be float64 [M], neurons int64 [M] and offsets int64, got "
                f"{times.dtype} {list(times.shape)}, {neurons.dtype} {list(neurons.shape)} and "
                f"{self.offsets.dtype}"
            )
        ends = self.offsets
        if len(ends) == 0 or ends[0] != 0 or ends[-1] != len(times) or ends.diff().lt(0).any():
            raise UserError(f"offsets must rise from 0 to {len(times)} spikes")
        if len(times) == 0:
            return
        if not (times.min() >= 0 and times.max() <= self.duration):
            raise UserError(
                f"times must be 0 to {self.duration:g} ms, got {times.min():g} to {times.max():g}"
            )
        if not (neurons.min() >= 0 and neurons.max() < self.size):
            raise UserError(
                f"neurons must be 0 to {self.size - 1}, got {neurons.min()} to {neurons.max()}"
            )
        if bool(((times.diff() < 0) & (self.samples.diff() == 0)).any()):
            raise UserError("times must rise in each sample; Spikes.of sorts them")

    @property
    def batch(self) -> int:
        """Number of samples."""
        return len(self.offsets) - 1

    @property
    def samples(self) -> Tensor:
        """Of which sample each spike is, ``[M]``."""
        return torch.repeat_interleave(torch.arange(self.batch), self.offsets.diff())

    def counts(self) -> Tensor:
        """Spikes of each neuron, int64 ``[B, N]``."""
        place = self.samples * self.size + self.neurons
        return torch.bincount(place, minlength=self.batch * self.size).view(self.batch, self.size)

    def select(self, samples: Tensor) -> "Spikes":
        """The samples of these numbers, in this order."""
        lengths = self.offsets.diff()[samples]
        offsets = torch.cat((lengths.new_zeros(1), lengths.cumsum(0)))
        # From where the spikes of a sample are to where they were.
        moved = torch.repeat_interleave(self.offsets[samples] - offsets[:-1], lengths)
        places = torch.arange(len(moved)) + moved
        return replace(
            self, times=self.times[places], neurons=self.neurons[places], offsets=offsets
        )

    def raster(self, dt: float) -> Tensor:
        """Counts in steps of ``dt``, float32 ``[T, B, N]``; a time is rounded to the nearest."""
        steps = round(self.duration / dt) + 1
        x = torch.zeros(steps, self.batch, self.size)
        step = torch.round(self.times.detach() / dt).long()
        ones = torch.ones(len(step))
        return x.index_put((step, self.samples, self.neurons), ones, accumulate=True)

    @classmethod
    def of(
        cls, samples: Sequence[tuple[ArrayLike, ArrayLike]], *, size: int, duration: float
    ) -> "Spikes":
        """Sort what is given as a pair of times and neurons for each sample."""
        rows = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in samples]
        counts = [len(times) for times, _ in rows]
        for number, (own, (_, places)) in enumerate(zip(counts, rows, strict=True)):
            if len(places) != own:
                raise UserError(f"sample {number} has {own} times and {len(places)} neurons")
            if (places % 1).any():
                raise UserError(
                    f"neurons of sample {number} are no whole numbers; times come first"
                )
        times, neurons = np.concatenate([np.empty((2, 0)), *map(np.stack, rows)], axis=1)
        order = np.lexsort((times, np.repeat(np.arange(len(counts)), counts)))
        return cls(
            torch.from_numpy(times[order]),
            torch.from_numpy(neurons[order].astype(np.int64)),
            torch.tensor(np.cumsum([0, *counts])),
            size,
            duration,
        )

    @classmethod
    def from_raster(cls, x_TBN: Tensor, dt: float) -> "Spikes":
        """The spikes of ``[T, B, N]``, whole numbers, at the beginning of their steps."""
        if not ((x_TBN >= 0) & (x_TBN == x_TBN.long())).all():
            raise UserError("a raster holds counts of spikes: whole numbers, 0 or more")
        x_BTN = x_TBN.transpose(0, 1)
        sample, step, neuron = x_BTN.nonzero(as_tuple=True)
        repeats = x_BTN[sample, step, neuron].long()
        sample, step, neuron = (a.repeat_interleave(repeats) for a in (sample, step, neuron))
        offsets = torch.bincount(sample, minlength=x_BTN.shape[0]).cumsum(0)
        return cls(
            step.double() * dt,
            neuron,
            torch.cat((offsets.new_zeros(1), offsets)),
            x_TBN.shape[2],
            x_TBN.shape[0] * dt,
        )
