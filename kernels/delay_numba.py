"""Compiled loops over spikes that arrive late; called through :mod:`spikesim.kernels.delay_cpu`.

Importing this module imports numba, so it is imported inside functions. Legend: column ``c = b * I
+ i`` is input ``i`` of sample ``b``, whose events are ``begins[c]:begins[c + 1]`` of ``times`` and
``values``, the first ones first; row ``r = k * I + i`` of ``start [rows, O]`` says with which delay
the taps ``[1 or 4, rows, O]`` of a synapse begin. A line of a scratch array is one output over all
steps and over those that come after the last, into which late arrivals fall.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit
from numpy import uint64

from spikesim.kernels.memory_numba import wide

_CONTRACT = {"contract"}
_WHOLE = 64
"""Steps of a loop that LLVM has made of vectors."""
_1, _2, _3 = uint64(1), uint64(2), uint64(3)
"""Sums of unsigned numbers are not looked at as places from the end."""


@njit(cache=True, nogil=True)
def count_events(x, counts, first, last):
    """Events of each column of samples ``[first, last)`` of ``x [T, B, I]``."""
    for t in range(x.shape[0]):
        for b in range(first, last):
            for i in range(x.shape[2]):
                counts[b, i] += x[t, b, i] != 0


@njit(cache=True, nogil=True)
def list_events(x, begins, times, values, first, last):
    """Steps and values of the events of these samples."""
    steps, _, inputs = x.shape
    for b in range(first, last):
        place = begins[b * inputs : (b + 1) * inputs].copy()
        for t in range(steps):
            for i in range(inputs):
                if x[t, b, i] != 0:
                    times[place[i]] = t
                    values[place[i]] = x[t, b, i]
                    place[i] += 1


@njit(cache=True, nogil=True, fastmath=_CONTRACT)
def scatter(begins, times, values, taps, start, spill, tile, y, first, last):
    """``y [T, B, O]`` of samples ``[first, last)``, ``tile`` outputs at a time."""
    count, rows, outputs = taps.shape
    steps, batch, _ = y.shape
    inputs = (begins.size - 1) // batch
    sums = np.empty((tile, steps + spill), y.dtype)
    for b in range(first, last):
        for left in range(0, outputs, tile):
            right = min(left + tile, outputs)
            sums[:] = 0
            for r in range(rows):
                column = b * inputs + r % inputs
                begin, end = begins[column], begins[column + 1]
                if begin == end:
                    continue
                for o in range(left, right):
                    line, d = sums[o - left], start[r, o]
                    a = taps[0, r, o]
                    if count == 1:
                        for e in range(begin, end):
                            line[times[e] + d] += a * values[e]
                    else:
                        p, q, s = taps[1, r, o], taps[2, r, o], taps[3, r, o]
                        for e in range(begin, end):
                            t, value = times[e] + d, values[e]
                            line[t] += a * value
                            line[t + _1] += p * value
                            line[t + _2] += q * value
                            line[t + _3] += s * value
            for t in range(steps):
                for o in range(left, right):
                    y[t, b, o] = sums[o - left, t]


@njit(cache=True, nogil=True)
def turn(dy, lines, b, left, right):
    """Outputs ``[left, right)`` of sample ``b`` of ``dy [T, B, O]`` as lines."""
    for t in range(dy.shape[0]):
        for o in range(left, right):
            lines[o - left, t] = dy[t, b, o]


@njit(cache=True, nogil=True, fastmath=_CONTRACT)
def gather(begins, times, values, dy, start, spill, gradient, left, right):
    """Gradients of the taps ``[1 or 4, rows, O]`` of outputs ``[left, right)``."""
    count, rows, _ = gradient.shape
    steps, batch, _ = dy.shape
    inputs = (begins.size - 1) // batch
    lines = np.zeros((right - left, steps + spill), dy.dtype)
    gradient[:, :, left:right] = 0
    for b in range(batch):
        turn(dy, lines, b, left, right)
        for r in range(rows):
            column = b * inputs + r % inputs
            begin, end = begins[column], begins[column + 1]
            if begin == end:
                continue
            for o in range(left, right):
                line, d = lines[o - left], start[r, o]
                a = dy.dtype.type(0)
                p, q, s = a, a, a
                if count == 1:
                    for e in range(begin, end):
                        a += line[times[e] + d] * values[e]
                    gradient[0, r, o] += a
                    continue
                for e in range(begin, end):
                    t, value = times[e] + d, values[e]
                    a += line[t] * value
                    p += line[t + _1] * value
                    q += line[t + _2] * value
                    s += line[t + _3] * value
                gradient[0, r, o] += a
                gradient[1, r, o] += p
                gradient[2, r, o] += q
                gradient[3, r, o] += s


@njit(cache=True, nogil=True, fastmath=_CONTRACT)
def pull(dy, taps, start, spill, dx, first, last):
    """Gradients ``dx [T, B, I]`` of samples ``[first, last)``."""
    wide()
    count, rows, outputs = taps.shape
    steps, _, inputs = dx.shape
    # What is left of a loop over whole vectors would take as long as all of it.
    length = -(-steps // _WHOLE) * _WHOLE
    lines = np.zeros((outputs, length + spill), dx.dtype)
    sums = np.empty((inputs, length), dx.dtype)
    for b in range(first, last):
        turn(dy, lines, b, 0, outputs)
        sums[:] = 0
        for r in range(rows):
            to = sums[r % inputs]
            for o in range(outputs):
                line, d = lines[o], uint64(start[r, o])
                stop = uint64(-(-(steps - np.int64(start[r, o])) // _WHOLE) * _WHOLE)
                a = taps[0, r, o]
                if count == 1:
                    for t in range(stop):
                        to[t] += a * line[t + d]
                else:
                    p, q, s = taps[1, r, o], taps[2, r, o], taps[3, r, o]
                    for t in range(stop):
                        near = a * line[t + d] + p * line[t + d + _1]
                        to[t] += near + (q * line[t + d + _2] + s * line[t + d + _3])
        for t in range(steps):
            for i in range(inputs):
                dx[t, b, i] = sums[i, t]
