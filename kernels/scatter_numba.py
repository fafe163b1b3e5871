"""Compiled loop of events over delayed synapses; called through :mod:`spikesim.motion.scatter`.

Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def"

from numba import njit


@njit(cache=True, nogil=True)
def scatter(place, kind, begins, offsets, weights, out):
    """Adds each event's synapses to ``out``, flat; returns the number of additions.

    Event ``e`` lies at ``place[e]`` and has the synapses ``begins[k]:begins[k + 1]`` of its kind
    ``k``, each at an offset from there.
    """
    additions = 0
    for e in range(place.size):
        base, k = place[e], kind[e]
        for s in range(begins[k], begins[k + 1]):
            out[base + offsets[s]] += weights[s]
            additions += 1
    return additions
