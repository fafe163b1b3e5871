"""Spikes of a block of steps, from each process to all others.

The bits of all populations lie side by side, and go as they are between processes of one machine,
through memory that they share. Otherwise a process sends one message to each other one: through
gloo that takes less time than a collective operation. It holds the bits where they are few, or else
a list of the places of the ones behind their number, in buffers of one size for all, so that nobody
asks for sizes first. If the spikes of a process do not fit, all see it by its number: this block
then goes as bits, and the buffers grow for those after it, until lists would be no smaller.
"""

from collections.abc import Mapping
from itertools import accumulate, pairwise

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from spikesim.kernels.engine import Call, Received
from spikesim.network.distributed import Share, contact
from spikesim.network.distributed_memory import shared
from spikesim.network.population import Group
from spikesim.world import World

FEW = 1024
"""Words of a process that go as they are: the time of an exchange is that of a message."""
SPARE = 16
"""Words of bits for each place in a first list."""
MOST = 2**27
"""Words whose bits have places of 32 bits."""


class Exchange:
    """Groups whose spikes are exchanged at once; called for each block.

    Args:
        world: the processes.
        shares: of the groups.
        block: steps.

    Attributes:
        operation: what the engine runs.
        own: ``[block, words]`` of each group: spikes of this process's neurons.
        received: spikes of all neurons of each group.
        room: of a list, in spikes; 0 where bits are sent.
    """

    def __init__(self, world: World, shares: Mapping[Group, Share], block: int) -> None:
        parts = [[_words(b - a) for a, b in pairwise(s.limits)] for s in shares.values()]
        sizes = block * np.array(parts).T  # [processes, groups]
        starts = [list(accumulate(row, initial=0)) for row in sizes.tolist()]
        self._world, self._block = world, block
        self._most = int(sizes.sum(1).max())
        self._words = np.zeros((world.size, self._most), np.uint32)
        self.own = {
            group: self._words[world.rank, a:b].reshape(block, -1)
            for group, (a, b) in zip(shares, pairwise(starts[world.rank]), strict=True)
        }
        wide = [_words(group.size) for group in shares]
        ends = list(accumulate((block * many for many in wide), initial=0))
        self._whole = np.zeros(ends[-1], np.uint32)
        self.received = {
            group: Received(group.size, self._whole[a:b].reshape(block, -1))
            for group, (a, b) in zip(shares, pairwise(ends), strict=True)
        }
        self._moves = np.array(
            [
                (rank, starts[rank][g], parts[g][rank], ends[g] + limit // 32, wide[g])
                for g, s in enumerate(shares.values())
                for rank, limit in enumerate(s.limits[:-1])
            ],
            np.int64,
        )
        self._bits = _tensors(self._words)
        self.operation = Call(self)
        self._shared = shared(world, self._most)
        is_long = self._shared is None and FEW < self._most < MOST
        self._make_room(self._most // SPARE if is_long else 0)

    def __call__(self, begin: int, steps: int) -> None:
        """Let the others have the bits in ``own``, and fill ``received`` with those of all."""
        from spikesim.kernels.exchange_numba import set_ones, spread

        words = self._words
        if self._shared is not None:
            words = self._shared.exchange(words[self._world.rank])
        elif self.room and self._exchange_lists():
            set_ones(self._lists, words, self._world.rank)
        else:
            self._exchange(self._bits)
        spread(words, self._moves, self._block, self._whole)

    def _exchange_lists(self) -> bool:
        """Whether the spikes of each process had room."""
        from spikesim.kernels.exchange_numba import list_ones

        list_ones(self._words[self._world.rank], self._lists[self._world.rank])
        self._exchange(self._places)
        most = int(self._lists[:, 0].max())
        if most <= self.room:
            return True
        room = 2 * most
        self._make_room(room if room < self._most // 2 else 0)
        return False

    def _make_room(self, room: int) -> None:
        self.room = room
        self._lists = np.zeros((self._world.size, room + 1), np.uint32)
        self._places = _tensors(self._lists)

    def _exchange(self, rows: list[Tensor]) -> None:
        """Send the own row, and receive those of the others."""
        rank, size = self._world.rank, self._world.size
        with contact():
            works = [dist.irecv(rows[(rank - k) % size], (rank - k) % size) for k in range(1, size)]
            works += [dist.isend(rows[rank], (rank + k) % size) for k in range(1, size)]
            for work in works:
                assert work is not None
                work.wait()


def _words(neurons: int) -> int:
    return -(-neurons // 32)


def _tensors(rows: NDArray[np.uint32]) -> list[Tensor]:
    """The same memory; gloo knows no numbers without a sign."""
    return list(torch.from_numpy(rows.view(np.int32)))
