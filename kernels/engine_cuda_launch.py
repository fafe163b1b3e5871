"""Kernels of a network's step on a device, and the clock that they go by."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.kernels import cupy_module
from spikesim.kernels.print_update import THREADS

NOW, PASSED_ON, FIRST, TRAINS = range(4)
"""What a clock holds: the step, twice (see ``Clock`` in ``cuda/engine.cuh``), the step of row 0 of
all that is recorded, and of each train of given spikes the place of the next one."""


@dataclass(frozen=True, eq=False)
class Launch:
    """A kernel with all that it takes but the clock: 64-bit numbers and addresses."""

    text: str
    name: str
    grid: int
    arguments: tuple[int, ...]
    kept: tuple[Tensor, ...] = ()
    """Tables that only this launch points to."""


class Step:
    """The launches of a step, in order."""

    def __init__(self, launches: Sequence[Launch], tick: Launch, clock: Tensor) -> None:
        self._clock = clock
        # The first one writes what the last one reads, so that there must be two.
        together = [*launches, tick] if len(launches) < 2 else launches
        last = len(together) - 1
        self._launches = [
            (launch, np.array([*self._times(k == 0, k == last), *launch.arguments], np.int64))
            for k, launch in enumerate(together)
        ]

    def __call__(self) -> None:
        """Enqueue one step."""
        for launch, packed in self._launches:
            kernels = cupy_module.module(launch.text)
            kernels.launch(launch.name, self._clock.device, launch.grid, THREADS, packed)

    def _times(self, is_first: bool, is_last: bool) -> tuple[int, int, int]:
        now, passed_on = (at(self._clock, k) for k in (NOW, PASSED_ON))
        if is_first:
            return now, passed_on, 0
        return passed_on, now if is_last else 0, 1


def at(tensor: Tensor | None, element: int = 0) -> int:
    """The address of an element; 0 for ``None``."""
    return 0 if tensor is None else tensor.data_ptr() + element * tensor.element_size()


def on_device(array: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """An array without gaps on the device; numbers without a sign keep their bits."""
    if isinstance(array, np.ndarray):
        if array.dtype.kind == "u":
            array = array.view(f"i{array.itemsize}")
        array = torch.from_numpy(np.ascontiguousarray(array))
    return array.to(device).contiguous()


def table(rows: Iterable[Sequence[int]], device: torch.device) -> Tensor:
    """Rows of 64-bit numbers and addresses, as structs on the device."""
    return torch.tensor([list(row) for row in rows], dtype=torch.int64).to(device)
