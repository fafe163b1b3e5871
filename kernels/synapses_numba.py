"""Compiled loops over the synapses of a projection; called through a builder.

Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit
from numpy import int64, uint32


@njit(cache=True, nogil=True, error_model="numpy")
def place(first, last, target, steps, neurons, out):
    """Write ``steps * neurons + target``; the target alone if ``steps`` is empty."""
    if steps.size == 0:
        for i in range(first, last):
            out[i] = target[i]
    else:
        for i in range(first, last):
            out[i] = int64(steps[i]) * neurons + target[i]


@njit(cache=True, nogil=True, error_model="numpy")
def tally(first, last, places, weight, scale, sums, terms):
    """Count synapses and add up ``|weight| * scale``, rounded up, for each target.

    Whole numbers, so that sums do not depend on who adds what. ``weight`` may be empty.
    """
    neurons = uint32(terms.size)
    for i in range(first, last):
        target = uint32(places[i]) % neurons
        terms[target] += 1
        if weight.size > 0:
            sums[target] += int64(np.ceil(abs(weight[i]) * scale))


@njit(cache=True, nogil=True, error_model="numpy")
def whole(first, last, weight, quantum, out):
    """Write weights in quanta, rounded to the nearest."""
    for i in range(first, last):
        out[i] = np.rint(weight[i] / quantum)
