"""Pairs of neurons that are near each other, found by sorting targets into cells."""

from collections.abc import Iterator
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["PAIRS", "Neighbours"]

Real: TypeAlias = NDArray[np.float64]

PAIRS = 1 << 20
"""Pairs that are looked at together: 20 MB of temporary arrays."""


class Neighbours:
    """Pairs at most ``radius`` apart.

    Args:
        sources: positions ``[n_pre, 3]``.
        targets: positions ``[n_post, 3]``.
        period: ``[3]``, 0 where space does not close; else positions lie in ``[0, period)``.
        radius: may be infinite.
        skip: leave out pairs of equal index.
    """

    def __init__(
        self, sources: Real, targets: Real, period: Real, radius: float, skip: bool
    ) -> None:
        self.sources, self.targets = sources, targets
        self.period, self.radius, self.skip = period, radius, skip
        closes = period > 0.0
        low = np.where(closes, 0.0, targets.min(0, initial=np.inf))
        size = np.where(closes, period, np.maximum(targets.max(0, initial=-np.inf) - low, 0.0))
        # A little wider than the radius, so that rounding puts no neighbour two cells away; no
        # more than targets; none met twice around a space that closes.
        most = len(targets) ** (1 / max(int(np.count_nonzero(size)), 1))
        cells = np.clip(size / (radius * (1 + 1e-9)), 1, max(most, 1)).astype(np.int64)
        cells[closes & (cells < 3)] = 1

        def cell_of(positions: Real) -> NDArray[np.int64]:
            place = (positions - low) * (cells / np.where(size > 0.0, size, 1.0))
            place = np.clip(place, 0, cells - 1).astype(np.int64)
            return np.asarray(np.ravel_multi_index(tuple(place.T), tuple(cells)))

        self.cell = cell_of(sources)
        self.start, self.near = _reach(cell_of(targets), cells, closes)

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Ranges of sources that have about ``PAIRS`` pairs to look at."""
        looks = np.cumsum(np.diff(self.start)[self.cell])
        first = 0
        while first < self.cell.size:
            before = looks[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(looks, before + PAIRS, "right")))
            yield first, last
            first = last

    def pairs(self, first: int, last: int) -> tuple[NDArray[np.int32], Real, NDArray[np.int64]]:
        """Targets of sources ``[first, last)``, ascending in each, distances, and their numbers."""
        from spikesim.kernels.space_numba import find_pairs

        looks = int(np.diff(self.start)[self.cell[first:last]].sum())
        target, distance = np.empty(looks, np.int32), np.empty(looks)
        counts = np.empty(last - first, np.int64)
        found = find_pairs(
            *(first, last, self.sources, self.targets, self.cell, self.start, self.near),
            *(self.period, self.radius, self.skip, target, distance, counts),
        )
        return target[:found], distance[:found], counts


def _reach(
    cell: NDArray[np.int64], cells: NDArray[np.int64], closes: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """For each cell the targets in it and in those around it: ``start [cells + 1]``, ``near``."""
    place = np.stack(np.unravel_index(cell, tuple(cells)), -1)
    keys = []
    for step in product(*((-1, 0, 1) if n > 1 else (0,) for n in cells)):
        around = place + step
        around = np.where(closes, around % cells, around)
        member = np.flatnonzero(((around >= 0) & (around < cells)).all(-1))
        seen_from = np.ravel_multi_index(tuple(around[member].T), tuple(cells))
        keys.append(seen_from * cell.size + member)
    key = np.sort(np.concatenate(keys))
    start = np.searchsorted(key, np.arange(cells.prod() + 1) * cell.size)
    return start, (key % max(cell.size, 1)).astype(np.int32)
