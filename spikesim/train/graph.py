"""Pieces of a training step as CUDA graphs: one launch in place of thousands.

A function is captured once for every name and shape of its inputs, and replayed from then on. What
changes from step to step reaches a graph through the contents of tensors (inputs, learning rate,
seed and offset of random numbers), never through a Python number.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from spikesim.capture import capturing
from spikesim.errors import UserError
from spikesim.world import World

T = TypeVar("T")
Key: TypeAlias = tuple[object, ...]

WARM_UP = 2
"""Runs of each function before it is captured: libraries and compilers start in the first one."""


def check_cuda_graph(device: torch.device, world: World) -> None:
    """Refuse a graph where it cannot serve.

    Raises:
        UserError: no CUDA device, or several processes.
    """
    if device.type != "cuda":
        raise UserError(
            f"train.cuda_graph=true needs a CUDA device and the run is on {device}; set "
            "train.cuda_graph=false, or train.device=cuda where there is one"
        )
    if world.size > 1:
        raise UserError(
            f"train.cuda_graph=true serves one process, this run has {world.size}: a graph would "
            "leave out the exchange of gradients; set train.cuda_graph=false, or use one process"
        )


@dataclass(frozen=True)
class Piece:
    """A captured function: its graph, the inputs it reads and the outputs it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: object


class Graphs:
    """Runs functions, each as a CUDA graph after its first few runs.

    Those first runs are ordinary ones, and count: a function is never run only to warm up. A shape
    not seen before frees the memory of all graphs before it runs, so that no step needs the memory
    of two; they are then captured again. All graphs share one pool of memory.

    A function must read and write the same tensors in each run, and the caller must use what it
    returns before the next run.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.captured: dict[Key, Piece] = {}
        self._runs: Counter[Key] = Counter()
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def queue(self) -> Iterator[None]:
        """Inside, work is queued on the one stream that captures, runs and replays."""
        outside = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(outside)
        with torch.cuda.stream(self.stream):
            yield
        outside.wait_stream(self.stream)

    def run(self, name: Key, function: Callable[..., T], *inputs: Tensor) -> T:
        """``function(*inputs)``, inside :meth:`queue`.

        Raises:
            BackendError: the function cannot be captured.
        """
        key = (*name, *((x.shape, x.stride(), x.dtype) for x in inputs))
        if key not in self.captured:
            if self._runs[key] < WARM_UP:
                self._runs[key] += 1
                self.release()
                return function(*inputs)
            self.captured[key] = self._capture(name, function, inputs)
        piece = self.captured[key]
        for own, given in zip(piece.inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        piece.graph.replay()
        return piece.outputs  # type: ignore[return-value]

    def release(self) -> None:
        """Free the memory of all graphs."""
        if self.captured:
            self.stream.synchronize()
            self.captured.clear()
            torch.cuda.empty_cache()
            self._pool = torch.cuda.graph_pool_handle()

    def _capture(
        self, name: Key, function: Callable[..., object], inputs: tuple[Tensor, ...]
    ) -> Piece:
        own = tuple(torch.empty_like(x) for x in inputs)
        graph = torch.cuda.CUDAGraph()
        refused = (
            f"train.cuda_graph=true: the {name[0]} of this model cannot be captured ({{cause}}); "
            "set train.cuda_graph=false"
        )
        with capturing(graph, self.stream, refused, self._pool):
            outputs = function(*own)
        return Piece(graph, own, outputs)
