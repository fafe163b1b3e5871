"""Counting batch after batch: one by one, or each shape as a CUDA graph from its second batch on.

What a batch does is known from its shape but for sums over values. These are one array, which a
graph of the model with all that counts it leaves behind: a replay is one launch in place of
thousands, and waits for nothing.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from spikesim.capture import capturing
from spikesim.energy.ledger import Line
from spikesim.energy.steps import Timing
from spikesim.energy.watch import Watcher
from spikesim.errors import BackendError

Lines: TypeAlias = dict[Any, Line]


@dataclass
class Piece:
    """Batches of one shape, captured.

    Args:
        x: what the graph reads.
        lines: what one batch does.
        uncovered: the same, of what is not counted.
        sums: what the graph leaves of all lines.
        replay: runs it.
        total: of ``sums``, over all replays.
        batches: how many these were.
    """

    x: Tensor
    lines: Lines
    uncovered: Counter[tuple[str, str]]
    sums: Tensor
    replay: Callable[[], None]
    total: Tensor
    batches: int = 0


class Batches:
    """Runs batches and counts them.

    Args:
        watcher: whose lines take what was counted, at last in :meth:`finish`.
        run: runs the model on a batch.
        cuda_graph: whether batches of a shape seen before are replayed.
    """

    def __init__(
        self, watcher: Watcher, run: Callable[[Tensor], object], *, cuda_graph: bool
    ) -> None:
        self.watcher, self.cuda_graph = watcher, cuda_graph
        self._run = run
        self._seen = set[Any]()
        self._pieces: dict[Any, Piece] = {}

    def count(self, x: Tensor, timing: Timing) -> None:
        """Run a batch, whose neurons are in their first state.

        Raises:
            BackendError: a CUDA graph was asked for that cannot be.
        """
        key = x.shape, x.stride() if x.layout == torch.strided else x.layout, x.dtype
        if not self.cuda_graph or key not in self._seen:
            # The first of a shape also starts what libraries and compilers have to start.
            self._seen.add(key)
            with self.watcher.watching(timing):
                self._run(x)
            return
        if key not in self._pieces:
            self._pieces[key] = self._captured(x, timing)
        piece = self._pieces[key]
        piece.x.copy_(x)
        piece.replay()
        piece.total += piece.sums
        piece.batches += 1

    def finish(self) -> None:
        """Let the watcher have what replays did."""
        for piece in self._pieces.values():
            sizes = [len(array) for array in _arrays(piece.lines)]
            parts = iter(torch.split(piece.total, sizes))
            for key, line in piece.lines.items():
                line.repeat(piece.batches, {name: next(parts) for name in line.sums})
                if key in self.watcher.lines:
                    self.watcher.lines[key].merge(line)
                else:
                    self.watcher.lines[key] = line
            for what, calls in piece.uncovered.items():
                self.watcher.uncovered[what] += piece.batches * calls
        self._pieces.clear()

    def _captured(self, x: Tensor, timing: Timing) -> Piece:
        own = torch.empty_like(x).copy_(x)
        (lines, uncovered, sums), replay = captured(lambda: self._once(own, timing), x.device)
        return Piece(own, lines, uncovered, sums, replay, torch.zeros_like(sums))

    def _once(self, x: Tensor, timing: Timing) -> tuple[Lines, Counter[tuple[str, str]], Tensor]:
        """What one batch does, apart from what the watcher has so far."""
        watcher = self.watcher
        before = watcher.lines, watcher.uncovered
        watcher.lines, watcher.uncovered, watcher.is_first = {}, Counter(), False
        try:
            with watcher.watching(timing):
                self._run(x)
            arrays = [a.double() for a in _arrays(watcher.lines)]
            sums = torch.cat(arrays) if arrays else torch.zeros(0, device=x.device)
            return watcher.lines, watcher.uncovered, sums
        finally:
            watcher.lines, watcher.uncovered = before
            watcher.is_first = True


def captured(
    function: Callable[[], tuple[Lines, Counter[tuple[str, str]], Tensor]], device: torch.device
) -> tuple[tuple[Lines, Counter[tuple[str, str]], Tensor], Callable[[], None]]:
    """What a function gives, and what runs it again into the same arrays.

    Raises:
        BackendError: no CUDA device, or the function cannot be captured.
    """
    if device.type != "cuda":
        raise BackendError(
            f"cuda_graph=True needs a model and data on a CUDA device, they are on {device}; leave "
            "it out"
        )
    graph = torch.cuda.CUDAGraph()
    refused = "cuda_graph=True: this model cannot be captured ({cause}); leave it out"
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with capturing(graph, stream, refused):
        found = function()
    return found, graph.replay


def _arrays(lines: Lines) -> list[Tensor]:
    """All sums over values, in order."""
    return [found for line in lines.values() for found in line.sums.values()]
