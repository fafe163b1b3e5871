"""Rings of which each thread has its own."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.kernels.engine import Cells, Operation

Array = NDArray[Any]


class OwnRings:
    """Copies of rings, one for each thread but the first, which has the rings themselves.

    In a shared one, threads at work on the same slot would slow each other by a fifth: the
    processor fetches ahead what follows a thread's neurons, and so takes it from the next thread.
    During a run a thread uses the columns of its own neurons only; memory that is never touched is
    never taken.

    Args:
        rings: ``[slots, neurons]`` each.
        limits: of a ring, where the neurons of each thread begin, with their end.
    """

    def __init__(self, rings: Sequence[Array], limits: Sequence[NDArray[np.int64]]) -> None:
        self._rings, self._limits = rings, limits
        threads = max(map(len, limits), default=1) - 1
        self._others = [[np.empty_like(ring) for ring in rings] for _ in range(1, threads)]

    def of(self, thread: int) -> Mapping[int, Array]:
        """What a thread has instead of the arrays of these ids."""
        if thread == 0 or not self._rings:
            return {}
        own = self._others[thread - 1]
        return {id(ring): mine for ring, mine in zip(self._rings, own, strict=True)}

    def hand_out(self) -> None:
        """Before a run: give threads what their neurons receive."""
        for whole, own in self._parts():
            own[:] = whole

    def take_back(self) -> None:
        """After it."""
        for whole, own in self._parts():
            whole[:] = own

    def _parts(self) -> Iterator[tuple[Array, Array]]:
        for k, (ring, limits) in enumerate(zip(self._rings, self._limits, strict=True)):
            for own, (begin, end) in zip(self._others, pairwise(limits[1:]), strict=True):
                yield ring[:, begin:end], own[k][:, begin:end]


def rings_of(operations: Sequence[Operation]) -> list[Array]:
    """All that cells read, each once."""
    cells = [operation for operation in operations if isinstance(operation, Cells)]
    found = [ring.array for group in cells for ring in group.rings.values() if ring is not None]
    return list({id(ring): ring for ring in found}.values())
