"""Compiled loops over pairs of neurons in space; called by :mod:`spikesim.network.space`.

Importing this module imports numba, so it is imported inside functions. Positions are float64
``[count, 3]``; ``period[axis]`` is 0 where space does not close. A source in cell ``c`` looks at
targets ``near[start[c]:start[c + 1]]``, ascending.
"""
# mypy: disable-error-code="no-untyped-def"

import math

from numba import njit
from numpy import float64, uint64

from spikesim.kernels.philox_numba import philox

_CONNECTIONS, _PAIR = uint64(0xFFFFFF01), 2
"""The end of the counter of the draw of a pair, ``(source, target, 2, 0xFFFFFF01)``."""


@njit(cache=True, forceinline=True)
def distance_of(a, b, period):
    """Euclidean distance of two positions, by the shorter way where space closes."""
    square = 0.0
    for axis in range(3):
        way = abs(a[axis] - b[axis])
        way = min(way, abs(period[axis] - way)) if period[axis] > 0.0 else way
        square += way * way
    return math.sqrt(square)


@njit(cache=True, nogil=True)
def find_pairs(
    first, last, sources, targets, cell, start, near, period, radius, skip, target, distance, counts
):
    """Pairs of sources ``[first, last)`` within ``radius``; ``counts`` has one entry a source."""
    found = 0
    for i in range(first, last):
        before = found
        for m in range(start[cell[i]], start[cell[i] + 1]):
            j = near[m]
            d = distance_of(sources[i], targets[j], period)
            if d <= radius and not (skip and i == j):
                target[found], distance[found] = j, d
                found += 1
        counts[i - first] = found - before
    return found


@njit(cache=True, nogil=True)
def keep_pairs(first, probability, seed, target, distance, counts):
    """Keep each pair with its probability, in place; returns how many are left."""
    read, left = 0, 0
    for i in range(counts.size):
        before, end = left, read + counts[i]
        while read < end:
            j, p = target[read], probability[read] * 2.0**32
            word = philox(seed[0], seed[1], first + i, j, _PAIR, _CONNECTIONS)[0]
            if float64(word) < p:
                target[left], distance[left] = j, distance[read]
                left += 1
            read += 1
        counts[i] = left - before
    return left
