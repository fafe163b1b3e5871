"""What drives populations, as a table on a device: ``Drive`` in ``cuda/engine_update.cuh``."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.kernels.engine import CurrentInput, NoiseInput, PoissonInput
from spikesim.kernels.engine_cuda_launch import at, on_device
from spikesim.kernels.poisson import poisson_limits

Input: TypeAlias = PoissonInput | NoiseInput | CurrentInput

NOTHING, POISSON, NOISE, CURRENT = range(4)
SLOTS = 12
"""Numbers of an entry."""
GROUP = 8
"""Limits of counts that are compared at a time."""


@dataclass(eq=False)
class Drive:
    """An input, with its entry as of the last look at it."""

    operation: Input
    place: int
    """Which input of the neurons."""
    device: torch.device
    entry: tuple[int, ...] = ()
    _kept: tuple[Tensor, ...] = ()
    _seen: Any = field(default=None)

    def refresh(self) -> bool:
        """Look at it again; whether the entry is another one now."""
        operation = self.operation
        if isinstance(operation, PoissonInput):
            if operation.mean_per_step is self._seen:
                return False
            self._seen = operation.mean_per_step
            self._put(POISSON, operation.weight, operation, *_poisson(operation))
        elif isinstance(operation, NoiseInput):
            if self._seen is operation:
                return False
            self._seen = operation
            self._put(NOISE, 0, operation, *_noise(operation))
        else:
            if self._seen is not None and np.array_equal(operation.values, self._seen):
                return False
            self._seen = operation.values.copy()
            self._put(CURRENT, 0, None, self._seen, np.zeros(0, np.int64), 0, 0, True)
        return True

    def _put(
        self,
        kind: int,
        weight: int,
        keyed: PoissonInput | NoiseInput | None,
        base: NDArray[Any],
        more: NDArray[Any],
        rows: int,
        stride: int,
        moves: bool,
    ) -> None:
        self._kept = on_device(base, self.device), on_device(more, self.device)
        *key, number = (0, 0, 0) if keyed is None else (keyed.seed, keyed.stream, keyed.first)
        addresses = map(at, self._kept)
        sizes = rows, stride, int(moves)
        self.entry = (kind, self.place, weight, *key, *addresses, *sizes, number, 0)


def _poisson(poisson: PoissonInput) -> tuple[NDArray[Any], NDArray[Any], int, int, bool]:
    means, which = np.unique(poisson.mean_per_step, return_inverse=True)
    base, limits = poisson_limits(means)
    if len(means) > 1:
        base, limits = base[which], limits[:, which]
    beyond = np.iinfo(np.uint32).max  # exceeded by no word
    limits = np.pad(limits, [(0, -len(limits) % GROUP), (0, 0)], constant_values=beyond)
    bases = (base * poisson.weight).astype(poisson.ring.array.dtype)
    return bases, limits, len(limits), limits.shape[1], len(means) > 1


def _noise(noise: NoiseInput) -> tuple[NDArray[Any], NDArray[Any], int, int, bool]:
    numbers = np.broadcast_arrays(*(np.float64(v) for v in (noise.mean, noise.std)))
    mean, std = (np.atleast_1d(v) / noise.ring.quantum for v in numbers)
    return mean, std, 0, 0, numbers[0].size > 1
