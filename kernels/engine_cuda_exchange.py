"""Spikes that processes exchange on their devices: ``cuda/exchange.cuh``.

A process lists the spikes of its own neurons. At the end of each block they go to all processes, as
bits; each has a list of all spikes then, which deliveries read.
"""

from collections.abc import Callable, Mapping, Set
from itertools import accumulate, pairwise

import numpy as np
import torch

from spikesim.kernels.engine import Source
from spikesim.kernels.engine_cuda_launch import Launch, at, on_device
from spikesim.kernels.exchange import Exchanged
from spikesim.kernels.print_cuda import cuda_file
from spikesim.kernels.print_update import THREADS, engine_text

List = tuple[int, int, int, int]
"""The struct of ``cuda/engine.cuh``."""


class Crossing:
    """The arrays of an exchange.

    Args:
        operation: the exchange.
        ids: of the first neurons: of populations here in the list of the process, of received ones
            in that of all.
        room: ids in the list of the process, a multiple of 32.
        heard: sources that have synapses here.
        device: where the arrays are.
    """

    def __init__(
        self,
        operation: Exchanged,
        ids: Mapping[Source, int],
        room: int,
        heard: Set[Source],
        device: torch.device,
    ) -> None:
        self._operation, members, block = operation, operation.members, operation.block
        words = [[-(-(b - a) // 32) for a, b in pairwise(member.limits)] for member in members]
        starts = [list(accumulate(each, initial=0)) for each in zip(*words, strict=True)]
        self._processes = len(starts)
        self._words = max(row[-1] for row in starts)
        self._is_heard = any(member.received in heard for member in members)
        word_of = np.full(room // 32, -1, np.int32)
        first_id = np.zeros((self._processes, self._words), np.int32)
        for m, member in enumerate(members):
            for process, many in enumerate(words[m]):
                place = starts[process][m] + np.arange(many)
                first = ids[member.received] + member.limits[process]
                first_id[process, place] = first + 32 * np.arange(many)
                if process == operation.rank and many:
                    column = ids[member.own] // 32
                    word_of[column : column + many] = place
        self._word_of, self._first_id = on_device(word_of, device), on_device(first_id, device)
        self._ids = torch.zeros((block, room), dtype=torch.int32, device=device)
        self._counts = torch.zeros(block, dtype=torch.int32, device=device)
        self._own = torch.zeros((block, self._words), dtype=torch.int32, device=device)
        self._all = torch.zeros((self._processes, *self._own.shape), dtype=torch.int32).to(device)

    @property
    def own(self) -> List:
        """The list of the process, in which deliveries find nothing."""
        return at(self._ids), at(self._counts), self._ids.shape[1], len(self._counts) - 1

    def launches(self, real: str, spikes: List, many: int) -> list[Launch | Callable[[], None]]:
        """What exchanges the spikes of the last steps.

        Args:
            real: dtype of the network.
            spikes: the list of all.
            many: steps, not yet exchanged.
        """
        text, words = exchange_text(real), self._words
        packed = *self.own, at(self._word_of), at(self._own), words, many
        found: list[Launch | Callable[[], None]] = [
            Launch(text, "pack", many, packed),
            self._gather,
        ]
        if self._is_heard:
            sizes = self._processes, len(self._counts) - 1, words, many
            unpacked = *spikes, at(self._all), at(self._first_id), *sizes
            grid = -(-self._processes * many * words // THREADS)
            found.append(Launch(text, "unpack", grid, unpacked))
        return found

    def _gather(self) -> None:
        self._operation.gather(self._own.flatten(), self._all.flatten())


def exchange_text(real: str) -> str:
    """Text of the kernels ``pack`` and ``unpack``."""
    return engine_text(real, {}, cuda_file("exchange.cuh"))
