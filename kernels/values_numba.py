"""Compiled draws of weights, delays and first states; called through a builder.

Importing this module imports numba, so it is imported inside functions. Number ``i`` of kind 0 is
uniform, ``a + b u``; 1 normal, ``a + b z``; 2 log-normal, ``exp(a + b z)``; 3 exponential of mean
``a``.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit
from numpy import float32, float64, uint32, uint64

from spikesim.kernels.maths_numba import exp_, log_
from spikesim.kernels.philox_numba import normal, philox, uniform

_VALUES = uint64(0xFFFFFF02)
"""The last word of the counter: neither layers nor connections have it."""
_UNIT = float32(2.0**-24)
_BUFFER = 1024
_LONGEST = 2.0**31 - 1
"""Steps of a delay."""


@njit(cache=True, error_model="numpy", forceinline=True)
def standard(kind, w, x):
    """Uniform, normal or exponential of parameters 0 and 1, from the words of a draw."""
    if kind == 0:
        return uniform(w, x)
    if kind == 3:
        return -log_(uniform(w, x) + _UNIT)
    return normal(w, x)


@njit(cache=True, error_model="numpy", forceinline=True)
def scaled(kind, a, b, number):
    """A number of the law from a standard one."""
    if kind == 3:
        return a * float64(number)
    value = a + b * float64(number)
    return float64(exp_(float32(value))) if kind == 2 else value


@njit(cache=True, nogil=True, error_model="numpy")
def draw_anew(kind, a, b, low, high, attempts, seed, i):
    """Number ``i`` after its first attempt; outside of the bounds if all attempts were."""
    value = high
    for attempt in range(1, attempts + 1):
        w, x, _, _ = philox(seed[0], seed[1], i, i >> 32, attempt, _VALUES)
        value = scaled(kind, a, b, standard(kind, w, x))
        if low <= value <= high:
            break
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def draw_first(kind, a, b, seed, first, firsts, seconds, numbers, values):
    """First attempts of the numbers from ``first`` on, in loops that vectorise."""
    for i in range(values.size):
        n = first + i
        w, x, _, _ = philox(seed[0], seed[1], n, n >> 32, 0, _VALUES)
        firsts[i] = uint32(w)
        seconds[i] = uint32(x)
    if kind == 0:
        for i in range(values.size):
            numbers[i] = standard(0, uint64(firsts[i]), uint64(seconds[i]))
    elif kind == 3:
        for i in range(values.size):
            numbers[i] = standard(3, uint64(firsts[i]), uint64(seconds[i]))
    else:
        for i in range(values.size):
            numbers[i] = standard(1, uint64(firsts[i]), uint64(seconds[i]))
    if kind == 2:
        for i in range(values.size):
            numbers[i] = float32(a + b * float64(numbers[i]))
        for i in range(values.size):
            values[i] = exp_(numbers[i])
    elif kind == 3:
        for i in range(values.size):
            values[i] = a * float64(numbers[i])
    else:
        for i in range(values.size):
            values[i] = a + b * float64(numbers[i])


@njit(cache=True, nogil=True, error_model="numpy")
def draw(first, last, kind, a, b, low, high, attempts, seed, dt, out):
    """Numbers ``[first, last)``, moved to the bounds where there are no further ``attempts``.

    With ``dt`` above 0 they are written in steps of it, one at least. Returns how many are still
    outside.
    """
    firsts, seconds = np.empty(_BUFFER, np.uint32), np.empty(_BUFFER, np.uint32)
    numbers, buffer = np.empty(_BUFFER, np.float32), np.empty(_BUFFER)
    left = 0
    for start in range(first, last, _BUFFER):
        values = buffer[: min(_BUFFER, last - start)]
        draw_first(kind, a, b, seed, start, firsts, seconds, numbers, values)
        if attempts > 0:
            for i in range(values.size):
                if not (low <= values[i] <= high):
                    values[i] = draw_anew(kind, a, b, low, high, attempts, seed, start + i)
                    left += not (low <= values[i] <= high)
        else:
            for i in range(values.size):
                values[i] = min(max(values[i], low), high)
        if dt > 0:
            for i in range(values.size):
                out[start + i] = min(max(np.rint(values[i] / dt), 1.0), _LONGEST)
        else:
            for i in range(values.size):
                out[start + i] = values[i]
    return left
