"""Kernels of a network's step on a device, and the clock that they go by."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels import cupy_module
from spikesim.kernels.print_update import THREADS

REPLAYED = 32
"""Steps of a graph, at most; rows of plastic synapses may catch up after as many."""
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
    is_beside: bool = False
    """Whether it may run beside the rest of its step and of the next one, but not beside others
    of its kind, nor before the last step is over."""

    def __call__(self, times: tuple[int, int, int], device: torch.device) -> None:
        """Enqueue it, with the struct ``Clock``."""
        packed = np.array([*times, *self.arguments], np.int64)
        kernels = cupy_module.module(self.text)
        kernels.launch(self.name, device, self.grid, THREADS, packed)


class Step:
    """The launches of a step, in order, and functions that are called between them."""

    def __init__(
        self, parts: Sequence[Launch | Callable[[], None]], tick: Launch, clock: Tensor
    ) -> None:
        self._clock = clock
        launches = [part for part in parts if isinstance(part, Launch)]
        self.launches: Sequence[Launch] = launches
        # The first one writes what the last one reads, so that there must be two.
        together = [*parts, tick] if len(launches) < 2 else parts
        ends = launches[:1], (tick if len(launches) < 2 else launches[-1],)
        self._parts = []
        for part in together:
            numbers: list[int] = []
            if isinstance(part, Launch):
                numbers = [*self._times(*(part in end for end in ends)), *part.arguments]
            self._parts.append((part, np.array(numbers, np.int64)))

    def __call__(self) -> None:
        """Enqueue one step."""
        for part, packed in self._parts:
            if isinstance(part, Launch):
                kernels = cupy_module.module(part.text)
                kernels.launch(part.name, self._clock.device, part.grid, THREADS, packed)
            else:
                part()

    def _times(self, is_first: bool, is_last: bool) -> tuple[int, int, int]:
        now, passed_on = (at(self._clock, k) for k in (NOW, PASSED_ON))
        if is_first:
            return now, passed_on, 0
        return passed_on, now if is_last else 0, 1


def between(launch: Launch, clock: Tensor) -> None:
    """Enqueue a kernel between two steps: of the one to come the clock tells."""
    launch((at(clock, NOW), 0, 0), clock.device)


def overlapped(steps: Sequence[Sequence[Launch]], numbers: Tensor) -> None:
    """Enqueue steps in a stream and a second one beside it, to be captured.

    Args:
        steps: of each its launches.
        numbers: of the steps, on the device; when all is over, those that come after them.
    """
    device = numbers.device
    main = torch.cuda.current_stream(device)
    side: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    done: list[torch.cuda.Event] = []
    for k, launches in enumerate(steps):
        times = at(numbers, k), 0, 0
        side.wait_event(main.record_event())
        if k >= 2:
            main.wait_event(done[k - 2])
        with torch.cuda.stream(side):
            for launch in launches:
                if launch.is_beside:
                    launch(times, device)
        done.append(side.record_event())
        for launch in launches:
            if not launch.is_beside:
                launch(times, device)
    for event in done[-2:]:
        main.wait_event(event)
    numbers += len(steps)


def processors(device: torch.device) -> int:
    """The multiprocessors of a device."""
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


def check_fits(needed: int, what: str, device: torch.device) -> None:
    """Refuse what a device has no room for.

    Raises:
        UserError: says how much is needed and how much is free.
    """
    if device.type != "cuda":
        return
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if needed > free:
        need, left = (f"{size / 2**30:.3g} GiB" for size in (needed, free))
        raise UserError(f"{what} need about {need} of {device}, {left} are free")


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
