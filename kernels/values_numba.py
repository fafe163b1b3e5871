"""Compiled draws of weights, delays and first states; called by :mod:`spikesim.network.values`.

Importing this module imports numba, so it is imported inside functions. Number ``i`` of kind 0 is
uniform, ``a + b u``; 1 normal, ``a + b z``; 2 log-normal, ``exp(a + b z)``; 3 exponential of mean
``a``.
"""
# mypy: disable-error-code="no-untyped-def"

from numba import njit
from numpy import float32, float64, int64, uint64

from spikesim.kernels.maths_numba import exp_, log_
from spikesim.kernels.philox_numba import normal, philox, uniform

_VALUES = uint64(0xFFFFFF02)
"""The last word of the counter: neither layers nor connections have it."""
_UNIT = float32(2.0**-24)


@njit(cache=True, forceinline=True)
def draw_one(kind, a, b, seed, i, attempt):
    """Attempt ``attempt`` of number ``i``."""
    w, x, _, _ = philox(seed[0], seed[1], i, int64(i) >> 32, attempt, _VALUES)
    if kind == 0:
        return a + b * float64(uniform(w, x))
    if kind == 1:
        return a + b * float64(normal(w, x))
    if kind == 2:
        return float64(exp_(float32(a + b * float64(normal(w, x)))))
    return -a * float64(log_(uniform(w, x) + _UNIT))


@njit(cache=True, nogil=True)
def draw_values(kind, a, b, seed, out):
    """The first attempt of each number, into ``out``."""
    for i in range(out.size):
        out[i] = draw_one(kind, a, b, seed, i, 0)


@njit(cache=True, nogil=True)
def draw_again(kind, a, b, low, high, attempts, seed, out):
    """Draw numbers outside ``[low, high]`` anew; returns how many are left after all attempts."""
    left = 0
    for i in range(out.size):
        attempt = 0
        while not (low <= out[i] <= high) and attempt < attempts:
            attempt += 1
            out[i] = draw_one(kind, a, b, seed, i, attempt)
        left += not (low <= out[i] <= high)
    return left
