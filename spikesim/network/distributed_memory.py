"""Memory that processes of one machine share: an exchange takes microseconds, not messages."""

import mmap
import os
import select
import tempfile
import time
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import Stopped
from spikesim.network.distributed import gather, patience
from spikesim.world import World

FOLDER = Path("/dev/shm")
APART = 8
"""Counters lie this many int64 apart: a line of the cache each."""
LOOKS = 1000
"""At the counters of others, between two at whether they live."""


class Shared:
    """A row of words of each process, which all of them read; made by :func:`shared`.

    There are two sets of rows, which take turns: who has written a row of one has read all of the
    other.
    """

    def __init__(self, world: World, memory: mmap.mmap, others: list[int]) -> None:
        self._world, self._others = world, select.poll()
        for other in others:
            self._others.register(other, select.POLLIN)  # a process that ends is read as one
            weakref.finalize(self, os.close, other)
        counters = world.size * APART
        self._address = np.frombuffer(memory, np.int64, counters).ctypes.data
        rows = np.frombuffer(memory, np.uint32, offset=8 * counters)
        self._rows = tuple(rows.reshape(2, world.size, -1))
        self._turn = 0
        self._patience = patience()

    def exchange(self, own: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """The rows of all processes, of which this one's is given; they stay until the next turn.

        Raises:
            Stopped: another process ended, or did not come in time.
        """
        from spikesim.kernels.exchange_numba import come, met

        rows, size = self._rows[self._turn & 1], self._world.size
        self._turn += 1
        rows[self._world.rank] = own
        come(self._address, self._world.rank)
        late = 0.0
        while not met(self._address, size, self._turn, LOOKS):
            late = late or time.monotonic() + self._patience
            if self._others.poll(0) or time.monotonic() > late:
                raise Stopped("lost contact with another process, which ended or did not answer")
        return rows


def shared(world: World, words: int) -> Shared | None:
    """Rows of so many words; ``None`` where processes have no memory in common."""
    size = world.size * (8 * APART + 2 * 4 * words)
    path = _made(size) if world.is_first else None
    try:
        ids, paths = zip(*gather(world, (os.getpid(), path)), strict=True)
        found = None if paths[0] is None else _opened(paths[0], size)
        others = _watched([other for other in ids if other != os.getpid()])
        usable = all(gather(world, found is not None and others is not None))
    finally:
        if path is not None:
            path.unlink()
    if not usable:
        return None
    assert found is not None
    assert others is not None
    return Shared(world, found, others)


def _made(size: int) -> Path | None:
    """A file of zeros in memory, if there is room for it."""
    try:
        number, name = tempfile.mkstemp(prefix="spikesim-", dir=FOLDER)
    except OSError:
        return None
    try:
        os.posix_fallocate(number, 0, size)
    except OSError:
        os.unlink(name)
        return None
    finally:
        os.close(number)
    return Path(name)


def _opened(path: Path, size: int) -> mmap.mmap | None:
    try:
        with path.open("r+b") as file:
            return mmap.mmap(file.fileno(), size)
    except OSError:
        return None


def _watched(others: list[int]) -> list[int] | None:
    """Handles of processes, ready once these end."""
    try:
        return [os.pidfd_open(other) for other in others]
    except (AttributeError, OSError):  # not Linux, or not on this machine
        return None
